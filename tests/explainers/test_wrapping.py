"""Every library's objects become models: names, outputs, raw scores, column order, and what is refused."""

from __future__ import annotations

import functools
import warnings

import catboost
import lightgbm
import numpy as np
import pandas as pd
import pytest
import torch
import xgboost
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import (
    GradientBoostingClassifier,
    IsolationForest,
    RandomForestClassifier,
    VotingClassifier,
)
from sklearn.linear_model import LinearRegression, LogisticRegression, RidgeClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from torch import nn

from explainers import Dataset, InvalidSetting, KernelShap, Model, ModelFailure, UnsupportedModel, explain
from tests.cases import numbers


@functools.cache
def table(n: int = 60) -> tuple[pd.DataFrame, np.ndarray]:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"a": rng.normal(size=n), "b b": rng.normal(size=n), "c": rng.normal(size=n)})
    return frame, np.where(frame["a"] + 0.5 * frame["b b"] > 0, "yes", "no")


BINARY = {
    "logistic": LogisticRegression(),
    "pipeline": make_pipeline(StandardScaler(), LogisticRegression()),
    "forest": RandomForestClassifier(5, random_state=0),
    "boosting": GradientBoostingClassifier(n_estimators=4),
    "xgboost": xgboost.XGBClassifier(n_estimators=4),
    "lightgbm": lightgbm.LGBMClassifier(n_estimators=4, verbose=-1, min_child_samples=5),
    "catboost": catboost.CatBoostClassifier(iterations=4, verbose=0, allow_writing_files=False),
}


@functools.cache
def fitted(name: str) -> object:
    frame, y = table()
    return BINARY[name].fit(frame, (y == "yes").astype(int) if name == "xgboost" else y)


@pytest.mark.parametrize("name", BINARY)
def test_classifiers_of_every_library(name: str) -> None:
    frame, _ = table()
    model, own = Model.wrap(fitted(name)), fitted(name)
    expected = own.predict_proba(frame)  # type: ignore[attr-defined]
    np.testing.assert_allclose(model.predict(frame), expected, atol=1e-6)
    np.testing.assert_allclose(model.predict(frame[["c", "a", "b b"]]), expected, atol=1e-6)  # another order
    assert model.classes == ((0, 1) if name == "xgboost" else ("no", "yes"))
    assert (model.task, model.space, model.inputs) == ("classification", "probability", 3)
    assert model.features == (("a", "b_b", "c") if name == "lightgbm" else ("a", "b b", "c"))
    raw = model.raw(frame)
    if name == "forest":  # its raw score is its probability
        np.testing.assert_allclose(raw, expected)
    else:
        np.testing.assert_allclose(raw[:, 0], -raw[:, 1], atol=1e-12)
        np.testing.assert_allclose(1 / (1 + np.exp(-raw[:, 1])), expected[:, 1], atol=1e-6)
    assert ("trees" in model.abilities) == (name not in ("logistic", "pipeline"))


@pytest.mark.parametrize("name", [name for name in BINARY if name != "pipeline"])
def test_columns_that_are_missing_are_named(name: str) -> None:
    frame, _ = table()
    model = Model.wrap(fitted(name))
    assert "'a'" in (model.mismatch(Dataset.from_frame(frame[["b b", "c"]])) or "")
    with pytest.raises((UnsupportedModel, ModelFailure), match="'a'"):
        model.predict(frame[["b b", "c"]])


@pytest.mark.parametrize("name", ["forest", "xgboost", "lightgbm", "catboost"])
def test_models_without_names_count_their_columns(name: str) -> None:
    frame, y = table()
    own = type(BINARY[name])(**BINARY[name].get_params())
    own.fit(frame.to_numpy(), (y == "yes").astype(int))
    model = Model.wrap(own)
    assert (model.features, model.inputs) == (None, 3)
    np.testing.assert_allclose(model.predict(frame), own.predict_proba(frame.to_numpy()), atol=1e-6)
    with pytest.raises(UnsupportedModel, match="trained on 3 columns; these data have 2"):
        model.predict(frame[["a", "c"]])
    assert "takes 3 columns; these data have 2" in (
        model.mismatch(Dataset.from_frame(frame[["a", "c"]])) or ""
    )


def test_three_classes_and_regressions() -> None:
    frame, _ = table()
    y = np.digitize(frame["a"], [-0.5, 0.5])
    for own in (
        xgboost.XGBClassifier(n_estimators=2),
        lightgbm.LGBMClassifier(n_estimators=2, verbose=-1),
        LogisticRegression(),
    ):
        model = Model.wrap(own.fit(frame, y))
        assert model.classes == (0, 1, 2)
        np.testing.assert_allclose(model.predict(frame), own.predict_proba(frame), atol=1e-6)
        assert model.raw(frame).shape == (len(frame), 3)
    for own in (
        xgboost.XGBRegressor(n_estimators=2),
        lightgbm.LGBMRegressor(n_estimators=2, verbose=-1),
        LinearRegression(),
    ):
        model = Model.wrap(own.fit(frame, frame["c"]))
        assert (model.task, model.classes, model.space) == ("regression", (), "target")
        np.testing.assert_allclose(model.predict(frame)[:, 0], own.predict(frame), atol=1e-6)


