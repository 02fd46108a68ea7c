"""Digests: the same content has the same digest, in every process."""

from __future__ import annotations

import hashlib
import secrets
from typing import Any

import numpy as np
import pandas as pd

#: Arrays of so many bytes are hashed where they lie.
LARGE = 2**20


def digest_of(*parts: Any) -> str:
    """SHA-256 of bytes, text, arrays and frames, in order; lengths are hashed too, so parts cannot run together."""
    total = hashlib.sha256()
    for part in parts:
        if isinstance(part, np.ndarray) and part.dtype != object and part.nbytes >= LARGE:
            head, values = _head(part), np.ascontiguousarray(part).reshape(-1).view(np.uint8)
            total.update((len(head) + len(values)).to_bytes(8, "little"))
            total.update(head)
            total.update(values)  # type: ignore[arg-type]  # anything with a buffer
            continue
        content = _bytes(part)
        total.update(len(content).to_bytes(8, "little"))
        total.update(content)
    return total.hexdigest()


def random_digest() -> str:
    """The identity of an object wrapped in memory: its content cannot be hashed, so it is never shared."""
    return "object:" + secrets.token_hex(16)


def _bytes(part: Any) -> bytes:
    if isinstance(part, bytes):
        return part
    if isinstance(part, pd.DataFrame):
        return digest_of(
            *map(str, part.columns), *(_column(part.iloc[:, i]) for i in range(part.shape[1]))
        ).encode()
    if isinstance(part, np.ndarray):
        if part.dtype == object:
            return "\x1f".join(map(repr, part.tolist())).encode("utf-8", "surrogatepass")
        return _head(part) + np.ascontiguousarray(part).tobytes()
    return repr(part).encode("utf-8", "surrogatepass")


def _head(part: np.ndarray) -> bytes:
    return str((part.dtype.str, part.shape)).encode()


def _column(column: pd.Series) -> np.ndarray:
    if pd.api.types.is_numeric_dtype(column.dtype) and isinstance(column.dtype, np.dtype):
        return np.asarray(column.to_numpy())
    return np.asarray(column.astype(object).to_numpy(), dtype=object)
