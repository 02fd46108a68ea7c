"""Cases, roles, samples and digests."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest

from explainers import Dataset, Feature, InvalidSetting, SchemaMismatch


def frame() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "age": [63, 41, 58, 30, 77, 50],
            "ward": ["a", "b", "a", "b", "a", "b"],
            "died": ["no", "yes", "no", "no", "yes", "no"],
            "part": ["train", "Training", "test", "holdout", "calibrate", ""],
            "id": [101, 102, 103, 104, 105, 106],
        },
        index=[10, 11, 12, 13, 14, 15],
    )


def data() -> Dataset:
    return Dataset.from_frame(frame(), "died", role="part", ignore=["id"])


def test_target_role_and_ignored_columns_are_set_apart() -> None:
    held = data()
    assert held.schema.names == ("age", "ward")
    assert held.schema.target == "died"
    assert held.y.tolist() == frame()["died"].tolist()
    assert held.role.tolist() == ["train", "train", "test", "test", "calibrate", "unknown"]
    assert held.extra["id"].tolist() == [101, 102, 103, 104, 105, 106]
    assert list(held.X.index) == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"target": "outcome"}, "There is no column 'outcome'; there are 'age'"),
        ({"role": "died"}, "Row roles are train, calibrate, test, unknown; found 'no', 'yes'"),
        ({"ignore": ["x"]}, "There is no column 'x'"),
        ({"target": "died", "ignore": ["age", "ward", "part", "id"]}, "No feature is left"),
    ],
)
def test_columns_that_do_not_fit_are_named(settings: dict, sentence: str) -> None:
    with pytest.raises(SchemaMismatch, match=sentence):
        Dataset.from_frame(frame(), **settings)


def test_a_target_without_values_is_refused() -> None:
    with pytest.raises(SchemaMismatch, match="The target 'died' has no value in any row"):
        Dataset.from_frame(frame().assign(died=None), "died")


def test_empty_role_cells_are_unknown() -> None:
    held = Dataset.from_frame(pd.DataFrame({"a": [1, 2, 3], "part": ["train", None, " Test "]}), role="part")
    assert held.role.tolist() == ["train", "unknown", "test"]


def test_take_keeps_everything_together() -> None:
    held = data()
    matrix = held.matrix
    part = held.take([4, 0, 4])
    assert part.X["age"].tolist() == [77, 63, 77]
    assert part.y.tolist() == ["yes", "no", "yes"]
    assert part.role.tolist() == ["calibrate", "train", "calibrate"]
    assert part.extra["id"].tolist() == [105, 101, 105]
    np.testing.assert_array_equal(part.matrix, matrix[[4, 0, 4]])
    assert len(held.take([])) == 0
    images = Dataset.from_images(np.zeros((4, 5, 5), np.uint8), labels=list("abcd"))
    assert images.take(np.array([2])).y.tolist() == ["c"]
    assert Dataset.from_texts(["x", "y"]).take([1]).X == ["y"]


@pytest.mark.parametrize("rows", [[6], [-1], [0.5], ["a"], [[0, 1]], [True, False]])
def test_rows_that_are_no_positions_are_refused(rows: list) -> None:
    with pytest.raises(InvalidSetting, match="Rows"):
        data().take(rows)


def test_samples_come_from_the_training_rows_and_repeat() -> None:
    n = 200
    role = np.where(np.arange(n) % 2 == 0, "train", "test")
    held = Dataset.from_frame(pd.DataFrame({"x": np.arange(n), "part": role}), role="part")
    sample = held.sample(20, seed=3)
    assert len(sample) == len(set(sample)) == 20
    assert set(sample % 2) == {0}
    assert (np.diff(sample) > 0).all()
    np.testing.assert_array_equal(sample, held.sample(20, seed=3))
    assert set(held.sample(20, seed=4)) != set(sample)
    np.testing.assert_array_equal(held.sample(1000), held.rows("train"))
    unknown = Dataset.from_frame(pd.DataFrame({"x": np.arange(n)}))
    assert len(unknown.sample(150)) == 150
    np.testing.assert_array_equal(held.rows("train", "test"), np.arange(n))


def changes() -> dict[str, Dataset]:
    held = data()
    first = held.schema.features[0]
    return {
        "value": Dataset.from_frame(frame().assign(age=[64, 41, 58, 30, 77, 50]), "died", role="part"),
        "order": Dataset.from_frame(frame().iloc[::-1], "died", role="part"),
        "truth": Dataset.from_frame(frame().assign(died="no"), "died", role="part"),
        "role": Dataset.from_frame(frame().assign(part="test"), "died", role="part"),
        "name": Dataset.from_frame(frame().rename(columns={"age": "years"}), "died", role="part"),
        "schema": dataclasses.replace(
            held, schema=held.schema.replace(dataclasses.replace(first, unit="years"))
        ),
        "no truth": Dataset.from_frame(frame().drop(columns="died"), role="part", ignore=["id"]),
    }


@pytest.mark.parametrize("change", list(changes()))
def test_the_digest_follows_content_and_schema(change: str) -> None:
    assert data().digest == data().digest
    assert changes()[change].digest != data().digest


def test_digests_of_pictures_texts_and_sequences() -> None:
    pixels = np.arange(32, dtype=np.uint8).reshape(2, 4, 4)
    assert Dataset.from_images(pixels).digest == Dataset.from_images(pixels.copy()).digest
    assert Dataset.from_images(pixels).digest != Dataset.from_images(pixels, pixel_scale=1.0).digest
    assert Dataset.from_texts(["ab", "c"]).digest != Dataset.from_texts(["a", "bc"]).digest
    assert Dataset.from_sequences(np.ones((2, 3))).digest != Dataset.from_sequences(np.zeros((2, 3))).digest


def test_edited_cases_are_made_from_codes() -> None:
    held = data()
    codes = held.matrix[:2].copy()
    codes[:, 1] = [1.0, np.nan]
    cases = held.with_matrix(codes)
    assert cases.schema is held.schema
    assert cases.y is None
    assert cases.X["ward"].iloc[0] == "b"
    assert pd.isna(cases.X["ward"].iloc[1])
    np.testing.assert_array_equal(cases.matrix, codes)


def test_a_given_schema_is_obeyed() -> None:
    held = Dataset.from_frame(
        frame(), "died", schema=data().schema.replace(Feature("age", "number", unit="y"))
    )
    assert held.schema.feature("age").unit == "y"
    with pytest.raises(SchemaMismatch, match="unknown categories: 'z'"):
        Dataset.from_frame(frame().assign(ward="z"), "died", schema=data().schema)


def test_rows_under_a_known_schema() -> None:
    held = Dataset.from_frame(pd.DataFrame({"a": [1.5, 2.5], "b": [0, 1], "t": [1, 0]}), "t")
    row = pd.DataFrame({"a": [3.5], "b": [1]}, index=[17])
    for given in (row, row[["b", "a"]], row.assign(more="x"), pd.concat([row] * 40)):
        cases = Dataset.from_frame(given, schema=held.schema)
        assert cases.schema == held.schema.with_target(None)
        np.testing.assert_array_equal(cases.matrix, [[3.5, 1.0]] * len(given))
        pd.testing.assert_frame_equal(cases.X, held.schema.decode(cases.matrix))
        assert list(cases.X.index) == list(range(len(given)))
        assert cases.role.tolist() == ["unknown"] * len(given)
    row.loc[17, "a"] = 9.0
    assert cases.matrix[0, 0] == 3.5
    numbered = Dataset.from_frame(pd.DataFrame([[1.5, 2.5]], columns=[0, 1]))
    assert numbered.schema.names == ("0", "1")
    again = Dataset.from_frame(pd.DataFrame([[3.5, 4.5]], columns=[0, 1]), schema=numbered.schema)
    assert again.matrix.tolist() == [[3.5, 4.5]]


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        (pd.DataFrame({"a": [1.0]}), "The data lack 'b'. They have 'a'"),
        (pd.DataFrame([[1.0, 1.0, 1.0]], columns=["a", "b", "b"]), "'b' occur more than once"),
        (pd.DataFrame({"a": [], "b": []}), "The table is empty: 0 rows, 2 columns"),
        (pd.DataFrame({"a": [np.inf], "b": [1.0]}), "Infinite values in 'a'"),
        (pd.DataFrame({"a": ["old"], "b": [1.0]}), "'a' should hold numbers"),
    ],
)
def test_rows_that_do_not_fit_a_known_schema_are_refused(row: pd.DataFrame, sentence: str) -> None:
    held = Dataset.from_frame(pd.DataFrame({"a": [1.5, 2.5], "b": [0.5, 1.5]}))
    with pytest.raises(SchemaMismatch, match=sentence):
        Dataset.from_frame(row, schema=held.schema)


@pytest.mark.parametrize(
    ("shape", "given"),
    [((1, 5, 6), (3, 5, 6)), ((3, 5, 6), (3, 5, 6, 3)), ((3, 5, 6), (3, 3, 5, 6)), ((1, 5, 6), (3, 5, 6, 1))],
)
def test_pictures_get_channels_first_and_a_scale(shape: tuple, given: tuple) -> None:
    pixels = np.full(given, 51, np.uint8)
    images = Dataset.from_images(pixels)
    assert images.X.shape == (3, *shape)
    assert images.X.dtype == np.float32
    assert images.schema.pixel_scale == 255
    np.testing.assert_allclose(images.X, 0.2, rtol=1e-6)
    assert Dataset.from_images(pixels.astype(np.float32)).X.max() == 51


def test_pictures_and_sequences_that_do_not_fit_are_refused() -> None:
    with pytest.raises(SchemaMismatch, match=r"Images have shape .* got \(4,\)"):
        Dataset.from_images(np.zeros(4))
    with pytest.raises(SchemaMismatch, match="pixels are NaN or infinite"):
        Dataset.from_images(np.full((1, 2, 2), np.nan))
    with pytest.raises(SchemaMismatch, match="There are 2 cases but 3 labels"):
        Dataset.from_images(np.zeros((2, 3, 3)), labels=[1, 2, 3])
    with pytest.raises(SchemaMismatch, match="There are no cases"):
        Dataset.from_images(np.zeros((0, 3, 3)))
    with pytest.raises(SchemaMismatch, match=r"Sequences have shape \(n, t, c\)"):
        Dataset.from_sequences(np.zeros(3))
    with pytest.raises(InvalidSetting, match="Only tables have a matrix"):
        _ = Dataset.from_texts(["a"]).matrix
