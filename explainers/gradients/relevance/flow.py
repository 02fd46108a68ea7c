"""The three ways in which relevance goes back through a call: by a layer's rule, unchanged, or in proportion to the contributions.

Autograd functions whose backward pass takes and gives relevance in the slopes' place. Imports torch: import this module inside functions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.utils import _pytree

from explainers.gradients.relevance.calls import PRODUCTS, Call, constant_deviation
from explainers.gradients.relevance.layers import Keeper, Layer
from explainers.gradients.relevance.rules import Rule, stabilised


def begun(scores: torch.Tensor) -> torch.Tensor:
    """The scores, where relevance begins: each score is its own."""
    found: torch.Tensor = _Begun.apply(scores)  # type: ignore[no-untyped-call]
    return found


def by_rule(x: torch.Tensor, z: torch.Tensor, layer: Layer, rule: Rule) -> torch.Tensor:
    """z, from which relevance goes to x by the rule."""
    found: torch.Tensor = _ByRule.apply(x, [z], layer, rule)  # type: ignore[no-untyped-call]
    return found


def passed(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """y, from which relevance goes to x unchanged; where x was repeated, to all its copies together."""
    found: torch.Tensor = _Passed.apply(x, [y])  # type: ignore[no-untyped-call]
    return found


def passed_in_place(call: Call) -> torch.Tensor:
    """The first argument, changed by the call, from which relevance goes unchanged to what it was."""
    found: torch.Tensor = _PassedInPlace.apply(call.target, call)  # type: ignore[no-untyped-call]
    return found


def shared(call: Call, keeper: Keeper, unruled: set[str] | None = None) -> Any:
    """The result of a call, from which relevance goes to its arguments in proportion to ``x · slope``.

    A function without a rule is named in `unruled` when relevance comes back to it. Its result gets memory of its own: it may keep
    what it returned for its slope.
    """
    inner = [t.detach().requires_grad_() for t in call.carriers]
    surrogate = constant_deviation(call.name)
    with torch.enable_grad():
        found = call.at(inner, surrogate)
    leaves, form = _pytree.tree_flatten(found)
    places = [i for i, v in enumerate(leaves) if isinstance(v, torch.Tensor) and v.grad_fn is not None]
    if not places:  # a size, a truth, a place
        return call.at(call.carriers)
    outputs = [leaves[i] for i in places]
    values = (
        [call.run()]
        if surrogate
        else [v.detach() if unruled is None else v.detach().clone() for v in outputs]
    )
    fraction = 0.5 if call.name in PRODUCTS and len(call.carriers) == 2 else 1.0
    kept, sums = ([keeper.keep(t) for t in part] for part in (call.carriers, values))

    def met() -> None:
        if unruled is not None:
            unruled.add(call.name)

    share = _Share(inner, outputs, kept, sums, fraction, met)
    results = _Shared.apply(share, values, *call.carriers)  # type: ignore[no-untyped-call]
    for place, result in zip(places, results, strict=True):
        leaves[place] = result
    return _pytree.tree_unflatten(leaves, form)


class _Share:
    """What the backward pass of a shared call needs."""

    def __init__(
        self, inner: Any, outputs: Any, xs: Any, zs: Any, part: float, met: Callable[[], None]
    ) -> None:
        self.inner, self.outputs, self.xs, self.zs = inner, outputs, xs, zs
        self.part, self.met = part, met

    def __call__(self, relevance: tuple[torch.Tensor, ...]) -> list[torch.Tensor]:
        self.met()
        s = [r / stabilised(z.value) for r, z in zip(relevance, self.zs, strict=True)]
        slopes = torch.autograd.grad(self.outputs, self.inner, s, retain_graph=True, materialize_grads=True)
        return [self._of(x.value, slope) for x, slope in zip(self.xs, slopes, strict=True)]

    def _of(self, x: torch.Tensor, slope: torch.Tensor) -> torch.Tensor:
        share = x * slope
        if not bool(
            torch.isfinite(share.sum())
        ):  # an infinite x, as of a mask, has a slope of 0 and no share
            share = torch.where(slope == 0, 0, share)
        return share if self.part == 1 else self.part * share


class _Begun(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, scores: torch.Tensor) -> torch.Tensor:
        ctx.scores = scores.detach()
        return scores.clone()

    @staticmethod
    def backward(ctx: Any, *chosen: Any) -> Any:
        return chosen[0] * ctx.scores


class _ByRule(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, _x: torch.Tensor, z: list[torch.Tensor], layer: Layer, rule: Rule) -> torch.Tensor:
        ctx.layer, ctx.rule = layer, rule
        return z[0]

    @staticmethod
    def backward(ctx: Any, *relevance: Any) -> Any:
        return ctx.rule(ctx.layer, relevance[0]), None, None, None


class _Passed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, y: list[torch.Tensor]) -> torch.Tensor:
        ctx.shape, ctx.dtype = x.shape, x.dtype
        return y[0]

    @staticmethod
    def backward(ctx: Any, *relevance: Any) -> Any:
        return relevance[0].sum_to_size(ctx.shape).to(ctx.dtype), None


class _PassedInPlace(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, call: Call) -> torch.Tensor:
        call.func(*call.args, **call.named)
        ctx.mark_dirty(x)
        return x

    @staticmethod
    def backward(_ctx: Any, *relevance: Any) -> Any:
        return relevance[0], None


class _Shared(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, share: _Share, values: list[torch.Tensor], *_carriers: torch.Tensor) -> Any:
        ctx.share = share
        return tuple(values)

    @staticmethod
    def backward(ctx: Any, *relevance: Any) -> Any:
        return None, None, *ctx.share(relevance)
