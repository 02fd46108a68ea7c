"""A row of the table, and what is written of it."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from benchmarks.trees.measuring import Measured, Side, measure

#: Units with a larger difference than this are counted: no rounding, but another way through a tree.
APART = 1e-4


@dataclasses.dataclass(frozen=True, eq=False)
class Row:
    """One piece of work: our sides, the first of which is the headline, and the others.

    Attributes:
        word: to choose it by.
        title: the work.
        unit: what a side's size counts.
        reference: values that every side is held against, for all units or the first of them.
        agrees: what an independent computation says of the reference, in words.
        leaves: leaves that one unit meets; 0 where that says nothing.
        note: what a reader must know.
    """

    word: str
    title: str
    ours: Sequence[Side]
    theirs: Sequence[Side]
    reference: Callable[[], np.ndarray]
    agrees: Callable[[np.ndarray], str] = lambda _: ""
    unit: str = "rows"
    leaves: int = 0
    note: str = ""

    def run(self, repeats: int, patience: float) -> dict[str, Any]:
        """Measure all sides; the libraries' warnings about their own future are not printed."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return self._run(repeats, patience)

    def _run(self, repeats: int, patience: float) -> dict[str, Any]:
        found = measure([*self.ours, *self.theirs], repeats, patience)
        reference = np.asarray(self.reference(), dtype=np.float64)
        mine = found[: len(self.ours)]
        sides = [self._side(one, mine, reference) for one in found]
        note = "; ".join(part for part in (self.agrees(reference), self.note) if part)
        return {"word": self.word, "title": self.title, "unit": self.unit, "note": note, "sides": sides}

    def _side(self, one: Measured, mine: Sequence[Measured], reference: np.ndarray) -> dict[str, Any]:
        values = np.asarray(one.values, dtype=np.float64)
        count = min(len(values), len(reference))
        values, expected = values[:count], reference[:count]
        if values.shape != expected.shape:
            raise ValueError(
                f"{one.side.name} does not compare: shapes {values.shape} and {expected.shape} ({self.title})."
            )
        return {
            "name": one.side.name,
            "ours": one in mine,
            "headline": one is mine[0],
            "seconds": one.seconds,
            "runs": max(1, len(one.taken)),
            "ratios": [] if one in mine else [one.seconds / each.seconds for each in mine],
            "difference": float(np.abs(values - expected).max(initial=0.0)),
            "compared": count,
            "apart": int(
                (np.abs(values - expected).reshape(count, -1).max(axis=1, initial=0.0) > APART).sum()
            ),
            "largest": float(np.abs(expected).max(initial=0.0)),
            "peak": one.peak,
            "peak_units": one.n,
            "cold": one.cold,
            "scaled": one.scaled,
            "per_second": one.side.size / one.seconds,
            "leaf_rows": self.leaves * one.side.size / one.seconds,
            "said": one.side.said(),
        }
