"""Secants between neighbouring rows: each row of a batch is the next place of a path, and is compared with the row before it.

The secant of a function of one number is the mean of its slope over what lies between, if that is crossed evenly. A window of a max pool
passes its slope on to the place that leads at first and then to the one that leads at last; the share of each is how long it leads, if both move
evenly. A softmax, which mixes a row's numbers, has the mean of its slopes at a few places between. Each way the shares of a difference add up to it.

Imports torch: import this module inside functions.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional

from explainers.gradients.paths.straight import gauss_legendre
from explainers.gradients.rules.quotients import KINKED, POOLS, has_a_form, with_quotient, without_a_form
from explainers.gradients.rules.replaced import Call, Replaced


class Secants(Replaced):
    """While it is entered, nonlinearities give back quotients of differences to the row before; the first row means nothing.

    Attributes:
        kinked: whether a step was met whose slope jumps.
        missed: names of steps that keep their slope: they have no quotient, or their rows are not those of the batch.
    """

    def __init__(self, rows: int) -> None:
        super().__init__()
        self.rows = rows
        self.kinked = False
        self.missed: set[str] = set()

    def instead(self, name: str, call: Call, x: torch.Tensor) -> torch.Tensor | None:
        """The same values with another backward pass."""
        if name in SMOOTH and x.requires_grad and len(x) == self.rows and x.ndim > 1:
            return _own_rule(name, call, x)
        if not has_a_form(name, call):
            self.missed.update(without_a_form(name, call))
            return None
        if not x.requires_grad:  # a step of weights alone
            return None
        if len(x) != self.rows:
            self.missed.add(name)
            return None
        self.kinked |= name in KINKED or name in POOLS
        if name == "relu" or name in POOLS:
            return _own_rule(name, call, x)
        return with_quotient(name, call, x, _before(x), lambda f: ((y := f(x)), _before(y)))


def _before(values: torch.Tensor) -> torch.Tensor:
    """Each row's row before; the first row's is itself."""
    return torch.cat([values[:1], values[:-1]])


#: Functions of a whole row whose slopes are averaged over places between; and how many.
SMOOTH, BETWEEN = frozenset(("softmax", "log_softmax")), 8

#: Keeps 0 / 0 from being asked for.
TINY = 1e-30


def _own_rule(name: str, call: Call, x: torch.Tensor) -> torch.Tensor:
    """The steps that most networks are made of."""
    rule = _Rectified if name == "relu" else _Averaged if name in SMOOTH else _Led
    with torch.enable_grad():
        found: torch.Tensor = rule.apply(x, name, call)  # type: ignore[no-untyped-call]
    return found


class _Rectified(torch.autograd.Function):
    """Of y = relu(x): the secant is (y + y') / (|x| + |x'|), and |x| = 2 y - x: 1 and 0 are exact where both signs are equal."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, _name: str, call: Call) -> torch.Tensor:
        y = call.at(x)
        secant = torch.empty_like(y)
        secant[:1] = 0
        both = torch.add(y[1:], y[:-1], out=secant[1:])
        sizes = (x[1:] + x[:-1]).lerp_(both, 2.0)
        both.div_(sizes.clamp_min_(TINY))
        ctx.save_for_backward(secant)
        return y

    @staticmethod
    def backward(ctx: Any, *slopes: Any) -> tuple[torch.Tensor, None, None]:
        (secant,) = ctx.saved_tensors
        return slopes[0] * secant, None, None


class _Led(torch.autograd.Function):
    """Of a max pool: how long the window's first leader leads, and how long its last."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, name: str, call: Call) -> torch.Tensor:
        pool, axes = getattr(functional, f"{name}_with_indices"), int(name[-2])
        args, named = call.rest
        named.pop("return_indices", None)
        y, leader = pool(x, *args, **named)
        flat, top, last = x.flatten(-axes), y.flatten(-axes), leader.flatten(-axes)
        first = _before(last)
        ahead = top[:-1] - flat[:-1].gather(-1, last[1:])
        behind = top[1:] - flat[1:].gather(-1, first[1:])
        share = torch.zeros_like(top)
        torch.div(ahead, (ahead + behind).clamp_min_(TINY), out=share[1:])
        ctx.save_for_backward(first, last, share)
        ctx.shape, ctx.axes = x.shape, axes
        return torch.as_tensor(y)

    @staticmethod
    def backward(ctx: Any, *slopes: Any) -> tuple[torch.Tensor, None, None]:
        first, last, share = ctx.saved_tensors
        flat = slopes[0].flatten(-ctx.axes)
        early = flat * share
        back = flat.new_zeros((*ctx.shape[: -ctx.axes], ctx.shape[-ctx.axes :].numel()))
        back.scatter_add_(-1, first, early).scatter_add_(-1, last, flat - early)
        return back.reshape(ctx.shape), None, None


class _Averaged(torch.autograd.Function):
    """Of a smooth function: a Gauss-Legendre mean of its slopes between the row before and the row."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, _name: str, call: Call) -> torch.Tensor:
        ctx.save_for_backward(x)
        ctx.call = call
        return call.at(x)

    @staticmethod
    def backward(ctx: Any, *slopes: Any) -> tuple[torch.Tensor, None, None]:
        (x,) = ctx.saved_tensors
        before, mean = _before(x), torch.zeros_like(x)
        for place, weight in zip(*gauss_legendre(BETWEEN), strict=True):
            with torch.enable_grad():
                at = torch.lerp(before, x, float(place)).requires_grad_()
                (slope,) = torch.autograd.grad(ctx.call.at(at), at, slopes[0])
            mean += float(weight) * slope
        return mean, None, None
