"""The faults that the project is tried with, counted from the tests themselves, run, and written down group by group."""

from __future__ import annotations

import collections
import dataclasses
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.machine import Quietness, facts, label
from benchmarks.report import machine_lines, table, write
from benchmarks.serving import ROOT

FOLDER = "tests/faults"

#: Group, how many cases it should have, and the words that the names of its test files begin with.
GROUPS: tuple[tuple[str, int | None, tuple[str, ...]], ...] = (
    ("files that try to run code", 36, ("code",)),
    ("damaged models", 60, ("damaged",)),
    ("size bombs", 16, ("bombs",)),
    ("hostile actions from inside a worker", 20, ("hostile",)),
    ("faults of the worker protocol", 24, ("protocol", "worker_protocol")),
    ("misbehaving models", 24, ("models_misbehave",)),
    ("bad data files", 48, ("data",)),
    ("bad images", 16, ("images",)),
    ("hostile strings × places", 144, ("strings",)),
    ("isolation and operation", 30, ("operation", "isolation", "outbound", "two_users", "visitors")),
    ("a missing or partial sandbox", 10, ("missing", "sandbox")),
    ("damaged copies by chance", None, ("fuzz",)),
)
OTHERS = "what must go on working, and the checks themselves"

HEADS = ("group", "target", "cases", "checks", "passed", "failed", "skipped", "seconds")
WORSE = ("failure", "error")


@dataclasses.dataclass(frozen=True)
class Check:
    """One test that ran: its file, its function, what it was given, how it ended, and how long it took."""

    file: str
    function: str
    case: str
    outcome: str
    seconds: float


@dataclasses.dataclass
class Group:
    """What became of the checks of a group."""

    name: str
    target: int | None
    checks: list[Check] = dataclasses.field(default_factory=list)

    @property
    def cases(self) -> int:
        """Different things tried, however many checks look at each."""
        files = {check.file for check in self.checks}
        return sum(_different([check for check in self.checks if check.file == file]) for file in files)

    def row(self) -> list[str]:
        """A line under `HEADS`."""
        ended = collections.Counter(check.outcome for check in self.checks)
        counts = (self.cases, len(self.checks), ended["passed"], ended["failed"], ended["skipped"])
        target = "" if self.target is None else str(self.target)
        return [self.name, target, *map(str, counts), f"{sum(check.seconds for check in self.checks):,.0f}"]


def _different(checks: Sequence[Check]) -> int:
    """In one file: what its tests are given; where most are given nothing, each of these is a case of its own.

    Two tests may be given the same thing, one of them with what is expected behind its name.
    """
    given = {check.case for check in checks if check.case}
    whole = [case for case in given if not any(other.startswith(f"{case}-") for other in given)]
    plain = {check.function for check in checks if not check.case}
    return len(whole) if len(given) > len(plain) else len(whole) + len(plain)


def count(minutes: float | None, each: int, seed: int, out: Path) -> None:
    """Collect, run, and write down; damaged copies beyond the tests' own are tried where asked for."""
    before, began = Quietness.now(), time.monotonic()
    collected = _collected()
    checks = _run(minutes)
    seconds = time.monotonic() - began
    copies = _copies(each, seed) if each else ""
    after = Quietness.now()
    machine = facts("pytest", "torch", "numpy", "onnx", "onnxruntime", "scikit-learn", "playwright")
    groups = grouped(checks)
    text = _text(groups, len(collected), checks, seconds, copies)
    text += f"\n\n## Machine\n\n{label(before)}\n\n{machine_lines(machine, str(before), str(after))}"
    numbers: dict[str, Any] = {
        "machine": machine,
        "collected": len(collected),
        "seconds": seconds,
        "groups": [{"name": g.name, "target": g.target, "cases": g.cases, "checks": len(g.checks)} for g in groups],
        "failed": [dataclasses.asdict(check) for check in checks if check.outcome == "failed"],
        "copies": {"each": each, "seed": seed},
    }  # fmt: skip
    write(out, text, numbers)


