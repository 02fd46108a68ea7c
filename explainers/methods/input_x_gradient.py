"""Input × gradient: the slope at each input, times the input.

    φ_i = x_i · ∂ S_target(x) / ∂ x_i

What each input would contribute if the score were a straight line through this case and 0. For a linear score that is the
truth, Σ_i φ_i = S(x) - S(0); so it is for a network of ReLU without biases, up to rounding. Elsewhere nothing adds up, and
an input at 0 has the value 0 whatever it does: what 0 means (black, the mean after scaling) decides what can be seen.

Shrikumar et al. 2016, arXiv 1605.01713. Cost: one forward and one backward pass per case (with ``target="all"`` one backward
pass per output).
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
class InputXGradient(Explainer):
    """Slope times input: images ``(m, c, h, w)``, tables ``(m, d)``, sequences ``(m, t, c)``."""

    space: ScoreSpace = "auto"

    title: ClassVar[str] = "Input × gradient"
    question: ClassVar[str] = "What would each input contribute if the model were a straight line here?"
    scope: ClassVar[Literal["case", "data"]] = "case"
    needs: ClassVar[frozenset[Need]] = frozenset({"gradients"})
    modalities: ClassVar[tuple[Modality, ...]] = ("table", "image", "sequence")
    returns: ClassVar[type[Explanation]] = Attribution
    contrasts: ClassVar[bool] = True
    paper: ClassVar[str] = (
        "Shrikumar et al.: Not Just a Black Box: Learning Important Features Through Propagating Activation Differences, "
        "2016, arXiv 1605.01713"
    )

    def explain(self, problem: Problem, progress: Progress) -> Attribution:
        """Products for the target, or for all outputs."""
        score, inputs, slopes, scores = slopes_at_cases(problem, self.space, progress)
        values = slopes * (inputs[..., None] if slopes.ndim > inputs.ndim else inputs)
        return attribution(problem, score, values, scores, {"exact": True, "evaluations": len(inputs)})

    @classmethod
    def why_not_here(cls, model: Model, data: Dataset) -> str | None:
        """Tables must hold numbers."""
        return not_numeric(model, data)
