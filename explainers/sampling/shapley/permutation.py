"""Shapley values of many cases from orders of players, which grow: each look has twice as many pairs of orders as the one before.

A pair (an order and its reverse) gives one estimate of all values; their mean is the estimate, their scatter its error, less the share
of all pairs that was drawn. A few pairs may agree by luck, so what an order and its reverse differ by counts as a quarter of a pair's
evidence: nothing where a player acts alone, and all there is after one pair. After 5 pairs that fades with the square of their number: effects of two
players make an order and its reverse differ although their pair is exact, so a fixed share would keep intervals too wide. Few pairs also
know their own scatter badly: the standard error is widened by Student's t, so that 1.96 of it hold about 95 times of 100 after any number of pairs
(6.5 times wider after 1, 1.4 after 5, 1.05 after 28).

With a tolerance, a case is done at the first look at which all its intervals are narrow enough, each look at its share of the 5 % (a union bound).
Where all coalitions that count fit the budget, they are asked, and values are exact.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from explainers.games.game import Game
from explainers.lazily import lazily
from explainers.progress import Progress
from explainers.sampling.asking import JOB_BYTES, STATE_BYTES, Found, Job, ask
from explainers.sampling.shapley.exact import Enumeration, exact_values, unions_of
from explainers.sampling.shapley.orders import Orders, Stage
from explainers.sampling.steps import stretch

special = lazily("scipy.special")


@dataclasses.dataclass(frozen=True)
class Spending:
    """Coalitions for each case, the seed of the orders, and half the width of an interval that is narrow enough."""

    budget: int
    seed: int
    tolerance: float | None = None


#: Standard errors in half a 95 % interval.
NORMAL = 1.959964


def prior(pairs: int) -> float:
    """For how many pairs the differences between an order and its reverse count, beside so many pairs."""
    return 0.25 * min(1.0, (5 / pairs) ** 2)


def half_width(pairs: int, looks: int = 1) -> float:
    """Plain standard errors in half an interval that holds 95 times of 100 over that many looks, after so many pairs."""
    return float(special.stdtrit(max(1.0, pairs - 1 + prior(pairs)), 1 - 0.05 / (2 * looks)))


class PermutationEstimate:
    """Results as they grow: `found` is valid whenever `shown` is called.

    `owner` says to which union each player belongs; orders keep unions together.
    """

    def __init__(self, game: Game, owner: Int[np.ndarray, " u"], spending: Spending) -> None:
        self.game, self.spending = game, spending
        self.found = Found.of(game)
        self.pairs = np.zeros(len(self.found.full), dtype=np.int64)
        self.exact: dict[int, Enumeration] = {}
        self.plans: dict[int, _Plan] = {}
        b, k = self.found.empty.shape[1:]
        designs: dict[bytes, Enumeration | _Plan] = {}
        for row, players in enumerate(game.players):
            unions = unions_of(owner, players)
            design = designs.get(unions.tobytes())
            if design is None:
                design = designs[unions.tobytes()] = _design(unions, spending, b, k)
            if isinstance(design, _Plan):
                self.plans[row] = design
            else:
                self.exact[row] = design

    def run(self, progress: Progress, shown: Callable[[], None]) -> None:
        """Exact cases, then the others look by look; `shown` is called after each look that covers all cases."""
        done = sum(len(design.masks) for design in self.exact.values())
        total = done + sum(len(plan.orders.masks) for plan in self.plans.values())
        exact_values(self.game, self.found, self.exact, stretch(progress, 0, total))
        waves = self._waves()
        for wave in waves:
            done += self._look_by_look(
                wave, stretch(progress, done, total), shown if len(waves) == 1 else _nobody
            )
        if done < total:
            progress(total, total)

    def facts(self) -> dict[str, Any]:
        """What the diagnostics say of it."""
        facts: dict[str, Any] = {
            "exact": not self.plans,
            "coalitions": int(self.found.coalitions.max(initial=2)),
            "evaluations": self.found.evaluations,
        }
        if self.plans:
            facts["pairs_of_orders"] = int(min(self.pairs[row] for row in self.plans))
            facts["standard_error"] = "scatter of antithetic pairs of orders, widened where there are few"
        if self.spending.tolerance is not None:
            facts["coalitions_of_each"] = self.found.coalitions.tolist()
            facts["within_tolerance"] = [
                row in self.exact or self._narrow(row, 1) for row in range(len(self.pairs))
            ]
        return facts

    def _waves(self) -> list[list[int]]:
        """Cases that are open at the same time: as many as the memory holds."""
        waves: list[list[int]] = []
        room = 0
        for row, plan in self.plans.items():
            if room < plan.state_bytes or not waves:
                waves.append([])
                room = STATE_BYTES
            waves[-1].append(row)
            room -= plan.state_bytes
        return waves

    def _look_by_look(self, wave: list[int], progress: Progress, shown: Callable[[], None]) -> int:
        """Ask twice as many pairs at every look, only for the cases that are still open; the coalitions asked."""
        states = {row: _State(self, row) for row in wave}
        cost = sum(len(self.plans[row].orders.masks) for row in wave)
        done, look = 0, 1
        while states:
            works = [(state, stage) for state in states.values() for stage in state.plan.until(look)]
            jobs = [Job(state.row, state.plan.orders.masks[stage.fresh]) for state, stage in works]

            def close(number: int, answers: np.ndarray, works: Any = works) -> None:
                state, stage = works[number]
                state.add(stage, answers)

            done += ask(self.game, jobs, close, stretch(progress, done, cost))
            states = {row: state for row, state in states.items() if self._open(state, look)}
            if states:
                shown()
                progress(done, cost)
            look *= 2
        return done

    def _open(self, state: _State, look: int) -> bool:
        """Whether a case goes on after this look."""
        state.settle()
        looks = state.plan.orders.looks
        if look >= looks[-1]:
            return False
        return self.spending.tolerance is None or not self._narrow(state.row, len(looks))

    def _narrow(self, row: int, looks: int) -> bool:
        """Whether all intervals of a case are narrow enough."""
        pairs = int(self.pairs[row])
        plain = float(self.found.error[row].max(initial=0.0)) * NORMAL / half_width(pairs)
        return pairs > 1 and plain * half_width(pairs, looks) <= (self.spending.tolerance or 0.0)


def _nobody() -> None:
    """Where some cases have no values yet, nothing is shown."""


def _design(unions: np.ndarray, spending: Spending, b: int, k: int) -> Enumeration | _Plan:
    if Enumeration.size(unions) <= spending.budget:
        return Enumeration.of(unions)
    return _Plan(Orders.draw(unions, spending.budget, spending.seed), b, k)


@dataclasses.dataclass(frozen=True, eq=False)
class _Plan:
    """Orders of players, for `b` reference cases and `k` outputs."""

    orders: Orders
    b: int
    k: int

    @cached_property
    def stages(self) -> list[Stage]:
        """Portions whose answers fit into memory: fixed by the problem, so that sums have the same last digit."""
        p = self.orders.rank.shape[1]
        return self.orders.stages(max(1, JOB_BYTES // (16 * p * max(p, self.b * self.k))))

    def until(self, look: int) -> list[Stage]:
        """The portions between the look before and this one."""
        return [stage for stage in self.stages if look // 2 <= stage.first < look]

    @property
    def state_bytes(self) -> int:
        """Memory of one open case."""
        return int(8 * self.b * self.k * (self.orders.rank.shape[1] + len(self.stages[0].again)))


class _State:
    """One case while its orders grow: sums over pairs, their scatter, differences within pairs, and answers that come again."""

    def __init__(self, estimate: PermutationEstimate, row: int) -> None:
        self.row, self.plan, self.found, self.pairs = row, estimate.plans[row], estimate.found, estimate.pairs
        self.players = estimate.game.players[row]
        p, b, k = self.plan.orders.rank.shape[1], self.plan.b, self.plan.k
        self.empty = self.found.empty[row]
        self.total = np.zeros((p, b, k))
        self.mean, self.squares = np.zeros((p, k)), np.zeros((p, k))
        self.kept = np.zeros((len(self.plan.stages[0].again), b, k))
        self.halves = np.zeros((p, k))

    def add(self, stage: Stage, answers: Float[np.ndarray, "c b k"]) -> None:
        """Take in the pairs of a stage, whose new coalitions have these answers."""
        values = np.zeros((len(stage.met), *self.empty.shape))
        values[stage.met == 1] = self.found.full[self.row] - self.empty
        gained = answers - self.empty if len(answers) else np.zeros((0, *self.empty.shape))
        fresh = stage.met >= stage.fresh.start + 2
        values[fresh] = gained
        at, place = stage.recalled
        values[at] = self.kept[place]
        at, place = stage.kept
        self.kept[place] = gained[at]
        self.total += np.tensordot(stage.weights, values, axes=1)
        before, after = stage.steps
        average = values.mean(axis=1)
        self._scatter(average[after] - average[before])
        self.pairs[self.row] = stage.last
        self.found.coalitions[self.row] = stage.fresh.stop + 2

    def _scatter(self, both: Float[np.ndarray, "n 2 p k"]) -> None:
        """Mean and sum of squares of the pairs so far and these (Chan, Golub and LeVeque 1983)."""
        known, new = int(self.pairs[self.row]), len(both)
        self.halves += np.square(both[:, 0] - both[:, 1]).sum(axis=0) / 4
        each = both.mean(axis=1)
        mean = each.mean(axis=0)
        gap = mean - self.mean
        self.squares += np.square(each - mean).sum(axis=0) + gap**2 * (known * new / (known + new))
        self.mean += gap * (new / (known + new))

    def settle(self) -> None:
        """Write down what is known."""
        n, orders = int(self.pairs[self.row]), self.plan.orders
        self.found.settle(self.row, self.players, self.total / n)
        one = (self.squares + prior(n) * self.halves / n) / (n - 1 + prior(n))
        error = np.sqrt(one / n * (1 - n / orders.existing))
        self.found.error[self.row, self.players] = error * (half_width(n) / NORMAL)