def test_classes_given_replace_the_librarys_own() -> None:
    model = Model.wrap(fitted("xgboost"), ["well", "ill"])
    assert model.classes == ("well", "ill")
    assert model.output_of(1, 2) == model.output_of("ill", 2) == 1
    assert model.truth(np.array([0, 1])).tolist() == [0, 1]
    with pytest.raises(UnsupportedModel, match="has 2 classes; 3 names were given"):
        Model.wrap(fitted("xgboost"), ["a", "b", "c"])
    assert Model.wrap(model, ["A", "B"]).classes == ("A", "B")
    assert Model.wrap(model) is model


def test_several_targets_at_once_are_refused() -> None:
    frame, y = table()
    with pytest.raises(UnsupportedModel, match=r"predicts 2 targets at once. Open one model for each target"):
        Model.wrap(RandomForestClassifier(2).fit(frame, np.c_[y, y]))
    with pytest.raises(UnsupportedModel, match="has 2 classes; 1 names were given"):
        Model.wrap(fitted("logistic"), ["only"])


@pytest.mark.parametrize(
    ("objective", "sentence"), [("binary:hinge", "binary:logistic"), ("multi:softmax", "multi:softprob")]
)
def test_xgboost_that_predicts_labels_only_is_refused(objective: str, sentence: str) -> None:
    frame, y = table()
    settings = {"objective": objective, **({"num_class": 2} if "multi" in objective else {})}
    booster = xgboost.train(settings, xgboost.DMatrix(frame, (y == "yes").astype(int)), 2)
    with pytest.raises(
        UnsupportedModel, match=rf"predicts labels only \({objective}\). Train it with {sentence}"
    ):
        Model.wrap(booster)


def test_xgboosts_raw_objective_still_gives_probabilities() -> None:
    frame, y = table()
    booster = xgboost.train(
        {"objective": "binary:logitraw"}, xgboost.DMatrix(frame, (y == "yes").astype(int)), 2
    )
    model = Model.wrap(booster)
    margin = booster.predict(xgboost.DMatrix(frame))
    np.testing.assert_allclose(model.raw(frame)[:, 1], margin, atol=1e-6)
    np.testing.assert_allclose(model.predict(frame)[:, 1], 1 / (1 + np.exp(-margin)), atol=1e-6)


def test_early_stopping_is_obeyed() -> None:
    frame, y = table()
    own = xgboost.XGBClassifier(n_estimators=60, early_stopping_rounds=2, learning_rate=1.0)
    own.fit(frame[:40], (y == "yes")[:40], eval_set=[(frame[40:], (y == "yes")[40:])], verbose=False)
    assert own.best_iteration + 1 < len(own.get_booster().get_dump())
    np.testing.assert_allclose(Model.wrap(own).predict(frame), own.predict_proba(frame), atol=1e-6)


@pytest.mark.parametrize(
    "own",
    [
        LogisticRegression(), make_pipeline(StandardScaler(), LogisticRegression()), RandomForestClassifier(),
        xgboost.XGBClassifier(), lightgbm.LGBMClassifier(), catboost.CatBoostClassifier(),
    ],
    ids=lambda own: type(own).__name__,
)  # fmt: skip
def test_models_that_are_not_fitted_are_refused(own: object) -> None:
    with pytest.raises(UnsupportedModel, match=r"is not fitted. Fit it before opening"):
        Model.wrap(own)


def test_classifiers_without_probabilities() -> None:
    frame, y = table()
    ridge = Model.wrap(RidgeClassifier().fit(frame, y))
    assert (ridge.space, ridge.notes) == ("raw", ("This classifier gives scores, not probabilities.",))
    np.testing.assert_allclose(ridge.predict(frame)[:, 0], -ridge.predict(frame)[:, 1])
    voting = VotingClassifier([("a", LogisticRegression())]).fit(frame, y)
    with pytest.raises(UnsupportedModel, match="gives neither probabilities nor scores, only labels"):
        Model.wrap(voting)


def test_pipelines_get_the_columns_people_uploaded() -> None:
    frame, y = table()
    frame = frame.assign(ward=np.where(np.arange(len(frame)) % 2, "east", "west"))
    encode = ColumnTransformer([("w", OneHotEncoder(), ["ward"])], remainder="passthrough")
    own = make_pipeline(encode, LogisticRegression()).fit(frame, y)
    model = Model.wrap(own)
    assert model.features == ("a", "b b", "c", "ward")
    assert model.family == "scikit-learn LogisticRegression in a pipeline"
    data = Dataset.from_frame(frame[["ward", "c", "b b", "a"]])
    np.testing.assert_allclose(model.predict(data.X), own.predict_proba(frame))
    changed = data.matrix[:1].copy()
    changed[0, 0] = 1 - changed[0, 0]
    assert not np.allclose(model.predict(data.with_matrix(changed).X), model.predict(data.take([0]).X))


