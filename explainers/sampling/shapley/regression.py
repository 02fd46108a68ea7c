"""Shapley values from coalition values: weighted least squares under efficiency, in closed form.

With c = 1_S - |S|/d (orthogonal to 1) and D = v(S) - v(S') - (2|S| - d)/d (v(N) - v(0)) for each pair S, S',

    phi = (v(N) - v(0)) / d + K D,        K = H^-1 C' W,        H = 2 C' W C + 11'/d.

K depends on the coalitions only: one matrix solves all rows and outputs, and since its columns sum to zero the
values always add up. With all coalitions and Shapley's weights these are the exact values.

Error of sampled coalitions: the linearised estimate is a sum of one term per drawn pair, u = K R / (1 - h) with
residual R and leverage h (a jackknife, so that overfitted residuals do not flatter); the variance is that of
stratified sampling without replacement, sum over sizes of (1 - drawn / existing) n / (n - 1) sum (u - mean u)^2.
Where the budget is so small that a pair cannot be left out (h = 1), residuals are pooled over all pairs instead.
"""

from __future__ import annotations

import dataclasses
from functools import cached_property

import numpy as np
from jaxtyping import Float, Int

from explainers.sampling.shapley.coalitions import Coalitions, centred


@dataclasses.dataclass(frozen=True, eq=False)
class ShapleyRegression:
    """The solution matrices of one set of coalitions.

    Attributes:
        coalitions: what is asked.
        pairs: `K`; values per unit of a pair's difference.
        spread: what a row's total difference adds to the values, over and above `K` times the coalition values.
    """

    coalitions: Coalitions
    pairs: Float[np.ndarray, "d p"]
    spread: Float[np.ndarray, " d"]
    leverage: Float[np.ndarray, " p"]

    @classmethod
    def of(cls, coalitions: Coalitions) -> ShapleyRegression:
        """Solve once for these coalitions."""
        c = centred(coalitions.first)
        d = c.shape[1]
        weighted = c.T * coalitions.weights
        pairs = np.linalg.solve(2 * weighted @ c + np.full((d, d), 1 / d), weighted)
        pairs -= pairs.mean(axis=0)
        excess = 2 * coalitions.first.sum(axis=1) / d - 1
        return cls(coalitions, pairs, 1 / d - pairs @ excess, 2 * np.einsum("dp,pd->p", pairs, c))

    @cached_property
    def unknown(self) -> Float[np.ndarray, " p"]:
        """The share of each pair's size that was not asked."""
        design = self.coalitions
        return np.asarray((1 - np.divide(design.drawn, design.existing))[design.stratum])

    def estimated(
        self, known: Float[np.ndarray, " p"], left_out: Float[np.ndarray, " p"], gain: float
    ) -> tuple[Float[np.ndarray, " d"], Float[np.ndarray, " d"]]:
        """Values and errors of what a control variate leaves of the differences, `gain` for all players together.

        `known` are its residuals where it was fitted, `left_out` those of pairs that it did not see. For the coalitions that
        were asked the first are true; those that were not asked are like the second.
        """
        likely = (1 - self.unknown) * known + self.unknown * left_out
        values = self.pairs @ likely + self.spread * gain
        rest = self.pairs @ left_out + self.spread * gain
        return values, self.standard_error(left_out[:, None], rest[:, None])[:, 0]

    def standard_error(
        self, differences: Float[np.ndarray, "p k"], values: Float[np.ndarray, "d k"]
    ) -> Float[np.ndarray, "d k"]:
        """Error of `values` of one row because not all coalitions were asked; 0 where all were.

        `differences` are v(S) - v(S') of the pairs.
        """
        design = self.coalitions
        excess = 2 * design.first.sum(axis=1) / design.first.shape[1] - 1
        residual = differences - excess[:, None] * values.sum(axis=0) - 2 * centred(design.first) @ values
        if self.leverage.max(initial=0) > 0.99:
            return np.asarray(np.sqrt(self._pooled(residual)))
        residual /= (1 - self.leverage)[:, None]
        terms = self.pairs[:, :, None] * residual[None]
        variance = np.einsum("dpk,p->dk", terms**2, self._of_squares[design.stratum])
        sums = np.add.reduceat(terms, self._starts, axis=1)
        variance -= np.einsum("dsk,s->dk", sums**2, self._of_sums[self._sizes])
        return np.asarray(np.sqrt(np.maximum(variance, 0.0)))

    @cached_property
    def _sizes(self) -> Int[np.ndarray, " s"]:
        """The sizes of which pairs were drawn; pairs of a size stand together."""
        return np.flatnonzero(self.coalitions.drawn)

    @cached_property
    def _starts(self) -> Int[np.ndarray, " s"]:
        return np.searchsorted(self.coalitions.stratum, self._sizes)

    @cached_property
    def _of_squares(self) -> Float[np.ndarray, " e"]:
        """What the squared terms of a size count: (1 - drawn / existing) n / (n - 1); nothing where all were drawn."""
        drawn, existing = (
            np.array(self.coalitions.drawn),
            np.array(self.coalitions.existing, dtype=np.float64),
        )
        return np.asarray((1 - drawn / existing) * np.where(drawn > 1, drawn / np.maximum(drawn - 1, 1), 1.0))

    @cached_property
    def _of_sums(self) -> Float[np.ndarray, " e"]:
        """What the squared sum of a size takes off; a single pair has no scatter of its own."""
        drawn = np.array(self.coalitions.drawn)
        return np.asarray(np.where(drawn > 1, self._of_squares / np.maximum(drawn, 1), 0.0))

    def _pooled(self, residual: Float[np.ndarray, "p k"]) -> Float[np.ndarray, "d k"]:
        """Variance with one residual variance for all pairs, in units of 1 / weight."""
        design = self.coalitions
        p, d = design.first.shape
        left_out = 1 - np.divide(design.drawn, design.existing)[design.stratum]
        unit = design.weights @ residual**2 / (p - d + 1)
        return np.outer(self.pairs**2 @ (left_out / design.weights), unit)
