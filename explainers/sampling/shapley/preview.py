"""The first bars: the same estimate with few coalitions and few of the reference cases, shown while the whole one is still asked for.

A coalition costs the model one row for each reference case. Eight of them tell which features matter; how much another eight would
change the bars is known from their spread, and is part of the error that is shown.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np

from explainers.explainer import Problem
from explainers.explanation import Explanation
from explainers.games.features import FeatureGame
from explainers.games.game import Game
from explainers.progress import Progress, silent
from explainers.sampling.asking import Found
from explainers.sampling.shapley.result import attribution
from explainers.sampling.steps import unseen

#: Reference cases asked for the first bars, and the cases that are worth first bars.
REFERENCES, MOST_CASES = 8, 10

#: Coalitions for each player, and at least.
COALITIONS, LEAST_COALITIONS = 4, 48

#: Student's t over normal at 95 %, for the spread over eight reference cases.
FEW = 2.365 / 1.960


class Estimate(Protocol):
    """What estimates the values of a game."""

    found: Found

    def run(self, progress: Progress, shown: Callable[[], None]) -> None:
        """Fill `found`."""

    def facts(self) -> dict[str, Any]:
        """What the diagnostics say of it."""


def first_bars(
    problem: Problem,
    game: Game,
    space: str,
    estimate: Callable[[Game, int], Estimate],
    facts: Mapping[str, Any],
    progress: Progress,
) -> None:
    """Send a rough result with the first report, where somebody looks and it costs next to nothing of the whole.

    Args:
        problem, game, space: what is explained, against all reference cases.
        estimate: makes the estimate of a game with a budget of coalitions.
        facts: what else the diagnostics say.
        progress: gets the result; what it raises passes through.
    """
    worth = progress is not silent and len(game.players) <= MOST_CASES
    if not worth or not isinstance(game, FeatureGame) or game.references < 4 * REFERENCES:
        return

    def tell(done: int, total: int, partial: Explanation | None = None) -> None:
        del done, partial
        progress(0, total)

    few = game.with_references(REFERENCES)
    budget = max(LEAST_COALITIONS, COALITIONS * game.players.shape[1] + 2)
    rough = estimate(few, budget)
    rough.run(tell, unseen)
    found = rough.found
    left_out = 1 - REFERENCES / game.references
    found.error[:] = np.sqrt(found.error**2 + left_out * (FEW * found.spread) ** 2)
    told = {**rough.facts(), **facts, "exact": False}
    progress(0, 1, attribution(problem, few, space, found, told))
