"""The lock of a worker: its filter call by call on both architectures, its bounds, and the libraries that run behind it."""

from __future__ import annotations

import errno
import json
import os
import signal
import struct
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from dashboard.workers.lock import Lock, available, kernel, landlock, seccomp, strict
from dashboard.workers.lock import calls as tables
from dashboard.workers.lock.strict import strict_command

ROOT = Path(__file__).resolve().parents[2]
PID = 4321
EPERM = seccomp.REFUSE
MACHINES = list(seccomp.MACHINES)


@cache
def program(machine: str, reading: bool) -> list[tuple[int, int, int, int]]:
    """The filter's instructions: code, jump if true, jump if false, value."""
    packed = seccomp.assemble(machine, PID, reading)
    return list(struct.iter_unpack("HBBI", packed))


def verdict(machine: str, call: int, *arguments: int, architecture: int | None = None, reading: bool = False) -> int:  # fmt: skip
    """What the kernel would do: the program run instruction by instruction, as ``linux/filter.h`` describes it."""
    code = program(machine, reading)
    six = (*arguments, 0, 0, 0, 0, 0, 0)[:6]
    seen = struct.pack(
        "IIQ6Q", call, seccomp.MACHINES[machine][1] if architecture is None else architecture, 0, *six
    )
    at = loaded = 0
    while True:
        kind, yes, no, value = code[at]
        at += 1
        if kind == 0x06:
            return int(value)
        if kind == 0x20:
            loaded = struct.unpack_from("I", seen, value)[0]
        else:
            true = {0x15: loaded == value, 0x35: loaded >= value, 0x45: bool(loaded & value)}[kind]
            at += yes if true else no


def number(machine: str, *names: str) -> list[int]:
    column = seccomp.MACHINES[machine][0]
    everything = {**tables.FREE, **tables.CHECKED, **tables.READING, **tables.ANSWERED}
    found = [everything[name][column] for name in names]
    return [n for n in found if isinstance(n, int)]


@pytest.mark.parametrize("machine", MACHINES)
def test_what_is_named_is_let_through_and_nothing_else(machine: str) -> None:
    free = set(number(machine, *tables.FREE))
    special = set(number(machine, *tables.CHECKED, *tables.ANSWERED))
    assert len(free) > 50
    for call in range(600):
        if call not in special:
            assert verdict(machine, call) == (seccomp.ALLOW if call in free else EPERM), call


@pytest.mark.parametrize("machine", MACHINES)
def test_reading_lets_files_be_opened_only_when_asked(machine: str) -> None:
    for call in number(machine, *tables.READING):
        assert verdict(machine, call) == EPERM
        assert verdict(machine, call, reading=True) == seccomp.ALLOW


CASES: tuple[tuple[str, tuple[int, ...], bool], ...] = (
    ("mmap", (0, 4096, 3), True),
    ("mmap", (0, 4096, 5), False),  # readable and executable
    ("mmap", (0, 4096, 1 << 40 | 4), False),
    ("clone", (0x3D0F00,), True),  # as glibc starts a thread
    ("clone", (0x7D0F00,), True),  # as musl does
    ("clone", (17,), False),  # fork
    ("clone", (0x3D0F00 & ~0x10000,), False),
    ("clone", (0x3D0F00 | 0x10000000,), False),  # with a user namespace
    ("fcntl", (3, 1030), True),
    ("fcntl", (3, 8), False),  # F_SETOWN
    ("fcntl", (3, 10), False),  # F_SETSIG
    ("ioctl", (0, 0x5421), True),
    ("ioctl", (0, 0x5412), False),  # a key pressed on somebody's terminal
    ("sendto", (3, 0, 0, 0, 0), True),
    ("sendto", (3, 0, 0, 0, 0x7F0000000000), False),  # an address whose low half is zero
    ("sendto", (3, 0, 0, 0, 0x10), False),
    ("memfd_create", (0, 3), True),
    ("memfd_create", (0, 4), False),  # huge pages
    ("prctl", (15,), True),
    ("prctl", (4, 1), False),
    ("prlimit64", (0, 7, 0), True),
    ("prlimit64", (PID, 7, 0), True),
    ("prlimit64", (PID + 1, 7, 0), False),
    ("prlimit64", (0, 7, 0x7F0000000000), False),
    ("tgkill", (PID, 1, 6), True),
    ("tgkill", (PID - 1, 1, 6), False),
    ("tgkill", (0, 1, 6), False),
)


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize(("name", "arguments", "let"), CASES, ids=lambda value: str(value))
def test_arguments_decide(machine: str, name: str, arguments: tuple[int, ...], let: bool) -> None:
    (call,) = number(machine, name)
    assert verdict(machine, call, *arguments) == (seccomp.ALLOW if let else EPERM)


