"""The process that workers are forked from: everything imported and warmed with one thread, nothing of any user in it.

A fork takes milliseconds where a fresh start takes seconds. No thread pool is ever started here: its threads would be
missing in the child, which would wait for them for ever. It takes orders only from the web process, on one socket, and
ends when that closes; its workers end with it. The first order is taken as soon as a locked child can do whatever may
be asked of it; what only makes it quicker is done step by step while there is no order.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import select
import signal
import socket
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

#: Libraries start as many threads as they find processors, at import; one is what a process that forks may have.
ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")  # fmt: skip

#: Seconds without an order until the rest of the warm-up begins: the first page has the processor to itself.
QUIET = 5.5


def main() -> None:
    """Warm up, then fork at command; ``argv[1]`` is the control socket's descriptor, ``argv[2]`` the formats enabled."""
    control = socket.socket(fileno=int(sys.argv[1]))
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # Ctrl+C goes to the web process, which closes the socket
    from dashboard.workers.lock import available
    from dashboard.workers.warming import later, warm

    available()  # the filter is made once, for all children
    warm(json.loads(sys.argv[2]))
    gc.freeze()  # what is shared with the children is not written to by their collector
    try:
        send_order(control, {"ready": True, "threads": _threads()})
    except OSError:  # the web process ended meanwhile
        return
    _rule(control, later())


def _threads() -> int:
    return len(os.listdir("/proc/self/task")) if os.path.isdir("/proc/self/task") else 1


def _rule(control: socket.socket, steps: Iterator[Callable[[], None]]) -> None:
    """Orders until the web process is gone; while there is none, steps of work."""
    ended: dict[int, int] = {}
    children: set[int] = set()
    while True:
        _use_idle_time(control, steps)
        order, descriptors = receive_order(control)
        if order is None:
            break
        _reap(children, ended)
        if order["do"] == "fork":
            children.add(pid := _fork(order, descriptors[0], control))
            os.close(descriptors[0])
            send_order(control, {"pid": pid})
        elif order["do"] == "kill":
            if order["pid"] in children:
                os.kill(order["pid"], signal.SIGKILL)
            send_order(control, {"status": _await(order["pid"], children, ended, 2.0)})
        else:
            send_order(control, {"status": _await(order["pid"], children, ended, order["seconds"])})
    for pid in children:
        os.kill(pid, signal.SIGKILL)


def _use_idle_time(control: socket.socket, steps: Iterator[Callable[[], None]]) -> None:
    """Take steps, one after the other, from a while after the last order until the next; none where all are taken."""
    quiet, taken = QUIET, False
    while not select.select([control], [], [], quiet)[0]:
        step = next(steps, None)
        if step is None:
            break
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            step()
        quiet, taken = 0.0, True
    if taken:
        gc.freeze()


def _reap(children: set[int], ended: dict[int, int]) -> None:
    """Note how children ended; until then their numbers are not given to anybody else."""
    for pid in list(children):
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            children.discard(pid)
            ended[pid] = os.waitstatus_to_exitcode(status)


def _await(pid: int, children: set[int], ended: dict[int, int], seconds: float) -> int | None:
    deadline = time.monotonic() + seconds
    while pid in children:
        _reap(children, ended)
        if time.monotonic() > deadline:
            return None
        time.sleep(0.005)
    return ended.pop(pid, None)


def send_order(control: socket.socket, order: dict[str, Any], descriptors: Sequence[int] = ()) -> None:
    """One line of JSON, and the descriptors that go with it."""
    socket.send_fds(control, [json.dumps(order).encode() + b"\n"], list(descriptors))


def receive_order(control: socket.socket) -> tuple[Any, list[int]]:
    """One line and its descriptors; ``None`` when the other side is gone. Orders and replies take turns."""
    text, descriptors = b"", []
    while not text.endswith(b"\n"):
        data, found, _, _ = socket.recv_fds(control, 65_536, 1)
        descriptors += found
        if not data:
            return None, descriptors
        text += data
    return json.loads(text), descriptors


def _fork(order: dict[str, Any], descriptor: int, control: socket.socket) -> int:
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        control.close()
        _become_worker(order, descriptor)
        status = 0
    finally:
        os._exit(status)  # none of the parent's clean-up belongs to a child


def _become_worker(order: dict[str, Any], descriptor: int) -> None:
    """Quiet, with its own threads, locked; then serve. The socket is all that it holds."""
    _end_with_parent()
    nothing = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nothing, standard)
    os.dup2(descriptor, 3)
    os.closerange(4, 4096)
    from dashboard.workers import worker
    from dashboard.workers.lock import Bounds, lock
    from dashboard.workers.protocol import Channel
    from dashboard.workers.warming import readable, use_threads

    if order["lock"]:
        lock(Bounds(**order["bounds"]), readable=readable())
    use_threads(order["threads"])
    worker.serve(Channel(socket.socket(fileno=3)), order["bounds"]["reply_bytes"])


def _end_with_parent() -> None:
    """A worker that computes when the zygote dies is killed by the kernel, where the kernel can."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)


if __name__ == "__main__":
    main()
