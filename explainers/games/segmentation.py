"""Pictures divided into segments: a grid of squares, or superpixels that follow edges.

Superpixels are SLIC's (Achanta et al. 2012, doi 10.1109/TPAMI.2012.120) as scikit-image computes them: k-means in colour and place.
Nothing is drawn by chance, so the same picture always has the same segments.
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
    return np.array([superpixels(picture, about) for picture in pictures], dtype=np.int64).reshape(
        m, height, width
    )


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

    Where fewer than half of `about` are found, place weighs more, up to nearly squares.
    """
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
    m, channels = pictures.shape[:2]
    most = int(segments.max(initial=0)) + 1
    index = (segments + most * np.arange(m)[:, None, None]).ravel()
    pixels = np.maximum(np.bincount(index, minlength=m * most), 1)
    out = np.empty(pictures.shape, dtype=np.float32)
    for channel in range(channels):
        sums = np.bincount(index, weights=pictures[:, channel].ravel(), minlength=m * most)
        out[:, channel] = (sums / pixels)[index].reshape(segments.shape)
    return out
