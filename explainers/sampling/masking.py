"""The game of a case: features outside a coalition take the values of reference cases, and the model answers."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float, Int

from explainers.dataset import Dataset
from explainers.model import Model

#: Working memory of a model for one row beyond the row itself: an estimate that keeps chunks at some 50,000 rows.
MODEL_ROW_BYTES = 1024

#: ``chosen(cases, scores)`` keeps what is wanted of scores ``(t, b, k)`` of the cases at these positions.
Chosen = Callable[[Int[np.ndarray, " t"], np.ndarray], np.ndarray]


@dataclasses.dataclass(frozen=True, eq=False)
class BackgroundGame:
    """Coalition values of cases against each reference case, in one space of the model.

    Attributes:
        cases, background: codes of the cases and of the reference cases.
        chosen: keeps the wanted outputs.
    """

    model: Model
    data: Dataset
    space: str
    cases: Float[np.ndarray, "m d"]
    background: Float[np.ndarray, "b d"]
    chosen: Chosen

    @property
    def row_bytes(self) -> int:
        """Memory that one coalition of one case takes: codes, mask, the decoded frame, and the model's own."""
        b, d = self.background.shape
        return int(b * (32 * d + MODEL_ROW_BYTES))

    def values(
        self, which: Int[np.ndarray, " t"], masks: Bool[np.ndarray, "t d"]
    ) -> Float[np.ndarray, "t b k"]:
        """Answers for coalition `masks` of the cases at positions `which`, against each reference case."""
        b, d = self.background.shape
        codes = np.where(masks[:, None, :], self.cases[which][:, None, :], self.background).reshape(-1, d)
        scores = self.model.scores(self.data.schema.decode(codes), self.space)
        return self.chosen(which, scores.reshape(len(which), b, -1))

    def differing(self) -> Bool[np.ndarray, "m d"]:
        """Whether a feature of a case differs from any reference case; where not, it cannot contribute."""
        varied = np.zeros(self.cases.shape, dtype=bool)
        for j, column in enumerate(self.background.T):
            distinct = np.unique(column)
            case = self.cases[:, j]
            same = (case == distinct[0]) | (np.isnan(case) & np.isnan(distinct[0]))
            varied[:, j] = ~same if len(distinct) == 1 else True
        return varied
