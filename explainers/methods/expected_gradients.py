"""Expected gradients: the gradient at random places on the straight ways from reference cases to the case.

    φ_i = E_{b, t} [ (x_i - b_i) · ∂S(b + t (x - b)) / ∂x_i ],        b a reference case, t ~ U(0, 1)
    Σ_i φ_i = S(x) - E_b S(b)        (in expectation)

Integrated gradients without the choice of one baseline. Every reference case is used equally often and at least twice (where there are more than half as
many as `samples`, some are left out); the samples of one come in pairs of neighbouring places, as many as fit. t is stratified, over all samples together
and for each reference case. No value is scaled to make the sum
right: what is missing is the completeness gap in ``diagnostics["completeness_gap"]``. `standard_error` is the error of the places t, for a
finite number of samples; `background_error` is the spread over the reference cases, what another draw of these would change.

Erion et al. 2021, arXiv 1906.10670. Cost: `samples` forward and backward passes per case (with ``target="all"`` one forward pass for all outputs).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np

from explainers.dataset import Dataset
from explainers.explainer import Explainer, Need, Problem
from explainers.explanation import Attribution, Explanation, Reference
from explainers.gradients.differentiate import output_scores
from explainers.gradients.inputs import not_numeric
from explainers.gradients.paths.baselines import base_values, completeness_gap, paths_from_cases
from explainers.gradients.paths.expected import expect, strata
from explainers.gradients.paths.straight import Paths
from explainers.gradients.result import attribution
from explainers.gradients.scores import Score, differentiable
from explainers.gradients.targets import decide
from explainers.model import Model
from explainers.progress import Progress
from explainers.schema import Modality
from explainers.settings import Range, ScoreSpace, Seed


@dataclass(frozen=True)
class ExpectedGradients(Explainer):
    """What each input contributed, compared with reference cases; the values add up to output minus base value on average."""

    samples: Annotated[int, Range(4, 1_000_000)] = 200
    background: Annotated[int, Range(2, 10_000)] = 100
    space: ScoreSpace = "auto"
    seed: Seed = 0

    title: ClassVar[str] = "Expected gradients"
    question: ClassVar[str] = "How much did each input contribute, compared with the reference cases?"
    scope: ClassVar[Literal["case", "data"]] = "case"
    needs: ClassVar[frozenset[Need]] = frozenset({"gradients"})
    modalities: ClassVar[tuple[Modality, ...]] = ("table", "image", "sequence")
    returns: ClassVar[type[Explanation]] = Attribution
    contrasts: ClassVar[bool] = True
    paper: ClassVar[str] = (
        "Erion et al.: Improving performance of deep learning models with axiomatic attribution priors and expected gradients, "
        "Nature Machine Intelligence 2021, arXiv 1906.10670"
    )

    def explain(self, problem: Problem, progress: Progress) -> Attribution:
        """Means over the samples, for the target or for all outputs."""
        with differentiable(problem, self.space) as score:
            paths, reference = self._ways(problem, score)
            places = strata(paths.per_case, 2 * (self.samples // (2 * paths.per_case)), self.seed)
            scores = output_scores(score, paths.cases, problem.device)
            decide(problem, score, scores)
            targets = problem.targets_or_all
            base = base_values(score, paths, problem)
            values, error, spread = expect(score, paths, places, targets, problem.device, progress)
        gap = completeness_gap(problem.of_targets(scores), base, values)
        facts = {
            "exact": False,
            "evaluations": len(scores) * (places.size + 1) + paths.per_case,
            "samples": places.size,
            "completeness_gap": gap,
            "standard_error": "over pairs of neighbouring places on the way from one reference case",
            "seed": self.seed,
        }
        return attribution(
            problem, score, values, scores, facts, base_value=base, reference=reference,
            standard_error=error, background_error=spread,
        )  # fmt: skip

    def evaluations(self, model: Model, data: Dataset, cases: int) -> int | None:
        """The samples, the cases, and the reference cases at most."""
        known = len(data.rows("train")) or len(data)
        return cases * (self.samples + 1) + min(self.samples // 2, self.background, known)

    def _ways(self, problem: Problem, score: Score) -> tuple[Paths, Reference]:
        """From as many reference cases as there are two samples for, drawn where that is not all."""
        background = problem.reference_cases(self.background, self.seed)
        most = self.samples // 2
        if len(background) > most:
            chosen = np.random.default_rng(self.seed).choice(len(background), most, replace=False)
            background = background.take(np.sort(chosen))
        return paths_from_cases(problem, score, background)

    @classmethod
    def why_not_here(cls, model: Model, data: Dataset) -> str | None:
        """Tables must hold numbers."""
        return not_numeric(model, data)
