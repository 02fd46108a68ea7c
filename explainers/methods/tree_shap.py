"""Tree SHAP: exact Shapley values of tree models.

With a background, features outside a coalition take the values of reference cases (interventional values; Lundberg
et al. 2020), and the values say what moves the score away from the reference cases' mean. With ``background=0`` they
take what the trees saw in training below each node (path-dependent values; Lundberg et al. 2018), whatever reference
cases the caller names.

What is explained is the score that the trees add up to: log-odds of boosted classifiers, the probability of forests,
the prediction of regressions. On the probability scale of a boosted classifier no sum over trees exists: there the exact
values of the score are the control variate of a sample (`explainers.trees.shapley.probability`), and the result has standard
errors. In a pipeline a feature of the user is one player, however many columns its encoder made of it.

Cost: see `explainers.trees.shapley.exact`; the diagnostics name the kernel that ran.
"""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np

from explainers.dataset import Dataset
from explainers.errors import InvalidSetting, ModelFailure
from explainers.explainer import Explainer, Need, Problem
from explainers.explanation import Attribution, Explanation
from explainers.lazily import lazily
from explainers.model import Model
from explainers.progress import Progress
from explainers.settings import Range, ScoreSpace, Seed
from explainers.trees.reading import TreeReading, read
from explainers.trees.shapley.exact import Values, against_background, path_dependent

if TYPE_CHECKING:
    import torch
else:
    torch = lazily("torch")


@dataclasses.dataclass(frozen=True)
class TreeShap(Explainer):
    """What each feature adds to this score, compared with reference cases; exact, for tree models."""

    background: Annotated[int, Range(0, 10_000)] = 100
    space: ScoreSpace = "auto"
    precision: Literal["single", "double"] = "single"
    tolerance: Annotated[float, Range(0.0005, 0.1)] = 0.005
    background_errors: bool = True
    seed: Seed = 0

    title: ClassVar[str] = "SHAP for trees (exact)"
    question: ClassVar[str] = (
        "How much does each feature add to this score, compared with the reference cases?"
    )
    scope: ClassVar[Literal["case", "data"]] = "case"
    needs: ClassVar[frozenset[Need]] = frozenset({"trees"})
    returns: ClassVar[type[Explanation]] = Attribution
    contrasts: ClassVar[bool] = True
    paper: ClassVar[str] = (
        "Lundberg et al., From local explanations to global understanding with explainable AI for trees, 2020"
    )

    @classmethod
    def why_not_here(cls, model: Model, data: Dataset) -> str | None:  # noqa: ARG003 - only the model decides
        """Trees that are no sum, curved links and pipelines that mix columns are refused."""
        return read(model).refusal

    def explain(self, problem: Problem, progress: Progress) -> Attribution:
        """Exact values; raises `ModelFailure` where they do not add up to what the trees answer."""
        model, schema = problem.model, problem.data.schema
        reading = read(model)
        space = _space(self.space, self.background, reading)
        work = _Work(
            reading,
            reading.players(model, schema),
            len(schema.names),
            reading.matrix(model, problem.cases),
            problem.device,
        )
        reference = others = None
        if self.background:
            background = problem.reference_cases(self.background, self.seed)
            reference = problem.reference(background, space)
            others = reading.matrix(model, background)
        if space == "probability" and reading.scale != "probability":
            assert others is not None  # _space has seen to it
            found = self._sampled(work, others, progress)
        else:
            found = self._exact(work, others, progress)
        centre = 1.0 if space == "probability" and found.values.shape[-1] == 1 else 0.0
        wanted = partial(_wanted, problem, reading)
        return Attribution(
            names=schema.names,
            values=wanted(found.values),
            base_value=wanted(np.tile(found.expected, (len(work.rows), 1)), centre),
            output=wanted(found.output, centre),
            space=space,
            targets=problem.target_labels,
            standard_error=_error(problem, reading, found.standard_error),
            background_error=_error(problem, reading, found.background_error),
            reference=reference,
            diagnostics={**found.facts, "seed": self.seed},
        )

    def _exact(self, work: _Work, others: np.ndarray | None, progress: Progress) -> _Found:
        more: dict[str, Any] = {
            "kind": np.float64 if self.precision == "double" else np.float32,
            "progress": progress,
            "device": work.device,
        }
        facts: dict[str, Any] = {"exact": True}
        if others is None:
            found = path_dependent(work.reading.trees, work.player, work.players, work.rows, **more)
            facts |= {
                "reference": "the trees' own training counts (path-dependent)",
                "evaluations": len(work.rows),
            }
        else:
            found = against_background(
                work.reading.trees, work.player, work.players, work.rows, others,
                errors=self.background_errors, **more,
            )  # fmt: skip
            facts |= {"background": len(others), "evaluations": len(work.rows) + len(others)}
        facts["kernel"] = f"{found.kernel}, {found.note}" if found.note else found.kernel
        sums = work.reading.trees.raw(work.rows)
        facts["completeness_gap"] = _gap(found, sums, work.reading)
        return _Found(found.values, found.expected, sums, None, found.error, facts)

    def _sampled(self, work: _Work, others: np.ndarray, progress: Progress) -> _Found:
        from explainers.trees.shapley.probability import probability_values

        found = probability_values(
            work.reading.trees, work.player, work.players, work.rows, others,
            tolerance=self.tolerance, seed=self.seed, progress=progress,
        )  # fmt: skip
        output = work.reading.trees.predict(work.rows)
        facts = {
            "exact": False, "kernel": "a sample of orders around the exact values of the score", "background": len(others),
            "evaluations": found.evaluations, "rounds": found.rounds,
            "completeness_gap": float(np.abs(found.values.sum(axis=1) + found.expected - output).max(initial=0.0)),
        }  # fmt: skip
        return _Found(
            found.values, found.expected, output, found.standard_error, found.background_error, facts
        )


