"""Workers that hold the same models and data: one for an upload, a few for a prepared workspace that many people visit."""

from __future__ import annotations

import contextlib
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import explainers as ex
from dashboard.compute import Passing
from dashboard.workers.starting import Starter
from dashboard.workers.supervisor import Lessons, Sound, Worker

#: Seconds between two looks for workers that nobody has asked for long.
ROUNDS = 20.0


class Pool:
    """Up to `size` workers; the first free one is asked, so that what one has remembered is used again."""

    _all: ClassVar[weakref.WeakSet[Pool]] = weakref.WeakSet()

    def __init__(self, parent: Starter, size: int, *, private: bool = False) -> None:
        self.lessons: Lessons = {}
        self.private = private
        self.parent = parent
        self._size = size
        self._workers: list[Worker] = []
        self._changed = threading.Condition()
        Pool._all.add(self)
        _janitor()

    def teach(self, name: str, verb: str, arguments: Callable[[], dict[str, Any]], sound: Sound | None = None) -> Any:  # fmt: skip
        """Let every worker hold something, this one now and the others when they are next asked; the answer."""
        with self._free(None) as worker:
            before = self.lessons.get(name)
            self.lessons[name] = (verb, arguments)
            taught = False
            try:
                answer = worker.teach(name, sound)
                taught = True
            finally:
                if not taught:  # what fails once is not tried again by every new process
                    self.lessons.pop(name, None)  # unless somebody forgot it meanwhile
                    self.lessons |= {} if before is None else {name: before}
        return answer

    def forget(self, *names: str) -> None:
        """No new process is taught these any more."""
        for name in names:
            self.lessons.pop(name, None)

    def ask(self, verb: str, arguments: dict[str, Any], seconds: float, progress: ex.Progress | None = None, sound: Sound | None = None) -> Any:  # fmt: skip
        """The answer of the first free worker. Raises `ExplainerError`."""
        with self._free(progress) as worker:
            return worker.ask(verb, arguments, seconds, progress, sound)

    @property
    def pids(self) -> list[int]:
        """The living processes."""
        return [worker.pid for worker in self._workers if worker.pid is not None]

    def end(self) -> None:
        """Kill all its processes; they begin again when they are asked."""
        for worker in list(self._workers):
            worker.end()

    def close(self) -> None:
        """Kill all its processes and forget what they held."""
        self.lessons.clear()
        self.end()

    def retire(self, seconds: float) -> None:
        """End processes that nobody has asked for so long."""
        for worker in list(self._workers):
            if worker.pid is not None and time.monotonic() - worker.used > seconds:
                with _if_free(worker) as free:
                    if free:
                        worker.end()

    @contextlib.contextmanager
    def _free(self, progress: ex.Progress | None) -> Iterator[Worker]:
        worker = self._taken()
        while worker is None:
            with self._changed:
                self._changed.wait(0.05)
            if progress is not None:
                progress(0, 1)  # whoever waits may be stopped
            worker = self._taken()
        try:
            yield worker
        except ex.ExplainerError as error:
            if isinstance(error, ex.OutOfMemory) or "MemoryError" in str(error):
                worker.end()  # what filled the memory may still be held; the next question gets a new process
            raise
        finally:
            worker.turn.release()
            with self._changed:
                self._changed.notify()

    def _taken(self) -> Worker | None:
        """The first worker that nobody asks, its turn taken; a new one while there may be more."""
        with self._changed:
            for worker in self._workers:
                if not worker.turn.locked():
                    if worker.pid is None:
                        self._room()
                    worker.turn.acquire()  # nobody else takes turns without holding `_changed`, but the janitor
                    return worker
            if len(self._workers) >= self._size:
                return None
            self._room()
            worker = Worker(self.parent, self.lessons)
            worker.turn.acquire()
            self._workers.append(worker)
            return worker

    def _room(self) -> None:
        """Make sure that another process may be started: those of uploads are bounded."""
        if not self.private:
            return
        most = self.parent.terms.at_most
        siblings = [pool for pool in list(Pool._all) if pool.private and pool.parent is self.parent]
        others = [pool for pool in siblings if pool is not self and pool.pids]
        for pool in others if len(others) >= most else []:
            pool.retire(60.0)
        if sum(bool(pool.pids) for pool in others) >= most:
            raise Passing(
                f"{most} visitors have models of their own open, and no more may run here at a time "
                "(setting workers.at_most). Try again in a few minutes."
            )


@contextlib.contextmanager
def _if_free(worker: Worker) -> Iterator[bool]:
    free = worker.turn.acquire(blocking=False)
    try:
        yield free
    finally:
        if free:
            worker.turn.release()


_started = threading.Event()


def _janitor() -> None:
    """One thread that ends processes nobody has asked for long."""
    if not _started.is_set():
        _started.set()
        threading.Thread(target=_rounds, name="whyboard-janitor", daemon=True).start()


def _rounds() -> None:
    while True:
        time.sleep(ROUNDS)
        for pool in list(Pool._all):
            pool.retire(60.0 * pool.parent.terms.idle_minutes)
