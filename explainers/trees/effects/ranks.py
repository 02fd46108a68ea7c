"""The AUC of moved cases and what each row adds to its error, where the order of the cases is known.

The same numbers as `explainers.scoring.auc_of`, which needs no machine code: here a few passes over the rows give them and
count them in, without holding up other threads. With `n⁺` positive cases and `n⁻` negative ones, a positive case's
placement is the share of negative ones below it, a negative case's that of the positive ones above it, ties counting half;
the AUC is the mean placement of the positive cases, and a row's influence is ``AUC + n / n± · (placement − AUC)``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import no_type_check

import numpy as np
from jaxtyping import Bool, Float, Int

from explainers.trees.compiling import compiled


@dataclasses.dataclass(eq=False)
class RankTally:
    """The AUC of permuted copies, and sums over them of what each row adds to its error.

    A row has two roles, as receiver of a value and as giver of its own: its part in a copy is its own influence, and
    what the influence of the row that it gave to has beyond the AUC, or beyond another mean.

    Attributes:
        positive: whether each row is of the class that should score high.
        influences: sums of the rows' parts over the copies of each unit, ``(u, n)``.
        squares: sums of their squares over rows and copies, ``(u,)``.
        base: scores of the rows before anything is moved.
    """

    positive: Bool[np.ndarray, " n"]
    influences: Float[np.ndarray, "u n"]
    squares: Float[np.ndarray, " u"]
    base: Float[np.ndarray, " n"]

    def __post_init__(self) -> None:
        self.area, self.excess = self._ranked(self.base)

    def add(
        self,
        unit: int,
        score: Float[np.ndarray, " n"] | None,
        receiver: Int[np.ndarray, " n"],
        centred: Callable[[np.ndarray], np.ndarray] | None = None,
    ) -> float:
        """Count in one copy, in which the value of row `i` went to row ``receiver[i]``; gives its AUC.

        `score` is ``None`` where moving changed nothing; `centred` takes from the influences what any giver would have had,
        where that is not the AUC. Several threads may count for different units at a time.
        """
        area, excess = (self.area, self.excess) if score is None else self._ranked(score)
        given = excess if centred is None else centred(excess)
        self.squares[unit] += add_parts(area, excess, given, receiver, self.influences[unit])
        return area

    def _ranked(self, score: np.ndarray) -> tuple[float, np.ndarray]:
        excess = np.empty(len(score))
        return rank(np.argsort(score), score, self.positive, excess), excess


@no_type_check  # plain functions: their machine code is kept on disk, which wrapped ones prevent
def _rank_loop(order, score, positive, excess):
    """The AUC; what each row's influence has beyond it goes into `excess`."""
    n = len(order)
    many = 0
    for i in range(n):
        many += positive[i]
    few = n - many
    start, under, wins = 0, 0, 0
    while start < n:
        value, stop, kind = score[order[start]], start + 1, np.int64(positive[order[start]])
        while stop < n and score[order[stop]] == value:
            kind += positive[order[stop]]
            stop += 1
        # twice how many positive ones lie below, and how many negative ones; a tie is half below
        lower = 2 * under + kind
        beaten = start + stop - lower
        wins += kind * beaten
        above, below = 1.0 - lower / (2.0 * many), beaten / (2.0 * few)
        for place in range(start, stop):
            i = order[place]
            excess[i] = below if positive[i] else above
        start, under = stop, under + kind
    area = wins / (2.0 * many * few)
    for_positive, for_negative = n / many, n / few
    for i in range(n):
        excess[i] = (for_positive if positive[i] else for_negative) * (excess[i] - area)
    return area


@no_type_check
def _part_loop(area, excess, given, receiver, influences):
    """Add each row's part to `influences`; gives the sum of their squares."""
    squares = 0.0
    for i in range(len(excess)):
        part = area + excess[i] + given[receiver[i]]
        influences[i] += part
        squares += part * part
    return squares


rank, add_parts = compiled(_rank_loop), compiled(_part_loop, sums_in_any_order=True)
