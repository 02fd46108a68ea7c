"""Layer-wise relevance propagation (LRP): the score, handed back layer by layer to the inputs.

The score of the target is its relevance. Each layer shares the relevance of its outputs among its inputs in proportion to what
they contributed, ``R_i = Σ_j  x_i w_ij / z_j · R_j`` in the plainest rule; other rules count what speaks for an output and what speaks
against it differently, so that the map is less noisy (`explainers/gradients/relevance/rules.py` has the formulas). What reaches the
inputs adds up to the score, less what biases and the rules' ε took: ``diagnostics["conservation_gap"]``, one number for each case.

`composite` says which layer follows which rule:

- ``"zero"``, ``"epsilon"``, ``"gamma"``, ``"z-plus"``, ``"alpha2-beta1"``: all layers the same;
- ``"epsilon-plus"``, ``"epsilon-alpha2-beta1"``: ε in dense layers, z⁺ or α = 2, β = 1 in convolutions; with ``"-flat"`` or ``"-w2"`` in
  the first layer a rule by which a pixel's own value does not count;
- ``"epsilon-gamma-box"``: ε, γ, and in the first layer z-box between the smallest and the largest value of each channel (of a table of
  each column) in the data.

Batch normalisations are folded into the layer before them; residual additions share in proportion to the branches, maximum pooling gives all to
the winner, activations pass relevance on. Operations without a rule use their slope times the input and are named in the notes.
Relevance begins at the raw score: of a module that ends in a softmax or sigmoid at the value that goes into it.

Bach et al. 2015, doi 10.1371/journal.pone.0130140; composites: Montavon et al. 2019, Kohlbrenner et al. 2020, arXiv 1910.09840; folding:
Guillemot et al. 2020, arXiv 2002.11018. Cost: one forward and one backward pass, and for the signed rules one or two further passes
through each layer; with ``target="all"`` one backward pass per output.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import numpy as np
from jaxtyping import Float

from explainers.dataset import Dataset
from explainers.device import over_chunks
from explainers.errors import NotApplicable
from explainers.explainer import Explainer, Need, Problem
from explainers.explanation import Attribution, Explanation
from explainers.gradients.differentiate import gradients, row_bytes
from explainers.gradients.inputs import module_inputs, not_numeric
from explainers.gradients.result import attribution
from explainers.gradients.scores import Score, differentiable
from explainers.gradients.targets import Targets
from explainers.lazily import lazily
from explainers.model import Model
from explainers.progress import Progress
from explainers.schema import Modality
from explainers.settings import Range
from explainers.wrapping.torch_module import ends_in_probability

if TYPE_CHECKING:
    import torch

    from explainers.gradients.relevance import flow, layers, propagate
    from explainers.gradients.relevance import rules as relevance_rules
else:  # they import torch
    torch = lazily("torch")
    propagate = lazily("explainers.gradients.relevance.propagate")
    flow = lazily("explainers.gradients.relevance.flow")
    layers = lazily("explainers.gradients.relevance.layers")
    relevance_rules = lazily("explainers.gradients.relevance.rules")

Composite = Literal[
    "epsilon-plus", "epsilon-plus-flat", "epsilon-plus-w2", "epsilon-alpha2-beta1", "epsilon-alpha2-beta1-flat",
    "epsilon-gamma-box", "zero", "epsilon", "gamma", "z-plus", "alpha2-beta1",
]  # fmt: skip


@dataclass(frozen=True)
class LayerRelevancePropagation(Explainer):
    """Each input's share of the score: images ``(m, c, h, w)``, tables ``(m, d)``, sequences ``(m, t, c)``.

    `epsilon` and `gamma` belong to the rules of these names.
    """

    composite: Composite = "epsilon-plus"
    epsilon: Annotated[float, Range(0, 1)] = 1e-6
    gamma: Annotated[float, Range(0, 100)] = 0.25

    title: ClassVar[str] = "Layer-wise relevance propagation"
    question: ClassVar[str] = "How is the score handed back, layer by layer, to the inputs?"
    scope: ClassVar[Literal["case", "data"]] = "case"
    needs: ClassVar[frozenset[Need]] = frozenset({"gradients"})
    modalities: ClassVar[tuple[Modality, ...]] = ("table", "image", "sequence")
    returns: ClassVar[type[Explanation]] = Attribution
    contrasts: ClassVar[bool] = True
    paper: ClassVar[str] = (
        "Bach et al.: On Pixel-Wise Explanations for Non-Linear Classifier Decisions by Layer-Wise Relevance Propagation, "
        "PLOS ONE 2015"
    )

    def explain(self, problem: Problem, progress: Progress) -> Attribution:
        """Relevance for the target, or for all outputs."""
        inputs = module_inputs(problem.model, problem.cases.X)
        low, high = self._range(problem, inputs)
        with differentiable(problem, "auto") as score:
            score = _raw(score)
            kept = layers.Weights([*score.module.parameters(), *score.module.buffers()])
            rules = relevance_rules.composite(self.composite, self.epsilon, self.gamma)
            targets = Targets(problem, score)
            unruled: set[str] = set()

            def compute(part: slice) -> tuple[np.ndarray, np.ndarray]:
                propagation = propagate.Propagation(rules, kept)
                x = _on(inputs[part], problem.device)
                boxed = self.composite.endswith("box")  # else nobody reads the edges
                edges = [_on(edge, problem.device) if boxed else x[:1].detach() for edge in (low, high)]
                propagation.inputs(x, *edges)
                with propagation:
                    scores = flow.begun(score(x))
                found = gradients(scores, x, targets.of(part, scores))
                unruled.update(propagation.unruled)
                return found.cpu().numpy(), scores.detach().cpu().numpy()

            size = 2 * row_bytes(score, inputs, len(inputs), problem.device)
            parts = over_chunks(compute, len(inputs), size, problem.device, progress)
        values, scores = (np.concatenate(found) for found in zip(*parts, strict=True))
        return self._result(problem, score, values, scores, unruled)

    def _result(
        self,
        problem: Problem,
        score: Score,
        values: np.ndarray,
        scores: Float[np.ndarray, "m k"],
        unruled: set[str],
    ) -> Attribution:
        if not np.isfinite(values).all():
            raise NotApplicable(
                f"The relevance of {int((~np.isfinite(values)).reshape(len(values), -1).any(axis=1).sum())} of "
                f"{len(values)} cases is not a number{_named(unruled)}. Use a gradient method, or another composite."
            )
        output = problem.of_targets(scores)
        inputs = tuple(range(1, values.ndim - problem.all_outputs))
        notes = (
            f"There is no rule for these operations, which share by slope × input: {', '.join(sorted(unruled))}.",
        )
        diagnostics = {
            "exact": True,
            "evaluations": len(values),
            "conservation_gap": output - values.sum(axis=inputs),
            "notes": notes if unruled else (),
        }
        return attribution(problem, score, values, scores, diagnostics)

    def _range(self, problem: Problem, inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The lowest and the highest value of each channel or column in the data, shaped ``(1, …)``."""
        if not self.composite.endswith("box"):
            return inputs[:1], inputs[:1]
        known = module_inputs(problem.model, problem.data.X)
        channels = known.ndim - 1 if problem.data.modality == "sequence" else 1
        others = tuple(axis for axis in range(known.ndim) if axis != channels)
        shape = (1, *inputs.shape[1:])
        low, high = (np.broadcast_to(f(known, axis=others, keepdims=True), shape) for f in (np.min, np.max))
        return low, high

    @classmethod
    def why_not_here(cls, model: Model, data: Dataset) -> str | None:
        """Tables must hold numbers."""
        return not_numeric(model, data)


def _raw(score: Score) -> Score:
    """The score before a softmax or sigmoid at the end of the module."""
    if score.own == "probability" and ends_in_probability(score.module):
        return dataclasses.replace(score, space="raw")
    return score


def _on(values: np.ndarray, device: torch.device) -> torch.Tensor:
    return torch.tensor(values, device=device)


def _named(unruled: set[str]) -> str:
    return f"; there is no rule for {', '.join(sorted(unruled))}" if unruled else ""
