"""Bad and odd data files: refused with a sentence that helps, or opened with a note; no sentence holds a patient's value."""

from __future__ import annotations

import re

import pytest

from explainers import SchemaMismatch, UnreadableFile
from tests.faults.apart import apart
from tests.faults.data_cases import CASES, SECRET, Case, content, opened


def params(cases: tuple[Case, ...], slow: bool = False) -> list:
    return [
        pytest.param(case, id=case.name, marks=pytest.mark.slow if slow or case.slow else ())
        for case in cases
    ]


def test_there_are_as_many_cases_as_stated() -> None:
    assert len({case.name for case in CASES}) == len(CASES) >= 48


@pytest.mark.parametrize("case", params(tuple(case for case in CASES if case.error)))
def test_it_is_refused_with_its_sentence(case: Case) -> None:
    with pytest.raises((UnreadableFile, SchemaMismatch), match=f"(?s){case.error}") as caught:
        opened(content(case.name), case.target, case.bounds, case.like)
    require_presentable(str(caught.value))


@pytest.mark.parametrize("case", params(tuple(case for case in CASES if not case.error)))
def test_it_is_opened_and_what_is_odd_is_said(case: Case) -> None:
    found = opened(content(case.name), case.target, case.bounds, case.like)
    for what in ("names", "kinds", "matrix"):
        if getattr(case, what) is not None:
            assert found[what] == getattr(case, what)
    for note in found["notes"]:
        require_presentable(note)
        assert sum(bool(re.search(expected, note)) for expected in case.notes) == 1, note
    assert len(found["notes"]) == len(case.notes)


@pytest.mark.parametrize("case", params(tuple(case for case in CASES if case.bomb), slow=True))
def test_a_bomb_is_refused_before_memory_is_spent(case: Case) -> None:
    """Opened in a process of its own: it grows by less than what the file claims by far."""
    outcome = apart(opened, content(case.name), case.target, case.bounds, None, seconds=30)
    assert outcome.expected, outcome
    assert re.search(case.error, outcome.message)
    assert outcome.grown < 150


def require_presentable(sentence: str) -> None:
    assert SECRET not in sentence
    assert len(sentence) <= 400
    assert sentence.endswith((".", "?", ")"))
    assert not re.search(r"Traceback|0x[0-9a-f]{6}|[a-z]Error\b", sentence)
