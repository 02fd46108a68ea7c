"""The neighbours of a table's cases with the model's answers, remembered; and the fits around the cases in portions."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Hashable
from weakref import WeakKeyDictionary

import numpy as np
from jaxtyping import Float, Int

from explainers.dataset import Dataset
from explainers.device import over_chunks, pick
from explainers.explainer import Problem
from explainers.games.features import MODEL_ROW_BYTES
from explainers.model import Model
from explainers.progress import Progress
from explainers.sampling.local.table_ridge import LocalRidge, Neighbours, fit
from explainers.sampling.local.training_law import TrainingLaw

#: The shared sample with the model's answers. The law does not depend on the case, so a person who goes from case to case asks
#: the same thousands of rows each time; the last few are kept and die with the model.
_ANSWERS: WeakKeyDictionary[Model, dict[Hashable, Neighbours]] = WeakKeyDictionary()
KEPT = 4

#: Cases of one portion of fits: enough for whole matrix products, few enough to report.
FITTED_TOGETHER = 128


def training_rows(data: Dataset) -> Dataset:
    """The training rows, or all where they are not known."""
    rows = data.rows("train")
    return data.take(rows) if len(rows) else data


def remembered(model: Model, key: Hashable, ask: Callable[[], Neighbours]) -> tuple[Neighbours, bool]:
    """The sample under this key, asked for where it is not held; and whether it was."""
    held = _ANSWERS.setdefault(model, {})
    known = key in held
    if not known:
        answers = ask()
        while len(held) >= KEPT:
            held.pop(next(iter(held)), None)
        held[key] = answers
    return held[key], known


def neighbours_of(
    problem: Problem, law: TrainingLaw, count: int, seed: int, space: str, progress: Progress
) -> Neighbours:
    """Draw neighbours and ask the model about them in portions; codes and frames are built in main memory."""
    slots, codes = law.draw(count, seed)

    def compute(part: slice) -> np.ndarray:
        return problem.model.scores(problem.data.schema.decode(codes[part]), space)

    row_bytes = 32 * codes.shape[1] + MODEL_ROW_BYTES
    parts = over_chunks(compute, count, row_bytes, pick("cpu"), progress, 0.3, problem.model.pace)
    return Neighbours.of(law, slots, codes, np.concatenate(parts))


def fit_all(
    problem: Problem,
    neighbours: Neighbours,
    case_slots: Int[np.ndarray, "m d"],
    output: np.ndarray,
    width: float,
    progress: Progress,
) -> LocalRidge:
    """The fits around all cases, of the outputs that are wanted."""
    m, d = case_slots.shape
    every = neighbours.answers.shape[1]
    wanted: Float[np.ndarray, "m k"] = output if problem.all_outputs else output[:, None]
    outputs = np.tile(np.arange(every), (m, 1)) if problem.all_outputs else problem.targets[:, None]

    def compute(part: slice) -> LocalRidge:
        return fit(neighbours, case_slots[part], wanted[part], outputs[part], width)

    row_bytes = max(
        2**26 // FITTED_TOGETHER, 8 * wanted.shape[1] * (6 * d + 2 * len(neighbours.law.frequency))
    )
    parts = over_chunks(compute, m, row_bytes, pick("cpu"), progress)
    if not parts:
        k = wanted.shape[1]
        return LocalRidge(np.empty((0, d, k)), np.empty((0, k)), np.empty((0, k)), np.empty((0, d, k)))
    return LocalRidge(
        *(np.concatenate([getattr(part, f.name) for part in parts]) for f in dataclasses.fields(LocalRidge))
    )
