"""Rows drawn from the columns' own distributions, and copies of them in which one unit of columns is exchanged.

Several independent replicates of quasi-random points (scrambled Sobol sequences) are mapped on each column's sorted observed values:
a row of points becomes a row of values that all occur, columns independent. Missing values are values like others, behind
the largest. Categories have no order, so each replicate sorts them anew.

Copies, by block: 0 is the base row, 1 its partner, ``2 + u`` the base row with unit `u` from the partner. A copy that equals its
base row is not asked. Sources: Sobol 1967; Owen 1998, Scrambling Sobol and Niederreiter–Xing points.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Bool, Float

from explainers.explainer import Problem
from explainers.lazily import lazily
from explainers.progress import Progress
from explainers.sampling.edited import ask_edited

qmc = lazily("scipy.stats.qmc")


@dataclasses.dataclass(frozen=True, eq=False)
class Draws:
    """Base rows and their partners.

    Attributes:
        base, partner: codes, ``(r, p, d)`` for `r` replicates of `p` rows.
        step: how far the partner's value lies above the base row's, as a share of the column's distribution.
        member: which columns each unit has, ``(u, d)``.
    """

    base: Float[np.ndarray, "r p d"]
    partner: Float[np.ndarray, "r p d"]
    step: Float[np.ndarray, "r p d"]
    member: Bool[np.ndarray, "u d"]

    def moved(self, replicate: int) -> Bool[np.ndarray, "u p"]:
        """Where exchanging a unit changes the row."""
        base, partner = self.base[replicate], self.partner[replicate]
        differs = ~((base == partner) | (np.isnan(base) & np.isnan(partner)))
        return np.stack([differs[:, columns].any(axis=1) for columns in self.member])


def replicate_count(samples: int) -> int:
    """How many replicates so many draws are divided into: more spread better, fewer are better spread each."""
    return 16 if samples >= 4096 else 8


def draw_independent(problem: Problem, columns: Sequence[Sequence[int]], samples: int, seed: int) -> Draws:
    """Base and partner drawn independently: what variances need. `columns` holds the columns of each unit."""
    d = problem.cases.matrix.shape[1]

    def pair(random: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
        points = _points(random, count, 2 * d)
        return points[:, :d], points[:, d:]

    return _drawn(problem, columns, samples, seed, pair)


def draw_steps(problem: Problem, columns: Sequence[Sequence[int]], samples: int, seed: int) -> Draws:
    """The partner has each column a step on in its distribution, round the end: what elementary effects need.

    A row's step is between a quarter and three quarters, the same for all columns; steps of one length would be blind to what
    repeats at that length.
    """
    d = problem.cases.matrix.shape[1]

    def pair(random: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
        points = _points(random, count, d + 1)
        base, step = points[:, :d], 0.25 + 0.5 * points[:, d:]
        return base, (base + step) % 1.0

    return _drawn(problem, columns, samples, seed, pair)


Pair = Callable[[np.random.Generator, int], tuple[np.ndarray, np.ndarray]]


def _drawn(problem: Problem, columns: Sequence[Sequence[int]], samples: int, seed: int, pair: Pair) -> Draws:
    codes, replicates = problem.cases.matrix, replicate_count(samples)
    categorical = problem.data.schema.categorical
    ordered = np.sort(codes, axis=0)  # missing values come last
    shape = (replicates, samples // replicates, codes.shape[1])
    base, partner, step = np.empty(shape), np.empty(shape), np.empty(shape)
    for r in range(replicates):
        random = np.random.default_rng([seed, r])
        table = ordered.copy()
        for j in categorical:
            table[:, j] = _shuffled_categories(random, ordered[:, j])
        points = pair(random, shape[1])
        for rows, found in zip((base[r], partner[r]), points, strict=True):
            place = np.minimum((found * len(codes)).astype(np.int64), len(codes) - 1)
            rows[:] = np.take_along_axis(table, place, axis=0)
        step[r] = points[1] - points[0]
    member = np.zeros((len(columns), codes.shape[1]), dtype=bool)
    for u, members in enumerate(columns):
        member[u, list(members)] = True
    return Draws(base, partner, step, member)


def _points(random: np.random.Generator, count: int, d: int) -> Float[np.ndarray, "p d"]:
    """Quasi-random points in the unit cube; plain random ones beyond the dimensions that the sequence has."""
    if d > qmc.Sobol.MAXDIM:
        return random.random((count, d))
    power = (count - 1).bit_length()
    return np.asarray(qmc.Sobol(d, seed=random).random_base2(power)[:count])


def _shuffled_categories(
    random: np.random.Generator, column: Float[np.ndarray, " n"]
) -> Float[np.ndarray, " n"]:
    """The same values with equal ones side by side, in a random order of the distinct ones."""
    values, counts = np.unique(column, return_counts=True)  # missing values are equal here
    order = random.permutation(len(values))
    return np.repeat(values[order], counts[order])


class SwapAnswers:
    """The predictions of base rows, of partners if wanted, and of the copies, replicate by replicate.

    Attributes:
        evaluations: how many copies are asked.
        moved: where exchanging a unit changes the row, ``(r, u, p)``.
    """

    def __init__(self, draws: Draws, partners: bool) -> None:
        self.draws = draws
        r, p, d = draws.base.shape
        u = len(draws.member)
        self.moved = np.stack([draws.moved(i) for i in range(r)])
        asked = np.concatenate(
            [np.ones((r, 1, p), dtype=bool), np.full((r, 1, p), partners), self.moved], axis=1
        )
        self.places = np.flatnonzero(asked)  # of (replicate, block, row), flattened
        self.ends = asked.sum(axis=(1, 2)).cumsum()
        self.evaluations = len(self.places)
        self.takes = np.concatenate(
            [np.zeros((1, d), dtype=bool), np.ones((1, d), dtype=bool), draws.member], axis=0
        )
        self.answers = np.full((r, 2 + u, p), np.nan)

    def ask(
        self, problem: Problem, target: int, space: str, progress: Progress, whole: Callable[[int], object]
    ) -> None:
        """Ask all of one output; ``whole(r)`` makes the partial result when the first `r` replicates are answered.

        That is after a quarter, a half and three quarters of them, as far as portions end in between.
        """
        replicates = len(self.ends)
        flat = self.answers.reshape(-1)
        shown = 0

        def take(part: slice, found: np.ndarray) -> None:
            flat[self.places[part]] = found[:, target]

        def report(done: int, total: int, partial: object = None) -> None:  # noqa: ARG001  made here
            nonlocal shown
            quarter = 4 * int(np.searchsorted(self.ends, done, side="right")) // replicates
            fresh = shown < quarter < 4
            shown = quarter
            progress(done, total, whole(quarter * replicates // 4) if fresh else None)  # type: ignore[arg-type]

        ask_edited(problem, self.evaluations, self._edited, take, report, space)

    def _edited(self, part: slice) -> Float[np.ndarray, "q d"]:
        replicate, block, row = np.unravel_index(self.places[part], self.answers.shape)
        base, partner = self.draws.base[replicate, row], self.draws.partner[replicate, row]
        return np.where(self.takes[block], partner, base)

    def first(
        self, replicates: int
    ) -> tuple[Float[np.ndarray, "r p"], Float[np.ndarray, "r p"], Float[np.ndarray, "r u p"]]:
        """Predictions of base rows, partners (NaN where not asked) and copies in the first replicates."""
        answers = self.answers[:replicates]
        base = answers[:, 0]
        copies = np.where(self.moved[:replicates], answers[:, 2:], base[:, None])
        return base, answers[:, 1], copies
