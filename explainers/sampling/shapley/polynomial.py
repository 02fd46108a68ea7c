"""A polynomial of the masks as control variate: what an additive fit misses is mostly smooth, and of that the exact values are known.

What is left of v after an additive fit is odd where it matters (Shapley values see only v(S) - v(S')), and is learnt by kernel ridge
regression with the odd part of

    k(S, T) = product over players of (1 + rho s_j t_j),    s, t = +-1,

in which a product of q players has weight rho^q: few players together count more than many. By the multilinear extension the Shapley values of k(., T) are

    2 rho t_j integral over u from -1 to 1 of (1 + rho u)^a (1 - rho u)^b du / 2,

a and b the other players in and out of T: a polynomial, so Gauss-Legendre nodes give it exactly (Owen 1972). The matrices depend on the coalitions only:
they are made once for all cases, reference cases and outputs.

The estimate stays that of a sample: where a pair was asked its residual is known, where not it is judged by the residuals that pairs have when they
are left out (in closed form), so a poor polynomial costs precision and not correctness. Kernel and penalty are chosen for each case by the same
residuals; what that flatters is no more than what a pair left out is judged too hard (measured: `benchmarks blackbox --only coverage`). Related: PolySHAP (2026), which fits the polynomial's coefficients.
"""

from __future__ import annotations

import dataclasses
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float, Int

from explainers.lazily import lazily
from explainers.sampling.shapley.regression import ShapleyRegression

if TYPE_CHECKING:
    import torch
else:
    torch = lazily("torch")

#: How fast the weight falls with the number of players, ``rho`` times the number of players, and penalties, that are tried.
RATES, PENALTIES = (1.2, 5.0), (1e-5, 1e-2)

#: Pairs the polynomial is fitted to at most: its matrices grow with the square, their inverse with the cube.
MOST_PAIRS = 1024

#: Other pairs whose kernel with the fitted ones is kept; of more it is made anew, in blocks, each time.
MOST_KEPT = 8192


