"""Permutation importance: how much worse the model scores when one feature is shuffled between the cases.

Shuffling keeps a feature's distribution and cuts its tie to the truth and to the other features:

    importance_j = score(y, f(X)) − mean over repeats of score(y, f(X with column j permuted))

with the sign turned for scores where less is better, so that positive always means "needed". For a linear model with
independent features the mean squared error rises by ``2 · coef_j² · var(x_j)``. All features use the same
permutations, so that their order does not depend on the luck of the draw. Correlated features stand in for each
other and look unimportant one by one: permute them together with `groups` (``groups="correlated"`` takes those whose rank
correlations cluster, as `correlated_groups` finds them in the data).

With ``conditional=True`` rows exchange a feature only with rows whose other features look alike
(`explainers.sampling.columns.conditional_donors`): the feature keeps what the others tell of it, and the importance says what the
score loses without what the feature alone tells. The model is then asked only about cases like those there are. A feature that
the others give away is not needed in this sense, however much the model uses it; a feature independent of the others has one
stratum, and the plain importance. Strata are not infinitely fine and a row may get its own value back, which makes it approximate;
the strata are taken as given, so their choice is not in the standard error.

The standard error joins, in quadrature, the scatter of the repeats (over √repeats) and the sampling of the rows. The latter
is the variance of the score's influence per row (`explainers.scoring`), where a row counts both as receiver and as giver
of the permuted value (there beyond the mean of its stratum), less what the scatter of so few repeats adds to it (analysis of variance). With one repeat nothing
can be taken off, and the error is too wide, up to two and a half times.

Cost: ``n · (1 + units · repeats)`` predictions; where the model is made of trees, one pass over them gives the same
predictions, since moving one feature changes only trees that ask it on the case's path. Paper: Breiman 2001; Fisher, Rudin and
Dominici 2019; conditional: Strobl et al. 2008; Molnar et al. 2023.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from jaxtyping import Float

from explainers.dataset import Dataset
from explainers.device import over_chunks, pick
from explainers.explainer import Explainer, Need, Problem
from explainers.explanation import Importance
from explainers.model import Model
from explainers.progress import Progress
from explainers.sampling.columns.donors import Donors
from explainers.sampling.columns.scored_rows import ScoredRows
from explainers.sampling.edited import ask_edited
from explainers.sampling.groups import Groups, correlated_groups, feature_units, unit_name
from explainers.scoring import METRICS
from explainers.settings import Range, Seed
from explainers.trees.effects.one_pass import PORTION_SECONDS, alike_first, tree_moves
from explainers.trees.effects.view import TreeView

#: Bytes that the answers of some repeats may take at a time.
ANSWER_BYTES = 2**28

#: Rows of permuted copies that are scored before progress is reported, and from which a second thread is worth its start.
SCORED_ROWS, ROWS_PER_THREAD = 2**21, 2**14


@dataclasses.dataclass(frozen=True)
class PermutationImportance(Explainer):
    """How much worse the model scores without a feature; see the module's docstring.

    `groups` names features that are permuted together, or is ``"correlated"``. With `conditional` a feature is permuted among rows
    whose other features look alike: what the score loses without what the feature alone tells.
    """

    title: ClassVar[str] = "Permutation importance"
    question: ClassVar[str] = "What does the model's accuracy need?"
    scope: ClassVar[Literal["case", "data"]] = "data"
    needs: ClassVar[frozenset[Need]] = frozenset({"truth", "several rows"})
    returns: ClassVar[type] = Importance
    paper: ClassVar[str] = "Breiman 2001, Random Forests; Fisher, Rudin and Dominici 2019"
    default_role: ClassVar[str | None] = "test"

    metric: Literal["auto", "auc", "accuracy", "log_loss", "r2", "rmse", "mae"] = "auto"
    repeats: Annotated[int, Range(1, 1000)] = 5
    seed: Seed = 0
    groups: tuple[tuple[str, ...], ...] | Literal["correlated"] = ()
    conditional: bool = False

    def evaluations(self, model: Model, data: Dataset, cases: int) -> int | None:
        """Each case once, and once more for every unit and repeat; trees are not asked but moved, so that nobody knows before."""
        if "trees" in model.abilities:
            return None
        return cases * (1 + self.repeats * len(self._units(data)))

    def _units(self, data: Dataset) -> Groups:
        """What is permuted together."""
        groups = correlated_groups(data) if isinstance(self.groups, str) else self.groups
        return feature_units(data.schema.names, groups)

    def explain(self, problem: Problem, progress: Progress) -> Importance:
        """Permute every feature or group `repeats` times over the explained rows."""
        if getattr(problem.model, "trees", None) is None:
            _ = problem.predictions  # wanted in any case, and they tell how many outputs there are
        scoring = ScoredRows.of(problem, self.metric)
        tally = _Tally(scoring, self._units(problem.data), problem, self, progress)
        tally.run(problem, progress)
        return tally.result()


class _Tally:
    """Permuted copies in the order repeat by repeat, unit by unit, scored as their predictions arrive."""

    def __init__(
        self,
        scoring: ScoredRows,
        units: Groups,
        problem: Problem,
        settings: PermutationImportance,
        progress: Progress,
    ) -> None:
        self.units, self.settings = units, settings
        self.columns = [[problem.data.schema.position(name) for name in unit] for unit in units]
        self.view = TreeView.of(problem, problem.model.space)
        self.scoring, self.codes = scoring, problem.cases.matrix[scoring.rows]
        n = len(self.codes)
        if settings.conditional:
            self.donors = Donors.among_alike(
                self.codes, problem.data.schema, self.columns, settings.repeats, settings.seed, progress
            )
        else:
            self.donors = Donors.among_all(n, len(units), settings.repeats, settings.seed)
        self.outputs = problem.outputs
        self.scores = np.full((settings.repeats, len(units)), np.nan)
        self.influences = np.zeros((len(units), n))
        self.squares = np.zeros(len(units))
        self.note = _note(problem.cases)
        if self.view is None:
            self.buffer = np.empty((n, self.outputs))
            self.score, self.influence = scoring.score(problem.predictions[scoring.rows])
        else:
            self._reorder(self.view.codes(self.codes), self.view)
            progress(0, 1)

    def _reorder(self, asked: Any, view: TreeView) -> None:
        """Take the rows in an order that the trees like; what each is given stays the same."""
        order = alike_first(view, asked)
        self.scoring, self.codes = self.scoring.taken(order), self.codes[order]
        self.asked = np.ascontiguousarray(asked[:, order])
        self.donors = self.donors.taken(order)

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
        """All units and several repeats in one pass over the trees, then their scores, shared among threads by unit."""
        from explainers.trees.compiling import share, threads

        n, units = len(self.codes), len(self.units)
        every = int(np.clip(ANSWER_BYTES // (8 * n * units * view.trees.outputs), 1, self.settings.repeats))
        together = max(threads(), SCORED_ROWS // n)
        count: Callable[..., None] | None = None
        for first in range(0, self.settings.repeats, every):
            repeats = range(first, min(first + every, self.settings.repeats))
            base, change = self._moved(view, repeats, progress)
            count = count or self._counting(view, base)
            for repeat, start in itertools.product(repeats, range(0, units, together)):
                moved = change[start : start + together, repeat - first]
                share(partial(count, repeat, start, moved), len(moved), -(-ROWS_PER_THREAD // n))
                done = (first + len(repeats) + repeat) * units + start + len(moved)
                progress(done * n, 2 * self.scores.size * n)

    def _counting(self, view: TreeView, base: Float[np.ndarray, "k n"]) -> Callable[..., None]:
        """The score before anything is moved; what counts in some units of a repeat by what changed in the sums."""
        column = self.scoring.ranked(self.outputs)
        if column is None:
            self.score, self.influence = self.scoring.score(view.scored(base.T))
        else:
            from explainers.trees.effects.ranks import RankTally

            positive, before = self.scoring.truth == column, view.output(base, column)
            ranks = RankTally(positive, self.influences, self.squares, before)
            self.score, self.influence = ranks.area, ranks.area + ranks.excess

        def count(repeat: int, first: int, change: Float[np.ndarray, "u k n"], start: int, stop: int) -> None:
            for place in range(start, stop):
                unit, moved = first + place, change[place]
                if column is None:
                    self._scored(repeat, unit, view.scored((base + moved).T))
                    continue
                if place == start or not self.donors.shared:
                    receiver = self.donors.receiver(unit, repeat)
                answers = view.output(base + moved, column) if moved.any() else None
                centred = None if self.donors.strata[unit] is None else partial(self.donors.beyond, unit)
                self.scores[repeat, unit] = ranks.add(unit, answers, receiver, centred)

        return count

    def _moved(
        self, view: TreeView, repeats: range, progress: Progress
    ) -> tuple[Float[np.ndarray, "k n"], Float[np.ndarray, "u r k n"]]:
        """The sums of all rows, and what permuting each unit changes in them in some repeats."""
        n, units, k = len(self.codes), len(self.units), view.trees.outputs
        into = np.empty((k, n)), np.empty((units, len(repeats), k, n))
        unit_of = view.units(self.columns)
        home = [unit_of[source] for source in view.trees.questions.source]

        def portion(part: slice) -> None:
            own = np.ascontiguousarray(self.asked[:, part])
            donors = np.empty((len(repeats), *own.shape), dtype=own.dtype)
            for donor, repeat in zip(donors, repeats, strict=True):
                for place, unit in enumerate(home):  # moving a unit reads only what its own columns are asked
                    giver = self.donors.permutations[unit, repeat, part]
                    np.take(self.asked[place], giver, out=donor[place], mode="clip")
            tree_moves(view, own, donors, self.columns, into, part.start)

        def report(done: int, total: int, partial: Any = None) -> None:  # noqa: ARG001  one of several passes
            progress((2 * repeats.start * n + len(repeats) * done) * units, 2 * self.scores.size * n)

        row_bytes = 8 * (units * len(repeats) * k + 8 * self.codes.shape[1])
        over_chunks(portion, n, row_bytes, pick("cpu"), report, PORTION_SECONDS)
        return into

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
                made[places, column] = self.codes[self.donors.permutations[unit, repeat, rows], column]
        return made

    def _take(self, part: slice, answers: Float[np.ndarray, "p k"]) -> None:
        for copy, rows, places in self._pieces(part):
            self.buffer[rows] = answers[places]
            if rows.stop == len(self.codes):
                self._scored(*divmod(copy, len(self.units)), self.buffer)

    def _scored(self, repeat: int, unit: int, outputs: Float[np.ndarray, "n k"]) -> None:
        """Count in the predictions of one permuted copy."""
        score, influence = self.scoring.score(outputs)
        self.scores[repeat, unit] = score
        # a row counts twice: where it received a value, and where its own value went
        roles = influence.copy()
        roles[self.donors.permutations[unit, repeat]] += self.donors.beyond(unit, influence, score)
        self.influences[unit] += roles
        self.squares[unit] += (roles * roles).sum()  # a product of vectors may wait for threads

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
        between, mean_squares = np.empty(len(counted)), np.empty(len(counted))
        for unit, sums in enumerate(self.influences):  # one by one they stay in the cache
            mean = sums / counted[unit]
            between[unit], mean_squares[unit] = (self.influence - mean).var(ddof=1), (mean * mean).sum()
        if len(drops) == 1:
            return np.asarray(between / n)
        scatter = (self.squares - counted * mean_squares) / (n * (counted - 1))
        return np.asarray(
            np.maximum(between - scatter / counted, 0.0) / n + drops.var(axis=0, ddof=1) / len(drops)
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
            **self._conditional(),
            "standard_error": "sampling of rows and scatter of repeats, in quadrature",
            "note": self.note,
        }

    def _conditional(self) -> dict[str, Any]:
        if not self.settings.conditional:
            return {}
        return {
            "conditional": "permuted among rows whose other features look alike: what the score loses without what a feature alone tells",
            "strata": self.donors.counts,
        }


def _note(cases: Dataset) -> str:
    roles = set(np.unique(cases.role))
    return (
        "may include training rows"
        if "unknown" in roles
        else "includes training rows"
        if "train" in roles
        else ""
    )
