"""Tree SHAP: against the definition on every library's raw scores, additivity, and shap's own path-dependent values."""

from __future__ import annotations

import dataclasses
import functools
import gc
import warnings
import weakref

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer, make_column_transformer
from sklearn.decomposition import PCA
from sklearn.ensemble import (
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
)
from sklearn.feature_selection import VarianceThreshold
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    KBinsDiscretizer,
    OneHotEncoder,
    OrdinalEncoder,
    StandardScaler,
    TargetEncoder,
)
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

import explainers as ex
from explainers import device
from explainers.methods import tree_shap
from explainers.trees import reading
from explainers.trees.columns import origins
from explainers.trees.converting import convert
from explainers.trees.shapley.probability import probability_values
from tests.reference import background_game, shapley_values

N = 300


@functools.cache
def frame():
    """Numbers with ties and missing values, one with a blank in its name."""
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.normal(size=(N, 4)), columns=["a b", "c", "d", "e"])
    X["d"] = rng.integers(0, 4, N).astype(float)
    return X


@functools.cache
def truth():
    X = frame()
    return (X["a b"] * X["c"] + X["d"] * (X["c"] > 0) - X["e"]).to_numpy()


def outcome(kind):
    return {"regression": truth(), "binary": truth() > 0, "classes": np.digitize(truth(), [-0.5, 1.5])}[kind]


def library(name, **more):
    module = pytest.importorskip(name.split(".")[0])
    return getattr(module, name.split(".")[1])(**more)


FEW = {"n_estimators": 8}
BUILDERS = {
    "decision tree classes": lambda: DecisionTreeClassifier(max_depth=4, random_state=0),
    "decision tree regression": lambda: DecisionTreeRegressor(max_depth=4, random_state=0),
    "random forest binary": lambda: RandomForestClassifier(**FEW, random_state=0),
    "random forest classes": lambda: RandomForestClassifier(**FEW, random_state=0),
    "extra trees regression": lambda: ExtraTreesRegressor(**FEW, random_state=0),
    "gradient boosting regression": lambda: GradientBoostingRegressor(**FEW, random_state=0),
    "gradient boosting binary": lambda: GradientBoostingClassifier(**FEW, random_state=0),
    "gradient boosting classes": lambda: GradientBoostingClassifier(**FEW, random_state=0),
    "histogram boosting regression": lambda: HistGradientBoostingRegressor(max_iter=8),
    "histogram boosting binary": lambda: HistGradientBoostingClassifier(max_iter=8),
    "histogram boosting classes": lambda: HistGradientBoostingClassifier(max_iter=8),
    "xgboost regression": lambda: library("xgboost.XGBRegressor", **FEW, n_jobs=1),
    "xgboost binary": lambda: library("xgboost.XGBClassifier", **FEW, n_jobs=1),
    "xgboost classes": lambda: library("xgboost.XGBClassifier", **FEW, n_jobs=1),
    "lightgbm regression": lambda: library("lightgbm.LGBMRegressor", **FEW, n_jobs=1, verbose=-1),
    "lightgbm binary": lambda: library("lightgbm.LGBMClassifier", **FEW, n_jobs=1, verbose=-1),
    "lightgbm classes": lambda: library("lightgbm.LGBMClassifier", **FEW, n_jobs=1, verbose=-1),
}
#: Those whose library walks missing values by itself.
HOLES = ("decision tree", "random forest", "histogram boosting", "xgboost", "lightgbm")


