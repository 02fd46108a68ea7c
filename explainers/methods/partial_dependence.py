"""Partial dependence and individual conditional expectation: what the prediction does when one feature is moved.

    ICE_i(v) = f(x_i with feature j set to v),     PD_j(v) = mean over cases i of ICE_i(v)

Everything else is held fixed, so where features are correlated some of the cases asked about could not exist
(`AccumulatedLocalEffects` avoids them). The curve of one case is what a slider shows. Values are what asking the
model gives ("brute" in scikit-learn's words), never from the training weights of a tree, which is another quantity.

The standard error is that of the mean over cases, ``sd / √m``: what other cases would change; NaN for a single case.
The mean is over all cases; at most `curves` single curves are kept.

Cost: ``m`` predictions where the target must be found, and ``m · Σ grid points``, all features in one go. Where the model
is made of trees, one pass over them gives the same curves: a leaf all of whose other conditions a case satisfies is reached
exactly on an interval of the feature. Where not all single curves are kept, the mean of a boosted classifier's probability
is then within 2e-7 of that in double precision. Papers: Friedman 2001; Goldstein et al. 2015 (ICE).
"""

from __future__ import annotations

import dataclasses
from typing import Annotated, ClassVar, Literal

import numpy as np
from jaxtyping import Float

from explainers.errors import InvalidSetting
from explainers.explainer import Explainer, Problem, resolve_space
from explainers.explanation import Effect
from explainers.progress import Progress
from explainers.sampling.edited import ask_edited, one_output
from explainers.sampling.grids import grid_of, observed
from explainers.settings import Range, ScoreSpace, Seed
from explainers.trees.effects.one_pass import Curves, kept_rows, tree_curves
from explainers.trees.effects.view import TreeView


@dataclasses.dataclass(frozen=True)
class PartialDependence(Explainer):
    """What the prediction does when one feature is moved; see the module's docstring.

    `features` names the features, none means all. `grid` points per number: ``spacing="quantile"`` takes observed
    values, ``"linear"`` even steps over the observed range, widened to `Feature.low` and `Feature.high`. Categories
    are all asked. More than `cases` cases are sampled (`diagnostics["rows"]` says which); of these at most `curves` have
    their single curve in the result (`diagnostics["curve_rows"]`).
    """

    title: ClassVar[str] = "Partial dependence and ICE"
    question: ClassVar[str] = "What does the prediction do when one feature is moved?"
    scope: ClassVar[Literal["case", "data"]] = "data"
    returns: ClassVar[type] = Effect
    paper: ClassVar[str] = "Friedman 2001; Goldstein et al. 2015"

    features: tuple[str, ...] = ()
    grid: Annotated[int, Range(2, 1000)] = 20
    spacing: Literal["quantile", "linear"] = "quantile"
    cases: Annotated[int, Range(1, 1_000_000)] = 200
    curves: Annotated[int, Range(1, 1_000_000)] = 1000
    seed: Seed = 0
    space: ScoreSpace = "auto"

    def explain(self, problem: Problem, progress: Progress) -> Effect:
        """Ask for every case at every grid value of every feature."""
        space = resolve_space(self.space, problem.model)
        asked = len(problem.cases)
        problem, rows = self._sampled(problem)
        targets = one_output(problem, "PartialDependence")
        columns, grids, skipped = self._grids(problem)
        found, evaluations = self._found(problem, columns, grids, space, targets, progress)
        m = len(problem.cases)
        return Effect(
            names=tuple(problem.data.schema.names[j] for j in columns),
            grids=tuple(grids),
            mean=tuple(found.mean),
            curves=tuple(found.kept),
            standard_error=tuple(found.standard_error),
            space=space,
            targets=problem.target_labels,
            diagnostics={
                "exact": m == asked,
                "evaluations": evaluations,
                "kernel": found.kernel,
                "cases": m,
                "rows": rows,
                "curve_rows": rows[found.rows],
                "spacing": self.spacing,
                "seed": self.seed,
                "skipped": tuple(skipped),
            },
        )

    def _found(
        self,
        problem: Problem,
        columns: list[int],
        grids: list[np.ndarray],
        space: str,
        targets: np.ndarray,
        progress: Progress,
    ) -> tuple[Curves, int]:
        """The curves, and how many predictions they cost: from the trees where there are some, else by asking."""
        view = TreeView.of(problem, space) if columns else None
        m = len(problem.cases)
        if view is not None:
            return tree_curves(view, problem.cases.matrix, columns, grids, targets, self.curves, progress), m
        curves = _curves(problem, columns, grids, space, targets, progress)
        spread = [
            c.std(axis=0, ddof=1) / np.sqrt(m) if m > 1 else np.full(c.shape[1], np.nan) for c in curves
        ]
        rows = kept_rows(m, self.curves)
        kept = curves if len(rows) == m else [c[rows] for c in curves]
        means = [c.mean(axis=0) for c in curves]
        return Curves(kept, means, spread, rows, "predictions"), m * (1 + sum(map(len, grids)))

    def _sampled(self, problem: Problem) -> tuple[Problem, np.ndarray]:
        """The problem with at most `cases` cases, and their positions among those asked for."""
        m = len(problem.cases)
        if m <= self.cases:
            return problem, np.arange(m)
        rows = np.sort(np.random.default_rng(self.seed).choice(m, size=self.cases, replace=False))
        return dataclasses.replace(problem, cases=problem.cases.take(rows)), rows

    def _grids(self, problem: Problem) -> tuple[list[int], list[np.ndarray], list[str]]:
        """Columns and their grids; a feature that was never observed is left out, or refused where it was named."""
        schema, codes = problem.data.schema, observed(problem.data, self.seed)
        columns, grids, skipped = [], [], []
        for name in dict.fromkeys(self.features or schema.names):
            j = schema.position(name)
            # the ends of an even grid are cheap to find among all rows, so they are never missed by the sample
            column = problem.data.matrix[:, j] if self.spacing == "linear" else codes[:, j]
            grid = grid_of(schema.features[j], column, self.grid, self.spacing)
            if len(grid):
                columns.append(j)
                grids.append(grid)
            elif self.features:
                raise InvalidSetting(
                    f"The feature {name!r} has no value in any row; there is nothing to move it to."
                )
            else:
                skipped.append(name)
        return columns, grids, skipped


def _curves(
    problem: Problem,
    columns: list[int],
    grids: list[np.ndarray],
    space: str,
    targets: np.ndarray,
    progress: Progress,
) -> list[Float[np.ndarray, "m g"]]:
    """The output of each case at each grid value, feature by feature, from one list of edited cases."""
    codes = problem.cases.matrix
    m = len(codes)
    moved = np.repeat(columns, [len(grid) for grid in grids])
    values = np.concatenate(grids) if grids else np.empty(0)
    outputs = np.empty(len(values) * m)

    def edited(part: slice) -> np.ndarray:
        value, case = np.divmod(np.arange(part.start, part.stop), m)
        made = codes[case]
        made[np.arange(len(made)), moved[value]] = values[value]
        return made

    def take(part: slice, answers: np.ndarray) -> None:
        case = np.arange(part.start, part.stop) % m
        outputs[part] = answers[np.arange(len(answers)), targets[case]]

    ask_edited(problem, len(outputs), edited, take, progress, space)
    ends = np.cumsum([len(grid) for grid in grids])
    return (
        [np.ascontiguousarray(block.T) for block in np.split(outputs.reshape(-1, m), ends[:-1])]
        if grids
        else []
    )
