"""LIME: a straight-line copy of the model in the neighbourhood of a case.

Tables: neighbours are drawn from the training rows, feature by feature (`explainers.sampling.local.training_law`); the copy sees
only whether each feature is still in the case's quartile bin (or category), and weighs neighbours by how many features are (kernel
width 0.75 sqrt(d)). Since the law does not depend on the case, one sample serves all cases; what of it is known in closed form is not
sampled (`explainers.sampling.local.table_ridge`). Pictures: neighbours show some segments in their mean colour. Texts: neighbours lack some
words. For both see `explainers.sampling.local.masks`; where all neighbours fit into `samples`, they are all asked and the result is exact.

The copy is a ridge regression with alpha 1 on all features, segments or words. This is the law of the package ``lime`` at its
defaults without feature selection (Ribeiro, Singh and Guestrin 2016), and what its values tend to over many runs. A case's
values do not depend on which others are asked for.

A value is the weight of "this feature stays in its bin", "this segment stays visible", "this word stays". Base value (the intercept) and
values add up to the copy's prediction, not to the model's.

Cost: tables `samples` - 1 model rows in all, and one for each case; pictures and texts at most `samples` + 1 for each case.
"""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any, ClassVar, Literal

import numpy as np

from explainers.dataset import Dataset
from explainers.explainer import Explainer, Problem, resolve_space
from explainers.explanation import Attribution, Explanation, Reference
from explainers.games.opening import game_of, placed
from explainers.model import Model
from explainers.progress import Progress
from explainers.sampling.local.masked_fits import masked_fits
from explainers.sampling.local.table import fit_all, neighbours_of, remembered, training_rows
from explainers.sampling.local.training_law import TrainingLaw
from explainers.sampling.steps import stretch
from explainers.schema import Modality
from explainers.settings import Range, ScoreSpace, Seed

#: Neighbours where `samples` does not say, as in the package.
USUAL_SAMPLES: dict[Modality, int] = {"table": 5000, "text": 5000, "image": 1000}


@dataclasses.dataclass(frozen=True)
class Lime(Explainer):
    """Which features, segments or words hold this prediction up in a straight-line copy of the model.

    `samples` is by default 5,000, and 1,000 for pictures, which are divided into about `segments` segments.
    """

    samples: Annotated[int, Range(50, 1_000_000)] | None = None
    segments: Annotated[int, Range(1, 1000)] = 50
    seed: Seed = 0
    space: ScoreSpace = "auto"

    title: ClassVar[str] = "LIME (local straight-line copy)"
    question: ClassVar[str] = (
        "In a straight-line copy of the model around this case, which features carry the prediction?"
    )
    scope: ClassVar[Literal["case", "data"]] = "case"
    modalities: ClassVar[tuple[Modality, ...]] = ("table", "image", "text")
    returns: ClassVar[type[Explanation]] = Attribution
    paper: ClassVar[str] = "Ribeiro, Singh and Guestrin, Why should I trust you?, KDD 2016"

    def evaluations(self, model: Model, data: Dataset, cases: int) -> int | None:
        """One sample serves all cases of a table; segments and words are sampled for each case."""
        samples = self.samples or USUAL_SAMPLES.get(data.modality, 0)
        return samples - 1 + cases if data.modality == "table" else (samples + 1) * cases

    def explain(self, problem: Problem, progress: Progress) -> Attribution:
        """Local weights with their sampling error; how well the copy fits is in the diagnostics (`r2`)."""
        space = resolve_space(self.space, problem.model)
        samples = self.samples or USUAL_SAMPLES[problem.data.modality]
        if problem.data.modality == "table":
            return self._table(problem, samples, space, progress)
        return self._masked(problem, samples, space, progress)

    def _table(self, problem: Problem, samples: int, space: str, progress: Progress) -> Attribution:
        training = training_rows(problem.data)
        m, d = problem.cases.matrix.shape
        drawn = samples - 1
        steps = drawn + m
        neighbours, known = remembered(
            problem.model,
            (problem.data.digest, samples, self.seed, space),
            lambda: neighbours_of(
                problem,
                TrainingLaw.of(problem.data.schema, training.matrix),
                drawn,
                self.seed,
                space,
                stretch(progress, 0, steps),
            ),
        )
        law = neighbours.law
        output = problem.of_targets(problem.model.scores(problem.cases.X, space))
        bins = law.bins(problem.cases.matrix)
        width = 0.75 * float(np.sqrt(d))
        local = fit_all(problem, neighbours, law.slots(bins), output, width, stretch(progress, drawn, steps))

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
                "evaluations": m if known else steps,
                "sample": "remembered from an earlier call" if known else "asked",
                "samples": samples,
                "seed": self.seed,
                "r2": plain(local.r2).tolist(),
                "local_prediction": (intercept + values.sum(axis=1)).tolist(),
                "kernel_width": width,
                "conditions": law.conditions(bins),
                "rough_copy": neighbours.copy.explained.tolist(),
                "standard_error": "of what a rough copy of the model misses, as if drawn by chance: at most this, often less",
            },
        )

    def _masked(self, problem: Problem, samples: int, space: str, progress: Progress) -> Attribution:
        with placed(problem):
            game = game_of(problem, space, about=self.segments, all_play=True)
            kind: Literal["image", "text"] = "image" if problem.data.modality == "image" else "text"
            found = masked_fits(game, kind, samples, self.seed, progress)

        def plain(values: np.ndarray) -> Any:
            return values if problem.all_outputs else values[..., 0]

        values = plain(found.values)
        return Attribution(
            names=game.names,
            values=game.shaped(values),
            base_value=plain(found.intercept),
            output=plain(found.full),
            space=space,
            targets=problem.target_labels,
            standard_error=None if found.exact else game.shaped(plain(found.error)),
            reference=game.reference,
            diagnostics={
                **game.facts(values),
                "exact": found.exact,
                "evaluations": found.evaluations,
                "samples": samples,
                "seed": self.seed,
                "r2": plain(found.r2).tolist(),
                "local_prediction": (plain(found.intercept) + values.sum(axis=1)).tolist(),
                "kernel_width": 0.25,
            },
        )


def _reference(training: Dataset, space: str) -> Reference:
    known = bool((training.role == "train").all())
    note = "" if known else "may include other rows than training rows"
    return Reference(len(training), "train" if known else "unknown", space, note)
