"""Layer-wise relevance propagation: a forward pass as ever, a backward pass in which relevance flows in the slopes' place.

A torch function mode sees every call that a module makes, whether from a layer, a function or an ONNX operator; no layer is hooked or
exchanged. Of each call with a value that depends on the case:

- a layer with weights (convolution, linear, matrix product) shares relevance by its rule; a batch normalisation or a constant that is
  added right after it is folded into its weights and its bias;
- a function of single numbers (activations, a constant factor) passes relevance on unchanged; of a quotient the numerator gets all;
- moving, choosing and joining values (reshape, maximum pooling, concatenation) is what autograd does with relevance too;
- sums (a residual addition, average pooling, a batch normalisation that stands alone, layer normalisation with its deviation taken
  as a constant): ``R_in = x · J^T (R / z)``, in proportion to the contributions; of a product of two values each gets half of that;
- anything else likewise, with the slope of its function for J, and it is named in `unruled`.

Imports torch: import this module inside functions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from explainers.gradients.relevance.calls import (
    ELEMENTWISE,
    Call,
    is_native,
    is_sum,
    plain_name,
    tensors,
    weighted,
)
from explainers.gradients.relevance.flow import by_rule, passed, passed_in_place, shared
from explainers.gradients.relevance.layers import Box, Keeper, Layer, Linear, Weights
from explainers.gradients.relevance.rules import Rules

#: Attributes of tensors: the layer that made it, and the range of its values where no layer came before.
_MADE_BY, _BOX = "_relevance_layer", "_relevance_box"


class _Made(NamedTuple):
    """The layer that made a tensor, if neither that nor the layer's input has changed since."""

    linear: Linear
    x: torch.Tensor
    versions: tuple[int, int]


class Propagation(TorchFunctionMode):
    """While it is entered, what is computed from inputs marked by `inputs` carries relevance back.

    Args:
        rules: which layer follows which rule.
        weights: changed weights, shared by the portions of a call.

    Attributes:
        unruled: operations that had no rule.
    """

    def __init__(self, rules: Rules, weights: Weights) -> None:
        super().__init__()
        self.rules, self.weights = rules, weights
        self.unruled: set[str] = set()
        self._keeper = Keeper()

    def inputs(self, x: torch.Tensor, low: torch.Tensor, high: torch.Tensor) -> torch.Tensor:
        """x, ready to be given to the module; its values lie between `low` and `high`, of shape ``(1, …)``."""
        if self.rules.first is not None:
            setattr(x, _BOX, tuple(edge.expand(x.shape).contiguous() for edge in (low, high)))
        return x.requires_grad_()

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        named = kwargs or {}
        if plain_name(func) == "get" or not torch.is_grad_enabled():
            return func(*args, **named)
        call = Call(func, args, named)
        if not call.carriers:
            return func(*args, **named)
        box = self._box(call)  # before anything is overwritten
        found = self._in_place(call) if call.in_place or call.name == "setitem" else self._answer(call)
        if box is not None:
            for tensor, low, high in zip(tensors(found), *map(tensors, box), strict=False):
                setattr(tensor, _BOX, (low, high))
        return found

    def _in_place(self, call: Call) -> Any:
        if is_native(call.name):
            self._keeper.overwritten(call.target)
            return call.func(*call.args, **call.named)
        if call.name in ELEMENTWISE and call.target.grad_fn is not None:
            self._keeper.overwritten(call.target)
            return passed_in_place(call)
        found = self._answer(call)
        self._keeper.overwritten(call.target)
        return call.target.copy_(found)

    def _answer(self, call: Call) -> Any:
        if is_native(call.name):
            return call.func(*call.args, **call.named)
        linear = weighted(call)
        if linear is not None:
            return self._layer(linear, call.carriers[0], call)
        if (made := self._made(call)) is not None and (folded := _folded(call, made.linear, self.weights)):
            return self._layer(folded, made.x, call)
        alone = len(call.carriers) == 1
        if call.name in ELEMENTWISE or (alone and call.name in ("mul", "maximum", "minimum")):
            return passed(call.numerator, call.run())
        if call.name == "div":
            return passed(call.numerator, call.run())
        if call.name in ("maximum", "minimum"):  # the winner gets all
            return call.func(*call.args, **call.named)
        ruled = is_sum(call.name) or call.name.startswith("conv")
        return shared(call, self._keeper, None if ruled else self.unruled)

    def _layer(self, linear: Linear, x: torch.Tensor, call: Call) -> torch.Tensor:
        z = call.run()
        box: Box | None = getattr(x, _BOX, None)
        rule = self.rules.convolution if linear.kind == "convolution" else self.rules.dense
        if box is not None and self.rules.first is not None:
            rule = self.rules.first
        kept = self._keeper.keep(z) if rule.outputs else None
        answer = by_rule(x, z, Layer(linear, self._keeper.keep(x), kept, box, self.weights), rule)
        setattr(answer, _MADE_BY, _Made(linear, x, (answer._version, x._version)))
        return answer

    def _made(self, call: Call) -> _Made | None:
        """The layer whose answer is the call's only value that depends on the case."""
        if len(call.carriers) != 1 or call.in_place:
            return None
        made: _Made | None = getattr(call.carriers[0], _MADE_BY, None)
        if made is None or made.versions != (call.carriers[0]._version, made.x._version):
            return None
        return made

    def _box(self, call: Call) -> tuple[Any, Any] | None:
        """The range of the results, where all values come from the inputs and no layer lies between."""
        if self.rules.first is None or weighted(call) is not None:
            return None
        boxes = [getattr(t, _BOX, None) for t in call.carriers]
        if any(box is None for box in boxes):
            return None
        with torch.no_grad():
            ends = [tensors(call.at([box[i] for box in boxes if box is not None])) for i in (0, 1)]
            return (
                [torch.minimum(a, b) for a, b in zip(*ends, strict=True)],
                [torch.maximum(a, b) for a, b in zip(*ends, strict=True)],
            )


