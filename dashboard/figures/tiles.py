"""A large picture, or a large map, in square tiles: in its own pixels, and at levels that are each half as fine as the one before.

A tile is made when it is asked for. Level 0 has the pixels themselves; a dot of level ``l`` is the mean of ``2**l`` by ``2**l``
pixels, of what there is of them at the right and lower edge. Only levels finer than the overview are of use: which of them
is wanted depends on the zoom, and only the browser knows that.
"""

from __future__ import annotations

import json
import threading
from typing import Protocol

import numpy as np

from dashboard.figures.images import as_seen, flat, in_blocks, png, steps_of

#: Dots on a side of a tile; those at the right and lower edge are smaller.
SIDE = 512

#: Rows of a map that are counted at a time.
COUNTED = 256


class Tiles(Protocol):
    """What can be asked for in tiles."""

    kind: str

    @property
    def nbytes(self) -> int:
        """Bytes that are kept for it alone."""
        ...

    def tile(self, level: int, column: int, row: int) -> bytes:
        """One tile; raises `LookupError` where there is none."""
        ...

    def about(self) -> bytes:
        """What a browser needs to know of the whole, as JSON."""
        ...


def every(shape: tuple[int, ...], most: int) -> int:
    """Pixels on a side of which one dot of an overview is the mean, for at most so many dots on a side."""
    return -(-max(shape[-2:]) // most)


def levels(block: int) -> int:
    """How many levels are finer than an overview of which a dot is the mean of so many pixels on a side."""
    return max(block - 1, 0).bit_length()


class PictureTiles:
    """A picture ``(c, h, w)`` as PNG tiles, in the tones of its overview; the picture itself is not copied.

    Args:
        ends: lowest and highest value of what it is shown with, see `as_seen`.
        most: dots on a side of its overview.
    """

    kind = "image/png"
    nbytes = 0  # the picture is the data's own

    def __init__(self, image: np.ndarray, ends: tuple[float, float], most: int) -> None:
        self._image, self._ends = image, ends
        self._levels = levels(every(image.shape, most))

    def tile(self, level: int, column: int, row: int) -> bytes:
        """A PNG of at most `SIDE` by `SIDE` dots; raises `LookupError` where there is none."""
        if not 0 <= level < self._levels:
            raise LookupError(f"There are levels 0 to {self._levels - 1}; found {level}.")
        size = SIDE << level
        part = self._image[:, _part(row, size), _part(column, size)]
        if column < 0 or row < 0 or not part.size:
            raise LookupError(f"There is no tile {column}, {row} at level {level}.")
        return png(as_seen(in_blocks(part, 1 << level), self._ends))

    def about(self) -> bytes:
        """Nothing is needed but the tiles."""
        return b"{}"


class MapTiles:
    """A map in steps of one byte, from -127 to 127, as the overview has them; made at the first request.

    Args:
        values: ``(1 | c, h, w)``; channels are summed.
        limit: where the colour is full; the overview's own.
        most: dots on a side of the overview.
    """

    kind = "application/octet-stream"

    def __init__(self, values: np.ndarray, limit: float, most: int) -> None:
        self._values: np.ndarray | None = values
        self._limit = limit
        self._count = levels(every(values.shape, most))
        self._levels: list[np.ndarray] = []
        self._turn = threading.Lock()

    @property
    def nbytes(self) -> int:
        """Of the values, until there are steps in their place."""
        held = self._levels if self._values is None else [self._values]
        return sum(each.nbytes for each in held)

    def tile(self, level: int, column: int, row: int) -> bytes:
        """Steps row after row, one signed byte each; raises `LookupError` where there is no such tile."""
        if not 0 <= level < self._count:
            raise LookupError(f"There are levels 0 to {self._count - 1}; found {level}.")
        part = self._made()[level][_part(row, SIDE), _part(column, SIDE)]
        if column < 0 or row < 0 or not part.size:
            raise LookupError(f"There is no tile {column}, {row} at level {level}.")
        return part.tobytes()

    def about(self) -> bytes:
        """``{"counts": [[dots with step ±0, ±1, … ±127], …]}``, for each level: from them follows from which step on a share is shown."""
        return json.dumps({"counts": [_counts(each) for each in self._made()]}).encode()

    def _made(self) -> list[np.ndarray]:
        with self._turn:
            if self._values is not None:
                whole = flat(self._values)
                self._levels = [steps_of(in_blocks(whole, 1 << n), self._limit) for n in range(self._count)]
                self._values = None
        return self._levels


def _part(place: int, size: int) -> slice:
    return slice(place * size, (place + 1) * size)


def _counts(steps: np.ndarray) -> list[int]:
    """How often each size of a step occurs; some rows at a time, for they are counted as wide integers."""
    found = np.zeros(128, dtype=np.int64)
    for start in range(0, len(steps), COUNTED):
        found += np.bincount(np.abs(steps[start : start + COUNTED]).ravel(), minlength=128)
    return [int(count) for count in found]
