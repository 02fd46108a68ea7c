"""The calls that a module makes, sorted by how relevance goes through them. Imports torch: import this module inside functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch.nn import functional
from torch.utils import _pytree

from explainers.gradients.relevance.layers import (
    Linear,
    convolution,
    dense,
    is_mean,
    product,
    product_from_the_left,
)

#: Functions of single numbers: relevance goes through unchanged.
ELEMENTWISE = frozenset(
    """
    abs acos acosh asin asinh atan atanh celu clamp clamp_max clamp_min cos cosh elu erf exp expm1 gelu hardshrink hardsigmoid
    hardswish hardtanh leaky_relu log log1p log2 logsigmoid mish neg pow prelu reciprocal relu relu6 rrelu rsqrt selu sigmoid silu sin
    sinh softplus softshrink softsign sqrt square tan tanh tanhshrink threshold
    """.split()  # noqa: SIM905  # words, not a column of quotation marks
)

#: Functions that move, choose or copy values, or say something about them: autograd moves relevance likewise.
NATIVE = frozenset(
    """
    all allclose alpha_dropout amax amin any argmax argmin as_tensor bool broadcast_to bfloat16 cat channel_shuffle chunk clone constant_pad_nd
    contiguous copy cpu cuda detach dim double dropout dropout1d dropout2d dropout3d dstack eq expand expand_as feature_dropout fill flatten
    flip float gather ge getitem gt half hstack hsplit index_select is_contiguous is_floating_point isfinite isinf isnan item
    le len lt masked_fill masked_select max min moveaxis movedim narrow ne new_zeros numel ones_like pad permute
    pixel_shuffle pixel_unshuffle ravel repeat repeat_interleave requires_grad reshape roll select setitem shape size split squeeze
    stack stride sum_to_size swapaxes swapdims take take_along_dim tensor_split tile to topk transpose tril triu type type_as unbind
    unflatten unfold unsqueeze view view_as vsplit vstack where zero zeros_like
    """.split()  # noqa: SIM905
)

#: Sums in proportion to the contributions, and products of two values that depend on the case.
SUMS = frozenset(
    """
    add baddbmm batch_norm bmm cumsum diff dot einsum group_norm instance_norm interpolate layer_norm lerp matmul mean mm mul mv
    rms_norm sub sum upsample
    """.split()  # noqa: SIM905
)
PRODUCTS = frozenset(("bmm", "dot", "einsum", "matmul", "mm", "mul", "mv"))

_SAME = {
    "clip": "clamp", "concat": "cat", "concatenate": "cat", "divide": "div", "iadd": "add", "imul": "mul", "isub": "sub",
    "itruediv": "div", "multiply": "mul", "negative": "neg", "radd": "add", "rmul": "mul", "rsub": "sub", "rtruediv": "div",
    "subtract": "sub", "true_divide": "div", "truediv": "div", "ipow": "pow", "fmax": "maximum", "fmin": "minimum",
}  # fmt: skip


def plain_name(func: Any) -> str:
    """One name for the spellings of a function: ``Tensor.__iadd__``, ``Tensor.add_`` and ``torch.add`` are ``add``."""
    name = getattr(func, "__name__", type(func).__name__).strip("_")
    return _SAME.get(name, name)


def is_native(name: str) -> bool:
    """Whether autograd moves relevance as it should; pooling of maxima gives all to the winner."""
    return name in NATIVE or "max_pool" in name


def is_sum(name: str) -> bool:
    """Whether shares in proportion to the contributions are this function's own rule."""
    return name in SUMS or "avg_pool" in name


class Call:
    """One call with values that depend on the case.

    Attributes:
        carriers: those values, each once.
        in_place: whether the result is wanted in `target`, the first argument.
    """

    def __init__(self, func: Any, args: tuple[Any, ...], named: Mapping[str, Any]) -> None:
        self.func, self.args, self.named = func, args, dict(named)
        self.name = plain_name(func)
        found = {id(t): t for t in tensors((args, self.named)) if t.requires_grad}
        self.carriers = list(found.values())
        spelled = getattr(func, "__name__", "")
        self.in_place = (
            (spelled.endswith("_") and not spelled.startswith("__"))
            or (spelled.startswith("__i") and self.name in ("add", "sub", "mul", "div", "pow"))
            or bool(self.named.get("inplace"))
            or (self.name in ELEMENTWISE and any(value is True for value in args[1:]))
        )

    @property
    def target(self) -> torch.Tensor:
        """The first argument."""
        found: torch.Tensor = self.args[0] if self.args else self.named["input"]
        return found

    @property
    def numerator(self) -> torch.Tensor:
        """The first argument if it depends on the case, else the other one."""
        return self.target if any(self.target is t for t in self.carriers) else self.carriers[0]

    def run(self) -> Any:
        """The result, without a graph and without changing an argument."""
        with torch.no_grad():
            return self.at([t.detach() for t in self.carriers])

    def at(self, values: list[torch.Tensor], func: Callable[..., Any] | None = None) -> Any:
        """The result (of another function) for other values in the carriers' places."""
        places = {id(t): value for t, value in zip(self.carriers, values, strict=True)}
        args, named = _pytree.tree_map(
            lambda leaf: places.get(id(leaf), leaf) if isinstance(leaf, torch.Tensor) else leaf,
            (self.args, self.named),
        )
        if self.in_place and func is None and self.name in ("add", "sub", "mul", "div", "pow"):
            return getattr(torch, self.name)(*args, **named)
        if not self.in_place:
            return (func or self.func)(*args, **named)
        if args:
            return (func or self.func)(args[0].clone(), *args[1:], **named)
        return (func or self.func)(**{**named, "input": named["input"].clone()})