def _pytest(*more: str) -> list[str]:
    return [sys.executable, "-m", "pytest", "-m", "slow or not slow", FOLDER, *more]


def _collected() -> list[str]:
    """All tests there are, so that those which a run left out are known."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-m",
        "slow or not slow",
        "--collect-only",
        "-q",
        "-o",
        "addopts=",
        FOLDER,
    ]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    tests = [line for line in found.stdout.splitlines() if "::" in line and not line.startswith("ERROR")]
    if found.returncode:
        print(f"not everything could be collected:\n{found.stdout[-2000:]}", flush=True)
    return tests


def _run(minutes: float | None) -> list[Check]:
    """All tests, or those that begin in so many minutes."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        more = ["-o", "junit_family=xunit1", f"--junit-xml={report}", "--tb=short"]
        more += [] if minutes is None else [f"--slice={60 * minutes:g}"]
        subprocess.run(_pytest(*more), cwd=ROOT, check=False)
        return list(read(report))


def read(report: Path) -> Iterable[Check]:
    """The checks of a report by pytest; a file that could not be read is one check that failed."""
    for case in ElementTree.parse(report).getroot().iter("testcase"):
        name, bracket, given = case.get("name", "").partition("[")
        ended = {child.tag for child in case}
        outcome = "failed" if ended & set(WORSE) else "skipped" if "skipped" in ended else "passed"
        file = case.get("file") or case.get("classname", "").replace(".", "/") + ".py"
        yield Check(
            Path(file).name,
            name,
            given.removesuffix("]") if bracket else "",
            outcome,
            float(case.get("time", 0)),
        )


def grouped(checks: Sequence[Check]) -> list[Group]:
    """By the names of the files; what belongs to no group comes last."""
    groups = [Group(name, target) for name, target, _ in GROUPS]
    other = Group(OTHERS, None)
    for check in checks:
        found = [
            group for group, (_, _, words) in zip(groups, GROUPS, strict=True) if _begins(check.file, words)
        ]
        (found[0] if found else other).checks.append(check)
    return [*groups, other]


def _begins(file: str, words: Sequence[str]) -> bool:
    return file.removeprefix("test_").startswith(tuple(words))


def _copies(each: int, seed: int) -> str:
    """The table of damaged copies, as `tests.faults.fuzz` prints it."""
    command = [sys.executable, "-m", "tests.faults.fuzz", "--each", str(each), "--seed", str(seed)]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    findings = [line for line in found.stderr.splitlines() if line.startswith("finding")]
    again = "\n".join(
        [
            "",
            "",
            "To be made again with `python -m tests.faults.fuzz`:",
            "",
            *(f"- {line}" for line in findings),
        ]
    )
    return found.stdout.strip() + (again if findings else "")


def _text(
    groups: Sequence[Group], collected: int, checks: Sequence[Check], seconds: float, copies: str
) -> str:
    ended = collections.Counter(check.outcome for check in checks)
    failed = [
        f"- `{c.file}`: {c.function}{f' [{c.case}]' if c.case else ''}"
        for c in checks
        if c.outcome == "failed"
    ]
    short = [
        f"{g.name} ({g.cases} of {g.target})" for g in groups if g.target is not None and g.cases < g.target
    ]
    parts = [
        "# Faults",
        f"`{FOLDER}`: {collected} checks collected, {ended['passed']} passed, {ended['failed']} failed, "
        f"{ended['skipped']} not run in this time, in {seconds / 60:.0f} minutes. A case is what is tried; several checks may look at it.",
        table(HEADS, [group.row() for group in groups]),
        f"Fewer cases than meant: {'; '.join(short)}."
        if short
        else "Every group has the cases that were meant, or more.",
        *(["Failed:", "\n".join(failed)] if failed else []),
        *(["## Damaged copies", copies] if copies else []),
    ]
    return "\n\n".join(parts)
