"""What the columns are taken for, and what is refused with its name."""

from __future__ import annotations

import datetime
import time

import numpy as np
import pandas as pd
import pytest

from explainers import Dataset, Feature, Schema, SchemaMismatch
from explainers.schema import infer_schema

INFERRED = {
    "integers": ([3, 5, 9], "integer", (), False),
    "whole floats": ([3.0, 5.0, 9.0], "integer", (), False),
    "floats": ([0.5, 1.25, 2.0], "number", (), False),
    "0/1": ([0, 1, 1], "boolean", (0, 1), False),
    "0/1 with a gap": ([0.0, 1.0, np.nan], "boolean", (0, 1), True),
    "only 0": ([0, 0, 0], "integer", (), False),
    "bools": ([True, False, True], "boolean", (False, True), False),
    "bools with a gap": ([True, None, False], "boolean", (False, True), True),
    "nullable bools": (pd.array([True, None, False], dtype="boolean"), "boolean", (False, True), True),
    "nullable integers": (pd.array([4, None, 7], dtype="Int64"), "integer", (), True),
    "strings": (["b", "a", "b"], "category", ("a", "b"), False),
    "strings with a gap": (["b", None, "a"], "category", ("a", "b"), True),
    "categories": (
        pd.Categorical(["low", "high", "low"], ["low", "high"]),
        "category",
        ("low", "high"),
        False,
    ),
    "numbers as categories": (pd.Categorical([3, 1, 3]), "category", (1, 3), False),
    "mixed": (["x", 1, 2.5], "category", (2.5, 1, "x"), False),
    "nothing": ([None, None, None], "category", (), True),
    "NaN only": ([np.nan, np.nan, np.nan], "number", (), True),
    "constant text": (["a", "a", "a"], "category", ("a",), False),
}


@pytest.mark.parametrize("case", INFERRED)
def test_kinds_are_inferred_and_values_survive(case: str) -> None:
    values, kind, categories, missing = INFERRED[case]
    frame = pd.DataFrame({"x": values})
    data = Dataset.from_frame(frame)
    feature = data.schema.feature("x")
    assert (feature.kind, feature.categories, feature.missing) == (kind, categories, missing)
    assert data.matrix.dtype == np.float64
    for held, given in zip(data.X["x"], frame["x"], strict=True):
        if pd.isna(given):
            assert pd.isna(held)
        else:
            assert held == given
    again = data.with_matrix(data.matrix)
    pd.testing.assert_frame_equal(again.X, data.X)


