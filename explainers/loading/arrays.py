"""numpy's own array format, read without believing its head."""

from __future__ import annotations

import io

import numpy as np


def read_array(content: io.BytesIO, size: int) -> np.ndarray:
    """An array of plain values from ``size`` bytes; raises ``ValueError`` before making one larger than these bytes."""
    try:
        version = np.lib.format.read_magic(content)
        read = (
            np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        )
        shape, _, kind = read(content)
    except Exception as error:  # the head is read by Python's own parser, which raises whatever it provokes
        raise ValueError(f"an array has no proper head ({type(error).__name__})") from error
    if kind.hasobject:
        raise ValueError("it holds Python objects")
    if min(shape, default=0) < 0 or int(np.prod(shape, dtype=object)) * kind.itemsize > size:
        raise ValueError("an array claims more numbers than it holds")
    content.seek(0)
    return np.asarray(np.lib.format.read_array(content, allow_pickle=False))
