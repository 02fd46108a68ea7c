"""Damaged models are opened or refused in our words, each in a process of its own: a crash is a failed case."""

from __future__ import annotations

import collections
import re

import pytest

from tests.faults.apart import apart
from tests.faults.damaged_cases import CASES, OPENS, Damaged
from tests.faults.opening import opened_model

MOST_GROWN = 300  # mebibytes; the files have kilobytes


def test_there_are_sixty() -> None:
    counted = collections.Counter(case.name.partition(":")[0] for case in CASES)
    assert counted == {
        "XGBoost": 13,
        "LightGBM": 10,
        "CatBoost": 6,
        "skops": 8,
        "ONNX": 12,
        "safetensors": 11,
    }
    assert len({case.name for case in CASES}) == 60


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_damaged_model_is_refused_or_predicts(case: Damaged) -> None:
    outcome = apart(opened_model, case.make(), case.architecture, seconds=20)
    assert not outcome.ended, f"the process ended: {outcome.ended}"
    assert outcome.grown < MOST_GROWN
    if case.expected == OPENS:
        assert outcome.value is not None, outcome.message
        return
    assert outcome.expected, f"{outcome.error}: {outcome.message}"
    assert re.search(case.expected, outcome.message)
    assert "Traceback" not in outcome.message
