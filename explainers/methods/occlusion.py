"""Occlusion: cover a patch of the picture and see how much of the score is lost.

    φ_p = mean over the windows w that contain p of  S(x) - S(x with w covered)

Windows start every `stride` pixels, until one reaches the border; a window that sticks out is cut. All channels are covered
together. Only predictions are needed, so any model of pictures will do; S is what `predict` returns (or the raw score). A pixel
at the border lies in few windows, so its mean is over few: beside a decisive patch near the border it may come out highest.

Zeiler and Fergus 2014, arXiv 1311.2901. Cost: at most ``ceil((h - window) / stride) + 1`` squared predictions per case, 225 at the
default settings for most sizes. A window in which the picture is its fill already changes nothing and is not asked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from explainers.dataset import Dataset
from explainers.errors import InvalidSetting
from explainers.explainer import Explainer, Need, Problem, resolve_space
from explainers.explanation import Attribution, Explanation, Reference
from explainers.games.opening import placed
from explainers.lazily import lazily
from explainers.masking import Baseline
from explainers.model import Model
from explainers.painting import Canvas
from explainers.progress import Progress
from explainers.schema import Modality
from explainers.settings import Range, ScoreSpace

if TYPE_CHECKING:
    import torch
else:
    torch = lazily("torch")


class Patch(NamedTuple):
    """Rows ``top:bottom`` and columns ``left:right`` of a picture."""

    top: int
    bottom: int
    left: int
    right: int


@dataclass(frozen=True)
class Occlusion(Explainer):
    """Score lost when each place is covered, ``(m, 1, h, w)``.

    `window` is a side in pixels, by default an eighth of the smaller side; `stride` half of it. `baseline` is what a covered
    patch shows: a number, the mean of the data, or the picture itself, blurred.
    """

    window: Annotated[int, Range(1, 4096)] | None = None
    stride: Annotated[int, Range(1, 4096)] | None = None
    baseline: Baseline = 0.0
    space: ScoreSpace = "auto"

    title: ClassVar[str] = "Occlusion"
    question: ClassVar[str] = "How much of the score is lost when a part of the picture is covered?"
    scope: ClassVar[Literal["case", "data"]] = "case"
    needs: ClassVar[frozenset[Need]] = frozenset()
    modalities: ClassVar[tuple[Modality, ...]] = ("image",)
    returns: ClassVar[type[Explanation]] = Attribution
    contrasts: ClassVar[bool] = True
    paper: ClassVar[str] = (
        "Zeiler, Fergus: Visualizing and Understanding Convolutional Networks, ECCV 2014, arXiv 1311.2901"
    )

    def explain(self, problem: Problem, progress: Progress) -> Attribution:
        """Losses of the target, or of all outputs."""
        space = resolve_space(self.space, problem.model)
        size = problem.cases.X.shape[2:]
        window, stride = self._sizes(size)
        patches = patches_of(size, window, stride)
        with placed(problem):
            canvas = Canvas.of(problem, space, self.baseline)
            covered, asked = _covered_scores(canvas, patches, progress)
        lost = problem.of_targets(canvas.full[:, None] - covered)
        output = problem.of_targets(canvas.full)
        return Attribution(
            names=("picture",),
            values=_mean_over_windows(lost, patches, size),
            base_value=np.full(output.shape, np.nan),
            output=output,
            space=space,
            targets=problem.target_labels,
            reference=Reference(1, "baseline", space, canvas.words),
            diagnostics={
                "exact": True,
                "evaluations": len(canvas.full) + asked,
                "window": window,
                "stride": stride,
                "windows": len(patches),
            },
        )

    def evaluations(self, model: Model, data: Dataset, cases: int) -> int | None:
        """Every window of each case, and the case itself."""
        size = data.schema.shape
        if size is None or len(size) != 3:
            return None
        window, stride = self._sizes(size[1:])
        down, across = (len(_starts(side, window, stride)) for side in size[1:])
        return cases * (down * across + 1)

    def _sizes(self, size: tuple[int, ...]) -> tuple[int, int]:
        window = self.window or max(1, min(size) // 8)
        stride = self.stride or max(1, window // 2)
        if stride > window:
            raise InvalidSetting(
                f"Occlusion(stride={stride}) leaves pixels out that no window of {window} covers; choose at most {window}."
            )
        return window, stride


def patches_of(size: tuple[int, ...], window: int, stride: int) -> list[Patch]:
    """All windows, row by row; the last of each row and column reaches the border and is cut there."""
    height, width = size
    return [
        Patch(top, min(top + window, height), left, min(left + window, width))
        for top in _starts(height, window, stride)
        for left in _starts(width, window, stride)
    ]


def _starts(side: int, window: int, stride: int) -> range:
    last = -(-max(side - window, 0) // stride) * stride
    return range(0, last + 1, stride)


def _covered_scores(
    canvas: Canvas, patches: list[Patch], progress: Progress
) -> tuple[Float[np.ndarray, "m p k"], int]:
    """Scores of every case with every patch covered, and how many of them were asked; the others are the case's own."""
    edges = torch.tensor(patches, device=canvas.device).T
    at_row, at_column = (torch.arange(side, device=canvas.device) for side in canvas.pictures.shape[2:])
    rows = (at_row >= edges[0][:, None]) & (at_row < edges[1][:, None])
    columns = (at_column >= edges[2][:, None]) & (at_column < edges[3][:, None])
    case, patch = _changing(canvas, rows, columns).nonzero(as_tuple=True)

    def compute(part: slice) -> np.ndarray:
        inside = rows[patch[part], None, :, None] & columns[patch[part], None, None, :]
        pictures, fill = canvas.of_cases(case[part])
        return canvas.scores(torch.where(inside, fill, pictures))

    scores = np.repeat(canvas.full[:, None], len(patches), axis=1)
    if len(case):
        found = canvas.portions(compute, len(case), progress)
        scores[case.cpu().numpy(), patch.cpu().numpy()] = np.concatenate(found)
    else:
        progress(1, 1)
    return scores, len(case)


def _changing(
    canvas: Canvas, rows: Bool[torch.Tensor, "p h"], columns: Bool[torch.Tensor, "p w"]
) -> Bool[torch.Tensor, "m p"]:
    """Which patches cover anything in a case that does not look so already."""
    differs = (canvas.pictures != canvas.fill).any(dim=1).float()
    # how many pixels do: every number up to 2^24 is exact
    return torch.stack([((rows.float() @ one) * columns).sum(dim=1) > 0 for one in differs])


def _mean_over_windows(lost: np.ndarray, patches: list[Patch], size: tuple[int, ...]) -> np.ndarray:
    """From ``(m, p)`` or ``(m, p, k)`` to ``(m, 1, h, w)`` or ``(m, 1, h, w, k)``."""
    rest = lost.shape[2:]
    total = np.zeros((len(lost), 1, *size, *rest))
    count = np.zeros(size, dtype=np.int32)
    for p, (top, bottom, left, right) in enumerate(patches):
        total[:, :, top:bottom, left:right] += lost[:, p].reshape(len(lost), 1, 1, 1, *rest)
        count[top:bottom, left:right] += 1
    total /= count.reshape(*size, *([1] * len(rest)))
    return total
