"""Gradient ascent to pictures that units respond to: what is rewarded, what is held against them, how they are moved.

    J(u) = a(moved u) / σ  -  λ_tv TV(u)  -  λ₂ mean (u - mean colour)²  -  λ_d similarity

with u the picture as shares of the data's range, σ the standard deviation of the response over real pictures (so that weights mean
the same for every unit), TV the mean length of the difference to the neighbours below and to the right, and the similarity of
pictures from several starts the mean cosine of their differences from the mean picture.

Each step sees the picture moved otherwise, as the seed and the step say: shifted around the borders, zoomed and turned a little.
With a blur it sees it softened at first, less and less so, and as it is from half of the steps on. The step is Adam's (Kingma and Ba
2015) on a gradient of length 1 for each picture, with a rate that falls to 0 along a cosine: the size of a response does not
matter, and the last steps settle.
"""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from explainers.gradients.ascent.picture_space import PictureSpace, softened
from explainers.lazily import lazily

if TYPE_CHECKING:
    import torch
else:
    torch = lazily("torch")

#: Adam's memory of slopes and of their squares, and what share of a typical slope still counts: below it is rounding.
BETAS, LEAST = (0.9, 0.999), 1e-3

#: Differences between neighbours below this share of the range count in squares, so that the slope of TV is smooth.
FLAT = 1e-2


@dataclasses.dataclass(frozen=True)
class Regularisers:
    """Weights, in standard deviations of the response, and how far pictures are moved.

    `jitter` and `blur` are shares of the smaller side, `zoom` a share of the size, `rotation` degrees.
    """

    total_variation: float | int = 0.0
    l2: float | int = 0.0
    diversity: float | int = 0.0
    jitter: float | int = 0.0
    zoom: float | int = 0.0
    rotation: float | int = 0.0
    blur: float | int = 0.0

    def cost(self, shares: Float[torch.Tensor, "n c h w"], space: PictureSpace, samples: int) -> torch.Tensor:
        """What is held against each picture, ``(n,)``; every `samples` of them are of one unit."""
        found = torch.zeros(len(shares), device=shares.device)
        if self.total_variation:
            found = found + self.total_variation * variation(shares)
        if self.l2:
            colour = space.mean.mean(dim=(1, 2))[:, None, None]
            found = found + self.l2 * ((shares - colour) ** 2).mean(dim=(1, 2, 3))
        if self.diversity and samples > 1:
            found = found + self.diversity * similarity(shares - space.mean, samples)
        return found

    def moved(
        self, shares: Float[torch.Tensor, "n c h w"], seed: int, step: int, left: float
    ) -> Float[torch.Tensor, "n c h w"]:
        """The pictures as this step sees them; `left` is the share of the steps still to come."""
        sides = (int(shares.shape[2]), int(shares.shape[3]))
        rng = np.random.default_rng([seed, step])
        reach = round(self.jitter * min(sides))
        down, across = (int(shift) for shift in rng.integers(-reach, reach + 1, 2))
        zoom, angle = 1 + self.zoom * rng.uniform(-1, 1), math.radians(self.rotation * rng.uniform(-1, 1))
        sigma = self.blur * min(sides) * max(0.0, 2 * left - 1)
        if sigma > 0.1:  # less passes every frequency
            shares = softened(shares, sigma)
        if down or across:
            shares = shares.roll((down, across), dims=(2, 3))
        return turned(shares, zoom, angle) if self.zoom or self.rotation else shares


def variation(shares: Float[torch.Tensor, "n c h w"]) -> Float[torch.Tensor, " n"]:
    """Mean length of the difference to the neighbours below and to the right, ``(n,)``."""
    down = torch.nn.functional.pad(shares.diff(dim=2), (0, 0, 0, 1))
    across = torch.nn.functional.pad(shares.diff(dim=3), (0, 1))
    return ((down**2 + across**2 + FLAT**2).sqrt() - FLAT).mean(dim=(1, 2, 3))


def similarity(away: Float[torch.Tensor, "n c h w"], samples: int) -> Float[torch.Tensor, " n"]:
    """For each picture the mean cosine between it and the others of its unit, ``(n,)``."""
    flat = torch.nn.functional.normalize(away.flatten(1), dim=1).reshape(-1, samples, away[0].numel())
    cosines = flat @ flat.transpose(1, 2)
    own = cosines.diagonal(dim1=1, dim2=2)
    return ((cosines.sum(dim=2) - own) / (samples - 1)).flatten()


def turned(
    shares: Float[torch.Tensor, "n c h w"], zoom: float, angle: float
) -> Float[torch.Tensor, "n c h w"]:
    """Pictures enlarged and turned about their middle, in pixels that are square; what comes in from outside is mirrored."""
    height, width = shares.shape[2:]
    cos, sin = math.cos(angle) / zoom, math.sin(angle) / zoom
    matrix = torch.tensor(
        [[cos, -sin * height / width, 0.0], [sin * width / height, cos, 0.0]], device=shares.device
    )
    grid = torch.nn.functional.affine_grid(
        matrix.expand(len(shares), 2, 3), list(shares.shape), align_corners=False
    )
    return torch.nn.functional.grid_sample(
        shares, grid, mode="bilinear", padding_mode="reflection", align_corners=False
    )


class Adam:
    """Steps uphill on slopes of length 1 per picture (a slope of nothing stays nothing)."""

    def __init__(self, z: torch.Tensor, rate: float, steps: int) -> None:
        self.rate, self.steps, self.done = rate, steps, 0
        self.mean, self.square = torch.zeros_like(z), torch.zeros_like(z)

    def step(self, slope: torch.Tensor) -> torch.Tensor:
        """How far to go."""
        size = (slope.flatten(1) ** 2).mean(dim=1).sqrt().reshape(-1, *[1] * (slope.ndim - 1))
        slope = slope / size.clamp(min=torch.finfo(torch.float32).tiny)
        rate = self.rate * (1 + math.cos(math.pi * self.done / self.steps)) / 2
        self.done += 1
        self.mean = BETAS[0] * self.mean + (1 - BETAS[0]) * slope
        self.square = BETAS[1] * self.square + (1 - BETAS[1]) * slope**2
        mean, square = self.mean / (1 - BETAS[0] ** self.done), self.square / (1 - BETAS[1] ** self.done)
        return rate * mean / (square.sqrt() + LEAST)
