"""Two ways to one answer in turn: their clock time, their processor time, and whether the answers agree."""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.comparison import agreement
from benchmarks.report import spread

Side = Callable[[], np.ndarray]


@dataclasses.dataclass(frozen=True)
class Turn:
    """Seconds of the clock, and of the processors in all processes that took part."""

    clock: float
    processor: float


def processor_clock(pids: list[int]) -> float:
    """What this process and these have used so far; Linux gives the clock of any process of the same user."""
    return time.process_time() + sum(time.clock_gettime(~pid << 3 | 2) for pid in pids)


def taken(side: Side, pids: list[int]) -> Turn:
    """One call."""
    used, began = processor_clock(pids), time.perf_counter()
    side()
    ended = time.perf_counter()
    return Turn(ended - began, processor_clock(pids) - used)


def in_turn(name: str, target: str, there: Side, here: Side, pids: Callable[[], list[int]], repeats: int) -> dict[str, Any]:  # fmt: skip
    """A B A B …, after two of each to warm up."""
    agreed = agreement(np.asarray(there()), np.asarray(here()))
    there(), here()
    pairs = [(taken(there, pids()), taken(here, [])) for _ in range(repeats)]
    sides = {
        side: {
            "clock": spread([pair[i].clock for pair in pairs]),
            "processor": spread([pair[i].processor for pair in pairs]),
        }
        for i, side in enumerate(("there", "here"))
    }
    more = [a.clock - b.clock for a, b in pairs]
    spent = [a.processor - b.processor for a, b in pairs]
    return {
        "name": name,
        "target": target,
        "repeats": repeats,
        **sides,
        "more": spread(more),
        "more_processor": spread(spent),
        "overhead": statistics.median(more) / sides["here"]["clock"]["median"],
        "overhead_processor": statistics.median(spent) / sides["here"]["processor"]["median"],
        **agreed,
    }
