"""Exact Shapley values of any model: it is asked about every coalition of features, segments or words.

Features outside a coalition S take the values of reference cases, v(S) = mean over b of f(x_S, b_rest); a feature's value is its
mean marginal contribution over all orders in which features join (Shapley 1953),

    phi_i = sum over S without i of  |S|! (p - |S| - 1)! / p!  (v(S + i) - v(S)).

Features that equal every reference case are no players: they get 0, and halve the work. `groups` of features act as one player. Segments
of pictures show their mean colour where absent, words of texts are removed.

Nothing is sampled but the reference cases: `background_error` says what another draw of them would change, and there is no standard error.

Cost: (2^p - 2) x background + 1 model rows for each case with p players, and the background once.
"""

from __future__ import annotations

import dataclasses
from typing import Annotated, ClassVar, Literal

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
from explainers.sampling.asking import Found
from explainers.sampling.shapley.exact import Enumeration, exact_values, unions_of
from explainers.sampling.shapley.result import attribution
from explainers.schema import Modality
from explainers.settings import Range, ScoreSpace, Seed


@dataclasses.dataclass(frozen=True)
class ExactShap(Explainer):
    """What each feature adds to this prediction, compared with reference cases; exact, for any model with few features.

    Settings:
        background: reference cases of a table. seed: draws them.
        budget: coalitions that one case may take; 2^16 allow 16 features that differ from the reference cases.
        groups: features that act as one.
        segments: how many segments a picture is divided into, about.
        space: the scale of the answers.
    """

    background: Annotated[int, Range(1, 10_000)] = 100
    budget: Annotated[int, Range(2, 2**20)] = 2**16
    groups: tuple[tuple[str, ...], ...] = ()
    segments: Annotated[int, Range(1, 20)] = 9
    seed: Seed = 0
    space: ScoreSpace = "auto"

    title: ClassVar[str] = "SHAP for few features (exact)"
    question: ClassVar[str] = (
        "How much exactly does each of these few features add to this prediction, compared with the reference cases?"
    )
    scope: ClassVar[Literal["case", "data"]] = "case"
    modalities: ClassVar[tuple[Modality, ...]] = ("table", "image", "text")
    returns: ClassVar[type[Explanation]] = Attribution
    contrasts: ClassVar[bool] = True
    paper: ClassVar[str] = "Shapley, A value for n-person games, 1953"

    def explain(self, problem: Problem, progress: Progress) -> Attribution:
        """All coalitions; raises `InvalidSetting` where a case has more than the budget allows."""
        space = resolve_space(self.space, problem.model)
        table = problem.data.modality == "table"
        background = problem.reference_cases(self.background, self.seed) if table else None
        game = game_of(
            problem, space, background=background, groups=self.groups, segments="grid", about=self.segments
        )
        self._check(game, {"table": "features", "image": "segments"}.get(problem.data.modality, "words"))
        with placed(problem):
            found = Found.of(game)
            designs = _designs(game)
            exact_values(game, found, designs, progress)
        facts = {
            "exact": True,
            "coalitions": int(found.coalitions.max(initial=2)),
            "evaluations": found.evaluations,
            "seed": self.seed,
        }
        return attribution(problem, game, space, found, facts)

    def evaluations(self, model: Model, data: Dataset, cases: int) -> int | None:
        """All coalitions of each case of a table; segments and words are not counted before."""
        return rows_asked(data, cases, self.budget, self.groups, self.background)

    def _check(self, game: Game, kind: str) -> None:
        most = int(game.players.sum(axis=1).max(initial=0))
        if 2**most <= self.budget:
            return
        ways = {
            "features": "group features (groups=correlated_groups(data)) or use KernelShap",
            "segments": "set segments to fewer or use PermutationShap",
            "words": "shorten the text or use PermutationShap",
        }
        kind = "groups and features" if self.groups else kind
        raise InvalidSetting(
            f"ExactShap(budget={self.budget:,}) is too small: {most} {kind} need {_power(most)} coalitions of a case; "
            f"raise budget (up to 1,048,576), {ways.get(kind, ways['features'])}."
        )


def _power(players: int) -> str:
    """2^players in full where a reader can take it in."""
    return f"{2**players:,}" if players <= 40 else f"2^{players}"


def _designs(game: Game) -> dict[int, Enumeration]:
    """All coalitions of each case; cases with as many players share them."""
    of_size = {
        int(p): Enumeration.of(unions_of(np.arange(p), np.ones(p, dtype=bool)))
        for p in np.unique(game.players.sum(axis=1))
    }
    return {row: of_size[int(p)] for row, p in enumerate(game.players.sum(axis=1))}
