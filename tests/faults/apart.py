"""`apart`: a function in a process of its own, with a bound on memory and time, so that a crash is an answer.

A fresh interpreter imports everything once, with one thread, and forks for each call; a fork of the test process itself
would inherit thread pools that hang. Functions travel as names, arguments and results as JSON and raw bytes.
"""

from __future__ import annotations

import atexit
import base64
import functools
import importlib
import json
import os
import resource
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
MEBIBYTE = 1 << 20
WAIT = 10  # seconds of the clock for each second of the processor
WARM = (
    "xgboost", "lightgbm", "catboost", "skops.io", "safetensors.torch", "onnxruntime", "pyarrow.parquet", "PIL.Image",
    "sklearn.ensemble", "sklearn.neighbors", "sklearn.svm", "explainers", "explainers.onnx",
    "explainers.loading.weights", "explainers.loading.skops_files", "explainers.loading.xgboost_files",
    "explainers.loading.lightgbm_text", "explainers.loading.catboost_files", "explainers.loading.onnx_files",
    "explainers.wrapping.scikit_learn", "explainers.wrapping.torch_module",
    "explainers.wrapping.gradient_boosting_libraries",
)  # fmt: skip


@dataclass(frozen=True)
class Outcome:
    """What became of a call: a value, or an error of a class with a message, or the end of the process.

    Attributes:
        value: what the function returned, as JSON gives it back.
        error: the class of what it raised; `expected` where that is one of `explainers.errors`.
        ended: the signal that ended the process, ``"timeout"``, or ``"exit N"``.
        grown: mebibytes by which the process grew at its highest point.
    """

    value: Any = None
    error: str = ""
    expected: bool = False
    message: str = ""
    ended: str = ""
    grown: float = 0.0


def apart(function: Callable[..., Any], *args: Any, seconds: float = 20, megabytes: int = 4096) -> Outcome:
    """Call a module's function with JSON-like arguments or bytes, in so much processor time and further memory at most.

    The clock on the wall only ends what waits for ever: other processes may have the processor.
    """
    name = function.__module__ if function.__module__ != "__main__" else _main_module()
    call = {
        "function": f"{name}:{function.__qualname__}",
        "args": [_packed(arg) for arg in args],
        "seconds": seconds,
        "megabytes": megabytes,
    }
    nursery = _nursery()
    assert nursery.stdin is not None
    assert nursery.stdout is not None
    nursery.stdin.write(json.dumps(call).encode() + b"\n")
    nursery.stdin.flush()
    line = nursery.stdout.readline()
    assert line, f"the process that starts others ended with {nursery.wait()}"
    return Outcome(**json.loads(line))


def _main_module() -> str:
    spec = sys.modules["__main__"].__spec__
    assert spec is not None
    return spec.name


def _packed(arg: Any) -> Any:
    return {"base64": base64.b64encode(arg).decode()} if isinstance(arg, bytes) else arg


def _unpacked(arg: Any) -> Any:
    return base64.b64decode(arg["base64"]) if isinstance(arg, dict) and set(arg) == {"base64"} else arg


@functools.cache
def _nursery() -> subprocess.Popen[bytes]:
    started = subprocess.Popen(
        [sys.executable, "-m", "tests.faults.apart"], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip

    def stop() -> None:
        started.communicate()  # closes its input, at which it ends

    atexit.register(stop)
    return started


def _serve() -> None:
    """Answer calls from standard input until it is closed."""
    answers = os.dup(1)
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 1)  # libraries print to it
    for name in WARM:
        importlib.import_module(name)
    for line in sys.stdin.buffer:
        call = json.loads(line)
        answer = json.dumps(_forked(call)).encode() + b"\n"
        while answer:
            answer = answer[os.write(answers, answer) :]


def _forked(call: dict[str, Any]) -> dict[str, Any]:
    module, _, name = call["function"].partition(":")
    function = getattr(importlib.import_module(module), name)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _answer(function, call, writing)
    os.close(writing)
    told, late = _until_closed(reading, WAIT * call["seconds"])
    if late:
        os.kill(child, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if late:
        return asdict(Outcome(ended="timeout"))
    if code:
        return asdict(Outcome(ended=signal.Signals(-code).name if code < 0 else f"exit {code}"))
    return dict(json.loads(told))


def _until_closed(reading: int, seconds: float) -> tuple[bytes, bool]:
    """What was written, and whether the other side had not finished in time."""
    pieces, stop = [], time.monotonic() + seconds
    with os.fdopen(reading, "rb", buffering=0) as pipe:
        while select.select([pipe], [], [], max(0.0, stop - time.monotonic()))[0]:
            piece = pipe.read(1 << 16)
            if not piece:
                return b"".join(pieces), False
            pieces.append(piece)
    return b"", True


def _answer(function: Callable[..., Any], call: dict[str, Any], writing: int) -> None:
    """Run in the child, which never returns from here."""
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 2)
    before = _status("VmRSS")
    limit = (_status("VmSize") + call["megabytes"]) * MEBIBYTE
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (int(limit), int(limit)))
    most = int(call["seconds"]) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (most, most + 1))
    outcome = _tried(function, [_unpacked(arg) for arg in call["args"]])
    outcome = {**outcome, "grown": max(0.0, _status("VmHWM") - before)}
    with os.fdopen(writing, "wb") as pipe:
        pipe.write(json.dumps(outcome).encode())
    os._exit(0)


def _tried(function: Callable[..., Any], args: list[Any]) -> dict[str, Any]:
    from explainers import ExplainerError

    try:
        return asdict(Outcome(value=function(*args)))
    except Exception as error:
        kind, text = type(error).__name__, str(error)
        return asdict(Outcome(error=kind, expected=isinstance(error, ExplainerError), message=text[:4000]))


def _status(name: str) -> float:
    """A line of the kernel's account of this process, in mebibytes."""
    with open("/proc/self/status") as lines:
        found = next(line for line in lines if line.startswith(f"{name}:"))
    return int(found.split()[1]) / 1024


if __name__ == "__main__":
    _serve()
