"""The backward pass of guided backpropagation: through a ReLU goes only what is positive, forwards and backwards.

    R_i = [x_i > 0] · [R_out,i > 0] · R_out,i

A ReLU is what does its work: `relu`, and a cut at 0 with an upper end (ReLU6). Imports torch: import this module inside functions.
"""

from __future__ import annotations

from typing import Any

import torch

from explainers.gradients.rules.replaced import Call, Replaced

#: Activations that keep their own slope.
OTHERS = frozenset(
    ("gelu", "silu", "leaky_relu", "elu", "selu", "celu", "mish", "hardswish", "prelu", "rrelu", "softplus")
)


class Guided(Replaced):
    """While it is entered, ReLUs let only positive slopes back.

    Attributes:
        rectifiers: how many calls of a ReLU were met. others: names of other activations that were met.
    """

    def __init__(self) -> None:
        super().__init__()
        self.rectifiers = 0
        self.others: set[str] = set()

    def instead(self, name: str, call: Call, x: torch.Tensor) -> torch.Tensor | None:
        """The guided ReLU."""
        if _rectifies(name, call):
            self.rectifiers += 1
            if name == "relu":
                plain: torch.Tensor = _GuidedRelu.apply(x)  # type: ignore[no-untyped-call]
                return plain
            with torch.no_grad():
                y = call.at(x)
            found: torch.Tensor = _OnlyPositive.apply(x, y)  # type: ignore[no-untyped-call]
            return found
        if name in OTHERS:
            self.others.add(name)
        return None

    def notes(self) -> tuple[str, ...]:
        """What a reader has to know of this network."""
        if not self.rectifiers:
            return ("There is no ReLU in this network: guided backpropagation is here the plain gradient.",)
        if self.others:
            return (f"Only ReLUs are guided; {', '.join(sorted(self.others))} kept the own slope.",)
        return ()


class _GuidedRelu(torch.autograd.Function):
    """The ReLU without an upper end: all that the way back needs is what it gave."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        y = torch.relu(x)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Any, *slopes: Any) -> torch.Tensor:
        (y,) = ctx.saved_tensors
        passed: torch.Tensor = torch.ops.aten.threshold_backward(slopes[0], y, 0)
        return passed.clamp_min_(0)  # a new tensor: nobody else has it


class _OnlyPositive(torch.autograd.Function):
    """Gives y; lets a slope back where it is positive and y is x, above 0 (and below the upper end)."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward((y == x) & (y > 0))
        return y.clone()

    @staticmethod
    def backward(ctx: Any, *slopes: Any) -> tuple[torch.Tensor, None]:
        (passes,) = ctx.saved_tensors
        return torch.where(passes, slopes[0].clamp(min=0), 0), None


def _rectifies(name: str, call: Call) -> bool:
    """A ReLU by any name: a cut at 0, with no upper end or at 6 (one at 1 makes a gate)."""
    if name in ("relu", "relu6"):
        return True
    if name not in ("hardtanh", "clamp", "clip", "clamp_min", "maximum"):
        return False
    args, named = call.rest
    low = args[0] if args else named.get("min_val", named.get("min", named.get("other")))
    high = args[1] if len(args) > 1 else named.get("max_val", named.get("max"))
    return _number(low) == 0 and (high is None or _number(high) in (6, float("inf")))


def _number(value: Any) -> float | None:
    """A constant, by itself or as the only entry of a tensor."""
    if isinstance(value, torch.Tensor):
        value = value.item() if value.numel() == 1 and not value.requires_grad else None
    return None if value is None else float(value)
