"""Permutation SHAP: Shapley values of any model from orders in which features join, and Owen values of features in groups.

Features outside a coalition S take the values of reference cases, v(S) = mean over b of f(x_S, b_rest). Along an order each feature adds
v(with it and those before) - v(those before); the mean over all orders is its Shapley value. Orders are drawn in
antithetic pairs, an order and its reverse (Mitchell, Cooper, Frank and Holmes 2022): one pair is exact where features act alone or two by two.
All cases share the orders, and a coalition that several orders meet is asked once. Values add up after every order. Where all coalitions fit
the budget, they are asked: then values are exact.

Looks after 1, 2, 4, … pairs give coarser results. The standard error is the scatter of the pairs, widened by Student's t where there are few, so that
1.96 of them hold 95 times of 100 (`explainers.sampling.shapley.permutation`). With `tolerance`, a case is done at the
first look at which half of each of its 95 % intervals is below it.

Groups of features are the players (``within_groups="together"``), or orders keep their members together (``"owen"``): then every feature has
its Owen value, and those of a group add up to the group's own value in the game of groups. That answers correlated features: what
belongs together enters together.

Cost: at most (budget - 2) x background + 1 model rows for each case, and the background once.
"""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any, ClassVar, Literal

import numpy as np

from explainers.dataset import Dataset
from explainers.errors import InvalidSetting
from explainers.explainer import Explainer, Problem, resolve_space
from explainers.explanation import Attribution, Explanation
from explainers.games.cost import rows_asked
from explainers.games.game import Game
from explainers.games.opening import game_of, placed
from explainers.model import Model
from explainers.progress import Progress
from explainers.sampling.groups import feature_units
from explainers.sampling.shapley.exact import Enumeration, unions_of
from explainers.sampling.shapley.permutation import PermutationEstimate, Spending
from explainers.sampling.shapley.preview import first_bars
from explainers.sampling.shapley.result import attribution
from explainers.sampling.steps import in_rounds
from explainers.schema import Modality
from explainers.settings import Range, ScoreSpace, Seed


@dataclasses.dataclass(frozen=True)
class PermutationShap(Explainer):
    """What each feature adds to this prediction when features join in random order; for any model, and by groups.

    Settings:
        background: reference cases of a table. seed: draws them, and the orders.
        budget: coalitions that one case may take.
        tolerance: half the width of a 95 % interval that is narrow enough, in the unit of the values; ``None``: spend the budget.
        groups: features that belong together. within_groups: they are one player, or share their value (Owen).
        segments: how many segments a picture is divided into, about.
        space: the scale of the answers.
    """

    background: Annotated[int, Range(1, 10_000)] = 100
    budget: Annotated[int, Range(2, 65_536)] = 1024
    tolerance: Annotated[float, Range(0.0, 1e12)] | None = None
    groups: tuple[tuple[str, ...], ...] = ()
    within_groups: Literal["together", "owen"] = "together"
    segments: Annotated[int, Range(1, 1000)] = 50
    seed: Seed = 0
    space: ScoreSpace = "auto"

    title: ClassVar[str] = "SHAP for any model (orders of features)"
    question: ClassVar[str] = (
        "How much does each feature, or each within its group, add to this prediction, compared with the reference cases?"
    )
    scope: ClassVar[Literal["case", "data"]] = "case"
    modalities: ClassVar[tuple[Modality, ...]] = ("table", "image", "text")
    returns: ClassVar[type[Explanation]] = Attribution
    contrasts: ClassVar[bool] = True
    paper: ClassVar[str] = (
        "Mitchell et al., Sampling permutations for Shapley value estimation, 2022; Owen, Values of games with a priori unions, 1977"
    )

    def explain(self, problem: Problem, progress: Progress) -> Attribution:
        """Exact where all coalitions fit the budget, else sampled with a standard error for each value."""
        space = resolve_space(self.space, problem.model)
        table = problem.data.modality == "table"
        background = problem.reference_cases(self.background, self.seed) if table else None
        owen = table and self.within_groups == "owen"
        groups = () if owen else self.groups
        game = game_of(problem, space, background=background, groups=groups, about=self.segments)
        owner = self._owner(problem) if owen else np.arange(game.players.shape[1])
        self._check(game, owner)
        with placed(problem):
            run = PermutationEstimate(game, owner, Spending(self.budget, self.seed, self.tolerance))

            def result() -> Attribution:
                return attribution(problem, game, space, run.found, self._facts(run, owen))

            def rough(few: Game, budget: int) -> PermutationEstimate:
                return PermutationEstimate(few, owner, Spending(min(budget, self.budget), self.seed))

            first_bars(problem, game, space, rough, {"seed": self.seed}, progress)
            return in_rounds(run.run, progress, result)

    def evaluations(self, model: Model, data: Dataset, cases: int) -> int | None:
        """All coalitions of the budget for each case of a table and each picture; words are not counted before."""
        groups = () if self.within_groups == "owen" else self.groups
        return rows_asked(data, cases, self.budget, groups, self.background, of_picture=self.budget)

    def _owner(self, problem: Problem) -> np.ndarray:
        """The number of the group that each feature belongs to."""
        names = problem.data.schema.names
        home = {name: i for i, unit in enumerate(feature_units(names, self.groups)) for name in unit}
        return np.array([home[name] for name in names], dtype=np.int64)

    def _check(self, game: Game, owner: np.ndarray) -> None:
        if not len(game.players):
            return
        needed = [_enough(unions_of(owner, players)) for players in np.unique(game.players, axis=0)]
        if self.budget < max(needed):
            most = int(game.players.sum(axis=1).max())
            raise InvalidSetting(
                f"PermutationShap(budget={self.budget}) is too small for {most} players: one pair of orders asks "
                f"{max(needed)} coalitions. Set budget to {max(needed)} or more, or join features: groups=correlated_groups(data)."
            )

    def _facts(self, run: PermutationEstimate, owen: bool) -> dict[str, Any]:
        together = {"owen": [list(group) for group in self.groups]} if owen and self.groups else {}
        return {**run.facts(), **together, "seed": self.seed}


def _enough(unions: np.ndarray) -> int:
    """Coalitions that one pair of orders asks, or that there are."""
    return min(Enumeration.size(unions), 2 * len(unions))
