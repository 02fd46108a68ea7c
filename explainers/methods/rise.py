"""RISE: show random parts of the picture, and see where it is shown when the score is high.

    φ_p = E[ S(x with mask M) M_p ] / E[M_p]  -  E[ S(x with mask M) ]

The score when place p is shown, less the score at any mask: signed, zero where nothing depends on p. (The paper leaves the second
part in, so that its maps are never about zero.) A mask is a grid of `cells` by `cells`, each shown with probability `keep`, enlarged
bilinearly and shifted at random; hidden pixels fade into the baseline. Only predictions are needed, so any model of pictures will do.

Masks come in pairs, of which one shows what the other hides (with another `keep` than 1/2, as far as that goes). So what all masks have in
common cancels, instead of adding to the noise. E[M_p] is `keep` everywhere, which is known and not estimated: the mean over pairs is unbiased, and
their scatter is its standard error. All cases see the same masks.

Masks are asked in rounds, each as large as all before; after each there is a coarser map to look at. With `tolerance` a case is done
once half of its widest 95 % interval is below it, each look having its share of the 5 %. A mask is made from its grid where the model computes, for one
portion of predictions; the map of a portion is one matrix product of its scores and its masks.

Petsiuk, Das and Saenko 2018, arXiv 1806.07421. Cost: at most `masks` + 1 predictions per case.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np

from explainers.dataset import Dataset
from explainers.explainer import Explainer, Need, Problem, resolve_space
from explainers.explanation import Attribution, Explanation, Reference
from explainers.games.opening import placed
from explainers.masking import Baseline
from explainers.model import Model
from explainers.painting import Canvas
from explainers.progress import Progress
from explainers.sampling.pictures.maps import MaskedMaps
from explainers.sampling.pictures.masks import PictureMasks
from explainers.sampling.steps import in_rounds
from explainers.schema import Modality
from explainers.settings import Range, ScoreSpace, Seed


@dataclass(frozen=True)
class Rise(Explainer):
    """How much higher the score is where a place is shown, ``(m, 1, h, w)``.

    `baseline` is what hidden places show: a number, the mean of the data, or the picture itself, blurred.
    """

    masks: Annotated[int, Range(4, 1_000_000)] = 4000
    cells: Annotated[int, Range(1, 256)] = 7
    keep: Annotated[float, Range(0.01, 0.99)] = 0.5
    baseline: Baseline = 0.0
    tolerance: Annotated[float, Range(0.0, 1e12)] | None = None
    seed: Seed = 0
    space: ScoreSpace = "auto"

    title: ClassVar[str] = "RISE (random masks)"
    question: ClassVar[str] = "Which parts of the picture, when they are shown, go with a high score?"
    scope: ClassVar[Literal["case", "data"]] = "case"
    needs: ClassVar[frozenset[Need]] = frozenset()
    modalities: ClassVar[tuple[Modality, ...]] = ("image",)
    returns: ClassVar[type[Explanation]] = Attribution
    contrasts: ClassVar[bool] = True
    paper: ClassVar[str] = (
        "Petsiuk, Das, Saenko: RISE: Randomized Input Sampling for Explanation, BMVC 2018, arXiv 1806.07421"
    )

    def explain(self, problem: Problem, progress: Progress) -> Attribution:
        """Maps of the target, or of all outputs, with a standard error for each pixel."""
        space = resolve_space(self.space, problem.model)
        size = problem.cases.X.shape[2:]
        masks = PictureMasks(self.cells, self.keep, self.seed, (int(size[0]), int(size[1])))
        with placed(problem):
            canvas = Canvas.of(problem, space, self.baseline)
            maps = MaskedMaps(canvas, masks, self.masks // 2, self.tolerance)
            return in_rounds(maps.run, progress, lambda: self._result(canvas, maps))

    def evaluations(self, model: Model, data: Dataset, cases: int) -> int | None:
        """All masks for each case, and the case itself."""
        return cases * (self.masks // 2 * 2 + 1)

    def _result(self, canvas: Canvas, maps: MaskedMaps) -> Attribution:
        problem = canvas.problem
        output = problem.of_targets(canvas.full)
        values, error, mean = maps.found()

        def plain(found: np.ndarray) -> np.ndarray:
            return found if problem.all_outputs else found[..., 0]

        return Attribution(
            names=("picture",),
            values=plain(values),
            base_value=np.full(output.shape, np.nan),
            output=output,
            space=canvas.space,
            targets=problem.target_labels,
            standard_error=plain(error),
            reference=Reference(1, "baseline", canvas.space, canvas.words),
            diagnostics={
                "exact": False,
                "evaluations": len(canvas.full) + 2 * int(maps.pairs.sum()),
                "masks": int(2 * maps.pairs.max(initial=0)),
                "cells": self.cells,
                "seed": self.seed,
                "mean_score": plain(mean).tolist(),
                "standard_error": "scatter of pairs of masks",
                **maps.facts(),
            },
        )