@functools.cache
def fitted(name):
    X = frame()
    if name.startswith(HOLES):
        X = X.mask(np.random.default_rng(1).random(X.shape) < 0.1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # LightGBM tells of the blank in a name
        estimator = BUILDERS[name]().fit(X, outcome(name.split()[-1]))
    return ex.Model.wrap(estimator), ex.Dataset.from_frame(X)


def raw(model):
    return model.raw if model.task == "classification" else model.predict


@pytest.mark.parametrize("name", BUILDERS)
def test_it_equals_the_definition_on_the_raw_score(name):
    model, data = fitted(name)
    found = ex.explain(model, data, ex.TreeShap(background=12), rows=[0, 7], target="all")
    chosen = data.sample(12, 0)
    for i, row in enumerate([0, 7]):
        game = background_game(raw(model), data, data.matrix[row], data.matrix[chosen])
        np.testing.assert_allclose(found.values[i], shapley_values(game, 4), atol=5e-6)
    np.testing.assert_allclose(
        found.output, raw(model)(data.X)[[0, 7]], atol=2e-6
    )  # XGBoost sums in single precision


@pytest.mark.parametrize("name", BUILDERS)
def test_every_row_adds_up(name):
    model, data = fitted(name)  # rows of the data lie on thresholds
    for explainer in (ex.TreeShap(background=20), ex.TreeShap(background=0)):
        found = ex.explain(model, data, explainer, target="all")
        np.testing.assert_allclose(found.values.sum(axis=1) + found.base_value, found.output, atol=1e-5)
        assert found.diagnostics["completeness_gap"] < 1e-5
        assert found.standard_error is None
        assert (found.background_error is None) == (explainer.background == 0)
        assert (found.reference is None) == (explainer.background == 0)


@pytest.mark.parametrize(
    "name", [name for name in BUILDERS if not name.startswith("gradient boosting classes")]
)
def test_path_dependent_values_are_those_of_shap(name):
    model, data = fitted(name)
    found = ex.explain(model, data, ex.TreeShap(background=0), rows=range(5), target="all")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import shap

        expected = shap.TreeExplainer(model.estimator).shap_values(data.X.iloc[:5])
    expected = expected[..., None] if expected.ndim == 2 else expected
    if expected.shape[2] == 1 and found.values.shape[2] == 2:
        expected = np.concatenate([-expected, expected], axis=2)
    np.testing.assert_allclose(found.values, expected, atol=1e-6)


def test_the_background_error_is_the_spread_over_reference_cases():
    model, data = fitted("histogram boosting binary")
    found = ex.explain(model, data, ex.TreeShap(background=9), rows=[2, 4])
    each = []
    for b in data.sample(9, 0):
        one = ex.explain(model, data, ex.TreeShap(), rows=[2, 4], background=data.take([int(b)]))
        assert one.background_error is None
        each.append(one.values)
    np.testing.assert_allclose(found.values, np.mean(each, axis=0), atol=1e-7)
    np.testing.assert_allclose(found.background_error, np.std(each, axis=0, ddof=1) / 3, atol=1e-7)


def test_thresholds_finer_than_single_precision_are_kept():
    X = pd.DataFrame({"x": 1000 + np.arange(40) * 1e-6, "z": np.arange(40) % 3})
    model = ex.Model.wrap(
        HistGradientBoostingRegressor(min_samples_leaf=1, max_iter=20).fit(X, np.arange(40) % 7)
    )
    data = ex.Dataset.from_frame(X)
    found = ex.explain(model, data, ex.TreeShap(background=5))
    np.testing.assert_allclose(found.values.sum(axis=1) + found.base_value, found.output, atol=1e-5)


def test_spaces_are_named_for_what_they_are():
    for name, space in {
        "random forest binary": "probability",
        "xgboost binary": "raw",
        "xgboost regression": "target",
    }.items():
        assert ex.explain(*fitted(name), ex.TreeShap(background=3), rows=[0]).space == space
    forest = ex.explain(*fitted("random forest binary"), ex.TreeShap(background=3, space="raw"), rows=[0])
    assert forest.space == "raw"
    sampled = ex.explain(*fitted("xgboost binary"), ex.TreeShap(background=3, space="probability"), rows=[0])
    assert sampled.space == "probability"
    with pytest.raises(ex.InvalidSetting, match="has no probability"):
        ex.explain(*fitted("xgboost regression"), ex.TreeShap(space="probability"), rows=[0])
    with pytest.raises(ex.InvalidSetting, match="background=0"):
        ex.explain(*fitted("xgboost binary"), ex.TreeShap(background=0, space="probability"), rows=[0])


@pytest.mark.parametrize("name", ["xgboost binary", "lightgbm classes", "histogram boosting classes"])
def test_probabilities_are_those_of_the_definition_within_their_errors(name):
    model, data = fitted(name)
    explainer = ex.TreeShap(background=12, space="probability", tolerance=0.001)
    found = ex.explain(model, data, explainer, rows=[0, 7], target="all")
    chosen = data.sample(12, 0)
    off = []
    for i, row in enumerate([0, 7]):
        game = background_game(model.predict, data, data.matrix[row], data.matrix[chosen])
        off.append((found.values[i] - shapley_values(game, 4)) / np.maximum(found.standard_error[i], 1e-6))
    assert np.abs(off).max() < 5
    assert np.sqrt(np.mean(np.square(off))) < 1.6  # errors are neither too small
    assert np.sqrt(np.mean(np.square(off))) > 0.4  # nor too large
    assert found.standard_error.max() <= 0.001
    np.testing.assert_allclose(found.values.sum(axis=1) + found.base_value, found.output, atol=1e-9)
    np.testing.assert_allclose(found.output, model.predict(data.X)[[0, 7]], atol=2e-6)
    assert (found.background_error > 0).any()


def test_the_exact_score_saves_evaluations():
    """Beside plain sampling of a reference case and an order, at equal error."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(1500, 8))
    y = X[:, 0] + X[:, 1] * X[:, 2] + X[:, 3:].sum(axis=1) / 2 + rng.logistic(size=1500) * 2 > 0
    trees = convert(HistGradientBoostingClassifier(max_iter=40, learning_rate=0.05).fit(X, y))
    cases, background = X[:3], X[100:150]
    ours = probability_values(trees, np.arange(8), 8, cases, background, tolerance=0.001, seed=0)
    plain = []
    for case in cases:
        rows, joined = [], []
        for _ in range(600):
            order, other = rng.permutation(8), background[rng.integers(50)].copy()
            path = [other.copy()]
            for j in order:
                other[j] = case[j]
                path.append(other.copy())
            rows += path
            joined.append(order)
        steps = np.diff(trees.predict(np.array(rows))[:, 1].reshape(600, 9), axis=1)
        gains = np.empty_like(steps)
        np.put_along_axis(gains, np.array(joined), steps, axis=1)
        plain.append(gains.var(axis=0) * 8)  # variance of one evaluation
    own = ours.standard_error[..., 1] ** 2 * (ours.evaluations - len(cases) - len(background)) / len(cases)
    assert np.mean(plain) / own.mean() > 10


def test_the_target_is_the_positive_class_or_the_one_asked_for():
    model, data = fitted("lightgbm classes")
    every = ex.explain(model, data, ex.TreeShap(background=4), rows=range(5), target="all")
    predicted = ex.explain(model, data, ex.TreeShap(background=4), rows=range(5))
    best = every.output.argmax(axis=1)
    np.testing.assert_array_equal(predicted.values, every.values[np.arange(5), :, best])
    assert predicted.targets == tuple(int(b) for b in best)
    model, data = fitted("lightgbm binary")
    yes = ex.explain(model, data, ex.TreeShap(background=4), rows=[1])
    no = ex.explain(model, data, ex.TreeShap(background=4), rows=[1], target=False)
    np.testing.assert_allclose(yes.values, -no.values)
    assert yes.targets == (True,)


def test_portions_and_company_change_nothing(monkeypatch):
    model, data = fitted("random forest classes")
    whole = ex.explain(model, data, ex.TreeShap(background=11), rows=range(9))
    alone = ex.explain(model, data, ex.TreeShap(background=11), rows=[8])
    monkeypatch.setattr(device, "CPU_CHUNK_BYTES", 2 * (16 * 4 + 64))  # two cases at a time
    ticks = []
    small = ex.explain(
        model, data, ex.TreeShap(background=11), rows=range(9), progress=lambda *at: ticks.append(at[:2])
    )
    np.testing.assert_allclose(small.values, whole.values, atol=1e-12)
    np.testing.assert_allclose(small.background_error, whole.background_error, atol=1e-12)
    np.testing.assert_allclose(alone.values[0], whole.values[8], atol=1e-12)
    assert ticks[-1] == (9, 9)
    assert len(ticks) == 5
    assert ticks == sorted(ticks)


def test_early_stopping_is_respected():
    xgboost = pytest.importorskip("xgboost")
    X, y = frame(), truth() + np.random.default_rng(2).normal(size=N)
    estimator = xgboost.XGBRegressor(n_estimators=60, early_stopping_rounds=2, learning_rate=0.9, n_jobs=1)
    estimator.fit(X[:200], y[:200], eval_set=[(X[200:], y[200:])], verbose=False)
    assert estimator.best_iteration < 50
    found = ex.explain(
        ex.Model.wrap(estimator), ex.Dataset.from_frame(X), ex.TreeShap(background=5), rows=range(9)
    )
    assert found.diagnostics["completeness_gap"] < 1e-4


def test_boosters_and_columns_in_another_order():
    xgboost = pytest.importorskip("xgboost")
    X = frame()
    booster = xgboost.train({"nthread": 1}, xgboost.DMatrix(X, truth()), num_boost_round=5)
    mixed = X[["e", "a b", "d", "c"]]
    straight = ex.explain(
        ex.Model.wrap(booster), ex.Dataset.from_frame(X), ex.TreeShap(background=5), rows=[3]
    )
    turned = ex.explain(
        ex.Model.wrap(booster), ex.Dataset.from_frame(mixed), ex.TreeShap(background=5), rows=[3]
    )
    assert turned.names == ("e", "a b", "d", "c")
    np.testing.assert_allclose(turned.values[0], straight.values[0][[3, 0, 2, 1]], atol=1e-7)


# --- pipelines ---


def mixed_frame():
    rng = np.random.default_rng(4)
    X = pd.DataFrame(
        {
            "age": rng.integers(20, 90, N).astype(float),
            "ward": rng.choice(["east", "north", "west"], N),
            "dose": np.where(rng.random(N) < 0.1, np.nan, rng.normal(size=N)),
        }
    )
    y = (X["age"] > 50) ^ (X["ward"] == "west") ^ (X["dose"].fillna(1) > 0)
    return X, y.to_numpy()


def test_columns_that_an_encoder_made_are_one_player_together():
    X, y = mixed_frame()
    columns = make_column_transformer(
        (OneHotEncoder(), ["ward"]),
        (make_pipeline(SimpleImputer(), StandardScaler()), ["dose"]),
        remainder="passthrough",
    )
    estimator = make_pipeline(columns, GradientBoostingClassifier(n_estimators=10, random_state=0)).fit(X, y)
    model, data = ex.Model.wrap(estimator), ex.Dataset.from_frame(X)
    found = ex.explain(model, data, ex.TreeShap(background=20), rows=range(30))
    np.testing.assert_allclose(
        found.values.sum(axis=1) + found.base_value, model.raw(data.X)[:30, 1], atol=1e-6
    )
    assert found.names == ("age", "ward", "dose")
    for i in range(3):
        game = background_game(model.raw, data, data.matrix[i], data.matrix[data.sample(20, 0)])
        np.testing.assert_allclose(found.values[i], shapley_values(game, 3)[:, 1], atol=1e-6)


@pytest.mark.parametrize("name", ["xgboost.XGBClassifier", "lightgbm.LGBMClassifier"])
def test_a_pipeline_of_one_column_each_equals_the_definition(name):
    X, y = mixed_frame()
    columns = make_column_transformer(
        (OrdinalEncoder(), ["ward"]),
        ("drop", ["age"]),
        (StandardScaler(), ["dose", "age"]),
        verbose_feature_names_out=False,
    )
    more = {"verbose": -1} if "LGBM" in name else {}
    estimator = make_pipeline(columns, library(name, n_estimators=6, n_jobs=1, **more)).fit(X, y)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # LightGBM inside a pipeline warns that its columns lost their names
        model, data = ex.Model.wrap(estimator), ex.Dataset.from_frame(X)
        found = ex.explain(model, data, ex.TreeShap(background=10), rows=[0, 1])
        inner = ex.Model.wrap(estimator[-1])
        for i in range(2):
            game = background_game(
                lambda frame: inner.raw(estimator[:-1].transform(frame))[:, 1:],
                data,
                data.matrix[i],
                data.matrix[data.sample(10, 0)],
            )
            np.testing.assert_allclose(found.values[i], shapley_values(game, 3)[:, 0], atol=1e-6)
    assert found.diagnostics["exact"]


@pytest.mark.filterwarnings("ignore:Skipping features without any observed values")
def test_columns_are_traced_through_every_known_step():
    X = pd.DataFrame(
        {
            "a": [1.0, 2.0, np.nan, 4.0] * 5,
            "k": list("xyzx") * 5,
            "b": [1.0, 1.0, 1.0, 1.0] * 5,
            "m": [np.nan] * 20,
            "r": list("pppq") * 5,
        }
    )
    y = np.arange(20) % 3
    step = ColumnTransformer(
        [
            ("one", OneHotEncoder(drop="first"), ["k"]),
            ("rare", OneHotEncoder(min_frequency=6, handle_unknown="infrequent_if_exist"), [4]),
            ("fill", SimpleImputer(add_indicator=True), ["a", "m"]),
            ("none", "drop", "r"),
            ("target", TargetEncoder(cv=2), slice(1, 2)),
        ],
        remainder=make_pipeline(FunctionTransformer(), "passthrough"),
    ).fit(X, y)
    found = origins(step, [10, 11, 12, 13, 14])
    assert len(found) == step.transform(X).shape[1]
    #               k minus its first, r with its rare one, a, its indicator and m's, k for three classes, the rest
    assert found == [11, 11, 14, 14, 10, 10, 13, 11, 11, 11, 12]
    numbers_only = X[["a", "b"]].fillna(0)
    both = FeatureUnion(
        [("keep", StandardScaler()), ("bins", KBinsDiscretizer(2, quantile_method="averaged_inverted_cdf"))]
    )
    selected = make_pipeline(VarianceThreshold(), both).fit(numbers_only, y)
    assert origins(selected, [5, 6]) == [5, 5, 5]
    with pytest.raises(ex.UnsupportedModel, match="step PCA is not known to work column by column"):
        origins(make_pipeline(StandardScaler(), PCA()).fit(numbers_only), [0, 1])


# --- refusals ---


def refused_models():
    X, y = frame(), truth() > 0
    yield "mixes", make_pipeline(PCA(2), DecisionTreeClassifier()).fit(X, y), "step PCA is not known"
    yield "curve", HistGradientBoostingRegressor(loss="poisson", max_iter=3).fit(X, y), "curved function"
    yield (
        "start",
        GradientBoostingRegressor(init=LinearRegression(), n_estimators=3).fit(X, y),
        "starts from the prediction of another model",
    )
    yield "line", LinearRegression().fit(X, y), "Needs a tree model"


@pytest.mark.parametrize(
    ("estimator", "message"), [(e, m) for _, e, m in refused_models()], ids=[n for n, *_ in refused_models()]
)
def test_what_it_refuses(estimator, message):
    model, data = ex.Model.wrap(estimator), ex.Dataset.from_frame(frame())
    assert message in ex.why_not(ex.TreeShap, model, data)
    with pytest.raises(ex.NotApplicable, match=message):
        ex.explain(model, data, ex.TreeShap(), rows=[0])


def categories(name):
    """A model with a column of categories that the library splits by itself."""
    X = frame().rename(columns={"a b": "a"})
    X["d"] = X["d"].map({0: "east", 1: "north", 2: "south", 3: "west"}).astype("category")
    more = {
        "XGBC": {"enable_categorical": True, "n_estimators": 5, "n_jobs": 1, "max_cat_to_onehot": 1},
        "LGBM": {"verbose": -1, "n_estimators": 5, "n_jobs": 1, "min_data_per_group": 1, "max_cat_to_onehot": 1,
            "cat_smooth": 0, "cat_l2": 0, "min_data_in_leaf": 5},
    }.get(name.split(".")[-1][:4], {"categorical_features": "from_dtype", "max_iter": 5})  # fmt: skip
    estimator = (
        HistGradientBoostingClassifier(**more) if name.startswith("sklearn") else library(name, **more)
    )
    return ex.Model.wrap(estimator.fit(X, truth() > 0)), ex.Dataset.from_frame(X)


@pytest.mark.parametrize(
    "name",
    ["xgboost.XGBClassifier", "lightgbm.LGBMClassifier", "sklearn.HistGradientBoostingClassifier"],
)
def test_sets_of_categories_are_explained_exactly(name):
    model, data = categories(name)
    assert (reading.read(model).trees.chosen >= 0).any()
    found = ex.explain(model, data, ex.TreeShap(background=10), rows=[0, 1])
    for i in range(2):
        game = background_game(model.raw, data, data.matrix[i], data.matrix[data.sample(10, 0)])
        np.testing.assert_allclose(found.values[i], shapley_values(game, 4)[:, 1], atol=5e-6)
    every = ex.explain(model, data, ex.TreeShap(background=0))
    np.testing.assert_allclose(
        every.values.sum(axis=1) + every.base_value, model.raw(data.X)[:, 1], atol=1e-5
    )


def test_trees_in_an_onnx_file_are_explained_against_a_background(tmp_path):
    to_onnx = pytest.importorskip("skl2onnx").to_onnx
    X = frame().to_numpy(dtype=np.float32)
    estimator = GradientBoostingClassifier(n_estimators=5, random_state=0).fit(X, truth() > 0)
    path = tmp_path / "trees.onnx"
    path.write_bytes(to_onnx(estimator, X[:1], options={"zipmap": False}).SerializeToString())
    model, data = ex.load_model(path), ex.Dataset.from_frame(pd.DataFrame(X))
    found = ex.explain(model, data, ex.TreeShap(background=10), rows=[0, 1])
    own = ex.explain(ex.Model.wrap(estimator), data, ex.TreeShap(background=10), rows=[0, 1])
    np.testing.assert_allclose(found.values, own.values, atol=1e-5)
    with pytest.raises(ex.UnsupportedModel, match="does not say how much training data"):
        ex.explain(model, data, ex.TreeShap(background=0), rows=[0])


def test_wrong_numbers_are_not_shown(monkeypatch):
    model, data = fitted("random forest binary")
    true = tree_shap.against_background

    def wrong(*args, **more):
        found = true(*args, **more)
        return dataclasses.replace(found, values=found.values * 1.1)

    monkeypatch.setattr(tree_shap, "against_background", wrong)
    with pytest.raises(ex.ModelFailure, match="do not add up to its own score"):
        ex.explain(model, data, ex.TreeShap(background=5), rows=range(9))


def test_trees_that_are_not_the_models_are_noticed(monkeypatch):
    model, data = fitted("random forest binary")
    found = reading.TreeReading(model)
    other = reading.read(fitted("extra trees regression")[0]).trees
    found.__dict__["trees"] = dataclasses.replace(other, link="probability")
    monkeypatch.setitem(reading._READINGS, model, found)
    with pytest.raises(ex.ModelFailure, match="do not give its own predictions"):
        ex.explain(model, data, ex.TreeShap(background=5), rows=[0])


def test_the_kernel_is_named_and_double_precision_is_an_option():
    model, data = fitted("histogram boosting binary")
    one = ex.explain(model, data, ex.TreeShap(background=5), rows=[0])
    assert one.diagnostics["kernel"] == "pairs"
    rows = np.tile(np.arange(len(data)), 40)
    single, double = (
        ex.explain(model, data, ex.TreeShap(background=0, precision=kind), rows=rows) for kind in ("single", "double")
    )  # fmt: skip
    assert single.diagnostics["kernel"] == double.diagnostics["kernel"] == "tables"
    assert double.diagnostics["completeness_gap"] < 1e-12 < single.diagnostics["completeness_gap"] < 1e-5


def test_the_reading_is_kept_for_a_model_and_dies_with_it():
    X = frame()
    model = ex.Model.wrap(DecisionTreeRegressor(max_depth=2).fit(X, truth()))
    data = ex.Dataset.from_frame(X)
    ex.explain(model, data, ex.TreeShap(background=3), rows=[0])
    kept = reading.read(model)
    assert kept.trees is model.trees
    ex.explain(model, data, ex.TreeShap(background=4), rows=[0])
    assert reading.read(model) is kept
    gone = weakref.ref(model)
    del model, kept
    gc.collect()
    assert gone() is None


def test_the_progress_stops_it():
    def stop(done, total, partial=None):
        raise ex.Cancelled

    with pytest.raises(ex.Cancelled):
        ex.explain(*fitted("histogram boosting classes"), ex.TreeShap(background=5), rows=[0], progress=stop)
