"""LIME around all pictures or texts of a problem: masks are drawn, asked and fitted; cases with as many players share their masks."""

from __future__ import annotations

import dataclasses
from typing import Literal

import numpy as np
from jaxtyping import Float

from explainers.games.game import Game
from explainers.progress import Progress
from explainers.sampling.asking import Job, ask
from explainers.sampling.local.masked_ridge import MaskedRidge
from explainers.sampling.local.masks import Masks, draw_masks


@dataclasses.dataclass(frozen=True, eq=False)
class MaskedFits:
    """Fits of `m` cases with up to `u` players and `k` outputs; players that a case lacks have the value 0.

    Attributes:
        full: the model's answers for the cases.
        exact: whether every neighbour of every case was asked.
        evaluations: how many answers the fits rest on.
    """

    full: Float[np.ndarray, "m k"]
    values: Float[np.ndarray, "m u k"]
    error: Float[np.ndarray, "m u k"]
    intercept: Float[np.ndarray, "m k"]
    r2: Float[np.ndarray, "m k"]
    exact: bool
    evaluations: int


def masked_fits(
    game: Game, kind: Literal["image", "text"], samples: int, seed: int, progress: Progress
) -> MaskedFits:
    """Fit around each case of a game with one reference."""
    full, empty = game.alone()
    (m, u), k = game.players.shape, full.shape[1]
    counts = game.players.sum(axis=1)
    drawn: dict[int, Masks] = {
        int(count): draw_masks(kind, int(count), samples, seed) for count in np.unique(counts)
    }
    fits = {count: MaskedRidge.of(masks) for count, masks in drawn.items()}
    values, error = np.zeros((m, u, k)), np.zeros((m, u, k))
    intercept, r2 = np.empty((m, k)), np.empty((m, k))

    def close(row: int, answers: Float[np.ndarray, "t b k"]) -> None:
        together = np.concatenate([full[row][None], empty[row], answers[:, 0].reshape(-1, k)])
        found = fits[int(counts[row])].fit(together)
        values[row, game.players[row]], error[row, game.players[row]], intercept[row], r2[row] = found

    jobs = [Job(row, drawn[int(count)].masks) for row, count in enumerate(counts)]
    asked = ask(game, jobs, close, progress)
    exact = all(masks.exact for masks in drawn.values())
    return MaskedFits(full, values, error, intercept, r2, exact, asked + 2 * m)
