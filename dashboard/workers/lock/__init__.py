"""The lock of a worker process: what it may use is bounded, and files, network and other processes are out of its reach.

Three layers, none of which needs root or a container: resource limits; Landlock, which forbids every file, TCP port and
signal; and a filter of system calls (`seccomp`) that lets through what computing needs and refuses the rest. A lock holds
until the process ends. Lock right after the fork, before any thread starts; whatever needs a file (imports, a look at
which libraries are loaded) must be done by then. Call `available` before the fork: it builds what children share.

Code can be compiled (torch writes its convolutions as machine code), but no library can be loaded from a file or from memory.

A locked process has no CUDA: a GPU is reached through device files and their ioctl calls, which are refused.
"""

from __future__ import annotations

import contextlib
import math
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

from dashboard.workers.lock import kernel, landlock, seccomp

if sys.platform != "win32":
    import resource

#: Processes and threads of the same user above which a locked process cannot start another thread.
MOST_THREADS = 4096


@dataclass(frozen=True)
class Bounds:
    """What a locked process may use.

    Attributes:
        memory_bytes: address space that it may add to what is mapped at the moment of the lock.
        cpu_seconds: processor time from that moment after which it is ended by ``SIGXCPU``; 0 for no such end.
            Hostile code can put that signal off; the supervisor's clock is the bound that cannot be avoided.
        reply_bytes: how large a memory file (`memfd_create`) may grow; it holds at most `open_files` of them.
        open_files: descriptors that it may have open.
    """

    memory_bytes: int
    cpu_seconds: int
    reply_bytes: int
    open_files: int = 256


@dataclass(frozen=True)
class Lock:
    """Which layers hold, or could hold here; `landlock` is its version, 0 for none."""

    rlimits: bool
    landlock: int
    seccomp: bool

    @property
    def complete(self) -> bool:
        """Whether every layer is there: only then may formats be opened that can run code."""
        return self.rlimits and self.landlock >= 1 and self.seccomp

    def sentence(self) -> str:
        """For the page and the log: locked, or what is missing and what that means."""
        if self.complete:
            return f"locked: no files, no network, no other processes (Landlock {self.landlock}, seccomp)"
        if not (self.rlimits or self.landlock or self.seccomp):
            return (
                "not locked: this system has no resource limits, no Landlock and no seccomp (all need Linux)"
            )
        return f"not fully locked: {'; '.join(self._missing())}"

    def _missing(self) -> list[str]:
        lacks = {
            "no resource limits, so memory and time are not bounded": self.rlimits,
            "no Landlock (Linux 5.13 or newer), so files are guarded once, not twice"
            if self.seccomp
            else "no Landlock (Linux 5.13 or newer), so files can be read": self.landlock >= 1,
            "no seccomp filter (Linux on x86_64 or aarch64), so sockets can be opened and processes started": self.seccomp,
        }
        return [text for text, there in lacks.items() if not there]


def available() -> Lock:
    """What this kernel offers. Nothing is locked."""
    return Lock(_limits(), landlock.version(), seccomp.supported())


def lock(bounds: Bounds, readable: Sequence[str] = ()) -> Lock:
    """Lock the calling process and all its future threads for ever; what holds from now on.

    Layers which the system lacks are left out, and the answer says so. Killed when the process that started it ends.

    Args:
        bounds: what it may use.
        readable: files and folders that may still be read, for imports of Python files after the lock; compiled modules
            cannot be loaded. With any of them it can also ask whether any file exists, and its size.

    Raises:
        RuntimeError: it runs several threads already, which Landlock would not reach.
        OSError: a layer which the kernel has cannot be applied.
    """
    offered = available()
    if offered.landlock and (threads := len(os.listdir("/proc/self/task"))) > 1:
        raise RuntimeError(f"a process is locked before it starts threads; this one runs {threads}")
    if offered.rlimits:
        _limit(bounds)
    if kernel.here():
        _give_up()
    if offered.landlock:
        landlock.restrict(offered.landlock, readable)
    if offered.seccomp:
        seccomp.apply(reading=bool(readable))
    return offered


def extend_cpu(pid: int, seconds: int) -> None:
    """Let a locked process of the same user use so many more seconds of processor time from now on; 0 lifts the bound.

    For its parent or supervisor: a locked process cannot change its own limits. Raises `OSError` if it is gone.
    """
    used = time.clock_gettime(~pid << 3 | 2)  # the clock of another process's processor time
    hard = resource.prlimit(pid, resource.RLIMIT_CPU)[1]
    resource.prlimit(pid, resource.RLIMIT_CPU, (_soft(used, seconds), hard))


def _limits() -> bool:
    return sys.platform != "win32"


def _limit(bounds: Bounds) -> None:
    mapped = _mapped_bytes()
    _set(resource.RLIMIT_AS, mapped + bounds.memory_bytes)
    _set(resource.RLIMIT_FSIZE, bounds.reply_bytes)
    _set(resource.RLIMIT_NOFILE, bounds.open_files)
    _set(resource.RLIMIT_CORE, 0)
    _set(resource.RLIMIT_NPROC, MOST_THREADS)
    hard = resource.getrlimit(resource.RLIMIT_CPU)[
        1
    ]  # as it was, so that the supervisor may raise the soft one
    resource.setrlimit(resource.RLIMIT_CPU, (_soft(time.process_time(), bounds.cpu_seconds), hard))


def _set(which: int, value: int) -> None:
    """Soft and hard, never above what held before."""
    hard = resource.getrlimit(which)[1]
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(which, (value, value))


def _soft(used: float, seconds: int) -> int:
    return math.ceil(used) + seconds if seconds else resource.RLIM_INFINITY


def _mapped_bytes() -> int:
    """Address space in use; 0 where the system does not tell, which makes the bound stricter."""
    with contextlib.suppress(FileNotFoundError), open("/proc/self/statm", "rb") as account:
        return int(account.read().split()[0]) * resource.getpagesize()
    return 0


def _give_up() -> None:
    """Powers, traces and memory images: nothing is gained by an exec, no debugger attaches, no core is written."""
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "wb") as score:
        score.write(
            b"1000"
        )  # when memory runs out this process goes first, and with it the memory files it holds
    name = seccomp.machine()
    if name is not None:
        kernel.drop_capabilities(seccomp.MACHINES[name][3])
    kernel.prctl(kernel.SET_NO_NEW_PRIVILEGES, 1)
    kernel.prctl(kernel.SET_DUMPABLE, 0)
    kernel.prctl(kernel.SET_PARENT_DEATH_SIGNAL, 9)
