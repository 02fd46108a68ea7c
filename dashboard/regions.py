"""A region of a picture, drawn or loaded by a visitor, and which pixels of a map it holds."""

from __future__ import annotations

import base64
import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

#: What a browser sends at most: corners of an outline, and places on a side of a mask.
MOST_POINTS, MOST_PLACES = 1000, 1024


@dataclasses.dataclass(frozen=True)
class Region:
    """An outline in shares of the picture's sides, or a mask of one bit for each of its places, row after row.

    Attributes:
        points: corners ``(x, y)`` from 0 to 1; empty for a mask.
        bits: the mask's bits in base64; empty for an outline.
        shape: places of the mask, ``(h, w)``.
    """

    points: tuple[tuple[float, float], ...] = ()
    bits: str = ""
    shape: tuple[int, int] = (0, 0)

    @classmethod
    def read(cls, sent: Any) -> Region | None:
        """The region that a browser sent; ``None`` for none, and for what is no region."""
        if not isinstance(sent, Mapping):
            return None
        if "points" in sent:
            return _outline(sent["points"])
        return _mask(sent.get("mask"))

    def payload(self) -> dict[str, Any]:
        """The form in which it travels."""
        if self.points:
            return {"points": [list(point) for point in self.points]}
        return {"mask": {"bits": self.bits, "shape": list(self.shape)}}

    def mask(self, height: int, width: int) -> np.ndarray:
        """Which pixels of a map are inside, ``(h, w)``: those whose middle is; at least the one nearest to an outline's middle."""
        if self.points:
            inside = _filled(np.array(self.points), height, width)
            if not inside.any():
                x, y = np.mean(self.points, axis=0)
                inside[min(int(y * height), height - 1), min(int(x * width), width - 1)] = True
            return inside
        places = self.shape[0] * self.shape[1]
        held = np.unpackbits(np.frombuffer(base64.b64decode(self.bits), np.uint8), count=places)
        rows, columns = (
            ((np.arange(size) + 0.5) * own / size).astype(np.int64)
            for size, own in zip((height, width), self.shape, strict=True)
        )
        return np.asarray(held.reshape(self.shape)[np.ix_(rows, columns)], dtype=bool)


def _outline(points: Any) -> Region | None:
    if not isinstance(points, list) or not 3 <= len(points) <= MOST_POINTS:
        return None
    pairs = [point for point in points if isinstance(point, list) and len(point) == 2]
    flat = [value for pair in pairs for value in pair]
    if len(pairs) != len(points) or not all(isinstance(v, (int, float)) and math.isfinite(v) for v in flat):
        return None
    return Region(tuple((min(max(x, 0.0), 1.0), min(max(y, 0.0), 1.0)) for x, y in pairs))


def _mask(sent: Any) -> Region | None:
    if not isinstance(sent, Mapping):
        return None
    bits, shape = sent.get("bits"), sent.get("shape")
    if not isinstance(bits, str) or not isinstance(shape, list) or len(shape) != 2:
        return None
    if not all(type(side) is int and 0 < side <= MOST_PLACES for side in shape):
        return None
    try:
        held = base64.b64decode(bits, validate=True)
    except ValueError:
        return None
    if len(held) != -(-shape[0] * shape[1] // 8) or not any(held):
        return None
    return Region(bits=bits, shape=(shape[0], shape[1]))


def _filled(points: np.ndarray, height: int, width: int) -> np.ndarray:
    """The pixels whose middle an odd number of edges lies to the left of, row after row."""
    x, y = points[:, 0] * width, points[:, 1] * height
    ends_x, ends_y = np.roll(x, -1), np.roll(y, -1)
    middles = np.arange(width) + 0.5
    inside = np.zeros((height, width), dtype=bool)
    for row in range(height):
        at = row + 0.5
        crossed = (y <= at) != (ends_y <= at)
        start, end = y[crossed], ends_y[crossed]
        crossings = np.sort(x[crossed] + (at - start) / (end - start) * (ends_x[crossed] - x[crossed]))
        inside[row] = np.searchsorted(crossings, middles) % 2 == 1
    return inside
