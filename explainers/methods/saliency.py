"""Saliency: the gradient of the score with respect to the input.

    φ = ∂ S_target(x) / ∂ x

The slope of the score at the case: what a very small change of each input would do, not what the input contributed.
Signed, never rescaled. Where a module ends in a softmax or sigmoid and is sure of itself, the slope of the probability is
next to nothing everywhere; the diagnostics say so, and ``space="raw"`` takes the slope before that last step.

Simonyan, Vedaldi and Zisserman 2014, arXiv 1312.6034. Cost: one forward and one backward pass per case (with
``target="all"`` one backward pass per output).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from explainers.dataset import Dataset
from explainers.explainer import Explainer, Need, Problem
from explainers.explanation import Attribution, Explanation
from explainers.gradients.differentiate import slopes_at_cases
from explainers.gradients.inputs import not_numeric
from explainers.gradients.result import attribution
from explainers.model import Model
from explainers.progress import Progress
from explainers.schema import Modality
from explainers.settings import ScoreSpace


@dataclass(frozen=True)
class Saliency(Explainer):
    """The slope of the score at each input: images ``(m, c, h, w)``, tables ``(m, d)``, sequences ``(m, t, c)``."""

    space: ScoreSpace = "auto"

    title: ClassVar[str] = "Saliency"
    question: ClassVar[str] = "Which inputs would move the score most if they changed a little?"
    scope: ClassVar[Literal["case", "data"]] = "case"
    needs: ClassVar[frozenset[Need]] = frozenset({"gradients"})
    modalities: ClassVar[tuple[Modality, ...]] = ("table", "image", "sequence")
    returns: ClassVar[type[Explanation]] = Attribution
    contrasts: ClassVar[bool] = True
    paper: ClassVar[str] = (
        "Simonyan, Vedaldi, Zisserman: Deep Inside Convolutional Networks, ICLR workshop 2014, arXiv 1312.6034"
    )

    def explain(self, problem: Problem, progress: Progress) -> Attribution:
        """Gradients of the target, or of all outputs."""
        score, inputs, slopes, scores = slopes_at_cases(problem, self.space, progress)
        return attribution(problem, score, slopes, scores, {"exact": True, "evaluations": len(inputs)})

    @classmethod
    def why_not_here(cls, model: Model, data: Dataset) -> str | None:
        """Tables must hold numbers."""
        return not_numeric(model, data)
