"""How much of a map lies in a region of the picture, and how much does in the same region laid elsewhere.

    share = Σ_{p in region} max(φ_p, 0) / Σ_p max(φ_p, 0)

where φ_p is the sum of the channels at pixel p. A share alone says little: a map that peaks in the middle of every picture
puts much of itself into any region there, and a large region always has much. Beside it stand therefore the region's part
of the picture (what a flat map would have) and the shares of the same shape at every other place where it fits wholly into the
picture, by one correlation over Fourier transforms.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from explainers.errors import InvalidSetting
from explainers.quality.random_maps import summed


@dataclass(frozen=True)
class RegionShare:
    """How much of the positive relevance lies in a region.

    Attributes:
        share: from 0 to 1; NaN where nothing in the map is positive.
        area: the region's part of the picture's pixels.
        null_mean, null_95: mean and 95th percentile of the share over the other places; NaN where there is none.
        less: the part of the other places with a smaller share than the region's own; NaN where there is none.
        places: at how many other places the region fits.
    """

    share: float
    area: float
    null_mean: float
    null_95: float
    less: float
    places: int


def region_share(values: Float[np.ndarray, "*c h w"], mask: Bool[np.ndarray, "a b"]) -> RegionShare:
    """The share of positive relevance inside a region, beside its area and the same region everywhere else.

    Args:
        values: one map, ``(h, w)`` or ``(c, h, w)``; channels are summed, NaN counts as nothing.
        mask: which pixels are in the region, ``(h, w)``.

    Raises `InvalidSetting` where the shapes differ or the region has no pixel.

    >>> region_share(np.array([[3.0, -1.0], [1.0, 0.0]]), np.array([[True, False], [False, False]])).share
    0.75
    """
    flat = _summed(np.asarray(values))
    mask = np.asarray(mask, dtype=bool)
    if flat.shape != mask.shape:
        raise InvalidSetting(f"The region has shape {mask.shape} and the map {flat.shape}; make them equal.")
    if not mask.any():
        raise InvalidSetting("The region has no pixel. Draw it larger.")
    positive = np.maximum(flat, 0.0, out=flat)
    total = float(positive.sum())
    area = float(mask.mean())
    if total == 0.0:
        return RegionShare(np.nan, area, np.nan, np.nan, np.nan, 0)
    share = float(positive[mask].sum()) / total
    positive /= total
    others = _elsewhere(positive, mask)
    if not len(others):
        return RegionShare(share, area, np.nan, np.nan, np.nan, 0)
    # a place that differs by the rounding of the transforms only is no smaller
    less = float((others < share - 1e-9).mean())
    return RegionShare(share, area, float(others.mean()), float(np.percentile(others, 95)), less, len(others))


def _summed(values: np.ndarray) -> np.ndarray:
    if values.ndim not in (2, 3):
        raise InvalidSetting(f"A map has shape (h, w) or (c, h, w); got {values.shape}.")
    return summed(values if values.ndim == 3 else values[None])


def _elsewhere(weights: Float[np.ndarray, "h w"], mask: Bool[np.ndarray, "h w"]) -> Float[np.ndarray, " n"]:
    """The sum of the weights under the mask at every place where its bounding box fits, but for its own."""
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    top, left = int(rows[0]), int(columns[0])
    shape = mask[top : rows[-1] + 1, left : columns[-1] + 1].astype(np.float64)
    size = weights.shape
    turned = np.fft.rfft2(shape, size)
    np.conjugate(turned, out=turned)
    turned *= np.fft.rfft2(weights)
    sums = np.fft.irfft2(turned, size)
    del turned
    fits = sums[: size[0] - shape.shape[0] + 1, : size[1] - shape.shape[1] + 1]
    own = np.zeros(fits.shape, dtype=bool)
    own[top, left] = True
    others = fits[~own]
    return np.asarray(np.clip(others, 0.0, 1.0, out=others))
