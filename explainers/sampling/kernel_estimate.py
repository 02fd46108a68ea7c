"""Shapley values of many cases from one set of coalitions, one case after the other.

The solution is linear in the coalition values, so it is taken for each reference case by itself; their mean is the
estimate, their spread / sqrt(B) what another draw of reference cases would change.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from explainers.device import over_chunks, pick
from explainers.progress import Progress
from explainers.sampling.coalitions import coalitions
from explainers.sampling.masking import BackgroundGame
from explainers.sampling.shapley_regression import ShapleyRegression
from explainers.sampling.steps import stretch


class KernelEstimate:
    """Results as they grow: cases go through one after the other, coalitions of several cases in one model call."""

    def __init__(
        self, game: BackgroundGame, empty: Float[np.ndarray, "b k"], output: Float[np.ndarray, "m k"]
    ) -> None:
        self.game = game
        m, d = game.cases.shape
        everyone = np.arange(m)
        self.full = game.chosen(everyone, output[:, None, :])[:, 0]
        self.empty = empty
        self.base = game.chosen(everyone, np.broadcast_to(empty.mean(axis=0), (m, 1, empty.shape[1])))[:, 0]
        self.values = np.zeros((m, d, self.full.shape[1]))
        self.error = np.zeros_like(self.values)
        self.spread = np.zeros_like(self.values)

    def over_rows(self, budget: int, seed: int, progress: Progress) -> dict[str, Any]:
        """Cases by the features in which they differ from the background: the others are no players."""
        differing = self.game.differing()
        m, b = len(differing), len(self.empty)
        patterns, member = np.unique(differing, axis=0, return_inverse=True)
        fits = {
            d: ShapleyRegression.of(coalitions(d, budget, seed))
            for d in set(patterns.sum(axis=1).tolist()) - {0}
        }
        counts = [len(fits[d].coalitions.masks) if d else 0 for d in differing.sum(axis=1).tolist()]
        total, done = sum(counts), 0
        for pattern, players in enumerate(patterns):
            rows = np.flatnonzero(member.reshape(-1) == pattern)
            if players.any():
                fit = fits[int(players.sum())]
                self._alike(rows, players, fit, stretch(progress, done, total))
                done += len(rows) * len(fit.coalitions.masks)
        return {
            "exact": all(fit.coalitions.exact for fit in fits.values()),
            "coalitions": max(counts, default=0) + 2,
            "evaluations": total * b + b + m,
            "standard_error": "jackknife sandwich over pairs of coalitions, stratified by size, without replacement",
        }

    def _alike(
        self, rows: np.ndarray, players: Bool[np.ndarray, " d"], fit: ShapleyRegression, progress: Progress
    ) -> None:
        """All cases with the same players: coalitions in portions, one open case at a time."""
        own = fit.coalitions.masks
        c = len(own)
        masks = np.ones((c, len(players)), dtype=bool)
        masks[:, players] = own
        answers = np.zeros((c, len(self.empty), self.values.shape[2]))  # of the open case

        def compute(part: slice) -> None:
            row, coalition = np.divmod(np.arange(part.start, part.stop), c)
            found = self.game.values(rows[row], masks[coalition])
            for i in range(row[0], row[-1] + 1):
                here = row == i
                answers[coalition[here]] = found[here]
                if coalition[here][-1] == c - 1:
                    self._close(int(rows[i]), players, fit, answers)

        if c == 0:
            for i in rows:
                self._close(int(i), players, fit, answers)
            return
        # codes and frames are built in main memory, wherever the model computes
        over_chunks(compute, len(rows) * c, self.game.row_bytes, pick("cpu"), progress, seconds=0.3)

    def _close(
        self,
        i: int,
        players: Bool[np.ndarray, " d"],
        fit: ShapleyRegression,
        answers: Float[np.ndarray, "c b k"],
    ) -> None:
        """Solve one case for each reference case; in one piece, so that portions cannot change a last digit."""
        empty = self.game.chosen(np.array([i]), self.empty[None])[0]
        each = np.tensordot(fit.matrix, answers, axes=1) + fit.spread[:, None, None] * (self.full[i] - empty)
        values = each.mean(axis=1)
        self.values[i, players] = values
        if len(empty) > 1:
            self.spread[i, players] = each.std(axis=1, ddof=1) / np.sqrt(len(empty))
        if not fit.coalitions.exact:
            self.error[i, players] = fit.standard_error(answers.mean(axis=1), values)
