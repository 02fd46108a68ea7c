"""Small files that ask for much are refused by the name of the bound, before much is taken."""

from __future__ import annotations

import re

import pytest

from tests.faults.apart import MEBIBYTE, apart
from tests.faults.bomb_cases import CASES, Bomb
from tests.faults.opening import opened_data, opened_model

MOST_GROWN = 300  # mebibytes beyond a few copies of the file itself


def test_there_are_sixteen() -> None:
    assert len({case.name for case in CASES}) == 16


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_bomb_names_its_bound(case: Bomb) -> None:
    content = case.make()
    if case.kind == "model":
        outcome = apart(opened_model, content, case.architecture, case.limits, seconds=30)
    else:
        outcome = apart(opened_data, content, None, case.limits, seconds=30)
    assert not outcome.ended, f"the process ended: {outcome.ended}"
    assert outcome.expected, f"{outcome.error}: {outcome.message}"
    assert re.search(case.expected, outcome.message)
    assert outcome.grown < MOST_GROWN + 4 * len(content) / MEBIBYTE
