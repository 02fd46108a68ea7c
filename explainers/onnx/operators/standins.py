"""Values that torch cannot compute with, while an operator runs that does not mind: text as codes, wide integers as int64."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from explainers.errors import ModelFailure
from explainers.onnx.graph import Array, Data

UNSIGNED = (torch.uint16, torch.uint32, torch.uint64)

# Operators that move or compare values and never compute with them.
MOVERS = frozenset(
    """
    ArrayFeatureExtractor Concat Equal Expand Flatten Gather GatherElements GatherND Identity Reshape ScatterND
    Slice Split Squeeze Tile Transpose Unsqueeze Where
    """.split()  # noqa: SIM905  # words, not a column of quotation marks
)


def with_standins(compute: Callable[..., Any], values: Sequence[Data | None], moves: bool) -> Any:
    """The operator's result for values of any type; integers among the results stand for what went in.

    Args:
        moves: whether the operator is one of MOVERS.
    """
    text = [value for value in values if isinstance(value, np.ndarray) and value.dtype == object]
    if moves and text:
        words, codes = np.unique(np.concatenate([part.reshape(-1) for part in text]), return_inverse=True)
        parts = iter(np.split(codes.reshape(-1), np.cumsum([part.size for part in text])[:-1]))
        coded = [_coded(value, parts) if isinstance(value, np.ndarray) else value for value in values]
        return _each(compute(*coded), lambda r: words[r.numpy()] if r.dtype == torch.int64 else r)
    unsigned = [v.dtype for v in values if isinstance(v, Tensor) and v.dtype in UNSIGNED]
    if unsigned:
        signed = [_signed(value) if isinstance(value, Tensor) else value for value in values]
        result = compute(*signed)
        if isinstance(result, tuple) and not moves:  # the first holds values, the others where they stood
            return _back(result[0], unsigned[0]), *result[1:]
        return _each(result, lambda r: _back(r, unsigned[0]))
    return compute(*values)


def _coded(value: Array, parts: Any) -> Tensor:
    return torch.from_numpy(next(parts).reshape(value.shape).astype(np.int64))


def _signed(value: Tensor) -> Tensor:
    if value.dtype not in UNSIGNED:
        return value
    signed = value.to(torch.int64)
    if value.dtype == torch.uint64 and bool((signed < 0).any()):
        raise ModelFailure("The model computes with integers over 2^63, which are not evaluated here.")
    return signed


def _back(result: Tensor, dtype: torch.dtype) -> Tensor:
    return result.to(dtype) if result.dtype == torch.int64 else result


def _each(result: Any, convert: Callable[[Tensor], Data]) -> Any:
    return tuple(map(convert, result)) if isinstance(result, tuple) else convert(result)
