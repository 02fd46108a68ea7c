"""Counterfactuals: the smallest changes of a case after which the model decides otherwise.

    minimise (number of changed features, Σ |Δ_j| / MAD_j)   such that   f(x′) reaches the goal,   x′ permitted

What is permitted stands in `explainers.sampling.counterfactuals.changes`, how it is searched in `explainers.sampling.counterfactuals.flipping`. Every suggestion
is predicted again by the model after rounding, and only what reaches the goal is returned; suggestions touch
different features. The search is a heuristic for two and more changes: a smaller change may exist. A suggestion is what the
model would need to see, not advice, and says nothing of causes.

The goal, for the explained output:

| model | ``goal="auto"`` | ``"higher"`` / ``"lower"`` |
|---|---|---|
| two classes | the other side of `threshold` | at least / below `threshold` |
| more classes, target named | that class is predicted; another one, where it is already | it is / is not predicted |
| more classes, no target | any other class is predicted | as above, for the predicted class |
| regression | one standard deviation of the predictions higher | at least / below `threshold`, in target units |

For a classifier `threshold` is a probability (for scores its log-odds are used). A case that already is where the goal lies
has no suggestion; neither has one for which nothing was found (`found` is 0).

Cost: about 25 predictions per feature; where pairs are needed 12 times as many again; then some tens. Papers: Wachter,
Mittelstadt and Russell 2018; Mothilal, Sharma and Tan 2020 (diversity).
"""

from __future__ import annotations

import dataclasses
import math
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from jaxtyping import Bool, Float

from explainers.errors import InvalidSetting
from explainers.explainer import Explainer, Need, Problem
from explainers.explanation import Counterfactuals
from explainers.model import Model
from explainers.progress import Progress
from explainers.sampling.counterfactuals.changes import Changes
from explainers.sampling.counterfactuals.flipping import Search, State
from explainers.sampling.edited import one_output, predict_edited
from explainers.settings import Range, Seed

Side = Literal["at least", "below", "class", "other class"]


