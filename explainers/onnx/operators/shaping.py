"""Operators that move numbers without changing them, and those that compute with shapes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from explainers.onnx.graph import Data
from explainers.onnx.operators.operator import Attributes, Operator, axis_of, integer_tensor, sizes

_BATCH: ContextVar[tuple[int, int] | None] = ContextVar("batch", default=None)


@contextmanager
def batch_size(declared: int | None, real: int) -> Iterator[None]:
    """While it is open, Reshape puts the real batch in the place of the batch that the file was exported with."""
    token = _BATCH.set(None if declared in (None, real) else (declared or 0, real))
    try:
        yield
    finally:
        _BATCH.reset(token)


class Reshape(Operator):
    """New shape for the same numbers; 0 keeps a size, -1 is worked out.

    A model exported with a fixed batch often holds constant shapes such as (1, 256). Where the constant starts with
    the declared batch and the run has another batch, the first size is replaced by the real one. That this guess
    is right for a model is not taken on trust: check_against_runtime compares a whole batch with single runs.
    """

    roles = ("x", "shape")

    def configure(self, attributes: Attributes) -> None:
        self.zero_is_size = bool(attributes.integer("allowzero", 0))

    def compute(self, x: Tensor, shape: Tensor) -> Tensor:
        target = sizes(shape)
        batch = _BATCH.get()
        if batch and target and self.is_held("shape") and target[0] == batch[0]:
            target[0] = batch[1]
        if not self.zero_is_size:
            target = [x.shape[i] if size == 0 else size for i, size in enumerate(target)]
        return torch.reshape(x, tuple(target))


class Flatten(Operator):
    """Two axes: everything before `axis`, everything from it on."""

    def configure(self, attributes: Attributes) -> None:
        self.axis = attributes.integer("axis", 1)

    def compute(self, x: Tensor) -> Tensor:
        axis = axis_of(self.axis, x)
        return x.reshape(math.prod(x.shape[:axis]), math.prod(x.shape[axis:]))


class Transpose(Operator):
    """Axes in another order, reversed if none is given."""

    def configure(self, attributes: Attributes) -> None:
        self.order = attributes.integers("perm")

    def compute(self, x: Tensor) -> Tensor:
        return x.permute(self.order or list(reversed(range(x.dim()))))


class Concat(Operator):
    """Tensors joined along an axis."""

    def configure(self, attributes: Attributes) -> None:
        self.axis = attributes.integer("axis", 0)

    def compute(self, *values: Tensor) -> Tensor:
        return torch.cat(values, self.axis)


class Split(Operator):
    """One tensor cut along an axis, into stated sizes or into equal parts of which the last may be smaller."""

    max_outputs = 1024

    def configure(self, attributes: Attributes) -> None:
        self.axis = attributes.integer("axis", 0)
        self.parts = attributes.integers("split")
        attributes.ignore("num_outputs")  # the same as the number of outputs that the node names

    def compute(self, x: Tensor, parts: Tensor | None = None) -> tuple[Tensor, ...]:
        cuts = self.parts if parts is None else sizes(parts)
        cuts = cuts or self._even(x.shape[self.axis])
        return torch.split(x, cuts, self.axis)

    def _even(self, size: int) -> list[int]:
        step = math.ceil(size / self.outputs)
        return [max(min(step, size - i * step), 0) for i in range(self.outputs)]


class Squeeze(Operator):
    """Remove axes of size 1: the stated ones, or all."""

    def configure(self, attributes: Attributes) -> None:
        self.axes = attributes.integers("axes")

    def compute(self, x: Tensor, axes: Tensor | None = None) -> Tensor:
        chosen = self.axes if axes is None else sizes(axes)
        return x.squeeze() if chosen is None else x.squeeze(tuple(chosen))


class Unsqueeze(Operator):
    """Insert axes of size 1; positions count in the result."""

    def configure(self, attributes: Attributes) -> None:
        self.axes = attributes.integers("axes")

    def compute(self, x: Tensor, axes: Tensor | None = None) -> Tensor:
        chosen = self.axes or [] if axes is None else sizes(axes)
        rank = x.dim() + len(chosen)
        for axis in sorted(a % rank for a in chosen):
            x = x.unsqueeze(axis)
        return x


class Expand(Operator):
    """Broadcast to a shape, in both directions."""

    def compute(self, x: Tensor, shape: Tensor) -> Tensor:
        target = _broadcast(list(x.shape), sizes(shape))
        self.refuse_giant(target)
        return x.expand(target)


def _broadcast(first: list[int], second: list[int]) -> list[int]:
    """numpy's rule; a mismatch is left for expand to report."""
    rank = max(len(first), len(second))
    left, right = ([1] * (rank - len(s)) + s for s in (first, second))
    return [b if a == 1 else a for a, b in zip(left, right, strict=True)]


class Tile(Operator):
    """Repeat along each axis."""

    def compute(self, x: Tensor, repeats: Tensor) -> Tensor:
        counts = sizes(repeats)
        self.refuse_giant(size * count for size, count in zip(x.shape, counts, strict=True))
        return x.repeat(counts)


