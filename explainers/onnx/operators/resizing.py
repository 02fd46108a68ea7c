"""Resize and Upsample: interpolation, one axis after the other.

Along one axis, output cell i reads position p(i) of the input; p depends on coordinate_transformation_mode.
Nearest copies one cell. Linear and cubic weigh two or four, which is a product with an (out, in) matrix.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from explainers.onnx.operators.operator import Attributes, Operator, axis_of, integer_tensor, sizes

COORDINATES = (
    *("half_pixel", "pytorch_half_pixel", "half_pixel_symmetric", "asymmetric", "align_corners"),
    "tf_crop_and_resize",
)
POLICIES: dict[str, Callable[[Iterable[float]], float]] = {"not_larger": min, "not_smaller": max}
ROUNDINGS: dict[str, Callable[[Tensor], Tensor]] = {
    "round_prefer_floor": lambda p: torch.ceil(p - 0.5),
    "round_prefer_ceil": lambda p: torch.floor(p + 0.5),
    "floor": torch.floor,
    "ceil": torch.ceil,
}


def source_positions(mode: str, scale: float, n: int, m: int) -> Tensor:
    """Where in an axis of n cells each of the m output cells reads."""
    i = torch.arange(m, dtype=torch.float64)
    if m == 1 and mode in ("pytorch_half_pixel", "align_corners"):
        return torch.zeros_like(i)
    if mode == "asymmetric":
        return i / scale
    if mode == "align_corners":
        return i * (n - 1) / (m - 1)
    centre = n / 2 * (1 - m / (scale * n)) if mode == "half_pixel_symmetric" else 0.0
    return centre + (i + 0.5) / scale - 0.5


def _cropped(start: float, end: float, n: int, m: int) -> Tensor:
    """The same for a part of the axis, its ends included."""
    if m == 1:
        return torch.full((1,), (start + end) / 2 * (n - 1), dtype=torch.float64)
    return start * (n - 1) + torch.arange(m, dtype=torch.float64) * (end - start) * (n - 1) / (m - 1)


class Resize(Operator):
    """Inputs x, roi (the part of the image to cut out, of one mode only), scales, sizes; of the last two one is given."""

    def configure(self, attributes: Attributes) -> None:
        self.mode = attributes.text("mode", "nearest")
        default = "half_pixel" if self.opset >= 11 and self.op_type == "Resize" else "asymmetric"
        self.coordinates = attributes.text("coordinate_transformation_mode", default)
        self.rounding = attributes.text("nearest_mode", "round_prefer_floor" if self.opset >= 11 else "floor")
        self.sharpness = attributes.number("cubic_coeff_a", -0.75)
        self.drops_outside = bool(attributes.integer("exclude_outside", 0))
        self.smooths = bool(attributes.integer("antialias", 0))
        self.axes = attributes.integers("axes")
        self.scales = attributes.numbers("scales")
        self.outside = attributes.number("extrapolation_value", 0.0)
        self.policy = attributes.text("keep_aspect_ratio_policy", "stretch")
        if self.coordinates not in COORDINATES or self.mode not in ("nearest", "linear", "cubic"):
            attributes.refuse(f"{self.mode} and {self.coordinates}")

    def compute(self, x: Tensor, *inputs: Tensor | None) -> Tensor:
        scales, targets = self._scales_and_sizes(inputs)
        axes = [axis_of(axis, x) for axis in self.axes or range(x.dim())]
        if targets and self.policy in POLICIES:
            same = POLICIES[self.policy](m / x.shape[axis] for axis, m in zip(axes, targets, strict=True))
            scales, targets = [same] * len(axes), [math.floor(same * x.shape[axis] + 0.5) for axis in axes]
        crops = self._crops(inputs, len(axes))
        beyond = []
        for i, axis in enumerate(axes):
            n = x.shape[axis]
            m = targets[i] if targets else math.floor(n * scales[i])
            scale = scales[i] if scales else m / n
            if scale != 1.0 or crops:
                self.refuse_giant([*x.shape[:axis], m, *x.shape[axis + 1 :]])
                positions = (
                    _cropped(*crops[i], n, m) if crops else source_positions(self.coordinates, scale, n, m)
                )
                x = self._along(x, axis, positions, scale)
                if crops:
                    beyond.append((axis, (positions < 0) | (positions > n - 1)))
        for axis, outside in beyond:
            mask = outside.to(x.device).reshape(-1, *[1] * (x.dim() - 1 - axis))
            x = torch.where(mask, self.outside, x)
        return x

    def _crops(self, inputs: tuple[Tensor | None, ...], count: int) -> list[tuple[float, float]]:
        """Start and end on each axis, as shares of its length, of the one mode that cuts out."""
        if self.coordinates != "tf_crop_and_resize" or not inputs or inputs[0] is None:
            return []
        edges = [float(value) for value in inputs[0].tolist()]
        return list(zip(edges[:count], edges[count:], strict=True))

    def _scales_and_sizes(self, inputs: tuple[Tensor | None, ...]) -> tuple[list[float], list[int]]:
        if self.scales is not None:
            return self.scales, []
        if self.op_type == "Upsample" or self.opset < 11:
            inputs = (None, *inputs)  # these have no roi
        scales = inputs[1] if len(inputs) > 1 else None
        targets = inputs[2] if len(inputs) > 2 else None
        factors = [] if scales is None else [float(value) for value in scales.tolist()]
        return factors, [] if targets is None else sizes(targets)

    def _along(self, x: Tensor, axis: int, positions: Tensor, scale: float) -> Tensor:
        n = x.shape[axis]
        if self.mode == "nearest":
            nearest = ROUNDINGS[self.rounding](positions).clamp(0, n - 1)
            return x.index_select(axis, integer_tensor([int(p) for p in nearest.tolist()], x))
        self.refuse_giant([len(positions), n])
        weights = self._weights(positions, n, scale).to(dtype=x.dtype, device=x.device)
        return torch.movedim(torch.movedim(x, axis, -1) @ weights.T, -1, axis)

    def _weights(self, positions: Tensor, n: int, scale: float) -> Tensor:
        """The (out, in) matrix; a neighbour outside the image counts for the edge cell, or not at all.

        With antialias a smaller image takes the mean over wider kernels.
        """
        narrowing = min(scale, 1.0) if self.smooths else 1.0
        reach = math.ceil((1 if self.mode == "linear" else 2) / narrowing)
        first = positions.floor()
        matrix = torch.zeros(len(positions), n, dtype=torch.float64)
        for offset in range(1 - reach, reach + 1):
            neighbour = first + offset
            share = self._kernel((positions - neighbour).abs() * narrowing)
            if self.drops_outside:
                share = share * ((neighbour >= 0) & (neighbour < n))
            column = neighbour.clamp(0, n - 1).long()
            matrix.scatter_add_(1, column[:, None], share[:, None])
        return matrix / matrix.sum(1, keepdim=True)

    def _kernel(self, d: Tensor) -> Tensor:
        """Weight at distance d: a triangle, or Keys' cubic with sharpness a."""
        if self.mode == "linear":
            return (1 - d).clamp(min=0)
        a = self.sharpness
        near = ((a + 2) * d - (a + 3)) * d * d + 1
        far = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
        return torch.where(d <= 1, near, torch.where(d < 2, far, torch.zeros_like(d)))