@dataclasses.dataclass(frozen=True, eq=False)
class _Work:
    """The trees, the player of each column, how many players, the rows, and where to compute."""

    reading: TreeReading
    player: np.ndarray
    players: int
    rows: np.ndarray
    device: torch.device


@dataclasses.dataclass(frozen=True, eq=False)
class _Found:
    """Values ``(m, d, k)``, expected ``(k,)``, output ``(m, k)``, errors, and what to say of the computation."""

    values: np.ndarray
    expected: np.ndarray
    output: np.ndarray
    standard_error: np.ndarray | None
    background_error: np.ndarray | None
    facts: dict[str, Any]


def _wanted(problem: Problem, reading: TreeReading, sums: np.ndarray, centre: float = 0.0) -> np.ndarray:
    """From one number for each sum of the trees those of the outputs asked for."""
    return problem.of_targets(reading.all_outputs(sums, centre))


def _error(problem: Problem, reading: TreeReading, errors: np.ndarray | None) -> np.ndarray | None:
    return None if errors is None else problem.error_of_targets(reading.all_outputs(errors))


def _space(asked: str, background: int, reading: TreeReading) -> str:
    """The scale asked for; raises `InvalidSetting` where these trees have none such."""
    own = reading.scale
    if asked == "probability" and own != "probability":
        if own == "target" or reading.trees.link not in ("logistic", "softmax"):
            raise InvalidSetting(f"{reading.family} has no probability; use space='auto'.")
        if background == 0:
            raise InvalidSetting(
                "Path-dependent values (background=0) are of the trees' own score; on the probability scale name reference "
                "cases: TreeShap(background=100, space='probability')."
            )
        return "probability"
    return "raw" if asked == "raw" and own == "probability" else own


def _gap(found: Values, sums: np.ndarray, reading: TreeReading) -> float:
    """The largest distance between base value + values and the trees' own sum; wrong numbers are not shown."""
    if len(sums) == 0:
        return 0.0
    gap = float(np.abs(found.values.sum(axis=1) + found.expected - sums).max())
    if gap <= 1e-3 * float(np.abs(sums).max()):
        return gap
    scale = max(float(np.abs(part).max()) for part in (sums, found.expected, found.values))
    if not gap <= 1e-3 * scale:
        raise ModelFailure(
            f"The tree values of {reading.family} do not add up to its own score (off by {gap:.3g}, scores up to "
            f"{scale:.3g}). Use KernelShap, and report this model."
        )
    return gap
