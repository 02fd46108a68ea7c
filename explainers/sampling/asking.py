"""Coalitions of many cases in portions, and the answers of each job in one piece.

Portions follow the memory and the model's speed; jobs follow the method. Whatever the portions, a job's answers arrive together and
in order, so that sums over them have the same last digit.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Bool, Float, Int

from explainers.device import over_chunks, pick
from explainers.games.game import Game
from explainers.progress import Progress

#: Memory for the answers of one job, and for the sums of the cases that are open at a time.
JOB_BYTES, STATE_BYTES = 2**25, 2**28


@dataclasses.dataclass(frozen=True, eq=False)
class Job:
    """Coalitions of one case, none of them empty or full: `masks` of its players alone."""

    row: int
    masks: Bool[np.ndarray, "c p"]


@dataclasses.dataclass(eq=False)
class Found:
    """Results of `m` cases with `u` players and `k` outputs, as they grow; arrays are filled in place.

    Attributes:
        full, empty: answers for the cases, and for each with all players absent.
        values, error, spread: values, their standard error, and their spread over reference cases / sqrt(b).
        coalitions: how many are known of each case, the full and the empty one included.
    """

    full: Float[np.ndarray, "m k"]
    empty: Float[np.ndarray, "m b k"]
    values: Float[np.ndarray, "m u k"]
    error: Float[np.ndarray, "m u k"]
    spread: Float[np.ndarray, "m u k"]
    coalitions: Int[np.ndarray, " m"]

    @classmethod
    def of(cls, game: Game) -> Found:
        """What is known from the start: the cases, and each reference case, as they are."""
        full, empty = game.alone()
        m, u = game.players.shape
        values, error, spread = (np.zeros((m, u, full.shape[1])) for _ in range(3))
        return cls(full, empty, values, error, spread, np.full(m, 2))

    def settle(self, row: int, players: Bool[np.ndarray, " u"], each: Float[np.ndarray, "p b k"]) -> None:
        """The values of one case from those against each reference case."""
        b = each.shape[1]
        self.values[row, players] = each.mean(axis=1)
        if b > 1:
            self.spread[row, players] = each.std(axis=1, ddof=1) / np.sqrt(b)

    @property
    def evaluations(self) -> int:
        """Rows the model was asked."""
        m, b, _ = map(int, self.empty.shape)
        return int((self.coalitions - 2).sum()) * b + b + m


def ask(
    game: Game,
    jobs: Sequence[Job],
    close: Callable[[int, Float[np.ndarray, "c b k"]], None],
    progress: Progress,
) -> int:
    """Ask all jobs; ``close(number, answers)`` is called once for each, in order. The number of coalitions asked.

    What `progress` raises passes through.
    """
    if not jobs:
        return 0
    starts = np.concatenate([[0], np.cumsum([len(job.masks) for job in jobs])])
    k = 0
    closed = 0
    held = np.empty((0, game.references, 0))

    def close_up_to(number: int) -> None:
        """Jobs before this one that had nothing to ask."""
        nonlocal closed
        while closed < number:
            close(closed, np.empty((0, game.references, k)))
            closed += 1

    def compute(part: slice) -> None:
        nonlocal held, closed, k
        pieces = list(_pieces(starts, part))
        which = np.concatenate([np.full(stop - start, jobs[n].row) for n, start, stop in pieces])
        masks = np.zeros((len(which), game.players.shape[1]), dtype=bool)
        for n, start, stop in pieces:
            at = starts[n] + start - part.start
            masks[at : at + stop - start, game.players[jobs[n].row]] = jobs[n].masks[start:stop]
        found = game.values(which, masks)
        k = found.shape[2]
        for n, start, stop in pieces:
            if start == 0:
                held = np.empty((len(jobs[n].masks), *found.shape[1:]))
            at = starts[n] + start - part.start
            held[start:stop] = found[at : at + stop - start]
            if stop == len(held) and n >= closed:  # a portion that is tried again closes nothing twice
                close_up_to(n)
                close(n, held)
                closed = n + 1

    # codes and frames are built in main memory, wherever the model computes
    over_chunks(
        compute, int(starts[-1]), game.row_bytes, pick("cpu"), progress, game.portion_seconds, game.pace
    )
    close_up_to(len(jobs))
    return int(starts[-1])


def _pieces(starts: np.ndarray, part: slice) -> list[tuple[int, int, int]]:
    """The jobs that a portion touches, and from where to where in each."""
    first = int(np.searchsorted(starts, part.start, side="right")) - 1
    last = int(np.searchsorted(starts, part.stop, side="left"))
    found = []
    for n in range(first, last):
        start, stop = max(part.start, int(starts[n])), min(part.stop, int(starts[n + 1]))
        if start < stop:
            found.append((n, start - int(starts[n]), stop - int(starts[n])))
    return found