def tensors(value: Any) -> list[torch.Tensor]:
    """All tensors in the arguments of a call, in lists and mappings too."""
    return [leaf for leaf in _pytree.tree_leaves(value) if isinstance(leaf, torch.Tensor)]


def weighted(call: Call) -> Linear | None:
    """The layer that a call is, if its input depends on the case and its weights do not."""
    if len(call.carriers) != 1 or call.in_place:
        return None
    x = call.carriers[0]
    if call.name == "linear" or call.name.startswith("conv"):
        names = ("input", "weight", *_REST.get(call.name, ("bias",)))
        bound = dict(zip(names, call.args, strict=False)) | call.named
        if bound.get("input") is not x:
            return None
        if call.name == "linear":
            return dense(x, bound["weight"], bound.get("bias"))
        return _convolution(call.func, bound) if call.name in _REST else None
    return _product(call, x)


_REST = {
    **{f"conv{n}d": ("bias", "stride", "padding", "dilation", "groups") for n in (1, 2, 3)},
    **{
        f"conv_transpose{n}d": ("bias", "stride", "padding", "output_padding", "groups", "dilation")
        for n in (1, 2, 3)
    },
}


def _convolution(func: Any, bound: dict[str, Any]) -> Linear | None:
    x, weight, bias = bound.pop("input"), bound.pop("weight"), bound.pop("bias", None)
    if bias is None and is_mean(weight, bound.get("groups", 1)):
        return None
    return convolution(func, x, weight, bias, bound)


def _product(call: Call, x: torch.Tensor) -> Linear | None:
    if call.name == "addmm" and len(call.args) == 3 and not call.named and call.args[1] is x:
        bias, _, weight = call.args
        return product(x, weight, bias) if bias.shape == weight.shape[1:] else None
    if call.name not in ("matmul", "mm") or len(call.args) != 2 or call.named:
        return None
    left, right = call.args
    if left is x and right.ndim == 2:
        return product(x, right)
    return product_from_the_left(x, left) if right is x and left.ndim == 2 and x.ndim > 1 else None


def constant_deviation(name: str) -> Callable[..., torch.Tensor] | None:
    """For a normalisation by the case's own statistics the same function with its deviation taken as a constant."""
    return _CONSTANT_DEVIATION.get(name)


def _layer_norm(
    input: torch.Tensor, normalized_shape: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5
) -> Any:
    axes = tuple(range(input.ndim - len(normalized_shape), input.ndim))
    found = _standardised(input, axes, eps)
    found = found if weight is None else found * weight
    return found if bias is None else found + bias


def _group_norm(
    input: torch.Tensor, num_groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5
) -> Any:
    groups = input.reshape(len(input), num_groups, -1)
    found = _standardised(groups, (2,), eps).reshape(input.shape)
    shape = (1, -1, *[1] * (input.ndim - 2))
    found = found if weight is None else found * weight.reshape(shape)
    return found if bias is None else found + bias.reshape(shape)


def _instance_norm(
    input: torch.Tensor, running_mean: Any = None, running_var: Any = None, weight: Any = None, bias: Any = None,
    use_input_stats: bool = True, momentum: float = 0.1, eps: float = 1e-5,
) -> Any:  # fmt: skip
    if not use_input_stats:
        return functional.instance_norm(input, running_mean, running_var, weight, bias, False, momentum, eps)
    return _group_norm(input, input.shape[1], weight, bias, eps)


def _standardised(x: torch.Tensor, axes: tuple[int, ...], eps: float) -> torch.Tensor:
    centred = x - x.mean(axes, keepdim=True)
    return centred / torch.sqrt(centred.square().mean(axes, keepdim=True) + eps).detach()


_CONSTANT_DEVIATION: dict[str, Callable[..., torch.Tensor]] = {
    "layer_norm": _layer_norm,
    "group_norm": _group_norm,
    "instance_norm": _instance_norm,
}
