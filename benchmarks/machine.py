"""What a number was measured on, and whether the machine was quiet: a figure without these says nothing."""

from __future__ import annotations

import dataclasses
import datetime
import importlib.metadata
import os
import platform
import time
from pathlib import Path
from typing import Any

#: A run that starts with more than this in the run queue is labelled; other work then shares the cores.
QUIET_LOAD = 1.0

_PROC = Path("/proc")


@dataclasses.dataclass(frozen=True)
class Quietness:
    """The one-minute load, and the share of processor time nobody used over a moment of watching."""

    load: float
    idle: float

    @classmethod
    def now(cls, seconds: float = 2.0) -> Quietness:
        """Watch for that long."""
        before = _ticks()
        time.sleep(seconds)
        spent = [after - earlier for earlier, after in zip(before, _ticks(), strict=True)]
        return cls(os.getloadavg()[0], spent[3] / max(sum(spent), 1))

    @property
    def quiet(self) -> bool:
        """Whether a run may begin without a label."""
        return self.load <= QUIET_LOAD

    def __str__(self) -> str:
        return f"load {self.load:.2f}, {self.idle:.0%} idle"


def label(before: Quietness) -> str:
    """What is written over a run that did not have the machine to itself; empty where it had."""
    return (
        ""
        if before.quiet
        else f"machine not quiet: load {before.load:.2f} before the start, so these numbers may be too high"
    )


def facts(*packages: str) -> dict[str, Any]:
    """Cores, processor, memory, system, date and versions."""
    return {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "cores": len(os.sched_getaffinity(0)),
        "processor": _value(_PROC / "cpuinfo", "model name") or platform.processor() or "unknown",
        "memory": f"{int((_value(_PROC / 'meminfo', 'MemTotal') or '0').split()[0]) / 2**20:.1f} GiB",
        "system": f"{platform.system()} {platform.machine()}",
        "threads": os.environ.get("OMP_NUM_THREADS", "not set"),
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in packages}},
    }


def bytes_from_disk(pid: int) -> int | None:
    """What a process and nothing else fetched from the disk so far; ``None`` where the system does not say."""
    value = _value(_PROC / str(pid) / "io", "read_bytes")
    return None if value is None else int(value)


def processor_seconds(pid: int) -> float:
    """What a process used of the processors so far; says more than the clock where others share them."""
    words = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def _ticks() -> list[int]:
    """Processor time since the start of the machine: user, nice, system, idle, waiting, interrupts, stolen."""
    return [int(word) for word in (_PROC / "stat").read_text().splitlines()[0].split()[1:9]]


def _value(path: Path, name: str) -> str | None:
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return None
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), None)


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
