"""Gradients at noisy copies of the cases, in pairs whose noise has opposite signs.

Pair `p` of every case has the same standard normal noise e, drawn from the seed and `p` alone, times the case's own scale σ: nothing depends on the
portions or on which other cases are explained. What is odd in the noise cancels within a pair. Of each pair two numbers are kept for
each input, the mean slope and the mean squared slope

    a = (g₊ + g₋) / 2        q = (g₊² + g₋²) / 2,        g± = ∂S/∂x (x ± σ e)

as running sums, from which the mean, the square and the variance of the slopes follow at any time, with their standard errors
over the pairs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from jaxtyping import Float, Int

from explainers.device import chunk_rows, over_chunks
from explainers.gradients.differentiate import each_slope, on, row_bytes
from explainers.gradients.scores import Score
from explainers.lazily import lazily
from explainers.progress import Progress

if TYPE_CHECKING:
    import torch
else:
    torch = lazily("torch")


#: Numbers that are added up at a time: in float64 they stay in the cache, and next to the sums themselves take no memory.
AT_A_TIME = 2**18


def noise_of(seed: int, pair: int, shape: tuple[int, ...]) -> np.ndarray:
    """Standard normal noise of one pair, float32."""
    return np.random.default_rng([seed, pair]).standard_normal(shape, dtype=np.float32)


@dataclass
class Noisy:
    """The cases ``(m, …)`` and the scale of their noise, which broadcasts to them."""

    cases: Float[np.ndarray, "m *shape"]
    scale: np.ndarray
    seed: int

    def pair(self, pair: int, cases: slice, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
        """Some cases, and their noise."""
        x = torch.tensor(self.cases[cases], device=device)
        e = torch.from_numpy(noise_of(self.seed, pair, self.cases.shape[1:])).to(device)
        scale = self.scale[cases] if len(self.scale) == len(self.cases) else self.scale
        return x, (torch.tensor(scale, device=device) * e).expand_as(x)


class PairSums:
    """Sums over the pairs, for each case, input (and output); float64 ``(m, …)``, those that a variant needs."""

    NEEDED: ClassVar[dict[str, tuple[str, ...]]] = {
        "mean": ("a", "aa"),
        "squared": ("q", "qq"),
        "variance": ("a", "aa", "q", "qq", "aq"),
    }

    def __init__(self, variant: str, shape: tuple[int, ...]) -> None:
        self.variant, self.pairs = variant, 0
        self.sums = {name: np.zeros(shape) for name in self.NEEDED[variant]}

    def add(self, cases: slice, plus: np.ndarray, minus: np.ndarray) -> None:
        """One more pair of slopes for some cases."""
        totals = {name: total[cases].reshape(-1) for name, total in self.sums.items()}
        plus, minus = plus.reshape(-1), minus.reshape(-1)
        for start in range(0, len(plus), AT_A_TIME):
            at = slice(start, start + AT_A_TIME)
            above, below = plus[at].astype(np.float64), minus[at].astype(np.float64)
            part = {"a": (above + below) / 2}
            if "q" in self.sums:
                part["q"] = (above**2 + below**2) / 2
            for name, total in totals.items():
                total[at] += part[name] if len(name) == 1 else part[name[0]] * part[name[1]]

    def estimate(self, dtype: type = np.float64) -> tuple[np.ndarray, np.ndarray]:
        """The mean, the mean square or the variance of the slopes, and its standard error over the pairs."""
        flat = {name: total.reshape(-1) for name, total in self.sums.items()}
        shape, size = next((total.shape, total.size) for total in self.sums.values())
        values: np.ndarray = np.empty(size, dtype)
        errors = np.empty_like(values)
        for start in range(0, size, AT_A_TIME):
            at = slice(start, start + AT_A_TIME)
            values[at], errors[at] = self._estimated({name: total[at] for name, total in flat.items()})
        return values.reshape(shape), errors.reshape(shape)

    def _estimated(self, sums: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        n, mean = self.pairs, {name: total / self.pairs for name, total in sums.items()}
        if self.variant != "variance":
            first, square = self.NEEDED[self.variant]
            return mean[first], _error(mean[square] - mean[first] ** 2, n)
        a, q = mean["a"], mean["q"]
        aa, qq, aq = mean["aa"] - a * a, mean["qq"] - q * q, mean["aq"] - a * q
        # q - a² falls short of the variance by that of the mean a: it is put back. The error is that of q - 2 a E[a].
        return q - a * a + np.maximum(aa, 0) / (n - 1), _error(qq - 4 * a * aq + 4 * a * a * aa, n)


def _error(variance: np.ndarray, n: int) -> np.ndarray:
    return np.asarray(np.sqrt(np.maximum(variance, 0) / (n - 1)))


def add_pairs(
    score: Score,
    noisy: Noisy,
    pairs: range,
    sums: PairSums,
    targets: Int[np.ndarray, " m"] | None,
    device: torch.device,
    progress: Progress,
) -> None:
    """Add these pairs of all cases to the sums; a row of work is one case with both signs of one pair."""
    m, count = len(noisy.cases), len(pairs) * len(noisy.cases)
    size = row_bytes(score, noisy.cases, 2 * count, device)
    together = (
        chunk_rows(size, device) > 1
    )  # else one sign after the other: two large pictures at once help nobody

    def ask(at: torch.Tensor, rows: np.ndarray) -> np.ndarray:
        slopes = [
            s.cpu().numpy() for s in each_slope(score(at.requires_grad_()), at, on(targets, rows, device))
        ]
        return slopes[0] if targets is not None else np.stack(slopes, axis=-1)

    def compute(part: slice) -> None:
        stretches = list(_stretches(part, m))
        found = [noisy.pair(pairs.start + pair, cases, device) for pair, cases in stretches]
        x, e = found[0] if len(found) == 1 else (torch.cat(parts) for parts in zip(*found, strict=True))
        del found
        rows = np.arange(part.start, part.stop) % m
        if together or len(rows) > 1:
            every = ask(torch.cat([x + e, x - e]), np.concatenate([rows, rows]))
            plus, minus = every[: len(rows)], every[len(rows) :]
        else:
            plus = ask(x + e, rows)
            minus = ask(x.sub_(e), rows)
        done = 0
        for _, cases in stretches:
            there = slice(done, done + cases.stop - cases.start)
            sums.add(cases, plus[there], minus[there])
            done = there.stop

    over_chunks(compute, count, 2 * size, device, progress)
    sums.pairs += len(pairs)


def _stretches(part: slice, m: int) -> list[tuple[int, slice]]:
    """A portion of the rows ``pair · m + case`` as pairs with the cases of each."""
    first, last = part.start // m, (part.stop - 1) // m
    return [
        (pair, slice(max(part.start - pair * m, 0), min(part.stop - pair * m, m)))
        for pair in range(first, last + 1)
    ]
