"""Calls to the Linux kernel that Python has no function for: `syscall` and `prctl` through the C library."""

from __future__ import annotations

import ctypes
import os
import sys
from functools import cache
from typing import Any

#: Options of `prctl`.
SET_PARENT_DEATH_SIGNAL, SET_DUMPABLE, SET_NO_NEW_PRIVILEGES = 1, 4, 38

_CAPABILITY_VERSION = 0x20080522


def here() -> bool:
    """Whether this is Linux at all."""
    return sys.platform == "linux"


@cache
def _library() -> Any:
    return ctypes.CDLL(None, use_errno=True)


def syscall(number: int, *arguments: Any) -> int:
    """The kernel's answer. Raises `OSError` with the kernel's own number where it refuses."""
    whole = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    answer = int(_library().syscall(ctypes.c_long(number), *whole))
    return _checked(answer)


def prctl(option: int, *values: int) -> int:
    """Set or ask one property of the process. Raises `OSError`."""
    four = (*values, 0, 0, 0, 0)[:4]
    return _checked(int(_library().prctl(option, *(ctypes.c_ulong(value) for value in four))))


def drop_capabilities(capset: int) -> None:
    """Root's special powers are given up, in case the process has them; `capset` is the call's number."""
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION, 0)
    syscall(capset, header, (ctypes.c_uint32 * 6)())


def _checked(answer: int) -> int:
    if answer < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return answer
