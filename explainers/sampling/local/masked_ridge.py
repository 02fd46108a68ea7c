"""LIME's local model of a picture or a text: a weighted ridge regression on which segments or words are kept.

Coefficients solve (G + alpha I) b = h, with G and h the weighted covariances of players with players, and with answers; the case itself is
one of the neighbours, with weight 1. G is known. For h the answers are taken apart into a rough copy, of which h is known in closed form
(`explainers.sampling.local.mask_moments`), and what it misses, of which h is summed over the neighbours. So only what is missed is left to chance.

The copy is the sampled ridge regression itself and some curvature: powers of the size t, and of q, the direction of that
regression's coefficients. It knows a model that is any smooth function of a sum over players almost wholly.

A coefficient's variance is that of a sum over pairs of neighbours, drawn without repetition from each size:
sum (operator times missed)^2 (1 - drawn part of the size). Missed is there what a copy fitted to all others would miss.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Float, Int

from explainers.sampling.local.mask_moments import power_means, together
from explainers.sampling.local.masks import Masks

ALPHA = 1.0

#: The copy's curves, q^i t^j. A power of t of 1 is a sum of the players' columns, and a power of q of 1 too.
CURVES = ((0, 2), (0, 3), (1, 1), (1, 2), (2, 0), (2, 1), (3, 0))

#: The copy's own ridge, where it has curves: of lines and curves of unit variance.
LOOSE = 1e-3

#: Leverage that a row is taken to have at most: beyond that nothing is known of what the copy would miss.
MOST = 0.9

#: Neighbours that the curves need for each column of the copy.
NEIGHBOURS = 3

Parts = tuple[
    Float[np.ndarray, "u k"], Float[np.ndarray, "u k"], Float[np.ndarray, " k"], Float[np.ndarray, " k"]
]


@dataclasses.dataclass(frozen=True, eq=False)
class _Curves:
    """The curves of a direction at the rows; their sums in the law, and those of their products with the players."""

    rows: Float[np.ndarray, "t c"]
    sums: Float[np.ndarray, " c"]
    products: Float[np.ndarray, "c u"]


@dataclasses.dataclass(frozen=True, eq=False)
class MaskedRidge:
    """The fit for cases with `u` players; rows are the case, the empty mask, and the `t` - 2 masks that were drawn.

    Attributes:
        z: which players each row keeps.
        weight: of the rows; `share` the same, which sum to one.
        mass: weight of all neighbours by how many players they keep, the case with the whole.
        middle: mean of each player's column, the same for all, in the law.
        inverse: of G + alpha I in the law.
        around: the columns less their mean over the rows.
        sampled: the inverse over the rows.
        leverage: of the rows in a copy without curves.
        lever: from what is missed, times weight, to coefficients; 0 where nothing was left to chance.
        starts: the first row of each pair.
        curved: whether rows are enough for curves.
    """

    z: Float[np.ndarray, "t u"]
    weight: Float[np.ndarray, " t"]
    share: Float[np.ndarray, " t"]
    mass: Float[np.ndarray, " sizes"]
    middle: float
    inverse: Float[np.ndarray, "u u"]
    around: Float[np.ndarray, "t u"]
    sampled: Float[np.ndarray, "u u"]
    leverage: Float[np.ndarray, " t"]
    lever: Float[np.ndarray, "t u"]
    starts: Int[np.ndarray, " pairs"]
    curved: bool

    @classmethod
    def of(cls, drawn: Masks) -> MaskedRidge:
        """All of the fit but the answers."""
        u = drawn.masks.shape[1]
        z = np.concatenate([np.ones((1, u)), np.zeros((1, u)), drawn.masks])
        weight = np.concatenate([[1 + drawn.whole, drawn.empty], drawn.weight])
        share, mass = weight / weight.sum(), drawn.mass + (np.arange(u + 1) == u)
        _, one, two = together(u, 2)
        middle = float(mass @ one / mass.sum())
        inner = mass @ two - mass.sum() * middle**2 + np.diag(np.full(u, mass @ (one - two)))
        inverse = np.linalg.inv(inner + ALPHA * np.eye(u))
        curved = not drawn.exact and len(z) >= NEIGHBOURS * (u + len(CURVES))
        around = z - share @ z
        heavy = around * weight[:, None]
        sampled = np.linalg.inv(_inner(heavy, around) + (LOOSE if curved else ALPHA) * np.eye(u))
        leverage = ((heavy @ sampled) * around).sum(axis=1) + share
        chance = np.concatenate([[0.0, 0.0], drawn.drawn])
        lever = ((z - middle) * np.sqrt(chance)[:, None]) @ inverse
        starts = np.flatnonzero(np.diff(np.concatenate([[-3, -2, -1], drawn.pair])))
        return cls(
            z, weight, share, mass, middle, inverse, around, sampled, leverage, lever, starts, curved
        )  # fmt: skip

    def fit(self, answers: Float[np.ndarray, "t k"]) -> Parts:
        """Coefficients, their standard error, the intercept, and R²."""
        base = self.share @ answers
        centred = answers - base
        copies = [self._copy(column) for column in centred.T]
        missed, unseen, along, centre = (np.stack(part, axis=-1) for part in zip(*copies, strict=True))
        right = along + self.z.T @ (missed * self.weight[:, None]) - self.middle * self.mass.sum() * centre
        coefficients = self.inverse @ right
        residual = centred - self.around @ coefficients
        left, before = self.share @ residual**2, self.share @ centred**2
        r2 = 1 - np.divide(left, before, out=np.zeros_like(left), where=before > 0)
        noise = [
            np.add.reduceat(self.lever * part[:, None], self.starts) for part in (unseen.T * self.weight)
        ]
        error = np.sqrt(np.stack([(each**2).sum(axis=0) for each in noise], axis=-1))
        return coefficients, error, base + centre - self.middle * coefficients.sum(axis=0), r2

    def _copy(
        self, answers: Float[np.ndarray, " t"]
    ) -> tuple[
        Float[np.ndarray, " t"], Float[np.ndarray, " t"], Float[np.ndarray, " u"], Float[np.ndarray, ""]
    ]:
        """What a copy of one output misses of each row, and what it would miss of rows not seen.

        Then, in the law, the sums of its products with the players' columns, and its mean.
        """
        _, one, two = (self.mass @ part for part in together(self.z.shape[1], 2))
        lines = self.sampled @ (self.around.T @ (self.weight * answers))
        curves = self._curves(lines)
        around = curves.rows - self.share @ curves.rows
        scale = np.sqrt(self.share @ around**2)
        scale[scale == 0] = 1.0
        across = self.sampled @ (self.around.T @ (around / scale * self.weight[:, None]))
        apart = around / scale - self.around @ across  # the curves, less what lines have of them
        heavy = apart * self.weight[:, None]
        inverse = np.linalg.inv(heavy.T @ (around / scale) + LOOSE * np.eye(len(scale)))
        bend = inverse @ (heavy.T @ answers)
        lines, bend = lines - across @ bend, bend / scale
        missed = answers - self.around @ lines - around @ bend
        missed -= self.share @ missed
        constant = -(self.share @ self.z) @ lines - (self.share @ curves.rows) @ bend
        along = one * constant + two * lines.sum() + (one - two) * lines + bend @ curves.products
        centre = constant + (one * lines.sum() + bend @ curves.sums) / self.mass.sum()
        leverage = self.leverage + ((heavy @ inverse) * apart).sum(axis=1)
        return missed, missed / (1 - np.minimum(leverage, MOST)), along, np.asarray(centre)

    def _curves(self, lines: Float[np.ndarray, " u"]) -> _Curves:
        """Those of the direction of these coefficients, or none."""
        u = len(lines)
        if not self.curved:
            return _Curves(np.zeros((len(self.z), 0)), np.zeros(0), np.zeros((0, u)))
        direction = lines - lines.mean()
        direction /= max(float(np.sqrt((direction**2).sum())), 1e-300)
        kept, size = (2 * sums / u - 1 for sums in (self.z.sum(axis=1), np.arange(u + 1)))
        q, (plain, with_it) = self.z @ direction, power_means(direction)
        rows = np.stack([q**i * kept**j for i, j in CURVES], axis=1)
        mass = [self.mass * size**j for _, j in CURVES]
        sums = np.array([each @ plain[i] for each, (i, _) in zip(mass, CURVES, strict=True)])
        products = np.array([each @ with_it[i] for each, (i, _) in zip(mass, CURVES, strict=True)])
        return _Curves(rows, sums, products)


def _inner(heavy: Float[np.ndarray, "t u"], around: Float[np.ndarray, "t u"]) -> Float[np.ndarray, "u u"]:
    """``heavy.T @ around`` in blocks of rows: so small that no threads are woken, which wait for each other longer than they work."""
    t, u = heavy.shape
    found, rows = np.zeros((u, u)), max(64, 10**6 // max(1, u * u))
    for start in range(0, t, rows):
        found += heavy[start : start + rows].T @ around[start : start + rows]
    return found
