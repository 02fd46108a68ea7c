"""The result of a game: values of players in the form that suits the data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from explainers.explainer import Problem
from explainers.explanation import Attribution
from explainers.games.game import Game
from explainers.sampling.asking import Found


def attribution(
    problem: Problem, game: Game, space: str, found: Found, facts: Mapping[str, Any]
) -> Attribution:
    """What has been found so far, as a result of its own: what is found later does not change it.

    `facts` go to the diagnostics; where ``facts["exact"]``, there is no standard error. Of texts, values and errors are
    tuples, one array for each text.
    """

    def plain(values: np.ndarray) -> np.ndarray:
        return values.copy() if problem.all_outputs else values[..., 0].copy()

    def shaped(values: np.ndarray) -> Any:
        return game.shaped(plain(values))

    return Attribution(
        names=game.names,
        values=shaped(found.values),
        base_value=plain(found.empty.mean(axis=1)),
        output=plain(found.full),
        space=space,
        targets=problem.target_labels,
        standard_error=None if facts["exact"] else shaped(found.error),
        background_error=shaped(found.spread) if game.references > 1 else None,
        reference=game.reference,
        diagnostics={**facts, **game.facts(plain(found.values))},
    )
