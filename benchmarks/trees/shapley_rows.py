"""Rows of Shapley values and interactions: many rows, backgrounds, several classes, growth, and a single row."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

import explainers as ex
from benchmarks.trees import peers
from benchmarks.trees.cases import DEEP, FOREST, LIGHTGBM, SEVERAL, THREADS, XGBOOST, Case, Cases
from benchmarks.trees.measuring import Run, Side
from benchmarks.trees.ours import background_kernel, exact, explained, ready, tree_kernel
from benchmarks.trees.rows import Row

#: Rows of the main work, and of its growth.
MANY, GROWTH = 50_000, (1_000, 10_000, 100_000, 1_000_000)

Made = Iterator[tuple[str, Callable[[], Row | None]]]


def rows(cases: Cases) -> Made:
    """Each row with its word; made when it is run."""
    for word, name, side in (
        ("path-xgboost", XGBOOST, peers.xgboost_contributions),
        ("path-lightgbm", LIGHTGBM, peers.lightgbm_contributions),
        ("path-forest", FOREST, partial(peers.shap_code, first=16)),
    ):
        yield word, partial(_path, cases, word, name, side)
    yield "path-classes", partial(_classes, cases)
    for count in (100, 1_000, 10_000):
        yield f"background-{count}", partial(_background, cases, count)
    yield "background-forest", partial(_background, cases, 100, FOREST, "background-forest")
    yield "interactions", partial(_interactions, cases)
    yield "one-xgboost", partial(_one, cases, XGBOOST, "one-xgboost")
    yield "one-lightgbm", partial(_one, cases, LIGHTGBM, "one-lightgbm")
    yield "one-background", partial(_one_background, cases)
    yield "deep", partial(_deep, cases)
    for count in GROWTH:
        yield f"growth-{count}", partial(_growth, cases, count)


def _path(cases: Cases, word: str, name: str, side: Any) -> Row:
    case = cases[name]
    X = case.table.rows(case.table.size(MANY))
    theirs = [side(case, X), *peers.woodelf(case, X)]
    return Row(
        word,
        f"path-dependent, {len(X):,} rows, {name}",
        [explained(case, ex.TreeShap(background=0), X), tree_kernel(case, X)],
        theirs,
        exact(case, X),
        peers.agrees(case, X, 100),
        leaves=case.trees.leaves,
    )


def _classes(cases: Cases) -> Row:
    case = cases[SEVERAL]
    X = case.table.rows(case.table.size(10_000))
    classes = case.trees.outputs
    return Row(
        "path-classes",
        f"path-dependent, all {classes} classes at once, {len(X):,} rows, {SEVERAL}",
        [explained(case, ex.TreeShap(background=0), X, target="all"), tree_kernel(case, X)],
        [peers.xgboost_contributions(case, X, 16)],
        exact(case, X),
        _walks(case, X),
        leaves=case.trees.leaves,
    )


def _background(cases: Cases, count: int, name: str = XGBOOST, word: str = "") -> Row:
    case = cases[name]
    X = case.table.rows(case.table.size(MANY))
    background = _reference(case, count)
    count = len(background)
    few = max(1, 20_000 // count)
    method = ex.TreeShap(background=count)
    return Row(
        word or f"background-{count}",
        f"background of {count:,}, {len(X):,} rows, {name}",
        [
            explained(case, method, X, background=case.table.cases(background)),
            background_kernel(case, X, background, False),
        ],
        [peers.shap_code(case, X, background), *peers.woodelf(case, X, background)],
        exact(case, X, background, kernel="tables"),
        peers.agrees(case, X, few, background),
        leaves=case.trees.leaves,
        note="ours makes its tables in every call; the first line gives the background's error too, the others do not",
    )


def _interactions(cases: Cases) -> Row | None:
    method = getattr(ex, "TreeShapInteractions", None)
    if method is None:
        print("interactions: skipped, there is no TreeShapInteractions yet", flush=True)
        return None
    case = cases[XGBOOST]
    X = case.table.rows(case.table.size(1_000))
    reference = peers.shap_code(case, X[:20], interactions=True)
    settings: Any = method(background=0)

    def take(result: Any) -> np.ndarray:
        found = np.asarray(result.values)
        return found[..., -1] if found.ndim == 4 else found

    def double() -> np.ndarray:
        return explained(case, method(background=0, precision="double"), X, take=take).prepare()(len(X))

    def compare(found: np.ndarray) -> str:
        off = np.abs(found[:20] - reference.prepare()(min(20, len(X)))).max()
        return f"our float64 values are within {off:.0e} of shap's C code in float64 (20 rows)"

    return Row(
        "interactions",
        f"interactions, path-dependent, {len(X):,} rows, {XGBOOST}",
        [explained(case, settings, X, take=take)],
        [
            peers.shap_code(case, X, interactions=True),
            peers.xgboost_contributions(case, X, 16, interactions=True),
            *peers.woodelf(case, X, interactions=True),
        ],
        double,
        compare,
        leaves=case.trees.leaves,
        note="the diagonal holds what is left of a feature's value; off it each of both places has half (Woodelf: as it says)",
    )


def _one(cases: Cases, name: str, word: str) -> Row:
    case = cases[name]
    X = case.table.rows(1)
    method = ex.TreeShap(background=0)
    native = _native_row(case, X)
    return Row(
        word,
        f"one row, warm, path-dependent, {name}",
        [
            explained(case, method, X, name="whyboard, TreeShap, the row as a Dataset"),
            _from_frame(case, method, X),
            tree_kernel(case, X),
        ],
        [native],
        exact(case, X),
        peers.agrees(case, X, 1),
        leaves=case.trees.leaves,
        note="the native call starts from a DataFrame row",
    )


def _one_background(cases: Cases) -> Row:
    case = cases[XGBOOST]
    X, background = case.table.rows(1), _reference(case, 100)
    return Row(
        "one-background",
        f"one row, warm, background of {len(background)}, {XGBOOST}",
        [
            explained(case, ex.TreeShap(), X, background=case.table.cases(background)),
            background_kernel(case, X, background, True),
        ],
        [peers.shap_code(case, X, background)],
        exact(case, X, background),
        peers.agrees(case, X, 1, background),
        leaves=case.trees.leaves,
    )


def _deep(cases: Cases) -> Row:
    case = cases[DEEP]
    X = case.table.rows(case.table.size(5_000))
    few = 64
    return Row(
        "deep",
        f"path-dependent, {len(X):,} rows, {DEEP}",
        [explained(case, ex.TreeShap(background=0), X, first=16), tree_kernel(case, X, first=16)],
        [peers.shap_code(case, X)],
        exact(case, X[:few]),
        peers.agrees(case, X, 4),
        leaves=case.trees.leaves,
        note=f"compared on {few} rows",
    )


def _growth(cases: Cases, count: int) -> Row:
    case = cases[XGBOOST]
    X = case.table.rows(case.table.size(count))
    return Row(
        f"growth-{count}",
        f"growth: path-dependent, {len(X):,} rows, {XGBOOST}",
        [explained(case, ex.TreeShap(background=0), X), tree_kernel(case, X)],
        [peers.xgboost_contributions(case, X)] if count < MANY else [],
        exact(case, X),
        leaves=case.trees.leaves,
    )


def _native_row(case: Case, X: np.ndarray) -> Side:
    row, booster = case.table.frame(X), case.booster

    def prepare() -> Run:
        if hasattr(booster, "inplace_predict"):
            import xgboost

            def native(_: int) -> np.ndarray:
                matrix = xgboost.DMatrix(row, nthread=THREADS)
                return np.asarray(booster.predict(matrix, pred_contribs=True))[:, :-1]

            return native
        return lambda _: np.asarray(booster.predict(row, pred_contrib=True, num_threads=1))[:, :-1]

    name = "XGBoost, DMatrix and pred_contribs" if hasattr(booster, "inplace_predict") else "LightGBM pred_contrib"  # fmt: skip
    return Side(name, prepare, 1, 1)


def _from_frame(case: Case, method: ex.Explainer, X: np.ndarray) -> Side:
    row, model, data = case.table.frame(X), ready(case, tables=True), case.table.data

    def run(_: int) -> np.ndarray:
        return np.asarray(ex.explain(model, data, method, rows=row).values)

    return Side("whyboard, TreeShap, from a DataFrame row", lambda: run, 1, 1)


def _walks(case: Case, X: np.ndarray) -> Callable[[np.ndarray], str]:
    """Where no other library helps: our two kernels, which share no formula's code, in float64."""

    def compare(reference: np.ndarray) -> str:
        count = min(200, len(X))
        other = exact(case, X[:count], kernel="walk")()
        off = np.abs(other - reference[:count]).max()
        return f"our two float64 kernels (tables and walk) differ by {off:.0e} ({count:,} rows)"

    return compare


def _reference(case: Case, count: int) -> np.ndarray:
    """Reference cases from the end of the table; few in a trial run."""
    X = case.table.X
    return X[-min(count, len(X)) :]
