"""A tree model as tree algorithms see it: its own columns, its raw score, and shap's reading of its trees."""

from __future__ import annotations

import copy
import warnings
from functools import cached_property
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import pandas as pd
from jaxtyping import Float

from explainers.errors import UnsupportedModel
from explainers.model import Model, stored_name
from explainers.schema import Schema
from explainers.trees.columns import origins

#: Objectives whose prediction is a function of the trees' sum, where the model offers no raw score of that sum.
_LINKED = ("poisson", "gamma", "tweedie", "reg:logistic", "survival:", "cross_entropy")

_FORESTS = ("Forest", "ExtraTree", "DecisionTree")


class TreeReading:
    """What is read from one model once. Holds no reference to a plain `Model` itself, only to its estimator."""

    def __init__(self, model: Model) -> None:
        steps = getattr(model.estimator, "steps", None)
        self.pipeline = model.estimator[:-1] if steps else None
        self.estimator = steps[-1][1] if steps else model.estimator
        self.inner = Model.wrap(self.estimator) if steps else None
        self.family = (self.inner or model).family
        self.task = model.task

    @cached_property
    def refusal(self) -> str | None:
        """Why the trees cannot be explained exactly, in a sentence; ``None`` where they can."""
        if self.pipeline is not None:
            try:
                found = len(origins(self.pipeline, list(range(self.pipeline.n_features_in_))))
            except UnsupportedModel as error:
                return str(error)
            if found != getattr(self.estimator, "n_features_in_", found):
                return "The columns of this pipeline cannot be traced back to yours. Use KernelShap."
        if _has_categorical_splits(self.estimator):
            return f"The trees of this model ({self.family}) split on sets of categories, which shap cannot read exactly. Use KernelShap."
        if (
            type(self.estimator).__name__.startswith("CatBoost")
            and len(getattr(self.estimator, "classes_", ())) > 2
        ):
            return "shap cannot read CatBoost models of more than two classes exactly. Use KernelShap."
        loss = f"{self.family} {getattr(self.estimator, 'loss', '')}".lower()
        if self.task == "regression" and any(word in loss for word in _LINKED):
            return f"This model ({self.family}) predicts a curved function of the sum of its trees; tree values explain a sum. Use KernelShap."
        if (
            hasattr(self.estimator, "init_")
            and not type(self.estimator.init_).__name__.startswith("Dummy")
            and self.estimator.init_ != "zero"
        ):
            return (
                "These trees start from another model's prediction, which has no tree values. Use KernelShap."
            )
        return None

    @property
    def averages_probabilities(self) -> bool:
        """Whether the raw score is itself a probability: forests and single trees of classification."""
        name = type(self.estimator).__name__
        return self.task == "classification" and any(word in name for word in _FORESTS)

    @cached_property
    def explainer(self) -> Any:
        """shap's TreeExplainer, made without a background: seconds for a large ensemble."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # shap's import and constructors warn of their own internals
            import shap

            try:
                return shap.TreeExplainer(
                    _readable(self.estimator), feature_perturbation="tree_path_dependent"
                )
            except Exception as error:
                text = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
                raise UnsupportedModel(
                    f"shap cannot read the trees of {self.family}: {text} Use KernelShap."
                ) from error

    def positions(self, model: Model, schema: Schema) -> list[int]:
        """The feature that each of the trees' columns comes from."""
        if model.features is None:
            inputs = list(range(len(schema.names)))
        else:  # LightGBM stores names without blanks
            held = {stored_name(name): j for j, name in enumerate(schema.names)}
            held |= {name: j for j, name in enumerate(schema.names)}
            inputs = [held[name] for name in model.features]
        return inputs if self.pipeline is None else origins(self.pipeline, inputs)

    def columns(self, frame: pd.DataFrame) -> Any:
        """What the trees are given: the frame in their order, or what the pipeline makes of it."""
        if self.pipeline is None:
            return frame
        known = hasattr(self.pipeline, "feature_names_in_")
        made = self.pipeline.transform(
            frame[list(self.pipeline.feature_names_in_)] if known else frame.to_numpy()
        )
        return made.toarray() if hasattr(made, "toarray") else made

    def scores(self, model: Model, columns: Any) -> Float[np.ndarray, "n k"]:
        """The raw score of what `columns` returned, as the library itself computes it."""
        asked = self.inner or model
        return asked.raw(columns) if asked.task == "classification" else asked.predict(columns)

    def matrix(self, columns: Any, positions: list[int]) -> Float[np.ndarray, "n c"]:
        """The same as numbers, rounded as the library rounds before it compares."""
        if self.pipeline is None:
            columns = columns.iloc[:, positions]
        values = np.asarray(columns, dtype=np.float64)
        read = self.explainer.model
        single = read.model_type in ("xgboost", "catboost") or read.input_dtype == np.float32
        return values.astype(np.float32).astype(np.float64) if single else values

    @cached_property
    def ranked(self) -> tuple[Any, dict[int, Float[np.ndarray, " t"]]]:
        """shap's explainer with each threshold replaced by its rank among the column's thresholds, and these.

        shap's walk against a background keeps thresholds as float32 and node numbers as 16 bits. x <= t holds exactly
        when fewer thresholds lie below x than t has before it, and such small whole numbers survive.
        """
        read = copy.copy(self.explainer.model)
        if read.values.shape[1] > np.iinfo(np.int16).max:
            raise UnsupportedModel(
                f"A tree of {self.family} has {read.values.shape[1]} nodes; against reference cases 32,767 can be "
                "walked. Use TreeShap(background=0) or KernelShap."
            )
        read.thresholds = np.array(read.thresholds, dtype=np.float64)
        inner = read.children_left >= 0
        sorted_: dict[int, Float[np.ndarray, " t"]] = {}
        for column in np.unique(read.features[inner]):
            here = inner & (read.features == column)
            sorted_[int(column)], read.thresholds[here] = np.unique(
                read.thresholds[here], return_inverse=True
            )
        explainer = copy.copy(self.explainer)
        explainer.model, explainer.feature_perturbation = read, "interventional"
        return explainer, sorted_

    def ranks(self, matrix: Float[np.ndarray, "n c"]) -> Float[np.ndarray, "n c"]:
        """How many of its column's thresholds lie below each value; missing stays missing."""
        ranks = np.zeros_like(matrix)
        for column, thresholds in self.ranked[1].items():
            ranks[:, column] = np.searchsorted(thresholds, matrix[:, column])
        ranks[np.isnan(matrix)] = np.nan
        return ranks

    @property
    def nodes(self) -> int:
        """How many nodes all trees have."""
        counted = getattr(self.explainer.model, "num_nodes", None)
        return 10_000 if counted is None else int(counted.sum())


