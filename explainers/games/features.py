"""The game of a case: features outside a coalition take the values of reference cases, and the model answers."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import cached_property

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
        if self._prepared is not None:
            return self._staged_values(which, masks)
        codes = np.where(masks[:, None, :], self.cases[which][:, None, :], self.background).reshape(-1, d)
        scores = self.model.scores(self.data.schema.decode(codes), self.space)
        return self.chosen(which, scores.reshape(len(which), b, -1))

    @cached_property
    def _prepared(self) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
        """Cases and background after the model's first stage, and the feature each column comes from; where it has one."""
        staged, schema = self.model.staged, self.data.schema
        if staged is None or self.space not in staged.finish:
            return None
        order = self.model.features or schema.names
        of_feature = np.array([schema.position(name) for name in order], dtype=np.int64)
        both = staged.prepare(schema.decode(np.vstack([self.cases, self.background])))
        return both[: len(self.cases)], both[len(self.cases) :], of_feature[staged.origins]

    def alone(self) -> tuple[Float[np.ndarray, "m k"], Float[np.ndarray, "b k"]]:
        """The answers for the cases and for the reference cases as they are."""
        m = len(self.cases)
        if self._prepared is not None:
            scores = self.model.finish(np.vstack(self._prepared[:2]), self.space)
        else:
            codes = np.vstack([self.cases, self.background])
            scores = self.model.scores(self.data.schema.decode(codes), self.space)
        return scores[:m], scores[m:]

    def _staged_values(self, which: np.ndarray, masks: np.ndarray) -> np.ndarray:
        """The same answers from mixtures of prepared columns: only the last step is asked thousands of times."""
        assert self._prepared is not None
        cases, background, origins = self._prepared
        mixed = np.where(masks[:, None, origins], cases[which][:, None, :], background)
        scores = self.model.finish(mixed.reshape(-1, mixed.shape[2]), self.space)
        return self.chosen(which, scores.reshape(len(which), len(background), -1))

    def differing(self) -> Bool[np.ndarray, "m d"]:
        """Whether a feature of a case differs from any reference case; where not, it cannot contribute."""
        varied = np.zeros(self.cases.shape, dtype=bool)
        for j, column in enumerate(self.background.T):
            distinct = np.unique(column)
            case = self.cases[:, j]
            same = (case == distinct[0]) | (np.isnan(case) & np.isnan(distinct[0]))
            varied[:, j] = ~same if len(distinct) == 1 else True
        return varied
