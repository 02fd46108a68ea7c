"""Edited cases: copies of cases in which some features have other values, asked of the model in portions."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Int

from explainers.device import over_chunks, pick
from explainers.errors import InvalidSetting
from explainers.explainer import Problem
from explainers.progress import Progress, silent

#: Seconds that one portion should take: progress (and so cancelling) stays prompt whatever the model's speed.
PORTION_SECONDS = 0.25

Edited = Callable[[slice], Float[np.ndarray, "p d"]]
Take = Callable[[slice, Float[np.ndarray, "p k"]], None]


def ask_edited(
    problem: Problem, count: int, edited: Edited, take: Take, progress: Progress = silent, space: str = ""
) -> None:
    """Ask for `count` edited cases: `edited(part)` makes their codes, `take(part, answers)` gets the predictions."""
    schema, model = problem.data.schema, problem.model

    def portion(part: slice) -> None:
        take(part, model.scores(schema.decode(edited(part)), space))

    row_bytes = 8 * 4 * max(1, len(schema.features))  # codes, the frame, and what a model copies for itself
    over_chunks(portion, count, row_bytes, pick("cpu"), progress, PORTION_SECONDS, model.pace)


def predict_edited(
    problem: Problem, codes: Float[np.ndarray, "n d"], progress: Progress = silent, space: str = ""
) -> Float[np.ndarray, "n k"]:
    """Predictions of cases given by their codes."""
    parts: list[np.ndarray] = []
    ask_edited(
        problem, len(codes), lambda part: codes[part], lambda _, answer: parts.append(answer), progress, space
    )
    return np.concatenate(parts) if parts else np.empty((0, problem.outputs))


def one_output(problem: Problem, method: str) -> Int[np.ndarray, " m"]:
    """The output explained for each case; raises `InvalidSetting` where one must be named."""
    if problem.all_outputs:
        raise InvalidSetting(f"{method} explains one output at a time; got target='all'. Name one output.")
    outputs = problem.outputs
    if problem.target is None and outputs > 1 and not problem.model.classes:
        raise InvalidSetting(f"The model has {outputs} outputs; {method} needs target=0..{outputs - 1}.")
    return problem.targets
