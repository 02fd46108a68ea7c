"""Pictures divided into segments: a grid of squares, or superpixels that follow edges.

Superpixels are SLIC's (Achanta et al. 2012, doi 10.1109/TPAMI.2012.120) as scikit-image computes them: k-means in colour and place.
Nothing is drawn by chance, so the same picture always has the same segments. Of a large picture they are found in a reduced copy.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Int

from explainers.errors import InvalidSetting
from explainers.lazily import lazily

segmentation: Any = lazily("skimage.segmentation")

Segments = Literal["superpixels", "grid"]

#: What place weighs against colour, tried in turn: in a noisy picture the first leaves no region of a segment's size connected.
COMPACTNESS = (1.0, 10.0, 100.0)

#: A lightness runs to 100, other channels are scaled to 1.
LAB_SCALE = 10.0
PLAIN_SCALE = 0.1

#: Pixels of a side up to which superpixels are found in the picture itself; of a larger one in means of squares, as few as that.
LARGEST = 512


def segmented(
    pictures: Float[np.ndarray, "m c h w"], segments: Segments, about: int
) -> Int[np.ndarray, "m h w"]:
    """The segment of each pixel, numbered from 0 in every picture, about `about` of them.

    Raises `InvalidSetting` for another kind of segments and for a number below 1.
    """
    if about < 1:
        raise InvalidSetting(f"A picture needs at least one segment; got {about}.")
    if segments not in ("superpixels", "grid"):
        raise InvalidSetting(f"Segments are 'superpixels' or 'grid'; got {segments!r}.")
    m, _, height, width = pictures.shape
    if segments == "grid":
        return np.repeat(grid(height, width, about)[None], m, axis=0)
    found = np.empty((m, height, width), dtype=np.int64)
    for picture, labels in zip(pictures, found, strict=True):
        labels[:] = superpixels(picture, about)
    return found


def grid(height: int, width: int, about: int) -> Int[np.ndarray, "h w"]:
    """Cells as square as `about` of them can be, numbered row by row; none is empty."""
    short, long = sorted((height, width))
    few = min(max(1, round((about * short / long) ** 0.5)), short)
    many = min(max(1, round(about / few)), long)
    down, across = (few, many) if height <= width else (many, few)
    rows, columns = np.arange(height) * down // height, np.arange(width) * across // width
    return np.asarray(rows[:, None] * across + columns, dtype=np.int64)


def superpixels(picture: Float[np.ndarray, "c h w"], about: int) -> Int[np.ndarray, "h w"]:
    """SLIC's segments of a picture with any number of channels; three are taken for red, green and blue.

    Where fewer than half of `about` are found, place weighs more, up to nearly squares. The edges of segments follow squares of
    `square_of` pixels.
    """
    _, height, width = picture.shape
    square = square_of((height, width))
    if square == 1:
        return _slic(picture, about)
    small = np.stack([_in_squares(channel, square) for channel in picture])
    return _slic(small, about).repeat(square, axis=0)[:height].repeat(square, axis=1)[:, :width]


def square_of(size: tuple[int, ...]) -> int:
    """The side of the squares of pixels that superpixels are made of: 1 but for pictures with a side above `LARGEST`."""
    return -(-max(size) // LARGEST)


def _in_squares(values: Float[np.ndarray, "h w"], side: int) -> Float[np.ndarray, "a b"]:
    """Means over squares; those at the far borders may be cut."""
    across, down = (np.arange(0, length, side) for length in values.shape[::-1])
    total = np.add.reduceat(np.add.reduceat(values, across, axis=1, dtype=np.float64), down, axis=0)
    counts = [np.diff([*starts, n]) for starts, n in zip((down, across), values.shape, strict=True)]
    return np.asarray(total / np.outer(*counts))


def _slic(picture: Float[np.ndarray, "c h w"], about: int) -> Int[np.ndarray, "h w"]:
    channels, height, width = picture.shape
    about = min(about, height * width)
    found = np.zeros((height, width), dtype=np.int64)
    for compactness in COMPACTNESS:
        labels = segmentation.slic(
            np.moveaxis(picture, 0, 2).astype(np.float64),
            n_segments=about,
            compactness=compactness * (LAB_SCALE if channels == 3 else PLAIN_SCALE),
            channel_axis=2,
            convert2lab=channels == 3,
            start_label=0,
        )
        _, numbers = np.unique(labels, return_inverse=True)
        found = numbers.reshape(height, width).astype(np.int64)
        if 2 * (found.max() + 1) >= about:
            break
    return found


def segment_means(
    pictures: Float[np.ndarray, "m c h w"], segments: Int[np.ndarray, "m h w"]
) -> Float[np.ndarray, "m c h w"]:
    """Every pixel as the mean colour of its segment: what lime shows where a segment is absent."""
    out = np.empty(pictures.shape, dtype=np.float32)
    for picture, labels, mean in zip(pictures, segments, out, strict=True):
        index = labels.ravel()
        pixels = np.maximum(np.bincount(index), 1)
        for values, shown in zip(picture, mean, strict=True):
            colours = (np.bincount(index, weights=values.ravel()) / pixels).astype(np.float32)
            np.take(colours, labels, out=shown, mode="clip")  # no label is out of bounds; so no copy is made
    return out
