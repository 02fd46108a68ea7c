"""Thresholds of comparisons that are made in single precision, for the one rule: left where x is at most it."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float


def at_most(threshold: Any) -> Float[np.ndarray, " n"]:
    """For ``float32(x) <= threshold``: the largest float32 that is at most the threshold."""
    exact = np.asarray(threshold, dtype=np.float64)
    with np.errstate(over="ignore"):
        single = exact.astype(np.float32)
        lower = np.nextafter(single, np.float32(-np.inf))
    return np.where(single > exact, lower, single).astype(np.float64)


def below(threshold: Any) -> Float[np.ndarray, " n"]:
    """For ``float32(x) < threshold``: the largest float32 below the threshold, which must be over -inf."""
    exact = np.asarray(threshold, dtype=np.float64)
    single = at_most(exact).astype(np.float32)
    with np.errstate(over="ignore"):
        lower = np.nextafter(single, np.float32(-np.inf))
    return np.where(single == exact, lower, single).astype(np.float64)
