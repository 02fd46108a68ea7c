"""Worker processes themselves: how long the warm-up takes, a fresh worker's first prediction, and idle workers' memory."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

import explainers as ex
from benchmarks.report import spread
from benchmarks.serving import ROOT
from benchmarks.workers import calls, models
from dashboard.workers.pool import Pool
from dashboard.workers.remote import Remote
from dashboard.workers.starting import Zygote
from dashboard.workers.terms import Terms

IDLE = 10
MEBIBYTE = 2**20
STEPS = (
    "fork, lock, threads, first answer", "open the model", "take the data, predict one row", "predict all rows", "once more",
)  # fmt: skip
STEP_HEADS = ("step", "median", "p90", "least", "n", "target")
STEPS_NOTE = (
    "First answer: that an empty file is none. A small network as ONNX, checked, evaluated in torch and compared with "
    f"onnxruntime; data of {calls.ROWS:,} × {calls.COLUMNS}. The lock is that of a new process, which builds the filter too."
)
MEMORY_HEADS = ("what", "value", "target")
MEMORY_NOTE = (
    f"{IDLE} idle workers, forked and locked, with nothing opened: private is memory that a worker shares with nobody "
    "(`smaps_rollup`), PSS counts shared pages by their share."
)


def warmed(threads: int) -> tuple[Zygote, dict[str, float]]:
    """A zygote, from its start to its first worker; its number is that worker's parent's."""
    parent, began = Zygote(Terms(threads=threads)), time.perf_counter()
    pid, end = parent.fork()
    seconds = time.perf_counter() - began
    status = Path(f"/proc/{pid}/status").read_text().splitlines()
    number = next(line.split()[1] for line in status if line.startswith("PPid"))
    end.close()
    parent.kill(pid)
    return parent, {"seconds": seconds, "threads": parent.threads, "zygote": int(number)}


def starts(parent: Zygote, repeats: int) -> dict[str, dict[str, float]]:
    """Each step of a fresh worker, again and again."""
    content, data = models.as_onnx(models.network(calls.COLUMNS)), models.data(calls.ROWS, calls.COLUMNS)
    data.digest  # noqa: B018 - made when data are opened
    times: dict[str, list[float]] = {step: [] for step in (*STEPS, "whole")}
    used: list[float] = []
    for _ in range(repeats):
        remote, marks = Remote(Pool(parent, 1)), [time.perf_counter()]
        _first_answer(remote)
        marks.append(time.perf_counter())
        model = remote.load_model(lambda: content)
        marks.append(time.perf_counter())
        for cases in (data.take(np.arange(1)), None, None):
            remote.predict(model, data, cases)
            marks.append(time.perf_counter())
        used.append(sum(time.clock_gettime(~pid << 3 | 2) for pid in remote.pool.pids))
        remote.pool.close()
        for step, began, ended in zip(STEPS, marks, marks[1:], strict=False):
            times[step].append(ended - began)
        times["whole"].append(marks[4] - marks[0])
    times["worker"] = used
    times["lock"] = [_lock_seconds() for _ in range(repeats)]
    return {step: spread(taken) for step, taken in times.items()}


def _first_answer(remote: Remote) -> None:
    """The least that a worker can be asked: to open nothing."""
    with contextlib.suppress(ex.UnreadableFile):
        remote.pool.ask("load_model", {"content": b""}, remote.pool.parent.terms.open_seconds)


LOCKING = """
import time
from dashboard.workers.lock import Bounds, lock
from dashboard.workers.warming import readable
bounds, folders = Bounds(2**32, 0, 2**28, 32), readable()
began = time.perf_counter()
lock(bounds, folders)
print(time.perf_counter() - began)
"""


def _lock_seconds() -> float:
    run = subprocess.run(
        [sys.executable, "-c", LOCKING], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return float(run.stdout)


def memory(parent: Zygote, zygote: int) -> dict[str, Any]:
    """Of ten idle workers, and of the same after a prediction each; ``None`` where the system does not show it."""
    alone, remotes = rollup(zygote), [Remote(Pool(parent, 1)) for _ in range(IDLE)]
    for remote in remotes:
        _first_answer(remote)
    found = {"zygote": alone, "idle": _beyond(zygote, alone, remotes)}
    content, data = models.as_onnx(models.network(calls.COLUMNS)), models.data(calls.ROWS, calls.COLUMNS)
    for remote in remotes:
        remote.predict(remote.load_model(lambda: content), data)
    found["used"] = _beyond(zygote, alone, remotes)
    for remote in remotes:
        remote.pool.close()
    return found


def _beyond(zygote: int, alone: dict[str, int] | None, remotes: list[Remote]) -> dict[str, Any] | None:
    """What the workers hold for themselves, and what the zygote and they take more than it took alone."""
    each = [rollup(pid) for remote in remotes for pid in remote.pool.pids]
    held, after = [one for one in each if one is not None], rollup(zygote)
    if alone is None or after is None or len(held) < IDLE:
        return None
    more = after["pss"] + sum(one["pss"] for one in held) - alone["pss"]
    return {"private": [one["private"] for one in held], "pss": [one["pss"] for one in held], "more": more}


def rollup(pid: int) -> dict[str, int] | None:
    """Private and proportional bytes of a process; a locked one shows them to the superuser only."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    except OSError:
        return None
    sizes = {name: 1024 * int(value.split()[0]) for name, _, value in (line.partition(":") for line in lines)}
    return {"private": sizes["Private_Clean"] + sizes["Private_Dirty"], "pss": sizes["Pss"]}


def step_rows(found: dict[str, dict[str, float]]) -> list[list[str]]:
    """Lines under `STEP_HEADS`."""
    named = {
        "whole": "from the upload's bytes to the first prediction of all rows",
        "worker": "processor time of the worker in all",
        "lock": "of which the lock",
    }
    targets = {"whole": "< 300 ms"}
    order = (STEPS[0], "lock", *STEPS[1:4], "whole", STEPS[4], "worker")
    return [
        [named.get(step, step), *(calls.ms(found[step][part]) for part in ("median", "p90", "min")),
         str(found[step]["count"]), targets.get(step, "")]
        for step in order
    ]  # fmt: skip


def memory_rows(found: dict[str, Any], warming: dict[str, float]) -> list[list[str]]:
    """Lines under `MEMORY_HEADS`."""
    rows = [["from the start of the zygote to its first worker", f"{warming['seconds']:.1f} s", ""]]
    rows += [["threads of the zygote when it forks", f"{warming['threads']:.0f}", "1"]]
    if found["zygote"] is not None:
        rows += [["the zygote alone, PSS", _mib(found["zygote"]["pss"]), ""]]
    for key, words, target in (("idle", "idle", "< 100 MiB"), ("used", "after a prediction each", "")):
        one = found[key]
        if one is None:
            rows += [[f"{IDLE} workers {words}", "only the superuser is shown it", target]]
            continue
        rows += [[f"{IDLE} workers {words}, private, in all", _mib(sum(one["private"])), target]]
        rows += [[f"{IDLE} workers {words}, what the zygote and they take more", _mib(one["more"]), target]]
        rows += [[f"one worker {words}, private, largest", _mib(max(one["private"])), ""]]
    return rows


def _mib(size: float) -> str:
    return f"{size / MEBIBYTE:,.1f} MiB"
