"""Guided backpropagation: the slope of the score, of which each ReLU lets back only what is positive.

    R_i = [x_i > 0] · [R_out,i > 0] · R_out,i        at each ReLU; every other step keeps its own slope

Sharp pictures of what excites the network. The caution belongs to the method: it shows edges of the picture more than what the model
uses, and hardly changes when the weights are scrambled (Adebayo et al. 2018, arXiv 1810.03292). A network without ReLU has its plain gradient, and
the diagnostics say so.

``combine="grad-cam"`` is Guided Grad-CAM: the product with the Grad-CAM map of a layer (by default where the
maps of the last convolution are complete), resized to the picture: the fine lines of the one where the other saw what speaks for the target.

Springenberg et al. 2015, arXiv 1412.6806; Selvaraju et al. 2017, arXiv 1610.02391. Cost: one forward and one backward pass
per case (with ``target="all"`` one backward pass per output), and for the product those of Grad-CAM.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from jaxtyping import Float

from explainers.device import over_chunks
from explainers.errors import InvalidSetting
from explainers.explainer import Explainer, Need, Problem
from explainers.explanation import Attribution, Explanation
from explainers.gradients.activation.maps import activation_maps
from explainers.gradients.differentiate import input_gradients
from explainers.gradients.inputs import module_inputs
from explainers.gradients.layers import map_layer
from explainers.gradients.result import attribution
from explainers.gradients.scores import Score, differentiable
from explainers.gradients.targets import Targets
from explainers.lazily import lazily
from explainers.module_layers import spatial_layers
from explainers.progress import Progress
from explainers.sampling.steps import stretch
from explainers.schema import Modality
from explainers.settings import ScoreSpace

if TYPE_CHECKING:
    import torch
else:
    torch = lazily("torch")

#: Stands beside every picture of this method.
CAUTION = (
    "Guided backpropagation shows edges of the picture more than what the model uses (Adebayo et al. 2018)."
)


@dataclass(frozen=True)
class GuidedBackprop(Explainer):
    """Positive paths back to each pixel, ``(m, c, h, w)``; with `combine` times the Grad-CAM map of `layer`."""

    combine: Literal["none", "grad-cam"] = "none"
    layer: str | None = None
    space: ScoreSpace = "auto"

    title: ClassVar[str] = "Guided backpropagation"
    question: ClassVar[str] = "Which pixels excite what speaks for this class?"
    scope: ClassVar[Literal["case", "data"]] = "case"
    needs: ClassVar[frozenset[Need]] = frozenset({"gradients"})
    modalities: ClassVar[tuple[Modality, ...]] = ("image",)
    returns: ClassVar[type[Explanation]] = Attribution
    contrasts: ClassVar[bool] = True
    paper: ClassVar[str] = (
        "Springenberg et al.: Striving for Simplicity: The All Convolutional Net, ICLR workshop 2015, arXiv 1412.6806"
    )

    def explain(self, problem: Problem, progress: Progress) -> Attribution:
        """Guided slopes of the target, or of all outputs."""
        from explainers.gradients.rules.guided import Guided

        inputs = module_inputs(problem.model, problem.cases.X)
        m, combined = len(inputs), self.combine == "grad-cam"
        told = stretch(progress, 0, 2 * m) if combined else progress
        with differentiable(problem, self.space) as score:
            with Guided() as guided:
                values, scores = input_gradients(score, inputs, Targets(problem, score), problem.device, told)
            facts: dict[str, Any] = {"exact": True, "evaluations": (1 + combined) * m}
            if combined:
                maps, facts["layer"] = self._maps(score, inputs, problem, stretch(progress, m, 2 * m))
                values = values * maps
        facts["notes"] = (CAUTION, *guided.notes())
        return attribution(problem, score, values, scores, facts)

    def _maps(
        self,
        score: Score,
        inputs: Float[np.ndarray, "m c h w"],
        problem: Problem,
        progress: Progress,
    ) -> tuple[np.ndarray, str]:
        """Grad-CAM maps, what lowers the score dropped: ``(m, 1, h, w)``, or ``(m, 1, h, w, k)``; and their layer."""
        if self.layer is None and not spatial_layers(score.module):
            raise InvalidSetting(
                "combine='grad-cam' needs a convolutional layer and this model has none; name a layer, or use combine='none'."
            )
        layer = map_layer(score, self.layer, torch.tensor(inputs[:1], device=problem.device))
        targets = Targets(problem, score)

        def compute(part: slice) -> np.ndarray:
            x = torch.tensor(inputs[part], device=problem.device)
            maps, _, _ = activation_maps(score, layer, x, partial(targets.of, part), ("grad-cam",))
            large = torch.nn.functional.interpolate(
                torch.relu(maps[:, 0]), size=inputs.shape[2:], mode="bilinear", align_corners=False
            )
            return np.asarray(large.cpu().numpy())

        parts = over_chunks(compute, len(inputs), inputs[:1].nbytes * 48, problem.device, progress)
        maps = np.concatenate(parts)
        return (np.moveaxis(maps, 1, -1)[:, None] if problem.all_outputs else maps), layer.name