def test_modules_give_logits_or_probabilities() -> None:
    torch.manual_seed(0)
    frame, _ = table()
    linear = nn.Linear(3, 2)
    logits = linear(torch.tensor(frame.to_numpy(), dtype=torch.float32)).detach().double().numpy()
    expected = torch.softmax(torch.from_numpy(logits), 1).numpy()
    model = Model.wrap(linear, ["no", "yes"])
    np.testing.assert_allclose(model.predict(frame), expected, atol=1e-6)
    np.testing.assert_allclose(model.raw(frame), logits, atol=1e-6)
    ending = Model.wrap(nn.Sequential(linear, nn.Softmax(1)), ["no", "yes"])
    np.testing.assert_allclose(ending.predict(frame), expected, atol=1e-6)
    assert "raw" not in ending.abilities
    np.testing.assert_allclose(Model.wrap(linear).predict(frame), logits, atol=1e-6)
    one = Model.wrap(nn.Sequential(nn.Linear(3, 1), nn.Sigmoid()), ["no", "yes"])
    np.testing.assert_allclose(one.predict(frame).sum(axis=1), 1.0)
    stated = Model.wrap(
        nn.Sequential(nn.Linear(3, 1), nn.Sigmoid(), nn.Identity()), ["no", "yes"], output="probability"
    )
    assert stated.predict(frame).max() <= 1
    assert "gradients" in model.abilities


def test_asking_a_module_leaves_it_as_it_was() -> None:
    module = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 1)).train()
    module[1].eval()
    module[0].weight.requires_grad_(False)
    flags = [child.training for child in module.modules()]
    wanted = [p.requires_grad for p in module.parameters()]
    before = {name: value.clone() for name, value in module.state_dict().items()}
    frame, _ = table()
    first = Model.wrap(module).predict(frame)
    np.testing.assert_array_equal(first, Model.wrap(module).predict(frame))  # dropout is off
    assert [child.training for child in module.modules()] == flags
    assert [p.requires_grad for p in module.parameters()] == wanted
    for name, value in module.state_dict().items():
        torch.testing.assert_close(value, before[name])


def test_functions_get_values_and_say_what_they_return() -> None:
    frame, _ = table()
    seen = []

    def ask(X: np.ndarray) -> np.ndarray:
        seen.append(type(X))
        return X[:, 0]

    model = Model.wrap(ask)
    np.testing.assert_allclose(model.predict(frame)[:, 0], frame["a"])
    assert seen == [np.ndarray]
    assert model.family == "function ask"
    assert Model.wrap(ask, ["no", "yes"], output="raw").space == "raw"


def test_anything_with_their_methods_is_taken_like_an_estimator() -> None:
    class Own:
        classes_ = np.array(["no", "yes"])

        def predict(self, X: object) -> np.ndarray:
            return np.array(["no"] * len(X))  # type: ignore[arg-type]

        def predict_proba(self, X: object) -> np.ndarray:
            return np.tile([0.25, 0.75], (len(X), 1))  # type: ignore[arg-type]

    model = Model.wrap(Own())
    assert model.predict(table()[0]).shape == (60, 2)
    assert model.classes == ("no", "yes")


@pytest.mark.parametrize(
    "thing", [3, "model.pkl", None, {"a": 1}, np.zeros(3)], ids=lambda thing: type(thing).__name__
)
def test_other_things_are_refused(thing: object) -> None:
    with pytest.raises(UnsupportedModel, match=r"Cannot wrap .*Give a scikit-learn, XGBoost"):
        Model.wrap(thing)


def test_no_library_warns_and_no_data_are_changed() -> None:
    frame, _ = table()
    before = frame.copy()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name in BINARY:
            Model.wrap(fitted(name)).predict(frame)
    pd.testing.assert_frame_equal(frame, before)
    with pytest.raises(InvalidSetting):
        Model.wrap(LinearRegression().fit(frame, frame["a"])).raw(frame)


def test_an_outlier_detector_predicts_how_usual_a_case_is():
    frame = numbers(200, 3).drop(columns="y")
    frame.iloc[0] = 9.0
    forest = IsolationForest(n_estimators=20, random_state=0).fit(frame)
    model, data = Model.wrap(forest), Dataset.from_frame(frame)
    np.testing.assert_allclose(model.predict(data.X)[:, 0], forest.score_samples(frame))
    assert model.predict(data.X)[:, 0].argmin() == 0
    assert "the lower, the more unusual" in model.notes[0]
    found = explain(model, data, KernelShap(background=20), rows=[0])
    assert found.values.sum() < -0.1
    assert found.values.sum() + found.base_value[0] == pytest.approx(forest.score_samples(frame)[0])


def test_only_a_score_that_is_no_probability_is_another_scale():
    frame = numbers(60, 3)
    truth = (frame.pop("y") > 0).astype(int)
    forest = Model.wrap(RandomForestClassifier(5, random_state=0).fit(frame, truth))
    boosted = Model.wrap(GradientBoostingClassifier(n_estimators=5).fit(frame, truth))
    assert "raw" in forest.abilities
    assert "two scales" not in forest.abilities
    assert {"raw", "two scales"} <= boosted.abilities
