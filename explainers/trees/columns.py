"""Which of the user's columns a model's features are, and which each column before a pipeline's last step comes from.

The latter is read from the structure of the fitted steps, never guessed from values: a step that is not known to work column by
column is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from explainers.compatibility import stored_name
from explainers.errors import UnsupportedModel

#: Steps whose j-th output column depends on their j-th input column alone.
ONE_TO_ONE = frozenset(
    {
        "StandardScaler", "MinMaxScaler", "MaxAbsScaler", "RobustScaler", "PowerTransformer", "QuantileTransformer",
        "OrdinalEncoder", "Binarizer",
    }
)  # fmt: skip


def positions(features: Sequence[str] | None, names: Sequence[str]) -> list[int] | None:
    """Where a model's features stand among columns of these names; ``None`` where one is missing.

    A model that names none takes all in turn. LightGBM stores names without blanks: these are found too.
    """
    if features is None:
        return list(range(len(names)))
    held = {stored_name(name): j for j, name in enumerate(names)} | {name: j for j, name in enumerate(names)}
    return [held[name] for name in features] if all(name in held for name in features) else None


def origins(step: Any, inputs: list[int]) -> list[int]:
    """The input column of each output column of a fitted transformer; raises `UnsupportedModel` where it mixes them."""
    if step is None or (isinstance(step, str) and step == "passthrough"):
        return inputs
    name = type(step).__name__
    if name in ONE_TO_ONE:
        return inputs
    if hasattr(step, "steps"):
        for _, part in step.steps:
            inputs = origins(part, inputs)
        return inputs
    if name == "ColumnTransformer":
        return _column_transformer(step, inputs)
    if name == "FeatureUnion":
        return [j for _, part in step.transformer_list if part != "drop" for j in origins(part, inputs)]
    if name == "FunctionTransformer" and step.func is None:
        return inputs
    if name in _WIDENING:
        return [j for j, width in zip(inputs, _WIDENING[name](step), strict=True) for _ in range(width)]
    if name == "SimpleImputer":
        return _imputed(step, inputs)
    if hasattr(step, "get_support"):
        return [inputs[i] for i in step.get_support(indices=True)]
    raise UnsupportedModel(
        f"The pipeline's step {name} is not known to work column by column, so the trees' columns cannot be "
        "traced back to yours. Use KernelShap."
    )


def _column_transformer(step: Any, inputs: list[int]) -> list[int]:
    names = getattr(step, "feature_names_in_", range(len(inputs)))
    numbered = pd.DataFrame([inputs], columns=list(names))
    found: list[int] = []
    for _, part, columns in sorted(
        step.transformers_, key=lambda entry: step.output_indices_[entry[0]].start
    ):
        if isinstance(part, str) and part == "drop":
            continue
        taken = _taken(numbered, columns)
        found += origins(part, taken) if taken else []
    return found


def _taken(numbered: pd.DataFrame, columns: Any) -> list[int]:
    """Columns as a ColumnTransformer names them: a name, a position, lists, slices or masks of either."""
    if isinstance(columns, (str, int)):
        columns = [columns]
    if isinstance(columns, slice):
        by_name = isinstance(columns.start, str) or isinstance(columns.stop, str)
        part = numbered.loc[:, columns] if by_name else numbered.iloc[:, columns]
    else:
        columns = list(columns)
        by_name = bool(columns) and isinstance(columns[0], str)
        part = numbered[columns] if by_name else numbered.iloc[:, columns]
    return [int(j) for j in part.to_numpy().ravel()]


def _imputed(step: Any, inputs: list[int]) -> list[int]:
    """A column that was empty in training is dropped; indicators of missing values come last."""
    empty = np.array([value is None or value != value for value in step.statistics_])
    kept = [j for j, gone in zip(inputs, empty, strict=True) if not gone or step.keep_empty_features]
    return kept + ([inputs[i] for i in step.indicator_.features_] if step.add_indicator else [])


def _one_hot(step: Any) -> list[int]:
    infrequent = getattr(step, "infrequent_categories_", None) or [None] * len(step.categories_)
    dropped = [None] * len(step.categories_) if step.drop_idx_ is None else step.drop_idx_
    return [
        len(every) - (0 if rare is None else len(rare) - 1) - (drop is not None)
        for every, rare, drop in zip(step.categories_, infrequent, dropped, strict=True)
    ]


def _binned(step: Any) -> list[int]:
    return [1 if step.encode == "ordinal" else int(n) for n in step.n_bins_]


def _target_encoded(step: Any) -> list[int]:
    return [len(step.classes_) if step.target_type_ == "multiclass" else 1] * step.n_features_in_


_WIDENING = {"OneHotEncoder": _one_hot, "KBinsDiscretizer": _binned, "TargetEncoder": _target_encoded}
