"""Permutation importance: how much worse the model scores when one feature is shuffled between the cases.

Shuffling keeps a feature's distribution and cuts its tie to the truth and to the other features:

    importance_j = score(y, f(X)) − mean over repeats of score(y, f(X with column j permuted))

with the sign turned for scores where less is better, so that positive always means "needed". For a linear model with
independent features the mean squared error rises by ``2 · coef_j² · var(x_j)``. All features use the same
permutations, so that their order does not depend on the luck of the draw. Correlated features stand in for each
other and look unimportant one by one: permute them together with `groups` (`correlated_groups` suggests some).

The standard error joins, in quadrature, the scatter of the repeats (over √repeats) and the sampling of the rows. The latter
is the variance of the score's influence per row (`explainers.scoring`), where a row counts both as receiver and as giver
of the permuted value, less what the scatter of so few repeats adds to it (analysis of variance). With one repeat nothing
can be taken off, and the error is too wide, up to two and a half times.

Cost: ``n · (1 + units · repeats)`` predictions; where the model is made of trees, one pass over them gives the same
predictions, since moving one feature changes only trees that ask it on the case's path. Paper: Breiman 2001; Fisher, Rudin and Dominici 2019.
"""

from __future__ import annotations

import dataclasses
import itertools
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from jaxtyping import Float, Int

from explainers.dataset import Dataset
from explainers.device import over_chunks, pick
from explainers.errors import InvalidSetting
from explainers.explainer import Explainer, Need, Problem
from explainers.explanation import Importance
from explainers.model import Model
from explainers.progress import Progress
from explainers.sampling.edited import ask_edited
from explainers.sampling.groups import Groups, feature_units, unit_name
from explainers.scoring import METRICS, Scored, auc_of
from explainers.settings import Range
from explainers.trees.effects import PORTION_SECONDS, alike_first, tree_moves, tree_predictions
from explainers.trees.effects_view import TreeView

#: Bytes that the answers of some repeats may take at a time.
ANSWER_BYTES = 2**28


@dataclasses.dataclass(frozen=True)
class PermutationImportance(Explainer):
    """How much worse the model scores without a feature; see the module's docstring."""

    title: ClassVar[str] = "Permutation importance"
    question: ClassVar[str] = "What does the model's accuracy need?"
    scope: ClassVar[Literal["case", "data"]] = "data"
    needs: ClassVar[frozenset[Need]] = frozenset({"truth", "several rows"})
    returns: ClassVar[type] = Importance
    paper: ClassVar[str] = "Breiman 2001, Random Forests; Fisher, Rudin and Dominici 2019"
    default_role: ClassVar[str | None] = "test"

    metric: Literal["auto", "auc", "accuracy", "log_loss", "r2", "rmse", "mae"] = "auto"
    repeats: Annotated[int, Range(1, 1000)] = 5
    seed: Annotated[int, Range(0, 2**31 - 1)] = 0
    groups: tuple[tuple[str, ...], ...] = ()

    def explain(self, problem: Problem, progress: Progress) -> Importance:
        """Permute every feature or group `repeats` times over the explained rows."""
        units = feature_units(problem.data.schema.names, self.groups)
        scoring = _Scoring.of(problem, _metric(self.metric, problem.model))
        tally = _Tally(scoring, units, problem, self)
        tally.run(problem, progress)
        return tally.result()


@dataclasses.dataclass(frozen=True, eq=False)
class _Scoring:
    """The rows with a known truth, and how predictions for them are scored."""

    name: str
    rows: np.ndarray
    truth: np.ndarray
    column: int | None

    @classmethod
    def of(cls, problem: Problem, name: str) -> _Scoring:
        if problem.cases.y is None:
            raise InvalidSetting(
                "Permutation importance needs the true outcome of the cases; these have none."
            )
        truth = problem.model.truth(problem.cases.y)
        known = np.flatnonzero(truth >= 0) if truth.dtype.kind == "i" else np.flatnonzero(~np.isnan(truth))
        if len(known) < 2:
            raise InvalidSetting(
                f"Permutation importance needs at least two cases with a known outcome; got {len(known)}."
            )
        scoring = cls(name, known, truth[known], _column(problem))
        scoring._check(problem.model)
        return scoring

    def _check(self, model: Model) -> None:
        found = np.unique(self.truth)
        if self.name == "r2" and len(found) == 1:
            raise InvalidSetting(
                f"R² needs outcomes that differ; all {len(self.truth)} are {found[0]:g}. Use metric='rmse'."
            )
        if self.name != "auc":
            return
        column = 1 if self.column is None else self.column
        wanted = set(range(len(model.classes))) if self._every_class(model) else {column}
        absent = [model.classes[j] for j in sorted(wanted - set(found.tolist()))]
        if absent or len(found) == 1:
            present = ", ".join(repr(model.classes[int(j)]) for j in found)
            raise InvalidSetting(
                f"AUC needs cases of every class it compares; these {len(self.truth)} cases hold only {present}. "
                "Choose more rows, or metric='accuracy'."
            )

    def _every_class(self, model: Model) -> bool:
        return self.column is None and len(model.classes) > 2

    def score(self, outputs: np.ndarray) -> Scored:
        """The score of predictions for the rows ``(n, k)``, and each row's influence on it."""
        if self.column is not None and self.name == "auc":
            return auc_of(self.truth == self.column, outputs[:, self.column])
        if self.column is not None and METRICS[self.name].task == "regression":
            outputs = outputs[:, [self.column]]
        return METRICS[self.name].score(self.truth, outputs)


