"""The result of a method that differentiates a score: what all of them say in the same way."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from explainers.explainer import Problem
from explainers.explanation import Attribution, Reference
from explainers.gradients.inputs import in_features
from explainers.gradients.scores import Score, saturation_notes


def attribution(
    problem: Problem,
    score: Score,
    values: np.ndarray,
    scores: np.ndarray,
    diagnostics: Mapping[str, Any],
    *,
    base_value: np.ndarray | None = None,
    standard_error: np.ndarray | None = None,
    background_error: np.ndarray | None = None,
    reference: Reference | None = None,
    names: tuple[str, ...] | None = None,
) -> Attribution:
    """Values in the features of the data, with the score of each case and a note where probabilities are saturated.

    Args:
        problem, score: what was asked, and the score that was differentiated.
        values: ``(m, …)`` shaped as the module's inputs, or ``(m, …, k)`` where all outputs are wanted; errors likewise.
        scores: all scores of the cases, ``(m, k)``.
        diagnostics: what the method knows of itself; ``"notes"`` are kept.
        base_value: the score at the baseline, ``(m,)`` or ``(m, k)``; NaN where a method has none.
        standard_error, background_error, reference: as in `Attribution`.
        names: ``("picture",)`` for maps ``(m, 1, h, w)``; by default the features of the data.
    """
    output = problem.of_targets(scores)

    def placed(found: np.ndarray | None) -> np.ndarray | None:
        return None if found is None else in_features(problem.model, problem.data, found)

    notes = (*diagnostics.get("notes", ()), *saturation_notes(output, score.space))
    return Attribution(
        names=problem.data.schema.names if names is None else names,
        values=in_features(problem.model, problem.data, values),
        base_value=np.full(output.shape, np.nan, dtype=output.dtype) if base_value is None else base_value,
        output=output,
        space=score.space,
        targets=problem.target_labels,
        standard_error=placed(standard_error),
        background_error=placed(background_error),
        reference=reference,
        diagnostics={**diagnostics, "notes": notes},
    )
