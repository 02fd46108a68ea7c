"""The game of a table: absent features take the values of reference cases, and the model answers."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from explainers.dataset import Dataset
from explainers.explainer import Problem
from explainers.explanation import Reference
from explainers.games.game import Chosen, of_targets
from explainers.games.sharing import PORTION_SECONDS
from explainers.model import Model
from explainers.sampling.groups import Groups, feature_units, unit_name
from explainers.staged import Mixture

#: Working memory of a model for one row beyond the row itself: an estimate that keeps chunks at some 50,000 rows.
MODEL_ROW_BYTES = 1024


@dataclasses.dataclass(frozen=True, eq=False)
class FeatureGame:
    """Coalition values of cases against each reference case, in one space of the model.

    Attributes:
        units: the players: a feature alone, or the features of a group, by name.
        cases, background: codes of the cases and of the reference cases.
        chosen: keeps the wanted outputs.
    """

    model: Model
    data: Dataset
    space: str
    units: Groups
    cases: Float[np.ndarray, "m d"]
    background: Float[np.ndarray, "b d"]
    chosen: Chosen
    reference: Reference

    @classmethod
    def of(
        cls, problem: Problem, space: str, background: Dataset, groups: Sequence[Sequence[str]] = ()
    ) -> FeatureGame:
        """The game of a problem; raises `InvalidSetting` for groups that do not fit the features."""
        return cls(
            problem.model,
            problem.data,
            space,
            feature_units(problem.data.schema.names, groups),
            problem.cases.matrix,
            background.matrix,
            of_targets(problem),
            problem.reference(background, space),
        )

    def with_references(self, count: int) -> FeatureGame:
        """The same game against this many of the reference cases, spread over all."""
        places = np.linspace(0, len(self.background) - 1, count).astype(np.int64)
        reference = dataclasses.replace(self.reference, cases=count)
        return dataclasses.replace(self, background=self.background[places], reference=reference)

    @property
    def names(self) -> tuple[str, ...]:
        """Features, and groups of them as ``weight + height``."""
        return tuple(unit_name(unit) for unit in self.units)

    @property
    def references(self) -> int:
        """How many reference cases there are."""
        return len(self.background)

    @property
    def row_bytes(self) -> int:
        """Memory that one coalition of one case takes: codes, mask, the decoded frame, and the model's own."""
        b, d = self.background.shape
        return int(b * (32 * d + MODEL_ROW_BYTES))

    @property
    def portion_seconds(self) -> float:
        """How long a portion of coalitions should take."""
        return PORTION_SECONDS

    @property
    def pace(self) -> float | None:
        """Seconds that one coalition of one case took the model, where it was asked before."""
        return None if self.model.pace is None else self.model.pace * self.references

    @cached_property
    def owner(self) -> Int[np.ndarray, " d"]:
        """The player that each feature belongs to."""
        home = {name: number for number, unit in enumerate(self.units) for name in unit}
        return np.array([home[name] for name in self.data.schema.names], dtype=np.int64)

    @cached_property
    def players(self) -> Bool[np.ndarray, "m u"]:
        """Whether a player of a case differs from any reference case; where not, it cannot contribute."""
        varied = np.zeros(self.cases.shape, dtype=bool)
        for j, column in enumerate(self.background.T):
            distinct = np.unique(column)
            case = self.cases[:, j]
            same = (case == distinct[0]) | (np.isnan(case) & np.isnan(distinct[0]))
            varied[:, j] = ~same if len(distinct) == 1 else True
        found = np.zeros((len(varied), len(self.units)), dtype=bool)
        for j, player in enumerate(self.owner):
            found[:, player] |= varied[:, j]
        return found

    def values(
        self, which: Int[np.ndarray, " t"], masks: Bool[np.ndarray, "t u"]
    ) -> Float[np.ndarray, "t b k"]:
        """Answers for coalition `masks` of the cases at positions `which`, against each reference case."""
        if self._prepared is not None:
            cases, background, origins = self._prepared
            mixture = Mixture(cases, background, which, masks[:, self.owner[origins]])
            scores = self.model.finish(mixture, self.space)
        else:
            present = masks[:, None, self.owner]
            codes = np.where(present, self.cases[which][:, None, :], self.background)
            scores = self._scores(codes.reshape(-1, codes.shape[2]))
        return self.chosen(which, scores.reshape(len(which), self.references, -1))

    def alone(self) -> tuple[Float[np.ndarray, "m k"], Float[np.ndarray, "m b k"]]:
        """The answers for the cases and for the reference cases as they are."""
        m = len(self.cases)
        if self._prepared is not None:
            scores = self.model.finish(np.vstack(self._prepared[:2]), self.space)
        else:
            scores = self._scores(np.vstack([self.cases, self.background]))
        everyone = np.arange(m)
        empty = np.broadcast_to(scores[m:], (m, *scores[m:].shape))
        return self.chosen(everyone, scores[:m, None])[:, 0], self.chosen(everyone, empty)

    def shaped(self, values: Float[np.ndarray, "m u *k"]) -> Float[np.ndarray, "m u *k"]:
        """A table's values are as they are."""
        return values

    def facts(self, values: Float[np.ndarray, "m u *k"]) -> Mapping[str, Any]:
        """How many reference cases were asked, and the groups."""
        grouped = [list(unit) for unit in self.units if len(unit) > 1]
        return {"background": self.references, **({"groups": grouped} if grouped else {})}

    def _scores(self, codes: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n k"]:
        return self.model.scores(self.data.schema.decode(codes), self.space)

    @cached_property
    def _prepared(self) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
        """Cases and background after the model's first stage, and the feature each column comes from; where it has one.

        Then only the last step is asked thousands of times, and answers are the same.
        """
        staged, schema = self.model.staged, self.data.schema
        if staged is None or self.space not in staged.finish:
            return None
        order = self.model.features or schema.names
        of_feature = np.array([schema.position(name) for name in order], dtype=np.int64)
        both = staged.prepare(schema.decode(np.vstack([self.cases, self.background])))
        origins = of_feature if staged.origins is None else of_feature[staged.origins]
        return both[: len(self.cases)], both[len(self.cases) :], origins