def _folded(call: Call, linear: Linear, weights: Weights) -> Linear | None:
    """The layer with the call that follows it, where that scales or shifts its channels by constants."""
    if call.func is functional.batch_norm:
        return _with_normalisation(call, linear, weights)
    if call.name in ("add", "sub") and len(call.args) == 2 and not call.named:
        return _with_constant(call, linear)
    return None


def _with_normalisation(call: Call, linear: Linear, weights: Weights) -> Linear | None:
    names = ("input", "running_mean", "running_var", "weight", "bias", "training", "momentum", "eps")
    bound: dict[str, Any] = dict(zip(names, call.args, strict=False)) | call.named
    if bound.get("training") or linear.channel_axis != 1 or linear.output_axis is None:
        return None
    mean, variance, gain, bias = (
        bound["running_mean"],
        bound["running_var"],
        bound.get("weight"),
        bound.get("bias"),
    )
    eps = bound.get("eps", 1e-5)

    def scale() -> torch.Tensor:
        found = torch.rsqrt(variance + eps)
        return found if gain is None else found * gain

    factor = weights.made(f"scale {eps}", (variance,) if gain is None else (variance, gain), scale)
    shift = -mean * factor if bias is None else bias - mean * factor
    return linear.scaled(factor, weights).shifted(shift)


def _with_constant(call: Call, linear: Linear) -> Linear | None:
    z = call.carriers[0]
    first = call.args[0] is z
    other = call.args[1] if first else call.args[0]
    reverse = "rsub" in getattr(call.func, "__name__", "") or (call.name == "sub" and not first)
    if reverse:
        return None
    axis, channels = linear.channel_axis, z.shape[linear.channel_axis]
    constant = torch.as_tensor(other, dtype=z.dtype, device=z.device)
    shape = (1,) * (z.ndim - constant.ndim) + tuple(constant.shape)
    if len(shape) != z.ndim or any(side != 1 for i, side in enumerate(shape) if i != axis):
        return None
    if shape[axis] not in (1, channels) or not z.is_floating_point():
        return None
    shift = constant.reshape(-1).expand(channels)
    return linear.shifted(-shift if call.name == "sub" else shift)
