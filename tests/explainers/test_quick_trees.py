"""scikit-learn's trees answer through the compiled loop what the library answers, and stages what the pipeline answers."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.ensemble import (
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    IsolationForest,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.tree import DecisionTreeRegressor

import explainers as ex
from explainers.errors import ModelFailure
from explainers.trees.converting import convert
from explainers.trees.forward import BLOCK, ROWS_PER_THREAD
from explainers.wrapping.scikit_learn_stages import QuickTrees, quicker

RNG = np.random.default_rng(0)
X = RNG.normal(size=(3 * ROWS_PER_THREAD + 17, 5)).round(
    1
)  # rounded: many values lie exactly on split points
X[RNG.random(X.shape) < 0.1] = np.nan
SUM = np.nansum(X, axis=1)

FITTED = {
    "binary": (HistGradientBoostingClassifier(max_iter=20), SUM > 0),
    "four classes": (HistGradientBoostingClassifier(max_iter=6), np.digitize(SUM, [-1, 0, 1])),
    "regression": (HistGradientBoostingRegressor(max_iter=20, max_leaf_nodes=60), SUM),
    "stumps": (HistGradientBoostingRegressor(max_iter=5, max_depth=1), SUM),
    "single leaves": (HistGradientBoostingRegressor(max_iter=3, min_samples_leaf=len(X)), SUM),
    "poisson": (HistGradientBoostingRegressor(max_iter=5, loss="poisson"), np.abs(SUM)),
}


@pytest.mark.parametrize("name", FITTED)
def test_sums_are_the_librarys_own(name: str) -> None:
    estimator, y = FITTED[name]
    estimator.fit(X, y)
    np.testing.assert_array_equal(convert(estimator).raw(X), estimator._raw_predict(X))


@pytest.mark.parametrize(
    "rows", [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, ROWS_PER_THREAD, 2 * ROWS_PER_THREAD + 1]
)
def test_any_number_of_rows(rows: int) -> None:
    estimator = HistGradientBoostingClassifier(max_iter=5).fit(X[:2000], SUM[:2000] > 0)
    form = convert(estimator)
    np.testing.assert_array_equal(form.raw(X[:rows]), form.raw(X)[:rows])


FULL = np.nan_to_num(X[:600])
QUICK = {
    "tree": (DecisionTreeRegressor(max_depth=5), FULL, SUM[:600]),
    "forest": (RandomForestClassifier(5, max_depth=4, random_state=0), FULL, SUM[:600] > 0),
    "forest with missing values": (RandomForestRegressor(5, random_state=0), X[:600], SUM[:600]),
    "extra trees": (ExtraTreesClassifier(5, random_state=0), FULL, np.digitize(SUM[:600], [-1, 1])),
    "boosting": (GradientBoostingClassifier(n_estimators=5), FULL, SUM[:600] > 0),
    "boosting, three classes": (GradientBoostingClassifier(n_estimators=3), FULL, np.digitize(SUM[:600], [-1, 1])),
    "boosting of numbers": (GradientBoostingRegressor(n_estimators=5), FULL, SUM[:600]),
    "histograms": (HistGradientBoostingClassifier(max_iter=9), X[:600], SUM[:600] > 0),
    "histograms, poisson": (HistGradientBoostingRegressor(max_iter=9, loss="poisson"), X[:600], np.abs(SUM[:600])),
}  # fmt: skip


@pytest.mark.parametrize("name", QUICK)
@pytest.mark.parametrize("framed", [False, True])
def test_wrapped_predictions_are_the_librarys_own(name: str, framed: bool) -> None:
    estimator, rows, y = QUICK[name]
    data = pd.DataFrame(rows, columns=list("abcde")) if framed else rows
    estimator = clone(estimator).fit(data, y)
    assert isinstance(quicker(estimator), QuickTrees)
    model = ex.Model.wrap(estimator)
    wanted = getattr(estimator, "predict_proba", estimator.predict)(data)
    np.testing.assert_allclose(model.predict(data), wanted.reshape(len(data), -1), rtol=1e-12, atol=1e-12)
    if hasattr(estimator, "decision_function"):
        score = estimator.decision_function(data)
        found = model.raw(data)
        np.testing.assert_allclose(found if score.ndim == 2 else found[:, 1], score, rtol=1e-12, atol=1e-12)
    frame = pd.DataFrame(rows, columns=list("abcde"))
    space = model.space
    assert model.staged is not None
    np.testing.assert_allclose(
        model.finish(model.staged.prepare(frame), space), model.predict(data), rtol=1e-12, atol=1e-12
    )


def test_categories_answer_quickly_too() -> None:
    frame = pd.DataFrame({"c": RNG.choice(list("abcd"), 500), "n": RNG.normal(size=500)}).astype(
        {"c": "category"}
    )
    y = frame["n"] + frame["c"].isin(["a", "d"]) > 0.5
    estimator = HistGradientBoostingClassifier(max_iter=5, categorical_features=["c"]).fit(frame, y)
    model = ex.Model.wrap(estimator)
    strange = frame.assign(c=pd.Categorical(np.where(frame["n"] > 0, "new", frame["c"].astype(object))))
    for data in (frame, strange):
        np.testing.assert_allclose(model.predict(data), estimator.predict_proba(data), atol=1e-12)
        assert model.staged is not None
        prepared = model.staged.prepare(data)
        np.testing.assert_allclose(model.finish(prepared, "probability"), model.predict(data), atol=1e-12)


def test_what_the_library_refuses_is_refused() -> None:
    boosting = ex.Model.wrap(GradientBoostingRegressor(n_estimators=2).fit(FULL, SUM[:600]))
    with pytest.raises(ModelFailure, match="contains NaN"):
        boosting.predict(X[:600])
    forest = ex.Model.wrap(RandomForestRegressor(2).fit(FULL, SUM[:600]))
    strange = FULL.copy()
    strange[3, 1] = np.inf
    with pytest.raises(ModelFailure, match="infinity or a value too large"):
        forest.predict(strange)


def test_what_is_left_to_the_library() -> None:
    assert not isinstance(quicker(IsolationForest()), QuickTrees)
    assert not isinstance(quicker(LogisticRegression()), QuickTrees)
    other = GradientBoostingRegressor(init=LinearRegression(), n_estimators=2).fit(FULL, SUM[:600])
    np.testing.assert_array_equal(ex.Model.wrap(other).predict(FULL)[:, 0], other.predict(FULL))


def mixed() -> tuple[pd.DataFrame, np.ndarray]:
    frame = pd.DataFrame(
        {"a": RNG.normal(size=400), "c": RNG.choice(["x", "y", "z"], 400), "b": RNG.normal(size=400)}
    )
    return frame, (frame["a"] + (frame["c"] == "y") > 0.3).to_numpy()


@pytest.mark.parametrize(
    "final", [HistGradientBoostingClassifier(max_iter=9), LogisticRegression()], ids=["trees", "linear"]
)
def test_mixtures_of_prepared_rows_predict_like_prepared_mixtures(final: object) -> None:
    frame, y = mixed()
    columns = ColumnTransformer(
        [("c", OneHotEncoder(sparse_output=False), ["c"]), ("n", StandardScaler(), ["b", "a"])]
    )
    pipeline = make_pipeline(columns, final).fit(frame, y)
    model = ex.Model.wrap(pipeline)
    staged = model.staged
    assert staged is not None
    assert staged.origins.tolist() == [1, 1, 1, 2, 0]
    take = RNG.random((200, 3)) < 0.5
    mixtures = frame[:200].where(take, frame[200:].reset_index(drop=True))
    first, second = staged.prepare(frame[:200]), staged.prepare(frame[200:])
    found = model.finish(np.where(take[:, staged.origins], first, second), "probability")
    np.testing.assert_allclose(found, pipeline.predict_proba(mixtures), atol=1e-12)
    np.testing.assert_allclose(
        model.finish(first, "raw")[:, 1], pipeline.decision_function(frame[:200]), atol=1e-12
    )


def test_pipelines_that_mix_columns_have_no_stages() -> None:
    frame, y = mixed()
    pipeline = make_pipeline(StandardScaler(), PCA(2), LogisticRegression()).fit(frame[["a", "b"]], y)
    assert ex.Model.wrap(pipeline).staged is None


def test_shapley_values_are_the_same_with_and_without_stages() -> None:
    import dataclasses

    frame, y = mixed()
    columns = ColumnTransformer(
        [("c", OneHotEncoder(sparse_output=False), ["c"]), ("n", StandardScaler(), ["b", "a"])]
    )
    model = ex.Model.wrap(make_pipeline(columns, HistGradientBoostingClassifier(max_iter=9)).fit(frame, y))
    data = ex.Dataset.from_frame(frame)
    plain = dataclasses.replace(model, staged=None)
    quick, slow = (ex.explain(m, data, ex.KernelShap(background=20), rows=[0, 7]) for m in (model, plain))
    np.testing.assert_allclose(quick.values, slow.values, atol=1e-12)
    np.testing.assert_allclose(quick.background_error, slow.background_error, atol=1e-12)
