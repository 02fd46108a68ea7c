"""Regions of a picture: what a browser may send, and which pixels they hold."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import pytest

from dashboard.regions import MOST_PLACES, MOST_POINTS, Region

SQUARE = {"points": [[0.0, 0.0], [0.5, 0.0], [0.5, 0.5], [0.0, 0.5]]}


def mask_of(inside: np.ndarray) -> dict[str, Any]:
    """As the browser packs a mask."""
    bits = base64.b64encode(np.packbits(inside.ravel()).tobytes()).decode()
    return {"mask": {"bits": bits, "shape": list(inside.shape)}}


def slow(points: list[tuple[float, float]], height: int, width: int) -> np.ndarray:
    """Whether each pixel's middle is inside, by counting the edges that a ray to its left meets."""
    inside = np.zeros((height, width), dtype=bool)
    for i in range(height):
        for j in range(width):
            x, y = (j + 0.5) / width, (i + 0.5) / height
            for (ax, ay), (bx, by) in zip(points, points[1:] + points[:1], strict=True):
                if (ay <= y) != (by <= y) and ax + (y - ay) / (by - ay) * (bx - ax) < x:
                    inside[i, j] = not inside[i, j]
    return inside


@pytest.mark.parametrize("shape", [(8, 8), (5, 13), (1, 1), (1, 9)], ids=str)
def test_an_outline_holds_the_pixels_whose_middle_is_inside(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(shape[1])
    for count in (3, 5, 9):
        sent = rng.random((count, 2)).round(3).tolist()
        region = Region.read({"points": sent})
        assert region is not None
        wanted = slow(list(region.points), *shape)
        if wanted.any():
            assert (region.mask(*shape) == wanted).all()
        else:
            assert region.mask(*shape).sum() == 1


def test_a_rectangle_is_its_quarter_of_the_picture() -> None:
    region = Region.read(SQUARE)
    assert region is not None
    wanted = np.zeros((6, 10), dtype=bool)
    wanted[:3, :5] = True
    assert (region.mask(6, 10) == wanted).all()


def test_a_region_between_the_pixels_holds_the_nearest_one() -> None:
    region = Region.read({"points": [[0.99, 0.99], [1.0, 0.99], [1.0, 1.0]]})
    assert region is not None
    assert np.argwhere(region.mask(4, 4)).tolist() == [[3, 3]]


@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (8, 8), (16, 9)], ids=str)
def test_a_mask_keeps_its_places_and_is_stretched_over_others(shape: tuple[int, int]) -> None:
    inside = np.random.default_rng(1).random(shape) < 0.5
    inside[0, 0] = True
    region = Region.read(mask_of(inside))
    assert region is not None
    assert (region.mask(*shape) == inside).all()
    assert (region.mask(2 * shape[0], 3 * shape[1]) == inside.repeat(2, 0).repeat(3, 1)).all()
    assert Region.read(region.payload()) == region


def test_what_is_sent_comes_back() -> None:
    region = Region.read(SQUARE)
    assert region is not None
    assert region.payload() == SQUARE
    assert hash(region) == hash(Region.read(SQUARE))


@pytest.mark.parametrize(
    "sent",
    [
        None,
        "points",
        {},
        {"points": []},
        {"points": [[0, 0], [1, 1]]},
        {"points": [[0, 0]] * (MOST_POINTS + 1)},
        {"points": [[0, 0], [1, 1], [float("nan"), 0]]},
        {"points": [[0, 0], [1, 1], ["0", 0]]},
        {"points": [[0, 0], [1, 1], [1, 0, 0]]},
        {"mask": None},
        {"mask": {"bits": "!", "shape": [1, 1]}},
        {"mask": {"bits": "gA==", "shape": [3, 3]}},
        {"mask": {"bits": "AA==", "shape": [2, 2]}},
        {"mask": {"bits": "gA==", "shape": [1, 0]}},
        {"mask": {"bits": "gA==", "shape": [1, MOST_PLACES + 1]}},
        {"mask": {"bits": "gA==", "shape": [True, 1]}},
        {"mask": {"bits": 7, "shape": [1, 1]}},
    ],
    ids=lambda sent: str(sent)[:50],
)
def test_what_is_no_region_is_none(sent: Any) -> None:
    assert Region.read(sent) is None


def test_places_outside_the_picture_are_moved_to_its_edge() -> None:
    region = Region.read({"points": [[-1, 0.2], [2, 0.2], [0.5, 9]]})
    assert region is not None
    assert region.points == ((0.0, 0.2), (1.0, 0.2), (0.5, 1.0))
