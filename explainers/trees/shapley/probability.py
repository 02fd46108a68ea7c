"""Shapley values of a boosted classifier's probability: a small sample around the exact values of its score.

The probability is a curve of the trees' sum, so no sum over trees gives its values. But along an order of players the
change of the probability is nearly a multiple of the change of the score, and that has an exact mean (`pairs`). So
only the difference is sampled: for each reference case, orders of players and their reverses, until the standard error
is small enough. Unbiased, since the multiple depends on the case and the reference case alone; values add up exactly,
whatever was sampled. Every reference case is used as often as any other, so only the order is left to chance.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from explainers.progress import Progress, silent
from explainers.trees.ensemble import TreeEnsemble
from explainers.trees.forward import add_trees
from explainers.trees.shapley.pairs import against_each

#: Rounds of orders for each reference case: fewest, since what is learnt from one half serves the other, and most.
FEWEST, MOST = 4, 64


@dataclasses.dataclass(frozen=True, eq=False)
class Sampled:
    """Values ``(m, d, k)`` on the probability scale, their mean ``(k,)``, both errors, and how often the trees were asked."""

    values: Float[np.ndarray, "m d k"]
    expected: Float[np.ndarray, " k"]
    standard_error: Float[np.ndarray, "m d k"]
    background_error: Float[np.ndarray, "m d k"] | None
    evaluations: int
    rounds: int


def probability_values(
    trees: TreeEnsemble,
    player: Int[np.ndarray, " c"],
    players: int,
    X: Float[np.ndarray, "m c"],
    background: Float[np.ndarray, "b c"],
    *,
    tolerance: float,
    seed: int,
    progress: Progress = silent,
    control: bool = True,
) -> Sampled:
    """Values against the mean over reference cases, with standard errors of at most `tolerance` where 64 rounds allow it.

    `control=False` samples plainly, for comparison.
    """
    questions = trees.questions
    case_codes, reference = questions.codes(X), questions.codes(background)
    used = (
        np.unique(np.asarray(player)[questions.source]) if len(questions.source) else np.zeros(0, dtype=int)
    )
    owner = np.searchsorted(used, np.asarray(player)[questions.source])
    base = _base(trees, reference)
    outputs = trees.linked(base[:1]).shape[1]
    values, error, spread = (np.zeros((len(X), players, outputs)) for _ in range(3))
    asked, most = len(X) + len(background), 0
    for i in range(len(X)):
        game = _Game(trees, case_codes[:, i], reference, base, owner, len(used))
        exact = (
            _exact(trees, player, players, case_codes[:, i : i + 1], reference)[:, used] if control else None
        )
        told = _sampled(game, exact, tolerance, np.random.default_rng([seed, i]))
        values[i, used], error[i, used], spread[i, used] = told.mean, told.error, told.spread
        asked += told.evaluations
        most = max(most, told.rounds)
        progress(i + 1, len(X))
    expected = trees.linked(base).mean(axis=0)
    return Sampled(values, expected, error, spread if len(background) > 1 else None, asked, most)


@dataclasses.dataclass(frozen=True, eq=False)
class _Game:
    """One case against each reference case: what the trees say where some players are the case's and some the other's."""

    trees: TreeEnsemble
    case: Any
    reference: Any
    base: Float[np.ndarray, "b s"]
    owner: Int[np.ndarray, " p"]
    players: int

    def along(self, rank: Int[np.ndarray, "b d"]) -> Float[np.ndarray, "b d1 s"]:
        """Sums after 0..d players joined, each reference case with its own order: `rank` says when each player joins."""
        b, d = rank.shape
        joined = rank[:, None, self.owner] < np.arange(1, d)[None, :, None]
        mixed = np.where(joined, self.case[None, None, :], self.reference.T[:, None, :])
        sums = np.tile(self.trees.base, (b * max(0, d - 1), 1))
        add_trees(self.trees, np.ascontiguousarray(mixed.reshape(len(sums), len(self.owner)).T), sums)
        ends = np.broadcast_to(self.end, (b, 1, sums.shape[1]))
        return np.concatenate([self.base[:, None], sums.reshape(b, max(0, d - 1), -1), ends], axis=1)

    @property
    def end(self) -> Float[np.ndarray, "1 s"]:
        """The sums of the case itself."""
        return _base(self.trees, self.case[:, None])

    def slope(self) -> Float[np.ndarray, "b k s"]:
        """The multiple of the score's change that stands for the probability's, for each reference case and output.

        For one score the slope of the straight line between the two; for several the derivative half-way.
        """
        start, end = self.base, self.end
        if self.trees.link == "softmax":
            p = self.trees.linked((start + end) / 2)
            return np.asarray(p[:, :, None] * (np.eye(p.shape[1]) - p[:, None, :]))
        before, after = self.trees.linked(start), self.trees.linked(end)
        gap = end - start
        flat = np.abs(gap) < 1e-9
        line = np.divide(after - before, gap, out=np.zeros_like(before), where=~flat)
        return np.asarray(line[:, :, None])


@dataclasses.dataclass(frozen=True, eq=False)
class _Told:
    mean: Float[np.ndarray, "d k"]
    error: Float[np.ndarray, "d k"]
    spread: Float[np.ndarray, "d k"]
    evaluations: int
    rounds: int


def _sampled(
    game: _Game, exact: Float[np.ndarray, "b d s"] | None, tolerance: float, rng: np.random.Generator
) -> _Told:
    b, d = len(game.base), game.players
    slope = game.slope() if exact is not None else None
    known = None if exact is None or slope is None else np.einsum("bds,bks->bdk", exact, slope)
    gains: list[np.ndarray] = []
    surplus: list[np.ndarray] = []  # of what the score's change stands for, over its exact mean
    error = np.zeros(0)
    while len(gains) < FEWEST or (len(gains) < MOST and error.max(initial=0.0) > tolerance):
        rank = rng.permuted(np.tile(np.arange(d), (b, 1)), axis=1)
        one, other = (_gains(game, order, slope) for order in (rank, d - 1 - rank))
        gains.append((one[0] + other[0]) / 2)
        surplus.append((one[1] + other[1]) / 2 - known if known is not None else np.zeros_like(gains[-1]))
        if len(gains) >= FEWEST:
            each, error, within = _combined(np.array(gains), np.array(surplus))
    scatter = np.maximum(each.var(axis=0, ddof=min(1, b - 1)) - within, 0.0)
    rounds = len(gains)
    return _Told(each.mean(axis=0), error, np.sqrt(scatter / b), 2 * rounds * b * max(0, d - 1), rounds)


def _combined(
    gains: Float[np.ndarray, "r b d k"], surplus: Float[np.ndarray, "r b d k"]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each reference case the mean gain less its share of the surplus; the error of their mean; their own variance.

    How large that share should be is learnt from the other half of the rounds, so the mean stays unbiased; it is the
    same for all players, whose surplus adds up to nothing, so the values still add up.
    """
    halves = (slice(0, None, 2), slice(1, None, 2))
    found = gains.copy()
    for own, other in (halves, halves[::-1]):
        about = gains[other] - gains[other].mean(axis=0)
        size = (surplus[other] ** 2).sum(axis=(0, 1, 2))
        product = (about * surplus[other]).sum(axis=(0, 1, 2))
        share = np.divide(product, size, out=np.zeros_like(size), where=size > 0)
        found[own] -= np.clip(share, 0.0, 1.5) * surplus[own]
    rounds, b = len(gains), gains.shape[1]
    within = found.var(axis=0, ddof=1).mean(axis=0) / rounds
    return found.mean(axis=0), np.sqrt(within / b), within


