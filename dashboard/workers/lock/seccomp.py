"""The list of `calls` as a filter which the kernel runs before each system call: classic BPF, built here, set by `seccomp`.

A program of some 200 instructions: the architecture first (another one's numbers mean other calls), then call by call.
Numbers from ``linux/seccomp.h``, ``linux/filter.h`` and ``linux/audit.h``.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
from collections.abc import Iterable, Iterator
from functools import cache

from dashboard.workers.lock import kernel
from dashboard.workers.lock.calls import (
    ANSWERED,
    CHECKED,
    FREE,
    READING,
    Condition,
    Null,
    OneOf,
    Own,
    With,
    Without,
)

#: By machine: column of the tables, the kernel's name for it, the number of `seccomp` and of `capset`.
MACHINES = {"x86_64": (0, 0xC000003E, 317, 126), "aarch64": (1, 0xC00000B7, 277, 91)}

ALLOW, ANSWER, KILL = 0x7FFF0000, 0x00050000, 0x80000000
REFUSE = ANSWER | 1  # EPERM
_X32 = 0x40000000  # calls of the 32-bit kind under the name of x86_64

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_CALL, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16  # offsets in what the filter sees

_SET_FILTER, _ASK_ACTION, _ALL_THREADS = 1, 2, 1

Instruction = tuple[int, int, int, int]  # code, jump if true, jump if false, value
Rule = tuple[int, tuple[Condition, ...]]  # a call's number, what must hold of its arguments


@cache
def machine() -> str | None:
    """This machine as the tables know it; ``None`` where there is no list for it."""
    name = platform.machine()
    return name if kernel.here() and name in MACHINES and struct.calcsize("P") == 8 else None


@cache
def supported() -> bool:
    """Whether the kernel takes such a filter here; what forked processes will share of it is built on the way."""
    name = machine()
    if name is None:
        return False
    try:
        kernel.syscall(MACHINES[name][2], _ASK_ACTION, 0, ctypes.byref(ctypes.c_uint32(ANSWER)))
    except OSError:
        return False
    return all(_parts(name, reading) for reading in (False, True))


def apply(reading: bool = False) -> None:
    """Filter every thread of this process from now on. Raises `OSError`; needs `no_new_privs`."""
    name = machine()
    assert name is not None
    program = assemble(name, os.getpid(), reading)
    code = ctypes.create_string_buffer(program, len(program))
    header = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(code))
    other = kernel.syscall(MACHINES[name][2], _SET_FILTER, _ALL_THREADS, header)
    if other:
        raise OSError(errno.EBUSY, f"thread {other} has a filter of its own")


def assemble(machine: str, pid: int, reading: bool = False) -> bytes:
    """The program as the kernel reads it, for the process of this number."""
    fixed, own = _parts(machine, reading)
    last = [instruction for number, conditions in own for instruction in _checked(number, conditions, pid)]
    return fixed + _packed([*last, (_RETURN, 0, 0, REFUSE)])


@cache
def _parts(machine: str, reading: bool) -> tuple[bytes, list[Rule]]:
    """What is the same for every process, and the rules that depend on its number."""
    rules = list(_rules(machine, reading))
    own = [rule for rule in rules if any(isinstance(condition, Own) for condition in rule[1])]
    same = [instruction for rule in rules if rule not in own for instruction in _checked(*rule, pid=0)]
    return _packed([*_begin(machine), *same, *_answers(machine)]), own


def _begin(machine: str) -> Iterator[Instruction]:
    """Kill at another architecture's call; leave the call's number loaded, refused if it is of the 32-bit kind."""
    column, architecture, *_ = MACHINES[machine]
    yield _LOAD, 0, 0, _ARCHITECTURE
    yield _EQUAL, 1, 0, architecture
    yield _RETURN, 0, 0, KILL
    yield _LOAD, 0, 0, _CALL
    if column == 0:
        yield _AT_LEAST, 0, 1, _X32
        yield _RETURN, 0, 0, REFUSE


def _rules(machine: str, reading: bool) -> Iterator[Rule]:
    """Every allowed call by its number here, with what must hold of its arguments."""
    column = MACHINES[machine][0]
    free = {name: (*numbers, ()) for name, numbers in FREE.items()}
    for x86, arm, conditions in {**free, **CHECKED, **(READING if reading else {})}.values():
        number = (x86, arm)[column]
        if number is not None:
            yield number, conditions


def _checked(number: int, conditions: tuple[Condition, ...], pid: int) -> list[Instruction]:
    """Skipped by every other call; this one is allowed if all conditions hold."""
    inside = [instruction for condition in conditions for instruction in _condition(condition, pid)]
    inside.append((_RETURN, 0, 0, ALLOW))
    return [(_EQUAL, 0, len(inside), number), *inside]


def _condition(condition: Condition, pid: int) -> Iterator[Instruction]:
    """Go on behind these if it holds, else refuse."""
    low = _ARGUMENTS + 8 * condition.argument  # both machines keep the low half first
    yield _LOAD, 0, 0, low
    if isinstance(condition, Without):
        yield _ANY_BIT, 0, 1, condition.bits
    elif isinstance(condition, With):
        yield _ANY_BIT, 1, 0, condition.bit
    elif isinstance(condition, Null):
        yield _EQUAL, 0, 2, 0
        yield _LOAD, 0, 0, low + 4
        yield _EQUAL, 1, 0, 0
    else:
        values = (
            condition.values if isinstance(condition, OneOf) else ((pid, 0) if condition.zero else (pid,))
        )
        for left, value in zip(range(len(values), 0, -1), values, strict=True):
            yield _EQUAL, left, 0, value
    yield _RETURN, 0, 0, REFUSE


def _answers(machine: str) -> Iterator[Instruction]:
    for *numbers, answer in ANSWERED.values():
        yield _EQUAL, 0, 1, numbers[MACHINES[machine][0]]
        yield _RETURN, 0, 0, ANSWER | answer


def _packed(instructions: Iterable[Instruction]) -> bytes:
    return b"".join(struct.pack("HBBI", *instruction) for instruction in instructions)
