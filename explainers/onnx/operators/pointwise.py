"""Operators that work number by number: arithmetic, comparisons, activation functions."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import torch
from torch import Tensor
from torch.nn import functional

from explainers.onnx.errors import UnsupportedOnnx
from explainers.onnx.graph import TYPES, Data, as_data
from explainers.onnx.operators.operator import Attributes, Operator


def _divide(x: Tensor, y: Tensor) -> Tensor:
    """Integers are divided towards zero."""
    return x / y if x.is_floating_point() else torch.div(x, y, rounding_mode="trunc")


def _power(x: Tensor, exponent: Tensor) -> Tensor:
    """The result keeps the type of the base."""
    return torch.pow(x, exponent).to(x.dtype)


def _prelu(x: Tensor, slope: Tensor) -> Tensor:
    return torch.where(x < 0, slope * x, x)


def _mean(*values: Tensor) -> Tensor:
    return functools.reduce(operator.add, values) / len(values)


def _fold(function: Callable[[Tensor, Tensor], Tensor]) -> Callable[..., Tensor]:
    return lambda *values: functools.reduce(function, values)


FUNCTIONS: dict[str, Callable[..., Tensor]] = {
    **{
        name: getattr(torch, name.lower())
        for name in ("Abs", "Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh")
    },
    **{
        name: getattr(torch, name.lower())
        for name in ("Ceil", "Cos", "Cosh", "Erf", "Exp", "Floor", "Log", "Neg")
    },
    **{
        name: getattr(torch, name.lower())
        for name in ("Reciprocal", "Relu", "Round", "Sigmoid", "Sign", "Sin")
    },
    **{name: getattr(torch, name.lower()) for name in ("Sinh", "Sqrt", "Tan", "Tanh", "IsNaN")},
    **{
        "Softplus": functional.softplus,
        "Softsign": functional.softsign,
        "Mish": functional.mish,
        "HardSwish": functional.hardswish,
    },
    **{"Identity": lambda x: x, "PRelu": _prelu, "Div": _divide, "Pow": _power, "Mean": _mean},
    **{"Add": torch.add, "Sub": torch.sub, "Mul": torch.mul, "Where": torch.where, "Not": torch.logical_not},
    **{"And": torch.logical_and, "Or": torch.logical_or, "Xor": torch.logical_xor, "Equal": torch.eq},
    **{"Greater": torch.gt, "GreaterOrEqual": torch.ge, "Less": torch.lt, "LessOrEqual": torch.le},
    **{"BitwiseAnd": torch.bitwise_and, "BitwiseOr": torch.bitwise_or, "BitwiseXor": torch.bitwise_xor},
    **{"BitwiseNot": torch.bitwise_not},
    **{"Max": _fold(torch.maximum), "Min": _fold(torch.minimum), "Sum": _fold(torch.add)},
}


class Pointwise(Operator):
    """A function without attributes, from the table above; the trained slope of PRelu is its `weight`."""

    roles = ("x", "weight")

    def compute(self, *values: Tensor) -> Tensor:
        return FUNCTIONS[self.op_type](*values)


class Modulo(Operator):
    """Remainder with the sign of the divisor, or of the dividend if fmod=1."""

    def configure(self, attributes: Attributes) -> None:
        self.keeps_sign_of_x = bool(attributes.integer("fmod", 0))

    def compute(self, x: Tensor, y: Tensor) -> Tensor:
        return torch.fmod(x, y) if self.keeps_sign_of_x else torch.remainder(x, y)


class ShapedActivation(Operator):
    """Activation functions with parameters in attributes."""

    def configure(self, attributes: Attributes) -> None:
        self.function = ACTIVATIONS[self.op_type](attributes)

    def compute(self, x: Tensor) -> Any:
        return self.function(x)


Activation = Callable[[Tensor], Tensor]


def _leaky_relu(attributes: Attributes) -> Activation:
    return functools.partial(functional.leaky_relu, negative_slope=attributes.number("alpha", 0.01))


def _elu(attributes: Attributes) -> Activation:
    return functools.partial(functional.elu, alpha=attributes.number("alpha", 1.0))


def _celu(attributes: Attributes) -> Activation:
    return functools.partial(functional.celu, alpha=attributes.number("alpha", 1.0))


def _selu(attributes: Attributes) -> Activation:
    alpha = attributes.number("alpha", 1.67326319217681884765625)
    gamma = attributes.number("gamma", 1.05070102214813232421875)
    return lambda x: gamma * functional.elu(x, alpha)


def _thresholded_relu(attributes: Attributes) -> Activation:
    return functools.partial(functional.threshold, threshold=attributes.number("alpha", 1.0), value=0.0)


def _hard_sigmoid(attributes: Attributes) -> Activation:
    alpha, beta = attributes.number("alpha", 0.2), attributes.number("beta", 0.5)
    return lambda x: torch.clamp(alpha * x + beta, 0.0, 1.0)


def _gelu(attributes: Attributes) -> Activation:
    return functools.partial(functional.gelu, approximate=attributes.text("approximate", "none"))


def _swish(attributes: Attributes) -> Activation:
    alpha = attributes.number("alpha", 1.0)
    return lambda x: x * torch.sigmoid(alpha * x)


ACTIVATIONS: dict[str, Callable[[Attributes], Activation]] = {
    "LeakyRelu": _leaky_relu,
    "Elu": _elu,
    "Celu": _celu,
    "Selu": _selu,
    "ThresholdedRelu": _thresholded_relu,
    "HardSigmoid": _hard_sigmoid,
    "Gelu": _gelu,
    "Swish": _swish,
}


class Clip(Operator):
    """Limits are attributes before opset 11, inputs after it."""

    def configure(self, attributes: Attributes) -> None:
        self.ends = attributes.number("min", -torch.inf), attributes.number("max", torch.inf)

    def compute(self, x: Tensor, low: Tensor | None = None, high: Tensor | None = None) -> Tensor:
        if self.opset < 11:
            return torch.clamp(x, *self.ends)
        x = x if low is None else torch.maximum(x, low)
        return x if high is None else torch.minimum(x, high)


class Softmax(Operator):
    """Softmax and LogSoftmax along one axis; before opset 13 over all axes from `axis` on, taken as one."""

    def configure(self, attributes: Attributes) -> None:
        self.axis = attributes.integer("axis", -1 if self.opset >= 13 else 1)

    def compute(self, x: Tensor) -> Tensor:
        function = torch.softmax if self.op_type == "Softmax" else torch.log_softmax
        if self.opset >= 13:
            return function(x, self.axis)
        return function(x.flatten(self.axis), -1).reshape(x.shape) if x.dim() else function(x, 0)


class Hardmax(Operator):
    """1 at the first of the largest values along one axis, 0 elsewhere; before opset 13 over all axes from `axis` on."""

    has_gradient = False

    def configure(self, attributes: Attributes) -> None:
        self.axis = attributes.integer("axis", -1 if self.opset >= 13 else 1)

    def compute(self, x: Tensor) -> Tensor:
        flat = x if self.opset >= 13 else x.flatten(self.axis)
        axis = self.axis if self.opset >= 13 else -1
        ones = torch.zeros_like(flat).scatter(axis, flat.argmax(axis, keepdim=True), 1.0)
        return ones.reshape(x.shape)


class IsInfinite(Operator):
    """IsInf: whether a number is infinite, of the signs that count."""

    def configure(self, attributes: Attributes) -> None:
        self.below = bool(attributes.integer("detect_negative", 1))
        self.above = bool(attributes.integer("detect_positive", 1))

    def compute(self, x: Tensor) -> Tensor:
        return (torch.isneginf(x) & self.below) | (torch.isposinf(x) & self.above)


def cast(x: Data, to: int, saturates: bool, rounding: str) -> Data:
    """To an element type; types that torch lacks go by onnx's own reference, in numpy, without gradient."""
    if isinstance(x, Tensor) and to in TYPES:
        return x.to(TYPES[to])
    from onnx.reference.ops.op_cast import cast_to

    numbers = x.numpy(force=True) if isinstance(x, Tensor) and x.dtype != torch.bfloat16 else x
    if isinstance(numbers, Tensor):
        numbers = numbers.float().numpy(force=True)
    if numbers.dtype == object and to in TYPES:
        numbers = numbers.astype(np.float64)  # text; to an integer through a number, as onnxruntime reads it
        return torch.from_numpy(np.asarray(numbers)).to(TYPES[to])
    cast_type: Any = to  # onnx's annotation asks for its enumeration
    with np.errstate(all="ignore"):
        return as_data(cast_to(numbers, cast_type, saturates, rounding))


