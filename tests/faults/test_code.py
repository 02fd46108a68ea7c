"""Files that try to run code are refused with a sentence and run nothing; opened by their own libraries, they would."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

import pytest

from explainers import ExplainerError, UnsupportedModel, load_dataset, load_model
from tests.faults.apart import apart
from tests.faults.code_cases import CASES, Case, fire

ARCHITECTURE = [{"layer": "Linear", "in_features": 3, "out_features": 1}]


def params(every_slow: bool) -> list:
    return [
        pytest.param(case, id=case.name, marks=pytest.mark.slow if every_slow or case.slow else ())
        for case in CASES
    ]


def test_there_are_as_many_cases_as_stated() -> None:
    assert len(CASES) == len({case.name for case in CASES}) == 36


@pytest.mark.parametrize("case", params(every_slow=False))
def test_it_is_refused_and_nothing_runs(case: Case, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    content = case.build(marker)
    loaders: tuple[Callable[..., object], ...] = (load_model, load_dataset)
    first, second = loaders if case.kind == "model" else loaders[::-1]
    with pytest.raises(case.error, match=f"(?s){case.sentence}"):
        first(content, name=case.file)
    with pytest.raises(ExplainerError):
        second(content, name=case.file)
    with pytest.raises(ExplainerError):
        load_model(content, ARCHITECTURE, name=case.file)
    assert not marker.exists()


@pytest.mark.parametrize("case", [c for c in CASES if c.file != "upload"], ids=lambda case: case.name)
def test_under_the_name_of_a_safe_format_it_is_refused_even_where_it_is_allowed(
    case: Case, tmp_path: Path
) -> None:
    marker = tmp_path / "marker"
    ending = Path(case.file).suffix
    with pytest.raises(UnsupportedModel, match=rf"is called \{ending}, as .* is not opened under that name"):
        load_model(case.build(marker), name=case.file, allow=case.allow)
    assert not marker.exists()


@pytest.mark.parametrize("case", params(every_slow=True))
def test_its_own_library_would_run_it(case: Case, tmp_path: Path) -> None:
    """Where that library is not installed, what must happen is the sentence that says so."""
    if case.library and importlib.util.find_spec(case.library) is None:
        with pytest.raises(UnsupportedModel, match=f"(?i){case.library} is not installed. Install it: pip"):
            load_model(case.build(tmp_path / "marker"), name=case.file, allow=case.allow)
        return
    outcome = apart(fire, case.name, str(tmp_path), seconds=120)
    assert outcome.value == [False, True], outcome
