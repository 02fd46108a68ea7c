"""Landlock: the process and those it starts lose every file, every TCP port and every signal to others, for ever.

No rule is added but reading beneath folders that the caller names: all that the kernel can forbid is forbidden, all else
that touches files (asking for their size, changing modes) is left to `seccomp`. Numbers from ``linux/landlock.h``.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Sequence
from functools import cache

from dashboard.workers.lock import kernel

_CREATE, _ADD_RULE, _RESTRICT = 444, 445, 446  # the same on every architecture
_ASK_VERSION = 1
_BENEATH = 1
_READ_FILE, _READ_FOLDER = 1 << 2, 1 << 3

#: By the first version (ABI) that knows them: access to files, network ports, and scopes across which nothing goes.
FILES = {1: 0x1FFF, 2: 1 << 13, 3: 1 << 14, 5: 1 << 15}  # ...; move between folders; truncate; device ioctl
PORTS = {4: 0b11}  # bind, connect
SCOPES = {6: 0b11}  # abstract sockets, signals


class _Ruleset(ctypes.Structure):
    _fields_ = (("files", ctypes.c_uint64), ("ports", ctypes.c_uint64), ("scopes", ctypes.c_uint64))


class _Beneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("access", ctypes.c_uint64), ("folder", ctypes.c_int32))


@cache
def version() -> int:
    """The kernel's Landlock version, 0 where it has none or it is switched off."""
    if not kernel.here():
        return 0
    try:
        return kernel.syscall(_CREATE, None, 0, _ASK_VERSION)
    except OSError:
        return 0


def restrict(version: int, readable: Sequence[str] = ()) -> None:
    """Forbid this thread and its future children all that this version knows. Raises `OSError`."""
    known = _Ruleset(*(_known(table, version) for table in (FILES, PORTS, SCOPES)))
    size = 24 if version >= 6 else 16 if version >= 4 else 8
    rules = kernel.syscall(_CREATE, ctypes.byref(known), size, 0)
    try:
        for path in readable:
            _let_read(rules, path)
        kernel.syscall(_RESTRICT, rules, 0)
    finally:
        os.close(rules)


def _known(table: dict[int, int], version: int) -> int:
    return sum(bits for since, bits in table.items() if since <= version)


def _let_read(rules: int, path: str) -> None:
    access = _READ_FILE | (_READ_FOLDER if os.path.isdir(path) else 0)
    descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        kernel.syscall(_ADD_RULE, rules, _BENEATH, ctypes.byref(_Beneath(access, descriptor)), 0)
    finally:
        os.close(descriptor)
