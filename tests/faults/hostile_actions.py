"""What is tried from inside a worker, what must become of it, and which layer still refuses it when another is missing.

The attempts themselves are those of the self-test. ``python -m tests.faults.hostile_actions NAME`` tries the lock of a
system that lacks what `MISSING` says under that name.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from typing import Any
from unittest import mock

from dashboard.workers import lock
from dashboard.workers.lock.actions import ACTIONS
from dashboard.workers.lock.self_test import BOUNDS, try_one

PERMISSION, MEMORY, SIZE = "Operation not permitted", "Cannot allocate memory", "File too large"

#: Name, what must happen in a locked process, and the kernel's reason.
HOSTILE: tuple[tuple[str, str, str], ...] = (
    ("read /etc/passwd", "refused", PERMISSION),
    ("list a folder", "refused", PERMISSION),
    ("write a file", "refused", PERMISSION),
    ("read the parent's environment", "refused", PERMISSION),
    ("read its own environment", "refused", PERMISSION),
    ("open a TCP connection", "refused", PERMISSION),
    ("send a UDP packet", "refused", PERMISSION),
    ("connect to a unix socket", "refused", PERMISSION),
    ("fork", "refused", PERMISSION),
    ("run a program", "refused", PERMISSION),
    ("send the parent a signal", "refused", PERMISSION),
    ("trace the parent", "refused", PERMISSION),
    ("make shared memory", "refused", PERMISSION),
    ("allocate 8 GiB", "refused", MEMORY),
    ("change a file's mode", "refused", PERMISSION),
    ("start a thread", "allowed", ""),
    ("clone without CLONE_THREAD", "refused", PERMISSION),
    ("set up io_uring", "refused", PERMISSION),
    ("run a program from memory", "refused", PERMISSION),
    ("make a reply of 1 GiB", "refused", SIZE),
    # beyond the twenty
    ("ask for a file's size", "refused", PERMISSION),
    ("remove a file", "refused", PERMISSION),
    ("make a link", "refused", PERMISSION),
    ("raise its own limit", "refused", "not allowed to raise maximum limit"),
    ("limit the parent", "refused", PERMISSION),
    ("choose a processor", "refused", "answered, and not done"),
    ("read the parent's memory", "refused", PERMISSION),
    ("have a file signal the parent", "refused", PERMISSION),
    ("become debuggable again", "refused", PERMISSION),
    ("map executable memory", "refused", PERMISSION),
    ("make sockets", "refused", PERMISSION),
    ("change the parent's priority", "refused", PERMISSION),
)


@dataclass(frozen=True)
class Missing:
    """A system that lacks something: what is replaced, what the sentence must say, what is refused all the same, what is not."""

    replaced: dict[str, Any]
    said: str
    refused: tuple[str, ...]
    allowed: tuple[str, ...]
    complete: bool = False


NO_LANDLOCK = {"dashboard.workers.lock.landlock.version": lambda: 0}
NO_SECCOMP = {"dashboard.workers.lock.seccomp.supported": lambda: False}
NO_LIMITS = {"dashboard.workers.lock._limits": lambda: False}
FILES = ("read /etc/passwd", "list a folder", "write a file", "run a program")
CALLS = ("open a TCP connection", "send a UDP packet", "fork", "change a file's mode", "set up io_uring")
SIZES = ("allocate 8 GiB", "make a reply of 1 GiB")

MISSING: dict[str, Missing] = {
    "Landlock": Missing(NO_LANDLOCK, "no Landlock", (*FILES, *CALLS, *SIZES), ()),
    "seccomp": Missing(NO_SECCOMP, "no seccomp", (*FILES, *SIZES), ("send a UDP packet", "fork")),
    "limits": Missing(NO_LIMITS, "no resource limits", (*FILES, *CALLS), SIZES),
    "Landlock and seccomp": Missing({**NO_LANDLOCK, **NO_SECCOMP}, "files can be read", SIZES, (*FILES, *CALLS)),
    "everything": Missing({**NO_LANDLOCK, **NO_SECCOMP, **NO_LIMITS}, "not locked:", (), (*FILES, *CALLS, *SIZES)),
    "a known machine": Missing(
        {"dashboard.workers.lock.seccomp.machine": lambda: None}, "x86_64 or aarch64", (*FILES, *SIZES), ("fork",)
    ),
    "a recent Landlock": Missing(
        {"dashboard.workers.lock.landlock.version": lambda: 1}, "Landlock 1,", (*FILES, *CALLS, *SIZES), (), complete=True
    ),
}  # fmt: skip


def tried(name: str) -> dict[str, Any]:
    """The lock of that system, its sentence, and what became of each action that it is judged by."""
    missing = MISSING[name]
    attempts = [action for action in ACTIONS if action.name in (*missing.refused, *missing.allowed)]
    guard: Callable[[], object] = lambda: lock.lock(BOUNDS)  # noqa: E731
    with _without(missing):
        held = lock.available()
        return {
            "lock": asdict(held),
            "complete": held.complete,
            "sentence": held.sentence(),
            "outcomes": {action.name: try_one(action, guard).outcome for action in attempts},
        }


def _without(missing: Missing) -> ExitStack:
    stack = ExitStack()
    for name, replacement in missing.replaced.items():
        stack.enter_context(mock.patch(name, replacement))
    return stack


if __name__ == "__main__":
    print(json.dumps(tried(sys.argv[1])))
