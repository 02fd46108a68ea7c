"""Rules of layer-wise relevance propagation: how the relevance of a linear layer's outputs is shared among its inputs.

A layer computes ``z = F(x, w) + b``; T(s, w) is the transposed map, the slope of ``Σ s · F(x, w)`` at x. With ``w⁺ = max(w, 0)``,
``w⁻ = min(w, 0)``, likewise for x and b, and ``s = R / (z + ε sign z)``:

    0, ε      R_in = x · T(R / z_ε, w)
    α, β      R_in = α (x⁺ · T(s⁺, w⁺) + x⁻ · T(s⁺, w⁻)) - β (x⁺ · T(s⁻, w⁻) + x⁻ · T(s⁻, w⁺)),   z⁺ is α = 1, β = 0
              s⁺ = R / (F(x⁺, w⁺) + F(x⁻, w⁻) + b⁺),   s⁻ = R / (F(x⁺, w⁻) + F(x⁻, w⁺) + b⁻)
    γ         where z > 0 as z⁺ with ``w + γ w⁺`` for w⁺ and ``w + γ w⁻`` for w⁻; where z < 0 the two change places
    flat, w²  R_in = T(R / F(1, v), v) with v = 1 or v = w²
    z-box     R_in = x · T(s, w) - l · T(s, w⁺) - h · T(s, w⁻),   s = R / (F(x, w) - F(l, w⁺) - F(h, w⁻))

Bach et al. 2015 (0, ε, α-β), Montavon et al. 2017, arXiv 1512.02479 (w², z-box), 2019 (γ; for inputs of both signs as by Andéol et al.
2021), Lapuschkin et al. 2019 (flat). Where no input is negative, as after a ReLU, the terms of x⁻ are left out. Imports torch: import
this module inside functions.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import ClassVar, Protocol, runtime_checkable

import torch

from explainers.gradients.relevance.layers import Layer

#: Keeps a denominator off 0 where a rule has no ε of its own.
STABILISER = 1e-6


@runtime_checkable
class Rule(Protocol):
    """How the relevance of a layer's outputs is shared among its inputs; `outputs` says whether it reads the outputs."""

    outputs: ClassVar[bool]

    def __call__(self, layer: Layer, relevance: torch.Tensor) -> torch.Tensor:
        """Relevance of the inputs, shaped as they are."""
        ...  # pragma: no cover


def stabilised(z: torch.Tensor, epsilon: float = STABILISER) -> torch.Tensor:
    """Denominators moved away from 0 by ε; with ε = 0 a z of 0 shares out nothing."""
    if epsilon == 0:
        return torch.where(z == 0, torch.inf, z)
    return torch.copysign(z.new_tensor(epsilon), z).add_(z)


@dataclasses.dataclass(frozen=True)
class Epsilon:
    """Shares in proportion to ``x w``; ε takes a part where they nearly cancel. LRP-0 with ``epsilon=0``."""

    epsilon: float = STABILISER

    outputs: ClassVar[bool] = True

    def __call__(self, layer: Layer, relevance: torch.Tensor) -> torch.Tensor:
        return layer.x * layer.transposed(relevance / stabilised(layer.z, self.epsilon), layer.weight)


@dataclasses.dataclass(frozen=True)
class AlphaBeta:
    """What speaks for the output shares α times its relevance, what speaks against it -β times; α - β = 1."""

    alpha: float = 1.0
    beta: float = 0.0

    outputs: ClassVar[bool] = False

    def __call__(self, layer: Layer, relevance: torch.Tensor) -> torch.Tensor:
        found = self.alpha * _signed(layer, relevance, "part", 1, _part)
        return found - self.beta * _signed(layer, relevance, "part", -1, _part) if self.beta else found


@dataclasses.dataclass(frozen=True)
class Gamma:
    """Shares in proportion to ``x w``, those that speak for the output counted 1 + γ times."""

    gamma: float = 0.25

    outputs: ClassVar[bool] = True

    def __call__(self, layer: Layer, relevance: torch.Tensor) -> torch.Tensor:
        def favoured(weight: torch.Tensor, sign: int) -> torch.Tensor:
            return weight + self.gamma * _part(weight, sign)

        name = f"gamma {self.gamma}"
        found = _signed(layer, torch.where(layer.z > 0, relevance, 0), name, 1, favoured)
        below = torch.where(layer.z < 0, relevance, 0)
        if bool(below.any()):  # not before a ReLU
            found = found + _signed(layer, below, name, -1, favoured)
        return found