class _Tally:
    """Permuted copies in the order repeat by repeat, unit by unit, scored one by one as their predictions arrive."""

    def __init__(
        self, scoring: _Scoring, units: Groups, problem: Problem, settings: PermutationImportance
    ) -> None:
        self.units, self.settings = units, settings
        self.columns = [[problem.data.schema.position(name) for name in unit] for unit in units]
        n = len(scoring.rows)
        random = np.random.default_rng(settings.seed)
        self.permutations = [random.permutation(n) for _ in range(settings.repeats)]
        self.view = TreeView.of(problem, problem.model.space)
        self.scoring, self.codes = scoring, problem.cases.matrix[scoring.rows]
        outputs = problem.outputs
        self.buffer = np.empty((n, outputs))
        if self.view is None:
            self._base(problem.predictions[scoring.rows])
        else:
            self.asked = self.view.codes(self.codes)
            self._reorder(alike_first(self.view, self.asked))
            self._base(tree_predictions(self.view, self.asked))
        self.scores = np.full((settings.repeats, len(units)), np.nan)
        self.influences = np.zeros((len(units), n))
        self.squares = np.zeros(len(units))
        self.note = _note(problem.cases)

    def _reorder(self, order: Int[np.ndarray, " n"]) -> None:
        """Take the rows in this order; what each is given stays the same."""
        scoring = self.scoring
        self.scoring = dataclasses.replace(scoring, rows=scoring.rows[order], truth=scoring.truth[order])
        self.codes, self.asked = self.codes[order], self.asked[:, order]
        place = np.empty(len(order), dtype=np.int64)
        place[order] = np.arange(len(order))
        self.permutations = [place[permutation[order]] for permutation in self.permutations]

    def _base(self, predictions: Float[np.ndarray, "n k"]) -> None:
        """The score before anything is moved."""
        self.score, self.influence = self.scoring.score(predictions)

    def run(self, problem: Problem, progress: Progress) -> None:
        shown = 0

        def report(done: int, total: int, *_: Any, **__: Any) -> None:
            nonlocal shown
            whole = int((~np.isnan(self.scores).any(axis=1)).sum())
            fresh = shown < whole < self.settings.repeats
            shown = whole
            progress(done, total, self.result(whole) if fresh else None)

        if self.view is not None:
            self._move(self.view, report)
            return
        ask_edited(
            problem,
            self.scores.size * len(self.codes),
            self._permuted,
            self._take,
            report,
            problem.model.space,
        )

    def _move(self, view: TreeView, progress: Progress) -> None:
        """All units and several repeats in one pass over the trees, then their scores one by one."""
        n, units = len(self.codes), len(self.units)
        every = int(np.clip(ANSWER_BYTES // (8 * n * units * view.trees.outputs), 1, self.settings.repeats))
        for first in range(0, self.settings.repeats, every):
            repeats = range(first, min(first + every, self.settings.repeats))
            base, change = self._moved(view, repeats, progress)
            for copy, (repeat, unit) in enumerate(itertools.product(repeats, range(units)), 1):
                self.buffer[:] = view.scored((base + change[unit, repeat - first]).T)
                self._scored(repeat, unit)
                progress(
                    ((first + len(repeats)) * units + first * units + copy) * n, 2 * self.scores.size * n
                )

    def _moved(
        self, view: TreeView, repeats: range, progress: Progress
    ) -> tuple[Float[np.ndarray, "k n"], Float[np.ndarray, "u r k n"]]:
        """The sums of all rows, and what permuting each unit changes in them in some repeats."""
        n, units, k = len(self.codes), len(self.units), view.trees.outputs
        base, change = np.empty((k, n)), np.empty((units, len(repeats), k, n))

        def portion(part: slice) -> None:
            donors = [self.asked[:, self.permutations[repeat][part]] for repeat in repeats]
            base[:, part], change[..., part] = tree_moves(view, self.asked[:, part], donors, self.columns)

        def report(done: int, total: int, partial: Any = None) -> None:  # noqa: ARG001  one of several passes
            progress((2 * repeats.start * n + len(repeats) * done) * units, 2 * self.scores.size * n)

        row_bytes = 8 * (units * len(repeats) * k + 8 * self.codes.shape[1])
        over_chunks(portion, n, row_bytes, pick("cpu"), report, PORTION_SECONDS)
        return base, change

    def _pieces(self, part: slice) -> list[tuple[int, slice, slice]]:
        """Which rows of which copies a portion holds: ``(copy, rows of the copy, rows of the portion)``."""
        n = len(self.codes)
        pieces = []
        for copy in range(part.start // n, -(-part.stop // n)):
            start, stop = max(part.start, copy * n), min(part.stop, (copy + 1) * n)
            pieces.append(
                (copy, slice(start - copy * n, stop - copy * n), slice(start - part.start, stop - part.start))
            )
        return pieces

    def _permuted(self, part: slice) -> Float[np.ndarray, "p d"]:
        made = np.empty((part.stop - part.start, self.codes.shape[1]))
        for copy, rows, places in self._pieces(part):
            repeat, unit = divmod(copy, len(self.units))
            made[places] = self.codes[rows]
            for column in self.columns[unit]:
                made[places, column] = self.codes[self.permutations[repeat][rows], column]
        return made

    def _take(self, part: slice, answers: Float[np.ndarray, "p k"]) -> None:
        for copy, rows, places in self._pieces(part):
            self.buffer[rows] = answers[places]
            if rows.stop == len(self.codes):
                self._scored(*divmod(copy, len(self.units)))

    def _scored(self, repeat: int, unit: int) -> None:
        """Count in the predictions of one permuted copy, which are in the buffer."""
        score, influence = self.scoring.score(self.buffer)
        self.scores[repeat, unit] = score
        # a row counts twice: where it received a value, and where its own value went
        roles = influence.copy()
        roles[self.permutations[repeat]] += influence - score
        self.influences[unit] += roles
        self.squares[unit] += roles @ roles

    def result(self, repeats: int | None = None) -> Importance:
        """The importance after some repeats, or all."""
        repeats = self.settings.repeats if repeats is None else repeats
        metric = METRICS[self.scoring.name]
        sign = 1.0 if metric.higher_is_better else -1.0
        drops = sign * (self.score - self.scores[:repeats])
        return Importance(
            names=tuple(unit_name(unit) for unit in self.units),
            values=drops.mean(axis=0),
            metric=f"{'drop' if sign > 0 else 'rise'} of {metric.title}",
            standard_error=np.sqrt(self._variance(drops)),
            groups=self.units if self.settings.groups else (),
            diagnostics=self._diagnostics(repeats),
        )

    def _variance(self, drops: Float[np.ndarray, "r u"]) -> Float[np.ndarray, " u"]:
        """Of the mean drop: between rows (less what the few repeats add to it), and between repeats."""
        n = len(self.codes)
        # a partial result may come while the next repeat is under way, its sums then belong to more copies
        counted = (~np.isnan(self.scores)).sum(axis=0)
        mean = self.influences / counted[:, None]
        rows = (self.influence - mean).var(axis=1, ddof=1)
        if len(drops) == 1:
            return np.asarray(rows / n)
        scatter = (self.squares - counted * (mean * mean).sum(axis=1)) / (n * (counted - 1))
        return np.asarray(
            np.maximum(rows - scatter / counted, 0.0) / n + drops.var(axis=0, ddof=1) / len(drops)
        )

    def _diagnostics(self, repeats: int) -> dict[str, Any]:
        n = len(self.codes)
        return {
            "exact": False,
            "evaluations": n * (1 + (repeats * len(self.units) if self.view is None else 0)),
            "kernel": "predictions"
            if self.view is None
            else "tree moves, all features and repeats in one pass",
            "repeats": repeats,
            "seed": self.settings.seed,
            "cases": n,
            "metric": self.scoring.name,
            "score": self.score,
            "standard_error": "sampling of rows and scatter of repeats, in quadrature",
            "note": self.note,
        }


def _metric(name: str, model: Model) -> str:
    """The score for ``"auto"``, or the one asked for where it fits the model; raises `InvalidSetting`."""
    if name == "auto":
        return "r2" if model.task == "regression" else "auc" if len(model.classes) == 2 else "accuracy"
    if METRICS[name].task != model.task:
        fitting = ", ".join(repr(key) for key, metric in METRICS.items() if metric.task == model.task)
        raise InvalidSetting(f"metric={name!r} does not fit a {model.task}; use one of {fitting}.")
    if name == "log_loss" and model.space != "probability":
        raise InvalidSetting(
            f"metric='log_loss' needs probabilities; this model ({model.family}) gives scores. Use 'auc'."
        )
    return name


def _column(problem: Problem) -> int | None:
    """The output asked for by the caller; ``None`` where the score looks at all outputs."""
    outputs = problem.outputs
    if problem.target is not None and not problem.all_outputs:
        return problem.model.output_of(problem.target, outputs)
    if problem.model.task == "regression" and outputs > 1:
        raise InvalidSetting(
            f"The model has {outputs} outputs and the data one truth; name one: target=0..{outputs - 1}."
        )
    return None


def _note(cases: Dataset) -> str:
    roles = set(np.unique(cases.role))
    return (
        "may include training rows"
        if "unknown" in roles
        else "includes training rows"
        if "train" in roles
        else ""
    )
