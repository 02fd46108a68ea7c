"""Coalitions that are the same: the model is asked once, and the answer is shared."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Int


def distinct(
    which: Int[np.ndarray, " t"], masks: Bool[np.ndarray, "t u"]
) -> tuple[Int[np.ndarray, " q"], Int[np.ndarray, " t"]]:
    """Where each distinct coalition of a case stands first, and for every coalition the place among those.

    Rows are packed into bits and sorted as bytes: `numpy.unique` over an axis takes some thirty times as long.
    """
    cases = np.ascontiguousarray(which, dtype=np.int64).view(np.uint8).reshape(len(which), 8)
    packed = np.ascontiguousarray(np.hstack([cases, np.packbits(masks, axis=1)]))
    keys = packed.view(f"V{packed.shape[1]}").ravel()
    _, first, shared = np.unique(keys, return_index=True, return_inverse=True)
    return first.astype(np.int64), shared.astype(np.int64)


#: Seconds after which a portion of coalitions reports, and may be stopped. Networks on pictures are quick only with several at a time.
PORTION_SECONDS, PICTURES_SECONDS = 0.2, 1.0
