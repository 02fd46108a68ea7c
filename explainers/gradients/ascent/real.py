"""How much units respond to pictures as they are, and the real ones that they respond to most."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int, Shaped

from explainers.device import over_chunks
from explainers.gradients.ascent.units import Units
from explainers.lazily import lazily
from explainers.progress import Progress, silent

if TYPE_CHECKING:
    import torch
else:
    torch = lazily("torch")


@dataclass(frozen=True, eq=False)
class RealPictures:
    """Real pictures that were shown to units.

    Attributes:
        searched: how many were shown.
        best: positions of those with the highest response, best first, for each unit.
        activation: their responses.
        spread: the standard deviation of each unit's responses; 1 where all are alike.
    """

    searched: int
    best: Int[np.ndarray, "k e"]
    activation: Float[np.ndarray, "k e"]
    spread: Float[np.ndarray, " k"]


def drawn(cases: int, most: int, seed: int) -> Int[np.ndarray, " n"]:
    """Positions of the real pictures that are looked at: all, or so many at random, in order."""
    if cases <= most:
        return np.arange(cases)
    return np.sort(np.random.default_rng(seed).choice(cases, size=most, replace=False))


def strongest(
    units: Units,
    pictures: Shaped[np.ndarray, "m c h w"],
    which: Int[np.ndarray, " n"],
    wanted: int,
    device: torch.device,
    progress: Progress,
) -> RealPictures:
    """The `wanted` pictures, of those at the positions `which`, that each unit responds to most."""
    found = responses(units, pictures, device, which, progress)
    best = np.argsort(-found, axis=0, kind="stable")[:wanted]
    spread = found.std(axis=0)
    return RealPictures(
        searched=len(which),
        best=which[best].T,
        activation=np.take_along_axis(found, best, axis=0).T,
        spread=np.where(spread > 0, spread, 1.0),
    )


def responses(
    units: Units,
    pictures: Shaped[np.ndarray, "m c h w"],
    device: torch.device,
    which: Int[np.ndarray, " n"] | None = None,
    progress: Progress = silent,
) -> Float[np.ndarray, "n k"]:
    """Of all wanted units to pictures (those at the positions `which`) as they are."""
    columns = torch.tensor(units.columns, device=device)
    which = np.arange(len(pictures)) if which is None else which

    def compute(part: slice) -> np.ndarray:
        with torch.no_grad():
            x = torch.tensor(pictures[which[part]], device=device)
            return np.asarray(units.respond(x)[:, columns].cpu().numpy())

    parts = over_chunks(compute, len(which), pictures[:1].nbytes * 24, device, progress)
    return np.concatenate(parts).astype(np.float64)
