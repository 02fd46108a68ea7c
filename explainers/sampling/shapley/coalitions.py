"""Which coalitions to ask for: all of them, or pairs at leverage sizes without replacement.

A coalition and its complement are always asked together. Pairs are stratified by size: every size from 1 to d - 1
gets the same number of coalitions (their leverage scores in Shapley's regression are equal in sum: Musco and
Witter, "Provably accurate Shapley value estimation via leverage score sampling", 2025), a size that has fewer is
taken whole and the rest is shared out. Weights are Shapley kernel weight / inclusion probability.

The pairs of a size stand in random order, so the first few of each size are a smaller draw of the same kind: an estimate
can begin with those (`Coalitions.first_pairs`) and go on with the rest, and nothing is asked twice.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Int

from explainers.errors import InvalidSetting


@dataclasses.dataclass(frozen=True, eq=False)
class Coalitions:
    """Pairs of coalitions of `d` features, without the empty and the full one.

    Attributes:
        first: one coalition of each pair; the other is its complement.
        weights: of each of the two in the regression.
        stratum: which size class a pair was drawn from.
        drawn, existing: pairs drawn and pairs there are, for each stratum.
    """

    first: Bool[np.ndarray, "p d"]
    weights: Float[np.ndarray, " p"]
    stratum: Int[np.ndarray, " p"]
    drawn: tuple[int, ...]
    existing: tuple[int, ...]

    @cached_property
    def masks(self) -> Bool[np.ndarray, "c d"]:
        """All coalitions: the first of every pair, then the complements in the same order."""
        return np.concatenate([self.first, ~self.first])

    @property
    def exact(self) -> bool:
        """Whether no coalition is left out."""
        return self.drawn == self.existing

    @property
    def telling(self) -> bool:
        """Whether these coalitions tell all features apart."""
        d = self.first.shape[1]
        rows = centred(self.first)
        return len(rows) >= d - 1 and bool(np.linalg.matrix_rank(rows.T @ rows, hermitian=True) == d - 1)

    def first_pairs(self, budget: int) -> Int[np.ndarray, " q"]:
        """Positions of the pairs that a smaller budget would have drawn, ascending: more of every size for a larger one."""
        d = self.first.shape[1]
        wanted = _allocate(d, (budget - 2) // 2, self.existing) if 2**d > budget else self.existing
        place = np.arange(len(self.stratum)) - (np.cumsum(self.drawn) - self.drawn)[self.stratum]
        return np.flatnonzero(place < np.minimum(wanted, self.drawn)[self.stratum])

    def part(self, pairs: Int[np.ndarray, " q"]) -> Coalitions:
        """The draw of these pairs alone."""
        stratum = self.stratum[pairs]
        drawn = tuple(int(n) for n in np.bincount(stratum, minlength=len(self.existing)))
        weights = _weights(self.first.shape[1], drawn)[stratum]
        return Coalitions(self.first[pairs], weights, stratum, drawn, self.existing)


def coalitions(d: int, budget: int, seed: int) -> Coalitions:
    """At most `budget` coalitions of `d` features, the empty and the full one included: all where they fit.

    Raises `InvalidSetting` where the budget is too small to tell the features apart.
    """
    if 2**d <= budget:
        return _all(d, seed)
    if budget < 2 * d + 2:
        raise InvalidSetting(f"{d} features need a budget of at least {2 * d + 2} coalitions; got {budget}.")
    rng = np.random.default_rng(seed)
    for _ in range(100):
        design = _sampled(d, (budget - 2) // 2, rng)
        if design.telling:
            return design
    raise InvalidSetting(f"A budget of {budget} coalitions did not tell {d} features apart; try {4 * d + 4}.")


def centred(masks: Bool[np.ndarray, "p d"]) -> Float[np.ndarray, "p d"]:
    """Indicator rows minus their mean, so that they are orthogonal to (1, …, 1)."""
    rows = masks.astype(np.float64)
    return np.asarray(rows - rows.mean(axis=1, keepdims=True))


def _all(d: int, seed: int) -> Coalitions:
    """Every coalition without the last feature stands for its pair."""
    numbers = np.random.default_rng(seed).permutation(np.arange(1, 2 ** (d - 1)))
    first = (numbers[:, None] >> np.arange(d) & 1).astype(bool)
    size = first.sum(axis=1)
    stratum = np.minimum(size, d - size) - 1
    order = np.argsort(stratum, kind="stable")
    counts = _existing(d)
    return Coalitions(first[order], _weights(d, counts)[stratum[order]], stratum[order], counts, counts)


def _sampled(d: int, pairs: int, rng: np.random.Generator) -> Coalitions:
    existing = _existing(d)
    drawn = _allocate(d, pairs, existing)
    first = np.concatenate([_draw(d, s, n, existing[s - 1], rng) for s, n in enumerate(drawn, start=1)])
    stratum = np.repeat(np.arange(len(drawn)), drawn)
    return Coalitions(first, _weights(d, drawn)[stratum], stratum, drawn, existing)


def _existing(d: int) -> tuple[int, ...]:
    """Pairs {S, complement} whose smaller half has size 1, 2, …, d // 2."""
    return tuple(math.comb(d, s) // (2 if 2 * s == d else 1) for s in range(1, d // 2 + 1))


def _weights(d: int, drawn: tuple[int, ...]) -> Float[np.ndarray, " s"]:
    """Kernel weight (d - 1) / (C(d, s) s (d - s)) over inclusion probability; the binomials cancel."""
    return np.array(
        [(d - 1) / (s * (d - s) * max(n, 1)) / (2 if 2 * s == d else 1) for s, n in enumerate(drawn, start=1)]
    )


def _allocate(d: int, pairs: int, existing: tuple[int, ...]) -> tuple[int, ...]:
    """The same number of coalitions for every size, no more than exist, and at least one pair each."""
    share = np.array([0.5 if 2 * s == d else 1.0 for s in range(1, len(existing) + 1)])
    most = np.array([min(n, pairs) for n in existing])
    drawn = np.zeros(len(existing), dtype=np.int64)
    open_ = np.ones(len(existing), dtype=bool)
    while open_.any():
        quota = share * (pairs - drawn[~open_].sum()) / share[open_].sum()
        full = open_ & (quota >= most)
        if not full.any():
            drawn[open_] = np.maximum(1, np.floor(quota[open_])).astype(np.int64)
            break
        drawn[full] = most[full]
        open_ &= ~full
    for s in np.resize(np.flatnonzero(open_), max(0, pairs - int(drawn.sum())) if open_.any() else 0):
        drawn[s] += drawn[s] < most[s]
    return tuple(int(n) for n in drawn)


def _draw(d: int, size: int, count: int, existing: int, rng: np.random.Generator) -> Bool[np.ndarray, "n d"]:
    """`count` different pairs of this size, uniformly; of complements of equal size the one with feature 0."""
    if 2 * count >= existing:
        chosen = rng.choice(existing, count, replace=False)
        every = itertools.islice(itertools.combinations(range(d), size), existing)  # those with 0 come first
        members = np.array(list(every))[chosen]
        return _indicators(members, d)
    found = np.empty((0, d), dtype=bool)
    while len(found) < count:
        members = rng.random((count - len(found) + 8, d)).argpartition(size - 1, axis=1)[:, :size]
        more = _indicators(members, d)
        if 2 * size == d:
            more ^= ~more[:, :1]
        both = np.concatenate([found, more])
        _, earliest = np.unique(np.packbits(both, axis=1), axis=0, return_index=True)
        found = both[np.sort(earliest)]
    return found[:count]


def _indicators(members: Int[np.ndarray, "n s"], d: int) -> Bool[np.ndarray, "n d"]:
    masks = np.zeros((len(members), d), dtype=bool)
    np.put_along_axis(masks, members, True, axis=1)
    return masks
