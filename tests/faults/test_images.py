"""Bad and odd pictures: refused with the picture's name, or opened as they are stored, with a note on what is odd."""

from __future__ import annotations

import re

import numpy as np
import pytest
from PIL import Image

from explainers import SchemaMismatch, UnreadableFile
from tests.faults.apart import apart
from tests.faults.image_cases import CASES, Case, opened


def params(cases: list[Case]) -> list:
    return [pytest.param(case, id=case.name) for case in cases]


def test_there_are_as_many_cases_as_stated() -> None:
    assert len({case.name for case in CASES}) == len(CASES) >= 16


@pytest.mark.parametrize("case", params([case for case in CASES if case.error]))
def test_it_is_refused_with_its_sentence(case: Case) -> None:
    before = Image.MAX_IMAGE_PIXELS
    with pytest.raises((UnreadableFile, SchemaMismatch), match=f"(?s){case.error}") as caught:
        opened(case.build(), case.bounds)
    assert len(str(caught.value)) <= 400
    assert before == Image.MAX_IMAGE_PIXELS


@pytest.mark.parametrize("case", params([case for case in CASES if not case.error]))
def test_it_is_opened_as_stored_and_what_is_odd_is_said(case: Case) -> None:
    found = opened(case.build(), case.bounds)
    np.testing.assert_allclose(found["first"], case.pixels, atol=case.tolerance)
    for note in found["notes"]:
        assert sum(bool(re.search(expected, note)) for expected in case.notes) == 1, note
    assert len(found["notes"]) == len(case.notes)


@pytest.mark.slow
@pytest.mark.parametrize("case", params([case for case in CASES if case.bomb]))
def test_a_bomb_is_refused_before_memory_is_spent(case: Case) -> None:
    """Opened in a process of its own: it grows by less than one picture at the bound."""
    outcome = apart(opened, case.build(), case.bounds, seconds=30)
    assert outcome.expected, outcome
    assert re.search(case.error, outcome.message)
    assert outcome.grown < 40
