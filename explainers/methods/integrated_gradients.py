"""Integrated gradients: the gradient collected on the straight way from a baseline to the case.

    φ_i = (x_i - b_i) ∫_0^1 ∂S(b + t (x - b)) / ∂x_i dt,        Σ_i φ_i = S(x) - S(b)

A sum over ``"nodes"`` is a weighted sum of gradients at places on the way: with ``steps="auto"`` at 8, then at 17, 35, … of which the earlier
ones are known, until two looks differ by less than `tolerance` of the values' norm (0.045 is a cosine of 0.999) and they add up
(`explainers.gradients.paths.adaptive`); with a number a Gauss-Legendre sum of so many. A sum over ``"sections"`` cuts the way into pieces, on each of which
every nonlinearity has its mean slope (`explainers.gradients.paths.sections`): closer with as many rows where slopes jump, and always complete;
with ``steps="auto"`` 4, then 8, then as many as these let expect. ``rule="auto"`` takes sections where the module has ReLUs or max pools and every step
on the way has a mean slope, else nodes; ``diagnostics["rule"]`` says which it was. What is missing from the sum on the right is the completeness gap,
given for each case in ``diagnostics["completeness_gap"]``. S is the module's own output with nothing appended (`space` of
the result says which it is: ``"raw"`` logits, ``"probability"`` where the module ends in a softmax or sigmoid, ``"target"``
for a regression), or the space asked for. `base_value` is S at the baseline, `output` S at the case, both computed by the
same module in the same space.

Sundararajan, Taly and Yan 2017, arXiv 1703.01365; averaged over reference cases (``baseline="background"``) it is expected
gradients with a full grid (Erion et al. 2021, arXiv 1906.10670), and `background_error` is the spread over these cases.
Cost: one forward and backward pass for each node or section and case, times the reference cases; some 12 to 40 in most cases.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

import numpy as np

from explainers.dataset import Dataset
from explainers.explainer import Explainer, Need, Problem
from explainers.explanation import Attribution, Explanation
from explainers.gradients.inputs import not_numeric
from explainers.gradients.paths.adaptive import Integral, integrate_adaptively
from explainers.gradients.paths.baselines import completeness_gap, paths_from, scores_at_ends
from explainers.gradients.paths.growing import integrate_in_sections
from explainers.gradients.paths.sections import Sections, Unsuited, adds_up, average_in_sections
from explainers.gradients.paths.straight import Collected, Paths, integrate
from explainers.gradients.result import attribution
from explainers.gradients.scores import Score, differentiable
from explainers.model import Model
from explainers.progress import Progress
from explainers.schema import Modality
from explainers.settings import Range, ScoreSpace, Seed

#: Nodes on each path where many paths are averaged.
OF_MANY = 16


class _Integral(NamedTuple):
    """Values, their error over reference cases, the rows asked in all, and what is known of them."""

    values: np.ndarray
    error: np.ndarray | None
    evaluations: int
    facts: dict[str, Any]


@dataclass(frozen=True)
class IntegratedGradients(Explainer):
    """What each input contributed on the way from a baseline; the values add up to output minus base value.

    `baseline` is a number for every input, ``"mean"`` of the data, ``"blur"`` of the picture itself, or ``"background"``:
    the reference cases given, else a sample of `background` training rows drawn with `seed`. Averages over those have 16 nodes or sections on
    each path where `steps` is ``"auto"``: their errors average out.
    """

    steps: Annotated[int, Range(1, 1000)] | Literal["auto"] = "auto"
    rule: Literal["auto", "nodes"] = "auto"
    tolerance: Annotated[float, Range(1e-4, 1.0)] = 0.045
    baseline: Annotated[float | int, Range(-1e9, 1e9)] | Literal["mean", "blur", "background"] = 0.0
    background: Annotated[int, Range(1, 10_000)] = 100
    space: ScoreSpace = "auto"
    seed: Seed = 0

    title: ClassVar[str] = "Integrated gradients"
    question: ClassVar[str] = "How much did each input contribute, compared with a baseline?"
    scope: ClassVar[Literal["case", "data"]] = "case"
    needs: ClassVar[frozenset[Need]] = frozenset({"gradients"})
    modalities: ClassVar[tuple[Modality, ...]] = ("table", "image", "sequence")
    returns: ClassVar[type[Explanation]] = Attribution
    contrasts: ClassVar[bool] = True
    paper: ClassVar[str] = (
        "Sundararajan, Taly, Yan: Axiomatic Attribution for Deep Networks, ICML 2017, arXiv 1703.01365"
    )

    def explain(self, problem: Problem, progress: Progress) -> Attribution:
        """Integrals of the target, or of all outputs."""
        with differentiable(problem, self.space) as score:
            paths, reference = paths_from(problem, score, self.baseline, self.background, self.seed)
            scores, base = scores_at_ends(score, paths, problem)
            targets = problem.targets_or_all
            output = problem.of_targets(scores)
            found = self._integral(score, paths, output - base, targets, scores.shape[1], problem, progress)
        gap = completeness_gap(output, base, found.values)
        evaluations = found.evaluations + len(paths.cases) + paths.baselines.shape[0] * paths.per_case
        known = {"exact": False, "evaluations": evaluations, "completeness_gap": gap, "seed": self.seed}
        return attribution(
            problem,
            score,
            found.values.astype(np.float32),
            scores,
            {**known, **found.facts},
            base_value=base,
            background_error=None if found.error is None else found.error.astype(np.float32),
            reference=reference,
        )

    def _integral(
        self,
        score: Score,
        paths: Paths,
        gain: np.ndarray,
        targets: np.ndarray | None,
        outputs: int,
        problem: Problem,
        progress: Progress,
    ) -> _Integral:
        """Values, their error over reference cases, the rows asked, and what is known of them."""
        sections = Sections(score, paths, targets, problem.device)
        found = None
        if self.rule == "auto" and (memory := sections.suit()) is not None:
            with contextlib.suppress(Unsuited):
                found = self._in_sections(sections, gain, outputs, memory, progress)
        return found or self._at_nodes(sections, gain, outputs, progress)

    def _in_sections(
        self, sections: Sections, gain: np.ndarray, outputs: int, memory: int, progress: Progress
    ) -> _Integral | None:
        """``None`` where they do not add up: a step of the module is not what it seems."""
        if self.steps == "auto" and sections.paths.per_case == 1:
            own = integrate_in_sections(sections, gain, self.tolerance, memory, progress)
            return None if own is None else self._of_looks(own, "sections")
        steps = OF_MANY if self.steps == "auto" else self.steps
        many, rows = average_in_sections(sections, steps, outputs, memory, progress)
        return _of_paths(many, steps, rows, "sections") if adds_up(many.mean(), gain) else None

    def _at_nodes(self, at: Sections, gain: np.ndarray, outputs: int, progress: Progress) -> _Integral:
        if self.steps == "auto" and at.paths.per_case == 1:
            own = integrate_adaptively(
                at.score, at.paths, gain, self.tolerance, at.targets, at.device, progress
            )
            return self._of_looks(own, "nodes")
        steps = OF_MANY if self.steps == "auto" else self.steps
        many = integrate(at.score, at.paths, steps, at.targets, outputs, at.device, progress)
        return _of_paths(many, steps, at.paths.count * steps, "nodes")

    def _of_looks(self, own: Integral, rule: str) -> _Integral:
        facts: dict[str, Any] = {"rule": rule, "steps": own.nodes, "relative_error": own.error}
        if open_ := int((own.error > self.tolerance).sum()):
            facts["notes"] = (
                f"{open_} of {len(own.nodes)} cases did not settle within {own.nodes.max()} {rule}: the error left is about "
                f"{own.error.max():.1%} of the values.",
            )
        return _Integral(own.values, None, own.rows, facts)

    @classmethod
    def why_not_here(cls, model: Model, data: Dataset) -> str | None:
        """Tables must hold numbers."""
        return not_numeric(model, data)


def _of_paths(many: Collected, steps: int, rows: int, rule: str) -> _Integral:
    return _Integral(many.mean(), many.error(), rows, {"rule": rule, "steps": steps})
