"""Mixtures of rows through a torch module: where it begins with a linear layer, that is asked for the halves and not for each mixture.

With z = 1 where a mixture has the case's own value, W (z x + (1 - z) b) = W (z x) + W ((1 - z) b): the first part does not depend on
the reference case, the second not on the case. What is left for each of the ``t x b`` rows is one addition and the layers behind.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Int

from explainers.lazily import lazily
from explainers.staged import Mixture

if TYPE_CHECKING:
    import torch
else:
    torch = lazily("torch")

#: Rows that go through the layers behind at a time: their values stay in the processor's cache.
ROWS = 8192


def begins_linearly(module: torch.nn.Module) -> bool:
    """Whether a module is a plain sequence whose first layer is linear, and nothing listens in."""
    return (
        type(module) is torch.nn.Sequential
        and len(module) > 1
        and type(module[0]) is torch.nn.Linear
        and not (module._forward_hooks or module._forward_pre_hooks)
        and not (module[0]._forward_hooks or module[0]._forward_pre_hooks)
    )


def answers(module: torch.nn.Sequential, mixture: Mixture) -> np.ndarray:
    """The module's own output for all rows of the mixtures, on its own device, without gradients; it is in eval mode."""
    first, *behind = module
    assert isinstance(first, torch.nn.Linear)
    home, kind = first.weight.device, first.weight.dtype

    def moved(values: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32)).to(home, kind)

    with torch.inference_mode():
        weight, bias = first.weight.T, 0.0 if first.bias is None else first.bias
        present, background = moved(mixture.present), moved(mixture.background)
        own = moved(mixture.cases)[torch.from_numpy(mixture.which).to(home)] * present @ weight + bias
        step = max(1, ROWS // len(mixture.background))
        parts = []
        for start in range(0, len(mixture.which), step):
            block = mixture.present[start : start + step]
            masks, place = _runs(block)
            absent = 1.0 - present[start : start + step][torch.from_numpy(masks).to(home)]
            others = ((absent[:, None] * background) @ weight)[torch.from_numpy(place).to(home)]
            hidden = others.add_(own[start : start + step, None])
            parts.append(_through(behind, hidden.reshape(-1, hidden.shape[2])).float().cpu().numpy())
    return np.concatenate(parts)


def _through(layers: list[torch.nn.Module], hidden: torch.Tensor) -> torch.Tensor:
    """Through the layers one by one; `hidden` is ours, and so is what a linear layer gives: there a rectifier needs no memory of its own."""
    ours = True
    for layer in layers:
        quiet = not (layer._forward_hooks or layer._forward_pre_hooks)
        hidden = torch.relu_(hidden) if ours and quiet and type(layer) is torch.nn.ReLU else layer(hidden)
        ours = type(layer) is torch.nn.Linear and quiet
    return hidden


def _runs(masks: Bool[np.ndarray, "t p"]) -> tuple[Int[np.ndarray, " u"], Int[np.ndarray, " t"]]:
    """Where each run of equal masks begins, and the run of each."""
    new = np.append(True, (masks[1:] != masks[:-1]).any(axis=1))
    return np.flatnonzero(new), np.cumsum(new) - 1
