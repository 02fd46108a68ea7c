"""Occlusion: cover a patch of the picture and see how much of the score is lost.

    φ_p = mean over the windows w that contain p of  S(x) - S(x with w covered)

Windows start every `stride` pixels, until one reaches the border; a window that sticks out is cut. All channels are covered
together. Only predictions are needed, so any model of pictures will do; S is what `predict` returns (or the raw score). A pixel
at the border lies in few windows, so its mean is over few: beside a decisive patch near the border it may come out highest.

Zeiler and Fergus 2014, arXiv 1311.2901. Cost: ``ceil((h - window) / stride) + 1`` squared predictions per case, 225 at the
default settings for most sizes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, NamedTuple

import numpy as np
from jaxtyping import Float

from explainers.device import over_chunks, pick
from explainers.errors import InvalidSetting
from explainers.explainer import Explainer, Need, Problem, resolve_space
from explainers.explanation import Attribution, Explanation, Reference
from explainers.games.opening import placed
from explainers.masking import replacement
from explainers.progress import Progress
from explainers.schema import Modality
from explainers.settings import Range

#: How long a portion of predictions may take before progress is reported.
PORTION_SECONDS = 0.25


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
    baseline: Annotated[float | int, Range(-1e9, 1e9)] | Literal["mean", "blur"] = 0.0
    space: Literal["auto", "raw", "probability"] = "auto"

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
        cases = np.asarray(problem.cases.X, dtype=np.float32)
        fill, words = replacement(self.baseline, cases, problem.data, problem.data.X)
        window, stride = self._sizes(cases.shape[2:])
        patches = patches_of(cases.shape[2:], window, stride)
        with placed(problem):
            full = problem.predictions if space == problem.model.space else problem.model.scores(cases, space)
            covered = _covered_scores(problem, cases, fill, patches, space, progress)
        lost = problem.of_targets(full[:, None] - covered)
        output = problem.of_targets(full)
        return Attribution(
            names=("picture",),
            values=_mean_over_windows(lost, patches, cases.shape[2:]),
            base_value=np.full(output.shape, np.nan),
            output=output,
            space=space,
            targets=problem.target_labels,
            reference=Reference(1, "baseline", space, words),
            diagnostics={
                "exact": True,
                "evaluations": len(cases) * (len(patches) + 1),
                "window": window,
                "stride": stride,
                "windows": len(patches),
            },
        )

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
    problem: Problem,
    cases: Float[np.ndarray, "m c h w"],
    fill: np.ndarray,
    patches: list[Patch],
    space: str,
    progress: Progress,
) -> Float[np.ndarray, "m p k"]:
    """Scores of every case with every patch covered."""

    def compute(part: slice) -> np.ndarray:
        case, patch = np.divmod(np.arange(part.start, part.stop), len(patches))
        batch = cases[case]
        for picture, i, p in zip(batch, case, patch, strict=True):
            top, bottom, left, right = patches[p]
            picture[:, top:bottom, left:right] = fill[i % len(fill), :, top:bottom, left:right]
        return problem.model.scores(batch, space)

    device = problem.device if problem.model.module is not None else pick("cpu")
    row_bytes = cases[:1].nbytes * 24  # the activations of a network are many times its input
    scores = over_chunks(
        compute, len(cases) * len(patches), row_bytes, device, progress, seconds=PORTION_SECONDS
    )
    return np.concatenate(scores).reshape(len(cases), len(patches), -1)


def _mean_over_windows(lost: np.ndarray, patches: list[Patch], size: tuple[int, ...]) -> np.ndarray:
    """From ``(m, p)`` or ``(m, p, k)`` to ``(m, 1, h, w)`` or ``(m, 1, h, w, k)``."""
    rest = lost.shape[2:]
    total = np.zeros((len(lost), 1, *size, *rest))
    count = np.zeros(size)
    for p, (top, bottom, left, right) in enumerate(patches):
        total[:, :, top:bottom, left:right] += lost[:, p].reshape(len(lost), 1, 1, 1, *rest)
        count[top:bottom, left:right] += 1
    return total / count.reshape(*size, *([1] * len(rest)))
