"""What scores and random masks of pictures have in common, pixel by pixel, while masks are asked in rounds.

    φ_p = E[ S (M_p - keep) ] / keep

A pair of masks M, M' with scores S, S' says [(S - c) (M - keep) + (S' - c) (M' - keep)] / 2 of it, which is

    u A + v B    with  u = (S + S') / 2 - c,  v = (S - S') / 2,  A = (M + M') / 2 - keep,  B = (M - M') / 2.

Complements have A = 0. Otherwise the mean is right for any c that does not know the pair's masks: it is the mean score of the rounds
before, and in the first round the score of the case. The standard error is the scatter of pairs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Int

from explainers.games.game import of_targets
from explainers.lazily import lazily
from explainers.masking import LARGE_ROW
from explainers.painting import Canvas
from explainers.progress import Progress
from explainers.sampling.pictures.masks import PictureMasks
from explainers.sampling.steps import stretch

if TYPE_CHECKING:
    import torch
else:
    torch = lazily("torch")

#: Pairs of masks of the first round, and those after which a tolerance may be met: fewer know their own scatter badly.
FIRST_ROUND, FIRST_LOOK = 16, 32

#: Pixels of large pictures that are added up at a time, so that it takes no memory beside the sums.
AT_A_TIME = 2**20


class MaskedMaps:
    """Maps of all cases of a canvas, from at most `most` pairs of masks each; `found` is valid whenever `shown` is called."""

    def __init__(self, canvas: Canvas, masks: PictureMasks, most: int, tolerance: float | None) -> None:
        self.canvas, self.masks, self.most, self.tolerance = canvas, masks, most, tolerance
        self.chosen = of_targets(canvas.problem)
        m, pixels = len(canvas.full), int(np.prod(canvas.pictures.shape[2:]))
        self.centre = self.chosen(np.arange(m), canvas.full[:, None])[:, 0]
        exact = torch.float32 if canvas.device.type == "mps" else torch.float64
        self.sums = torch.zeros((m, self.centre.shape[1], pixels), dtype=exact, device=canvas.device)
        self.squares = torch.zeros_like(self.sums)
        self.scores = np.zeros_like(self.centre)
        self.pairs = np.zeros(m, dtype=np.int64)
        self.open = np.arange(m)

    def run(self, progress: Progress, shown: Callable[[], None]) -> None:
        """Round by round; `shown` is called after each but the last."""
        ends = _rounds(self.most)
        total, start, done = len(self.open) * self.most, 0, 0
        for end in ends:
            done += self._ask(start, end, stretch(progress, done, total))
            start = end
            self.pairs[self.open] = end
            self.centre = self.scores / 2 / self.pairs[:, None]
            self.open = self.open[[not self._narrow(case, ends) for case in self.open.tolist()]]
            if end == self.most or not len(self.open):
                break
            shown()
            progress(done, total)
        progress(total, total)

    def found(
        self,
    ) -> tuple[Float[np.ndarray, "m 1 h w k"], Float[np.ndarray, "m 1 h w k"], Float[np.ndarray, "m k"]]:
        """Values, their standard errors, and the mean scores."""
        n = torch.as_tensor(self.pairs, device=self.sums.device).to(self.sums.dtype)[:, None, None]
        error = _error(self.sums, self.squares, n)
        shape = (*self.centre.shape, 1, *self.canvas.pictures.shape[2:])
        values, errors = (
            np.moveaxis(part.div_(self.masks.keep).double().cpu().numpy().reshape(shape), 1, -1)
            for part in (self.sums / n, error)
        )
        return values, errors, self.centre

    def facts(self) -> dict[str, Any]:
        """What the diagnostics say where cases may be done early."""
        if self.tolerance is None:
            return {}
        within = [self._half_width(case, 1) <= self.tolerance for case in range(len(self.pairs))]
        return {"masks_of_each": (2 * self.pairs).tolist(), "within_tolerance": within}

    def _ask(self, start: int, end: int, progress: Progress) -> int:
        """Pairs of masks from `start` to `end` of all open cases, in portions; how many those were."""
        count = end - start

        def compute(part: slice) -> None:
            case, pair = np.divmod(np.arange(part.start, part.stop), count)
            which = self.open[case]
            masks = self.masks.drawn(pair + start, self.canvas.device)
            scores, flat = self._scores(which, masks), masks.flatten(2)
            for at in self._stretches(len(which), flat.shape[2]):
                found = []
                for row in np.unique(which).tolist():
                    of = slice(*np.searchsorted(which, [row, row + 1]).tolist())
                    found.append((row, *self._products(row, scores[:, of], flat[:, of, at])))
                # a portion that fails comes again: nothing fails from here on
                for row, sums, squares in found:
                    self.sums[row, :, at] += sums
                    self.squares[row, :, at] += squares
            np.add.at(self.scores, which, scores.sum(axis=0))

        self.canvas.portions(compute, len(self.open) * count, progress, each=2)
        return len(self.open) * count

    def _scores(
        self, which: Int[np.ndarray, " t"], masks: Float[torch.Tensor, "2 t h w"]
    ) -> Float[np.ndarray, "2 t k"]:
        """The wanted scores of cases seen through both masks of each pair."""
        pictures, fill = self.canvas.of_cases(torch.as_tensor(which, device=self.canvas.device))
        if fill[:1].nbytes < LARGE_ROW:
            found = self.canvas.scores(torch.lerp(fill, pictures, masks[:, :, None]).flatten(0, 1))
        else:  # one of a pair after the other
            found = np.concatenate(
                [self.canvas.scores(torch.lerp(fill, pictures, m[:, None])) for m in masks]
            )
        scores = self.chosen(np.tile(which, 2), found[:, None])
        return scores.reshape(2, len(which), -1)

    def _products(
        self, row: int, scores: Float[np.ndarray, "2 t k"], masks: Float[torch.Tensor, "2 t p"]
    ) -> tuple[Float[torch.Tensor, "k p"], Float[torch.Tensor, "k p"]]:
        """Sums of what pairs say, and of its squares."""
        half, apart = (masks[0] - masks[1]) / 2, self._tensor((scores[0] - scores[1]) / 2)
        sums, squares = apart.T @ half, apart.square().T @ half.square()
        if self.masks.keep != 0.5:
            middle = (masks[0] + masks[1]) / 2 - self.masks.keep
            common = self._tensor(scores.mean(axis=0) - self.centre[row])
            sums += common.T @ middle
            squares += common.square().T @ middle.square() + 2 * (common * apart).T @ (middle * half)
        return sums, squares

    def _stretches(self, pairs: int, pixels: int) -> Iterator[slice]:
        """All pixels; of a single pair, which is not asked again where it fails, some at a time."""
        step = AT_A_TIME if pairs == 1 else max(pixels, 1)
        return (slice(start, start + step) for start in range(0, pixels, step))

    def _tensor(self, scores: Float[np.ndarray, "t k"]) -> Float[torch.Tensor, "t k"]:
        return torch.as_tensor(scores, device=self.canvas.device, dtype=torch.float32)

    def _narrow(self, case: int, ends: list[int]) -> bool:
        """Whether a case is done."""
        if self.tolerance is None or self.pairs[case] < FIRST_LOOK:
            return False
        return self._half_width(case, sum(end >= FIRST_LOOK for end in ends)) <= self.tolerance

    def _half_width(self, case: int, looks: int) -> float:
        """Half of the widest interval of a case that holds 95 times of 100 over that many looks."""
        error = _error(self.sums[case], self.squares[case], int(self.pairs[case])).max()
        return float(error) / self.masks.keep * NormalDist().inv_cdf(1 - 0.025 / looks)


def _rounds(pairs: int) -> list[int]:
    """How many pairs there are after each round: twice as many as before, and all at the end."""
    ends = [min(FIRST_ROUND, pairs)]
    while ends[-1] < pairs:
        ends.append(min(2 * ends[-1], pairs))
    return ends


def _error(sums: torch.Tensor, squares: torch.Tensor, n: torch.Tensor | int) -> torch.Tensor:
    """The standard error of the mean over `n` pairs."""
    found = sums.square().div_(n)
    return torch.sub(squares, found, out=found).clamp_(min=0).div_(n * (n - 1)).sqrt_()
