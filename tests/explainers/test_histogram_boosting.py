"""The compiled loop gives the library's own sums to the last bit, and stages give the pipeline's own predictions."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
)
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import explainers as ex
from explainers.trees.histogram_boosting import BLOCK, ROWS_PER_THREAD, HistogramBoosting

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
    form = HistogramBoosting.of(estimator)
    assert form is not None
    np.testing.assert_array_equal(form.raw(X), estimator._raw_predict(X))


@pytest.mark.parametrize(
    "rows", [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, ROWS_PER_THREAD, 2 * ROWS_PER_THREAD + 1]
)
def test_any_number_of_rows(rows: int) -> None:
    estimator = HistGradientBoostingClassifier(max_iter=5).fit(X[:2000], SUM[:2000] > 0)
    form = HistogramBoosting.of(estimator)
    assert form is not None
    np.testing.assert_array_equal(form.raw(X[:rows]), form.raw(X)[:rows])


def test_what_is_left_to_the_library() -> None:
    categories = HistGradientBoostingClassifier(max_iter=5, categorical_features=[0], min_samples_leaf=1)
    codes = np.column_stack([RNG.integers(0, 12, 500), RNG.normal(size=500)])
    categories.fit(codes, np.isin(codes[:, 0], [1, 4, 7, 9]))
    assert HistogramBoosting.of(categories) is None
    assert HistogramBoosting.of(RandomForestClassifier()) is None
    model = ex.Model.wrap(categories)
    np.testing.assert_array_equal(model.predict(codes), categories.predict_proba(codes))


def test_wrapped_predictions_are_the_librarys_own() -> None:
    frame = pd.DataFrame(X, columns=list("abcde"))
    classifier = HistGradientBoostingClassifier(max_iter=9).fit(frame, SUM > 0)
    regressor = HistGradientBoostingRegressor(max_iter=9, loss="poisson").fit(frame, np.abs(SUM))
    np.testing.assert_array_equal(ex.Model.wrap(classifier).predict(frame), classifier.predict_proba(frame))
    np.testing.assert_array_equal(
        ex.Model.wrap(classifier).raw(frame)[:, 1], classifier.decision_function(frame)
    )
    np.testing.assert_array_equal(ex.Model.wrap(regressor).predict(frame)[:, 0], regressor.predict(frame))


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