@dataclasses.dataclass(frozen=True)
class Flat:
    """Shares equally among all inputs of an output, or with `squared` in proportion to w²; x does not count."""

    squared: bool = False

    outputs: ClassVar[bool] = False

    def __call__(self, layer: Layer, relevance: torch.Tensor) -> torch.Tensor:
        name, change = ("squared", torch.square) if self.squared else ("ones", torch.ones_like)
        weight = layer.changed(name, change)
        sums = layer.once(name, lambda: layer.forward(torch.ones_like(layer.x), weight))
        return layer.transposed(relevance / stabilised(sums), weight)


@dataclasses.dataclass(frozen=True)
class Box:
    """For inputs that lie between a lowest and a highest value (`Layer.box`): what x is above the one and below the other."""

    outputs: ClassVar[bool] = False

    def __call__(self, layer: Layer, relevance: torch.Tensor) -> torch.Tensor:
        low, high = layer.box
        above, below = layer.changed("part 1", _positive), layer.changed("part -1", _negative)
        sums = layer.once(
            "box",
            lambda: (
                layer.forward(layer.x, layer.weight) - layer.forward(low, above) - layer.forward(high, below)
            ),
        )
        s = relevance / stabilised(sums)
        return (
            layer.x * layer.transposed(s, layer.weight)
            - low * layer.transposed(s, above)
            - high * layer.transposed(s, below)
        )


@dataclasses.dataclass(frozen=True)
class Rules:
    """Which layer follows which rule; `first` goes before the others for layers that no other layer comes before."""

    convolution: Rule
    dense: Rule
    first: Rule | None = None


def composite(name: str, epsilon: float, gamma: float) -> Rules:
    """The rules of a composite by its name."""
    own, favouring = Epsilon(epsilon), Gamma(gamma)
    alone: dict[str, Rule] = {
        "zero": Epsilon(0.0),
        "epsilon": own,
        "gamma": favouring,
        "z-plus": AlphaBeta(1.0, 0.0),
        "alpha2-beta1": AlphaBeta(2.0, 1.0),
    }
    if name in alone:
        return Rules(alone[name], alone[name])
    return {
        "epsilon-plus": Rules(AlphaBeta(1.0, 0.0), own),
        "epsilon-plus-flat": Rules(AlphaBeta(1.0, 0.0), own, Flat()),
        "epsilon-plus-w2": Rules(AlphaBeta(1.0, 0.0), own, Flat(squared=True)),
        "epsilon-alpha2-beta1": Rules(AlphaBeta(2.0, 1.0), own),
        "epsilon-alpha2-beta1-flat": Rules(AlphaBeta(2.0, 1.0), own, Flat()),
        "epsilon-gamma-box": Rules(favouring, own, Box()),
    }[name]


def _signed(
    layer: Layer,
    relevance: torch.Tensor,
    name: str,
    sign: int,
    change: Callable[[torch.Tensor, int], torch.Tensor],
) -> torch.Tensor:
    """x⁺ meets the weights changed for `sign`, x⁻ those changed for the other."""
    own = layer.changed(f"{name} {sign}", lambda w: change(w, sign))
    x, below = layer.once("signs", lambda: _signs(layer.x))
    other = None if below is None else layer.changed(f"{name} {-sign}", lambda w: change(w, -sign))

    def sums() -> torch.Tensor:
        found = layer.forward(x, own)
        if below is not None and other is not None:
            found = found + layer.forward(below, other)
        if layer.bias is not None:
            found += change(layer.bias, sign).reshape(layer.channels(found.ndim))
        # The parts of one sign add up to a sum of that sign.
        return found.add_(sign * STABILISER) if change is _part else stabilised(found)

    s = relevance / layer.once(f"{name} {sign}", sums)
    found = x * layer.transposed(s, own)
    return found if below is None or other is None else found + below * layer.transposed(s, other)


def _signs(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
    """The positive and the negative part; ``None`` where there is none."""
    return (x.clamp(min=0), x.clamp(max=0)) if bool(x.amin() < 0) else (x, None)


def _part(value: torch.Tensor, sign: int) -> torch.Tensor:
    return _positive(value) if sign > 0 else _negative(value)


def _positive(value: torch.Tensor) -> torch.Tensor:
    return value.clamp(min=0)


def _negative(value: torch.Tensor) -> torch.Tensor:
    return value.clamp(max=0)
