"""Global sensitivity: how much of the prediction's variance each feature makes, alone and together with the others.

Rows are drawn from the product of the columns' own distributions: each column is drawn again by itself, through quasi-random points
on its sorted observed values (missing ones included). Then the variance of the prediction falls into parts, and with `x_u` one
feature or group,

    first order  S_u = Var E[f | x_u] / Var f          what is gone once x_u alone is known
    total        T_u = E Var[f | x_−u] / Var f         what is left when all but x_u are known: interactions too

First orders sum to at most 1, totals to at least 1, both to 1 exactly where effects only add up; a total of 0 means that the model
does not use the feature. **Columns that belong together are torn apart**: a drawn row may hold values that never occur together, the
model is asked there too, and what a correlated feature merely stands in for does not count for it. Keep such features together with
`groups` (they are still independent of the others), or take `AccumulatedLocalEffects`, which stays near the data.

Morris: from each drawn row a star of steps, one feature at a time. A step goes a quarter to three quarters of the feature's
distribution on, round the end; its elementary effect is the prediction's change over the (signed) length of the step, the whole distribution
being 1: in units of the prediction, so features compare whatever their scale. µ* is the mean size of the effects, µ their mean (in size
below µ* where effects turn round), σ their standard deviation (0 where all are equal: no interaction, and no bend along the
quantiles; a straight line over a skewed column has one). Categories are put into a random order, anew in each replicate; they, groups, and steps
to or from missing values have no direction, and count in µ* alone. Morris does with few draws (`samples=64`).

Cost: ``samples · (units + 2)`` predictions, ``samples · (units + 1)`` for Morris, less where a step changes nothing. Errors
are those of the calculation (`explainers.sampling.columns.sensitivity`), not of the rows. Papers: Sobol 1993; Jansen 1999; Saltelli et al. 2010;
Janon et al. 2014; Morris 1991; Campolongo, Saltelli and Cariboni 2011 (steps in a star around each draw).
"""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from jaxtyping import Bool, Float

from explainers.errors import InvalidSetting
from explainers.explainer import Explainer, Need, Problem, resolve_space
from explainers.explanation import Importance
from explainers.progress import Progress
from explainers.sampling.columns.sensitivity import Estimates, elementary_effects, variance_shares
from explainers.sampling.columns.swaps import Draws, SwapAnswers, draw_independent, draw_steps
from explainers.sampling.edited import one_output
from explainers.sampling.groups import Groups, feature_units, unit_name
from explainers.settings import Range, ScoreSpace, Seed

METRICS = {
    "total": "share of the prediction's variance that involves the feature (Sobol, total)",
    "first": "share of the prediction's variance that the feature makes alone (Sobol, first order)",
    "morris": "mean size of the prediction's change per length of the feature's distribution (Morris µ*)",
}
KEYS = {"total": "total", "first": "first_order", "morris": "mu_star"}
#: Cases that tell which class is predicted most often, and how many outputs there are.
FEW = 500
CONSTANT = "the prediction is the same for all rows drawn: nothing to share"


