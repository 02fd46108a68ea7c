"""The attention of a module, seen while it runs, whoever computes it: torch's layers, functions, code of one's own, ONNX.

A torch function mode sees every softmax. One over the last axis of square matrices (…, t, t), t > 1, whose result goes into
a product, is attention of t tokens over each other. `scaled_dot_product_attention` and `MultiheadAttention` compute theirs
inside, so they are written out here. While a function mode is open torch takes no fused path for its transformer layers.
Nothing is hooked or exchanged, so nothing has to be put back. Imports torch: import this module inside functions.
"""

from __future__ import annotations

import math
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from explainers.errors import InvalidSetting

PRODUCTS = frozenset({"matmul", "__matmul__", "__rmatmul__", "bmm", "baddbmm", "einsum"})
FUSED = frozenset({"_native_multi_head_attention", "_transformer_encoder_layer_fwd"})


@dataclass(frozen=True)
class AttentionLayer:
    """One attention of a module: the how many-th square softmax of a run it is, its heads, its tokens."""

    call: int
    heads: int
    tokens: int


class _Watch(TorchFunctionMode):
    """Numbers the square softmaxes of a run; a subclass says what becomes of them."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def seen(self, call: int, matrix: Tensor) -> Tensor:
        """What goes on in the place of the matrix."""
        raise NotImplementedError

    def after(self, name: str, arguments: tuple[Any, ...], result: Any) -> None:
        """Any other call."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        named = dict(kwargs or {})
        name = getattr(func, "__name__", "")
        if name in FUSED:
            raise InvalidSetting(
                "torch computes attention in one fused step here, in which it cannot be seen. Call "
                "torch.backends.mha.set_fastpath_enabled(False) first."
            )
        written = _WRITTEN_OUT.get(func)
        if written is not None:
            with self:  # what it is written out into is seen
                return written(*args, **named)
        result = func(*args, **named)
        if name == "softmax" and _is_square(result, args, named):
            self.calls += 1
            return self.seen(self.calls - 1, result)
        self.after(name, args, result)
        return result


class _Finding(_Watch):
    """Notes the matrices and which of them a product uses, after operations that keep their shape."""

    def __init__(self) -> None:
        super().__init__()
        self.matrices: list[Tensor] = []
        self.used: set[int] = set()
        self._pending: dict[
            int, tuple[Tensor, int]
        ] = {}  # the tensor is held, so that nothing else gets its id

    def seen(self, call: int, matrix: Tensor) -> Tensor:
        self.matrices.append(matrix)
        self._pending[id(matrix)] = matrix, call
        return matrix

    def after(self, name: str, arguments: tuple[Any, ...], result: Any) -> None:
        given = [self._pending[id(part)][1] for part in tree_leaves(arguments) if id(part) in self._pending]
        if name in PRODUCTS:
            self.used.update(given)
        elif given and isinstance(result, Tensor) and result.shape[-2:] == self.matrices[given[0]].shape[-2:]:
            self._pending[id(result)] = result, given[0]


class Attending(_Watch):
    """Hands the attention of each layer, ``(n, heads, t, t)``, to `see`, which says what goes on in its place.

    Args:
        layers: as `attention_layers` found them.
        count: n, the cases of the run.
        see: gets the position of the layer and its probabilities.
    """

    def __init__(
        self, layers: tuple[AttentionLayer, ...], count: int, see: Callable[[int, Tensor], Tensor]
    ) -> None:
        super().__init__()
        self.places = {layer.call: place for place, layer in enumerate(layers)}
        self.layers, self.count, self.see = layers, count, see

    def seen(self, call: int, matrix: Tensor) -> Tensor:
        place = self.places.get(call)
        if place is None:
            return matrix
        layer = self.layers[place]
        wanted = (self.count, layer.heads, layer.tokens, layer.tokens)
        if matrix.numel() != math.prod(wanted):
            raise InvalidSetting(
                f"The attention of layer {place} has the shape {tuple(matrix.shape)} for {self.count} cases, which is not "
                f"{layer.heads} heads of {layer.tokens} tokens each: what the module computes depends on how many cases it is given."
            )
        return self.see(place, matrix.reshape(wanted)).reshape(matrix.shape)


def attention_layers(run: Callable[[], object]) -> tuple[AttentionLayer, ...]:
    """The attentions in the order of a run of one case.

    Raises:
        InvalidSetting: there are none, or they are of parts of the picture (windows), or of different numbers of tokens.
    """
    with torch.no_grad(), _Finding() as found:
        run()
    layers = tuple(_layer(call, found.matrices[call]) for call in sorted(found.used))
    if not layers:
        raise InvalidSetting(
            "No attention was found: the model computes no softmax of square matrices that a product uses. "
            "Use a method for any network, such as IntegratedGradients or Occlusion."
        )
    sizes = sorted({layer.tokens for layer in layers})
    if len(sizes) > 1:
        raise InvalidSetting(
            f"The layers attend over different numbers of tokens ({', '.join(map(str, sizes))}), so attention cannot be followed "
            "through them. Use a method for any network, such as IntegratedGradients or Occlusion."
        )
    return layers


def _layer(call: int, matrix: Tensor) -> AttentionLayer:
    """Of one case: (heads, t, t), or (1, heads, t, t)."""
    shape = tuple(matrix.shape)
    if len(shape) > 3 and shape[0] != 1:
        raise InvalidSetting(
            f"The attention has the shape {shape} for one case: it is computed in {shape[0]} windows, of which none sees the whole "
            "case. Use a method for any network, such as IntegratedGradients or Occlusion."
        )
    return AttentionLayer(call, math.prod(shape[:-2]), shape[-1])


def _is_square(result: Any, args: tuple[Any, ...], named: Mapping[str, Any]) -> bool:
    if not isinstance(result, Tensor) or result.ndim < 3:
        return False
    axis = named.get("dim", args[1] if len(args) > 1 else None)
    return axis in (-1, result.ndim - 1) and result.shape[-1] == result.shape[-2] > 1


def _dot_product_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Float[Tensor, "*batch t e"]:
    """`scaled_dot_product_attention`, written out; the names are torch's."""
    if enable_gqa:
        shares = query.shape[-3] // key.shape[-3]
        key, value = key.repeat_interleave(shares, -3), value.repeat_interleave(shares, -3)
    scores = query @ key.transpose(-2, -1) * (query.shape[-1] ** -0.5 if scale is None else scale)
    if is_causal:
        attn_mask = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
    if attn_mask is None:
        shares_of = torch.softmax(scores, -1)
    else:
        closed = attn_mask.dtype == torch.bool
        scores = scores.masked_fill(~attn_mask, -torch.inf) if closed else scores + attn_mask
        nothing = (scores == -torch.inf).all(-1, keepdim=True)  # a token that may look at none sees nothing
        shares_of = torch.softmax(scores.masked_fill(nothing, 0.0), -1).masked_fill(nothing, 0.0)
    return functional.dropout(shares_of, dropout_p) @ value if dropout_p else shares_of @ value


# torch's own function, which hands itself whole to a function mode unless it sees none: a copy that sees none, so that the
# mode gets the calls inside it.
_multi_head_attention = types.FunctionType(
    functional.multi_head_attention_forward.__code__,
    {**functional.multi_head_attention_forward.__globals__, "has_torch_function": lambda _: False},
    "multi_head_attention",
    functional.multi_head_attention_forward.__defaults__,
)

_WRITTEN_OUT: dict[Any, Callable[..., Any]] = {
    functional.scaled_dot_product_attention: _dot_product_attention,
    functional.multi_head_attention_forward: _multi_head_attention,
}
