"""No tensor over the limit: asked before it is allocated."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from explainers.loading.limits import Limits
from explainers.onnx.errors import UnsafeOnnx

USUAL_BYTES = 4  # of a number, where its type is not known


def refuse_giant(
    shape: Iterable[int], source: str, limits: Limits = Limits(), each: int = USUAL_BYTES
) -> None:
    """Raise UnsafeOnnx if a tensor of this shape, of `each` bytes a number, is over limits.tensor_bytes."""
    sides = tuple(int(side) for side in shape)
    if math.prod(sides) * each > limits.tensor_bytes:
        raise UnsafeOnnx(
            f"{source} asks for a tensor of shape {sides}: {math.prod(sides):,} numbers, over the limit of "
            f"{limits.tensor_bytes:,} bytes (setting limits.tensor_bytes). Export the model with realistic sizes."
        )


class SizeGuard(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch's class has no annotations
    """While it is open, every operation is tried without data first, and refused if its result would be over the limit.

    It costs some microseconds for each operation, so it is used when a file is opened, not for its predictions.
    """

    def __init__(self, limits: Limits) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.limits = limits

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = kwargs or {}
        for value in _without_data(func, args, given):
            refuse_giant(value.shape, f"{func.overloadpacket.__name__}", self.limits, value.element_size())
        return func(*args, **given)


def _without_data(func: Any, args: Any, kwargs: Any) -> list[Tensor]:
    """The results, as torch's meta tensors; none where only the numbers can tell (nonzero), which never grow."""
    if torch.Tag.inplace_view in func.tags:
        return []
    try:
        result = func(*tree_map(_meta, args), **tree_map(_meta, kwargs))
    except Exception:  # an operation without such a rule, or one that fails with data too and then says why
        return []
    return [leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]


def _meta(value: Any) -> Any:
    if isinstance(value, Tensor):
        return torch.empty_strided(value.shape, value.stride(), dtype=value.dtype, device="meta")
    return torch.device("meta") if isinstance(value, torch.device) else value
