"""Normalisation with stored or with current statistics. Shapes: (batch, channels, *space) unless stated."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from explainers.onnx.operators.operator import Attributes, Operator, axis_of


def by_channel(value: Tensor, like: Tensor) -> Tensor:
    return value.reshape(1, -1, *[1] * (like.dim() - 2))


class BatchNormalization(Operator):
    """(x - mean) / sqrt(variance + epsilon) * weight + bias with the statistics stored in training."""

    roles = ("x", "weight", "bias", "mean", "variance")
    statistics = frozenset({"mean", "variance"})

    def configure(self, attributes: Attributes) -> None:
        self.epsilon = attributes.number("epsilon", 1e-5)
        attributes.ignore("momentum")
        attributes.expect("training_mode", 0)
        attributes.expect("spatial", 1)

    def compute(self, x: Tensor, weight: Tensor, bias: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
        return functional.batch_norm(x, mean, variance, weight, bias, training=False, eps=self.epsilon)


class InstanceNormalization(Operator):
    """Each channel of each image has mean 0 and variance 1 before weight and bias."""

    roles = ("x", "weight", "bias")

    def configure(self, attributes: Attributes) -> None:
        self.epsilon = attributes.number("epsilon", 1e-5)

    def compute(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        centred, deviation = _standardise(x, tuple(range(2, x.dim())), self.epsilon)
        return centred / deviation * by_channel(weight, x) + by_channel(bias, x)


class GroupNormalization(Operator):
    """As InstanceNormalization, over groups of channels; weight and bias by group before opset 21, then by channel."""

    roles = ("x", "weight", "bias")

    def configure(self, attributes: Attributes) -> None:
        self.epsilon = attributes.number("epsilon", 1e-5)
        self.groups = attributes.integer("num_groups", 1)
        attributes.expect("stash_type", 1)

    def compute(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        repeats = x.shape[1] // weight.shape[0]
        by_group = x.reshape(x.shape[0], self.groups, -1)
        centred, deviation = _standardise(by_group, (2,), self.epsilon)
        scale, shift = (by_channel(v.repeat_interleave(repeats), x) for v in (weight, bias))
        return (centred / deviation).reshape(x.shape) * scale + shift


class LayerNormalization(Operator):
    """Mean 0 and variance 1 over all axes from `axis` on; also returns mean and 1 / deviation."""

    roles = ("x", "weight", "bias")
    max_outputs = 3

    def configure(self, attributes: Attributes) -> None:
        self.axis = attributes.integer("axis", -1)
        self.epsilon = attributes.number("epsilon", 1e-5)
        attributes.expect("stash_type", 1)

    def compute(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        axes = tuple(range(axis_of(self.axis, x), x.dim()))
        wide = x.float() if x.dtype == torch.float16 else x  # stash_type 1: statistics in 32 bits
        centred, deviation = _standardise(wide, axes, self.epsilon)
        scaled = (centred / deviation).to(x.dtype) * weight
        return scaled if bias is None else scaled + bias, wide.mean(axes, keepdim=True), 1 / deviation


class MeanVarianceNormalization(Operator):
    """Mean 0 and variance 1 over stated axes: batch and space, if the file says nothing."""

    epsilon = 1e-9  # of the standard, added to the deviation

    def configure(self, attributes: Attributes) -> None:
        self.axes = attributes.integers("axes") or [0, 2, 3]

    def compute(self, x: Tensor) -> Tensor:
        centred = x - x.mean(self.axes, keepdim=True)
        return centred / (torch.sqrt(centred.square().mean(self.axes, keepdim=True)) + self.epsilon)


class LpNormalization(Operator):
    """x / its norm (of order 1 or 2) along one axis; 0 where that is 0."""

    def configure(self, attributes: Attributes) -> None:
        self.axis = attributes.integer("axis", -1)
        self.order = attributes.integer("p", 2)

    def compute(self, x: Tensor) -> Tensor:
        norm: Tensor = torch.linalg.vector_norm(x, self.order, self.axis, keepdim=True)
        return x / torch.where(norm == 0, 1.0, norm)


class RMSNormalization(Operator):
    """x / sqrt(mean(x²) + epsilon) * weight over all axes from `axis` on."""

    roles = ("x", "weight")

    def configure(self, attributes: Attributes) -> None:
        self.axis = attributes.integer("axis", -1)
        self.epsilon = attributes.number("epsilon", 1e-5)
        attributes.expect("stash_type", 1)

    def compute(self, x: Tensor, weight: Tensor) -> Tensor:
        axes = tuple(range(axis_of(self.axis, x), x.dim()))
        wide = x.float() if x.dtype == torch.float16 else x
        size = torch.sqrt(wide.square().mean(axes, keepdim=True) + self.epsilon)
        return (wide / size).to(x.dtype) * weight


class LocalResponseNormalization(Operator):
    """LRN: x / (bias + alpha / size * sum of squares over `size` neighbouring channels) ** beta."""

    def configure(self, attributes: Attributes) -> None:
        self.size = attributes.integer("size", 1)
        self.alpha = attributes.number("alpha", 1e-4)
        self.beta = attributes.number("beta", 0.75)
        self.bias = attributes.number("bias", 1.0)

    def compute(self, x: Tensor) -> Tensor:
        before, after = (self.size - 1) // 2, self.size // 2
        flat = x.square().flatten(2)
        neighbours = functional.pad(flat, (0, 0, before, after)).unfold(1, self.size, 1).sum(-1)
        return x / (self.bias + self.alpha / self.size * neighbours.reshape(x.shape)) ** self.beta


def _standardise(x: Tensor, axes: tuple[int, ...], epsilon: float) -> tuple[Tensor, Tensor]:
    """x - mean, and the deviation to divide it by."""
    centred = x - x.mean(axes, keepdim=True)
    return centred, torch.sqrt(centred.square().mean(axes, keepdim=True) + epsilon)
