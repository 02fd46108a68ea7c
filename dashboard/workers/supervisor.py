"""The web process's side of workers: asking them, stopping them, and what becomes of them.

A `Worker` is a process that is made when it is first asked, again after it died, and not kept while nobody asks. How
it came to hold what it holds is remembered in `Lessons`, so that a new process is brought to the same state.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import explainers as ex
from dashboard.workers import codec, endings
from dashboard.workers.protocol import Channel, Closed, Kind, Message, ProtocolError
from dashboard.workers.starting import Starter, WorkerDied

log = logging.getLogger("whyboard")

#: Seconds that a worker has to stop by itself once it is told to.
GRACE = 2.0

#: Seconds between two looks at whether the asker still waits.
BEAT = 0.1

#: What a process is taught, by name: the verb, and how to come by its arguments again.
Lessons = dict[str, tuple[str, Callable[[], dict[str, Any]]]]


@dataclasses.dataclass
class _Process:
    """A living worker process."""

    pid: int
    channel: Channel
    taught: dict[str, Any] = dataclasses.field(default_factory=dict)
    stale: float | None = None  # when its cancelled request must have ended
    number: int = 0


class Worker:
    """One process that is asked by one thread at a time."""

    def __init__(self, parent: Starter, lessons: Lessons) -> None:
        self._parent = parent
        self._lessons = lessons
        self._process: _Process | None = None
        self.turn = threading.Lock()
        self.used = time.monotonic()

    @property
    def pid(self) -> int | None:
        """The process's number, or ``None`` while there is none."""
        return None if self._process is None else self._process.pid

    def ask(self, verb: str, arguments: dict[str, Any], seconds: float, progress: ex.Progress | None = None) -> Any:  # fmt: skip
        """The answer; the caller holds `turn`. Raises `ExplainerError` where it failed, took too long or died."""
        return self._asked(verb, arguments, seconds, progress, "")

    def teach(self, name: str) -> Any:
        """The answer to a lesson, now; the caller holds `turn`."""
        verb, arguments = self._lessons[name]
        answer = self._asked(verb, arguments(), self._parent.terms.open_seconds, None, name)
        if self._process is not None:
            self._process.taught[name] = arguments
        return answer

    def _asked(self, verb: str, arguments: dict[str, Any], seconds: float, progress: ex.Progress | None, lesson: str) -> Any:  # fmt: skip
        try:
            self._ready(lesson)
            return self._exchange(verb, arguments, seconds, progress)
        except WorkerDied as death:
            self.end()
            raise ex.ModelFailure(f"{death}; your data and selection are still here.") from death
        finally:
            self.used = time.monotonic()

    def end(self) -> None:
        """Kill the process; what it held is taught again when it is next asked."""
        process, self._process = self._process, None
        if process is not None:
            _abandon(self._parent, process.pid, process.channel)

    def _ready(self, but: str) -> None:
        """A process that holds what it should (but for this lesson, which is just being taught), not one that still works on what was cancelled."""
        if self._process is not None and self._process.stale is not None and not _settled(self._process):
            self.end()
        if self._process is None:
            pid, end = self._parent.fork()
            self._process = _Process(pid, Channel(end, self._parent.terms.reply_bytes))
            last = weakref.finalize(self, _abandon, self._parent, pid, self._process.channel)
            last.atexit = False  # at the end of this process the starter ends them all
        for name, (verb, arguments) in list(self._lessons.items()):
            if name != but and self._process.taught.get(name) is not arguments:
                self._process.taught[name] = arguments
                self._exchange(verb, arguments(), self._parent.terms.open_seconds, None)

    def _exchange(self, verb: str, arguments: dict[str, Any], seconds: float, progress: ex.Progress | None) -> Any:  # fmt: skip
        process = self._process
        assert process is not None
        process.number += 1
        body, arrays = codec.pack({"do": verb, **arguments})
        try:
            process.channel.send(Message(Kind.REQUEST, process.number, body, arrays))
            with _cancelled_unless_answered(process):
                message = _awaited(process, verb, seconds, progress)
            if message.kind is Kind.RESULT:
                return codec.unpack(message.body, message.arrays)
        except Closed:
            raise WorkerDied(endings.ending(self._parent.status(process.pid), verb)) from None
        except ProtocolError as error:
            log.warning("a worker broke the protocol: %s", error)
            raise WorkerDied(endings.nonsense(verb)) from None
        raise endings.error(message.body, verb)


def _settled(process: _Process) -> bool:
    """Read what a cancelled request still says, for as long as it has to end."""
    assert process.stale is not None
    try:
        while (left := process.stale - time.monotonic()) > 0:
            message = process.channel.receive(left)
            if message is not None and message.kind in (Kind.RESULT, Kind.ERROR):
                process.stale = None
                return True
    except (Closed, ProtocolError):
        return False
    return False


def _awaited(process: _Process, verb: str, seconds: float, progress: ex.Progress | None) -> Message:
    """The reply. Meanwhile reports are passed on, and the asker is asked now and then whether it still waits."""
    deadline = time.monotonic() + seconds
    last: tuple[int, int] = (0, 1)
    while True:
        message = process.channel.receive(min(BEAT, max(0.0, deadline - time.monotonic())))
        ours = message is not None and message.number == process.number
        if message is not None and ours and message.kind in (Kind.RESULT, Kind.ERROR):
            return message
        partial = None
        if message is not None and ours and message.kind is Kind.PROGRESS:
            last, partial = _report(message)
        if progress is not None:
            progress(*last, partial)
        if time.monotonic() > deadline:
            raise WorkerDied(endings.too_slow(verb, seconds))


@contextlib.contextmanager
def _cancelled_unless_answered(process: _Process) -> Iterator[None]:
    """Whatever stops the wait, the worker is told; it has a little time to stop by itself."""
    answered = False
    try:
        yield
        answered = True
    finally:
        if not answered:
            process.stale = time.monotonic() + GRACE
            with contextlib.suppress(Closed):
                process.channel.send(Message(Kind.CANCEL, process.number, None))


def _abandon(parent: Starter, pid: int, channel: Channel) -> None:
    """End a process; also when nobody refers to its worker any more, as when a session ended."""
    if channel.fileno() >= 0:
        channel.close()
        with contextlib.suppress(WorkerDied):
            parent.kill(pid)


def _report(message: Message) -> tuple[tuple[int, int], ex.Explanation | None]:
    said = codec.unpack(message.body, message.arrays)
    if not isinstance(said, dict) or not {"done", "total", "partial"} <= said.keys():
        raise ProtocolError("a report of progress that is none")
    done, total, partial = said["done"], said["total"], said["partial"]
    if not isinstance(done, int) or not isinstance(total, int):
        raise ProtocolError("a report of progress that is none")
    return (done, total), partial if isinstance(partial, ex.Explanation) else None
