"""The zygote's warm-up in two parts: what a locked worker could not do itself, and what only saves it time."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dashboard.workers import zygote
from dashboard.workers.starting import variables_of_workers

ROOT = Path(__file__).parents[2]


def steps(
    taken: list[int], orders: socket.socket | None = None, at: int = -1
) -> Iterator[Callable[[], None]]:
    """Three steps that note themselves; during one of them an order comes."""

    def step(number: int) -> Callable[[], None]:
        def work() -> None:
            taken.append(number)
            if number == at and orders is not None:
                orders.send(b"{}\n")

        return work

    yield from (step(number) for number in range(3))


def test_idle_time_is_for_what_is_left_and_an_order_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zygote, "QUIET", 0.0)
    monkeypatch.setattr("gc.freeze", lambda: None)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        taken: list[int] = []
        left = steps(taken, ours, at=1)
        zygote._use_idle_time(theirs, left)
        assert taken == [0, 1]
        zygote._use_idle_time(theirs, left)  # the order still waits
        assert taken == [0, 1]
        theirs.recv(16)
        zygote._use_idle_time(theirs, left)
        assert taken == [0, 1, 2]
        zygote._use_idle_time(theirs, left)  # nothing is left, and it returns
        assert taken == [0, 1, 2]


EARLY = """
import json, os, sys, traceback
from dashboard.workers.lock import Bounds, available, lock
from dashboard.workers.warming import later, readable, warm

def threads():
    return len(os.listdir("/proc/self/task"))

def compiled():
    files = {name: getattr(module, "__file__", None) or "" for name, module in list(sys.modules.items())}
    return {name for name, file in files.items() if file.endswith(".so")}

available()
warm()
first, before = threads(), compiled()
child = os.fork()
if child == 0:
    status = 1
    try:
        lock(Bounds(memory_bytes=4 << 30, cpu_seconds=120, reply_bytes=64 << 20), readable=readable())
        for step in later():
            step()
        status = 0 if "torch._dynamo" in sys.modules else 2
    except Exception:
        traceback.print_exc()
    finally:
        os._exit(status)
ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
dynamo_before = "torch._dynamo" in sys.modules
for step in later():
    step()
print(json.dumps({
    "ended": ended, "dynamo_before": dynamo_before, "threads": [first, threads()], "late": sorted(compiled() - before),
    "done": "torch._dynamo" in sys.modules,
}))
"""


@pytest.mark.slow
def test_a_worker_forked_early_can_do_the_rest_itself_behind_the_lock() -> None:
    """The second part needs no compiled module and starts no thread, so that it does not matter when a worker is forked."""
    alone = variables_of_workers(one_thread=True, threads=2)
    found = subprocess.run([sys.executable, "-P", "-c", EARLY], cwd=ROOT, env=alone, capture_output=True, text=True, timeout=240)  # fmt: skip
    assert found.returncode == 0, found.stderr[-2000:]
    said = json.loads(found.stdout.strip().splitlines()[-1])
    assert said["ended"] == 0, found.stderr[-2000:]
    assert not said["dynamo_before"]
    assert said["done"]
    assert said["late"] == []
    assert max(said["threads"]) <= 2  # onnxruntime keeps one that nobody waits for
