"""A system that lacks a layer of the lock: it says which, counts as incomplete, applies the others, and opens no programs."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import explainers as ex
from dashboard.workers import containment
from dashboard.workers.lock import Lock
from dashboard.workers.pool import Pool
from dashboard.workers.remote import Remote
from dashboard.workers.starting import Alone, Zygote
from dashboard.workers.terms import Terms
from explainers.loading.policy import PROGRAMS
from tests.faults import good_files
from tests.faults.code_cases import CASES as CODE
from tests.faults.hostile_actions import MISSING

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
@pytest.mark.parametrize("name", MISSING)
def test_what_is_left_still_holds(name: str) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "tests.faults.hostile_actions", name], cwd=ROOT, capture_output=True, text=True, check=True
    )  # fmt: skip
    found, missing = json.loads(run.stdout), MISSING[name]
    assert found["complete"] is missing.complete
    assert missing.said in found["sentence"]
    expected = dict.fromkeys(missing.refused, "refused") | dict.fromkeys(missing.allowed, "allowed")
    assert found["outcomes"] == expected


# --- what is opened then ---------------------------------------------------------------------------------------------

PLAIN = Terms(profile="plain", formats=("pickle",), threads=1)
#: What the self-test says where the lock does not hold, and how its process ended.
FAILURES: dict[str, tuple[int | None, str]] = {
    "a layer is missing": (1, "self-test FAILED: 30 of 31 hostile actions refused; not fully locked: no seccomp filter"),
    "there is no lock at all": (1, "self-test not run: not locked: this system has no resource limits"),
    "it says nothing": (0, ""),
    "it passed, and its process failed": (-11, "self-test passed"),
    "it took too long": (None, "TimeoutExpired"),
}  # fmt: skip


@pytest.fixture
def _untested() -> Iterator[None]:
    """Before and after, nobody has tried the lock."""
    containment.tested.cache_clear()
    yield
    containment.tested.cache_clear()


def failing(monkeypatch: pytest.MonkeyPatch, name: str) -> str:
    """Let the self-test end as it does there."""
    status, said = FAILURES[name]

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        if status is None:
            raise subprocess.TimeoutExpired(command, 60)
        return subprocess.CompletedProcess(command, status, f"a table\n{said}\n" if said else "", "")

    monkeypatch.setattr(containment.subprocess, "run", run)
    return said


@pytest.mark.parametrize("name", FAILURES)
@pytest.mark.usefixtures("_untested")
def test_formats_that_run_code_stay_refused_whatever_the_operator_allowed(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = failing(monkeypatch, name)
    passed, sentence = containment.tested()
    assert not passed
    assert (said or "said nothing") in sentence
    assert containment.allowed(PROGRAMS) == ()
    case = next(case for case in CODE if case.name == "pickle protocol 4")
    with pytest.raises(ex.UnsupportedModel, match=case.sentence):
        ex.load_model(case.build(Path("/nowhere")), allow=containment.allowed(["pickle"]))


@pytest.mark.usefixtures("_untested")
def test_where_the_lock_holds_they_are_opened_and_where_none_is_wanted_it_is_not_tried(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tried: list[object] = []

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        tried.append(command)
        return subprocess.CompletedProcess(command, 0, "self-test passed: 31 of 31\n", "")

    monkeypatch.setattr(containment.subprocess, "run", run)
    assert containment.allowed(()) == ()
    assert tried == []
    assert containment.allowed(["pickle", "pt2"]) == ("pickle", "pt2")
    assert len(tried) == 1


@pytest.mark.slow
@pytest.mark.parametrize("kind", [Zygote, Alone])
def test_safe_formats_open_in_a_process_without_a_lock(kind: type[Zygote] | type[Alone]) -> None:
    """As on a system without Landlock and seccomp: a process of its own all the same, and the same answers."""
    pool = Pool(kind(PLAIN), 1)
    remote = Remote(pool)
    data = remote.load_dataset(good_files.csv())
    assert len(data) == 80
    columns = data.X[["age", "dose", "count"]].to_numpy()
    cases = ex.Dataset.from_frame(pd.DataFrame(columns, columns=["a", "b", "c"]))
    for content in (good_files.skops_forest(), good_files.onnx_network()):  # one of class B, one of class A
        model = remote.load_model(lambda content=content: content)
        np.testing.assert_allclose(
            remote.predict(model, cases), ex.load_model(content).predict(cases.X), rtol=1e-5
        )
    (pid,) = pool.pids
    assert pid != os.getpid()
    assert re.search(r"Seccomp:\s+0", Path(f"/proc/{pid}/status").read_text())  # there is no lock, indeed
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(ex.ModelFailure, match=r"crashed while predicting \(signal SIGKILL\)"):
        remote.predict(model, cases)
    assert remote.predict(model, cases).shape[0] == 80
    pool.end()


def with_profile(monkeypatch: pytest.MonkeyPatch, profile: str) -> None:
    found = containment.settings()
    workers = found.workers.model_copy(update={"profile": profile})
    monkeypatch.setattr(containment, "settings", lambda: dataclasses.replace(found, workers=workers))


def test_an_operator_who_turned_the_lock_off_opens_no_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The self-test tries the lock that could be there; what counts is the one that is."""
    monkeypatch.setattr(containment, "tested", lambda: (True, "self-test passed"))
    with_profile(monkeypatch, "plain")
    assert containment.allowed(["pickle"]) == ()
    assert "the operator has turned the lock off (setting workers.profile)" in containment.note()
    with_profile(monkeypatch, "auto")
    assert containment.allowed(["pickle"]) == ("pickle",)


@pytest.mark.parametrize(
    "held", [Lock(True, 0, False), Lock(True, 7, False), Lock(False, 0, False), Lock(True, 7, True)]
)
def test_the_page_says_what_is_missing(held: Lock, monkeypatch: pytest.MonkeyPatch) -> None:
    with_profile(monkeypatch, "auto")
    monkeypatch.setattr(containment, "available", lambda: held)
    found = containment.note()
    if held.complete:
        assert found == ""
    else:
        assert found.startswith("Reduced isolation: files are opened in a process of their own, but not ")
        assert held.sentence() in found
        assert found.endswith("Formats that run code are refused.")