@dataclasses.dataclass(frozen=True)
class Counterfactual(Explainer):
    """The smallest changes after which the model decides otherwise; see the module's docstring."""

    title: ClassVar[str] = "Counterfactuals"
    question: ClassVar[str] = "What would the model need to see to decide otherwise?"
    scope: ClassVar[Literal["case", "data"]] = "case"
    needs: ClassVar[frozenset[Need]] = frozenset({"several rows"})
    returns: ClassVar[type] = Counterfactuals
    paper: ClassVar[str] = "Wachter, Mittelstadt and Russell 2018; Mothilal, Sharma and Tan 2020"

    suggestions: Annotated[int, Range(1, 20)] = 3
    max_changes: Annotated[int, Range(1, 5)] = 2
    threshold: float | int = 0.5
    goal: Literal["auto", "higher", "lower"] = "auto"
    seed: Seed = 0
    allow_measured: bool = False

    def explain(self, problem: Problem, progress: Progress) -> Counterfactuals:
        """Search case by case."""
        one_output(problem, "Counterfactual")
        goals = _goals(self, problem)
        changes = Changes.of(problem.data, self.allow_measured, self.seed)
        asking = _Asking(problem, progress)
        found: list[list[tuple[State, float]]] = []
        for position, goal in enumerate(goals):
            found.append(self._of_case(problem, position, goal, changes, asking))
            asking.finished(position + 1)
        return self._result(problem, goals, changes, found, asking)

    def _of_case(
        self, problem: Problem, position: int, goal: _Goal, changes: Changes, asking: _Asking
    ) -> list[tuple[State, float]]:
        """The suggestions for one case and their predictions, each asked of the model once more."""
        if goal.reached(problem.predictions[[position]])[0]:
            return []

        def judge(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            answers = asking.ask(rows)
            return goal.reached(answers), goal.nearness(answers)

        states = Search(
            problem.cases.matrix[position], changes, judge, self.max_changes, self.suggestions
        ).run()
        if not states:
            return []
        answers = asking.ask(np.array([state.row for state in states]))
        valid = goal.reached(answers)
        return [
            (state, float(a[goal.column])) for state, a, ok in zip(states, answers, valid, strict=True) if ok
        ]

    def _result(
        self,
        problem: Problem,
        goals: list[_Goal],
        changes: Changes,
        found: list[list[tuple[State, float]]],
        asking: _Asking,
    ) -> Counterfactuals:
        original = problem.cases.matrix
        m, d = original.shape
        changed = np.full((m, self.suggestions, d), np.nan)
        output, distance = np.full((m, self.suggestions), np.nan), np.full((m, self.suggestions), np.nan)
        for case, states in enumerate(found):
            for rank, (state, value) in enumerate(states):
                changed[case, rank], output[case, rank] = state.row, value
                distance[case, rank] = changes.distance(state.row[None], original[case])[0]
        reached = [bool(goal.reached(problem.predictions[[case]])[0]) for case, goal in enumerate(goals)]
        return Counterfactuals(
            names=problem.data.schema.names,
            original=original.copy(),
            changed=changed,
            found=np.array([len(states) for states in found], dtype=np.int64),
            output=output,
            before=problem.of_targets(problem.predictions),
            wanted=_wanted(goals, problem.model),
            distance=distance,
            space=problem.model.space,
            targets=problem.target_labels,
            diagnostics={
                "exact": False,
                "evaluations": asking.evaluations,
                "locked": changes.locked,
                "validity": 1.0,
                "already": tuple(case for case, there in enumerate(reached) if there),
                "seed": self.seed,
            },
        )


@dataclasses.dataclass(frozen=True)
class _Goal:
    """What the predictions of a changed case must show."""

    column: int
    side: Side
    threshold: float = math.nan

    def reached(self, scores: Float[np.ndarray, "n k"]) -> Bool[np.ndarray, " n"]:
        if self.side == "at least":
            return np.asarray(scores[:, self.column] >= self.threshold)
        if self.side == "below":
            return np.asarray(scores[:, self.column] < self.threshold)
        predicted = scores.argmax(axis=1) == self.column
        return np.asarray(predicted if self.side == "class" else ~predicted)

    def nearness(self, scores: Float[np.ndarray, "n k"]) -> Float[np.ndarray, " n"]:
        """Grows towards the goal; only its order matters."""
        own = scores[:, self.column]
        if self.side in ("at least", "below"):
            return np.asarray(own if self.side == "at least" else -own)
        margin = own - np.delete(scores, self.column, axis=1).max(axis=1)
        return np.asarray(margin if self.side == "class" else -margin)


#: Ticks of progress for each case: a search asks the model some five to twenty times.
TICKS = 10


class _Asking:
    """Asks the model, counts, and reports progress: so many ticks per case, one for each time it asks."""

    def __init__(self, problem: Problem, progress: Progress) -> None:
        self.problem, self.progress = problem, progress
        self.evaluations, self.case, self.tick = len(problem.cases), 0, 0

    def ask(self, rows: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n k"]:
        self.evaluations += len(rows)
        answers = predict_edited(self.problem, rows, self._report, self.problem.model.space)
        self.tick = min(self.tick + 1, TICKS - 1)
        return answers

    def _report(self, *_: Any, **__: Any) -> None:
        self.progress(self.case * TICKS + self.tick, len(self.problem.cases) * TICKS)

    def finished(self, cases: int) -> None:
        self.case, self.tick = cases, 0
        self._report()


def _goals(settings: Counterfactual, problem: Problem) -> list[_Goal]:
    """One goal per case."""
    model, targets = problem.model, problem.targets
    if model.task == "regression":
        return _numeric_goals(settings, problem)
    if len(model.classes) != 2:
        return [
            _class_goal(settings.goal, int(t), row)
            for t, row in zip(targets, problem.predictions, strict=True)
        ]
    if not 0.0 < settings.threshold < 1.0:
        raise InvalidSetting(
            f"Counterfactual(threshold=…) is a probability for a classifier, above 0 and below 1; got {settings.threshold!r}."
        )
    threshold = float(settings.threshold)
    if model.space != "probability":
        threshold = math.log(threshold / (1.0 - threshold))
    before = problem.of_targets(problem.predictions)
    sides: list[Side] = [_side(settings.goal, bool(value < threshold)) for value in before]
    return [_Goal(int(t), side, threshold) for t, side in zip(targets, sides, strict=True)]


def _side(goal: str, is_below: bool) -> Side:
    upwards = is_below if goal == "auto" else goal == "higher"
    return "at least" if upwards else "below"


def _class_goal(goal: str, target: int, scores: np.ndarray) -> _Goal:
    """Towards the target where it is not predicted, away from it where it is; or as the caller says."""
    towards = scores.argmax() != target if goal == "auto" else goal == "higher"
    return _Goal(target, "class" if towards else "other class")


def _numeric_goals(settings: Counterfactual, problem: Problem) -> list[_Goal]:
    if settings.goal != "auto":
        return [
            _Goal(int(t), _side(settings.goal, False), float(settings.threshold)) for t in problem.targets
        ]
    sample = problem.data.take(problem.data.sample(1000, settings.seed))
    deviation = problem.model.predict(sample.X).std(axis=0)
    before = problem.of_targets(problem.predictions)
    return [
        _Goal(int(t), "at least", float(b + deviation[t]))
        for t, b in zip(problem.targets, before, strict=True)
    ]


def _wanted(goals: list[_Goal], model: Model) -> str:
    """The goals in words; where cases differ, what they have in common."""
    words = {
        f"{g.side} {g.threshold:.4g}" if not math.isnan(g.threshold) else _class_words(g, model)
        for g in goals
    }
    if len(words) == 1:
        return words.pop()
    thresholds = {g.threshold for g in goals}
    if model.task == "regression":
        return "one standard deviation of the predictions higher"
    if len(thresholds) == 1 and not math.isnan(next(iter(thresholds))):
        return f"the other side of {goals[0].threshold:.4g}"
    return "another class"


def _class_words(goal: _Goal, model: Model) -> str:
    label = str(model.classes[goal.column])
    return label if goal.side == "class" else f"another class than {label}"
