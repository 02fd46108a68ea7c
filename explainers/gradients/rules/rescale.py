"""The rescale rule of DeepLIFT: through each nonlinearity goes the quotient of differences in the place of the slope.

    m = (f(x) - f(b)) / (x - b),        f'(x) where x and b are (nearly) equal

A first pass over the baselines records what goes into each nonlinearity; a second one over the cases, with as many rows, takes the quotients.
Nothing is assumed about which axis counts cases. A window of a max pool gives its difference to the place that wins it: the case's
own maximum where the pool grew, that of the baseline where it fell; the quotient is between 0 and 1.

Shrikumar, Greenside and Kundaje 2017, arXiv 1704.02685. Imports torch: import this module inside functions.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional

from explainers.errors import ModelFailure
from explainers.gradients.rules.replaced import Call, Replaced

#: Functions of one number, applied to each entry.
ELEMENTWISE = frozenset(
    (
        "relu", "relu6", "leaky_relu", "prelu", "elu", "selu", "celu", "gelu", "silu", "mish", "hardswish", "softplus", "sigmoid",
        "hardsigmoid", "hardtanh", "log_sigmoid", "logsigmoid", "tanh", "softsign", "tanhshrink", "softshrink", "hardshrink", "threshold",
        "clamp", "clamp_min", "clamp_max", "clip", "erf", "exp", "expm1", "log", "log1p", "sqrt", "rsqrt", "square", "abs", "sin", "cos",
    )
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


class Recorded(Replaced):
    """While it is entered, keeps what goes into each nonlinearity."""

    def __init__(self) -> None:
        super().__init__()
        self.inputs: list[tuple[str, torch.Tensor]] = []

    def instead(self, name: str, call: Call, x: torch.Tensor) -> torch.Tensor | None:
        """Nothing is replaced; a copy is kept, since a later step may work in place."""
        if _has_a_form(name, call):
            self.inputs.append((name, x.detach().clone()))
        return None


class Rescaled(Replaced):
    """While it is entered, nonlinearities give back quotients of differences to the recorded inputs.

    Attributes:
        missed: names of steps that were met for which the rule has no form; they keep their slope.
    """

    def __init__(self, inputs: list[tuple[str, torch.Tensor]]) -> None:
        super().__init__()
        self.recorded = iter(inputs)
        self.missed: set[str] = set()

    def instead(self, name: str, call: Call, x: torch.Tensor) -> torch.Tensor | None:
        """The same values with another backward pass."""
        if not _has_a_form(name, call):
            self.missed.update(_without_a_form(name, call))
            return None
        before, b = next(self.recorded, ("", x))
        if before != name or b.shape != x.shape:
            raise ModelFailure(
                "The model takes another way for a case than for its baseline, so their difference cannot be followed step by step. "
                "Use IntegratedGradients."
            )
        with torch.no_grad():
            found: torch.Tensor = _pooled(name, call, x, b) if name in POOLS else _rescaled(call, x, b)
        return found


def _rescaled(call: Call, x: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    y, change = call.at(x), x - b
    near = change.abs() <= NEAR * (x.abs() + b.abs())
    quotient = (y - call.at(b)) / torch.where(near, 1, change)
    if near.any():
        with torch.enable_grad():
            at = x.detach().clone().requires_grad_()
            (slope,) = torch.autograd.grad(call.at(at).sum(), at)
        quotient = torch.where(near, slope, quotient)
    with torch.enable_grad():
        found: torch.Tensor = _Times.apply(x, y, quotient)  # type: ignore[no-untyped-call]
    return found


def _pooled(name: str, call: Call, x: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    pool, axes = getattr(functional, f"{name}_with_indices"), int(name[-2])
    args, named = call.rest
    named.pop("return_indices", None)
    (y, place), (r, other) = pool(x, *args, **named), pool(b, *args, **named)
    winner = torch.where(y >= r, place, other).flatten(-axes)
    change = (x - b).flatten(-axes).gather(-1, winner).reshape(y.shape)
    quotient = torch.where(change == 0, (y >= r).to(y.dtype), (y - r) / torch.where(change == 0, 1, change))
    with torch.enable_grad():
        found: torch.Tensor = _Sent.apply(x, y, winner, quotient, axes)  # type: ignore[no-untyped-call]
    return found


class _Times(torch.autograd.Function):
    """Gives y; sends back slope times quotient."""

    @staticmethod
    def forward(ctx: Any, _x: torch.Tensor, y: torch.Tensor, quotient: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(quotient)
        return y.clone()

    @staticmethod
    def backward(ctx: Any, *slopes: Any) -> tuple[torch.Tensor, None, None]:
        (quotient,) = ctx.saved_tensors
        return slopes[0] * quotient, None, None


class _Sent(torch.autograd.Function):
    """Gives y; sends slope times quotient back to the winner of each window."""

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, y: torch.Tensor, winner: torch.Tensor, quotient: torch.Tensor, axes: int
    ) -> torch.Tensor:
        ctx.save_for_backward(winner, quotient)
        ctx.shape, ctx.axes = x.shape, axes
        return y.clone()

    @staticmethod
    def backward(ctx: Any, *slopes: Any) -> tuple[torch.Tensor, None, None, None, None]:
        winner, quotient = ctx.saved_tensors
        flat = (slopes[0] * quotient).flatten(-ctx.axes)
        back = flat.new_zeros((*ctx.shape[: -ctx.axes], ctx.shape[-ctx.axes :].numel()))
        return back.scatter_add_(-1, winner, flat).reshape(ctx.shape), None, None, None, None


def _has_a_form(name: str, call: Call) -> bool:
    if name in POOLS:
        args, named = call.rest
        return not named.get("return_indices") and not (len(args) > 5 and args[5])
    return name in ELEMENTWISE or (name in OF_TWO_OR_ONE and _constant(call))


def _constant(call: Call) -> bool:
    """Whether the second argument is one number, the same for all."""
    args, named = call.rest
    other = args[0] if args else named.get("other")
    return isinstance(other, torch.Tensor) and other.numel() == 1 and not other.requires_grad


def _without_a_form(name: str, call: Call) -> tuple[str, ...]:
    tensors = [value for value in call.args if isinstance(value, torch.Tensor) and value.requires_grad]
    return (
        (name.strip("_"),) if name in NO_FORM or (name in OF_TWO | OF_TWO_OR_ONE and len(tensors) > 1) else ()
    )
