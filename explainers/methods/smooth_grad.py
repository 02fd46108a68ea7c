"""SmoothGrad: the slope of the score, averaged over noisy copies of the case.

    φ = E g,  E g²  or  Var g,        g = ∂S_target/∂x (x + e),   e ~ N(0, σ²),   σ = noise · (max - min)

The slope at one point flickers from pixel to pixel; its mean over a neighbourhood is that of a smoother function. ``variant="squared"``
(SmoothGrad²) and ``"variance"`` (VarGrad) have no sign: they say where the score is steep, or where its slope changes, not in which
direction. `noise` is a share of the case's own range, from its smallest to its largest value; of a table the share of each column's
range in the data.

Noise comes in pairs of opposite sign, so that all of a linear change of the slope cancels; `standard_error` is that over the pairs. Pairs are asked
in rounds, each as many as all before; after each there is a coarser result to look at.

Smilkov et al. 2017, arXiv 1706.03825; squared and variance: Hooker et al. 2019, arXiv 1806.10758, Adebayo et al. 2018, arXiv 1810.03307. Cost:
`samples` forward and backward passes per case.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np
from jaxtyping import Float

from explainers.dataset import Dataset
from explainers.explainer import Explainer, Need, Problem
from explainers.explanation import Attribution, Explanation
from explainers.gradients.differentiate import output_scores
from explainers.gradients.inputs import module_inputs, not_numeric
from explainers.gradients.paths.noise import Noisy, PairSums, add_pairs
from explainers.gradients.result import attribution
from explainers.gradients.scores import Score, differentiable
from explainers.gradients.targets import decide
from explainers.model import Model
from explainers.progress import Progress
from explainers.sampling.steps import in_rounds, stretch
from explainers.schema import Modality
from explainers.settings import Range, ScoreSpace, Seed

#: Pairs of the first round.
FIRST_PAIRS = 4


@dataclass(frozen=True)
class SmoothGrad(Explainer):
    """Slopes over a noisy neighbourhood: images ``(m, c, h, w)``, tables ``(m, d)``, sequences ``(m, t, c)``."""

    variant: Literal["mean", "squared", "variance"] = "mean"
    samples: Annotated[int, Range(4, 100_000)] = 50
    noise: Annotated[float, Range(0.0, 10.0)] = 0.15
    space: ScoreSpace = "auto"
    seed: Seed = 0

    title: ClassVar[str] = "SmoothGrad"
    question: ClassVar[str] = "Which inputs move the score around this case, not only exactly at it?"
    scope: ClassVar[Literal["case", "data"]] = "case"
    needs: ClassVar[frozenset[Need]] = frozenset({"gradients"})
    modalities: ClassVar[tuple[Modality, ...]] = ("table", "image", "sequence")
    returns: ClassVar[type[Explanation]] = Attribution
    contrasts: ClassVar[bool] = True
    paper: ClassVar[str] = (
        "Smilkov et al.: SmoothGrad: removing noise by adding noise, 2017, arXiv 1706.03825"
    )

    def explain(self, problem: Problem, progress: Progress) -> Attribution:
        """Means over pairs of noisy copies, for the target or for all outputs."""
        noisy = self._noisy(problem)
        with differentiable(problem, self.space) as score:
            scores = output_scores(score, noisy.cases, problem.device)
            decide(problem, score, scores)
            targets = problem.targets_or_all
            shape = noisy.cases.shape if targets is not None else (*noisy.cases.shape, scores.shape[1])
            sums = PairSums(self.variant, shape)

            def run(told: Progress, shown: Callable[[], None]) -> None:
                m, pairs = len(noisy.cases), self.samples // 2
                for pairs_now in _rounds(pairs):
                    part = stretch(told, pairs_now.start * m, pairs * m)
                    add_pairs(score, noisy, pairs_now, sums, targets, problem.device, part)
                    if pairs_now.stop < pairs:
                        shown()

            return in_rounds(run, progress, lambda: self._result(problem, score, sums, scores))

    def evaluations(self, model: Model, data: Dataset, cases: int) -> int | None:
        """The noisy copies, and the case itself."""
        return cases * (2 * (self.samples // 2) + 1)

    def _noisy(self, problem: Problem) -> Noisy:
        cases = module_inputs(problem.model, problem.cases.X)
        if problem.data.modality == "table":
            known = module_inputs(problem.model, problem.data.X)
            return Noisy(cases, self.noise * np.ptp(known, axis=0, keepdims=True), self.seed)
        width = np.ptp(cases.reshape(len(cases), -1), axis=1)
        return Noisy(
            cases, (self.noise * width).astype(np.float32).reshape(-1, *[1] * (cases.ndim - 1)), self.seed
        )

    def _result(
        self, problem: Problem, score: Score, sums: PairSums, scores: Float[np.ndarray, "m k"]
    ) -> Attribution:
        values, error = sums.estimate(np.float32)
        facts = {
            "exact": False,
            "evaluations": len(scores) * (2 * sums.pairs + 1),
            "samples": 2 * sums.pairs,
            "standard_error": "over pairs of noisy copies",
            "seed": self.seed,
        }
        return attribution(problem, score, values, scores, facts, standard_error=error)

    @classmethod
    def why_not_here(cls, model: Model, data: Dataset) -> str | None:
        """Tables must hold numbers."""
        return not_numeric(model, data)


def _rounds(pairs: int) -> list[range]:
    """Each round as many pairs as all before; the last one has what is left."""
    stops = [min(FIRST_PAIRS, pairs)]
    while stops[-1] < pairs:
        stops.append(2 * stops[-1] if 3 * stops[-1] <= pairs else pairs)
    return [range(start, stop) for start, stop in zip([0, *stops[:-1]], stops, strict=True)]
