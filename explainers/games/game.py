"""What an estimator may know of a model: its answers for coalitions of players, and which players there are.

A player is a feature or a group of features of a table, a segment of a picture, a word of a text. Where a player is absent, reference cases
(or a baseline) take its place. Estimators ask for many coalitions of many cases at a time; how these become rows of the model is the game's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, Int

from explainers.explainer import Problem
from explainers.explanation import Reference

#: ``chosen(cases, scores)`` keeps what is wanted of scores ``(t, b, k)`` of the cases at these positions.
Chosen = Callable[[Int[np.ndarray, " t"], np.ndarray], np.ndarray]


@runtime_checkable
class Game(Protocol):
    """The coalition values of `m` cases with up to `u` players, against `b` reference cases, for `k` outputs."""

    @property
    def names(self) -> tuple[str, ...]:
        """What results are named by: of a table the `u` players."""

    @property
    def players(self) -> Bool[np.ndarray, "m u"]:
        """Who plays in each case; whoever does not can make no difference there."""

    @property
    def references(self) -> int:
        """How many reference cases `b` there are."""

    @property
    def row_bytes(self) -> int:
        """Memory that one coalition of one case takes."""

    @property
    def portion_seconds(self) -> float:
        """How long a portion of coalitions should take: then progress is told, and may stop it."""

    @property
    def pace(self) -> float | None:
        """Seconds that one coalition of one case takes, where they are known."""

    @property
    def reference(self) -> Reference:
        """What absent players are replaced by, in words."""

    def alone(self) -> tuple[Float[np.ndarray, "m k"], Float[np.ndarray, "m b k"]]:
        """The answers for the cases as they are, and for each with all players absent."""

    def values(
        self, which: Int[np.ndarray, " t"], masks: Bool[np.ndarray, "t u"]
    ) -> Float[np.ndarray, "t b k"]:
        """The answers for coalitions (True: present) of the cases at positions `which`, against each reference case."""

    def shaped(self, values: Float[np.ndarray, "m u k"]) -> Any:
        """Values of players in the form of the result: of a table as they are; of pictures maps ``(m, 1, h, w, k)``; of texts one array each."""

    def facts(self, values: Float[np.ndarray, "m u k"]) -> Mapping[str, Any]:
        """What the diagnostics say of the players beside the shaped values, such as the segments of a picture."""


def of_targets(problem: Problem) -> Chosen:
    """From ``(t, b, k)`` the target's output of each case, ``(t, b, 1)``, or all of them."""
    if problem.all_outputs:
        return lambda _, scores: scores
    targets, against = problem.targets, problem.against

    def chosen(which: Int[np.ndarray, " t"], scores: np.ndarray) -> np.ndarray:
        found = np.take_along_axis(scores, targets[which][:, None, None], axis=2)
        return found if against is None else found - scores[:, :, [against]]

    return chosen
