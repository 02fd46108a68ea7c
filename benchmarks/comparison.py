"""One row of the table: two ways to the same values, timed in turn, with their agreement."""

from __future__ import annotations

import dataclasses
import statistics
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

Make = Callable[[], np.ndarray]


@dataclasses.dataclass(frozen=True)
class Comparison:
    """What is compared: two functions without arguments that return arrays of one shape.

    Attributes:
        name: our explainer, and the size of the work.
        peer: the other library and how it is called.
        ours, theirs: the two sides; everything that is not their own work is done beforehand.
        note: what a reader must know to read the agreement: exact, sampled, of what size the values are.
    """

    name: str
    peer: str
    ours: Make
    theirs: Make
    note: str = ""

    def run(self, repeats: int) -> dict[str, Any]:
        """Each side once to warm up and to compare, then in turn; medians of the seconds."""
        mine, other = np.asarray(_quietly(self.ours)), np.asarray(_quietly(self.theirs))
        seconds: dict[Make, list[float]] = {self.ours: [], self.theirs: []}
        for _ in range(repeats):
            for side, taken in seconds.items():
                began = time.perf_counter()
                _quietly(side)
                taken.append(time.perf_counter() - began)
        ours, theirs = (statistics.median(seconds[side]) for side in (self.ours, self.theirs))
        return {
            "name": self.name,
            "peer": self.peer,
            "ours": ours,
            "theirs": theirs,
            "ratio": theirs / ours,
            "repeats": repeats,
            "note": self.note,
            **agreement(mine, other),
        }


def agreement(mine: np.ndarray, other: np.ndarray) -> dict[str, float]:
    """Largest difference, the largest value it is to be held against, and the correlation."""
    if mine.shape != other.shape:
        raise ValueError(f"The two sides do not compare: shapes {mine.shape} and {other.shape}.")
    same = (
        np.corrcoef(mine.ravel(), other.ravel())[0, 1] if mine.std() > 0 and other.std() > 0 else float("nan")
    )
    return {
        "difference": float(np.abs(mine - other).max()),
        "largest": float(np.abs(other).max()),
        "correlation": float(same),
    }


def _quietly(side: Make) -> np.ndarray:
    """The libraries warn about their own future; what we say is in the table."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return side()
