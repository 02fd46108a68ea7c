"""Matrix products."""

from __future__ import annotations

import torch
from torch import Tensor

from explainers.onnx.operators.operator import Attributes, Operator


class MatMul(Operator):
    """numpy's matrix product; a trained right-hand matrix is `weight` (in, out)."""

    roles = ("x", "weight")

    def compute(self, x: Tensor, weight: Tensor) -> Tensor:
        return torch.matmul(x, weight)


class Gemm(Operator):
    """alpha * x @ weight + beta * bias, each matrix transposed first if the file says so."""

    roles = ("x", "weight", "bias")

    def configure(self, attributes: Attributes) -> None:
        self.alpha = attributes.number("alpha", 1.0)
        self.beta = attributes.number("beta", 1.0)
        self.transposes_x = bool(attributes.integer("transA", 0))
        self.transposes_weight = bool(attributes.integer("transB", 0))

    def compute(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        left = x.mT if self.transposes_x else x
        right = weight.mT if self.transposes_weight else weight
        product = left @ right if self.alpha == 1.0 else self.alpha * (left @ right)
        return product if bias is None else product + (bias if self.beta == 1.0 else self.beta * bias)


class Einsum(Operator):
    """Einstein summation."""

    def configure(self, attributes: Attributes) -> None:
        self.equation = attributes.text("equation", "")

    def compute(self, *values: Tensor) -> Tensor:
        return torch.einsum(self.equation, *values)
