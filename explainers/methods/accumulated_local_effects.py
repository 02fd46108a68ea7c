"""Accumulated local effects: how the prediction changes with one feature, among cases that are really there.

A case is moved only to the two ends of the interval in which its own value lies, so that nobody is asked about cases
that could not exist; the local differences are averaged within the interval and added up:

    ALE_j(z_k) = Σ_{i ≤ k} mean over cases x with z_{i−1} < x_j ≤ z_i of  f(x with j = z_i) − f(x with j = z_{i−1})

The edges z are quantiles of the cases' own values. The curve is shifted so that its mean over the cases is their mean
prediction (``diagnostics["centre"]``; subtract it for the centred curve of the paper). Categories stand in the order of the
schema; each step between neighbours is averaged over the cases of both. Where features are correlated this differs from
`PartialDependence`: it does not take the effect of one for that of the other.

The standard error is that of the accumulated means of the intervals, taken as independent, about the curve's centre: what
other cases would change. There are no curves of single cases.

Cost: ``m · (1 + 2 · features)`` predictions, one pass over the model's trees where it has some. Paper: Apley and Zhu
2020, Visualizing the effects of predictor variables in black box supervised learning models.
"""

from __future__ import annotations

import dataclasses
from typing import Annotated, ClassVar, Literal

import numpy as np
from jaxtyping import Float, Int

from explainers.device import over_chunks, pick
from explainers.errors import InvalidSetting
from explainers.explainer import Explainer, Problem, resolve_space
from explainers.explanation import Effect
from explainers.progress import Progress
from explainers.sampling.edited import ask_edited, one_output
from explainers.schema import Feature
from explainers.settings import Range, ScoreSpace, Seed
from explainers.trees.effects.one_pass import PORTION_SECONDS, tree_moves
from explainers.trees.effects.view import TreeView


@dataclasses.dataclass(frozen=True)
class AccumulatedLocalEffects(Explainer):
    """How the prediction changes with one feature, among cases that are really there; see the module's docstring.

    `features` names the features, none means all. A number has up to `grid` intervals, each with about as many cases.
    More than `cases` cases are sampled (`diagnostics["rows"]` says which).
    """

    title: ClassVar[str] = "Accumulated local effects"
    question: ClassVar[str] = (
        "How does the prediction change with one feature, among cases like those there are?"
    )
    scope: ClassVar[Literal["case", "data"]] = "data"
    returns: ClassVar[type] = Effect
    paper: ClassVar[str] = "Apley and Zhu 2020"

    features: tuple[str, ...] = ()
    grid: Annotated[int, Range(1, 1000)] = 20
    cases: Annotated[int, Range(1, 1_000_000)] = 2000
    seed: Seed = 0
    space: ScoreSpace = "auto"

    def explain(self, problem: Problem, progress: Progress) -> Effect:
        """Ask for every case at the two ends of its interval of every feature."""
        space = resolve_space(self.space, problem.model)
        asked = len(problem.cases)
        rows = np.arange(asked)
        if asked > self.cases:
            rows = np.sort(np.random.default_rng(self.seed).choice(asked, size=self.cases, replace=False))
            problem = dataclasses.replace(problem, cases=problem.cases.take(rows))
        targets = one_output(problem, "AccumulatedLocalEffects")
        axes, skipped = self._axes(problem)
        view = TreeView.of(problem, space) if axes else None
        own, low, high = (
            _ask(problem, axes, space, targets, progress)
            if view is None
            else _move(problem, view, axes, targets, progress)
        )
        centre = float(own.mean())
        found = [axis.accumulated(own, low[i], high[i]) for i, axis in enumerate(axes)]
        names = problem.data.schema.names
        return Effect(
            names=tuple(names[axis.column] for axis in axes),
            grids=tuple(axis.grid for axis in axes),
            mean=tuple(centre + curve for curve, _ in found),
            curves=tuple(np.empty((0, len(axis.grid))) for axis in axes),
            standard_error=tuple(error for _, error in found),
            space=space,
            targets=problem.target_labels,
            diagnostics={
                "exact": len(rows) == asked,
                "evaluations": len(rows) * (1 + (2 * len(axes) if view is None else 0)),
                "kernel": "predictions" if view is None else "tree moves, all features in one pass",
                "cases": len(rows),
                "rows": rows,
                "centre": centre,
                "seed": self.seed,
                "skipped": tuple(skipped),
            },
        )

    def _axes(self, problem: Problem) -> tuple[list[_Axis], list[str]]:
        """The grid of each feature; one without any value is left out, or refused where it was named."""
        schema, codes = problem.data.schema, problem.cases.matrix
        axes, skipped = [], []
        for name in dict.fromkeys(self.features or schema.names):
            j = schema.position(name)
            if not np.isnan(codes[:, j]).all():
                axes.append(_Axis.of(j, schema.features[j], codes[:, j], self.grid))
            elif self.features:
                raise InvalidSetting(
                    f"The feature {name!r} has no value in any case; there is nothing to move."
                )
            else:
                skipped.append(name)
        return axes, skipped