class Cast(Operator):
    """Change of the element type; to an integer it cuts the gradient, as it must."""

    any_type = True

    def configure(self, attributes: Attributes) -> None:
        self.to_type = attributes.integer("to", 0)
        self.saturates = bool(attributes.integer("saturate", 1))
        self.rounding = attributes.text("round_mode", "up")

    def compute(self, x: Data) -> Data:
        return cast(x, self.to_type, self.saturates, self.rounding)


class CastLike(Cast):
    """Cast to the type of the second input."""

    def compute(self, x: Data, like: Data) -> Data:  # type: ignore[override]  # each operator has its own inputs
        return cast(x, _code(like), self.saturates, self.rounding)


def _code(value: Data) -> int:
    if isinstance(value, Tensor):
        return next(code for code, dtype in TYPES.items() if dtype == value.dtype)
    if value.dtype == object:
        return int(onnx.TensorProto.STRING)
    return int(onnx.helper.np_dtype_to_tensor_dtype(value.dtype))


class Dropout(Operator):
    """Nothing is dropped when a model is used; the mask, if asked for, is all true."""

    max_outputs = 2

    def configure(self, attributes: Attributes) -> None:
        attributes.ignore("seed", "ratio")

    def compute(
        self, x: Tensor, _ratio: Tensor | None = None, training: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        if training is not None and bool(training):
            raise UnsupportedOnnx(
                "The model drops numbers at random (training mode). Export it in evaluation mode."
            )
        return x, torch.ones_like(x, dtype=torch.bool)
