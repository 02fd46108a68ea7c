"""Operators that pick numbers by position. Negative positions count from the end, as in Python."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from explainers.onnx.operators.operator import Attributes, Operator, axis_of, integer_tensor, sizes


class Slice(Operator):
    """start:end:step on some axes: attributes before opset 10, inputs after it. Out-of-range ends are cut off."""

    def configure(self, attributes: Attributes) -> None:
        self.starts = attributes.integers("starts") or []
        self.ends = attributes.integers("ends") or []
        self.axes = attributes.integers("axes")

    def compute(self, x: Tensor, *inputs: Tensor | None) -> Tensor:
        given = [None if value is None else sizes(value) for value in inputs] + [None] * (4 - len(inputs))
        starts, ends = given[0] or self.starts, given[1] or self.ends
        axes = given[2] or self.axes or list(range(len(starts)))
        steps = given[3] or [1] * len(starts)
        for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
            x = _slice(x, axis_of(axis, x), slice(start, end, step))
        return x


def _slice(x: Tensor, axis: int, part: slice) -> Tensor:
    start, end, step = part.indices(x.shape[axis])
    if step > 0:
        return x[(slice(None),) * axis + (slice(start, max(end, start), step),)]
    return x.index_select(
        axis, integer_tensor(list(range(start, end, step)), x)
    )  # torch has no negative steps


class Gather(Operator):
    """Whole slices of `weight` (an embedding, say) along an axis."""

    roles = ("weight", "indices")

    def configure(self, attributes: Attributes) -> None:
        self.axis = attributes.integer("axis", 0)

    def compute(self, weight: Tensor, indices: Tensor) -> Tensor:
        axis = axis_of(self.axis, weight)
        positions = _from_front(indices, weight.shape[axis])
        picked = weight.index_select(axis, positions.reshape(-1))
        return picked.reshape((*weight.shape[:axis], *indices.shape, *weight.shape[axis + 1 :]))


class GatherElements(Operator):
    """One number for each index, along an axis."""

    def configure(self, attributes: Attributes) -> None:
        self.axis = attributes.integer("axis", 0)

    def compute(self, x: Tensor, indices: Tensor) -> Tensor:
        return torch.gather(x, self.axis, _from_front(indices, x.shape[self.axis]))


class GatherND(Operator):
    """The last axis of the indices holds coordinates into x, after `batch_dims` shared axes."""

    def configure(self, attributes: Attributes) -> None:
        self.batch_dims = attributes.integer("batch_dims", 0)

    def compute(self, x: Tensor, indices: Tensor) -> Tensor:
        b, depth = self.batch_dims, indices.shape[-1]
        shared = math.prod(x.shape[:b])
        flat = x.reshape(shared, *x.shape[b:])
        coordinates = indices.reshape(shared, -1, depth).unbind(-1)
        rows = torch.arange(shared, device=x.device)[:, None]
        picked = flat[(rows, *coordinates)]
        return picked.reshape((*indices.shape[:-1], *x.shape[b + depth :]))


class ScatterND(Operator):
    """A copy of x with some cells overwritten (how exporters write an assignment to a slice), or combined with updates."""

    def configure(self, attributes: Attributes) -> None:
        self.reduction = _reduction(attributes)

    def compute(self, x: Tensor, indices: Tensor, updates: Tensor) -> Tensor:
        if self.reduction is None:
            return x.index_put(tuple(indices.unbind(-1)), updates)
        depth = indices.shape[-1]
        cells = torch.arange(math.prod(x.shape[:depth]), device=x.device).reshape(x.shape[:depth])
        rows = cells[tuple(indices.unbind(-1))].reshape(-1)
        flat = x.reshape(cells.numel(), -1)
        where = rows[:, None].expand(-1, flat.shape[1])
        return flat.scatter_reduce(0, where, updates.reshape(where.shape), self.reduction).reshape(x.shape)


class ScatterElements(Operator):
    """A copy of x with one cell overwritten, or combined, for each index along an axis."""

    def configure(self, attributes: Attributes) -> None:
        self.axis = attributes.integer("axis", 0)
        self.reduction = _reduction(attributes)

    def compute(self, x: Tensor, indices: Tensor, updates: Tensor) -> Tensor:
        positions = _from_front(indices, x.shape[self.axis])
        if self.reduction is None:
            return x.scatter(self.axis, positions, updates)
        return x.scatter_reduce(self.axis, positions, updates, self.reduction)


class TopK(Operator):
    """The k largest or smallest values along an axis, and where they stand; of equal ones the first."""

    max_outputs = 2

    def configure(self, attributes: Attributes) -> None:
        self.axis = attributes.integer("axis", -1)
        self.largest = bool(attributes.integer("largest", 1))
        self.k = attributes.integer("k", 0)
        attributes.ignore("sorted")  # unsorted may be in any order, this one too

    def compute(self, x: Tensor, k: Tensor | None = None) -> tuple[Tensor, Tensor]:
        count = self.k if k is None else int(k)
        values, places = torch.sort(x, dim=self.axis, descending=self.largest, stable=True)
        return values.narrow(self.axis, 0, count), places.narrow(self.axis, 0, count)


class NonZero(Operator):
    """Positions of the values that are not 0, one row for each axis."""

    has_gradient = False

    def compute(self, x: Tensor) -> Tensor:
        return torch.nonzero(x).T


class OneHot(Operator):
    """`on` where the new axis has the index, `off` elsewhere."""

    has_gradient = False

    def configure(self, attributes: Attributes) -> None:
        self.axis = attributes.integer("axis", -1)

    def compute(self, indices: Tensor, depth: Tensor, values: Tensor) -> Tensor:
        count = int(depth)
        self.refuse_giant([*indices.shape, count])
        axis = self.axis + indices.dim() + 1 if self.axis < 0 else self.axis
        places = torch.arange(count, device=indices.device).reshape(count, *[1] * (indices.dim() - axis))
        hit = _from_front(indices, count).unsqueeze(axis) == places
        return torch.where(hit, values[1], values[0])


def _reduction(attributes: Attributes) -> str | None:
    names = {"none": None, "add": "sum", "mul": "prod", "max": "amax", "min": "amin"}
    return names[attributes.text("reduction", "none")]


def _from_front(indices: Tensor, size: int) -> Tensor:
    return torch.where(indices < 0, indices + size, indices).long()
