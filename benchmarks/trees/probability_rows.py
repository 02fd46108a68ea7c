"""The probability scale: our sample around exact values, and plain sampling at equal error."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

import explainers as ex
from benchmarks.trees import peers
from benchmarks.trees.cases import XGBOOST, Case, Cases
from benchmarks.trees.measuring import Run, Side
from benchmarks.trees.ours import explained
from benchmarks.trees.rows import Row
from benchmarks.trees.shapley_rows import Made

#: Rows explained, reference cases, rows of the long run, and rounds of orders of the long run.
ROWS, BACKGROUND, LONG_ROWS, LONG_ROUNDS = 100, 100, 8, 100

#: Rounds of orders with which the other side's error is measured; it falls with the root of their number.
ROUNDS = 4


def rows(cases: Cases) -> Made:
    """The row with its word."""
    yield "probability", partial(_probability, cases)


def _probability(cases: Cases) -> Row | None:
    case = cases[XGBOOST]
    X, background = case.table.rows(ROWS), case.table.X[-BACKGROUND:]
    method: Any = ex.TreeShap(space="probability", background=BACKGROUND)
    others = case.table.cases(background)
    try:
        result = ex.explain(case.model, case.table.data, method, rows=case.table.cases(X), background=others)
    except ex.InvalidSetting as error:
        print(f"probability: skipped, {error}", flush=True)
        return None
    long = _permutation(case, X, background, LONG_ROUNDS)(LONG_ROWS)
    plain = _error(_permutation(case, X, background, ROUNDS)(LONG_ROWS), long)
    scatter = plain**2 / (
        1 / ROUNDS + 1 / LONG_ROUNDS
    )  # of one round: both runs have their share of the difference
    left = _error(np.asarray(result.values)[:LONG_ROWS], long) ** 2 - scatter / LONG_ROUNDS
    own = max(left, 0.01 * scatter / LONG_ROUNDS) ** 0.5
    rounds = max(1, round(scatter / own**2))
    claimed = result.standard_error
    return Row(
        "probability",
        f"probability, {ROWS} rows, background of {BACKGROUND}, {XGBOOST}",
        [explained(case, method, X, background=others)],
        [
            Side(
                f"shap PermutationExplainer, {rounds} rounds of orders for the same error (one round is its least)",
                lambda: _permutation(case, X, background, rounds),
                ROWS,
                1,
            ),
            peers.shap_code(case, X, background, output="probability"),
        ],
        lambda: long,
        unit="rows",
        note=f"the reference is a run of {LONG_ROUNDS} rounds of shap's PermutationExplainer on {LONG_ROWS} rows, whose own error is "
        f"{(scatter / LONG_ROUNDS) ** 0.5:.1e}; with that taken off, root mean squared errors: ours {own:.1e}, PermutationExplainer "
        f"{scatter**0.5:.1e} with one round"
        + ("" if claimed is None else f"; our standard errors are at most {np.max(claimed):.1e}")
        + "; shap's TreeExplainer on this scale is an approximation",
    )


def _error(found: np.ndarray, truth: np.ndarray) -> float:
    return float(np.sqrt(np.mean((found - truth) ** 2)))


def _positive(case: Case) -> Callable[[np.ndarray], np.ndarray]:
    """Straight to the library: neither tables of names nor checks slow the other side down."""

    def ask(X: np.ndarray) -> np.ndarray:
        return np.asarray(case.booster.inplace_predict(X, validate_features=False))

    return ask


def _permutation(case: Case, X: np.ndarray, background: np.ndarray, rounds: int) -> Run:
    import shap

    masker = shap.maskers.Independent(background, max_samples=len(background))
    explainer = shap.PermutationExplainer(_positive(case), masker, seed=0)
    calls = rounds * (2 * X.shape[1] + 1)

    def run(n: int) -> np.ndarray:
        return np.asarray(explainer(X[:n], max_evals=calls, batch_size=50, silent=True).values)

    return run
