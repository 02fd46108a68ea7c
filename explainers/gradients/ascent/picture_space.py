"""Pictures as what is optimised: their pixels, or the coefficients of a Fourier basis in which natural pictures are decorrelated.

Inside the range of the data, channel by channel, a picture is ``low + (high - low) u`` with `u` from 0 to 1:

    pixels     u = z, kept inside by cutting off
    fourier    u = sigmoid( C · irfft2( z / max(f, 1/side) ) )

where f is the frequency of a coefficient in cycles per pixel (natural pictures have amplitudes like 1/f, so that all coefficients
matter alike) and C the square root of the covariance of the data's own channels, scaled to a largest column of length 1. The
transform is unitary. Olah, Mordvintsev and Schubert 2017, whose C is that of ImageNet.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from jaxtyping import Float

from explainers.lazily import lazily

if TYPE_CHECKING:
    import torch
else:
    torch = lazily("torch")

#: How far a first picture of noise strays from grey: pixels as a share of the range, coefficients as they are.
NOISE = {"pixels": 0.05, "fourier": 0.01}

#: A mean picture is kept so far from the ends of the range that its slope in the coefficients does not vanish.
INSIDE = 0.02


@dataclass(frozen=True, eq=False)
class PictureSpace:
    """The range of the data and how a picture within it is written.

    Attributes:
        low, spread: the smallest value of each channel and how far the largest is from it, ``(c, 1, 1)``.
        mean: the mean picture as a share of the range, ``(c, h, w)``.
        colours: C of the module's docstring, ``(c, c)``.
        kind: what is optimised.
    """

    low: Float[torch.Tensor, "c 1 1"]
    spread: Float[torch.Tensor, "c 1 1"]
    mean: Float[torch.Tensor, "c h w"]
    colours: Float[torch.Tensor, "c c"]
    kind: Literal["pixels", "fourier"]

    @classmethod
    def of(
        cls, pictures: Float[np.ndarray, "n c h w"], kind: Literal["pixels", "fourier"], device: torch.device
    ) -> PictureSpace:
        """The range and the mean of pictures ``(n, c, h, w)``."""
        low, high = (end(axis=(0, 2, 3))[:, None, None] for end in (pictures.min, pictures.max))
        spread = high - low
        width = np.where(spread > 0, spread, 1)  # a channel that never changes
        mean = (pictures.mean(axis=0, dtype=np.float64) - low) / width

        def placed(part: np.ndarray) -> torch.Tensor:
            return torch.tensor(part, dtype=torch.float32, device=device)

        return cls(
            placed(low), placed(spread), placed(mean), placed(_colours(pictures, width[:, 0, 0])), kind
        )

    def first(self, start: Literal["noise", "mean"], samples: int, seed: int) -> torch.Tensor:
        """What is optimised, at the start: grey and noise, or the mean picture and a tenth of it; ``(samples, …)``."""
        base = self._written(self.mean if start == "mean" else torch.full_like(self.mean, 0.5))
        noise = np.stack(
            [np.random.default_rng([seed, sample]).standard_normal(base.shape) for sample in range(samples)]
        )
        size = NOISE[self.kind] * (0.1 if start == "mean" else 1.0)
        return self.kept(base + size * torch.tensor(noise, dtype=torch.float32, device=base.device))

    def kept(self, z: torch.Tensor) -> torch.Tensor:
        """Inside the range; coefficients always are."""
        return z.clamp(0, 1) if self.kind == "pixels" else z

    def shares(self, z: torch.Tensor) -> Float[torch.Tensor, "n c h w"]:
        """Pictures as shares of the range."""
        if self.kind == "pixels":
            return z
        height, width = self.mean.shape[1:]
        plain = torch.fft.irfft2(
            torch.view_as_complex(z) * self._scale(), s=(int(height), int(width)), norm="ortho"
        )
        return torch.sigmoid(torch.einsum("dc,nchw->ndhw", self.colours, plain))

    def values(self, shares: Float[torch.Tensor, "n c h w"]) -> Float[torch.Tensor, "n c h w"]:
        """Pictures in the values of the data."""
        return self.low + self.spread * shares

    def _written(self, share: Float[torch.Tensor, "c h w"]) -> torch.Tensor:
        """The `z` of a picture."""
        if self.kind == "pixels":
            return share
        plain = torch.logit(share.clamp(INSIDE, 1 - INSIDE))
        plain = torch.einsum("dc,chw->dhw", torch.linalg.inv(self.colours), plain)
        return torch.view_as_real(torch.fft.rfft2(plain, norm="ortho") / self._scale())

    def _scale(self) -> Float[torch.Tensor, "h v"]:
        height, width = self.mean.shape[1:]
        return 1 / _frequencies(height, width, self.mean.device).clamp(min=1 / max(height, width))


def softened(pictures: Float[torch.Tensor, "n c h w"], sigma: float) -> Float[torch.Tensor, "n c h w"]:
    """A Gaussian blur of `sigma` pixels, around the borders."""
    height, width = int(pictures.shape[2]), int(pictures.shape[3])
    passed = torch.exp(-2 * (torch.pi * sigma * _frequencies(height, width, pictures.device)) ** 2)
    soft: torch.Tensor = torch.fft.irfft2(torch.fft.rfft2(pictures) * passed, s=(height, width))
    return soft


def _frequencies(height: int, width: int, device: torch.device) -> Float[torch.Tensor, "h v"]:
    """Cycles per pixel of the coefficients of `rfft2`."""
    down, across = torch.fft.fftfreq(height, device=device), torch.fft.rfftfreq(width, device=device)
    found: torch.Tensor = (down[:, None] ** 2 + across**2).sqrt()
    return found


def _colours(pictures: np.ndarray, width: np.ndarray) -> np.ndarray:
    """The symmetric square root of the covariance of the channels, ``(c, c)``."""
    sample = pictures[:: max(1, len(pictures) // 64)]
    values = np.moveaxis(sample, 1, 0).reshape(len(width), -1).astype(np.float64) / width[:, None]
    covariance = np.atleast_2d(np.cov(values)) if values.shape[1] > 1 else np.eye(len(width))
    sizes, axes = np.linalg.eigh(covariance)
    sizes = np.maximum(sizes, 1e-3 * max(sizes.max(), 1e-12))  # channels that are alike can still part
    root = axes @ np.diag(np.sqrt(sizes)) @ axes.T
    return np.asarray(root / np.linalg.norm(root, axis=0).max())
