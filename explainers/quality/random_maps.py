"""Maps that know nothing of the model, to compare a map with: as smooth or as rough as the map itself.

Noise of single pixels would be no fair opponent: pixels removed here and there leave a picture recognisable, and an in-painting
restores it, whatever the model looks at. A random map therefore has the amplitudes of the map's own Fourier transform (of its ranks) and the
phases of white noise, so it has spots of the same sizes elsewhere (surrogate data, Theiler and others 1992, doi
10.1016/0167-2789(92)90102-S).
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from explainers.dataset import Dataset
from explainers.errors import InvalidSetting
from explainers.explanation import Attribution

#: Sides of a map are cut into at most so many cells: orders of every pixel of a large picture would fill the memory.
CELLS = 256


def pixel_map(values: Float[np.ndarray, "c h w"]) -> Float[np.ndarray, "a b"]:
    """One number for each cell: the sum of the channels, what is not a number counting as nothing.

    A cell is a pixel, unless a side is above `CELLS`: then pixels go together in squares (`cell_side`) and have their mean.
    """
    return in_cells(summed(values), cell_side(values.shape[1:]))


def require_one_map(result: Attribution, data: Dataset) -> None:
    """Raise `InvalidSetting` for a result that holds several maps beside each other; a map for each channel is one map."""
    if len(result.names) > 1 and result.names != data.schema.names:
        raise InvalidSetting(
            f"The result holds {len(result.names)} maps of each picture: {', '.join(result.names)}. Explain with one of them."
        )


def summed(values: Float[np.ndarray, "c h w"]) -> Float[np.ndarray, "h w"]:
    """The sum of the channels in float64, one after the other; what is not a number counts as nothing."""
    total = np.zeros(values.shape[1:])
    for channel in values:
        total += np.nan_to_num(channel, nan=0.0, posinf=0.0, neginf=0.0)
    return total


def cell_side(size: tuple[int, ...]) -> int:
    """The side of the cells of a picture of this size, in pixels."""
    return -(-max(size) // CELLS)


def ranks(values: np.ndarray) -> Float[np.ndarray, " p"]:
    """Ranks from 0 of all values, flat; equal values share the mean of theirs."""
    _, place, count = np.unique(values.ravel(), return_inverse=True, return_counts=True)
    last = np.cumsum(count) - 1
    return np.asarray((last - (count - 1) / 2)[place.ravel()])


def rank_correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Spearman's correlation of two maps with their signs; 0 where one is the same everywhere: it then tells nothing."""
    a, b = (ranks(values) for values in (first, second))
    a, b = a - a.mean(), b - b.mean()
    size = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / size if size > 0 else 0.0


def random_map(like: Float[np.ndarray, "h w"], rng: np.random.Generator) -> Float[np.ndarray, "h w"]:
    """A map as rough as `like` with its spots at random places."""
    flat = ranks(like).reshape(like.shape)
    # mirrored at its borders: the transform goes round, and a jump from one border to the other would count as roughness
    wide = np.block([[flat, flat[:, ::-1]], [flat[::-1], flat[::-1, ::-1]]]) - flat.mean()
    noise = np.fft.rfft2(rng.standard_normal(wide.shape))
    turned = np.abs(np.fft.rfft2(wide)) * noise / np.maximum(np.abs(noise), 1e-300)
    return np.asarray(np.fft.irfft2(turned, wide.shape)[: like.shape[0], : like.shape[1]])


def in_cells(values: Float[np.ndarray, "h w"], cell: int) -> Float[np.ndarray, "a b"]:
    """Means over squares of a side; those at the far borders may be cut."""
    starts = [np.arange(0, side, cell) for side in values.shape]
    total = np.add.reduceat(np.add.reduceat(values, starts[0], axis=0), starts[1], axis=1)
    sizes = [np.diff([*start, side]) for start, side in zip(starts, values.shape, strict=True)]
    return np.asarray(total / np.outer(*sizes))


def places(values: Float[np.ndarray, "h w"], rng: np.random.Generator) -> Int[np.ndarray, " p"]:
    """The place of each pixel when the largest value comes first; equal values stand in a random order."""
    flat = values.ravel()
    order = np.lexsort((rng.permutation(flat.size), -flat))
    place = np.empty(flat.size, dtype=np.int64)
    place[order] = np.arange(flat.size)
    return place
