"""The rescale rule of DeepLIFT: through each nonlinearity goes the quotient of differences in the place of the slope.

    m = (f(x) - f(b)) / (x - b),        f'(x) where x and b are (nearly) equal

A first pass over the baselines records what goes into each nonlinearity; a second one over the cases, with as many rows, takes the quotients.

Shrikumar, Greenside and Kundaje 2017, arXiv 1704.02685. Imports torch: import this module inside functions.
"""

from __future__ import annotations

import torch

from explainers.errors import ModelFailure
from explainers.gradients.rules.quotients import has_a_form, with_quotient, without_a_form
from explainers.gradients.rules.replaced import Call, Replaced


class Recorded(Replaced):
    """While it is entered, keeps what goes into each nonlinearity."""

    def __init__(self) -> None:
        super().__init__()
        self.inputs: list[tuple[str, torch.Tensor]] = []

    def instead(self, name: str, call: Call, x: torch.Tensor) -> torch.Tensor | None:
        """Nothing is replaced; a copy is kept, since a later step may work in place."""
        if has_a_form(name, call):
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
        if not has_a_form(name, call):
            self.missed.update(without_a_form(name, call))
            return None
        before, b = next(self.recorded, ("", x))
        if before != name or b.shape != x.shape:
            raise ModelFailure(
                "The model takes another way for a case than for its baseline, so their difference cannot be followed step by step. "
                "Use IntegratedGradients."
            )
        return with_quotient(name, call, x, b, lambda f: (f(x), f(b)))
