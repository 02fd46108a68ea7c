"""A tree model as Shapley values see it: its trees, the rows they are given, and which feature each column comes from.

Whatever a library makes of a case on its way to the trees is done here, and what cannot be explained is refused in a sentence.
Effects move features instead, and can do without trees: they have a `TreeView`, of trees whose columns are plain numbers.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from explainers.errors import ModelFailure, UnsupportedModel
from explainers.model import Model
from explainers.schema import Schema
from explainers.trees.columns import origins, positions

if TYPE_CHECKING:
    from explainers.dataset import Dataset
    from explainers.trees.ensemble import TreeEnsemble

#: Cases for which the trees' sums are compared with the model's own, and the largest difference as a share of the largest.
COMPARED, TOLERANCE = 64, 1e-4

#: Links whose prediction is a curve of the sum and no probability: there is no scale on which both people and trees add.
CURVED = ("exp", "isolation")


class TreeReading:
    """What is read from one model once. Holds no reference to a plain `Model` itself, only to its estimator."""

    def __init__(self, model: Model) -> None:
        steps = getattr(model.estimator, "steps", None)
        self.pipeline = model.estimator[:-1] if steps else None
        self.estimator = steps[-1][1] if steps else model.estimator
        self.family = model.family
        self.task = model.task
        self._own_rows = getattr(
            getattr(model.predictor, "columns", None), "matrix", None
        )  # a file's columns
        self._trees = model.trees  # the same for all who ask: they take memory
        self._checked = False
        self._players: tuple[tuple[str, ...], np.ndarray | None] = (), None

    @cached_property
    def refusal(self) -> str | None:
        """Why the trees cannot be explained exactly, in a sentence; ``None`` where they can."""
        try:
            trees = self.trees
            if self.pipeline is not None:
                found = len(origins(self.pipeline, list(range(self.pipeline.n_features_in_))))
                if found != trees.columns:
                    return "The columns of this pipeline cannot be traced back to yours. Use KernelShap."
        except UnsupportedModel as error:
            return str(error)
        if self.task == "regression" and trees.link in CURVED:
            return f"This model ({self.family}) predicts a curved function of the sum of its trees; tree values explain a sum. Use KernelShap."
        return None

    @cached_property
    def trees(self) -> TreeEnsemble:
        """The tensor form; raises `UnsupportedModel` where there is none."""
        from explainers.trees.converting import convert

        if self._trees is not None:
            return self._trees
        return convert(self.estimator)  # which says why there are none

    @property
    def scale(self) -> str:
        """The name of the scale on which the trees add up."""
        if self.task == "regression":
            return "target"
        return "probability" if self.trees.link == "probability" else "raw"

    def players(self, model: Model, schema: Schema) -> Int[np.ndarray, " c"]:
        """The feature that each of the trees' columns comes from."""
        names, found = self._players
        if found is None or names != schema.names:
            found = self._traced(model, schema)
            self._players = schema.names, found  # at once: other threads may ask
        return found

    def _traced(self, model: Model, schema: Schema) -> Int[np.ndarray, " c"]:
        inputs = positions(model.features, schema.names)
        assert inputs is not None  # a model that lacks a column is not asked
        return np.array(inputs if self.pipeline is None else origins(self.pipeline, inputs), dtype=np.int64)

    @cached_property
    def _rows(self) -> Any:
        from explainers.trees.converting.rows import preparing

        return self._own_rows or preparing(self.estimator)

    def matrix(self, model: Model, cases: Dataset) -> Float[np.ndarray, "n c"]:
        """The rows as the trees are given them; compared once with the model's own answers.

        Raises `ModelFailure` where the trees' sums are not the model's.
        """
        if self.pipeline is None and cases.schema.codes_are_values:
            rows = cases.matrix
            chosen = self.players(model, cases.schema)
            if not np.array_equal(chosen, np.arange(rows.shape[1])):
                rows = np.ascontiguousarray(rows[:, chosen])
        else:
            rows = self._prepared(model, cases.X)
        if not self._checked and len(rows):
            self._compare(model, cases.X.iloc[:COMPARED], rows[:COMPARED])
            self._checked = True
        return rows

    def _prepared(self, model: Model, frame: pd.DataFrame) -> Float[np.ndarray, "n c"]:
        """What a pipeline's steps, or the library's own coding of categories, make of a frame."""
        given: Any = frame
        if self.pipeline is not None:
            known = getattr(self.pipeline, "feature_names_in_", None)
            given = self.pipeline.transform(frame.to_numpy() if known is None else frame[list(known)])
            given = given.toarray() if hasattr(given, "toarray") else given
        elif model.features is not None:
            given = frame.iloc[:, positions(model.features, [str(name) for name in frame.columns])]
        return np.ascontiguousarray(self._rows(given), dtype=np.float64)

    def _compare(self, model: Model, frame: pd.DataFrame, rows: np.ndarray) -> None:
        own = model.predict(frame)
        found = self.trees.predict(rows)
        gap = float(np.abs(own - found).max()) if own.shape == found.shape else np.inf
        if not gap <= TOLERANCE * max(1.0, float(np.abs(own).max())):
            raise ModelFailure(
                f"The trees of {self.family} do not give its own predictions (off by {gap:.3g}); they are read wrongly. "
                "Use KernelShap."
            )

    def all_outputs(self, sums: np.ndarray, centre: float = 0.0) -> np.ndarray:
        """From one number for each of the trees' sums, last axis, one for each output of the model.

        Of two classes the first has the opposite of the second: ``centre - sum``.
        """
        if self.task == "classification" and sums.shape[-1] == 1:
            return np.concatenate([centre - sums, sums], axis=-1)
        return sums


# The one cache in this package: the same model is explained many times. It holds no values and dies with the model.
_READINGS: WeakKeyDictionary[Model, TreeReading] = WeakKeyDictionary()


def read(model: Model) -> TreeReading:
    """The reading of a model with trees."""
    found = _READINGS.get(model)
    if found is None:
        found = _READINGS[model] = TreeReading(model)
    return found
