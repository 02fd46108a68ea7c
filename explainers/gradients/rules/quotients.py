"""Quotients of differences in the place of slopes, for the nonlinearities that have a form of them.

    (f(x) - f(b)) / (x - b),        f'(x) where x and b are (nearly) equal

A window of a max pool gives its difference to the place that wins it: the case's own maximum where the pool grew, that of the baseline where it
fell; the quotient is between 0 and 1. Nothing is assumed about which axis counts cases. Imports torch: import this module inside functions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional

from explainers.gradients.rules.replaced import Call

#: Functions of one number, applied to each entry.
ELEMENTWISE = frozenset(
    (
        "relu", "relu6", "leaky_relu", "prelu", "elu", "selu", "celu", "gelu", "silu", "mish", "hardswish", "softplus", "sigmoid",
        "hardsigmoid", "hardtanh", "log_sigmoid", "logsigmoid", "tanh", "softsign", "tanhshrink", "softshrink", "hardshrink", "threshold",
        "clamp", "clamp_min", "clamp_max", "clip", "erf", "exp", "expm1", "log", "log1p", "sqrt", "rsqrt", "square", "abs", "sin", "cos",
    )
)  # fmt: skip

#: Those whose slope jumps.
KINKED = frozenset(
    ("relu", "relu6", "leaky_relu", "prelu", "threshold", "hardtanh", "hardswish", "hardsigmoid", "clamp", "clamp_min", "clamp_max", "clip", "abs")
)  # fmt: skip

POOLS = frozenset(f"{kind}max_pool{n}d" for kind in ("", "adaptive_") for n in (1, 2, 3))

#: Steps of several inputs for which the rule has no form: always, or where both sides depend on the case.
NO_FORM = frozenset(
    (
        "softmax", "log_softmax", "layer_norm", "group_norm", "instance_norm", "rms_norm", "normalize", "scaled_dot_product_attention",
        "multi_head_attention_forward", "gru", "lstm", "rnn_tanh", "rnn_relu", "gru_cell", "lstm_cell", "amax", "amin", "logsumexp", "glu",
    )
)  # fmt: skip
OF_TWO = frozenset(("mul", "rmul", "matmul", "rmatmul", "bmm", "einsum", "div", "truediv", "true_divide"))
OF_TWO_OR_ONE = frozenset(("maximum", "minimum"))

#: Differences below this share of the values themselves are rounding.
NEAR = 1e-6


#: A function's values at the case and at what it is compared with.
Both = Callable[[Callable[[torch.Tensor], Any]], tuple[Any, Any]]


def with_quotient(name: str, call: Call, x: torch.Tensor, b: torch.Tensor, both: Both) -> torch.Tensor:
    """The call's values at `x`, whose backward pass has quotients of differences to `b`; `both` gives a function's values at the two."""
    with torch.enable_grad():
        rule = _Sent if name in POOLS else _Times
        found: torch.Tensor = rule.apply(x, b, both, name, call)  # type: ignore[no-untyped-call]
    return found


class _Times(torch.autograd.Function):
    """Sends back slope times quotient."""

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, b: torch.Tensor, both: Both, _name: str, call: Call
    ) -> torch.Tensor:
        y, r = both(call.at)
        ctx.save_for_backward(_quotient(call, x, b, y - r))
        return torch.as_tensor(y)

    @staticmethod
    def backward(ctx: Any, *slopes: Any) -> tuple[torch.Tensor, None, None, None, None]:
        (quotient,) = ctx.saved_tensors
        return slopes[0] * quotient, None, None, None, None


def _quotient(call: Call, x: torch.Tensor, b: torch.Tensor, gain: torch.Tensor) -> torch.Tensor:
    change = x - b
    near = change.abs() <= NEAR * (x.abs() + b.abs())
    quotient = gain / torch.where(near, 1, change)
    if not near.any():
        return quotient
    with torch.enable_grad():
        at = x.detach().clone().requires_grad_()
        (slope,) = torch.autograd.grad(call.at(at).sum(), at)
    return torch.where(near, slope, quotient)


class _Sent(torch.autograd.Function):
    """Of a pool: sends slope times quotient back to the winner of each window."""

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, b: torch.Tensor, both: Both, name: str, call: Call
    ) -> torch.Tensor:
        pool, axes = getattr(functional, f"{name}_with_indices"), int(name[-2])
        args, named = call.rest
        named.pop("return_indices", None)
        (y, place), (r, other) = both(lambda values: pool(values, *args, **named))
        winner = torch.where(y >= r, place, other).flatten(-axes)
        change = (x - b).flatten(-axes).gather(-1, winner).reshape(y.shape)
        quotient = torch.where(
            change == 0, (y >= r).to(y.dtype), (y - r) / torch.where(change == 0, 1, change)
        )
        ctx.save_for_backward(winner, quotient)
        ctx.shape, ctx.axes = x.shape, axes
        return torch.as_tensor(y)

    @staticmethod
    def backward(ctx: Any, *slopes: Any) -> tuple[torch.Tensor, None, None, None, None]:
        winner, quotient = ctx.saved_tensors
        flat = (slopes[0] * quotient).flatten(-ctx.axes)
        back = flat.new_zeros((*ctx.shape[: -ctx.axes], ctx.shape[-ctx.axes :].numel()))
        return back.scatter_add_(-1, winner, flat).reshape(ctx.shape), None, None, None, None


def has_a_form(name: str, call: Call) -> bool:
    """Whether the call is a nonlinearity for which there is a quotient."""
    if name in POOLS:
        args, named = call.rest
        return not named.get("return_indices") and not (len(args) > 5 and args[5])
    return name in ELEMENTWISE or (name in OF_TWO_OR_ONE and _constant(call))


def _constant(call: Call) -> bool:
    """Whether the second argument is one number, the same for all."""
    args, named = call.rest
    other = args[0] if args else named.get("other")
    return isinstance(other, torch.Tensor) and other.numel() == 1 and not other.requires_grad


def without_a_form(name: str, call: Call) -> tuple[str, ...]:
    """The name of a step that is not linear in the case and has no quotient."""
    tensors = [value for value in call.args if isinstance(value, torch.Tensor) and value.requires_grad]
    return (
        (name.strip("_"),) if name in NO_FORM or (name in OF_TWO | OF_TWO_OR_ONE and len(tensors) > 1) else ()
    )
