"""How LIME draws neighbours of a picture or a text, and how it weighs them: masks of `u` segments or words.

In both laws masks of the same size are equally likely, and equally near: a neighbour that keeps `s` of `u` players weighs
sqrt(exp(-D^2 / width^2)), D = 1 - sqrt(s / u) its cosine distance to the whole, width 0.25. (For texts the package ``lime`` takes
100 D and width 25, which is the same.) A picture keeps each segment with probability 1/2; of a text 1 to `u` words are removed, each
number as likely.

So masks are drawn size by size, without repetition; a size of which all masks fit is taken whole. Where that
holds for every size, nothing is left to chance. Within a size masks come in pairs, from both ends of a random order.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int

WIDTH = 0.25

#: Sizes with less than this of the weight are left out.
NOTHING = 1e-8


@dataclasses.dataclass(frozen=True, eq=False)
class Masks:
    """Different neighbours of a case with `u` players; neither the whole nor the empty one is among them.

    Attributes:
        masks: True for a player that is kept.
        weight: what each stands for.
        drawn: the part of its size's masks that is not here; 0 for sizes taken whole.
        pair: masks with the same number were drawn together.
        mass: the weight of all neighbours that keep 0, 1, …, `u` players.
    """

    masks: Bool[np.ndarray, "t u"]
    weight: Float[np.ndarray, " t"]
    drawn: Float[np.ndarray, " t"]
    pair: Int[np.ndarray, " t"]
    mass: Float[np.ndarray, " sizes"]

    @property
    def whole(self) -> float:
        """Weight of the neighbours that keep all."""
        return float(self.mass[-1])

    @property
    def empty(self) -> float:
        """Weight of the neighbours that keep none."""
        return float(self.mass[0]) if self.masks.shape[1] else 0.0

    @property
    def exact(self) -> bool:
        """Whether all masks are here."""
        return bool((self.drawn == 0).all())


def size_weights(kind: Literal["image", "text"], players: int) -> Float[np.ndarray, " sizes"]:
    """Probability times weight of neighbours that keep 0, 1, …, `players` players."""
    distance = 1 - np.sqrt(np.arange(players + 1) / max(1, players))
    return np.asarray(_likely(kind, players) * np.exp(-(distance**2) / (2 * WIDTH**2)))


def _likely(kind: Literal["image", "text"], players: int) -> Float[np.ndarray, " sizes"]:
    """Probability of neighbours by how many players they keep."""
    kept = np.arange(players + 1)
    if kind == "image":
        return np.array([math.comb(players, int(s)) / 2**players for s in kept])
    return np.where(kept < players, 1 / max(1, players), 0.0)


def draw_masks(kind: Literal["image", "text"], players: int, samples: int, seed: int) -> Masks:
    """At most `samples` - 1 neighbours beside the case; the same for every case with that many players."""
    mass = (samples - 1) * size_weights(kind, players)
    inner = np.arange(1, players)
    every = np.array([min(math.comb(players, int(s)), samples) for s in inner], dtype=np.int64)
    # far neighbours weigh little but fit worst: between asking by weight and asking by probability
    share = np.sqrt(mass * _likely(kind, players))[inner]
    counts, stands = _allot(mass[inner], share, every, samples - 2, seed)
    rng = np.random.default_rng((seed, players))
    parts, weight, drawn = [np.zeros((0, players), dtype=bool)], [np.zeros(0)], [np.zeros(0)]
    pairs, so_far = [np.zeros(0, dtype=np.int64)], 0
    for size, count, each in zip(inner.tolist(), counts.tolist(), stands.tolist(), strict=True):
        number = math.comb(players, size)
        few = number <= 4 * count
        parts.append(
            _few_of(players, size, count, rng)
            if few
            else _some_of(players, size, -(-count // 2), rng)[:count]
        )
        pairs.append(so_far + np.arange(count) // (1 if few else 2))
        so_far += count
        weight.append(np.full(count, each))
        drawn.append(np.full(count, 1 - count / number))
    whole = (np.concatenate(parts), np.concatenate(weight), np.concatenate(drawn))
    return Masks(*whole, np.concatenate(pairs), mass)


def _allot(
    mass: Float[np.ndarray, " s"],
    share: Float[np.ndarray, " s"],
    every: Int[np.ndarray, " s"],
    budget: int,
    seed: int,
) -> tuple[Int[np.ndarray, " s"], Float[np.ndarray, " s"]]:
    """How many masks each size gets, and what each of them stands for.

    By `share`, at most all of a size, and at least a pair: then every size has its weight exactly. Where sizes are too many for that, they
    are drawn by systematic sampling. Sizes that weigh nothing are left out.
    """
    kept = mass > NOTHING * mass.sum()
    wholly, left = np.zeros(len(mass), dtype=bool), budget
    while True:
        rest = kept & ~wholly
        wanted = np.where(rest, left * share / max(share[rest].sum(), 1e-300), 0.0)
        full = rest & (wanted >= every)
        if not full.any():
            break
        wholly |= full
        left = budget - int(every[wholly].sum())
    if 4 * rest.sum() <= left or not rest.any():
        counts = np.where(rest, np.minimum(np.maximum(wanted.astype(np.int64), 2), every), 0)
        while counts.sum() > left:
            counts[counts.argmax()] -= 1
        stands = mass / np.maximum(counts, 1)
    else:
        ends = np.concatenate([[0.0], np.cumsum(wanted)]) + np.random.default_rng(seed).random()
        counts = np.minimum(np.diff(np.floor(ends).astype(np.int64)), every)
        stands = np.where(rest, mass / np.maximum(wanted, 1e-300), 0.0)
        stands *= mass[rest].sum() / max(float((stands * counts).sum()), 1e-300)
    return np.where(wholly, every, counts), np.where(wholly, mass / every, stands)


def _all_of(players: int, size: int) -> Bool[np.ndarray, "t u"]:
    chosen = np.array(list(itertools.combinations(range(players), size)), dtype=np.int64)
    masks = np.zeros((len(chosen), players), dtype=bool)
    masks[np.arange(len(chosen))[:, None], chosen] = True
    return masks


def _few_of(players: int, size: int, count: int, rng: np.random.Generator) -> Bool[np.ndarray, "t u"]:
    """Different masks of one size, or all, where there are not many more."""
    every = _all_of(players, size)
    return every if count == len(every) else np.asarray(every[rng.choice(len(every), count, replace=False)])


def _some_of(players: int, size: int, pairs: int, rng: np.random.Generator) -> Bool[np.ndarray, "t u"]:
    """Different masks of one size, in pairs: both ends of random orders."""
    found = np.zeros((0, 2, players), dtype=bool)
    while len(found) < pairs:
        orders = rng.random((pairs - len(found), players)).argsort(axis=1)
        found = np.concatenate([found, np.stack([orders < size, orders >= players - size], axis=1)])
        packed = np.packbits(found, axis=2).reshape(2 * len(found), -1)
        _, first = np.unique(packed, axis=0, return_index=True)
        new = np.zeros(2 * len(found), dtype=bool)
        new[first] = True
        found = found[new.reshape(-1, 2).all(axis=1)]  # a pair is kept where both of it are new
    return found.reshape(-1, players)
