"""SHAP interaction values of tree models: what each feature adds alone, and what each pair adds together; exact.

The value of a pair is what the one feature changes in the effect of the other, averaged over coalitions of the others:

    Φ_ij = Σ_S |S|! (d - |S| - 2)! / (2 (d - 1)!) [v(S ∪ ij) - v(S ∪ i) - v(S ∪ j) + v(S)],   i ≠ j

Half of what the pair adds stands at ``[i, j]``, half at ``[j, i]``. The diagonal is what remains of the Shapley value:
``Φ_ii = φ_i - Σ_j Φ_ij``. So row `i` sums to the value that `TreeShap` gives, and everything to output less base value.

As in `TreeShap`, features outside a coalition take the values of reference cases, or with ``background=0`` what the trees
saw in training; and what is explained is the score that the trees add up to. A pipeline's columns that come from one
feature are one player.

Cost: see `explainers.trees.interactions.exact`; the diagnostics name the kernel that ran. Values take ``m d² k`` numbers.
"""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any, ClassVar, Literal

import numpy as np

from explainers.dataset import Dataset
from explainers.errors import InvalidSetting, ModelFailure
from explainers.explainer import Explainer, Need, Problem
from explainers.explanation import Explanation, PairAttribution
from explainers.model import Model
from explainers.progress import Progress
from explainers.settings import Range, Seed
from explainers.trees.interactions.exact import PairValues, pairs_against_background, path_dependent_pairs
from explainers.trees.reading import TreeReading, read

#: Bytes that the values may take.
MOST_BYTES = 4 * 2**30


@dataclasses.dataclass(frozen=True)
class TreeShapInteractions(Explainer):
    """What each feature adds to this score alone, and each pair together; exact, for tree models."""

    background: Annotated[int, Range(0, 10_000)] = 100
    space: Literal["auto", "raw"] = "auto"
    precision: Literal["single", "double"] = "single"
    seed: Seed = 0

    title: ClassVar[str] = "SHAP interactions for trees (exact)"
    question: ClassVar[str] = (
        "What does each feature add to this score alone, and what only together with another?"
    )
    scope: ClassVar[Literal["case", "data"]] = "case"
    needs: ClassVar[frozenset[Need]] = frozenset({"trees"})
    returns: ClassVar[type[Explanation]] = PairAttribution
    contrasts: ClassVar[bool] = True
    paper: ClassVar[str] = (
        "Lundberg et al., Consistent individualized feature attribution for tree ensembles, 2018"
    )

    @classmethod
    def why_not_here(cls, model: Model, data: Dataset) -> str | None:  # noqa: ARG003 - only the model decides
        """Trees that are no sum, curved links and pipelines that mix columns are refused."""
        return read(model).refusal

    def explain(self, problem: Problem, progress: Progress) -> PairAttribution:
        """Exact values; raises `InvalidSetting` where they would take too much memory, `ModelFailure` where they do not add up."""
        model, schema = problem.model, problem.data.schema
        reading = read(model)
        own = reading.scale
        space = "raw" if self.space == "raw" and own == "probability" else own
        d = len(schema.names)
        _refuse_too_many(len(problem.cases), d, reading)
        player, rows = reading.players(model, schema), reading.matrix(model, problem.cases)
        more: dict[str, Any] = {
            "kind": np.float64 if self.precision == "double" else np.float32,
            "progress": progress,
        }
        facts: dict[str, Any] = {"exact": True, "seed": self.seed}
        reference = None
        if self.background == 0:
            found = path_dependent_pairs(reading.trees, player, d, rows, **more)
            facts |= {
                "reference": "the trees' own training counts (path-dependent)",
                "evaluations": len(rows),
            }
        else:
            background = problem.reference_cases(self.background, self.seed)
            reference = problem.reference(background, space)
            others = reading.matrix(model, background)
            found = pairs_against_background(reading.trees, player, d, rows, others, **more)
            facts |= {"background": len(others), "evaluations": len(rows) + len(others)}
        sums = reading.trees.raw(rows)
        facts |= {"kernel": found.kernel, "completeness_gap": _gap(found, sums, reading)}
        centre = 1.0 if space == "probability" else 0.0
        expected = np.tile(reading.all_outputs(found.expected, centre), (len(rows), 1))
        return PairAttribution(
            names=schema.names,
            values=problem.of_targets(reading.all_outputs(found.values)),
            base_value=problem.of_targets(expected),
            output=problem.of_targets(reading.all_outputs(sums, centre)),
            space=space,
            targets=problem.target_labels,
            reference=reference,
            diagnostics=facts,
        )


def _refuse_too_many(cases: int, features: int, reading: TreeReading) -> None:
    needed = 8 * cases * features**2 * max(reading.trees.outputs, 1)
    if needed > MOST_BYTES:
        raise InvalidSetting(
            f"Interaction values of {cases:,} cases and {features:,} features would take {needed / 2**30:.0f} GB; "
            f"name at most {MOST_BYTES * cases // needed:,} cases."
        )


def _gap(found: PairValues, sums: np.ndarray, reading: TreeReading) -> float:
    """The largest distance between base value + values and the trees' own sum; wrong numbers are not shown."""
    if len(sums) == 0:
        return 0.0
    gap = float(np.abs(found.values.sum(axis=(1, 2)) + found.expected - sums).max())
    scale = max(float(np.abs(part).max()) for part in (sums, found.expected, found.values))
    if not gap <= 1e-3 * scale:
        raise ModelFailure(
            f"The interaction values of {reading.family} do not add up to its own score (off by {gap:.3g}, scores up "
            f"to {scale:.3g}). Please report this model."
        )
    return gap
