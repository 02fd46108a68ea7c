"""Kernel SHAP: Shapley values of any model, by asking it about coalitions of features.

Features outside a coalition S take the values of reference cases, v(S) = mean over b of f(x_S, b_rest); a
feature's value is its mean marginal contribution over all orders, found as the weighted least-squares fit of an
additive function to v (Lundberg and Lee 2017). All coalitions are asked where they fit the budget: then the
values are exact. Otherwise pairs of complements are drawn without replacement (`explainers.sampling.shapley.coalitions`)
and the fit is solved in closed form, once for all rows and outputs (`explainers.sampling.shapley.regression`).

Coalitions are asked in rounds, each as large as all before; after each there is a coarser result to look at. With `tolerance`
a case is done once half of its widest 95 % interval is below it (`explainers.sampling.shapley.kernel`). What the additive fit
misses is learnt by a `proxy` whose exact values are known, and only the rest is estimated: a polynomial of the masks, which costs next to nothing
(`explainers.sampling.shapley.polynomial`), or trees (`explainers.sampling.shapley.proxy`), closer at small budgets where few features act together, for a slow model.
`groups` of features act as one player.

Cost: (coalitions - 2) x background + 1 model rows for each case, and the background once.
"""

from __future__ import annotations

import dataclasses
from typing import Annotated, ClassVar, Literal

from explainers.dataset import Dataset
from explainers.errors import InvalidSetting
from explainers.explainer import Explainer, Problem, resolve_space
from explainers.explanation import Attribution, Explanation
from explainers.games.cost import rows_asked
from explainers.games.game import Game
from explainers.games.opening import game_of, placed
from explainers.model import Model
from explainers.progress import Progress
from explainers.sampling.shapley.kernel import KernelEstimate, Spending
from explainers.sampling.shapley.preview import first_bars
from explainers.sampling.shapley.result import attribution
from explainers.sampling.steps import in_rounds
from explainers.schema import Modality
from explainers.settings import Range, ScoreSpace, Seed


@dataclasses.dataclass(frozen=True)
class KernelShap(Explainer):
    """What each feature adds to this prediction, compared with reference cases; for any model."""

    background: Annotated[int, Range(1, 10_000)] = 100
    budget: Annotated[int, Range(4, 65_536)] = 1024
    tolerance: Annotated[float, Range(0.0, 1e12)] | None = None
    proxy: Literal["polynomial", "trees", "none"] = "polynomial"
    groups: tuple[tuple[str, ...], ...] = ()
    segments: Annotated[int, Range(1, 1000)] = 50
    seed: Seed = 0
    space: ScoreSpace = "auto"

    title: ClassVar[str] = "SHAP for any model (Kernel SHAP)"
    question: ClassVar[str] = (
        "How much does each feature add to this prediction, compared with the reference cases?"
    )
    scope: ClassVar[Literal["case", "data"]] = "case"
    modalities: ClassVar[tuple[Modality, ...]] = ("table", "image", "text")
    returns: ClassVar[type[Explanation]] = Attribution
    contrasts: ClassVar[bool] = True
    paper: ClassVar[str] = (
        "Lundberg and Lee, A unified approach to interpreting model predictions, NeurIPS 2017"
    )

    def explain(self, problem: Problem, progress: Progress) -> Attribution:
        """Exact where all coalitions fit the budget, else sampled with a standard error for each value."""
        space = resolve_space(self.space, problem.model)
        table = problem.data.modality == "table"
        background = problem.reference_cases(self.background, self.seed) if table else None
        game = game_of(problem, space, background=background, groups=self.groups, about=self.segments)
        self._check(game)
        with placed(problem):
            run = KernelEstimate(game, Spending(self.budget, self.seed, self.tolerance, self.proxy))

            def result() -> Attribution:
                return attribution(problem, game, space, run.found, {**run.facts(), "seed": self.seed})

            first_bars(problem, game, space, self._rough, {"seed": self.seed}, progress)
            return in_rounds(run.run, progress, result)

    def _rough(self, game: Game, budget: int) -> KernelEstimate:
        return KernelEstimate(game, Spending(min(budget, self.budget), self.seed))

    def evaluations(self, model: Model, data: Dataset, cases: int) -> int | None:
        """All coalitions of the budget for each case of a table and each picture; words are not counted before."""
        return rows_asked(data, cases, self.budget, self.groups, self.background, of_picture=self.budget)

    def _check(self, game: Game) -> None:
        u = int(game.players.sum(axis=1).max(initial=0))
        enough = min(2**u, 2 * u + 2)
        if self.budget < enough:
            kind = "features" if game.names != ("picture",) and not self.groups else "players"
            raise InvalidSetting(
                f"KernelShap(budget={self.budget}) is too small for {u} {kind}; set budget to {enough} or more, "
                "or join features: groups=correlated_groups(data)."
            )
