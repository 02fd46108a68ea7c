"""LIME for tables: a straight-line copy of the model in the neighbourhood of a case.

Neighbours are drawn from the training rows, feature by feature (`explainers.sampling.training_law`); the copy sees
only whether each feature is still in the case's quartile bin (or category), weighs neighbours by how many features
are (kernel width 0.75 sqrt(d)), and is a ridge regression with alpha 1 on all features
(`explainers.sampling.local_ridge`). This is the law of the package ``lime`` at its defaults without feature selection
(Ribeiro, Singh and Guestrin 2016). Since the law does not depend on the case, one sample serves all cases; a case's
values therefore do not depend on which others are asked for.

A value is the weight of "this feature stays in its bin". Base value (the intercept) and values add up to the copy's
prediction, not to the model's.

Cost: `samples` - 1 model rows in all, and one for each case.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Hashable
from typing import Annotated, Any, ClassVar, Literal
from weakref import WeakKeyDictionary

import numpy as np

from explainers.dataset import Dataset
from explainers.device import over_chunks, pick
from explainers.explainer import Explainer, Problem, resolve_space
from explainers.explanation import Attribution, Explanation, Reference
from explainers.model import Model
from explainers.progress import Progress
from explainers.sampling.local_ridge import LocalRidge, fit
from explainers.sampling.masking import MODEL_ROW_BYTES
from explainers.sampling.steps import stretch
from explainers.sampling.training_law import TrainingLaw
from explainers.settings import Range


@dataclasses.dataclass(frozen=True)
class Lime(Explainer):
    """Which features, left in their usual range, hold this prediction up in a straight-line copy of the model."""

    samples: Annotated[int, Range(50, 1_000_000)] = 5000
    seed: Annotated[int, Range(0, 2**31 - 1)] = 0
    space: Literal["auto", "raw", "probability"] = "auto"

    title: ClassVar[str] = "LIME (local straight-line copy)"
    question: ClassVar[str] = (
        "In a straight-line copy of the model around this case, which features carry the prediction?"
    )
    scope: ClassVar[Literal["case", "data"]] = "case"
    returns: ClassVar[type[Explanation]] = Attribution
    paper: ClassVar[str] = "Ribeiro, Singh and Guestrin, Why should I trust you?, KDD 2016"

    def explain(self, problem: Problem, progress: Progress) -> Attribution:
        """Local weights with their sampling error; how well the copy fits is in the diagnostics (`r2`)."""
        space = resolve_space(self.space, problem.model)
        training = _training(problem.data)
        law = TrainingLaw.of(problem.data.schema, training.matrix)
        m, d = problem.cases.matrix.shape
        drawn = self.samples - 1
        steps = drawn + m

        def sample() -> tuple[np.ndarray, np.ndarray]:
            neighbours = law.draw(drawn, self.seed)
            return law.bins(neighbours), _ask(problem, neighbours, space, stretch(progress, 0, steps))

        key = (problem.data.digest, self.samples, self.seed, space)
        remembered = key in _ANSWERS.get(problem.model, {})
        bins, answers = _remembered(problem.model, key, sample)
        output = problem.of_targets(problem.model.scores(problem.cases.X, space))
        case_bins = law.bins(problem.cases.matrix)
        width = 0.75 * float(np.sqrt(d))
        local = _fit(
            problem,
            bins,
            answers,
            case_bins,
            output,
            width,
            stretch(progress, drawn, steps),
        )

        def plain(values: np.ndarray) -> np.ndarray:
            return values if problem.all_outputs else values[..., 0]

        values, intercept = plain(local.coefficients), plain(local.intercept)
        return Attribution(
            names=problem.data.schema.names,
            values=values,
            base_value=intercept,
            output=output,
            space=space,
            targets=problem.target_labels,
            standard_error=plain(local.standard_error),
            reference=_reference(training, space),
            diagnostics={
                "exact": False,
                "evaluations": m if remembered else steps,
                "sample": "remembered from an earlier call" if remembered else "asked",
                "samples": self.samples,
                "seed": self.seed,
                "r2": plain(local.r2).tolist(),
                "local_prediction": (intercept + values.sum(axis=1)).tolist(),
                "kernel_width": width,
                "conditions": law.conditions(case_bins),
                "standard_error": "sandwich of the weighted ridge regression",
            },
        )


def _training(data: Dataset) -> Dataset:
    """The training rows, or all where they are not known."""
    rows = data.rows("train")
    return data.take(rows) if len(rows) else data


def _reference(training: Dataset, space: str) -> Reference:
    known = bool((training.role == "train").all())
    note = "" if known else "may include other rows than training rows"
    return Reference(len(training), "train" if known else "unknown", space, note)


Sample = tuple[np.ndarray, np.ndarray]  # bins (n, d) and the model's answers (n, k)

#: The shared sample with the model's answers. The law does not depend on the case, so a person who goes from case to case asks
#: the same thousands of rows each time; the last few are kept and die with the model.
_ANSWERS: WeakKeyDictionary[Model, dict[Hashable, Sample]] = WeakKeyDictionary()
KEPT = 4


def _remembered(model: Model, key: Hashable, ask: Callable[[], Sample]) -> Sample:
    held = _ANSWERS.setdefault(model, {})
    if key not in held:
        answers = ask()
        while len(held) >= KEPT:
            held.pop(next(iter(held)), None)
        held[key] = answers
    return held[key]


def _ask(problem: Problem, codes: np.ndarray, space: str, progress: Progress) -> np.ndarray:
    """The model's answers ``(n, k)``, asked in portions; codes and frames are built in main memory."""

    def compute(part: slice) -> np.ndarray:
        return problem.model.scores(problem.data.schema.decode(codes[part]), space)

    row_bytes = 32 * codes.shape[1] + MODEL_ROW_BYTES
    return np.concatenate(over_chunks(compute, len(codes), row_bytes, pick("cpu"), progress, seconds=0.3))


def _fit(
    problem: Problem,
    bins: np.ndarray,
    answers: np.ndarray,
    case_bins: np.ndarray,
    output: np.ndarray,
    width: float,
    progress: Progress,
) -> LocalRidge:
    """Fit case by case in portions."""
    n, d = bins.shape
    wanted = output if problem.all_outputs else output[:, None]

    def compute(part: slice) -> LocalRidge:
        if problem.all_outputs:
            y = np.broadcast_to(answers, (part.stop - part.start, *answers.shape))
        else:
            y = answers.T[problem.targets[part], :, None]
        return fit(bins, y, case_bins[part], wanted[part], width)

    # an eighth of the memory: the fit of a few cases stays in the processor's cache
    parts: list[Any] = over_chunks(compute, len(case_bins), 8 * 8 * n * (4 * d + 6), pick("cpu"), progress)
    if not parts:
        k = wanted.shape[1]
        return LocalRidge(np.empty((0, d, k)), np.empty((0, k)), np.empty((0, k)), np.empty((0, d, k)))
    return LocalRidge(
        *(np.concatenate([getattr(part, f.name) for part in parts]) for f in dataclasses.fields(LocalRidge))
    )
