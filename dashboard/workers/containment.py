"""Whether the lock holds here, tried out once: formats that can run code are opened only if it does."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable
from functools import cache

from dashboard.configuration import settings
from dashboard.workers.lock import available
from dashboard.workers.starting import environment


@cache
def tested() -> tuple[bool, str]:
    """Whether every hostile action was refused in a locked process, and the sentence that says so.

    The trial runs in a process of its own, once: a server that has threads does not fork.
    """
    command = [sys.executable, "-P", "-m", "dashboard.workers.lock.self_test"]
    try:
        found = subprocess.run(
            command, capture_output=True, text=True, timeout=60, check=False, env=environment()
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return False, f"the self-test of the lock could not run ({type(error).__name__})"
    lines = found.stdout.strip().splitlines()
    said = lines[-1] if lines else "the self-test of the lock said nothing"
    return found.returncode == 0 and said.startswith("self-test passed"), said


def allowed(formats: Iterable[str]) -> tuple[str, ...]:
    """Of the formats that the operator enabled those that are opened: all, or none where workers are not locked or the self-test failed."""
    wanted = tuple(formats)
    return wanted if wanted and settings().workers.profile != "plain" and tested()[0] else ()


def note() -> str:
    """What a page says where uploads are opened; empty where their process is fully locked."""
    if settings().workers.profile == "plain":
        reason = "the operator has turned the lock off (setting workers.profile)"
    elif not (held := available()).complete:
        reason = held.sentence()
    else:
        return ""
    return f"Reduced isolation: files are opened in a process of their own, but {reason}. Formats that run code are refused."
