"""How worker processes come into being: forked from a warm zygote where that is safe, else started one by one."""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import socket
import subprocess
import sys
import sysconfig
import threading
from functools import cache
from pathlib import Path
from typing import Any, Protocol

from dashboard.workers.lock.strict import strict_command
from dashboard.workers.terms import Terms
from dashboard.workers.zygote import ONE_THREAD, receive_order, send_order


class WorkerDied(Exception):
    """The process ended, or is no longer to be trusted; the text says how, as people would."""


class TooSlow(WorkerDied):
    """It was stopped because it took too long, and would again."""


class Starter(Protocol):
    """Makes worker processes and knows how they ended."""

    terms: Terms

    def start(self) -> None:
        """Begin whatever takes long, without waiting for it."""

    def fork(self) -> tuple[int, socket.socket]:
        """A new worker's number, and this side's end of its socket."""

    def kill(self, pid: int) -> None:
        """End a worker now."""

    def status(self, pid: int) -> int | None:
        """How a worker ended, negative for a signal; ``None`` while it still runs."""


class Zygote:
    """Forks workers from one warm process, which begins with the first order and ends with this process."""

    def __init__(self, terms: Terms) -> None:
        self.terms = terms
        self.threads = 0  # of the zygote, once it is warm: one, or a fork would not be safe
        self._turn = threading.Lock()
        self._control: socket.socket | None = None

    def start(self) -> None:
        """Begin to warm up."""
        with self._turn:
            self._begin()

    def fork(self) -> tuple[int, socket.socket]:
        """A new worker, in some ten milliseconds once the zygote is warm."""
        ours, theirs = socket.socketpair()
        with contextlib.ExitStack() as undo:
            undo.callback(ours.close)
            with theirs:
                reply = self._order({"do": "fork", **self.terms.order()}, theirs)
            undo.pop_all()
        return int(reply["pid"]), ours

    def kill(self, pid: int) -> None:
        """End a worker now; a number that is none of its children is left alone."""
        self._order({"do": "kill", "pid": pid})

    def status(self, pid: int) -> int | None:
        """How a worker ended; waits up to a second for that."""
        status = self._order({"do": "status", "pid": pid, "seconds": 1.0})["status"]
        return None if status is None else int(status)

    def _order(self, order: dict[str, Any], end: socket.socket | None = None) -> Any:
        with self._turn:
            control = self._begin()
            try:
                if not self.threads:
                    self.threads = int((receive_order(control)[0] or {"threads": 0})["threads"])
                send_order(control, order, [end.fileno()] if end is not None else [])
                reply, _ = receive_order(control)
            except OSError:
                reply = None
            if reply is None:
                control.close()
                self._control, self.threads = None, 0  # the next order begins another
                raise WorkerDied("The process that starts workers ended")
            return reply

    def _begin(self) -> socket.socket:
        if self._control is None:
            ours, theirs = socket.socketpair()
            command = [
                sys.executable,
                "-P",
                "-m",
                "dashboard.workers.zygote",
                str(theirs.fileno()),
                json.dumps(self.terms.formats),
            ]
            if self.terms.profile == "strict":
                command = strict_command(command) or command
            with theirs:
                process = _start(command, theirs.fileno(), one_thread=True, threads=self.terms.threads)
            atexit.register(_end, ours, process)
            self._control = ours
        return self._control


