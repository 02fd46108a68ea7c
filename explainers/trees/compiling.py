"""Plain loops as machine code, and rows shared among threads."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numba

#: Where the machine code of the loops made so far is kept: a folder for each folder of sources.
KEPT: set[str] = set()


def compiled(loop: Callable[..., Any], sums_in_any_order: bool = False) -> Any:
    """The loop as machine code that other threads may run beside; kept beside its file where that can be written."""
    options: dict[str, Any] = {
        "nogil": True,
        "boundscheck": False,
        "fastmath": {"reassoc", "contract"} if sums_in_any_order else False,
    }
    try:
        found = numba.njit(cache=True, **options)(loop)
    except RuntimeError:
        return numba.njit(**options)(loop)
    # A process that was locked since may neither read nor write there: then it compiles for itself. numba has the same
    # guard, on one system only.
    found._cache._guard_against_spurious_io_errors = partial(contextlib.suppress, OSError)
    KEPT.add(found.stats.cache_path)
    return found


def threads() -> int:
    """How many threads may work at a time: what ``OMP_NUM_THREADS`` says, else the processors; at most 8."""
    told = os.environ.get("OMP_NUM_THREADS", "")
    return min(int(told) if told.isdigit() and int(told) else os.cpu_count() or 1, 8)


def share(work: Callable[[int, int], None], rows: int, least: int) -> None:
    """``work(start, stop)`` over all rows, in as many threads as have `least` rows each."""
    parts = rows // max(1, least)
    parts = min(threads(), parts) if parts > 1 else 1
    if parts == 1:
        work(0, rows)
        return
    bounds = [rows * part // parts for part in range(parts + 1)]
    with ThreadPoolExecutor(parts) as pool:
        list(pool.map(work, bounds[:-1], bounds[1:]))