def _gains(
    game: _Game, rank: np.ndarray, slope: np.ndarray | None
) -> tuple[Float[np.ndarray, "b d k"], Float[np.ndarray, "b d k"]]:
    """What the probability gains when each player joins, and what the score's change stands for."""
    sums = game.along(rank)
    b, steps, s = sums.shape
    found = game.trees.linked(sums.reshape(b * steps, s)).reshape(b, steps, -1)
    gained = np.diff(found, axis=1)
    stands = (
        np.zeros_like(gained) if slope is None else np.einsum("bts,bks->btk", np.diff(sums, axis=1), slope)
    )
    return tuple(np.take_along_axis(part, rank[:, :, None], axis=1) for part in (gained, stands))  # type: ignore[return-value]


def _exact(
    trees: TreeEnsemble, player: np.ndarray, players: int, case: Any, reference: Any
) -> Float[np.ndarray, "b d s"]:
    each = np.zeros((1, reference.shape[1], players, trees.outputs))
    unused = np.zeros((1, players, trees.outputs))
    against_each(trees, player, np.ascontiguousarray(case), reference, unused, unused.copy(), each)
    found: Float[np.ndarray, "b d s"] = each[0]
    return found


def _base(trees: TreeEnsemble, codes: Any) -> Float[np.ndarray, "n s"]:
    sums = np.tile(trees.base, (codes.shape[1], 1))
    add_trees(trees, np.ascontiguousarray(codes), sums)
    return sums
