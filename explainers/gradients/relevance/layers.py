"""Linear layers as relevance propagation needs them: the map, its transpose, and what comes after it folded in.

They are recognised in the calls that a module makes (`convolution`, `dense`, `product`), so a layer, a function and an ONNX operator are
the same here. Imports torch: import this module inside functions.
"""

from __future__ import annotations

import dataclasses
import weakref
from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeVar

import torch
from torch.nn import functional

T = TypeVar("T")
Box = tuple[torch.Tensor, torch.Tensor]


@dataclasses.dataclass(frozen=True, eq=False)
class Linear:
    """``F(x, weight) + bias`` with weights that do not depend on the case.

    Attributes:
        forward: F. transposed: from s, the weights, and an x for its shape, to the slope of ``Σ s · F`` at x.
        output_axis: of the weights, the axis of the output channels; ``None`` where there is no single one.
        channel_axis: of the result, the same.
    """

    kind: Literal["convolution", "dense"]
    weight: torch.Tensor
    bias: torch.Tensor | None
    forward: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    transposed: Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
    output_axis: int | None
    channel_axis: int

    def shifted(self, shift: torch.Tensor) -> Linear:
        """The layer with a constant added to each channel."""
        return dataclasses.replace(self, bias=shift if self.bias is None else self.bias + shift)

    def scaled(self, scale: torch.Tensor, weights: Weights) -> Linear:
        """The layer with each channel multiplied by a constant."""
        axis = self.output_axis or 0
        weight = weights.made(
            "scaled", (self.weight, scale), lambda: self.weight * _along(scale, axis, self.weight.ndim)
        )
        return dataclasses.replace(self, weight=weight, bias=None if self.bias is None else self.bias * scale)


class Weights:
    """Weights that rules change, made once for all portions of a call.

    Args:
        lasting: tensors that outlive a portion. What is made of others is not kept.
    """

    def __init__(self, lasting: list[torch.Tensor]) -> None:
        self._lasting = {tensor.untyped_storage().data_ptr() for tensor in lasting}
        self._made: dict[Any, tuple[Any, torch.Tensor]] = {}

    def made(self, name: str, of: tuple[torch.Tensor, ...], make: Callable[[], torch.Tensor]) -> torch.Tensor:
        """What `make` answers; asked once for the same name and numbers."""
        if any(tensor.untyped_storage().data_ptr() not in self._lasting for tensor in of):
            return make()
        key = (name, *((t.data_ptr(), t.shape, t.stride(), t.dtype, t._version) for t in of))
        if key not in self._made:
            found = make()
            self._made[key] = of, found
            self._lasting.add(found.untyped_storage().data_ptr())
        return self._made[key][1]


class Kept:
    """A value that the backward pass needs as it was."""

    def __init__(self, value: torch.Tensor) -> None:
        self.value = value.detach()


class Keeper:
    """Knows what is kept, and copies it just before an in-place operation would overwrite it."""

    def __init__(self) -> None:
        self._kept: dict[int, weakref.WeakSet[Kept]] = {}

    def keep(self, value: torch.Tensor) -> Kept:
        """The value, to be read when it is needed."""
        kept = Kept(value)
        self._kept.setdefault(value.untyped_storage().data_ptr(), weakref.WeakSet()).add(kept)
        return kept

    def overwritten(self, value: torch.Tensor) -> None:
        """Called before `value` changes in place."""
        for kept in self._kept.pop(value.untyped_storage().data_ptr(), ()):
            kept.value = kept.value.clone()


