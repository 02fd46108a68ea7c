"""Which system calls a locked process may make, and with which arguments: what computing needs and nothing else.

Everything not named here fails with EPERM. Found by running torch, onnxruntime, XGBoost, LightGBM, CatBoost,
scikit-learn, numba, pandas, pyarrow and Pillow under the filter. Numbers: (x86_64, aarch64), ``None`` where it has none.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass

Number = int | None


@dataclass(frozen=True)
class OneOf:
    """The low half of an argument is one of these values."""

    argument: int
    values: tuple[int, ...]


@dataclass(frozen=True)
class Without:
    """The low half of an argument has none of these bits."""

    argument: int
    bits: int


@dataclass(frozen=True)
class With:
    """The low half of an argument has this one bit."""

    argument: int
    bit: int


@dataclass(frozen=True)
class Null:
    """A pointer is null."""

    argument: int


@dataclass(frozen=True)
class Own:
    """An argument is the number of the process itself, or 0 where that means itself."""

    argument: int
    zero: bool = True


Condition = OneOf | Without | With | Null | Own

#: Harmless whatever the arguments: they act on memory, time, threads and descriptors which the process already has.
FREE: dict[str, tuple[Number, Number]] = {
    "read": (0, 63), "write": (1, 64), "readv": (19, 65), "writev": (20, 66), "pread64": (17, 67), "pwrite64": (18, 68),
    "close": (3, 57), "fstat": (5, 80), "lseek": (8, 62), "ftruncate": (77, 46), "dup": (32, 23),
    "poll": (7, None), "ppoll": (271, 73), "select": (23, None), "pselect6": (270, 72),
    "sendmsg": (46, 211), "recvmsg": (47, 212), "recvfrom": (45, 207), "shutdown": (48, 210),
    "getsockname": (51, 204), "getpeername": (52, 205), "getsockopt": (55, 209),
    "munmap": (11, 215), "mremap": (25, 216), "madvise": (28, 233), "brk": (12, 214),
    "futex": (202, 98), "set_robust_list": (273, 99), "get_robust_list": (274, 100), "rseq": (334, 293),
    "set_tid_address": (218, 96), "membarrier": (324, 283), "exit": (60, 93), "exit_group": (231, 94),
    "gettid": (186, 178), "getpid": (39, 172), "getppid": (110, 173),
    "getuid": (102, 174), "geteuid": (107, 175), "getgid": (104, 176), "getegid": (108, 177),
    "rt_sigaction": (13, 134), "rt_sigprocmask": (14, 135), "rt_sigreturn": (15, 139), "sigaltstack": (131, 132),
    "restart_syscall": (219, 128), "sched_yield": (24, 124), "sched_getaffinity": (204, 123), "getcpu": (309, 168),
    "clock_gettime": (228, 113), "clock_getres": (229, 114), "clock_nanosleep": (230, 115), "nanosleep": (35, 101),
    "gettimeofday": (96, 169), "time": (201, None), "times": (100, 153), "getrusage": (98, 165),
    "sysinfo": (99, 179), "uname": (63, 160), "getcwd": (79, 17), "getrandom": (318, 278),
}  # fmt: skip

_THREAD = 0x10000
#: The flags with which the C libraries start a thread; no new namespace, no tracing, no signal to a parent.
_THREAD_FLAGS = 0x7D0F00
_EXECUTABLE = 4

#: Allowed with these arguments only.
CHECKED: dict[str, tuple[Number, Number, tuple[Condition, ...]]] = {
    "mmap": (9, 222, (Without(2, _EXECUTABLE),)),
    "mprotect": (
        10,
        226,
        (),
    ),  # torch's oneDNN writes its convolutions as machine code: without it they take 2-14 times as long
    "clone": (56, 220, (With(0, _THREAD), Without(0, ~_THREAD_FLAGS & 0xFFFFFFFF))),
    "fcntl": (
        72,
        25,
        (OneOf(1, (0, 1, 2, 3, 4, 1030, 1033, 1034)),),
    ),  # duplicate, flags, seals: no owner, no lock
    "ioctl": (16, 29, (OneOf(1, (0x5421, 0x5450, 0x5451)),)),  # blocking or not, kept over an exec or not
    "sendto": (44, 206, (Null(4),)),  # only to whom the socket is connected
    "memfd_create": (319, 279, (Without(1, ~0b1011 & 0xFFFFFFFF),)),  # no huge pages
    "prctl": (157, 167, (OneOf(0, (15, 16, 0x53564D41)),)),  # names of threads and of memory
    "prlimit64": (302, 261, (Own(0), Null(2))),  # ask, never set
    "tgkill": (234, 131, (Own(0, zero=False),)),  # abort() and raise()
}

#: Reading below folders which the caller names, on top: Landlock decides which files these may open.
READING: dict[str, tuple[Number, Number, tuple[Condition, ...]]] = {
    "open": (2, None, ()), "openat": (257, 56, ()), "stat": (4, None, ()), "lstat": (6, None, ()),
    "newfstatat": (262, 79, ()), "statx": (332, 291, ()), "getdents64": (217, 61, ()), "access": (21, None, ()),
    "faccessat": (269, 48, ()), "faccessat2": (439, 439, ()), "readlink": (89, None, ()), "readlinkat": (267, 78, ()),
}  # fmt: skip

#: Answered without being done: glibc starts threads by `clone` where `clone3`, whose flags no filter can read, is
#: unknown; to which processor a thread is bound is a wish, and no other process may be bound by it.
ANSWERED: dict[str, tuple[int, int, int]] = {
    "clone3": (435, 435, errno.ENOSYS),
    "sched_setaffinity": (203, 122, 0),
}
