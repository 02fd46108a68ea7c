"""A model's trees as methods see them that move the user's features: which columns follow a feature, and the outputs.

Nothing here is taken on trust: before trees are used instead of the model, their answers for some of the cases are
compared with the model's own.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from explainers.explainer import Problem
from explainers.model import Model
from explainers.schema import Schema
from explainers.trees.columns import positions

if TYPE_CHECKING:
    from explainers.trees.ensemble import TreeEnsemble

#: Cases for which the trees' answers are compared with the model's.
COMPARED = 64

#: Largest difference, as a share of the largest answer: what sums in single precision leave.
TOLERANCE = 1e-5


@dataclasses.dataclass(frozen=True, eq=False)
class TreeView:
    """The trees of a model over the user's features.

    Attributes:
        trees: the trees.
        model, schema: whose they are, and the features.
        feature: the feature that each of the trees' columns comes from, ``(c,)``.
        scale: ``"linked"`` where outputs are the trees' prediction, ``"signed"`` where they are the sums themselves.
        outputs: how many outputs there are.
    """

    trees: TreeEnsemble
    model: Model
    schema: Schema
    feature: tuple[int, ...]
    scale: Literal["linked", "signed"]
    outputs: int

    @classmethod
    def of(cls, problem: Problem, space: str) -> TreeView | None:
        """The view, or ``None`` where the model has no trees, or they do not answer what the model answers."""
        model, schema = problem.model, problem.data.schema
        trees: TreeEnsemble | None = getattr(model, "trees", None)
        if trees is None or len(problem.cases) == 0:
            return None
        feature = _features(model, schema, trees.columns)
        some = problem.cases.X.iloc[: min(COMPARED, len(problem.cases))]
        values = None if feature is None else _columns(model, some)
        if feature is None or values is None or values.shape[1] != trees.columns:
            return None
        answers, sums = model.scores(some, space), trees.raw(values)
        scales: tuple[Literal["linked", "signed"], ...] = ("linked", "signed")
        for scale in scales:
            view = cls(trees, model, schema, feature, scale, answers.shape[1])
            found = view.scored(sums)
            if found.shape == answers.shape and np.allclose(
                found, answers, rtol=0.0, atol=TOLERANCE * max(1.0, float(np.abs(answers).max()))
            ):
                return view
        return None

    @property
    def linear(self) -> bool:
        """Whether outputs are the sums of leaves, up to their sign."""
        return self.scale == "signed" or self.trees.link in ("identity", "probability")

    @property
    def boosted(self) -> bool:
        """Whether outputs are the probabilities of all classes, and the sums their log-odds."""
        kind = "logistic" if self.trees.outputs == 1 else "softmax"
        return self.scale == "linked" and self.trees.link == kind and self.outputs > 1

    def codes(self, matrix: Float[np.ndarray, "n d"]) -> Any:
        """The trees' codes ``(p, n)`` of cases given by their codes in the schema."""
        values = _columns(self.model, self.schema.decode(matrix))
        assert values is not None  # it was not when the view was made
        return self.trees.questions.codes(values)

    def units(self, features: Sequence[Sequence[int]]) -> list[int]:
        """The unit of each of the trees' columns where unit `u` moves ``features[u]``; -1 for none."""
        home = {j: u for u, members in enumerate(features) for j in members}
        return [home.get(j, -1) for j in self.feature]

    def scored(self, sums: Float[np.ndarray, "n k"]) -> Float[np.ndarray, "n o"]:
        """All outputs that belong to these sums."""
        if self.scale == "linked":
            return self.trees.linked(sums)
        return np.hstack([-sums, sums]) if self.outputs == 2 and sums.shape[1] == 1 else sums

    def wanted(self, sums: np.ndarray, targets: Int[np.ndarray, " n"]) -> np.ndarray:
        """From sums ``(…, k, n)`` the output of each row that is wanted, ``(…, n)``."""
        shape, k = sums.shape, sums.shape[-2]
        if k == 1 and self.outputs == 1 and self.linear:
            return np.asarray(sums[..., 0, :])
        if k == 1 and self.outputs == 2:
            return self._second(sums[..., 0, :], targets)
        flat = np.moveaxis(sums, -2, -1).reshape(-1, k)
        scored = self.scored(flat).reshape(*shape[:-2], shape[-1], -1)
        index = np.broadcast_to(targets[:, None], (*scored.shape[:-1], 1))
        return np.asarray(np.take_along_axis(scored, index, axis=-1)[..., 0])

    def output(self, sums: Float[np.ndarray, "k n"], column: int) -> Float[np.ndarray, " n"]:
        """One column of `scored`, to the last bit."""
        if len(sums) == 1 and self.outputs == 2 and column == 1:
            return self._second(sums[0], np.ones(1, dtype=np.int64))
        return self.scored(sums.T)[:, column]

    def _second(self, sums: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """One sum tells both classes."""
        first = targets == 0
        if self.scale == "linked" and self.trees.link == "logistic":
            found = sums * np.where(first, self.trees.slope, -self.trees.slope)
            with np.errstate(over="ignore"):
                np.exp(found, out=found)
            found += 1.0
            return np.asarray(np.reciprocal(found, out=found))
        if not first.any():
            return sums
        return np.where(first, -sums if self.scale == "signed" else 1.0 - sums, sums)


def _features(model: Model, schema: Schema, columns: int) -> tuple[int, ...] | None:
    """The feature of each of the trees' columns, where columns follow one feature each."""
    inputs = positions(model.features, schema.names)
    if inputs is None:
        return None
    if model.staged is not None and model.staged.origins is not None:
        origins = model.staged.origins
        return tuple(inputs[j] for j in origins) if len(origins) == columns else None
    if getattr(model.estimator, "steps", None) or len(inputs) != columns:
        return None
    return tuple(inputs)


def _columns(model: Model, frame: pd.DataFrame) -> Float[np.ndarray, "n c"] | None:
    """What the trees are given for these cases; ``None`` where it is not plain numbers."""
    if model.staged is not None:
        return np.asarray(model.staged.prepare(frame), dtype=np.float64)
    if model.features is not None:
        frame = frame.iloc[:, positions(model.features, [str(name) for name in frame.columns])]
    try:
        return np.asarray(frame.to_numpy(dtype=np.float64, na_value=np.nan))
    except (TypeError, ValueError):  # categories in words
        return None