REFUSED = {
    "dates": (
        pd.to_datetime(["2020-01-01", "2020-01-02"]),
        "'x' holds dates or times. Turn it into a number",
    ),
    "date objects": ([datetime.date(2020, 1, 1), None], "'x' holds dates or times"),
    "durations": (pd.to_timedelta([1, 2]), "'x' holds dates or times"),
    "lists": ([[1], [2]], "'x' holds list values"),
    "complex": ([1 + 2j, 3], "'x' holds complex numbers"),
    "infinite": ([1.0, np.inf], "Infinite values in 'x'. Replace them"),
    "surrogates": (pd.Series(["\ud800", "b"], dtype=object), "'x' holds text with broken characters"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_values_that_are_no_features_are_refused_by_column(case: str) -> None:
    values, sentence = REFUSED[case]
    with pytest.raises(SchemaMismatch, match=sentence):
        Dataset.from_frame(pd.DataFrame({"x": values, "ok": [1, 2]}))


def test_what_is_set_aside_is_not_inspected() -> None:
    frame = pd.DataFrame({"x": [1.0, 2.0], "when": pd.to_datetime(["2020", "2021"]), "bad": [np.inf, 1.0]})
    data = Dataset.from_frame(frame, ignore=["when", "bad"])
    assert data.schema.names == ("x",)
    assert list(data.extra.columns) == ["when", "bad"]


def test_tables_without_content_and_names_twice_are_refused() -> None:
    with pytest.raises(SchemaMismatch, match="The table is empty: 0 rows, 1 columns"):
        infer_schema(pd.DataFrame({"x": []}))
    with pytest.raises(SchemaMismatch, match="The table is empty: 2 rows, 0 columns"):
        infer_schema(pd.DataFrame(index=[0, 1]))
    with pytest.raises(SchemaMismatch, match="must be unique; 'b' occur more than once"):
        Dataset.from_frame(pd.DataFrame([[1, 2, 3]], columns=["a", "b", "b"]))
    with pytest.raises(SchemaMismatch, match="'1' occur more than once"):
        Dataset.from_frame(pd.DataFrame([[1, 2]], columns=[1, "1"]))


def test_five_thousand_columns_are_quick() -> None:
    frame = pd.DataFrame(
        np.random.default_rng(0).normal(size=(50, 5000)), columns=[f"c{i}" for i in range(5000)]
    )
    started = time.process_time()
    data = Dataset.from_frame(frame)
    assert time.process_time() - started < 3
    assert len(data.schema.names) == 5000


@pytest.mark.parametrize(
    "name",
    ["<b>bold</b>", "![](http://x/y)", "größe", "年龄", "a\u202eb", "=1+1", "", " ", "x" * 10_000, "a\nb"],
)
def test_names_are_text_and_kept_as_they_are(name: str) -> None:
    data = Dataset.from_frame(pd.DataFrame({name: ["<i>", "b"]}))
    assert data.schema.names == (name,)
    assert data.schema.features[0].title == name
    assert data.schema.features[0].show(0.0) == "<i>"


def test_unknown_categories_and_text_in_numbers_are_named() -> None:
    schema = infer_schema(pd.DataFrame({"ward": ["east", "west"], "age": [1.5, 2.5]}))
    with pytest.raises(
        SchemaMismatch, match=r"'ward' has unknown categories: 'north'. Known are 'east', 'west'"
    ):
        schema.encode(pd.DataFrame({"ward": ["north"], "age": [1.0]}))
    with pytest.raises(SchemaMismatch, match="'age' should hold numbers, but some values are not"):
        schema.encode(pd.DataFrame({"ward": ["east"], "age": ["old"]}))
    with pytest.raises(SchemaMismatch, match=r"The data lack 'age'. They have 'ward', 'years'"):
        schema.encode(pd.DataFrame({"ward": ["east"], "years": [1.0]}))


def test_encode_and_decode_are_inverse_on_codes() -> None:
    schema = infer_schema(
        pd.DataFrame({"w": ["b", "a", None], "n": [1.5, 2.0, 3.0], "t": [True, False, True]})
    )
    codes = np.array([[0.0, 7.5, 1.0], [1.0, np.nan, 0.0], [np.nan, 2.0, 1.0]])
    np.testing.assert_array_equal(schema.encode(schema.decode(codes)), codes)
    assert schema.categorical == (0, 2)


NUMBERS = {
    "numbers": {"a": [1.5, np.nan, -0.0], "b": [3, 4, 5]},
    "small and unsigned": {"a": np.array([1, 2, 3], np.int8), "b": np.array([1, 2**53, 3], np.uint64)},
    "single precision": {"a": np.array([0.1, 0.2, np.nan], np.float32), "b": [0.1, 0.2, 0.3]},
    "0/1": {"a": [0, 1, 1], "b": [0.0, np.nan, 1.0]},
    "a zero with a sign": {"a": [1.0, -0.0, 0.0], "b": [1.5, 2.5, 3.5]},
    "nullable": {"a": pd.array([1, None, 0], dtype="Int64"), "b": [1.5, 2.5, 3.5]},
    "objects": {"a": np.array([0, 1, None], dtype=object), "b": [1.5, 2.5, 3.5]},
    "text that is a number": {"a": [0, 1, 1], "b": ["1.5", "2", "3"]},
}


@pytest.mark.parametrize("times", [1, 20])
@pytest.mark.parametrize("case", list(NUMBERS))
def test_frames_of_numbers_are_encoded_at_once_as_column_by_column(case: str, times: int) -> None:
    small = case.startswith(("0/1", "a zero", "nullable", "objects", "text"))
    first = Feature("a", "boolean", categories=(0, 1), dtype="int64") if small else Feature("a")
    schema = Schema((first, Feature("b")))
    frame = pd.concat([pd.DataFrame(NUMBERS[case])] * times)
    for part in (frame, frame.iloc[1:2], frame[["b", "a"]], frame.assign(c="other")):
        expected = np.column_stack([feature.encode(part[feature.name]) for feature in schema.features])
        codes = schema.encode(part)
        np.testing.assert_array_equal(codes, expected)
        np.testing.assert_array_equal(np.signbit(codes), np.signbit(expected))
        assert (codes.dtype, codes.flags.c_contiguous) == (np.float64, True)


@pytest.mark.parametrize("rows", [1, 50])
@pytest.mark.parametrize("value", [2, -1, 0.5, np.inf])
def test_numbers_that_are_no_category_are_named(value: float, rows: int) -> None:
    schema = Schema((Feature("a", "boolean", categories=(0, 1), dtype="int64"), Feature("b")))
    frame = pd.DataFrame({"a": [value] + [1] * (rows - 1), "b": 2.5})
    with pytest.raises(SchemaMismatch, match=f"'a' has unknown categories: '{value}"):
        schema.encode(frame)


@pytest.mark.parametrize("shape", [(1, 3), (40, 1), (40, 3)])
def test_codes_are_not_the_memory_of_the_frame(shape: tuple) -> None:
    values = np.ones(shape)
    frame = pd.DataFrame(values, columns=[f"c{i}" for i in range(shape[1])], copy=False)
    codes = infer_schema(frame).encode(frame)
    values[:] = 7
    np.testing.assert_array_equal(codes, np.ones(shape))


def test_another_target_keeps_what_is_known_of_the_features() -> None:
    schema = Schema((Feature("a"), Feature("b", "boolean", categories=(0, 1), dtype="int64")), target="t")
    assert schema.with_target("t") is schema
    assert schema.position("b") == 1
    other = schema.with_target(None)
    assert other == Schema(schema.features)
    assert (schema.target, other.names, other.position("b")) == ("t", schema.names, 1)


def test_a_decoded_frame_may_be_renamed() -> None:
    schema = Schema((Feature("a"), Feature("b")))
    first = schema.decode(np.zeros((1, 2)))
    first.columns.name = "patient"
    first.columns = ["x", "y"]
    second = schema.decode(np.zeros((1, 2)))
    assert (list(second.columns), second.columns.name) == (["a", "b"], None)
    assert schema.decode(np.zeros((0, 2))).shape == (0, 2)


def test_corrected_features_replace_inferred_ones() -> None:
    schema = infer_schema(pd.DataFrame({"age": [63, 41], "sex": [0, 1]}))
    better = schema.replace(Feature("age", "integer", label="Age", unit="years", low=0, high=120))
    assert better.feature("age").show(63.0) == "63 years"
    assert better.feature("age").title == "Age"
    assert better.feature("sex") == schema.feature("sex")
    with pytest.raises(SchemaMismatch, match="There is no feature 'height'; there are 'age', 'sex'"):
        schema.replace(Feature("height"))


@pytest.mark.parametrize(
    ("feature", "code", "shown"),
    [
        (Feature("x"), np.nan, "missing"),
        (Feature("x"), 0.0, "0"),
        (Feature("x", unit="mg"), 1234.5678, "1,235 mg"),
        (Feature("x"), 0.012345, "0.01235"),
        (Feature("x"), 1.5e-7, "1.5e-07"),
        (Feature("x"), -2.5, "-2.5"),
        (Feature("x", "integer"), 1e6, "1,000,000"),
        (Feature("x", "category", categories=("a", "b"), category_labels=("A",)), 0.0, "A"),
        (Feature("x", "category", categories=("a", "b"), category_labels=("A",)), 1.0, "b"),
        (Feature("x", "category", categories=("a",)), 5.0, "category 5"),
    ],
)
def test_values_in_words(feature: Feature, code: float, shown: str) -> None:
    assert feature.show(code) == shown


@pytest.mark.parametrize(
    ("channels", "names"),
    [
        (1, ("grey",)),
        (3, ("red", "green", "blue")),
        (4, ("red", "green", "blue", "alpha")),
        (5, tuple(f"channel {i}" for i in range(5))),
    ],
)
def test_channels_of_pictures_have_names(channels: int, names: tuple[str, ...]) -> None:
    assert Schema(modality="image", shape=(channels, 4, 4)).names == names
