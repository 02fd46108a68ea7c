"""Results, explainers and data sets survive the way to another process; other values are never built from a message."""

from __future__ import annotations

import dataclasses
import datetime
from typing import Any

import numpy as np
import pandas as pd
import pytest

import explainers as ex
from dashboard.workers import codec
from dashboard.workers.protocol import ProtocolError
from tests.cases import CASES


def again(value: Any) -> Any:
    body, arrays = codec.pack(value)
    return codec.unpack(body, arrays)


PLAIN = (None, True, 3, 2.5, float("inf"), "ü\u0000", b"\x00\xff", (1, ("a",)), [1, [2]], {"a": {"b": 1}}, frozenset({"x"}),
         datetime.date(2026, 1, 2), pd.Timestamp("2026-01-02 03:04"), datetime.datetime(2026, 1, 2))  # fmt: skip


@pytest.mark.parametrize("value", PLAIN, ids=repr)
def test_plain_values(value: Any) -> None:
    assert again(value) == value
    assert type(again(value)) is type(value)


def test_numbers_of_numpy_become_pythons() -> None:
    assert type(again(np.float32(0.5))) is float
    assert type(again(np.int64(2))) is int


@pytest.mark.parametrize("name", sorted(CASES))
def test_data_sets_keep_their_digest(name: str) -> None:
    data = CASES[name]().data
    back = again(data)
    assert back.digest == data.digest
    assert back.schema == data.schema
    if data.modality == "table":
        pd.testing.assert_frame_equal(back.X, data.X)
        np.testing.assert_array_equal(back.matrix, data.matrix)


def test_a_table_with_all_that_tables_may_hold() -> None:
    frame = pd.DataFrame(
        {
            "number": [1.5, np.nan, 3.0],
            "level": pd.Categorical(["lo", None, "hi"], ["lo", "hi"]),
            "text": ["a", "b", None],
            "flag": [True, False, True],
            "whole": [1, 2, 3],
            "when": pd.to_datetime(["2026-01-01", None, "2026-01-03"]),
            "truth": ["no", None, "yes"],
            "part": ["train", "test", "unknown"],
        }
    )
    data = ex.Dataset.from_frame(frame, "truth", role="part", ignore=["when"])
    back = again(data)
    assert back.digest == data.digest
    pd.testing.assert_frame_equal(back.X, data.X)
    assert data.extra is not None
    pd.testing.assert_frame_equal(back.extra, data.extra)
    assert back.y.tolist()[::2] == ["no", "yes"]
    assert pd.isna(back.y[1])


def test_results_and_explainers() -> None:
    case = CASES["mixed_table_classifier"]()
    for explainer in (
        ex.KernelShap(budget=64),
        ex.PartialDependence(),
        ex.Counterfactual(),
        ex.PermutationImportance(),
        ex.PermutationImportance(repeats=2, groups="correlated", conditional=True),
    ):
        assert again(explainer) == explainer
        found = ex.explain(case.model, case.data, explainer, rows=range(8))
        back = again(found)
        assert type(back) is type(found)
        for field in dataclasses.fields(found):
            if field.name not in ("provenance", "diagnostics"):
                _same(getattr(back, field.name), getattr(found, field.name))
        assert back.diagnostics.keys() == found.diagnostics.keys()
        assert back.provenance == {}  # the asker knows what it asked


def _same(a: Any, b: Any) -> None:
    if isinstance(b, np.ndarray):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)
    elif isinstance(b, tuple):
        assert len(a) == len(b)
        for left, right in zip(a, b, strict=True):
            _same(left, right)
    else:
        assert a == b


@pytest.mark.parametrize(
    "value",
    [object(), lambda: 1, {1, 2}, np.array([object()] * 4).reshape(2, 2)],
    ids=["object", "function", "set", "array of objects"],
)
def test_what_is_never_sent(value: Any) -> None:
    with pytest.raises(TypeError, match="is not sent"):
        codec.pack(value)


ARRAY = (np.arange(3.0),)
NONSENSE: dict[str, tuple[Any, tuple[np.ndarray, ...]]] = {
    "a class that is not ours": ({"class": "Popen", "fields": {"dict": []}}, ()),
    "a class of the package that is no value": ({"class": "Dataset", "fields": {"dict": []}}, ()),
    "a field that does not exist": ({"class": "Reference", "fields": {"dict": [["a", 1]]}}, ()),
    "a field that is missing": ({"class": "Attribution", "fields": {"dict": []}}, ()),
    "a text where an array belongs": ({"class": "Importance", "fields": {"dict": [["values", "x"], ["names", {"tuple": []}], ["metric", ""]]}}, ()),
    "a setting out of range": ({"class": "Lime", "fields": {"dict": [["samples", -1]]}}, ()),
    "an array that was not sent": ({"array": 3}, ARRAY),
    "an array before the first": ({"array": -1}, ARRAY),
    "an unknown container": ({"deque": []}, ()),
    "an empty object": ({}, ()),
    "a list without its name": ([1, 2], ()),
    "a date that is none": ({"date": "yesterday"}, ()),
    "pairs that are none": ({"dict": [[1, 2, 3]]}, ()),
    "a data set without schema": ({"data": {"dict": [["X", {"array": 0}], ["schema", None]]}}, ARRAY),
}  # fmt: skip


@pytest.mark.parametrize("name", NONSENSE)
def test_values_of_no_agreed_form_are_refused(name: str) -> None:
    body, arrays = NONSENSE[name]
    with pytest.raises(ProtocolError):
        codec.unpack(body, arrays)


def test_values_too_deep_are_refused() -> None:
    body: Any = 1
    for _ in range(200):
        body = {"tuple": [body]}
    with pytest.raises(ProtocolError, match="too deep"):
        codec.unpack(body, ())


def test_tables_that_contradict_their_schema_are_refused() -> None:
    data = CASES["mixed_table_classifier"]().data
    body, arrays = codec.pack(data)
    place = next(i for i, item in enumerate(arrays) if item.ndim == 2)
    for change in (lambda m: m[:, :-1], lambda m: np.full_like(m, 99.0), lambda m: m[None]):
        wrong = tuple(change(item) if i == place else item for i, item in enumerate(arrays))
        with pytest.raises(ProtocolError):
            codec.unpack(body, wrong)
    with pytest.raises(ProtocolError, match="another length"):
        codec.unpack(body, tuple(item[:3] if item.ndim == 1 else item for item in arrays))
