"""Sides of a piece of work, timed in turn in one process; the least seconds count, and beside them how equal the values are."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from benchmarks.images.cases import silently
from benchmarks.report import ratio, short, table
from benchmarks.sections import Section

#: Runs of a side at most, and the cosine from which values are called equal.
REPEATS, EQUAL = 7, 0.999

HEADS = ("work", "side", "time", "theirs / ours", "by processor time", "wanted (aim)", "cosine", "note")

Make = Callable[[], np.ndarray]

#: Seconds of the clock, and of the processors: these say more where others share the machine.
Taken = tuple[float, float]


@dataclasses.dataclass(frozen=True, eq=False)
class Side:
    """One way to the values.

    Attributes:
        name: who computes, and how it is called.
        run: gives the values; what is made once for a model is made beforehand.
        wanted, aim: of a peer how many times faster ours must be; 0 where it stands there to be read.
        note: asked after the runs.
    """

    name: str
    run: Make
    wanted: float = 0.0
    aim: float = 0.0
    note: Callable[[], str] = lambda: ""


@dataclasses.dataclass(frozen=True, eq=False)
class Work:
    """Our side and the others.

    Attributes:
        title: what is computed, of what size.
        ours, theirs: the sides.
        cosine: how equal a peer's values (second) are to ours; NaN where its note says that.
        reference: values that all sides are held against in the place of ours.
        least: a lower cosine is reported, of ours where there is a reference, else of theirs; 0 where sampling keeps both apart.
    """

    title: str
    ours: Side
    theirs: Sequence[Side]
    cosine: Callable[[np.ndarray, np.ndarray], float]
    reference: np.ndarray | None = None
    least: float = EQUAL

    def measured(self, patience: float) -> list[dict[str, Any]]:
        """A line for each side."""
        sides = [self.ours, *self.theirs]
        values, taken = zip(*(_first(side) for side in sides), strict=True)
        _in_turn(sides, taken, patience)
        held = values[0] if self.reference is None else self.reference
        same = [self.cosine(held, found) for found in values[1:]]
        cosines = [None if self.reference is None else self.cosine(held, values[0]), *same]
        return [
            {**self._line(*one), **_ratios(one[1], taken[0]), "ours": one[0] is self.ours}
            for one in zip(sides, taken, cosines, strict=True)
        ]

    def _line(self, side: Side, taken: list[Taken], same: float | None) -> dict[str, Any]:
        return {
            "work": self.title,
            "side": side.name,
            "runs": len(taken[1:] or taken),
            "wanted": side.wanted,
            "aim": side.aim,
            "cosine": same,
            "least": self.least if (self.reference is None) != (side is self.ours) else 0,
            "note": side.note(),
        }


def _ratios(taken: list[Taken], ours: list[Taken]) -> dict[str, float]:
    """The least seconds, and how many times ours they are, by both clocks; the run that warmed up counts where it is the only one."""
    (seconds, processor), mine = (
        [min(each) for each in zip(*(some[1:] or some), strict=True)] for some in (taken, ours)
    )
    return {
        "seconds": seconds,
        "processor": processor,
        "ratio": seconds / mine[0],
        "processor_ratio": processor / max(mine[1], 1e-9),
    }


def _first(side: Side) -> tuple[np.ndarray, list[Taken]]:
    """Values, and what a run takes that warms up."""
    values, taken = _timed(side)
    return values, [taken]


def _timed(side: Side) -> tuple[np.ndarray, Taken]:
    began, used = time.perf_counter(), time.process_time()
    values = np.asarray(silently(side.run))
    return values, (time.perf_counter() - began, time.process_time() - used)


def _in_turn(sides: Sequence[Side], taken: Sequence[list[Taken]], patience: float) -> None:
    """Each side once more in every round, as long as its runs stay within `patience` seconds; one more where that takes twice as long."""
    for _ in range(REPEATS):
        for side, runs in zip(sides, taken, strict=True):
            spent, next_one = sum(seconds for seconds, _ in runs[1:]), min(runs)[0]
            if spent + next_one <= (2 * patience if len(runs) == 1 else patience):
                runs.append(_timed(side)[1])


def cosine(mine: np.ndarray, other: np.ndarray) -> float:
    """The least over pictures; NaN where a map is 0 everywhere."""
    if mine.shape != other.shape:
        raise ValueError(f"The two sides do not compare: shapes {mine.shape} and {other.shape}.")
    a, b = (np.reshape(values, (len(values), -1)).astype(np.float64) for values in (mine, other))
    size = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return float(((a * b).sum(axis=1) / np.where(size == 0, np.nan, size)).min())


def section(word: str, title: str, about: str, lines: list[dict[str, Any]]) -> Section:
    """Table, numbers and what is worse than wanted."""
    missed = [
        f"{line['work']}, against {line['side']}: {ratio(line['ratio'])} ×, {line['wanted']:g} × wanted"
        for line in lines
        if line["wanted"] and line["ratio"] < line["wanted"]
    ] + [
        f"{line['work']}, {line['side']}: cosine {line['cosine']:.5f}, {line['least']} wanted"
        for line in lines
        if line["least"] and line["cosine"] is not None and not line["cosine"] >= line["least"]
    ]
    body = [_cells(line) for line in lines]
    return Section(
        word, title, "\n\n".join(part for part in (about, table(HEADS, body)) if part), lines, missed
    )


def _cells(line: dict[str, Any]) -> list[str]:
    return [
        line["work"],
        f"**{line['side']}**" if line["ours"] else line["side"],
        f"{short(line['seconds'])} ({line['runs']})",
        "" if line["ours"] else ratio(line["ratio"]),
        "" if line["ours"] else ratio(line["processor_ratio"]),
        f"{line['wanted']:g} ({line['aim']:g})" if line["wanted"] else "",
        "" if line["cosine"] is None else f"{line['cosine']:.5f}",
        line["note"],
    ]
