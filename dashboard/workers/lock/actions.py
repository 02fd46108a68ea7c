"""What hostile code would try from inside a worker, each as a harmless attempt that is possible without the lock.

An attempt that returns was possible; one that raises was not. Signals sent are number 0, a file touched is a marker in
the trial's own folder, memory is reserved but never filled, connections go to sockets which the trial opened itself.
"""

from __future__ import annotations

import ctypes
import encodings.idna  # noqa: F401  # what a name of a host is made to bytes with, read before the lock
import mmap
import os
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from dashboard.workers.lock import kernel, seccomp

if os.name == "posix":
    import fcntl
    import resource

GIBIBYTE = 1 << 30


@dataclass(frozen=True)
class Stage:
    """What an attempt acts on: a folder with a file ``here`` in it, listening sockets, the process that tries it."""

    folder: Path
    port: int
    path: str
    parent: int

    @property
    def file(self) -> Path:
        return self.folder / "here"


@dataclass(frozen=True)
class Action:
    """One thing to try; `wanted` marks the one which a worker must be able to do."""

    name: str
    attempt: Callable[[Stage], object]
    wanted: bool = False


def _number(x86: int, arm: int) -> int:
    return (x86, arm)[seccomp.MACHINES[seccomp.machine() or "x86_64"][0]]


def _read(_: Stage) -> None:
    Path("/etc/passwd").read_bytes()


def _list(stage: Stage) -> None:
    os.listdir(stage.folder)


def _write(stage: Stage) -> None:
    (stage.folder / "marker").write_bytes(b"")


def _environment_of_parent(stage: Stage) -> None:
    Path(f"/proc/{stage.parent}/environ").read_bytes()


def _own_environment(_: Stage) -> None:
    Path("/proc/self/environ").read_bytes()


def _tcp(stage: Stage) -> None:
    socket.create_connection(("127.0.0.1", stage.port), timeout=5).close()


def _udp(stage: Stage) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as end:
        end.sendto(b"", ("127.0.0.1", stage.port))


def _unix(stage: Stage) -> None:
    with socket.socket(socket.AF_UNIX) as end:
        end.connect(stage.path)


def _fork(_: Stage) -> None:
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)


def _execute(_: Stage) -> None:
    os.execv("/bin/true", ["true"])  # ends with status 0, as an attempt that succeeds


def _signal(stage: Stage) -> None:
    os.kill(stage.parent, 0)


_SEIZE = 0x4206


def _trace(stage: Stage) -> None:
    kernel.syscall(_number(101, 117), _SEIZE, stage.parent, 0, 0)


def _shared_memory(_: Stage) -> None:
    kept = kernel.syscall(_number(29, 194), 0, mmap.PAGESIZE, 0o600)
    kernel.syscall(_number(31, 195), kept, 0, None)  # removed again


def _allocate(_: Stage) -> None:
    mmap.mmap(-1, 8 * GIBIBYTE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _NO_RESERVE).close()


_NO_RESERVE = 0x4000


def _mode(stage: Stage) -> None:
    stage.file.chmod(0o700)


def _thread(_: Stage) -> None:
    started = threading.Thread(target=int)
    started.start()
    started.join()


def _clone(_: Stage) -> None:
    child = kernel.syscall(_number(56, 220), 17, 0, 0, 0, 0)  # a process that signals its end, as fork makes
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)


def _io_uring(_: Stage) -> None:
    os.close(kernel.syscall(425, 1, ctypes.create_string_buffer(120)))


def _execute_from_memory(_: Stage) -> None:
    made = os.memfd_create("program", 0)
    os.write(made, _PROGRAM)
    arguments = (ctypes.c_char_p * 2)(b"program", None)
    kernel.syscall(_number(322, 281), made, b"", arguments, (ctypes.c_char_p * 1)(None), 0x1000)


#: A program that does nothing, read before the lock.
_PROGRAM = Path("/bin/true").read_bytes() if os.path.exists("/bin/true") else b""


def _reply(_: Stage) -> None:
    made = os.memfd_create("reply", 0)
    os.ftruncate(made, GIBIBYTE)
    os.close(made)


def _ask(stage: Stage) -> None:
    stage.file.stat()


def _remove(stage: Stage) -> None:
    stage.file.unlink()


def _link(stage: Stage) -> None:
    (stage.folder / "link").symlink_to("/")


def _raise_limit(_: Stage) -> None:
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    try:
        resource.setrlimit(resource.RLIMIT_CPU, (hard, hard))
    except ValueError as refused:  # Python's word for EPERM here
        raise PermissionError(str(refused)) from refused


def _limit_parent(stage: Stage) -> None:
    resource.prlimit(stage.parent, resource.RLIMIT_CORE, (0, 0))


def _bind_parent(_: Stage) -> None:
    everywhere = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(everywhere)})
    if os.sched_getaffinity(0) != {min(everywhere)}:
        raise PermissionError("answered, and not done")


def _read_parent(stage: Stage) -> None:
    there = ctypes.create_string_buffer(8)  # at the same address in the process forked from
    pair = (ctypes.c_void_p * 2)(ctypes.addressof(there), 8)
    kernel.syscall(_number(310, 270), stage.parent, pair, 1, pair, 1, 0)


def _signal_by_file(stage: Stage) -> None:
    made = os.memfd_create("owned", 0)
    fcntl.fcntl(made, fcntl.F_SETOWN, stage.parent)
    os.close(made)


def _debuggable(_: Stage) -> None:
    kernel.prctl(kernel.SET_DUMPABLE, 1)


def _load_code(_: Stage) -> None:
    mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_EXEC).close()


def _sockets(_: Stage) -> None:
    left, right = socket.socketpair()
    left.close()
    right.close()


def _priority(stage: Stage) -> None:
    os.setpriority(os.PRIO_PROCESS, stage.parent, os.getpriority(os.PRIO_PROCESS, 0))


ACTIONS = (
    Action("read /etc/passwd", _read),
    Action("list a folder", _list),
    Action("write a file", _write),
    Action("read the parent's environment", _environment_of_parent),
    Action("read its own environment", _own_environment),
    Action("open a TCP connection", _tcp),
    Action("send a UDP packet", _udp),
    Action("connect to a unix socket", _unix),
    Action("fork", _fork),
    Action("run a program", _execute),
    Action("send the parent a signal", _signal),
    Action("trace the parent", _trace),
    Action("make shared memory", _shared_memory),
    Action("allocate 8 GiB", _allocate),
    Action("change a file's mode", _mode),
    Action("start a thread", _thread, wanted=True),
    Action("clone without CLONE_THREAD", _clone),
    Action("set up io_uring", _io_uring),
    Action("run a program from memory", _execute_from_memory),
    Action("make a reply of 1 GiB", _reply),
    Action("ask for a file's size", _ask),
    Action("remove a file", _remove),
    Action("make a link", _link),
    Action("raise its own limit", _raise_limit),
    Action("limit the parent", _limit_parent),
    Action("choose a processor", _bind_parent),
    Action("read the parent's memory", _read_parent),
    Action("have a file signal the parent", _signal_by_file),
    Action("become debuggable again", _debuggable),
    Action("map executable memory", _load_code),
    Action("make sockets", _sockets),
    Action("change the parent's priority", _priority),
)
