"""The other libraries' estimators, each as one function: values of one row from so many coalitions and a seed."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from benchmarks.blackbox.cases import Case
from benchmarks.blackbox.regression_msr import regression_msr

#: Values ``(d,)`` of the row at a position, from so many coalitions, with a seed.
Estimator = Callable[[Case, int, int, int], np.ndarray]


def shap_kernel(case: Case, row: int, budget: int, seed: int, **settings: Any) -> np.ndarray:
    """``shap.KernelExplainer``; it does not count the empty and the full coalition."""
    import shap

    np.random.seed(seed)  # shap draws from the global generator
    explainer = shap.KernelExplainer(case.predict, case.background)
    found = explainer.shap_values(case.rows[row : row + 1], nsamples=budget - 2, silent=True, **settings)
    return np.asarray(found).reshape(-1)


def shap_permutation(case: Case, row: int, budget: int, seed: int) -> np.ndarray:
    """``shap.PermutationExplainer``; it needs 2 d + 1 coalitions at least."""
    import shap

    masker = shap.maskers.Independent(case.background, max_samples=len(case.background))
    explainer = shap.PermutationExplainer(case.predict, masker, seed=seed)
    least = 2 * case.d + 1
    found = explainer(case.rows[row : row + 1], max_evals=max(budget, least), silent=True)
    return np.asarray(found.values).reshape(-1)


def shapiq(
    case: Case, row: int, budget: int, seed: int, *, name: str, needs: int = 0, **settings: Any
) -> np.ndarray:
    """One of shapiq's approximators on the row's game, from which the empty coalition's value is taken."""
    import shapiq.approximator

    game, d = case.game(row), case.d
    empty = float(game(np.zeros((1, d), dtype=bool))[0])
    approximator = getattr(shapiq.approximator, name)(n=d, random_state=seed, **settings)
    found = approximator.approximate(
        budget=max(budget, needs), game=lambda masks: game(np.asarray(masks)) - empty
    )
    return np.array([found[(j,)] for j in range(d)])


def shap_sides() -> dict[str, Estimator]:
    """shap's."""
    return {
        "shap KernelExplainer(l1_reg=0)": partial(shap_kernel, l1_reg=0),
        "shap KernelExplainer, default": shap_kernel,
        "shap PermutationExplainer": shap_permutation,
    }


def shapiq_sides() -> dict[str, Estimator]:
    """shapiq's where it is installed, and what it lacks; pairs are not its default, and better."""
    lacking: dict[str, Estimator] = {"RegressionMSR, written here": regression_msr}
    if importlib.util.find_spec("shapiq") is None:
        return lacking
    return {
        "shapiq KernelSHAP": partial(shapiq, name="KernelSHAP"),
        "shapiq KernelSHAP, paired": partial(shapiq, name="KernelSHAP", pairing_trick=True),
        "shapiq SVARM": partial(shapiq, name="SVARM"),
        "shapiq PermutationSamplingSV": partial(shapiq, name="PermutationSamplingSV"),
        "shapiq UnbiasedKernelSHAP, paired": partial(shapiq, name="UnbiasedKernelSHAP", pairing_trick=True),
        **lacking,
    }