@dataclasses.dataclass(frozen=True, eq=False)
class _Axis:
    """One feature's grid and where each case is moved on it.

    Attributes:
        column: the feature.
        grid: edges of the intervals, or categories, ``(g,)``.
        low, high: where each case is moved, ``(m,)``; its own missing value where it has none.
        place: the interval that ends at ``grid[place]``, or the category; -1 where the value is missing, ``(m,)``.
        categorical: whether both neighbours of the case's own value are asked, or the two ends around it.
    """

    column: int
    grid: Float[np.ndarray, " g"]
    low: Float[np.ndarray, " m"]
    high: Float[np.ndarray, " m"]
    place: Int[np.ndarray, " m"]
    categorical: bool

    @classmethod
    def of(cls, column: int, feature: Feature, values: Float[np.ndarray, " m"], intervals: int) -> _Axis:
        known = ~np.isnan(values)
        if feature.categorical:
            grid = np.arange(len(feature.categories), dtype=np.float64)
            place = np.where(known, np.nan_to_num(values), -1).astype(np.int64)
            low, high = np.maximum(place - 1, 0), np.minimum(place + 1, len(grid) - 1)
        else:
            edges = np.linspace(0.0, 1.0, intervals + 1)
            grid = np.unique(np.quantile(values[known], edges, method="inverted_cdf"))
            place = np.maximum(np.searchsorted(grid, values, side="left"), min(1, len(grid) - 1))
            place = np.where(known, place, -1)
            low, high = np.maximum(place - 1, 0), np.maximum(place, 0)
        below, above = (np.where(known, grid[end], values) for end in (low, high))
        return cls(column, grid, below, above, place, feature.categorical)

    def accumulated(
        self, own: Float[np.ndarray, " m"], low: Float[np.ndarray, " m"], high: Float[np.ndarray, " m"]
    ) -> tuple[Float[np.ndarray, " g"], Float[np.ndarray, " g"]]:
        """The curve about its mean over the cases, and its standard error; from outputs at the ends."""
        steps = len(self.grid) - 1
        if self.categorical:
            down, up = self.place > 0, (self.place >= 0) & (self.place < steps)
            step = np.concatenate([self.place[down] - 1, self.place[up]])
            difference = np.concatenate([(own - low)[down], (high - own)[up]])
        else:
            inside = self.place > 0
            step, difference = self.place[inside] - 1, (high - low)[inside]
        count = np.bincount(step, minlength=steps)[:steps]
        mean = np.bincount(step, difference, minlength=steps)[:steps] / np.maximum(count, 1)
        squares = np.bincount(step, (difference - mean[step]) ** 2, minlength=steps)[:steps]
        pooled = squares.sum() / max(1, (count - 1).clip(0).sum())  # for intervals of a single case
        variance = np.where(count > 1, squares / np.maximum(count - 1, 1), pooled) / np.maximum(count, 1)
        reached = np.tri(steps + 1, steps, k=-1)  # the curve at each grid value is the sum of these steps
        away = reached - self._weights() @ reached
        return away @ mean, np.sqrt(away**2 @ variance)

    def _weights(self) -> Float[np.ndarray, " g"]:
        """The share of the cases that each grid value stands for: its own, or half of both intervals beside it."""
        count = np.bincount(self.place[self.place >= 0], minlength=len(self.grid)).astype(np.float64)
        if not self.categorical and len(self.grid) > 1:
            count = (count + np.append(count[1:], 0.0)) / 2.0
        return np.asarray(count / count.sum())


def _ask(
    problem: Problem, axes: list[_Axis], space: str, targets: np.ndarray, progress: Progress
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Outputs of the cases as they are ``(m,)``, and at the lower and upper ends of each axis ``(a, m)``."""
    codes = problem.cases.matrix
    m = len(codes)
    outputs = np.empty((1 + 2 * len(axes), m))
    flat = outputs.reshape(-1)
    ends = np.stack([codes[:, 0], *(end for axis in axes for end in (axis.low, axis.high))])
    column = np.array([0, *(axis.column for axis in axes for _ in range(2))], dtype=np.int64)

    def edited(part: slice) -> np.ndarray:
        copy, case = np.divmod(np.arange(part.start, part.stop), m)
        made = codes[case]
        made[np.arange(len(made)), column[copy]] = ends[copy, case]
        return made

    def take(part: slice, answers: np.ndarray) -> None:
        case = np.arange(part.start, part.stop) % m
        flat[part] = answers[np.arange(len(answers)), targets[case]]

    ask_edited(problem, outputs.size, edited, take, progress, space)
    return outputs[0], outputs[1::2], outputs[2::2]


def _move(
    problem: Problem, view: TreeView, axes: list[_Axis], targets: np.ndarray, progress: Progress
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The same from the trees; all features of a case are moved at once, and told apart by what each changes."""
    codes = problem.cases.matrix
    outputs = np.empty((1 + 2 * len(axes), len(codes)))
    donors, units = [codes.copy(), codes.copy()], [[axis.column] for axis in axes]
    for axis in axes:
        donors[0][:, axis.column], donors[1][:, axis.column] = axis.low, axis.high

    def portion(part: slice) -> None:
        base, change = tree_moves(
            view, view.codes(codes[part]), [view.codes(donor[part]) for donor in donors], units
        )
        outputs[0, part] = view.wanted(base, targets[part])
        outputs[1:, part] = view.wanted(base + change.reshape(-1, *base.shape), targets[part])

    row_bytes = 8 * 4 * (2 * len(axes) * view.trees.outputs + codes.shape[1])
    over_chunks(portion, len(codes), row_bytes, pick("cpu"), progress, PORTION_SECONDS)
    return outputs[0], outputs[1::2], outputs[2::2]