class Layer:
    """A linear layer in one forward pass: its weights, its inputs and its outputs."""

    def __init__(self, linear: Linear, x: Kept, z: Kept | None, box: Box | None, weights: Weights) -> None:
        self._linear, self._x, self._z, self._box, self._weights = linear, x, z, box, weights
        self._once: dict[str, Any] = {}

    @property
    def x(self) -> torch.Tensor:
        return self._x.value

    @property
    def z(self) -> torch.Tensor:
        assert self._z is not None  # the rule says that it reads the outputs
        return self._z.value

    @property
    def weight(self) -> torch.Tensor:
        return self._linear.weight

    @property
    def bias(self) -> torch.Tensor | None:
        return self._linear.bias

    def channels(self, ndim: int) -> list[int]:
        """The shape in which one number for each channel meets the outputs."""
        return [-1 if axis == self._linear.channel_axis else 1 for axis in range(ndim)]

    @property
    def box(self) -> Box:
        """The lowest and the highest value of each input."""
        assert self._box is not None
        return self._box

    def forward(self, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return self._linear.forward(x, weight)

    def transposed(self, s: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return self._linear.transposed(s, weight, self.x)

    def changed(self, name: str, change: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
        """The weights changed by a rule."""
        return self._weights.made(name, (self.weight,), lambda: change(self.weight))

    def once(self, name: str, make: Callable[[], T]) -> T:
        """What does not depend on the relevance, computed for the first of several outputs."""
        if name not in self._once:
            self._once[name] = make()
        found: T = self._once[name]
        return found


def convolution(
    func: Any, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, settings: Mapping[str, Any]
) -> Linear:
    """A call of conv1d to conv3d or of their transposes, with stride, padding and so on by name."""
    flipped = "transpose" in func.__name__
    n = weight.ndim - 2

    def numbers(name: str, default: int) -> list[int]:
        value = settings.get(name, default)
        return [int(value)] * n if isinstance(value, int) else [int(v) for v in value] * (n // len(value))

    def forward(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = func(x, weight, None, **settings)
        return found

    def transposed(s: torch.Tensor, weight: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        if (
            isinstance(settings.get("padding"), str) or x.ndim != n + 2
        ):  # "same" may pad the two sides differently
            return _slope(forward, s, weight, x)
        found: torch.Tensor = torch.ops.aten.convolution_backward(
            s, x, weight, None, numbers("stride", 1), numbers("padding", 0), numbers("dilation", 1), flipped,
            numbers("output_padding", 0), settings.get("groups", 1), [True, False, False],
        )[0]  # fmt: skip
        return found

    grouped = settings.get("groups", 1) != 1
    axis = (None if grouped else 1) if flipped else 0
    return Linear("convolution", weight, bias, forward, transposed, axis, x.ndim - n - 1)


def dense(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> Linear:
    """A call of linear: weights (outputs, inputs)."""
    return Linear("dense", weight, bias, functional.linear, lambda s, w, _x: s @ w, 0, x.ndim - 1)


def product(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> Linear:
    """``x @ weight`` with weights (inputs, outputs)."""
    return Linear("dense", weight, bias, torch.matmul, lambda s, w, _x: s @ w.mT, 1, x.ndim - 1)


def product_from_the_left(x: torch.Tensor, weight: torch.Tensor) -> Linear:
    """``weight @ x`` with weights (outputs, inputs)."""
    return Linear("dense", weight, None, lambda x, w: w @ x, lambda s, w, _x: w.mT @ s, 0, x.ndim - 2)


def is_mean(weight: torch.Tensor, groups: int) -> bool:
    """Whether a convolution is a sum over a window in disguise: each channel by itself, all weights alike."""
    return (
        weight.shape[1] == 1 and groups == weight.shape[0] > 0 and bool((weight == weight.flatten()[0]).all())
    )


def _along(values: torch.Tensor, axis: int, ndim: int) -> torch.Tensor:
    return values.reshape([-1 if i == axis else 1 for i in range(ndim)])


def _slope(
    forward: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    s: torch.Tensor,
    weight: torch.Tensor,
    x: torch.Tensor,
) -> torch.Tensor:
    with torch.enable_grad():
        at = x.detach().requires_grad_()
        (found,) = torch.autograd.grad(forward(at, weight), at, s)
    return found