@pytest.mark.parametrize("machine", MACHINES)
def test_foreign_calls_kill_or_are_refused(machine: str) -> None:
    for architecture in (
        0x40000003,
        0x40000028,
        *(a for m, (_, a, *_) in seccomp.MACHINES.items() if m != machine),
    ):
        assert verdict(machine, 0, architecture=architecture) == seccomp.KILL
    for call in (0x40000000, 0x40000001, 0x4000003B, 0xFFFFFFFF):
        assert verdict(machine, call) == EPERM


@pytest.mark.parametrize("machine", MACHINES)
def test_threads_fall_back_and_binding_is_a_wish(machine: str) -> None:
    clone3, bind = number(machine, "clone3", "sched_setaffinity")
    assert verdict(machine, clone3) == seccomp.ANSWER | errno.ENOSYS
    assert verdict(machine, bind, PID + 1) == seccomp.ANSWER


def test_each_landlock_version_forbids_what_it_knows() -> None:
    files = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16, 6: 16, 7: 16}
    for version, bits in files.items():
        assert landlock._known(landlock.FILES, version) == (1 << bits) - 1
        assert landlock._known(landlock.PORTS, version) == (3 if version >= 4 else 0)
        assert landlock._known(landlock.SCOPES, version) == (3 if version >= 6 else 0)


@pytest.mark.parametrize(
    ("held", "said"),
    [
        (Lock(True, 7, True), "locked: no files, no network, no other processes (Landlock 7, seccomp)"),
        (Lock(True, 0, True), "not fully locked: no Landlock"),
        (Lock(True, 5, False), "not fully locked: no seccomp"),
        (Lock(False, 5, True), "not fully locked: no resource limits"),
        (Lock(True, 0, False), "files can be read; no seccomp"),
        (Lock(False, 0, False), "not locked: this system has no resource limits, no Landlock and no seccomp"),
    ],
)
def test_the_sentence_names_what_is_missing(held: Lock, said: str) -> None:
    assert said in held.sentence()
    assert held.complete is (held == Lock(True, 7, True))


def test_elsewhere_nothing_is_asked_of_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    def asked(*_: Any) -> int:
        raise AssertionError("the kernel was asked")

    monkeypatch.setattr(kernel, "here", lambda: False)
    monkeypatch.setattr(kernel, "syscall", asked)
    for question in (landlock.version, seccomp.supported, seccomp.machine):
        monkeypatch.setattr(sys.modules[question.__module__], question.__name__, question.__wrapped__)
    assert (landlock.version(), seccomp.machine(), seccomp.supported()) == (0, None, False)
    assert available() == Lock(sys.platform != "win32", 0, False)


def test_without_bubblewrap_there_is_no_strict_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strict.shutil, "which", lambda name: None)
    monkeypatch.setattr(strict, "_works", strict._works.__wrapped__)
    assert strict_command(["true"]) is None


def test_bubblewrap_that_is_forbidden_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strict.shutil, "which", lambda name: "/bin/false")
    monkeypatch.setattr(strict, "_room", lambda: ["/bin/false"])
    monkeypatch.setattr(strict, "_works", strict._works.__wrapped__)
    assert strict_command(["true"]) is None


def test_the_strict_room_has_no_data_and_no_network() -> None:
    room = strict._room()
    shown = [room[i + 1] for i, word in enumerate(room) if word == "--ro-bind-try"]
    assert "--unshare-all" in room
    assert "--share-net" not in room
    assert "--bind" not in room
    assert not {"/", "/etc", "/home", "/usr", "/var", "/tmp", str(ROOT)} & set(shown)
    assert {str(ROOT / "explainers"), str(ROOT / "dashboard"), sys.prefix} <= set(shown)


