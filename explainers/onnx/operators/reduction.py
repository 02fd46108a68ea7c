"""Sums, means, extremes and norms over axes."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from explainers.onnx.operators.operator import Attributes, Operator, sizes


def _product(x: Tensor, axes: tuple[int, ...], keepdim: bool) -> Tensor:
    """torch multiplies along one axis at a time; from the last to the first, so that the numbers stay right."""
    for axis in sorted((a % x.dim() for a in axes), reverse=True):
        x = torch.prod(x, axis, keepdim=keepdim, dtype=x.dtype)
    return x


def _extreme(largest: bool, x: Tensor, axes: tuple[int, ...], keepdim: bool) -> Tensor:
    """Of no values it is what any value would beat, which torch has no answer for."""
    if not axes:
        return x
    if not math.prod(x.shape[axis] for axis in axes):
        shape = [1 if i in {a % x.dim() for a in axes} else side for i, side in enumerate(x.shape)]
        empty = x.new_full(shape, _beaten_by_all(x.dtype, largest))
        return empty if keepdim else empty.squeeze(axes)
    return (torch.amax if largest else torch.amin)(x, axes, keepdim=keepdim)


def _beaten_by_all(dtype: torch.dtype, largest: bool) -> float | int | bool:
    if dtype == torch.bool:
        return not largest
    if dtype.is_floating_point:
        return -torch.inf if largest else torch.inf
    return torch.iinfo(dtype).min if largest else torch.iinfo(dtype).max


def _sum(x: Tensor, axes: tuple[int, ...], keepdim: bool) -> Tensor:
    return torch.sum(x, axes, keepdim=keepdim, dtype=x.dtype) if axes else x


REDUCTIONS: dict[str, Callable[[Tensor, tuple[int, ...], bool], Tensor]] = {
    "ReduceSum": _sum,
    "ReduceMean": lambda x, axes, keep: torch.mean(x, axes, keepdim=keep) if axes else x,
    "ReduceMax": lambda x, axes, keep: _extreme(True, x, axes, keep),
    "ReduceMin": lambda x, axes, keep: _extreme(False, x, axes, keep),
    "ReduceProd": _product,
    "ReduceL1": lambda x, axes, keep: _sum(x.abs(), axes, keep),
    # Not sqrt(sum of squares): its gradient at 0 is NaN, that of the norm is 0.
    "ReduceL2": lambda x, axes, keep: torch.linalg.vector_norm(x, 2, axes, keepdim=keep) if axes else x,
    "ReduceSumSquare": lambda x, axes, keep: _sum(x.square(), axes, keep),
    "ReduceLogSum": lambda x, axes, keep: _sum(x, axes, keep).log(),
    "ReduceLogSumExp": lambda x, axes, keep: torch.logsumexp(x, axes, keepdim=keep) if axes else x,
}


class Reduce(Operator):
    """One of REDUCTIONS; axes are an attribute in older opsets and an input in newer ones, all axes if left out."""

    def configure(self, attributes: Attributes) -> None:
        self.axes = attributes.integers("axes")
        self.keepdims = bool(attributes.integer("keepdims", 1))
        self.empty_means_none = bool(attributes.integer("noop_with_empty_axes", 0))

    def compute(self, x: Tensor, axes: Tensor | None = None) -> Tensor:
        chosen = self.axes or (sizes(axes) if axes is not None else [])
        if not chosen and not self.empty_means_none:
            chosen = list(range(x.dim()))
        return REDUCTIONS[self.op_type](x, tuple(chosen), self.keepdims)


class ArgExtreme(Operator):
    """Position of the largest or smallest value, the first or the last of equal ones; it has no gradient."""

    any_type = True
    has_gradient = False

    def configure(self, attributes: Attributes) -> None:
        self.axis = attributes.integer("axis", 0)
        self.keepdims = bool(attributes.integer("keepdims", 1))
        self.picks_last = bool(attributes.integer("select_last_index", 0))

    def compute(self, x: Tensor) -> Tensor:
        function = torch.argmax if self.op_type == "ArgMax" else torch.argmin
        if not self.picks_last:
            return function(x, self.axis, keepdim=self.keepdims)
        return x.shape[self.axis] - 1 - function(x.flip(self.axis), self.axis, keepdim=self.keepdims)


class CumulativeSum(Operator):
    """CumSum along one axis, optionally from the end, optionally without the current element."""

    def configure(self, attributes: Attributes) -> None:
        self.exclusive = bool(attributes.integer("exclusive", 0))
        self.reverse = bool(attributes.integer("reverse", 0))

    def compute(self, x: Tensor, axis: Tensor) -> Tensor:
        along = int(axis)
        directed = x.flip(along) if self.reverse else x
        total = torch.cumsum(directed, along, dtype=x.dtype)
        total = total - directed if self.exclusive else total
        return total.flip(along) if self.reverse else total