# The one cache in this package: shap needs seconds to read a large ensemble, and the same model is explained many
# times. It holds no values, dies with the model, and goes when trees have their own form here.
_READINGS: WeakKeyDictionary[Model, TreeReading] = WeakKeyDictionary()


def read(model: Model) -> TreeReading:
    """The reading of a model with trees."""
    found = _READINGS.get(model)
    if found is None:
        found = _READINGS[model] = TreeReading(model)
    return found


def _has_categorical_splits(estimator: Any) -> bool:
    if getattr(estimator, "_predictors", None) is not None:  # scikit-learn's histogram boosting
        return any(
            bool(tree.nodes["is_categorical"].any()) for stage in estimator._predictors for tree in stage
        )
    booster = getattr(estimator, "booster_", estimator)
    if hasattr(booster, "pandas_categorical"):  # LightGBM
        lines = booster.model_to_string().splitlines()
        return bool(booster.pandas_categorical) or any(
            line.startswith("num_cat=") and line != "num_cat=0" for line in lines
        )
    if hasattr(estimator, "get_cat_feature_indices"):  # CatBoost
        return len(estimator.get_cat_feature_indices()) > 0
    if hasattr(estimator, "get_booster"):
        booster = estimator.get_booster()
    return "c" in (getattr(booster, "feature_types", None) or ())


def _readable(estimator: Any) -> Any:
    """The estimator, or for boosted trees of several classes, which shap refuses, its trees as shap's plain form."""
    if type(estimator).__name__ != "GradientBoostingClassifier":
        return estimator
    stages = estimator.estimators_
    if stages.shape[1] == 1 and estimator.init_ != "zero":
        return estimator
    k = stages.shape[1]
    trees = []
    for stage in stages:
        for output, member in enumerate(stage):
            tree = member.tree_
            values = np.zeros((tree.node_count, k))
            values[:, output] = estimator.learning_rate * tree.value[:, 0, 0]
            left = getattr(tree, "missing_go_to_left", np.ones(tree.node_count)).astype(bool)
            trees.append(
                {
                    "children_left": tree.children_left,
                    "children_right": tree.children_right,
                    "children_default": np.where(left, tree.children_left, tree.children_right),
                    "features": tree.feature,
                    "thresholds": tree.threshold,
                    "values": values,
                    "node_sample_weight": tree.weighted_n_node_samples,
                }
            )
    offset = estimator._raw_predict_init(np.zeros((1, estimator.n_features_in_), dtype=np.float32))
    return {
        "trees": trees,
        "base_offset": np.asarray(offset, dtype=np.float64).ravel(),
        "input_dtype": np.float32,
    }
