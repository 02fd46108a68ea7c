"""The lock tried out: every hostile action in a locked child of a fresh process; ``python -m dashboard.workers.lock.self_test``.

The trial runs in an interpreter of its own, since a server that has threads must not fork. Its last line is the
sentence, its exit status 0 if the lock holds. With ``--unlocked`` the actions are tried without the lock: each is then
possible, or its refusal would prove nothing.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from dashboard.workers.lock import Bounds, Lock, available, kernel, lock
from dashboard.workers.lock.actions import ACTIONS, Action, Stage

#: What the trial's children may use; the actions ask for more.
BOUNDS = Bounds(memory_bytes=1 << 30, cpu_seconds=10, reply_bytes=16 << 20)

#: Seconds for one action, and for all of them.
EACH, ALL = 10.0, 60.0

#: Who may trace this process: anybody; the trial gives an attacker every chance.
_SET_TRACER, _ANYBODY = 0x59616D61, (1 << 64) - 1

_ROOT = Path(__file__).resolve().parents[3]


@dataclass(frozen=True)
class Attempt:
    """An action and what became of it: ``"allowed"``, ``"refused"``, or how else its process ended; and the reason."""

    action: str
    wanted: bool
    outcome: str
    reason: str

    @property
    def good(self) -> bool:
        """Whether the lock did what it should."""
        return self.outcome == ("allowed" if self.wanted else "refused")


@dataclass(frozen=True)
class SelfTest:
    """What the lock does here, tried out; without attempts where it could not be tried."""

    lock: Lock
    attempts: tuple[Attempt, ...] = ()
    problem: str = ""

    @property
    def passed(self) -> bool:
        """Whether every layer is there, everything hostile was refused, and what is wanted was possible."""
        return self.lock.complete and bool(self.attempts) and all(attempt.good for attempt in self.attempts)

    def sentence(self) -> str:
        """For the log and the page."""
        if not self.attempts:
            return f"self-test not run: {self.problem or self.lock.sentence()}"
        hostile = [attempt for attempt in self.attempts if not attempt.wanted]
        refused = sum(attempt.good for attempt in hostile)
        bad = ", ".join(f"{a.action} ({a.outcome})" for a in self.attempts if not a.good)
        counted = f"{refused} of {len(hostile)} hostile actions refused"
        verdict = "passed" if self.passed else "FAILED"
        return f"self-test {verdict}: {counted}{f'; wrong: {bad}' if bad else ''}; {self.lock.sentence()}"

    def table(self) -> str:
        """One line per action: what became of it, and the kernel's reason."""
        return "\n".join(f"{a.outcome:<8} {a.action:<32} {a.reason}".rstrip() for a in self.attempts)


def self_test(*, locked: bool = True) -> SelfTest:
    """Try every action in a fresh process; takes a fraction of a second. Never raises."""
    if not kernel.here():
        return SelfTest(available())
    command = [sys.executable, "-s", "-m", __name__, "--json", *([] if locked else ["--unlocked"])]
    variables = {
        name: value for name, value in os.environ.items() if name.startswith(("LD_", "LANG", "LC_", "PATH"))
    }
    try:
        found = subprocess.run(
            command, capture_output=True, timeout=ALL, check=True, cwd="/", env={**variables, "PYTHONPATH": str(_ROOT)}
        )  # fmt: skip
        told = json.loads(found.stdout)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        return SelfTest(available(), problem=f"its process failed ({type(error).__name__})")
    return SelfTest(Lock(**told["lock"]), tuple(Attempt(**attempt) for attempt in told["attempts"]))


def try_all(*, locked: bool = True) -> SelfTest:
    """Try every action in forks of this very process, which must have one thread."""
    guard = (lambda: lock(BOUNDS)) if locked else (lambda: None)
    held = available() if locked else Lock(False, 0, False)
    return SelfTest(held, tuple(try_one(action, guard) for action in ACTIONS))


def try_one(action: Action, guard: Callable[[], object]) -> Attempt:
    """One action in a child that first does what `guard` does."""
    with _stage() as stage:
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reading)
            _try_and_exit(action, stage, guard, writing)
        os.close(writing)
        with os.fdopen(reading, "rb") as pipe:
            late = not select.select([pipe], [], [], EACH)[0]
            if late:
                os.kill(child, signal.SIGKILL)
            reason = pipe.read().decode()
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    outcome = {0: "allowed", 1: "refused"}.get(status, f"ended with {status}")
    return Attempt(action.name, action.wanted, "took too long" if late else outcome, reason)


def _try_and_exit(action: Action, stage: Stage, guard: Callable[[], object], told: int) -> None:
    """The child's part; it never returns. An action that becomes another program exits with that program's status."""
    status = 2
    try:
        guard()
        action.attempt(stage)
        status = 0
    except (PermissionError, MemoryError) as refusal:
        status = 1
        os.write(told, str(refusal).split(":")[0].encode())
    except OSError as error:
        status = 1 if error.errno in _REFUSALS else 3
        os.write(told, str(error).split(":")[0].encode())
    except Exception as error:
        os.write(told, f"{type(error).__name__}: {error}".encode())
    finally:
        os._exit(status)


#: By which the kernel refuses besides permissions: the memory and the file bound.
_REFUSALS = (12, 27)


@contextlib.contextmanager
def _stage() -> Iterator[Stage]:
    """A folder with a file, a TCP and a unix socket that listen, and a parent whom anybody may trace."""
    with contextlib.suppress(OSError):  # a kernel that does not restrict tracing
        kernel.prctl(_SET_TRACER, _ANYBODY)
    with (
        tempfile.TemporaryDirectory() as folder,
        socket.socket() as tcp,
        socket.socket(socket.AF_UNIX) as unix,
    ):
        (Path(folder) / "here").write_bytes(b"")
        tcp.bind(("127.0.0.1", 0))
        unix.bind(path := str(Path(folder) / "socket"))
        tcp.listen()
        unix.listen()
        yield Stage(Path(folder), tcp.getsockname()[1], path, os.getpid())


def main() -> int:
    """Print the result, for people or as JSON."""
    locked = "--unlocked" not in sys.argv
    if not kernel.here():
        print(self_test().sentence())
        return 1
    started = time.perf_counter()
    found = try_all(locked=locked)
    if "--json" in sys.argv:
        attempts = [vars(attempt) for attempt in found.attempts]
        print(json.dumps({"lock": vars(found.lock), "attempts": attempts}))
        return 0
    print(found.table())
    print(f"{time.perf_counter() - started:.2f} s")
    print(found.sentence())
    return 0 if found.passed else 1


if __name__ == "__main__":
    sys.exit(main())
