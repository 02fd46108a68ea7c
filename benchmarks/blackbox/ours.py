"""Our side: which of our methods there are, and how they are asked for."""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Any, cast

import numpy as np

import explainers as ex
from benchmarks.blackbox.cases import Case
from benchmarks.blackbox.peers import Estimator

#: Proxies of Kernel SHAP beside its default.
PROXIES = ("trees", "none")


def takes(method: type[ex.Explainer], name: str) -> bool:
    """Whether a method has a setting of that name."""
    return name in {field.name for field in dataclasses.fields(cast(Any, method))}


def named(method: type[ex.Explainer], **settings: Any) -> ex.Explainer:
    """A method with those of the settings that it has."""
    return method(**{name: value for name, value in settings.items() if takes(method, name)})


def kinds() -> dict[str, tuple[type[ex.Explainer], dict[str, Any]]]:
    """Our methods by name, each with its fixed settings; the first, at its defaults, is the headline."""
    found: dict[str, tuple[type[ex.Explainer], dict[str, Any]]] = {"KernelShap": (ex.KernelShap, {})}
    for proxy in PROXIES:
        found[f"KernelShap(proxy={proxy!r})"] = (ex.KernelShap, {"proxy": proxy})
    return {**found, "PermutationShap": (ex.PermutationShap, {})}


def sides() -> dict[str, Estimator]:
    """The same as estimators."""
    return {
        f"whyboard {name}": partial(estimate, method=method, **fixed)
        for name, (method, fixed) in kinds().items()
    }


def estimate(
    case: Case, row: int, budget: int, seed: int, *, method: type[ex.Explainer], **settings: Any
) -> np.ndarray:
    """Values of one row; there is no tolerance, so the whole budget is spent."""
    made = named(method, budget=budget, background=len(case.background), seed=seed, **settings)
    return np.asarray(case.explained(made, case.rows[row : row + 1]).values).reshape(-1)
