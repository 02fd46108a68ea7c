"""LIME's local model of a picture or a text: a weighted ridge regression on which segments or words are kept.

Coefficients solve (Z~'WZ~ + alpha I) b = Z~'Wy with weighted-centred Z~, the case itself one of the neighbours, with weight 1. All of
that but y is the same for cases with the same number of players: the operator from answers to coefficients is made once.

A coefficient is a sum over the neighbours, so its variance is that of a sum drawn without repetition from each size:
sum (operator times residual)^2 (1 - drawn part of the size), times t / (t - u - 1).
"""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Float

from explainers.sampling.local_masks import Masks

ALPHA = 1.0


@dataclasses.dataclass(frozen=True, eq=False)
class MaskedRidge:
    """The fit for cases with `u` players; rows are the case, the empty mask, and the `t` - 2 masks that were drawn.

    Attributes:
        share: weights of the rows, which sum to one.
        total: their sum before.
        middle: weighted mean of each player's column.
        around: the columns less that.
        operator: from answers to coefficients.
        chance: of each row, how far it is one of many.
    """

    share: Float[np.ndarray, " t"]
    total: float
    middle: Float[np.ndarray, " u"]
    around: Float[np.ndarray, "t u"]
    operator: Float[np.ndarray, "u t"]
    chance: Float[np.ndarray, " t"]

    @classmethod
    def of(cls, drawn: Masks) -> MaskedRidge:
        """The operator of these masks."""
        u = drawn.masks.shape[1]
        z = np.concatenate([np.ones((1, u)), np.zeros((1, u)), drawn.masks])
        weight = np.concatenate([[1 + drawn.whole, drawn.empty], drawn.weight])
        share = weight / weight.sum()
        middle = share @ z
        around = z - middle
        scaled = around.T * weight
        operator = np.linalg.solve(scaled @ around + ALPHA * np.eye(u), scaled)
        chance = np.concatenate([[0.0, 0.0], drawn.drawn])
        return cls(share, float(weight.sum()), middle, around, operator, chance)

    def fit(
        self, answers: Float[np.ndarray, "t k"]
    ) -> tuple[
        Float[np.ndarray, "u k"], Float[np.ndarray, "u k"], Float[np.ndarray, " k"], Float[np.ndarray, " k"]
    ]:
        """Coefficients, their standard error, the intercept, and R²."""
        t, u = self.around.shape
        middle = self.share @ answers
        centred = answers - middle
        coefficients = self.operator @ centred
        residual = centred - self.around @ coefficients
        left, before = self.share @ residual**2, self.share @ centred**2
        r2 = 1 - np.divide(left, before, out=np.zeros_like(left), where=before > 0)
        variance = self.operator**2 @ (self.chance[:, None] * residual**2)
        error = np.sqrt(variance * (t / max(1, t - u - 1)))
        return coefficients, error, middle - self.middle @ coefficients, r2
