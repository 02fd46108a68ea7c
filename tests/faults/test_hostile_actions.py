"""Every hostile action is refused in a locked process, and possible without the lock."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from dashboard.workers.lock import Lock
from dashboard.workers.lock.actions import ACTIONS
from dashboard.workers.lock.self_test import Attempt, SelfTest, self_test
from tests.faults.hostile_actions import HOSTILE

ROOT = Path(__file__).resolve().parents[2]
NOBODY = 65534

#: Becomes nobody, as a server should not run as root; what it imported stays readable to it only as it is.
AS_NOBODY = f"""
import os, sys
from dashboard.workers.lock import kernel, self_test
if os.getuid() == 0:
    os.setgroups([])
    os.setresgid({NOBODY}, {NOBODY}, {NOBODY})
    os.setresuid({NOBODY}, {NOBODY}, {NOBODY})
    kernel.prctl(kernel.SET_DUMPABLE, 1)
assert os.getuid() != 0
sys.argv.append("--json")
self_test.main()
"""


def test_the_table_names_every_action_once() -> None:
    assert [name for name, *_ in HOSTILE] == [action.name for action in ACTIONS]
    assert sum(1 for _, outcome, _ in HOSTILE if outcome == "refused") == len(HOSTILE) - 1
    assert [action.name for action in ACTIONS if action.wanted] == ["start a thread"]


@pytest.fixture(scope="module")
def locked() -> dict[str, Attempt]:
    return {attempt.action: attempt for attempt in self_test().attempts}


@pytest.fixture(scope="module")
def unlocked() -> dict[str, Attempt]:
    return {attempt.action: attempt for attempt in self_test(locked=False).attempts}


@pytest.fixture(scope="module")
def nobody() -> dict[str, Attempt]:
    run = subprocess.run(
        [sys.executable, "-c", AS_NOBODY], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return {found["action"]: Attempt(**found) for found in json.loads(run.stdout)["attempts"]}


@pytest.mark.slow
@pytest.mark.parametrize(("name", "outcome", "reason"), HOSTILE, ids=lambda value: str(value))
def test_in_a_locked_process(name: str, outcome: str, reason: str, locked: dict[str, Attempt]) -> None:
    assert locked[name].outcome == outcome, locked[name].reason
    assert reason in locked[name].reason


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, *_ in HOSTILE])
def test_possible_without_the_lock(name: str, unlocked: dict[str, Attempt]) -> None:
    """Else the refusal would prove nothing."""
    assert unlocked[name].outcome == "allowed", unlocked[name].reason


@pytest.mark.slow
@pytest.mark.parametrize(("name", "outcome", "reason"), HOSTILE, ids=lambda value: str(value))
def test_the_same_without_root(name: str, outcome: str, reason: str, nobody: dict[str, Attempt]) -> None:
    assert nobody[name].outcome == outcome, nobody[name].reason
    assert reason in nobody[name].reason


@pytest.mark.slow
def test_the_command_prints_each_action_and_its_verdict() -> None:
    run = subprocess.run(
        [sys.executable, "-m", "dashboard.workers.lock.self_test"], cwd=ROOT, capture_output=True, text=True, check=False
    )  # fmt: skip
    assert run.returncode == 0, run.stdout
    assert run.stdout.count("refused  ") == len(HOSTILE) - 1
    assert run.stdout.splitlines()[-1].startswith(
        f"self-test passed: {len(HOSTILE) - 1} of {len(HOSTILE) - 1} hostile"
    )


@pytest.mark.slow
def test_the_self_test_fails_where_nothing_is_locked(unlocked: dict[str, Attempt]) -> None:
    found = self_test(locked=False)
    assert not found.passed
    assert "FAILED: 0 of" in found.sentence()
    assert "read /etc/passwd (allowed)" in found.sentence()


def test_one_action_that_went_through_fails_the_test(self_tested: SelfTest) -> None:
    assert self_tested.passed
    for attempt in self_tested.attempts:
        turned = {"allowed": "refused", "refused": "allowed"}[attempt.outcome]
        others = tuple(a for a in self_tested.attempts if a is not attempt)
        for outcome in (turned, "took too long", "ended with 2"):
            bad = SelfTest(self_tested.lock, (*others, Attempt(attempt.action, attempt.wanted, outcome, "")))
            assert not bad.passed
            assert f"{attempt.action} ({outcome})" in bad.sentence()
    assert not SelfTest(self_tested.lock).passed


@pytest.fixture
def self_tested() -> SelfTest:
    """As it ends where the lock holds, without running it."""
    return SelfTest(Lock(True, 7, True), tuple(Attempt(a.name, a.wanted, "allowed" if a.wanted else "refused", "") for a in ACTIONS))  # fmt: skip


def test_where_there_is_no_lock_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dashboard.workers.lock.kernel.here", lambda: False)
    monkeypatch.setattr("dashboard.workers.lock.self_test.available", lambda: Lock(True, 0, False))
    found = self_test()
    assert not found.passed
    assert "self-test not run" in found.sentence()
    assert "no Landlock" in found.sentence()