class Pad(Operator):
    """Add cells before and after; `axes` and the fill value are inputs from opset 11, pads too."""

    def configure(self, attributes: Attributes) -> None:
        self.mode = attributes.text("mode", "constant")
        self.pads = attributes.integers("pads")
        self.value = attributes.number("value", 0.0)

    def compute(
        self, x: Tensor, pads: Tensor | None = None, value: Tensor | None = None, axes: Tensor | None = None
    ) -> Tensor:
        amounts = self.pads or [] if pads is None else sizes(pads)
        chosen = list(range(x.dim())) if axes is None else [axis_of(a, x) for a in sizes(axes)]
        before, after = [0] * x.dim(), [0] * x.dim()
        for i, axis in enumerate(chosen):
            before[axis], after[axis] = amounts[i], amounts[i + len(chosen)]
        self.refuse_giant(b + s + a for b, s, a in zip(before, x.shape, after, strict=True))
        if self.mode == "constant":
            flat = [side for pair in zip(reversed(before), reversed(after), strict=True) for side in pair]
            return functional.pad(x, flat, value=self.value if value is None else value.item())
        for axis in chosen:
            x = x.index_select(
                axis, integer_tensor(self._sources(x.shape[axis], before[axis], after[axis]), x)
            )
        return x

    def _sources(self, size: int, before: int, after: int) -> list[int]:
        """Which cell each cell of the result copies."""
        positions = range(-before, size + after)
        if self.mode == "edge":
            return [min(max(p, 0), size - 1) for p in positions]
        if self.mode == "wrap":
            return [p % size for p in positions]
        period = max(2 * (size - 1), 1)
        return [min(p % period, period - p % period) if size > 1 else 0 for p in positions]


class Shape(Operator):
    """The sizes of the axes from `start` to `end`."""

    any_type = True

    def configure(self, attributes: Attributes) -> None:
        self.start = attributes.integer("start", 0)
        self.end = attributes.integer("end", 2**31)

    def compute(self, x: Data) -> Tensor:
        return _counts(x.shape[self.start : self.end], x)


def _counts(values: tuple[int, ...] | int, of: Data) -> Tensor:
    return torch.tensor(values, dtype=torch.int64, device=of.device if isinstance(of, Tensor) else None)


class Size(Operator):
    """The number of elements."""

    any_type = True

    def compute(self, x: Data) -> Tensor:
        return _counts(math.prod(x.shape), x)


class ConstantOfShape(Operator):
    """One value everywhere; the size is checked before anything is allocated."""

    def configure(self, attributes: Attributes) -> None:
        self.value = attributes.tensor("value", torch.zeros(1))
        if attributes.array("value") is not None:
            attributes.refuse("an element type that torch lacks")

    def compute(self, shape: Tensor) -> Tensor:
        self.refuse_giant(sizes(shape))
        return self.value.to(shape.device).reshape(()).expand(sizes(shape))


class Constant(Operator):
    """A value written in the graph, in one of several spellings."""

    any_type = True

    def configure(self, attributes: Attributes) -> None:
        attributes.ignore(*attributes.node.attributes)
        (value,) = attributes.node.attributes.values()
        text = isinstance(value, str) or (isinstance(value, tuple) and any(isinstance(v, str) for v in value))
        self.value = np.array(value, dtype=object) if text else value

    def compute(self) -> Data:
        return self.value if isinstance(self.value, np.ndarray) else torch.as_tensor(self.value)


class Range(Operator):
    """start, start + delta, ... up to but without the limit."""

    def compute(self, start: Tensor, limit: Tensor, delta: Tensor) -> Tensor:
        count = max(math.ceil((limit.item() - start.item()) / delta.item()), 0)
        self.refuse_giant([count])
        return start + torch.arange(count, device=start.device).to(start.dtype) * delta


class Triangle(Operator):
    """Trilu: the upper or lower triangle, the rest 0."""

    def configure(self, attributes: Attributes) -> None:
        self.upper = bool(attributes.integer("upper", 1))

    def compute(self, x: Tensor, diagonal: Tensor | None = None) -> Tensor:
        offset = 0 if diagonal is None else int(diagonal)
        return torch.triu(x, offset) if self.upper else torch.tril(x, offset)


class SpaceToDepth(Operator):
    """Blocks of pixels become channels, and DepthToSpace back; the block is the outer (DCR) or inner (CRD) part."""

    def configure(self, attributes: Attributes) -> None:
        self.block = attributes.integer("blocksize", 1)
        self.mode = attributes.text("mode", "DCR")

    def compute(self, x: Tensor) -> Tensor:
        b = self.block
        n, c, h, w = x.shape
        if self.op_type == "SpaceToDepth":
            order = (0, 3, 5, 1, 2, 4) if self.mode == "DCR" else (0, 1, 3, 5, 2, 4)
            split = x.reshape(n, c, h // b, b, w // b, b).permute(order)
            return split.reshape(n, c * b * b, h // b, w // b)
        if self.mode == "DCR":
            split = x.reshape(n, b, b, c // (b * b), h, w).permute(0, 3, 4, 1, 5, 2)
        else:
            split = x.reshape(n, c // (b * b), b, b, h, w).permute(0, 1, 4, 2, 5, 3)
        return split.reshape(n, c // (b * b), h * b, w * b)
