"""Comparisons on a table: Kernel SHAP, Tree SHAP, LIME, permutation importance and partial dependence.

Our side is the whole of `explain`; the other side is the call that a person would make, its object made beforehand.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.ensemble import HistGradientBoostingClassifier

import explainers as ex
from benchmarks.comparison import Comparison

ROWS, BACKGROUND = 2000, 100


class Case:
    """A table, a boosted classifier fitted to it, and both as the two sides want them."""

    def __init__(self, frame: pd.DataFrame) -> None:
        target = frame.columns[-1]
        self.X = frame.drop(columns=target).astype(float).to_numpy()
        self.y = frame[target].astype(int).to_numpy()
        names = [str(name) for name in frame.columns[:-1]]
        self.trees = HistGradientBoostingClassifier(max_iter=60, max_leaf_nodes=15, random_state=0).fit(
            self.X, self.y
        )
        self.model = ex.Model.wrap(self.trees)
        self.data = ex.Dataset.from_frame(
            pd.DataFrame(self.X, columns=names).assign(outcome=self.y), target="outcome"
        )
        self.background = self.data.take(self.data.sample(BACKGROUND, 0))
        self.cases = self.X[self.data.sample(BACKGROUND, 0)]

    @property
    def d(self) -> int:
        """How many features."""
        return int(self.X.shape[1])

    def positive(self, X: np.ndarray) -> np.ndarray:
        """Probability of the second class."""
        return np.asarray(self.trees.predict_proba(X)[:, 1])


def made(d: int) -> pd.DataFrame:
    """Correlated numbers with a curved and an interacting effect; the last column is the outcome."""
    random = np.random.default_rng(0)
    X = random.normal(size=(ROWS, d)) @ (np.eye(d) + 0.2 * random.normal(size=(d, d)))
    score = X[:, 0] + 0.8 * X[:, 1] * X[:, 2] - np.abs(X[:, 3]) + 0.5 * X[:, 4 % d]
    outcome = random.random(ROWS) < 1 / (1 + np.exp(-score))
    return pd.DataFrame(X, columns=[f"x{j}" for j in range(d)]).assign(outcome=outcome.astype(int))


def comparisons(path: Path | None) -> Iterator[tuple[str, Callable[[], Comparison]]]:
    """Every comparison of tables with a word to choose it by; made only when it is run."""
    frames = {8: made(8), 20: made(20)} if path is None else {0: pd.read_csv(path)}
    cases = [Case(frame) for frame in frames.values()]
    for case in cases:
        yield f"kernel-{case.d}", partial(kernel_shap, case)
        if case.d <= 10:
            yield f"exact-{case.d}", partial(exact_shap, case)
    case = cases[0]
    yield "tree", lambda: tree_shap(case)
    yield "lime", lambda: lime(case)
    yield "permutation", lambda: permutation(case)
    yield "partial", lambda: partial_dependence(case)


def kernel_shap(case: Case, rows: int = 10) -> Comparison:
    """The same background and the same number of coalitions; all of them where there are few features."""
    import shap

    complete = case.d <= 10
    budget = 2**case.d if complete else 1024
    theirs = shap.KernelExplainer(case.positive, case.cases)

    def peer() -> np.ndarray:
        return np.asarray(theirs.shap_values(case.X[:rows], nsamples=budget - 2, l1_reg=0, silent=True))

    return Comparison(
        f"KernelShap, {rows} rows, {case.d} features, {budget:,} coalitions, background of {BACKGROUND}",
        f"shap.KernelExplainer(nsamples={budget - 2:,}, l1_reg=0)",
        lambda: _values(case, ex.KernelShap(budget=budget), rows),
        peer,
        "all coalitions on both sides" if complete else "both sampled, each draws its own coalitions",
    )


def exact_shap(case: Case, rows: int = 10) -> Comparison:
    """All coalitions, by enumeration on the other side too."""
    import shap

    masker = shap.maskers.Independent(case.cases, max_samples=len(case.cases))
    theirs = shap.ExactExplainer(case.positive, masker)
    return Comparison(
        f"KernelShap, {rows} rows, {case.d} features, {2**case.d:,} coalitions, background of {BACKGROUND}",
        "shap.ExactExplainer",
        lambda: _values(case, ex.KernelShap(budget=2**case.d), rows),
        lambda: np.asarray(theirs(case.X[:rows], silent=True).values),
        "exact on both sides",
    )


def tree_shap(case: Case, rows: int = 500) -> Comparison:
    """Interventional values; ours go through shap today, so this row shows what our own layer costs."""
    import shap

    masker = shap.maskers.Independent(case.cases, max_samples=len(case.cases))
    theirs = shap.TreeExplainer(case.trees, masker)

    def peer(rows: int = rows) -> np.ndarray:
        return np.asarray(theirs.shap_values(case.X[:rows], check_additivity=False))

    note = "log-odds; ours calls shap today, and adds checks and the background's error"
    if case.d <= 10:
        few = 20
        truth = _values(case, ex.KernelShap(budget=2**case.d, space="raw"), few)
        off = [np.abs(found - truth).max() for found in (_values(case, ex.TreeShap(), few), peer(few))]
        note += (
            f"; from enumeration ({few} rows) ours is off by {off[0]:.0e}, shap's own reading by {off[1]:.0e}"
        )
    return Comparison(
        f"TreeShap, {rows} rows, {case.d} features, {case.trees.n_iter_} trees, background of {BACKGROUND}",
        "shap.TreeExplainer, interventional",
        lambda: _values(case, ex.TreeShap(), rows),
        peer,
        note,
    )


def lime(case: Case, rows: int = 100, samples: int = 5000) -> Comparison:
    """The law of neighbours, the kernel and the ridge are the same; each side draws its own neighbours."""
    from lime.lime_tabular import LimeTabularExplainer

    def explainer(seed: int) -> Any:
        return LimeTabularExplainer(
            case.X, mode="classification", feature_selection="none", random_state=seed
        )

    theirs = explainer(0)

    def weights(row: np.ndarray, theirs: Any = theirs) -> list[float]:
        found = theirs.explain_instance(
            row, case.trees.predict_proba, num_features=case.d, num_samples=samples
        )
        by_feature = dict(found.as_map()[1])
        return [by_feature[j] for j in range(case.d)]

    few = 10
    first, second = (np.ravel([weights(row, explainer(seed)) for row in case.X[:few]]) for seed in (1, 2))
    noise = f"lime with itself at another seed: {np.corrcoef(first, second)[0, 1]:.4f}, {np.abs(first - second).max():.0e} ({few} rows)"
    return Comparison(
        f"Lime, {rows} rows, {case.d} features, {samples:,} samples",
        "lime, one row after the other (it has no other way)",
        # a fresh model each time: Lime remembers its sample with the model, and a repeat must pay for it again
        lambda: _values(case, ex.Lime(samples=samples), rows, dataclasses.replace(case.model)),
        lambda: np.array([weights(row) for row in case.X[:rows]]),
        f"both sampled; ours asks the model about one sample for all rows; {noise}",
    )


def permutation(case: Case, repeats: int = 10) -> Comparison:
    """The same score, the same number of repeats; other permutations."""
    from sklearn.inspection import permutation_importance

    method = ex.PermutationImportance(metric="auc", repeats=repeats)

    def peer() -> np.ndarray:
        found = permutation_importance(
            case.trees, case.X, case.y, scoring="roc_auc", n_repeats=repeats, random_state=0
        )
        return np.asarray(found.importances_mean)

    return Comparison(
        f"PermutationImportance, {len(case.X):,} rows, {case.d} features, {repeats} repeats, AUC",
        "sklearn.inspection.permutation_importance(n_jobs=None)",
        lambda: np.asarray(ex.explain(case.model, case.data, method).values),
        peer,
        "both sampled, other permutations",
    )


def partial_dependence(case: Case, grid: int = 20, rows: int = 500) -> Comparison:
    """The same grid, taken from our side, and the same rows."""
    from sklearn.inspection import partial_dependence as theirs

    method = ex.PartialDependence(grid=grid, spacing="linear", cases=rows)
    chosen = range(rows)
    grids = ex.explain(case.model, case.data, method, rows=chosen).grids

    def peer() -> np.ndarray:
        return np.concatenate([_one(j) for j in range(case.d)])

    def _one(j: int) -> np.ndarray:
        found = theirs(
            case.trees,
            case.X[:rows],
            [j],
            custom_values={j: grids[j]},
            method="brute",
            response_method="predict_proba",
        )
        return np.asarray(found["average"][0])

    return Comparison(
        f"PartialDependence, {rows} rows, {case.d} features, grid of {grid}",
        "sklearn.inspection.partial_dependence(method='brute')",
        lambda: np.concatenate(ex.explain(case.model, case.data, method, rows=chosen).mean),
        peer,
        "exact on both sides; ours keeps each case's curve too",
    )


def _values(case: Case, explainer: ex.Explainer, rows: int, model: ex.Model | None = None) -> np.ndarray:
    """Values of the positive class for the first rows."""
    found: Any = ex.explain(
        model or case.model, case.data, explainer, rows=range(rows), background=case.background
    )
    return np.asarray(found.values)
