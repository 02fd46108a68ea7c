"""Rows of permutation importance and partial dependence, against scikit-learn."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

import explainers as ex
from benchmarks.trees.cases import FOREST, THREADS, XGBOOST, Case, Cases
from benchmarks.trees.measuring import Run, Side
from benchmarks.trees.rows import Row
from benchmarks.trees.shapley_rows import Made

#: Repeats of the permutations, points of the grid, features whose values are checked by asking the model.
REPEATS, GRID, CHECKED = 5, 100, 2


def rows(cases: Cases) -> Made:
    """Each row with its word; made when it is run."""
    for name, word in ((XGBOOST, "xgboost"), (FOREST, "forest")):
        yield f"permutation-{word}", partial(_permutation, cases, name, word)
        yield f"dependence-{word}", partial(_dependence, cases, name, word)


def _permutation(cases: Cases, name: str, word: str) -> Row:
    case = cases[name]
    table = case.table
    n = table.size(len(table.X))
    data = table.data.take(range(n))
    method = ex.PermutationImportance(metric="auc", repeats=REPEATS)
    d = len(table.names)

    def ours() -> Run:
        model = case.wrapped()
        return lambda _: np.asarray(ex.explain(model, data, method).values).ravel()

    def theirs() -> Run:
        from sklearn.inspection import permutation_importance

        def run(features: int) -> np.ndarray:
            some = _Some(case.estimator, table.X[:n], features)
            found = permutation_importance(
                some, some.X, table.y[:n], scoring=some.auc, n_repeats=REPEATS, random_state=0
            )
            return np.asarray(found.importances_mean)

        return run

    return Row(
        f"permutation-{word}",
        f"permutation importance, AUC, {n:,} rows, {d} features, {REPEATS} repeats, {name}",
        [Side("whyboard, PermutationImportance", ours, d, d)],
        [Side(f"sklearn permutation_importance, the model with {THREADS} threads", theirs, d, 1)],
        lambda: _permuted(case, n, method.seed),
        unit="features",
        note=f"the reference asks the model with our own permutations, {CHECKED} features; "
        "scikit-learn draws its own permutations, so its difference is that of the draw",
    )


class _Some:
    """A model of the first features alone, the others held: so that fewer features can be permuted at the same cost each."""

    def __init__(self, estimator: Any, X: np.ndarray, features: int) -> None:
        self.estimator, self.whole = estimator, X.copy()
        self.features = features
        self.X = self.whole[:, :features].copy()

    def fit(self, *_: Any) -> _Some:
        """scikit-learn wants an estimator."""
        return self

    def auc(self, _: Any, X: np.ndarray, y: np.ndarray) -> float:
        """The score; the columns are put where they belong."""
        from sklearn.metrics import roc_auc_score

        self.whole[:, : self.features] = X
        return float(roc_auc_score(y, _positive(self.estimator, self.whole)))


def _positive(estimator: Any, X: np.ndarray) -> np.ndarray:
    """From the bare numbers: a table with names would only slow the model down."""
    return np.asarray(estimator.predict_proba(X)[:, 1])


def _permuted(case: Case, n: int, seed: int) -> np.ndarray:
    """The first importances, from the model's own answers to the permutations that ours draws."""
    from sklearn.metrics import roc_auc_score

    table, random = case.table, np.random.default_rng(seed)
    X, y = table.X[:n], table.y[:n]
    orders = [random.permutation(n) for _ in range(REPEATS)]
    score = roc_auc_score(y, _positive(case.estimator, X))
    found = []
    for j in range(CHECKED):
        moved = X.copy()
        drops = []
        for order in orders:
            moved[:, j] = X[order, j]
            drops.append(score - roc_auc_score(y, _positive(case.estimator, moved)))
        found.append(np.mean(drops))
    return np.array(found)


def _dependence(cases: Cases, name: str, word: str) -> Row:
    case = cases[name]
    table = case.table
    X = table.rows(table.size(100_000))
    data = ex.Dataset.from_frame(table.frame(X))
    method = ex.PartialDependence(grid=GRID, spacing="linear", cases=len(X), curves=1)
    d = len(table.names)
    ends = np.array([[X[:, j].min(), X[:, j].max()] for j in range(d)])
    grids = [np.linspace(low, high, GRID) for low, high in ends]

    def ours() -> Run:
        model = case.wrapped()

        def run(_: int) -> np.ndarray:
            result = ex.explain(model, data, method)
            for mine, grid in zip(result.grids, grids, strict=True):
                np.testing.assert_allclose(mine, grid, atol=1e-12)
            return np.concatenate(result.mean)

        return run

    return Row(
        f"dependence-{word}",
        f"partial dependence, {d} features, grid of {GRID}, {len(X):,} rows, {name}",
        [Side("whyboard, PartialDependence", ours, d * GRID, d * GRID)],
        [
            Side(
                f"sklearn partial_dependence(method='brute'), the model with {THREADS} threads",
                lambda: _brute(case, X, grids),
                d * GRID,
                2,
            )
        ],
        _asked(case, X, grids),
        unit="grid points",
        note="the reference asks the model, float64 mean, 4 points of the first feature",
    )


def _brute(case: Case, X: np.ndarray, grids: list[np.ndarray]) -> Run:
    from sklearn.inspection import partial_dependence

    def run(points: int) -> np.ndarray:
        found = []
        for j, grid in enumerate(grids):
            some = grid[: max(0, points - j * GRID)]
            if len(some) == 0:
                break
            answer = partial_dependence(
                case.estimator, X, [j], custom_values={j: some}, method="brute",
                response_method="predict_proba", kind="average",
            )  # fmt: skip
            found.append(np.asarray(answer["average"][0]))
        return np.concatenate(found)

    return run


def _asked(case: Case, X: np.ndarray, grids: list[np.ndarray], points: int = 4) -> Callable[[], np.ndarray]:
    def compute() -> np.ndarray:
        moved, found = X.copy(), []
        for value in grids[0][:points]:
            moved[:, 0] = value
            found.append(_positive(case.estimator, moved).astype(np.float64).mean())
        return np.array(found)

    return compute