class Alone:
    """Starts each worker afresh, in some seconds: for systems where a warm process cannot be forked safely."""

    def __init__(self, terms: Terms) -> None:
        self.terms = terms
        self._processes: dict[int, subprocess.Popen[bytes]] = {}

    def start(self) -> None:
        """Nothing can be prepared."""

    def fork(self) -> tuple[int, socket.socket]:
        """A new worker."""
        ours, theirs = socket.socketpair()
        command = [sys.executable, "-P", "-m", "dashboard.workers.alone", json.dumps(self.terms.order())]
        with theirs:
            if sys.platform == "win32":
                process = subprocess.Popen([*command, "-"], stdin=subprocess.PIPE)
                assert process.stdin is not None
                process.stdin.write(theirs.share(process.pid))
                process.stdin.close()
            else:
                number = theirs.fileno()
                process = _start(
                    [*command, str(number)], number, one_thread=False, threads=self.terms.threads
                )
        atexit.register(_end, ours, process)
        self._processes[process.pid] = process
        return process.pid, ours

    def kill(self, pid: int) -> None:
        """End a worker now."""
        process = self._processes.pop(pid, None)
        if process is not None:
            process.kill()
            process.wait()

    def status(self, pid: int) -> int | None:
        """How a worker ended; waits up to a second for that."""
        process = self._processes.get(pid)
        with contextlib.suppress(subprocess.TimeoutExpired):
            return None if process is None else process.wait(1.0)
        return None


#: Arrow's allocator starts a thread of its own at import; numba's OpenMP layer is not safe to fork, its own is.
_WITHOUT_THREADS = {
    "ARROW_DEFAULT_MEMORY_POOL": "system",
    "JE_ARROW_MALLOC_CONF": "background_thread:false",
    "NUMBA_THREADING_LAYER": "workqueue",
    "JOBLIB_MULTIPROCESSING": "0",  # its pools want files
}


#: How the names of variables begin that a worker may know: where programs are, in which language, with how many threads.
_KNOWN = (
    "PATH", "LD_", "DYLD_", "LANG", "LC_", "TZ", "HOME", "TMPDIR", "TEMP", "TMP", "SYSTEMROOT", "WINDIR", "VIRTUAL_ENV",
    "CONDA_PREFIX", "PYTHON", "OMP_", "KMP_", "MKL_", "OPENBLAS_", "NUMBA_", "COVERAGE_",
)  # fmt: skip


def _start(command: list[str], keep: int, *, one_thread: bool, threads: int) -> subprocess.Popen[bytes]:
    variables = variables_of_workers(one_thread=one_thread, threads=threads)
    return subprocess.Popen(command, pass_fds=[keep], env=variables, stdin=subprocess.DEVNULL)


def variables_of_workers(*, one_thread: bool, threads: int) -> dict[str, str]:
    """The environment of a process that workers are forked from, or of a worker."""
    variables = {
        **environment(),
        "OMP_WAIT_POLICY": "PASSIVE",
        "KERAS_BACKEND": "torch",
        "MALLOC_ARENA_MAX": "2",  # each thread's own would reserve 64 MiB and more of a worker's bounded addresses
    }
    # torch makes its compiler's folder at import; a locked process cannot, but accepts one that is there. None compiles.
    variables |= {"TORCHINDUCTOR_CACHE_DIR": sysconfig.get_path("purelib")}
    variables |= dict.fromkeys(ONE_THREAD, "1") if one_thread else {}
    return variables | {"NUMBA_NUM_THREADS": str(threads), **_WITHOUT_THREADS}


def environment() -> dict[str, str]:
    """What of this process's environment another one may know, in which it finds the same packages wherever it is started.

    An operator's passwords and keys often stand in the environment; a worker runs strangers' code and answers strangers.
    """
    root = str(Path(__file__).resolve().parents[2])
    others = [part for part in os.environ.get("PYTHONPATH", "").split(os.pathsep) if part]
    known = {name: value for name, value in os.environ.items() if name.upper().startswith(_KNOWN)}
    return {**known, "PYTHONPATH": os.pathsep.join([root, *others])}


def _end(end: socket.socket, process: subprocess.Popen[bytes]) -> None:
    """Closing the socket ends it, and a zygote's workers with it."""
    end.close()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(2.0)
    process.kill()


@cache
def starter(terms: Terms) -> Starter:
    """The one starter of this process for these terms."""
    return Zygote(terms) if sys.platform == "linux" else Alone(terms)
