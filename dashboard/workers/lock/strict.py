"""The strict profile: the same program inside bubblewrap, before it locks itself. Optional, where ``bwrap`` works.

What it starts in has no files but the interpreter's, read-only, no network, and its own process numbers: a hole in the
lock would open on an empty room. Descriptors and variables are passed on. Numbers of processes inside are not those
outside; a pidfd sent over a socket, or the credentials the kernel adds to a message, name one on both sides.
"""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from functools import cache
from pathlib import Path

#: Where the system keeps the shared libraries that an interpreter needs.
LIBRARIES = (
    "/lib",
    "/lib32",
    "/lib64",
    "/usr/lib",
    "/usr/lib32",
    "/usr/lib64",
    "/usr/local/lib",
    "/etc/ld.so.cache",
)

_ROOT = Path(__file__).resolve().parents[3]


def strict_command(argv: Sequence[str]) -> list[str] | None:
    """The command that runs `argv` in an empty root without a network; ``None`` where bubblewrap is missing or refused."""
    return [*_room(), *argv] if _works() else None


@cache
def _works() -> bool:
    """Tried once: containers and some distributions forbid what bubblewrap needs."""
    if shutil.which("bwrap") is None:
        return False
    trial = [*_room(), sys.executable, "-c", "import ctypes, dashboard.workers.lock"]
    try:
        return subprocess.run(trial, capture_output=True, timeout=20, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def _room() -> list[str]:
    bound = [word for path in _needed() for word in ("--ro-bind-try", path, path)]
    return ["bwrap", "--unshare-all", "--new-session", "--cap-drop", "ALL", "--tmpfs", "/", *bound,
            "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", "--chdir", str(_ROOT), "--"]  # fmt: skip


def _needed() -> list[str]:
    """The interpreter, its libraries and these packages; never a folder that holds data."""
    paths = [*LIBRARIES, sys.executable, str(Path(sys.executable).resolve())]
    paths += [prefix for prefix in (sys.prefix, sys.base_prefix) if prefix not in ("/", "/usr")]
    paths += [sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    paths += [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))]
    for package in ("explainers", "dashboard"):
        spec = importlib.util.find_spec(package)
        paths += (spec.submodule_search_locations or []) if spec else []
    return list(dict.fromkeys(paths))
