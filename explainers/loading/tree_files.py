"""A `Model` of what XGBoost's and LightGBM's files say; the libraries themselves see nothing of the file."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float

from explainers.model import Model
from explainers.trees.converting.training_columns import TrainingColumns
from explainers.trees.ensemble import TreeEnsemble
from explainers.wrapping.gradient_boosting_libraries import Booster

Answer = Callable[[np.ndarray], np.ndarray]


@dataclasses.dataclass(frozen=True, eq=False)
class FilePredictor:
    """Rows as a data set holds them, to answers. `columns.matrix` makes the rows that the trees take."""

    columns: TrainingColumns
    answer: Answer

    def __call__(self, X: Any) -> Float[np.ndarray, "..."]:
        return self.answer(self.columns.matrix(X))


def model(
    family: str,
    columns: TrainingColumns,
    raw: Answer,
    predicted: Answer,
    trees: TreeEnsemble | None,
    classes: tuple[Any, ...] | None,
    *,
    outputs: int,
    classifies: bool,
) -> Model:
    """A regression or classifier; ``raw`` makes sums ``(m, k)`` of a matrix, and `predicted` predictions of sums."""

    def margins(matrix: np.ndarray) -> np.ndarray:
        sums = raw(matrix)
        return sums[:, 0] if outputs == 1 else sums

    def predictions(matrix: np.ndarray) -> np.ndarray:
        found = predicted(raw(matrix))
        return found if classifies or outputs > 1 else found[:, -1]

    return Booster(
        lambda margin: FilePredictor(columns, margins if margin else predictions),
        classifies=classifies,
        outputs=max(2, outputs),
        own=None,
        family=family,
        features=columns.names,
        inputs=columns.count,
        estimator=trees,
    ).model(classes)
