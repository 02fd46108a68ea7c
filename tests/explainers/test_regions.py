"""The share of a map in a region: closed forms, and the slow way over every place."""

from __future__ import annotations

import numpy as np
import pytest

import explainers as ex


def slow(values: np.ndarray, mask: np.ndarray) -> list[float]:
    """The share at every other place where the region fits, one place after the other."""
    flat = values.sum(axis=0) if values.ndim == 3 else values
    h, w = mask.shape
    cells = [(i, j) for i in range(h) for j in range(w) if mask[i, j]]
    total = sum(max(flat[i, j], 0.0) for i in range(h) for j in range(w))
    found = []
    for down in range(-h, h):
        for right in range(-w, w):
            moved = [(i + down, j + right) for i, j in cells]
            inside = all(0 <= i < h and 0 <= j < w for i, j in moved)
            if inside and (down, right) != (0, 0):
                found.append(sum(max(flat[i, j], 0.0) for i, j in moved) / total)
    return found


@pytest.mark.parametrize("shape", [(7, 9), (3, 8, 5), (1, 6, 6)], ids=str)
@pytest.mark.parametrize("kind", ["rectangle", "scattered", "one pixel", "a row"])
def test_the_null_is_that_of_every_other_place(shape: tuple[int, ...], kind: str) -> None:
    rng = np.random.default_rng(len(shape))
    values = rng.normal(size=shape)
    mask = np.zeros(shape[-2:], dtype=bool)
    if kind == "rectangle":
        mask[1:4, 2:4] = True
    elif kind == "scattered":
        mask[1, 1] = mask[3, 3] = mask[2, 4] = True
    elif kind == "one pixel":
        mask[0, -1] = True
    else:
        mask[2] = True
    found, others = ex.region_share(values, mask), slow(values, mask)
    flat = np.maximum(values.sum(axis=0) if values.ndim == 3 else values, 0)
    assert found.share == pytest.approx(flat[mask].sum() / flat.sum())
    assert found.area == pytest.approx(mask.sum() / mask.size)
    assert found.places == len(others)
    assert found.null_mean == pytest.approx(np.mean(others))
    assert found.null_95 == pytest.approx(np.percentile(others, 95))
    assert found.less == pytest.approx(np.mean(np.array(others) < found.share - 1e-9))


def test_a_flat_map_has_the_areas_share_everywhere() -> None:
    mask = np.zeros((10, 10), dtype=bool)
    mask[:5, :4] = True
    found = ex.region_share(np.ones((10, 10)), mask)
    assert (found.share, found.area, found.less) == (pytest.approx(0.2), 0.2, 0.0)
    assert (found.null_mean, found.null_95) == (pytest.approx(0.2), pytest.approx(0.2))


def test_all_relevance_in_the_region_beats_every_other_place() -> None:
    values, mask = np.full((8, 8), -1.0), np.zeros((8, 8), dtype=bool)
    values[2:4, 5:7] = 3.0
    mask[2:4, 5:7] = True
    found = ex.region_share(values, mask)
    assert (found.share, found.less, found.places) == (pytest.approx(1.0), 1.0, 48)


def test_where_there_is_no_other_place_or_nothing_positive_there_is_no_null() -> None:
    everything = ex.region_share(np.ones((4, 5)), np.ones((4, 5), dtype=bool))
    assert (everything.share, everything.places) == (pytest.approx(1.0), 0)
    assert np.isnan([everything.null_mean, everything.null_95, everything.less]).all()
    pixel = ex.region_share(np.ones((1, 1)), np.ones((1, 1), dtype=bool))
    assert (pixel.share, pixel.area, pixel.places) == (1.0, 1.0, 0)
    negative = ex.region_share(-np.ones((4, 5)), np.eye(4, 5, dtype=bool))
    assert np.isnan([negative.share, negative.null_mean]).all()
    assert negative.area == pytest.approx(0.2)


def test_values_that_are_no_numbers_count_as_nothing() -> None:
    mask = np.array([[True, False], [False, False]])
    assert ex.region_share(np.array([[1.0, np.nan], [1.0, 2.0]]), mask).share == 0.25


@pytest.mark.parametrize(
    ("values", "mask", "message"),
    [
        (np.ones((4, 4)), np.ones((4, 5), dtype=bool), r"\(4, 5\) and the map \(4, 4\)"),
        (np.ones((4, 4)), np.zeros((4, 4), dtype=bool), "no pixel"),
    ],
)
def test_regions_that_do_not_fit_are_refused(values: np.ndarray, mask: np.ndarray, message: str) -> None:
    with pytest.raises(ex.InvalidSetting, match=message):
        ex.region_share(values, mask)
