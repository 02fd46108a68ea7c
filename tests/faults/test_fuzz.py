"""Fifty damaged copies of each format, others each day, open or are refused; `python -m tests.faults.fuzz` makes more."""

from __future__ import annotations

import datetime

import pytest

from tests.faults import good_files
from tests.faults.fuzz import DATA, FORMATS, damaged, opened, verdict, verdicts

EACH = 50
SEED = datetime.datetime.now(datetime.UTC).toordinal()


def test_a_copy_can_be_made_again() -> None:
    for number in range(20):
        copy = damaged("safetensors", number, 1)
        assert copy == damaged("safetensors", number, 1)
    copies = {damaged("safetensors", number, 1) for number in range(50)}
    assert len(copies) > 40
    assert good_files.safetensors() not in copies


def test_each_format_of_a_model_and_of_data_is_there() -> None:
    libraries = {form.split("_")[0] for form in FORMATS}
    assert libraries >= {
        "xgboost",
        "lightgbm",
        "catboost",
        "skops",
        "onnx",
        "safetensors",
        "torch",
        *DATA[:2],
    }


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMATS)
def test_the_sound_file_opens(form: str) -> None:
    assert verdict(form, opened(form, good_files.BUILD[form]())) == ("opens", "")


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMATS)
def test_damaged_copies_open_or_are_refused(form: str) -> None:
    found = [(number, what) for number, kind, what in verdicts(form, range(EACH), SEED) if kind == "finding"]
    assert not found, f"seed {SEED}: {found}"
