"""Sides of a row of the table: what each takes, on how many rows, with how much memory, and how far it is from float64."""

from __future__ import annotations

import ctypes
import dataclasses
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

#: Seconds: a side that would take longer is run once on fewer rows, at two sizes; a size is large enough to tell after `TELLING`,
#: and once the time has grown by this share of what the rows have: before, most of it does not depend on them.
LONG, TELLING, LINEAR = 30.0, 1.5, 0.85

#: Seconds below which calls are timed in bundles of about that long.
BUNDLE = 0.02

Run = Callable[[int], np.ndarray]


@dataclasses.dataclass(frozen=True, eq=False)
class Side:
    """One way to the values of a row.

    Attributes:
        name: who computes, and how it is called.
        prepare: makes everything that is made once for a model, and gives ``run(n)``: the values of the first ``n`` units.
        size: how many units (mostly rows of data) the whole work has.
        first: the first size tried, where the whole may take too long.
        said: what is to be written beside it, asked after the runs.
    """

    name: str
    prepare: Callable[[], Run]
    size: int
    first: int = 64
    said: Callable[[], str] = lambda: ""


@dataclasses.dataclass(eq=False)
class Measured:
    """What was found of one side; `seconds` are those of the whole work, `n` is what was really run."""

    side: Side
    run: Run
    cold: float
    n: int
    values: np.ndarray
    estimate: float
    peak: int | None
    scaled: str
    taken: list[float] = dataclasses.field(default_factory=list)

    @property
    def seconds(self) -> float:
        """Median, or where scaled the estimate from two sizes."""
        return self.estimate if self.scaled or not self.taken else statistics.median(self.taken)

    def again(self) -> None:
        """Time the whole work once more; short calls in a bundle."""
        calls = max(1, int(BUNDLE / max(self.estimate, 1e-7))) if self.estimate < BUNDLE else 1
        began = time.perf_counter()
        for _ in range(calls):
            self.run(self.n)
        self.taken.append((time.perf_counter() - began) / calls)


def measure(sides: Sequence[Side], repeats: int, patience: float) -> list[Measured]:
    """Every side once to warm up and to compare, then in turn.

    A side is timed `repeats` times, or as often as fits into `patience` seconds; where not even two runs fit, the one that
    was made anyway counts. One that would take longer than `LONG` is scaled.
    """
    found = [_first(side) for side in sides]
    times = [min(repeats, int(patience / max(one.estimate, 1e-9))) for one in found]
    for turn in range(repeats):
        for one, count in zip(found, times, strict=True):
            if turn < count and count > 1 and not one.scaled:
                one.again()
    return found


def _first(side: Side) -> Measured:
    """Prepare, and run larger and larger parts until the whole is done or is known to take too long."""
    began = time.perf_counter()
    run = side.prepare()
    cold = time.perf_counter() - began
    n, before = min(side.first, side.size), (0, 0.0)
    run(min(n, 64))  # what only the first call costs is nobody's speed
    while True:
        values, seconds, peak = _watched(run, n)
        if n == side.size:
            return Measured(side, run, cold, n, values, seconds, peak, "")
        whole = seconds * side.size / n
        linear = before[0] > 0 and seconds / before[1] >= LINEAR * n / before[0]
        if linear and seconds > TELLING and whole > LONG:
            growth = f"{n:,} took {seconds / before[1]:.2f} × the time of {before[0]:,}"
            slope = (seconds - before[1]) / (n - before[0])
            whole = min(whole, seconds + slope * (side.size - n))
            return Measured(side, run, cold, n, values, whole, peak, growth)
        before = (n, seconds)
        n = side.size if whole < LONG / 2 else min(_larger(n, seconds), side.size)


def _larger(n: int, seconds: float) -> int:
    """Twice as many, or four times where that is still quick."""
    return n * (4 if seconds < TELLING / 4 else 2)


def _watched(run: Run, n: int) -> tuple[np.ndarray, float, int | None]:
    """Values, seconds, and by how many bytes the process grew at most meanwhile."""
    start = _reset_peak()
    began = time.perf_counter()
    values = np.asarray(run(n))
    seconds = time.perf_counter() - began
    end = _status("VmHWM")
    return values, seconds, None if start is None or end is None else max(0, end - start)


def _reset_peak() -> int | None:
    """Give freed memory back, forget the highest mark of resident memory, and say what is resident now."""
    try:
        ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")
    except (OSError, AttributeError):
        return None
    return _status("VmRSS")


def _status(name: str) -> int | None:
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith(name)), None)
