"""Whole numbers that stand for real ones: (q - zero) * scale, for the whole tensor, for each channel, or for each block."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from explainers.onnx.errors import PREDICT_ONLY, UnsupportedOnnx
from explainers.onnx.graph import TYPES, Data
from explainers.onnx.operators.operator import Attributes, Operator, axis_of


class Quantized(Operator):
    """Base: where the scales lie."""

    roles = ("x", "scale", "zero")
    statistics = frozenset({"scale"})
    any_type = True

    def configure(self, attributes: Attributes) -> None:
        self.axis = attributes.integer("axis", 1)
        self.block = attributes.integer("block_size", 0)
        self.to_type = TYPES.get(attributes.integer("output_dtype", 0))
        attributes.ignore("saturate", "precision")

    def spread(self, scale: Tensor, x: Tensor) -> Tensor:
        """Scales or zeros in a shape that broadcasts against x."""
        if scale.numel() == 1:
            return scale.reshape(())
        axis = axis_of(self.axis, x)
        if self.block:
            return scale.repeat_interleave(self.block, axis).narrow(axis, 0, x.shape[axis])
        return scale.reshape([-1 if i == axis else 1 for i in range(x.dim())])


class DequantizeLinear(Quantized):
    """(q - zero) * scale: weights kept in 8 bits or fewer become numbers again."""

    def compute(self, x: Data, scale: Tensor, zero: Data | None = None) -> Tensor:
        numbers = _real(x)
        moved = numbers if zero is None else numbers - self.spread(_real(zero), numbers)
        return (moved * self.spread(scale.float(), numbers)).to(self.to_type or scale.dtype)


class QuantizeLinear(Quantized):
    """round(x / scale) + zero within the whole numbers of its type: a staircase, which stops gradients."""

    has_gradient = False

    def compute(self, x: Tensor, scale: Tensor, zero: Data | None = None) -> Tensor:
        like = torch.empty(0, dtype=self.to_type or torch.uint8) if zero is None else zero
        if not isinstance(like, Tensor) or like.is_floating_point():
            raise UnsupportedOnnx(
                f"QuantizeLinear to a type that torch lacks is not evaluated here: {PREDICT_ONLY}."
            )
        steps = torch.round(x.float() / self.spread(scale.float(), x))
        moved = steps if zero is None else steps + self.spread(_real(zero), x)
        ends = torch.iinfo(like.dtype)
        return moved.clamp(ends.min, ends.max).to(torch.int64).to(like.dtype)


def _real(value: Data) -> Tensor:
    """As 32-bit numbers; types of 2 and 4 bits and small floats arrive as arrays."""
    return value.float() if isinstance(value, Tensor) else torch.from_numpy(value.astype(np.float32))
