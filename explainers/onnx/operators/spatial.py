"""Sliding windows over one to three spatial axes: convolution and pooling. Shapes: (batch, channels, *space)."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from explainers.onnx.operators.operator import Attributes, Operator

Pads = list[tuple[int, int]]  # (before, after) for each spatial axis

CONVOLUTIONS = (functional.conv1d, functional.conv2d, functional.conv3d)
TRANSPOSED = (functional.conv_transpose1d, functional.conv_transpose2d, functional.conv_transpose3d)
MAX_POOLS = (functional.max_pool1d, functional.max_pool2d, functional.max_pool3d)


class Window(Operator):
    """Kernel, stride, dilation and padding, shared by all operators here."""

    def configure(self, attributes: Attributes) -> None:
        self.kernel_shape = attributes.integers("kernel_shape")
        self.strides = attributes.integers("strides")
        self.dilations = attributes.integers("dilations")
        self.pads = attributes.integers("pads")
        self.auto_pad = attributes.text("auto_pad", "NOTSET")
        self.ceil_mode = False

    def steps(self, kernel: list[int]) -> tuple[list[int], list[int]]:
        """Strides and dilations, 1 where the file says nothing."""
        ones = [1] * len(kernel)
        return self.strides or ones, self.dilations or ones

    def padding(self, x: Tensor, kernel: list[int]) -> Pads:
        """The stated or automatic padding, one pair for each spatial axis."""
        n = len(kernel)
        if self.auto_pad in ("SAME_UPPER", "SAME_LOWER"):
            return self._same(x, kernel)
        pads = self.pads if self.pads and self.auto_pad == "NOTSET" else [0] * (2 * n)
        return list(zip(pads[:n], pads[n:], strict=True))

    def rounding(self, x: Tensor, kernel: list[int], pads: Pads) -> list[int]:
        """Cells to add at the end of each axis so that ceil_mode's last, partial window fits.

        A window that would start in the padding after the input is dropped, as onnxruntime and torch do.
        """
        if not self.ceil_mode or self.auto_pad != "NOTSET":
            return [0] * len(kernel)
        extra = []
        for size, k, s, d, (before, after) in zip(
            x.shape[2:], kernel, *self.steps(kernel), pads, strict=True
        ):
            free = size + before + after - (d * (k - 1) + 1)
            count = math.ceil(free / s)
            if count * s >= size + before:
                count -= 1
            extra.append(max(count * s - free, 0))
        return extra

    def _same(self, x: Tensor, kernel: list[int]) -> Pads:
        pads = []
        for size, k, s, d in zip(x.shape[2:], kernel, *self.steps(kernel), strict=True):
            total = max((math.ceil(size / s) - 1) * s + d * (k - 1) + 1 - size, 0)
            small, large = total // 2, total - total // 2
            pads.append((small, large) if self.auto_pad == "SAME_UPPER" else (large, small))
        return pads


def pad(x: Tensor, pads: Pads, value: float = 0.0) -> Tensor:
    """Pad (or, if negative, crop) the spatial axes; functional.pad counts them from the last."""
    flat = [side for pair in reversed(pads) for side in pair]
    return functional.pad(x, flat, value=value) if any(flat) else x


class Conv(Window):
    """Convolution. Held constants: `weight` (out, in / group, *kernel) and, if there is one, `bias` (out,)."""

    roles = ("x", "weight", "bias")

    def configure(self, attributes: Attributes) -> None:
        super().configure(attributes)
        self.group = attributes.integer("group", 1)

    def compute(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        kernel = list(weight.shape[2:])
        stride, dilation = self.steps(kernel)
        padded = pad(x, self.padding(x, kernel))
        convolve = CONVOLUTIONS[len(kernel) - 1]
        return convolve(padded, weight, bias, stride=stride, dilation=dilation, groups=self.group)


class ConvTranspose(Window):
    """Transposed convolution: computed without padding, then cropped or extended to the size that the file asks for."""

    roles = ("x", "weight", "bias")

    def configure(self, attributes: Attributes) -> None:
        super().configure(attributes)
        self.group = attributes.integer("group", 1)
        self.output_padding = attributes.integers("output_padding")
        self.output_shape = attributes.integers("output_shape")

    def compute(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        kernel = list(weight.shape[2:])
        stride, dilation = self.steps(kernel)
        transpose = TRANSPOSED[len(kernel) - 1]
        full = transpose(x, weight, None, stride=stride, dilation=dilation, groups=self.group)
        # The bias is added last: cells from output_padding have no contribution of the input, but they have the bias.
        out = pad(full, self._crops(x, list(full.shape[2:]), kernel))
        return out if bias is None else out + bias.reshape(-1, *[1] * len(kernel))

    def _crops(self, x: Tensor, full: list[int], kernel: list[int]) -> Pads:
        extra = self.output_padding or [0] * len(kernel)
        wanted = self.output_shape
        if wanted is None and self.auto_pad in ("SAME_UPPER", "SAME_LOWER"):
            wanted = [size * s for size, s in zip(x.shape[2:], self.steps(kernel)[0], strict=True)]
        if wanted is None:
            pads = self.padding(x, kernel)
            return [(-before, more - after) for (before, after), more in zip(pads, extra, strict=True)]
        crops = []
        for size, more, target in zip(full, extra, wanted[-len(kernel) :], strict=True):
            total = size + more - target
            small, large = total // 2, total - total // 2
            before, after = (small, large) if self.auto_pad == "SAME_UPPER" else (large, small)
            crops.append((-before, more - after))
        return crops


class MaxPool(Window):
    """Largest value in each window, padding never wins; and where it stood, counted through the whole input."""

    max_outputs = 2

    def configure(self, attributes: Attributes) -> None:
        super().configure(attributes)
        self.ceil_mode = bool(attributes.integer("ceil_mode", 0))
        self.by_column = bool(attributes.integer("storage_order", 0))

    def compute(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        kernel = self.kernel_shape or []
        stride, dilation = self.steps(kernel)
        pads = self.padding(x, kernel)
        extra = self.rounding(x, kernel, pads)
        widened = [(before, after + more) for (before, after), more in zip(pads, extra, strict=True)]
        numbers = x if x.is_floating_point() else x.double()  # torch pools no integers
        padded = pad(numbers, widened, value=-torch.inf)
        pool = MAX_POOLS[len(kernel) - 1]
        if self.outputs == 1:
            return pool(padded, kernel, stride=stride, dilation=dilation).to(x.dtype)
        values, places = pool(padded, kernel, stride=stride, dilation=dilation, return_indices=True)
        return values.to(x.dtype), self._in_input(places, list(padded.shape[2:]), x, widened)

    def _in_input(self, places: Tensor, padded: list[int], x: Tensor, pads: Pads) -> Tensor:
        """From the place in the padded image to the place in the input."""
        space = list(x.shape[2:])
        at = torch.unravel_index(places, padded)
        inside = [axis - before for axis, (before, _) in zip(at, pads, strict=True)]
        order = list(range(len(space)))
        found = torch.zeros_like(places)
        for axis in reversed(order) if self.by_column else order:
            found = found * space[axis] + inside[axis]
        image = torch.arange(x.shape[0] * x.shape[1], device=x.device) * math.prod(space)
        return found + image.reshape(*x.shape[:2], *[1] * len(space))


class AveragePool(Window):
    """Sum over each window divided by the number of cells that count: those of the input, or of the padding too.

    The sum is a convolution with ones, channel by channel, because torch's own pooling has no dilation.
    """

    def configure(self, attributes: Attributes) -> None:
        super().configure(attributes)
        self.ceil_mode = bool(attributes.integer("ceil_mode", 0))
        self.count_padding = bool(attributes.integer("count_include_pad", 0))

    def compute(self, x: Tensor) -> Tensor:
        kernel = self.kernel_shape or []
        pads = self.padding(x, kernel)
        tail = [(0, more) for more in self.rounding(x, kernel, pads)]
        cells = torch.ones_like(x[:1, :1])
        counted = pad(pad(cells, pads, value=float(self.count_padding)), tail)
        return self._sum(pad(pad(x, pads), tail), kernel) / self._sum(counted, kernel)

    def _sum(self, x: Tensor, kernel: list[int]) -> Tensor:
        stride, dilation = self.steps(kernel)
        channels = x.shape[1]
        ones = torch.ones(channels, 1, *kernel, dtype=x.dtype, device=x.device)
        return CONVOLUTIONS[len(kernel) - 1](x, ones, stride=stride, dilation=dilation, groups=channels)


class LpPool(AveragePool):
    """The norm of each window, of order `p`; the padding counts as 0."""

    def configure(self, attributes: Attributes) -> None:
        super().configure(attributes)
        self.order = attributes.integer("p", 2)

    def compute(self, x: Tensor) -> Tensor:
        kernel = self.kernel_shape or []
        pads = self.padding(x, kernel)
        tail = [(0, more) for more in self.rounding(x, kernel, pads)]
        return self._sum(pad(pad(x.abs() ** self.order, pads), tail), kernel) ** (1 / self.order)


class GlobalPool(Operator):
    """Mean, maximum or norm over all spatial axes, which stay with size 1."""

    def configure(self, attributes: Attributes) -> None:
        self.order = attributes.integer("p", 2) if self.op_type == "GlobalLpPool" else 0

    def compute(self, x: Tensor) -> Tensor:
        axes = tuple(range(2, x.dim()))
        if self.order:
            norm: Tensor = torch.linalg.vector_norm(x, self.order, axes, keepdim=True)
            return norm
        return (
            x.mean(axes, keepdim=True) if self.op_type == "GlobalAveragePool" else x.amax(axes, keepdim=True)
        )
