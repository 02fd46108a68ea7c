"""Is a case like anything in the data? Known answers on lines and grids."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from explainers import Dataset, Plausibility


def grid() -> Plausibility:
    """The 100 points of a grid of whole numbers: every nearest neighbour is one step away."""
    x, y = np.meshgrid(np.arange(10.0), np.arange(10.0))
    return Plausibility.of(Dataset.from_frame(pd.DataFrame({"x": x.ravel(), "y": y.ravel()})))


def test_what_lies_within_the_ranges_is_inside() -> None:
    found = grid()
    np.testing.assert_array_equal(found.low, [0, 0])
    np.testing.assert_array_equal(found.high, [9, 9])
    assert found.outside(np.array([0.0, 9.0])) == []
    assert found.outside(np.array([4.5, 0.1])) == []


@pytest.mark.parametrize(("codes", "names"), [([-0.1, 3], ["x"]), ([3, 9.1], ["y"]), ([10, -1], ["x", "y"])])
def test_features_outside_are_named(codes: list[float], names: list[str]) -> None:
    assert grid().outside(np.array(codes, dtype=float)) == names


def test_missing_is_not_outside() -> None:
    assert grid().outside(np.array([np.nan, 3.0])) == []


def test_the_usual_distance_is_one_step() -> None:
    step = 1 / np.arange(10.0).std()
    assert grid().usual == pytest.approx(step)


def test_a_combination_that_nobody_has_is_unlike_though_each_value_is_in_range() -> None:
    x = np.arange(100.0)
    found = Plausibility.of(Dataset.from_frame(pd.DataFrame({"x": x, "y": x})))
    corner = np.array([0.0, 99.0])
    assert found.outside(corner) == []
    assert found.unlike(corner)
    assert not found.unlike(np.array([50.0, 50.0]))
    assert not found.unlike(np.array([50.5, 50.5]))


def test_another_category_is_one_away_whatever_its_code() -> None:
    frame = pd.DataFrame({"x": np.repeat(np.arange(20.0), 2), "c": ["a", "b"] * 20})
    found = Plausibility.of(Dataset.from_frame(frame))
    assert not found.unlike(np.array([3.0, 1.0]))
    alone = pd.DataFrame({"x": np.arange(20.0), "c": ["a"] * 10 + ["b"] * 10})
    separate = Plausibility.of(Dataset.from_frame(alone))
    assert separate.unlike(np.array([2.0, 1.0]))  # b never comes with a small x


def test_training_rows_are_what_is_known_where_they_are_marked() -> None:
    frame = pd.DataFrame({"x": [0.0, 1, 2, 3, 4, 100, 101], "part": ["train"] * 5 + ["test"] * 2})
    found = Plausibility.of(Dataset.from_frame(frame, role="part"))
    assert found.unlike(np.array([100.0]))
    assert not found.unlike(np.array([2.5]))


def test_decimals_are_those_the_data_are_recorded_with() -> None:
    frame = pd.DataFrame({"whole": [1, 2, 3], "tenth": [0.1, 2.0, 3.5], "third": [1 / 3, 0.5, 1.0]})
    np.testing.assert_array_equal(Plausibility.of(Dataset.from_frame(frame)).decimals, [0, 1, 6])


def test_a_constant_or_empty_column_is_no_obstacle() -> None:
    frame = pd.DataFrame({"same": [2.0, 2.0, 2.0], "empty": [np.nan] * 3, "x": [0.0, 1.0, 2.0]})
    found = Plausibility.of(Dataset.from_frame(frame))
    assert found.outside(np.array([2.0, np.nan, 1.0])) == []
    assert found.outside(np.array([2.1, np.nan, 1.0])) == ["same"]
    assert not found.unlike(np.array([2.0, np.nan, 1.0]))


def test_one_row_is_like_itself() -> None:
    found = Plausibility.of(Dataset.from_frame(pd.DataFrame({"x": [3.0]})))
    assert not found.unlike(np.array([3.0]))
    assert found.unlike(np.array([5.0]))
