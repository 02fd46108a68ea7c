"""Exact Shapley and Owen values: every coalition that counts is asked once, and weighed.

With v relative to the empty coalition, the value of player i of a union B of s players, one of g unions, is

    phi_i = sum over S with i of  a(h) / (t C(s, t)) v(S)  -  sum over S without i of  a(h) / ((s - t) C(s, t)) v(S),

with t = |S ∩ B|, h the other unions that are in S, a(h) = 1 / (g C(g - 1, h)); coalitions that tear another union
apart have no weight (Owen 1977). Where every union is one player, these are Shapley's weights over all 2^p coalitions.
The sum is one matrix product for all players, reference cases and outputs.
"""

from __future__ import annotations

import dataclasses
from functools import lru_cache

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.typing import ArrayLike

from explainers.games.game import Game
from explainers.lazily import lazily
from explainers.progress import Progress
from explainers.sampling.asking import JOB_BYTES, Found, Job, ask

special = lazily("scipy.special")


@dataclasses.dataclass(frozen=True, eq=False)
class Enumeration:
    """All coalitions of `p` players that have a weight, without the empty and the full one.

    Attributes:
        unions: the union of each player, numbered 0..g-1.
        masks: the coalitions.
    """

    unions: Int[np.ndarray, " p"]
    masks: Bool[np.ndarray, "c p"]

    @staticmethod
    def size(unions: Int[np.ndarray, " p"]) -> int:
        """How many coalitions have a weight, the empty and the full one included."""
        sizes = np.bincount(unions).tolist()
        g = len(sizes)
        return int(2**g + sum(2 ** (g - 1) * (2**s - 2) for s in sizes)) if g else 1

    @classmethod
    def of(cls, unions: Int[np.ndarray, " p"]) -> Enumeration:
        """Write them down; for `Enumeration.size` that has been checked."""
        g = int(unions.max(initial=-1)) + 1
        whole = _subsets(g)[1:-1][:, unions] if g else np.zeros((0, 0), dtype=bool)
        parts = [whole]
        for union in np.flatnonzero(np.bincount(unions) > 1):
            inside = unions == union
            own = _subsets(int(inside.sum()))[1:-1]
            others = _subsets(g - 1)
            masks = np.repeat(np.insert(others, union, False, axis=1)[:, unions], len(own), axis=0)
            masks[:, inside] = np.tile(own, (len(others), 1))
            parts.append(masks)
        return cls(unions, np.concatenate(parts))

    def weights(self, first: int, last: int) -> Float[np.ndarray, "p c"]:
        """What a unit of the value of each of these coalitions adds to each player's value."""
        masks, unions = self.masks[first:last], self.unions
        sizes = np.bincount(unions)
        g = len(sizes)
        present = masks.astype(np.float64) @ np.eye(g)[unions]
        full, empty = present == sizes, present == 0
        torn = ~(full | empty)
        h = (full.sum(axis=1, keepdims=True) - full)[:, unions]
        apart = (torn.sum(axis=1, keepdims=True) - torn)[:, unions] > 0
        t, s = present.astype(np.int64)[:, unions], sizes[unions]
        most = np.arange(max(g, sizes.max()) + 1)
        choose = special.binom(most[:, None], most)
        share = np.where(masks, t, t - s) * choose[s, t] * (g * choose[g - 1, h])
        return np.asarray(np.divide(1.0, share, out=np.zeros_like(share), where=~apart).T)

    @property
    def of_full(self) -> Float[np.ndarray, " p"]:
        """What a unit of the full coalition's value adds to each player's."""
        sizes = np.bincount(self.unions)
        return np.asarray(1.0 / (len(sizes) * sizes[self.unions]))


def _subsets(n: int) -> Bool[np.ndarray, "c n"]:
    """All 2^n subsets of `n` members, the empty one first and the full one last."""
    numbers = np.arange(2**n, dtype=np.int32)
    return (numbers[:, None] >> np.arange(n, dtype=np.int32) & 1).astype(bool)


def unions_of(owner: ArrayLike, players: Bool[np.ndarray, " u"]) -> Int[np.ndarray, " p"]:
    """The unions of those who play, numbered anew."""
    return np.asarray(np.unique(np.asarray(owner)[players], return_inverse=True)[1]).reshape(-1)


def exact_values(game: Game, found: Found, designs: dict[int, Enumeration], progress: Progress) -> int:
    """Fill in the values of the cases in `designs`, one after the other; the number of coalitions asked."""
    b, k = found.empty.shape[1:]
    most = max(16, JOB_BYTES // (8 * b * k))  # of the problem alone: portions cannot change a last digit
    blocks = [
        (row, design, first)
        for row, design in designs.items()
        for first in range(0, max(1, len(design.masks)), most)
    ]
    weights = lru_cache(maxsize=16)(lambda design, first: design.weights(first, first + most))
    each = np.empty(0)

    def close(number: int, answers: np.ndarray) -> None:
        nonlocal each
        row, design, first = blocks[number]
        empty = found.empty[row]
        if first == 0:
            each = design.of_full[:, None, None] * (found.full[row] - empty)
        if len(answers):
            each += np.tensordot(weights(design, first), answers - empty, axes=1)
        if first + most >= len(design.masks):
            found.settle(row, game.players[row], each)
            found.coalitions[row] = len(design.masks) + 2 if len(each) else 2

    jobs = [Job(row, design.masks[first : first + most]) for row, design, first in blocks]
    return ask(game, jobs, close, progress)
