"""Pictures read at places that the model computes itself: spatial transformers, deformable and dense prediction heads."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from explainers.onnx.graph import TYPES
from explainers.onnx.operators.operator import Attributes, Operator, axis_of, sizes

MODES = {"linear": "bilinear", "cubic": "bicubic"}


class GridSample(Operator):
    """x (batch, channels, *space) at the places of a grid (batch, *places, axes), whose edges are -1 and 1."""

    def configure(self, attributes: Attributes) -> None:
        mode = attributes.text("mode", "linear")
        self.mode = MODES.get(mode, mode)
        self.padding = attributes.text("padding_mode", "zeros")
        self.corners = bool(attributes.integer("align_corners", 0))

    def compute(self, x: Tensor, grid: Tensor) -> Tensor:
        return functional.grid_sample(
            x, grid.to(x.dtype), mode=self.mode, padding_mode=self.padding, align_corners=self.corners
        )


class AffineGrid(Operator):
    """The grid of an affine map theta (batch, axes, axes + 1) for a result of a given size."""

    def configure(self, attributes: Attributes) -> None:
        self.corners = bool(attributes.integer("align_corners", 0))

    def compute(self, theta: Tensor, size: Tensor) -> Tensor:
        sides = sizes(size)
        self.refuse_giant([sides[0], *sides[2:], len(sides) - 2])
        return functional.affine_grid(theta, sides, align_corners=self.corners)


class CenterCropPad(Operator):
    """Each axis cut or filled with 0 to a given size, the same on both sides; an odd cell more at the end."""

    def configure(self, attributes: Attributes) -> None:
        self.axes = attributes.integers("axes")

    def compute(self, x: Tensor, shape: Tensor) -> Tensor:
        pads = [(0, 0)] * x.dim()
        for axis, wanted in zip(self.axes or range(x.dim()), sizes(shape), strict=True):
            place = axis_of(axis, x)
            more = wanted - x.shape[place]
            before = more // 2 if more > 0 else -(-more // 2)
            pads[place] = before, more - before
        self.refuse_giant(side + b + a for side, (b, a) in zip(x.shape, pads, strict=True))
        return functional.pad(x, [side for pair in reversed(pads) for side in pair])


class Identities(Operator):
    """EyeLike: ones on a diagonal of a matrix as large as another."""

    def configure(self, attributes: Attributes) -> None:
        self.offset = attributes.integer("k", 0)
        self.dtype = TYPES.get(attributes.integer("dtype", 0))

    def compute(self, x: Tensor) -> Tensor:
        ones = torch.ones_like(x, dtype=self.dtype or x.dtype)
        return torch.triu(torch.tril(ones, self.offset), self.offset)