def alone(code: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run it in a fresh interpreter: a lock lasts, and a test process has threads."""
    start = "import os, sys, time\nfrom dashboard.workers.lock import Bounds, extend_cpu, lock\n"
    return subprocess.run(
        [sys.executable, "-c", start + code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
        env={**os.environ, **variables},
    )  # fmt: skip


@pytest.mark.slow
def test_a_process_with_threads_is_not_locked_by_half() -> None:
    run = alone(
        "import threading\nstop = threading.Event()\nthreading.Thread(target=stop.wait).start()\n"
        "try:\n    lock(Bounds(1 << 30, 0, 1 << 20))\nexcept RuntimeError as error:\n    print(error)\nstop.set()\n"
    )
    assert "before it starts threads; this one runs 2" in run.stdout


@pytest.mark.slow
def test_what_was_mapped_before_does_not_count() -> None:
    code = "held = bytearray(300 << 20)\nlock(Bounds(200 << 20, 0, 1 << 20))\nbytearray(100 << 20)\ntry:\n    bytearray(250 << 20)\nexcept MemoryError:\n    print('bounded')\n"
    assert alone(code).stdout == "bounded\n"


@pytest.mark.slow
def test_readable_folders_and_only_these(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open" / "late.py").write_text("found = 7")
    (tmp_path / "secret").write_text("x")
    code = (
        f"lock(Bounds(1 << 30, 0, 1 << 20), readable=[{str(tmp_path / 'open')!r}])\n"
        f"sys.path.insert(0, {str(tmp_path / 'open')!r})\nimport late\nprint(late.found)\n"
        f"for attempt in (lambda: open({str(tmp_path / 'secret')!r}), lambda: open({str(tmp_path / 'open' / 'new')!r}, 'w')):\n"
        "    try:\n        attempt()\n    except PermissionError:\n        print('refused')\n"
    )
    run = alone(code, PYTHONDONTWRITEBYTECODE="1")
    assert run.stdout.split() == ["7", "refused", "refused"], run.stderr
    assert not (tmp_path / "open" / "new").exists()


@pytest.mark.slow
def test_processor_time_ends_it_unless_the_parent_grants_more() -> None:
    code = (
        "child = os.fork()\nif not child:\n    lock(Bounds(1 << 30, 1, 1 << 20))\n    os.write({told}, b'x')\n"
        "    while time.process_time() < 2.2:\n        pass\n    os._exit(7)\n"
    )
    pipe = "reading, writing = os.pipe()\n"
    grant = "os.read(reading, 1)\nextend_cpu(child, 30)\n"
    end = "print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
    assert alone(pipe + code.format(told="writing") + end).stdout.strip() == str(-signal.SIGXCPU)
    assert alone(pipe + code.format(told="writing") + grant + end).stdout.strip() == "7"


@pytest.mark.slow
def test_it_dies_with_its_parent() -> None:
    code = (
        "reading, writing = os.pipe()\nif not os.fork():\n    os.setsid()\n    child = os.fork()\n    if not child:\n"
        "        lock(Bounds(1 << 30, 0, 1 << 20))\n        os.write(writing, b'locked')\n        time.sleep(50)\n"
        "        os.write(writing, b'alive')\n        os._exit(0)\n    os.read(reading, 6)\n    os._exit(0)\n"
        "os.wait()\nos.close(writing)\nprint(os.read(reading, 6))\n"
    )
    assert alone(code).stdout == "b''\n"  # its end of the pipe was closed, without a word


@pytest.mark.slow
def test_abort_still_ends_as_abort() -> None:
    """A library that gives up is told apart from one that crashes."""
    assert alone("lock(Bounds(1 << 30, 0, 1 << 20))\nos.abort()\n").returncode == -signal.SIGABRT


@pytest.mark.slow
def test_the_strict_profile_has_no_files_and_no_network() -> None:
    command = strict_command([sys.executable, "-c", "import os; print(os.path.exists('/etc/passwd'), os.listdir('/sys') if os.path.exists('/sys') else [], len(os.listdir('/proc/net/')) and open('/proc/net/dev').read().count(':'))"])  # fmt: skip
    if command is None:
        pytest.skip("bubblewrap is not installed, or not allowed here")
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["False", "[]", "1"]  # of the network only its own loopback


#: Their threads are kept and can be counted; the others end theirs with each call or use none.
THREADED = ("torch", "onnxruntime", "xgboost", "lightgbm", "numba")


@pytest.fixture(scope="module")
def libraries() -> dict[str, dict[str, Any]]:
    single = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    run = subprocess.run(
        [sys.executable, "-m", "tests.dashboard.locked_libraries"], cwd=ROOT, capture_output=True, text=True, check=True,
        env={**os.environ, **single, "OMP_WAIT_POLICY": "PASSIVE", "NUMBA_NUM_THREADS": "2", "JOBLIB_MULTIPROCESSING": "0"},
    )  # fmt: skip
    found = [json.loads(line) for line in run.stdout.splitlines() if line.startswith("{")]
    return {one["name"]: one for one in found}


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    ["numpy", "torch", "onnxruntime", "xgboost", "lightgbm", "catboost", "scikit-learn", "numba", "tables", "pictures", "memory files"],
)  # fmt: skip
def test_libraries_warmed_with_one_thread_run_locked_with_two(
    name: str, libraries: dict[str, dict[str, Any]]
) -> None:
    found = libraries[name]
    assert (found["ended"], found.get("error")) == (0, "")
    assert found["complete"] is available().complete
    if name in THREADED:
        assert found["threads"] > found["idle"]
