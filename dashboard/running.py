"""Computations under way, each in a thread of its own: pages go on showing what is known, and whoever waits looks on.

A computation goes on as long as somebody watches. Who turns to something else leaves it at once; who only paints the page
again stays.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Hashable
from typing import Any

import explainers as ex

#: Seconds in which a watcher who paints the page must be back; who leaves says so.
BACK = 10.0

Work = Callable[[ex.Progress], Any]


class Run:
    """One computation and its watchers.

    Attributes:
        ended: set when there is nothing more to wait for: a result, a failure, or nobody watches.
        done, total: how far it is.
    """

    def __init__(self, work: Work) -> None:
        self.ended = threading.Event()
        self.done, self.total = 0, 1
        self._work = work
        self._started = time.monotonic()
        self._watchers: dict[Hashable, float] = {}
        self._stopped = False
        self._guard = threading.Lock()

    @property
    def age(self) -> float:
        """Seconds since it began."""
        return time.monotonic() - self._started

    def watch(self, who: Hashable) -> bool:
        """Say that somebody waits, now and again; ``False`` where it is ending, since nobody did."""
        with self._guard:
            if not self._stopped:
                self._watchers[who] = time.monotonic()
            return not self._stopped

    def leave(self, who: Hashable) -> None:
        """Say that somebody waits no more."""
        with self._guard:
            self._watchers.pop(who, None)
            self._stopped = self._stopped or not self._watchers

    def compute(self) -> None:
        """Do the work; its result goes where the work puts it, and its failure too."""
        try:
            with contextlib.suppress(ex.ExplainerError, ex.Cancelled):
                self._work(self._report)
        finally:
            self.ended.set()

    def _report(self, done: int, total: int, partial: ex.Explanation | None = None) -> None:
        with self._guard:
            self._stopped = self._stopped or not any(
                time.monotonic() - seen < BACK for seen in self._watchers.values()
            )
            if self._stopped:
                raise ex.Cancelled
        self.done, self.total = done, total


class Runs:
    """What is under way, by key: who asks for the same joins."""

    def __init__(self) -> None:
        self._runs: dict[Hashable, Run] = {}
        self._guard = threading.Lock()

    def join(self, key: Hashable, work: Work, who: Hashable) -> Run:
        """The computation of this key, begun where there is none that goes on."""
        with self._guard:
            run = self._runs.get(key)
            if run is not None and not run.ended.is_set() and run.watch(who):
                return run
            run = self._runs[key] = Run(work)
            run.watch(who)
        threading.Thread(target=self._compute, args=(key, run), name="whyboard-run", daemon=True).start()
        return run

    def _compute(self, key: Hashable, run: Run) -> None:
        try:
            run.compute()
        finally:
            with self._guard:
                if self._runs.get(key) is run:
                    del self._runs[key]
