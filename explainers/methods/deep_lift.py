"""DeepLIFT (rescale rule): the difference to a baseline, sent back through the network share by share.

    φ_i = (x_i - b_i) · m_i,        Σ_i φ_i = S(x) - S(b)

The multipliers m are a backward pass in which each nonlinearity f has the quotient (f(x) - f(b)) / (x - b) in the place of its slope: a
saturated step still passes on what it did, and one pass does what integrated gradients need many for. Sigmoid, tanh, softplus, the ReLU
family, GELU, SiLU and max pools have a form of the rule (`explainers.gradients.rules.rescale`). Where two parts that both depend on the case are multiplied
(attention, gates of recurrent layers) or normalised (softmax, layer normalisation) there is none: these keep their slope, the sum then misses part of
the difference, ``diagnostics["completeness_gap"]`` says how much and a note says where.

S is taken before a last softmax or sigmoid (``space="auto"``), as its authors do. `baseline` is a number for every input, ``"mean"`` of the data,
``"blur"`` of the picture itself, or ``"background"``: averaged over reference cases (Deep SHAP, Lundberg and Lee 2017), with `background_error` the
standard error over them.

Shrikumar, Greenside and Kundaje 2017, arXiv 1704.02685. Cost: two forward passes and one backward pass per case and reference case.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
from jaxtyping import Int

from explainers.dataset import Dataset
from explainers.device import over_chunks
from explainers.errors import InvalidSetting
from explainers.explainer import Explainer, Need, Problem
from explainers.explanation import Attribution, Explanation
from explainers.gradients.differentiate import gradients, on, output_scores, row_bytes
from explainers.gradients.inputs import module_inputs, not_numeric
from explainers.gradients.paths.baselines import completeness_gap, paths_from, scores_at_ends
from explainers.gradients.paths.straight import Collected, Paths
from explainers.gradients.result import attribution
from explainers.gradients.scores import Score, differentiable
from explainers.lazily import lazily
from explainers.masking import Baseline
from explainers.model import Model
from explainers.progress import Progress
from explainers.schema import Modality
from explainers.settings import Range, ScoreSpace, Seed
from explainers.wrapping.torch_module import ends_in_probability

if TYPE_CHECKING:
    import torch
else:
    torch = lazily("torch")

#: A sum that misses more than this share of the difference deserves a word.
NOTABLE = 0.01


@dataclasses.dataclass(frozen=True)
class DeepLift(Explainer):
    """What each input contributed to the difference from a baseline; the values add up to output minus base value."""

    baseline: Baseline | Literal["background"] = 0.0
    background: Annotated[int, Range(1, 10_000)] = 20
    space: ScoreSpace = "auto"
    seed: Seed = 0

    title: ClassVar[str] = "DeepLIFT (rescale rule)"
    question: ClassVar[str] = "How much of the difference from a baseline does each input account for?"
    scope: ClassVar[Literal["case", "data"]] = "case"
    needs: ClassVar[frozenset[Need]] = frozenset({"gradients"})
    modalities: ClassVar[tuple[Modality, ...]] = ("table", "image", "sequence")
    returns: ClassVar[type[Explanation]] = Attribution
    contrasts: ClassVar[bool] = True
    paper: ClassVar[str] = (
        "Shrikumar, Greenside, Kundaje: Learning Important Features Through Propagating Activation Differences, ICML 2017, "
        "arXiv 1704.02685"
    )

    def explain(self, problem: Problem, progress: Progress) -> Attribution:
        """Contributions to the target, or to all outputs."""
        with differentiable(problem, self.space) as found:
            score = self._before_the_last_step(found, problem)
            paths, reference = paths_from(problem, score, self.baseline, self.background, self.seed)
            scores, base = scores_at_ends(score, paths, problem)
            targets = problem.targets_or_all
            collected, missed = _contributions(score, paths, targets, scores.shape[1], problem, progress)
        values, error = collected.mean(), collected.error()
        gap = completeness_gap(problem.of_targets(scores), base, values)
        facts: dict[str, Any] = {
            "exact": False,
            "evaluations": 2 * paths.count + len(paths.cases) + len(paths.baselines) * paths.per_case,
            "completeness_gap": gap,
            "seed": self.seed,
            "notes": _notes(gap, problem.of_targets(scores) - base, missed),
        }
        return attribution(
            problem, score, values.astype(np.float32), scores, facts, base_value=base, reference=reference,
            background_error=None if error is None else error.astype(np.float32),
        )  # fmt: skip

    def _before_the_last_step(self, score: Score, problem: Problem) -> Score:
        """The score before a softmax or sigmoid that ends the module, where it can be had."""
        if self.space != "auto" or score.own != "probability" or not ends_in_probability(score.module):
            return score
        raw = dataclasses.replace(score, space="raw")
        try:
            output_scores(raw, module_inputs(problem.model, problem.cases.take([0]).X), problem.device)
        except InvalidSetting:  # the module goes on after it
            return score
        return raw

    @classmethod
    def why_not_here(cls, model: Model, data: Dataset) -> str | None:
        """Tables must hold numbers."""
        return not_numeric(model, data)


def _contributions(
    score: Score,
    paths: Paths,
    targets: Int[np.ndarray, " m"] | None,
    outputs: int,
    problem: Problem,
    progress: Progress,
) -> tuple[Collected, set[str]]:
    """Multiplier times difference for each case and baseline, collected for each case; and what has no form of the rule."""
    from explainers.gradients.rules.rescale import Recorded, Rescaled

    shape = paths.cases.shape if targets is not None else (*paths.cases.shape, outputs)
    collected = Collected(paths.per_case, np.zeros(shape), np.zeros(shape) if paths.per_case > 1 else None)
    missed: set[str] = set()

    def compute(part: slice) -> None:
        path = np.arange(part.start, part.stop)
        start, end = paths.ends(path, problem.device)
        with torch.no_grad(), Recorded() as recorded:
            score(start)
        x = end.clone().requires_grad_()
        with Rescaled(recorded.inputs) as rescaled:
            scores = score(x)
        multipliers = gradients(scores, x, on(targets, path // paths.per_case, problem.device))
        way = end - start
        contributions = multipliers * (way[..., None] if multipliers.ndim > way.ndim else way)
        collected.add(part.start, contributions.cpu().numpy())
        missed.update(rescaled.missed)

    cost = 2 * row_bytes(score, paths.cases, paths.count, problem.device)
    over_chunks(compute, paths.count, cost, problem.device, progress)
    collected.close()
    return collected, missed - ({"softmax"} if score.space == "raw" else set())


def _notes(gap: np.ndarray, difference: np.ndarray, missed: set[str]) -> tuple[str, ...]:
    """A word where the sum misses a notable part of the difference."""
    notable = np.abs(gap) > NOTABLE * np.abs(difference) + 1e-5
    count = int(notable.reshape(len(gap), -1).any(axis=1).sum())
    if not count:
        return ()
    where = ", ".join(sorted(missed)) or "some steps"
    return (
        f"The values miss more than {NOTABLE:.0%} of the difference for {count} of {len(gap)} cases: the rescale rule has no form for {where} here.",
    )
