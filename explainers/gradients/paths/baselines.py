"""What the cases are compared with: a baseline that all share or each its own, or reference cases; and the score there."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from explainers.dataset import Dataset
from explainers.explainer import Problem
from explainers.explanation import Reference
from explainers.gradients.differentiate import FEW_ROWS, output_scores
from explainers.gradients.inputs import module_inputs
from explainers.gradients.paths.straight import Paths
from explainers.gradients.scores import Score
from explainers.gradients.targets import decide
from explainers.masking import replacement


def paths_from(
    problem: Problem, score: Score, baseline: float | int | str, background: int, seed: int
) -> tuple[Paths, Reference]:
    """The ways from the baselines to the cases.

    `baseline` is a number for every input, ``"mean"`` of the data, ``"blur"`` of the picture itself, or ``"background"``:
    the reference cases given, else a sample of `background` training rows drawn with `seed`.
    """
    if baseline == "background":
        return paths_from_cases(problem, score, problem.reference_cases(background, seed))
    cases = module_inputs(problem.model, problem.cases.X)
    known = module_inputs(problem.model, problem.data.X)
    fill, words = replacement(baseline, cases, problem.data, known)
    return Paths(cases, fill[:, None]), Reference(1, "baseline", score.space, words)


def paths_from_cases(problem: Problem, score: Score, background: Dataset) -> tuple[Paths, Reference]:
    """The ways from all of these reference cases."""
    cases = module_inputs(problem.model, problem.cases.X)
    inputs = module_inputs(problem.model, background.X)
    return Paths(cases, inputs[None]), problem.reference(background, score.space)


def scores_at_ends(
    score: Score, paths: Paths, problem: Problem
) -> tuple[Float[np.ndarray, "m k"], np.ndarray]:
    """All scores at the cases, and the target's at their baselines (`base_values`); of a few rows asked for together."""
    flat = paths.baselines.reshape(-1, *paths.cases.shape[1:])
    m = len(paths.cases)
    if m + len(flat) > FEW_ROWS:
        scores = output_scores(score, paths.cases, problem.device)
        decide(problem, score, scores)
        return scores, base_values(score, paths, problem)
    scores = output_scores(score, np.concatenate([paths.cases, flat]), problem.device)
    decide(problem, score, scores[:m])
    return scores[:m], _base(scores[m:], paths, problem)


def base_values(score: Score, paths: Paths, problem: Problem) -> np.ndarray:
    """The target's score at each case's baseline, averaged over the reference cases: ``(m,)``, or ``(m, k)`` of all outputs."""
    flat = paths.baselines.reshape(-1, *paths.cases.shape[1:])
    return _base(output_scores(score, flat, problem.device), paths, problem)


def _base(scores: Float[np.ndarray, "b k"], paths: Paths, problem: Problem) -> np.ndarray:
    mean = scores.reshape(*paths.baselines.shape[:2], -1).mean(axis=1, dtype=np.float64)
    return problem.of_targets(np.broadcast_to(mean, (len(paths.cases), mean.shape[1])).astype(np.float32))


def completeness_gap(
    output: np.ndarray, base: np.ndarray, values: Float[np.ndarray, "m *rest"]
) -> np.ndarray:
    """What the values of each case miss of output minus base value: ``(m,)``, or ``(m, k)`` of all outputs."""
    inputs = tuple(range(1, 1 + values.ndim - output.ndim))
    return np.asarray(output - base - values.sum(axis=inputs, dtype=np.float64))