@dataclasses.dataclass(frozen=True)
class Sensitivity(Explainer):
    """How much of the prediction's variance each feature makes; see the module's docstring.

    The rows explained (by default the training rows) say which values there are. `samples` rows are drawn, best a power of two
    (rounded down to a multiple of 8, from 4,096 of 16: the replicates). `groups` names features that move as one. Without a
    target, a model with more than two classes is explained for the class that it predicts most often.
    Diagnostics hold `first_order`, `total`, `mean`, `variance`, or `mu_star`, `mu`, `sigma`, each with its error.
    """

    title: ClassVar[str] = "Sensitivity (Sobol, Morris)"
    question: ClassVar[str] = "How much of the prediction's spread comes from each feature?"
    scope: ClassVar[Literal["case", "data"]] = "data"
    needs: ClassVar[frozenset[Need]] = frozenset({"several rows"})
    returns: ClassVar[type] = Importance
    paper: ClassVar[str] = "Sobol 1993; Saltelli et al. 2010; Morris 1991"
    default_role: ClassVar[str | None] = "train"

    measure: Literal["total", "first", "morris"] = "total"
    samples: Annotated[int, Range(16, 65536)] = 1024
    seed: Seed = 0
    space: ScoreSpace = "auto"
    groups: tuple[tuple[str, ...], ...] = ()

    def explain(self, problem: Problem, progress: Progress) -> Importance:
        """Draw the rows, ask for all copies, and estimate, after each quarter too."""
        space = resolve_space(self.space, problem.model)
        schema = problem.data.schema
        units = feature_units(schema.names, self.groups)
        columns = [[schema.position(name) for name in unit] for unit in units]
        target = _target(problem, self.seed)
        if len(problem.cases) < 2:
            raise InvalidSetting(
                "Sensitivity needs at least two cases to draw values from; the rows named are one."
            )
        draw = draw_steps if self.measure == "morris" else draw_independent
        draws = draw(problem, columns, self.samples, self.seed)
        answers = SwapAnswers(draws, partners=self.measure != "morris")
        steps = _steps(problem, columns, draws) if self.measure == "morris" else None
        label = (problem.model.classes or range(target + 1))[target]
        about = {"space": space, "target": label, "cases": len(problem.cases), "seed": self.seed}

        def whole(replicates: int) -> Importance:
            return self._result(units, answers, steps, replicates, about)

        answers.ask(problem, target, space, progress, whole)
        return whole(len(answers.ends))

    def _result(
        self,
        units: Groups,
        answers: SwapAnswers,
        steps: tuple[np.ndarray, np.ndarray] | None,
        replicates: int,
        about: dict[str, Any],
    ) -> Importance:
        """The result from the first replicates."""
        base, partner, copies = answers.first(replicates)
        if steps is None:
            found, errors = variance_shares(base, partner, copies)
        else:
            length, ordered = (part[:replicates] for part in steps)
            found, errors = elementary_effects(base, copies, length, ordered)
        key = KEYS[self.measure]
        return Importance(
            names=tuple(unit_name(unit) for unit in units),
            values=found[key],
            metric=METRICS[self.measure],
            standard_error=errors[key],
            groups=units if self.groups else (),
            diagnostics={
                "exact": False,
                "evaluations": int(answers.ends[replicates - 1]),
                "kernel": "predictions",
                "samples": base.size,
                "replicates": replicates,
                "standard_error": "scatter of the replicates, widened by Student's factor",
                "note": "" if np.any(found.get("variance", found[key])) else CONSTANT,
                **about,
                **_plain(found),
                **_plain({f"{name}_error": error for name, error in errors.items()}),
            },
        )


def _target(problem: Problem, seed: int) -> int:
    """The output explained: the one asked for, or what is predicted most often for some of the cases."""
    some = problem.cases.take(problem.cases.sample(FEW, seed))
    return int(np.bincount(one_output(dataclasses.replace(problem, cases=some), "Sensitivity")).argmax())


def _steps(
    problem: Problem, columns: list[list[int]], draws: Draws
) -> tuple[Float[np.ndarray, "r u p"], Bool[np.ndarray, "r u p"]]:
    """The length of each unit's steps (a group's: the mean size), and whether they have a direction."""
    features = problem.data.schema.features
    shape = (len(draws.base), len(columns), draws.base.shape[1])
    length, ordered = np.empty(shape), np.zeros(shape, dtype=bool)
    for u, members in enumerate(columns):
        length[:, u] = np.abs(draws.step[..., members]).mean(axis=-1)
        if len(members) == 1 and not features[members[0]].categorical:
            length[:, u] = draws.step[..., members[0]]
            ordered[:, u] = ~np.isnan(draws.base[..., members[0]] + draws.partner[..., members[0]])
    return length, ordered


def _plain(found: Estimates) -> dict[str, Any]:
    """Single numbers as such."""
    return {name: values if np.ndim(values) else float(values) for name, values in found.items()}
