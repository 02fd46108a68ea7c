"""The web process's side of workers: asking them, stopping them, and what becomes of them.

A `Worker` is a process that is made when it is first asked, again after it died, and not kept while nobody asks. How
it came to hold what it holds is remembered in `Lessons`, so that a new process is brought to the same state.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import queue
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import explainers as ex
from dashboard.compute import Crashed
from dashboard.workers import codec, endings
from dashboard.workers.protocol import REST, Channel, Closed, Kind, Message, ProtocolError, Unheard
from dashboard.workers.starting import Starter, TooSlow, WorkerDied

log = logging.getLogger("whyboard")

#: Seconds that a worker has to stop by itself once it is told to.
GRACE = 2.0

#: Seconds between two looks at whether the asker still waits.
BEAT = 0.1

#: Whether an answer has the form that it must have.
Sound = Callable[[Any], bool]

#: What a process is taught, by name: the verb, and how to come by its arguments again.
Lessons = dict[str, tuple[str, Callable[[], dict[str, Any]]]]


@dataclasses.dataclass
class _Process:
    """A living worker process."""

    pid: int
    channel: Channel
    taught: dict[str, Any] = dataclasses.field(default_factory=dict)
    stale: float | None = None  # when its cancelled request must have ended
    last: weakref.finalize[Any, Any] | None = None
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

    def ask(self, verb: str, arguments: dict[str, Any], seconds: float, progress: ex.Progress | None = None, sound: Sound | None = None) -> Any:  # fmt: skip
        """The answer; the caller holds `turn`. Raises `ExplainerError` where it failed, took too long, died, or is not `sound`."""
        return self._asked(verb, arguments, seconds, progress, "", sound)

    def teach(self, name: str, sound: Sound | None = None) -> Any:
        """The answer to a lesson, now; the caller holds `turn`."""
        verb, arguments = self._lessons[name]
        answer = self._asked(verb, arguments(), self._parent.terms.open_seconds, None, name, sound)
        if self._process is not None:
            self._process.taught[name] = arguments
        return answer

    def _asked(self, verb: str, arguments: dict[str, Any], seconds: float, progress: ex.Progress | None, lesson: str, sound: Sound | None) -> Any:  # fmt: skip
        try:
            self._ready(lesson)
            return self._exchange(verb, arguments, seconds, progress, sound)
        except WorkerDied as death:
            self.end()
            kind = ex.ModelFailure if isinstance(death, TooSlow) else Crashed
            raise kind(f"{death}; your data and selection are still here.") from death
        finally:
            self.used = time.monotonic()
            if self._process is not None and self._process.stale is not None:
                self._end_if_stuck(self._process)

    def end(self) -> None:
        """Kill the process; what it held is taught again when it is next asked."""
        process, self._process = self._process, None
        if process is not None:
            if process.last is not None:
                process.last.detach()
            process.channel.close()
            _kill(self._parent, process.pid)

    def _end_if_stuck(self, process: _Process) -> None:
        """A while after a cancel: nobody may ask again, and what does not stop by itself would keep a processor busy."""

        def look() -> None:
            if self.turn.acquire(blocking=False):  # else it is asked again, and that looks too
                try:
                    if self._process is process and process.stale is not None and not _settled(process):
                        self.end()
                finally:
                    self.turn.release()

        timer = threading.Timer(GRACE / 2, look)  # then it still has the other half
        timer.daemon = True
        timer.start()

    def _ready(self, but: str) -> None:
        """A process that holds what it should (but for this lesson, which is just being taught), not one that still works on what was cancelled."""
        if self._process is not None and self._process.stale is not None and not _settled(self._process):
            self.end()
        if self._process is None:
            pid, end = self._parent.fork()
            self._process = _Process(pid, Channel(end, self._parent.terms.reply_bytes))
            last = weakref.finalize(self, _left_behind, self._parent, pid, self._process.channel)
            last.atexit = False  # at the end of this process the starter ends them all
            self._process.last = last
        for name, (verb, arguments) in list(self._lessons.items()):
            if name != but and self._process.taught.get(name) is not arguments:
                self._exchange(verb, arguments(), self._parent.terms.open_seconds, None)
                self._process.taught[name] = arguments

    def _exchange(self, verb: str, arguments: dict[str, Any], seconds: float, progress: ex.Progress | None, sound: Sound | None = None) -> Any:  # fmt: skip
        process = self._process
        assert process is not None
        process.number += 1
        body, arrays = codec.pack({"do": verb, **arguments})
        try:
            process.channel.send(Message(Kind.REQUEST, process.number, body, arrays), seconds)
            with _cancelled_unless_answered(process):
                message = _awaited(process, verb, seconds, progress)
            if message.kind is Kind.RESULT:
                answer = codec.unpack(message.body, message.arrays)
                if sound is not None and not sound(answer):
                    raise ProtocolError(f"an answer to {verb} of another form")
                return answer
        except Unheard:
            raise TooSlow(endings.too_slow(verb, seconds)) from None
        except Closed:
            raise WorkerDied(endings.ending(self._parent.status(process.pid), verb)) from None
        except ProtocolError as error:
            log.warning("a worker broke the protocol: %s", error)
            raise WorkerDied(endings.nonsense(verb)) from None
        raise endings.error(message.body, verb)


def _settled(process: _Process) -> bool:
    """Read what a cancelled request still says, for as long as it has to end."""
    assert process.stale is not None
    until = max(process.stale, time.monotonic() + BEAT)  # what it said in time may lie there since
    try:
        while (left := until - time.monotonic()) > 0:
            message = process.channel.receive(left, left)
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
        left = max(0.0, deadline - time.monotonic())
        message = process.channel.receive(min(BEAT, left), min(REST, max(GRACE, left)))
        ours = message is not None and message.number == process.number
        if message is not None and ours and message.kind in (Kind.RESULT, Kind.ERROR):
            return message
        partial = None
        if message is not None and ours and message.kind is Kind.PROGRESS:
            last, partial = _report(message)
        if progress is not None:
            progress(*last, partial)
        if time.monotonic() > deadline:
            raise TooSlow(endings.too_slow(verb, seconds))


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
                process.channel.send(Message(Kind.CANCEL, process.number, None), GRACE)


def _kill(parent: Starter, pid: int) -> None:
    with contextlib.suppress(WorkerDied):
        parent.kill(pid)


#: Processes whose worker nobody refers to any more, as when a session ended.
_orphans: queue.SimpleQueue[tuple[Starter, int]] = queue.SimpleQueue()


def _left_behind(parent: Starter, pid: int, channel: Channel) -> None:
    """Have a process ended. The collector calls this in the midst of anything, also of an order to the starter."""
    channel.close()
    _orphans.put((parent, pid))
    _undertaker()


@cache
def _undertaker() -> threading.Thread:
    """Ends what was left behind; it may wait for the starter, whom the collector's own thread may hold."""

    def work() -> None:
        while True:
            _kill(*_orphans.get())

    thread = threading.Thread(target=work, name="whyboard-undertaker", daemon=True)
    thread.start()
    return thread


def _report(message: Message) -> tuple[tuple[int, int], ex.Explanation | None]:
    said = codec.unpack(message.body, message.arrays)
    if not isinstance(said, dict) or not {"done", "total", "partial"} <= said.keys():
        raise ProtocolError("a report of progress that is none")
    done, total, partial = said["done"], said["total"], said["partial"]
    if type(done) is not int or type(total) is not int or not 0 <= done <= max(total, 1):
        raise ProtocolError("a report of progress that is none")
    return (done, max(total, 1)), partial if isinstance(partial, ex.Explanation) else None
