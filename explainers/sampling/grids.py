"""Values of a feature at which a model is asked: quantiles, even steps, categories; and how finely data are written."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from jaxtyping import Float

from explainers.dataset import Dataset
from explainers.schema import Feature

#: Quantiles of more rows than these are taken from a seeded sample: the grid would not differ visibly.
MOST_ROWS = 20_000


def observed(data: Dataset, seed: int = 0) -> Float[np.ndarray, "n d"]:
    """Codes of the data, of a seeded sample where there are very many rows."""
    if len(data) <= MOST_ROWS:
        return data.matrix
    rows = np.random.default_rng(seed).choice(len(data), size=MOST_ROWS, replace=False)
    return data.matrix[np.sort(rows)]


def grid_of(
    feature: Feature, column: Float[np.ndarray, " n"], points: int, spacing: Literal["quantile", "linear"]
) -> Float[np.ndarray, " g"]:
    """Increasing values at which to ask for a feature; every category; empty where nothing was ever observed."""
    if feature.categorical:
        return np.arange(len(feature.categories), dtype=np.float64)
    values = np.asarray(column[~np.isnan(column)])
    if len(values) == 0:
        return values
    return quantile_grid(values, points) if spacing == "quantile" else _linear(feature, values, points)


def quantile_grid(values: Float[np.ndarray, " n"], points: int) -> Float[np.ndarray, " g"]:
    """All distinct values where they are few, else observed values at the 1st to 99th percentile."""
    ordered = np.sort(values)
    distinct = np.asarray(ordered[np.concatenate([[True], np.diff(ordered) > 0])])
    if len(distinct) <= points:
        return distinct
    places = np.ceil(np.linspace(0.01, 0.99, points) * len(ordered)).astype(np.int64) - 1
    return np.unique(ordered[np.maximum(places, 0)])


def _linear(feature: Feature, values: Float[np.ndarray, " n"], points: int) -> Float[np.ndarray, " g"]:
    """Even steps from the smallest to the largest value, widened to what is declared possible."""
    low = min(x for x in (float(values.min()), feature.low) if x is not None)
    high = max(x for x in (float(values.max()), feature.high) if x is not None)
    grid = np.linspace(low, high, points)
    return np.unique(np.round(grid) if feature.kind == "integer" else grid)


def decimals_of(values: Float[np.ndarray, " n"], scale: float, most: int = 6) -> int:
    """How many decimals the data are written with; where they have more than `most`, four digits of `scale`."""
    some = values[:2000]
    for decimals in range(most + 1):
        if np.allclose(some, np.round(some, decimals), rtol=1e-6, atol=0.0):
            return decimals
    return min(12, max(0, 3 - math.floor(math.log10(scale)))) if scale > 0 else most


def spread_of(column: Float[np.ndarray, " n"]) -> float:
    """What counts as one step of a number: median absolute deviation, the range where that is 0, else 1."""
    values = column[~np.isnan(column)]
    if len(values) == 0:
        return 1.0
    deviation = float(np.median(np.abs(values - np.median(values))))
    return deviation or float(np.ptp(values)) or 1.0
