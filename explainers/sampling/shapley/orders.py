"""Orders in which players join, in antithetic pairs: an order and its reverse, and the coalitions met on the way.

Along an order every player adds something to those before it; the mean over all orders is its Shapley value. Where the members of
a union always join one after the other, it is its Owen value. A pair is exact for sums of effects of up to two players (of up to two
in a union). Pairs are drawn without replacement; a coalition that several orders meet is listed once.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Int


@dataclasses.dataclass(frozen=True, eq=False)
class Orders:
    """`n` pairs of orders of `p` players.

    Attributes:
        rank: when each player joins in the first order of each pair; in the second it is ``p - 1 - rank``.
        path: the coalitions after 0..p players, of both orders; 0 is the empty one, 1 the full one, 2 and up are `masks`.
        masks: coalitions, in the order in which they are met.
        known: how many of `masks` the first 0..n pairs have met.
        existing: how many pairs there are.
    """

    rank: Int[np.ndarray, "n p"]
    path: Int[np.ndarray, "n 2 p1"]
    masks: Bool[np.ndarray, "c p"]
    known: Int[np.ndarray, " n1"]
    existing: int

    @classmethod
    def draw(cls, unions: Int[np.ndarray, " p"], budget: int, seed: int) -> Orders:
        """As many pairs as meet at most `budget` coalitions, the empty and the full one included.

        There must be more coalitions than the budget, and it must allow one pair: ``2 p``.
        """
        rng = np.random.default_rng(seed)
        p = len(unions)
        number: dict[bytes, int] = {}
        masks: list[np.ndarray] = []
        ranks: list[np.ndarray] = []
        paths, known, seen = [], [0], set()
        while True:
            rank = _order(unions, rng)
            either = min(rank.tobytes(), (p - 1 - rank).tobytes())
            if either in seen:
                continue
            seen.add(either)
            met = _met(rank)
            keys = [row.tobytes() for row in np.packbits(met, axis=1)]
            fresh = {key: i for i, key in enumerate(keys) if key not in number}
            if len(number) + len(fresh) + 2 > budget:
                break
            masks.extend(met[i] for i in fresh.values())
            number.update({key: len(number) + 2 + i for i, key in enumerate(fresh)})
            along = np.array([number[key] for key in keys]).reshape(2, p - 1)
            paths.append(np.column_stack([[0, 0], along, [1, 1]]))
            ranks.append(rank)
            known.append(len(number))
        return cls(np.array(ranks), np.array(paths), np.array(masks), np.array(known), _pairs(unions))

    @property
    def pairs(self) -> int:
        """How many there are."""
        return len(self.rank)

    @property
    def looks(self) -> list[int]:
        """After how many pairs one looks: 1, 2, 4, …, all."""
        return [*(2**i for i in range(self.pairs.bit_length()) if 2**i < self.pairs), self.pairs]

    def stages(self, most: int) -> list[Stage]:
        """The pairs in portions that end at every look and hold at most `most` pairs (at least one)."""
        edges = [0]
        for look in self.looks:
            edges += [*range(edges[-1] + most, look, most), look]
        edges = sorted(set(edges))
        last = np.zeros(len(self.masks) + 2, dtype=np.int64)
        np.maximum.at(last, self.path.reshape(self.pairs, -1), np.arange(self.pairs)[:, None])
        first = np.searchsorted(self.known, np.arange(len(self.masks)), side="right") - 1
        stage = np.searchsorted(edges, [first, last[2:]], side="right")
        again = np.flatnonzero(stage[0] < stage[1]) + 2
        return [Stage(self, a, z, again) for a, z in itertools.pairwise(edges)]


@dataclasses.dataclass(frozen=True, eq=False)
class Stage:
    """Pairs ``first`` to ``last`` (excluded); `again` are the coalitions that any later portion meets again."""

    orders: Orders
    first: int
    last: int
    again: Int[np.ndarray, " r"]

    @property
    def fresh(self) -> slice:
        """Which of the masks are new here."""
        return slice(int(self.orders.known[self.first]), int(self.orders.known[self.last]))

    @cached_property
    def met(self) -> Int[np.ndarray, " l"]:
        """The coalitions met here, by number."""
        return np.asarray(np.unique(self.orders.path[self.first : self.last]))

    @cached_property
    def steps(self) -> tuple[Int[np.ndarray, "n 2 p"], Int[np.ndarray, "n 2 p"]]:
        """Where in `met` the coalitions are that each player meets, and those that it leaves, in both orders."""
        path = np.searchsorted(self.met, self.orders.path[self.first : self.last])
        rank = self.orders.rank[self.first : self.last]
        both = np.stack([rank, rank.shape[1] - 1 - rank], axis=1)
        return np.take_along_axis(path, both, axis=2), np.take_along_axis(path, both + 1, axis=2)

    @cached_property
    def weights(self) -> Float[np.ndarray, "p l"]:
        """What a unit of the value of each of `met` adds to the sum over pairs of each player's contribution."""
        before, after = self.steps
        found = np.zeros((before.shape[2], len(self.met)))
        player = np.broadcast_to(np.arange(before.shape[2]), before.shape)
        np.add.at(found, (player, after), 0.5)
        np.add.at(found, (player, before), -0.5)
        return found

    @cached_property
    def recalled(self) -> tuple[Int[np.ndarray, " o"], Int[np.ndarray, " o"]]:
        """Of coalitions known from earlier portions: where in `met`, and where in `again`."""
        at = np.flatnonzero((self.met >= 2) & (self.met < self.fresh.start + 2))
        return at, np.searchsorted(self.again, self.met[at])

    @cached_property
    def kept(self) -> tuple[Int[np.ndarray, " o"], Int[np.ndarray, " o"]]:
        """Of new coalitions that are met again: where among the new, and where in `again`."""
        place = np.flatnonzero((self.again >= self.fresh.start + 2) & (self.again < self.fresh.stop + 2))
        return self.again[place] - 2 - self.fresh.start, place


def _order(unions: Int[np.ndarray, " p"], rng: np.random.Generator) -> Int[np.ndarray, " p"]:
    """When each player joins: unions in random order, and their members."""
    of_union = rng.permutation(int(unions.max()) + 1)
    return np.asarray(np.argsort(np.lexsort((rng.random(len(unions)), of_union[unions]))))


def _met(rank: Int[np.ndarray, " p"]) -> Bool[np.ndarray, "q p"]:
    """The coalitions after 1..p-1 players, of the order and then of its reverse."""
    joined = rank < np.arange(1, len(rank))[:, None]
    return np.concatenate([joined, ~joined[::-1]])


def _pairs(unions: Int[np.ndarray, " p"]) -> int:
    """How many pairs of orders keep unions together."""
    sizes = np.bincount(unions).tolist()
    return math.factorial(len(sizes)) * math.prod(math.factorial(size) for size in sizes) // 2
