"""Mean and spread of curves over rows that come in portions."""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Float


@dataclasses.dataclass(frozen=True, eq=False)
class Moments:
    """Mean and sum of squared deviations of `count` rows' curves, ``(g,)``; those of two sets of rows can be added."""

    count: int
    mean: Float[np.ndarray, " g"]
    squares: Float[np.ndarray, " g"]

    @classmethod
    def none(cls, places: int) -> Moments:
        """Of no rows."""
        return cls(0, np.zeros(places), np.zeros(places))

    @classmethod
    def of(cls, curves: Float[np.ndarray, "g n"]) -> Moments:
        """Of the curves of one row or more."""
        mean = curves.mean(axis=1)
        return cls(curves.shape[1], mean, ((curves - mean[:, None]) ** 2).sum(axis=1))

    def __add__(self, other: Moments) -> Moments:
        """Of both sets of rows, at least one of them with rows (Chan, Golub and LeVeque 1979)."""
        moved, total = other.mean - self.mean, self.count + other.count
        squares = self.squares + other.squares + moved**2 * self.count * other.count / total
        return Moments(total, self.mean + moved * other.count / total, squares)

    def standard_error(self, rows: int) -> Float[np.ndarray, " g"]:
        """Of a mean over `rows` rows; NaN where the spread of a single one is unknown."""
        if self.count < 2:
            return np.full(len(self.mean), np.nan)
        return np.asarray(np.sqrt(self.squares / (self.count - 1) / rows))