@dataclasses.dataclass(frozen=True, eq=False)
class Kernel:
    """One kernel between `r` pairs that were not fitted and `q` coalitions that were; 1 between equal coalitions."""

    known: Bool[np.ndarray, "q d"]
    others: Bool[np.ndarray, "r d"]
    rho: float

    @cached_property
    def scale(self) -> float:
        """What the product itself is between equal coalitions."""
        d = self.known.shape[1]
        return float(((1 + self.rho) ** d - (1 - self.rho) ** d) / 2)

    def between(self, masks: Bool[np.ndarray, "s d"]) -> Float[np.ndarray, "s q"]:
        """The kernel of these coalitions with those that were fitted."""
        return np.asarray(_odd_kernel(masks, self.known, self.rho) / self.scale)

    @cached_property
    def shapley(self) -> Float[np.ndarray, "d q"]:
        """Values of each kernel function."""
        return np.asarray(_values_of_kernel(self.known, self.rho) / self.scale)

    @cached_property
    def _across(self) -> Float[np.ndarray, "r q"]:
        return self.between(self.others)

    def at_others(self, weights: Float[np.ndarray, " q"]) -> Float[np.ndarray, " r"]:
        """The sum of kernel functions with these weights, at the pairs that were not fitted."""
        if len(self.others) <= MOST_KEPT:
            return np.asarray(self._across @ weights)
        blocks = np.array_split(self.others, -(-len(self.others) // MOST_KEPT))
        return np.concatenate([self.between(block) @ weights for block in blocks])


@dataclasses.dataclass(frozen=True, eq=False)
class Candidate:
    """One kernel and penalty, ready for any answers of the fitted pairs and the full coalition.

    Attributes:
        inverse: of kernel matrix plus penalty.
    """

    kernel: Kernel
    penalty: float
    inverse: Float[np.ndarray, "q q"]


@dataclasses.dataclass(frozen=True, eq=False)
class Polynomial:
    """The candidates for one draw of coalitions; `fitted` and `others` are positions of its pairs."""

    fit: ShapleyRegression
    fitted: Int[np.ndarray, " f"]
    others: Int[np.ndarray, " r"]
    candidates: tuple[Candidate, ...]

    @classmethod
    def of(cls, fit: ShapleyRegression, seed: int) -> Polynomial:
        """Prepare for a draw that leaves some coalitions out."""
        p, d = fit.coalitions.first.shape
        order = np.random.default_rng(seed).permutation(p) if p > MOST_PAIRS else np.arange(p)
        fitted, others = order[:MOST_PAIRS], order[MOST_PAIRS:]
        first = fit.coalitions.first
        known = np.vstack([first[fitted], np.ones((1, d), dtype=bool)])
        kernels = [Kernel(known, first[others], min(rate / d, 0.9)) for rate in RATES]
        return cls(fit, fitted, others, tuple(made for kernel in kernels for made in _candidates(kernel)))

    def corrected(
        self, differences: Float[np.ndarray, "p k"], plain: Float[np.ndarray, "d k"]
    ) -> tuple[Float[np.ndarray, "d k"], Float[np.ndarray, "d k"]]:
        """Values and errors of one case, from ``v(S) - v(S')`` of the pairs and the values of the additive fit."""
        values, error = np.empty_like(plain), np.empty_like(plain)
        signs = 2.0 * self.fit.coalitions.first - 1.0
        for output in range(plain.shape[1]):
            odd = (differences[:, output] - signs @ plain[:, output]) / 2
            own, known, left_out = self._best(odd)
            rest, rest_error = self.fit.estimated(2 * known, 2 * left_out, -own.sum())
            values[:, output] = plain[:, output] + own + rest
            error[:, output] = rest_error
        return values, error

    def _best(self, odd: Float[np.ndarray, " p"]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Values of the best candidate's polynomial, and its residuals: as it is, and where each pair is left out."""
        unknown = self.fit.unknown
        y = np.append(odd[self.fitted], 0.0)  # all players together: the additive fit has nothing left there
        found: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None
        least = np.inf
        for candidate in self.candidates:
            weights = candidate.inverse @ y
            known, left_out = np.empty_like(odd), np.empty_like(odd)
            known[self.fitted] = candidate.penalty * weights[:-1]
            left_out[self.fitted] = (weights / np.diag(candidate.inverse))[:-1]
            known[self.others] = left_out[self.others] = odd[self.others] - candidate.kernel.at_others(
                weights
            )
            lost = float(unknown @ left_out**2)
            if found is None or lost < least:
                least, found = lost, (candidate.kernel.shapley @ weights, known, left_out)
        assert found is not None
        return found


def _candidates(kernel: Kernel) -> list[Candidate]:
    """One kernel with every penalty."""
    matrix = kernel.between(kernel.known)
    return [
        Candidate(kernel, penalty, _inverse(matrix + penalty * np.eye(len(matrix)))) for penalty in PENALTIES
    ]


def _inverse(matrix: Float[np.ndarray, "q q"]) -> Float[np.ndarray, "q q"]:
    """Of a positive definite matrix, by Cholesky: a third of the work of a general inverse."""
    return np.asarray(torch.cholesky_inverse(torch.linalg.cholesky(torch.from_numpy(matrix))).numpy())


def _odd_kernel(
    one: Bool[np.ndarray, "r d"], other: Bool[np.ndarray, "q d"], rho: float
) -> Float[np.ndarray, "r q"]:
    d = one.shape[1]
    apart = np.arange(d + 1)  # the kernel sees only in how many players two coalitions differ
    even_and_odd = (1 + rho) ** (d - apart) * (1 - rho) ** apart
    table = (even_and_odd - even_and_odd[::-1]) / 2
    together = (2.0 * one - 1) @ (2.0 * other - 1).T
    return np.asarray(table[np.rint((d - together) / 2).astype(np.int64)])


def _values_of_kernel(masks: Bool[np.ndarray, "q d"], rho: float) -> Float[np.ndarray, "d q"]:
    """Shapley values of each kernel function: they depend on the size of T, and on whether a player is in it."""
    d = masks.shape[1]
    nodes, weights = np.polynomial.legendre.leggauss(d // 2 + 1)
    of_others = [
        (weights / 2 * (1 + rho * nodes) ** inside * (1 - rho * nodes) ** (d - 1 - inside)).sum()
        for inside in range(d)
    ]
    inside = masks.sum(axis=1) - masks.T.astype(np.int64)
    return np.asarray(2 * rho * (2.0 * masks.T - 1) * np.array(of_others)[inside])
