"""Is a case like anything the data hold? Ranges of single features, and the distance to the nearest known case."""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Float

from explainers.dataset import Dataset
from explainers.schema import Schema

#: Known cases that distances are measured to, and how many numbers these may hold; more change little.
KNOWN, KNOWN_NUMBERS = 2000, 2_000_000


@dataclasses.dataclass(frozen=True, eq=False)
class Plausibility:
    """What the data hold, in a form that answers quickly.

    Attributes:
        low, high: observed range of each feature, ``(d,)`` codes.
        decimals: digits after the point that the data are recorded with, ``(d,)``.
        usual: the distance that 99 % of known cases have to their nearest neighbour.
    """

    schema: Schema
    low: Float[np.ndarray, " d"]
    high: Float[np.ndarray, " d"]
    decimals: np.ndarray
    usual: float
    _known: Float[np.ndarray, "b d"]
    _width: Float[np.ndarray, " d"]

    @classmethod
    def of(cls, data: Dataset) -> Plausibility:
        """Measure a table; training rows are what is known, where they are marked."""
        matrix = data.matrix
        with np.errstate(all="ignore"):
            low, high = _bounds(matrix)
        known = matrix[data.sample(max(20, min(KNOWN, KNOWN_NUMBERS // max(matrix.shape[1], 1))))]
        width = _width(known, data.schema)
        nearest = _nearest(known[: max(20, len(known) // 4)], known, width, data.schema, skip_self=True)
        usual = float(np.quantile(nearest, 0.99)) if len(known) > 1 else 0.0
        return cls(data.schema, low, high, _decimals(matrix), usual, known, width)

    def outside(self, codes: Float[np.ndarray, " d"]) -> list[str]:
        """Names of the features that lie outside everything the data hold."""
        beyond = (codes < self.low) | (codes > self.high)
        return [self.schema.names[j] for j in np.flatnonzero(beyond)]

    def unlike(self, codes: Float[np.ndarray, " d"]) -> bool:
        """Whether the case as a whole is farther from every known case than known cases are from each other."""
        distance = _nearest(codes[None], self._known, self._width, self.schema, skip_self=False)[0]
        return bool(distance > self.usual * 1.0001 + 1e-9)


def _bounds(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    empty = np.isnan(matrix).all(axis=0)
    filled = np.where(empty, 0.0, matrix)
    return np.nanmin(filled, axis=0), np.nanmax(filled, axis=0)


def _decimals(matrix: np.ndarray) -> np.ndarray:
    """The fewest digits, up to six, that write every value of a column."""
    found = np.zeros(matrix.shape[1], dtype=np.int64)
    for j in range(matrix.shape[1]):
        values = matrix[:2000, j]
        values = values[~np.isnan(values)]
        while found[j] < 6 and not np.allclose(values, np.round(values, found[j]), rtol=1e-9, atol=1e-9):
            found[j] += 1
    return found


def _width(known: np.ndarray, schema: Schema) -> np.ndarray:
    """What counts as a distance of one: the standard deviation of a number, any change of a category."""
    filled = np.where(
        np.isnan(known), np.nanmean(np.where(np.isnan(known).all(axis=0), 0.0, known), axis=0), known
    )
    width = filled.std(axis=0)
    width[list(schema.categorical)] = 1.0
    return np.where(width > 0, width, 1.0)


def _nearest(
    cases: np.ndarray, known: np.ndarray, width: np.ndarray, schema: Schema, skip_self: bool
) -> np.ndarray:
    categorical = np.zeros(known.shape[1], dtype=bool)
    categorical[list(schema.categorical)] = True
    nearest = np.empty(len(cases))
    for i, case in enumerate(cases):
        gap = np.nan_to_num(np.abs(known - case) / width)
        gap[:, categorical] = gap[:, categorical] > 0
        distance = np.sqrt((gap**2).sum(axis=1))
        if skip_self and i < len(distance):
            distance[i] = np.inf
        nearest[i] = distance.min()
    return nearest
