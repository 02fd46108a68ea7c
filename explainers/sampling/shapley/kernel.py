"""Shapley values of many cases from one set of coalitions, which grows: each look at the answers has twice as many as the one before.

The solution is linear in the coalition values, so it is taken for each reference case by itself; their mean is the
estimate, their spread / sqrt(B) what another draw of reference cases would change.

With a tolerance, a case is done at the first look at which all its 95 % intervals are narrower. Several looks have several chances to be lucky, so
each look but the last must pass at its share of the 5 % (a union bound over the looks; stopping whenever the plain interval is narrow
enough would leave fewer than 95 % of them right).
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from functools import cached_property
from statistics import NormalDist
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Float, Int

from explainers.device import over_chunks, pick
from explainers.games.game import Game
from explainers.progress import Progress
from explainers.sampling.asking import Found
from explainers.sampling.shapley.coalitions import Coalitions, coalitions
from explainers.sampling.shapley.polynomial import Polynomial
from explainers.sampling.shapley.proxy import corrected
from explainers.sampling.shapley.regression import ShapleyRegression
from explainers.sampling.steps import stretch, unseen

#: Coalitions of the first look for each player, and how many a look has at least.
FIRST_LOOK, LEAST_LOOK = 4, 64

#: Pairs for each player from which the polynomial has something to learn from.
LEAST_PAIRS = 2

#: Designs that are kept, up to some 50 MiB each.
KEPT = 4

#: Memory for the answers of the cases that are open at a time.
ANSWER_BYTES = 2**28

#: What is fitted to the answers beside the additive function, as control variate.
Proxy = Literal["polynomial", "trees", "none"]

#: Told after each look that covers all cases.
Shown = Callable[[], None]


@dataclasses.dataclass(frozen=True)
class Spending:
    """How much is asked: coalitions for each case, half the width of an interval that is narrow enough, and what helps."""

    budget: int
    seed: int
    tolerance: float | None = None
    proxy: Proxy = "polynomial"

    def looks(self, players: int) -> list[int]:
        """The number of coalitions at each look."""
        most = min(self.budget, 2**players)
        found = [max(LEAST_LOOK, FIRST_LOOK * players + 2)]
        while 2 * found[-1] <= most:
            found.append(2 * found[-1])
        return [*(look for look in found if look < most), most]


def half_width(looks: int) -> float:
    """Standard errors in half an interval that holds 95 times of 100 over that many looks."""
    return NormalDist().inv_cdf(1 - 0.05 / (2 * max(1, looks)))


class KernelEstimate:
    """Results as they grow: `found` is valid whenever `shown` is called."""

    def __init__(self, game: Game, spending: Spending) -> None:
        self.game, self.spending = game, spending
        self.found = Found.of(game)
        self.exact = np.ones(len(game.players), dtype=bool)

    def run(self, progress: Progress, shown: Shown) -> None:
        """Cases by who plays in them, in blocks whose answers fit into memory, look by look."""
        patterns, member = np.unique(self.game.players, axis=0, return_inverse=True)
        blocks = [
            (players, block)
            for number, players in enumerate(patterns)
            if players.any()
            for block in self._blocks(np.flatnonzero(member.reshape(-1) == number), int(players.sum()))
        ]
        asked = dataclasses.replace(self.spending, tolerance=None)
        works = [_Block(self, rows, players, _design(int(players.sum()), asked)) for players, rows in blocks]
        total, done = sum(work.cost for work in works), 0
        for work in works:
            done += work.run(stretch(progress, done, total), shown if len(works) == 1 else unseen)
        if done < total:
            progress(total, total)

    def facts(self) -> dict[str, Any]:
        """What the diagnostics say of it."""
        exact, found = bool(self.exact.all()), self.found
        facts: dict[str, Any] = {
            "exact": exact,
            "coalitions": int(found.coalitions.max(initial=2)),
            "evaluations": found.evaluations,
        }
        if not exact:
            facts["standard_error"] = (
                "jackknife sandwich over pairs of coalitions, stratified by size, without replacement"
            )
            facts["proxy"] = self.spending.proxy
        if self.spending.tolerance is not None:
            facts["coalitions_of_each"] = found.coalitions.tolist()
            width = half_width(1) * found.error.max(axis=(1, 2), initial=0.0)
            facts["within_tolerance"] = (width <= self.spending.tolerance).tolist()
        return facts

    def _blocks(self, rows: Int[np.ndarray, " r"], players: int) -> list[Int[np.ndarray, " q"]]:
        pairs = min(self.spending.budget, 2**players) // 2
        row_bytes = 16 * pairs * self.found.full.shape[1] * self.game.references
        most = max(1, ANSWER_BYTES // row_bytes)
        return [rows[first : first + most] for first in range(0, len(rows), most)]


@dataclasses.dataclass(frozen=True, eq=False)
class _Design:
    """The pairs of coalitions in the order of the looks, and the solution at each look.

    Attributes:
        whole: all pairs.
        looks: the pairs known at each look, ascending, and their solution.
    """

    whole: Coalitions
    looks: tuple[tuple[np.ndarray, Look], ...]

    @classmethod
    def of(cls, whole: Coalitions, spending: Spending) -> _Design:
        looks = []
        # trees are slow to fit and used at the end; what the polynomial says until then costs nothing
        early = spending if spending.proxy == "none" else dataclasses.replace(spending, proxy="polynomial")
        for budget in spending.looks(whole.first.shape[1])[:-1]:
            pairs = whole.first_pairs(budget)
            part = whole.part(pairs)
            if len(pairs) < len(whole.first) and part.telling:
                looks.append((pairs, Look(ShapleyRegression.of(part), early)))
        return cls(
            whole, (*looks, (np.arange(len(whole.first)), Look(ShapleyRegression.of(whole), spending)))
        )


@dataclasses.dataclass(frozen=True, eq=False)
class Look:
    """How the answers known at one look become values."""

    fit: ShapleyRegression
    spending: Spending

    @cached_property
    def polynomial(self) -> Polynomial:
        """The control variate, prepared once for all cases."""
        return Polynomial.of(self.fit, self.spending.seed)

    def solved(
        self,
        differences: Float[np.ndarray, "p k"],
        sums: Float[np.ndarray, "p k"],
        plain: Float[np.ndarray, "d k"],
    ) -> tuple[Float[np.ndarray, "d k"], Float[np.ndarray, "d k"]]:
        """Values and their errors, from those of the additive fit alone."""
        if self.fit.coalitions.exact:
            return plain, np.zeros_like(plain)
        if self.spending.proxy == "polynomial" and len(differences) >= LEAST_PAIRS * len(plain):
            return self.polynomial.corrected(differences, plain)
        if self.spending.proxy == "trees":
            return corrected(self.fit, differences, sums, plain, self.spending.seed)
        return plain, self.fit.standard_error(differences, plain)


@functools.lru_cache(maxsize=KEPT)
def _design(players: int, spending: Spending) -> _Design:
    """The same for every case and model, so whoever goes from case to case solves nothing again."""
    return _Design.of(coalitions(players, spending.budget, spending.seed), spending)


class _Block:
    """Cases with the same players, whose answers are in memory at the same time."""

    def __init__(
        self,
        estimate: KernelEstimate,
        rows: Int[np.ndarray, " r"],
        players: Bool[np.ndarray, " u"],
        design: _Design,
    ) -> None:
        self.estimate, self.rows, self.players, self.design = estimate, rows, players, design
        self.cost = 2 * len(rows) * len(design.whole.first)

    def run(self, progress: Progress, shown: Shown) -> int:
        """Ask and solve at every look, only for the cases that are still open; the coalitions asked."""
        estimate, whole = self.estimate, self.design.whole
        pairs, k, b = len(whole.first), estimate.found.full.shape[1], estimate.game.references
        self.answers = np.zeros((2, len(self.rows), pairs, b, k))
        still, known, done = np.arange(len(self.rows)), np.empty(0, dtype=np.int64), 0
        # a look that nobody sees and that stops nothing is not worth its solution
        idle = shown is unseen and estimate.spending.tolerance is None
        looks = self.design.looks[-1:] if idle else self.design.looks
        for number, (now, look) in enumerate(looks):
            fresh = np.setdiff1d(now, known)
            self._ask(still, fresh, stretch(progress, done, self.cost))
            done += 2 * len(still) * len(fresh)
            known, last = now, number == len(looks) - 1
            for i in still:
                self._solve(int(i), now, look)
            if not last:
                shown()
                progress(done, self.cost, None)
                still = still[~self._narrow(still)]
        del self.answers
        return done

    def _ask(self, still: Int[np.ndarray, " s"], fresh: Int[np.ndarray, " q"], progress: Progress) -> None:
        """The answers to both halves of new pairs for the open cases, in portions."""
        masks = np.ones((2 * len(fresh), len(self.players)), dtype=bool)
        first = self.design.whole.first[fresh]
        masks[:, self.players] = np.concatenate([first, ~first])
        each = len(masks)

        def compute(part: slice) -> None:
            # a coalition of all cases, then the next: a model may answer what they share once
            coalition, case = np.divmod(np.arange(part.start, part.stop), len(still))
            found = self.estimate.game.values(self.rows[still[case]], masks[coalition])
            half, pair = np.divmod(coalition, len(fresh))
            self.answers[half, still[case], fresh[pair]] = (
                found  # written, not added: a portion may come again
            )

        if each:  # codes and frames are built in main memory, wherever the model computes
            game = self.estimate.game
            over_chunks(
                compute,
                len(still) * each,
                game.row_bytes,
                pick("cpu"),
                progress,
                game.portion_seconds,
                game.pace,
            )

    def _solve(self, i: int, now: Int[np.ndarray, " q"], look: Look) -> None:
        """Solve one case for each reference case; in one piece, so that portions cannot change a last digit."""
        row, fit, found = int(self.rows[i]), look.fit, self.estimate.found
        one, other = self.answers[:, i, now]
        differences = one - other
        gain = found.full[row] - found.empty[row]
        each = np.tensordot(fit.pairs, differences, axes=1) + fit.spread[:, None, None] * gain
        found.settle(row, self.players, each)
        sums = (one + other).mean(axis=1)
        solved = look.solved(differences.mean(axis=1), sums, each.mean(axis=1))
        found.values[row, self.players], found.error[row, self.players] = solved
        found.coalitions[row], self.estimate.exact[row] = 2 * len(now) + 2, fit.coalitions.exact

    def _narrow(self, still: Int[np.ndarray, " s"]) -> Bool[np.ndarray, " s"]:
        """Which open cases are done: their widest interval is narrow enough at this look's share of the error."""
        tolerance = self.estimate.spending.tolerance
        if tolerance is None:
            return np.zeros(len(still), dtype=bool)
        widest = self.estimate.found.error[self.rows[still]].max(axis=(1, 2))
        return np.asarray(half_width(len(self.design.looks)) * widest <= tolerance)
