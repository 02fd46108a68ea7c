"""The other libraries, each at its best: its own objects made beforehand, its threads set, its whole background."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.trees.cases import THREADS, Case
from benchmarks.trees.measuring import Run, Side


def xgboost_contributions(case: Case, X: np.ndarray, first: int = 64, interactions: bool = False) -> Side:
    """XGBoost's own path-dependent values or interactions; the matrices are made beforehand."""
    import xgboost

    def prepare() -> Run:
        made: dict[int, Any] = {}

        def run(n: int) -> np.ndarray:
            if n not in made:
                made[n] = xgboost.DMatrix(X[:n], feature_names=case.table.names, nthread=THREADS)
            if interactions:
                return np.asarray(case.booster.predict(made[n], pred_interactions=True))[:, :-1, :-1]
            found = np.asarray(case.booster.predict(made[n], pred_contribs=True))
            return found[:, :-1] if found.ndim == 2 else np.swapaxes(found[:, :, :-1], 1, 2)

        return run

    call = "pred_interactions" if interactions else "pred_contribs"
    return Side(f"XGBoost {call}, nthread={THREADS}", prepare, len(X), first)


def lightgbm_contributions(case: Case, X: np.ndarray, first: int = 64) -> Side:
    """LightGBM's own path-dependent values."""

    def prepare() -> Run:
        def run(n: int) -> np.ndarray:
            found = case.booster.predict(X[:n], pred_contrib=True, num_threads=THREADS)
            return np.asarray(found)[:, :-1]

        return run

    return Side(f"LightGBM pred_contrib, num_threads={THREADS}", prepare, len(X), first)


def shap_code(
    case: Case, X: np.ndarray, background: np.ndarray | None = None, *, first: int = 1,
    interactions: bool = False, output: str = "raw",
) -> Side:  # fmt: skip
    """shap's C code in float64, also where shap would hand the work to the model's own library."""
    return Side(
        f"shap {'TreeExplainer interactions' if interactions else 'TreeExplainer'} (C code, one thread)"
        + (f", model_output={output!r}" if output != "raw" else ""),
        lambda: _shap(case, X, background, interactions, output),
        len(X),
        first,
    )


def _shap(case: Case, X: np.ndarray, background: Any, interactions: bool, output: str) -> Run:
    import shap

    if background is None:
        explainer = shap.TreeExplainer(case.estimator)
        explainer.model.model_type = "internal"  # else the library of the model is asked
    else:
        masker = shap.maskers.Independent(background, max_samples=len(background))
        explainer = shap.TreeExplainer(case.estimator, masker, model_output=output)
        assert len(explainer.data) == len(background)

    def run(n: int) -> np.ndarray:
        if interactions:
            found = np.asarray(explainer.shap_interaction_values(X[:n]))
            return found[..., -1] if found.ndim == 4 else found
        found = np.asarray(explainer.shap_values(X[:n], check_additivity=False))
        return found[..., -1] if found.ndim == 3 else found

    return run


def woodelf(
    case: Case, X: np.ndarray, background: np.ndarray | None = None, interactions: bool = False,
    first: int = 1000,
) -> list[Side]:  # fmt: skip
    """Woodelf (numpy, pandas), where it is installed; the model is read beforehand."""
    table = case.table
    if importlib.util.find_spec("woodelf") is None:
        print("Woodelf: skipped, not installed (pip install woodelf_explainer)", flush=True)
        return []

    def prepare() -> Run:
        from woodelf import WoodelfExplainer
        from woodelf.core.trees.parse_models import load_decision_tree_ensemble_model

        frame: pd.DataFrame = table.frame(X)
        reference = None if background is None else table.frame(background)
        second = load_decision_tree_ensemble_model(case.estimator, table.names, class_index=1)
        explainer = WoodelfExplainer(second, reference)

        def run(n: int) -> np.ndarray:
            ask = explainer.shap_interaction_values if interactions else explainer.shap_values
            return np.asarray(ask(frame.iloc[:n], verbose=False))

        return run

    return [Side("Woodelf (numpy)", prepare, len(X), first)]


def agrees(case: Case, X: np.ndarray, rows: int, *more: Any, **options: Any) -> Callable[[np.ndarray], str]:
    """How far our float64 reference is from shap's C code, float64 too, on a few rows."""

    def compare(reference: np.ndarray) -> str:
        count = min(rows, len(X))
        theirs = shap_code(case, X, *more, **options).prepare()(count)
        off = float(np.abs(theirs - reference[:count]).max())
        return f"our float64 kernel is within {off:.0e} of shap's C code in float64 ({count:,} rows)"

    return compare
