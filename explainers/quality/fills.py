"""What pixels show that are taken away: the mean colour, the picture blurred, or an in-painting from those that are left."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float

from explainers.dataset import Dataset
from explainers.masking import LARGE_ROW, blurred

Fill = Literal["mean", "blur", "inpaint"]
Removed = Bool[np.ndarray, "n a b"]

#: Pictures that the mean colour is taken of.
COLOUR_CASES = 256


def filler(
    picture: Float[np.ndarray, "1 c h w"], data: Dataset, fill: Fill, cell: int
) -> tuple[Callable[[Removed], Float[np.ndarray, "n c h w"]], str]:
    """From masks of the cells that are taken away to pictures, and the fill in words.

    Cells are squares with a side of `cell` pixels. The mean colour is that of training pictures, where those are known.
    """
    chosen = data.sample(COLOUR_CASES)
    colour = _colour(data.X, chosen)
    if fill == "inpaint":
        from explainers.quality.inpainting import inpainted

        def painted(removed: Removed) -> Float[np.ndarray, "n c h w"]:
            shown = np.broadcast_to(picture, (len(removed), *picture.shape[1:]))
            return inpainted(shown, _pixels(removed, cell, picture), colour)

        return painted, "colours painted in from the pixels that are left"
    if fill == "blur":
        instead, words = blurred(picture), "the picture itself, blurred"
    else:
        instead = np.broadcast_to(colour[:, None, None], picture.shape)
        words = f"the mean colour of {len(chosen)} picture{'s' if len(chosen) != 1 else ''}"
    return lambda removed: np.where(_pixels(removed, cell, picture)[:, None], instead, picture), words


def _colour(pictures: Float[np.ndarray, "n c h w"], chosen: np.ndarray) -> Float[np.ndarray, " c"]:
    if pictures[:1].nbytes < LARGE_ROW:
        return np.asarray(pictures[chosen].mean(axis=(0, 2, 3), dtype=np.float64), dtype=np.float32)
    means = [pictures[i].mean(axis=(1, 2), dtype=np.float64) for i in chosen]  # one by one: nothing is copied
    return np.asarray(np.mean(means, axis=0), dtype=np.float32)


def _pixels(removed: Removed, cell: int, picture: np.ndarray) -> Bool[np.ndarray, "n h w"]:
    wide = removed.repeat(cell, axis=1).repeat(cell, axis=2) if cell > 1 else removed
    return wide[:, : picture.shape[2], : picture.shape[3]]
