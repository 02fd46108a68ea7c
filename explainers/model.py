"""One layout for predictions, and one place that knows the output space.

`Model.predict(X)` is always ``(n, k)``; a binary classifier's is always ``(n, 2)`` probabilities, or scores where
the model gives no probabilities (then `space` is ``"raw"``).
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal
from weakref import WeakKeyDictionary

import numpy as np
import pandas as pd
from jaxtyping import Float

from explainers import answers, compatibility
from explainers.digest import random_digest
from explainers.errors import (
    ExplainerError,
    InvalidSetting,
    ModelFailure,
    SchemaMismatch,
    UnsupportedModel,
)
from explainers.explanation import Output, Space
from explainers.module_layers import may_attend, spatial_layers
from explainers.preparation import Preparation
from explainers.schema import _listed
from explainers.staged import Mixture, Staged

if TYPE_CHECKING:
    import torch

    from explainers.dataset import Dataset
    from explainers.trees.ensemble import TreeEnsemble

Predict = Callable[[Any], Any]
Task = Literal["classification", "regression"]


#: How fast models were: those that are asked for many rows are asked for a few before.
_PACES: WeakKeyDictionary[Model, float] = WeakKeyDictionary()


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Model:
    """A trained model as the explainers see it.

    Attributes:
        predictor: what `predict` asks: takes what the data set holds, returns ``(n,)`` or ``(n, k)``.
        task: ``"classification"`` or ``"regression"``.
        classes: names of the outputs in order; empty for regression.
        labels: the same classes as they may stand in the data, where they have another name there.
        space: the scale of `predict`.
        family: what it is, in words: ``"scikit-learn HistGradientBoostingClassifier"``.
        features: the columns it expects, in order, where it knows them.
        raw_predictor: raw scores ``(n,)`` or ``(n, k)``, where the model has them.
        module: the torch module, for gradients and layers.
        estimator: the library's own object, for methods that read its structure.
        staged: the same predictions in two stages, where its columns are prepared one by one.
        notes: what loading found worth saying.
        trust: the letter of its file's format in `explainers.FORMATS`; empty for a model from memory.
        inputs: how many columns it takes, or the shape of one case (``None`` where a side is open), where it knows.
        preparation: what becomes of pictures before they reach it, where something does.
        declared: what was declared of its answers where it was opened; ``"auto"``: nothing, it was found out.
    """

    predictor: Predict
    task: Task
    classes: tuple[Any, ...] = ()
    labels: tuple[Any, ...] = ()
    space: Space = "target"
    family: str = "callable"
    features: tuple[str, ...] | None = None
    raw_predictor: Predict | None = None
    module: torch.nn.Module | None = None
    estimator: Any = None
    staged: Staged | None = None
    notes: tuple[str, ...] = ()
    trust: str = ""
    digest: str = dataclasses.field(default_factory=random_digest)
    inputs: int | tuple[int | None, ...] | None = None
    preparation: Preparation | None = None
    declared: Output = "auto"

    @classmethod
    def wrap(
        cls,
        obj: Any,
        classes: Sequence[Any] | None = None,
        *,
        output: Output = "auto",
    ) -> Model:
        """A model from memory: scikit-learn estimator or pipeline, XGBoost, LightGBM, CatBoost, torch module, callable.

        `classes` names the outputs; a callable or module without classes is a regression. `output` declares what a
        callable or module returns, and wins over what its last layer looks like: ``"probability"`` (a softmax, or one
        sigmoid for the second of two classes, is inside), ``"raw"`` (logits: a softmax, or a sigmoid of a single one, is
        applied to them) or ``"target"`` (a regression). Declared probabilities outside 0..1 are a `ModelFailure`.
        Raises `InvalidSetting` for a declaration that a model which says itself what it answers does not bear out,
        `UnsupportedModel` for any other object.
        """
        from explainers.wrapping import wrap

        return wrap(obj, tuple(classes) if classes is not None else None, output)

    def __repr__(self) -> str:
        """One line: what it is, what it answers, and in which space."""
        answers = f"{self.task} of {_listed(self.classes)}" if self.classes else self.task
        return f"Model({self.family}: {answers}, {self.space})"

    def with_classes(self, classes: Sequence[Any]) -> Model:
        """The same model with other names for its outputs; the old names are still understood in the data."""
        if self.task != "classification":
            raise InvalidSetting(f"This is a regression; it has no classes to rename to {_listed(classes)}.")
        if self.classes and len(classes) != len(self.classes):
            raise InvalidSetting(
                f"The model has {len(self.classes)} classes; got {len(classes)} names: {_listed(classes)}."
            )
        return dataclasses.replace(self, classes=tuple(classes), labels=self.labels or self.classes)

    def prepared(self, preparation: Preparation) -> Model:
        """The same model with pictures prepared for it; raises `InvalidSetting` where they are already."""
        return preparation.of(self)

    @cached_property
    def abilities(self) -> frozenset[str]:
        """What methods may need: ``gradients``, ``layers``, ``attention`` (it may have some: a run tells), ``trees``,
        ``raw``, ``probability``.

        ``two scales``: the raw score is another number than the prediction. Of a forest it is the probability itself.
        """
        from explainers.wrapping import is_tree_model

        found = {"predict"}
        if self.module is not None:
            found.add("gradients")
            if spatial_layers(self.module):
                found.add("layers")
            if may_attend(self.module):
                found.add("attention")
        if self.raw_predictor is not None or self.space == "raw":
            found.add("raw")
        if self.raw_predictor is not None and self.raw_predictor is not self.predictor:
            found.add("two scales")
        if self.space == "probability":
            found.add("probability")
        if self.estimator is not None and is_tree_model(self.estimator):
            found.add("trees")
        return frozenset(found)

    @cached_property
    def channels(self) -> tuple[tuple[str, int], ...]:
        """Names of a network's convolutions and dense layers, and how many channels or features each gives."""
        from explainers.gradients.ascent.units import channel_layers

        return () if self.module is None else channel_layers(self.module)

    @cached_property
    def trees(self) -> TreeEnsemble | None:
        """The trees of the estimator, or of a pipeline's last step, which asks the columns that the steps before make.

        ``None`` where there are none or they cannot be read: `explainers.trees.converting.refusal` says why.
        """
        from explainers.trees.converting import convert

        steps = getattr(self.estimator, "steps", None)
        try:
            return convert(steps[-1][1] if steps else self.estimator)
        except UnsupportedModel:
            return None

    def predict(self, X: Any) -> Float[np.ndarray, "n k"]:
        """Predictions in `space`; raises `ModelFailure` when the model raises or answers another shape or NaN."""
        return self._ask(self.predictor, X, complement=True)

    def raw(self, X: Any) -> Float[np.ndarray, "n k"]:
        """Raw scores; for two classes the margin of the second and its negative for the first."""
        if self.space == "raw":
            return self.predict(X)
        if self.raw_predictor is None:
            raise InvalidSetting(
                f"This model ({self.family}) has no raw score; ask for the space 'probability'."
            )
        return self._ask(self.raw_predictor, X, complement=False)

    def scores(self, X: Any, space: str) -> Float[np.ndarray, "n k"]:
        """Predictions in the space asked for: ``"raw"``, or what `predict` returns."""
        return self.raw(X) if space == "raw" else self.predict(X)

    def finish(self, prepared: Float[np.ndarray, "n p"] | Mixture, space: str) -> Float[np.ndarray, "n k"]:
        """The scores of rows that `staged.prepare` made, or of mixtures of them."""
        staged = self.staged
        if staged is None:
            raise InvalidSetting(f"This model ({self.family}) does not predict in stages.")
        if not isinstance(prepared, Mixture):
            return self._ask(staged.finish[space], prepared, complement=space != "raw")
        plain = staged.finish[space]
        predictor = staged.of_mixtures.get(space, lambda mixture: plain(mixture.rows()))
        return self._ask(predictor, prepared, complement=space != "raw")

    @property
    def pace(self) -> float | None:
        """Seconds that a row took when it took least; ``None`` before the model was asked. For sizes of portions only."""
        return _PACES.get(self)

    def _ask(self, predictor: Predict, X: Any, complement: bool) -> Float[np.ndarray, "n k"]:
        count = len(X)
        began = time.perf_counter()
        try:
            answer = predictor(X)
        except ExplainerError:
            raise
        except Exception as error:
            raise answers.failure(error, count) from error
        if count:
            took = (time.perf_counter() - began) / count
            _PACES[self] = min(_PACES.get(self, took), took)
        values = answers.columns(answer, count)
        if len(self.classes) == 2 and values.shape[1] == 1:
            other = 1.0 - values if complement and self.space == "probability" else -values
            values = np.hstack([other, values])
        if self.classes and values.shape[1] != len(self.classes):
            raise ModelFailure(
                f"The model has {len(self.classes)} classes but answered {values.shape[1]} outputs."
            )
        return values

    def output_of(self, target: Any, outputs: int) -> int:
        """Position of an output: a class label where there are classes, else an index; raises `InvalidSetting`."""
        if self.classes:
            for names in (self.classes, self.labels):
                for position, name in enumerate(names):
                    if _same(name, target):
                        return position
            raise InvalidSetting(
                f"There is no class {target!r}; the classes are {', '.join(map(repr, self.classes))}."
            )
        if isinstance(target, (int, np.integer)) and not isinstance(target, bool) and 0 <= target < outputs:
            return int(target)
        raise InvalidSetting(f"There is no output {target!r}; outputs are 0..{outputs - 1}.")

    def truth(self, y: np.ndarray) -> np.ndarray:
        """The truth in the model's terms: output positions ``(n,)`` for a classifier, float64 for a regression.

        Raises `SchemaMismatch` for a label that is no class, or no number; missing labels are -1 (classes) or NaN.
        """
        if self.task == "regression":
            return _outcomes(y)
        codes, labels = pd.factorize(np.asarray(y, dtype=object))  # a missing one has the code -1
        for names in (self.classes, self.labels, tuple(range(len(self.classes)))):
            lookup = {_key(name): position for position, name in enumerate(names)}
            found = np.array([*(lookup.get(_key(label), -1) for label in labels), -1], dtype=np.int64)
            if (found[:-1] >= 0).all() and len(names):
                return np.asarray(found[codes])
        strange = sorted({repr(v) for v in labels if _key(v) not in {_key(c) for c in self.classes}})[:5]
        raise SchemaMismatch(
            f"The target column holds {', '.join(strange)}; the model's classes are {', '.join(map(repr, self.classes))}."
        )

    def doubt(self, predictions: Float[np.ndarray, "n k"]) -> str:
        """What is strange about these probabilities, in a sentence; "" where they are as they should be."""
        sums = predictions.sum(axis=1)
        if self.space != "probability" or not len(sums) or np.allclose(sums, 1.0, atol=1e-2):
            return ""
        return (
            f"the probabilities of a case add up to {sums.min():.3g} to {sums.max():.3g}, not to 1: each stands for itself, "
            "or they are none"
        )

    def mismatch(self, data: Dataset) -> str | None:
        """Why model and data do not fit, in one sentence that names the columns; ``None`` where they do."""
        if data.modality == "table":
            return self.columns_mismatch(data.schema.names)
        return compatibility.of_cases(self.inputs, data.schema.shape)

    def columns_mismatch(self, names: tuple[str, ...]) -> str | None:
        """Why columns of these names are not the model's, in one sentence; ``None`` where they are, or more than them."""
        return compatibility.of_columns(self.features, self.inputs, names)

    def check(self, data: Dataset) -> None:
        """Try two rows; raise `SchemaMismatch` or `ModelFailure` with what does not fit."""
        sentence = self.mismatch(data)
        if sentence:
            raise SchemaMismatch(sentence)
        self.predict(data.take(np.arange(min(2, len(data)))).X)


def _outcomes(y: np.ndarray) -> np.ndarray:
    try:
        return np.asarray(y, dtype=np.float64)
    except (ValueError, TypeError) as error:
        strange = ", ".join(sorted({repr(getattr(value, "item", lambda v=value: v)()) for value in y})[:5])
        raise SchemaMismatch(
            f"The target column holds {strange}, and the model seems to answer numbers, not classes. If its answers are "
            "scores of classes, declare that: output='raw' for logits, 'probability' for probabilities."
        ) from error


def _key(value: Any) -> Any:
    """Labels compare by value and kind: 1 and 1.0 and True are one label, "1" is another."""
    if isinstance(value, (bool, np.bool_, int, np.integer, float, np.floating)):
        return float(value)
    return str(value)


def _same(a: Any, b: Any) -> bool:
    return bool(_key(a) == _key(b))
