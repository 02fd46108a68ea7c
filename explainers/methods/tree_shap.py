"""Tree SHAP: exact Shapley values of tree models, without sampling.

With a background, features outside a coalition take the values of reference cases (interventional values; Lundberg
et al. 2020), and the values say what moves the score away from the reference cases' mean. With ``background=0`` they
take what the trees saw in training below each node (path-dependent values; Lundberg et al. 2018), whatever reference
cases the caller names.

What is explained is the score that the trees add up to: log-odds of boosted classifiers, the probability of forests,
the prediction of regressions. In a pipeline the trees' columns are the players; their values are summed to the
user's columns. Where one column became several (one-hot), that sum is complete but differs a little from the value
that the column would have as a single player; `diagnostics` says so.

Cost: the trees are walked once for each case and reference case; the model is asked for the cases and the background.
"""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any, ClassVar, Literal

import numpy as np

from explainers.dataset import Dataset
from explainers.errors import InvalidSetting, ModelFailure
from explainers.explainer import Explainer, Need, Problem
from explainers.explanation import Attribution, Explanation
from explainers.model import Model
from explainers.progress import Progress
from explainers.settings import Range
from explainers.trees.reading import TreeReading, read
from explainers.trees.shapley import against_background, path_dependent


@dataclasses.dataclass(frozen=True)
class TreeShap(Explainer):
    """What each feature adds to this score, compared with reference cases; exact, for tree models."""

    background: Annotated[int, Range(0, 10_000)] = 100
    space: Literal["auto", "raw", "probability"] = "auto"
    seed: Annotated[int, Range(0, 2**31 - 1)] = 0

    title: ClassVar[str] = "SHAP for trees (exact)"
    question: ClassVar[str] = (
        "How much does each feature add to this score, compared with the reference cases?"
    )
    scope: ClassVar[Literal["case", "data"]] = "case"
    needs: ClassVar[frozenset[Need]] = frozenset({"trees"})
    returns: ClassVar[type[Explanation]] = Attribution
    paper: ClassVar[str] = (
        "Lundberg et al., From local explanations to global understanding with explainable AI for trees, 2020"
    )

    @classmethod
    def why_not_here(cls, model: Model, data: Dataset) -> str | None:  # noqa: ARG003 - only the model decides
        """Categorical splits, curved links and pipelines that mix columns are refused."""
        return read(model).refusal

    def explain(self, problem: Problem, progress: Progress) -> Attribution:
        """Exact values; raises `ModelFailure` where they do not add up to what the model answers."""
        model, schema = problem.model, problem.data.schema
        trees = read(model)
        space = _space(self.space, trees)
        positions = trees.positions(model, schema)
        collect = np.eye(len(schema.names))[positions]
        columns = trees.columns(problem.cases.X)
        output = trees.scores(model, columns)
        cases = trees.matrix(columns, positions)
        facts: dict[str, Any] = {"exact": len(set(positions)) == len(positions), "seed": self.seed}
        if not facts["exact"]:
            facts["note"] = "Columns that a pipeline made of one of yours are explained apart and summed."
        error = reference = None
        if self.background == 0:
            values, expected = path_dependent(trees, cases, collect, output.shape[1], progress)
            facts |= {
                "reference": "the trees' own training counts (path-dependent)",
                "evaluations": len(cases),
            }
        else:
            background = problem.reference_cases(self.background, self.seed)
            reference = problem.reference(background, space)
            others = trees.columns(background.X)
            expected = trees.scores(model, others).mean(axis=0)
            values, error = against_background(
                trees, cases, trees.matrix(others, positions), collect, output.shape[1], progress
            )
            facts |= {"background": len(background), "evaluations": len(cases) + len(background)}
        facts["completeness_gap"] = _gap(values, expected, output, trees)
        return Attribution(
            names=schema.names,
            values=problem.of_targets(values),
            base_value=problem.of_targets(np.tile(expected, (len(cases), 1))),
            output=problem.of_targets(output),
            space=space,
            targets=problem.target_labels,
            background_error=None if error is None or facts["background"] < 2 else problem.of_targets(error),
            reference=reference,
            diagnostics=facts,
        )


def _space(asked: str, trees: TreeReading) -> str:
    """The scale of the trees' sum; raises `InvalidSetting` for another."""
    own = {"regression": "target"}.get(trees.task, "probability" if trees.averages_probabilities else "raw")
    if asked == "probability" and own != "probability":
        raise InvalidSetting(
            f"TreeShap explains the raw score of {trees.family}, not its probability; use space='auto', "
            "or KernelShap(space='probability')."
        )
    return "raw" if asked == "raw" and own == "probability" else own


def _gap(values: np.ndarray, expected: np.ndarray, output: np.ndarray, trees: TreeReading) -> float:
    """The largest distance between base value + values and the model's own score; wrong numbers are not shown."""
    if len(values) == 0:
        return 0.0
    gap = float(np.abs(values.sum(axis=1) + expected - output).max())
    scale = max(float(np.abs(output).max()), float(np.abs(expected).max()), float(np.abs(values).max()))
    if not gap <= 1e-3 * scale:
        raise ModelFailure(
            f"The tree values of {trees.family} do not add up to its own score (off by {gap:.3g}, scores up to "
            f"{scale:.3g}); shap reads this model wrongly. Use KernelShap."
        )
    return gap
