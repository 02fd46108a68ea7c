"""Partial dependence and ICE against closed forms, a slow twin and scikit-learn."""

from __future__ import annotations

import dataclasses
import time

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.inspection import partial_dependence

import explainers as ex


def table(n=300, seed=0):
    random = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "age": random.integers(20, 90, n),
            "dose": random.normal(size=n),
            "smoker": random.choice(["no", "yes"], n),
            "ward": random.choice(["east", "north", "south"], n),
        }
    )
    return ex.Dataset.from_frame(frame)


def formula(X):
    """Known in closed form; gets the frame's values."""
    age, dose = X[:, 0].astype(float), X[:, 1].astype(float)
    return 0.1 * age + dose**2 + 3.0 * (X[:, 2] == "yes") + dose * (X[:, 3] == "south")


def trained(n=300, seed=0):
    random = np.random.default_rng(seed)
    X = pd.DataFrame(
        {
            "a": random.integers(0, 12, n).astype(float),
            "b": random.normal(size=n),
            "c": random.integers(0, 2, n),
        }
    )
    y = (X["a"] / 6 + X["b"] * X["c"] + random.normal(size=n) > 1).astype(int)
    model = GradientBoostingClassifier(n_estimators=20, random_state=0).fit(X, y)
    return ex.Model.wrap(model), ex.Dataset.from_frame(X)


def test_curves_equal_one_edit_and_one_prediction_at_a_time():
    data, model = table(), ex.Model.wrap(formula)
    result = ex.explain(model, data, ex.PartialDependence(grid=5), rows=[3, 8, 90])
    assert result.names == ("age", "dose", "smoker", "ward")
    for j, name in enumerate(result.names):
        for case, row in enumerate((3, 8, 90)):
            for point, code in enumerate(result.grids[j]):
                edited = data.X.iloc[[row]].copy()
                feature = data.schema.feature(name)
                edited[name] = feature.categories[int(code)] if feature.categorical else code
                assert result.curves[j][case, point] == pytest.approx(
                    formula(edited.to_numpy())[0], abs=1e-12
                )


def test_a_line_has_its_slope_and_no_error():
    result = ex.explain(ex.Model.wrap(formula), table(), ex.PartialDependence(features=("age",)))
    slopes = np.diff(result.mean[0]) / np.diff(result.grids[0])
    np.testing.assert_allclose(slopes, 0.1, rtol=1e-9)
    centred = result.curves[0] - result.curves[0][:, :1]
    np.testing.assert_allclose(centred, np.broadcast_to(centred[0], centred.shape), atol=1e-9)


def test_mean_and_error_are_those_of_the_curves():
    result = ex.explain(ex.Model.wrap(formula), table(), ex.PartialDependence(features=("dose",), cases=50))
    assert result.curves[0].shape == (50, 20)
    np.testing.assert_allclose(result.mean[0], np.mean(result.curves[0], axis=0))
    np.testing.assert_allclose(
        result.standard_error[0], np.std(result.curves[0], axis=0, ddof=1) / np.sqrt(50)
    )


def test_equals_scikit_learn_brute_on_the_same_grid():
    model, data = trained()
    result = ex.explain(model, data, ex.PartialDependence(features=("b", "a"), grid=12))
    for name, grid, mean, curves in zip(result.names, result.grids, result.mean, result.curves, strict=True):
        their = partial_dependence(
            model.estimator, data.X.iloc[result.diagnostics["rows"]], [name], method="brute", kind="both",
            response_method="predict_proba", custom_values={name: grid},
        )  # fmt: skip
        np.testing.assert_allclose(mean, their["average"][0], atol=1e-12)
        np.testing.assert_allclose(curves, their["individual"][0], atol=1e-12)
    their = partial_dependence(model.estimator, data.X, ["a"], grid_resolution=12, method="brute")
    np.testing.assert_array_equal(result.grids[1], their["grid_values"][0])


def test_quantile_grids_are_observed_values_and_categories_are_all_there():
    data = table()
    result = ex.explain(ex.Model.wrap(formula), data, ex.PartialDependence(grid=20))
    for j in (0, 1):
        grid = result.grids[j]
        np.testing.assert_array_equal(np.isin(grid, data.matrix[:, j]), np.ones(len(grid), dtype=bool))
        assert 15 <= len(grid) <= 20
    assert result.grids[1].min() > data.matrix[:, 1].min()
    np.testing.assert_array_equal(result.grids[2], [0, 1])
    np.testing.assert_array_equal(result.grids[3], [0, 1, 2])


def test_linear_grids_reach_the_declared_limits_and_integers_stay_whole():
    data = table()
    age = dataclasses.replace(data.schema.feature("age"), low=0.0, high=50.0)
    data = ex.Dataset(data.X, data.schema.replace(age))
    result = ex.explain(ex.Model.wrap(formula), data, ex.PartialDependence(spacing="linear", grid=8))
    assert (result.grids[0][0], result.grids[0][-1]) == (0.0, data.matrix[:, 0].max())
    np.testing.assert_array_equal(result.grids[0], np.round(result.grids[0]))
    np.testing.assert_allclose(
        result.grids[1], np.linspace(data.matrix[:, 1].min(), data.matrix[:, 1].max(), 8)
    )


def test_one_edited_case_costs_two_calls_and_little_time():
    calls = []

    def model(X):
        calls.append(len(X))
        return formula(X)

    data = table(2000)
    wrapped = ex.Model.wrap(model)
    edited = data.take([7])
    explainer = ex.PartialDependence(spacing="linear")
    result = ex.explain(wrapped, data, explainer, rows=edited)
    assert calls == [1, 20 + 20 + 2 + 3]
    assert result.diagnostics["evaluations"] == sum(calls)
    assert np.isnan(result.standard_error[0]).all()
    np.testing.assert_array_equal(result.mean[1], result.curves[1][0])
    seconds = []
    for _ in range(7):
        started = time.perf_counter()
        ex.explain(wrapped, data, explainer, rows=edited)
        seconds.append(time.perf_counter() - started)
    assert min(seconds) < 0.1  # a few ms without shape checks on a quiet machine


def test_more_cases_than_allowed_are_sampled_with_the_seed():
    data, model = table(), ex.Model.wrap(formula)
    first = ex.explain(model, data, ex.PartialDependence(cases=10))
    again = ex.explain(model, data, ex.PartialDependence(cases=10))
    other = ex.explain(model, data, ex.PartialDependence(cases=10, seed=1))
    np.testing.assert_array_equal(first.diagnostics["rows"], again.diagnostics["rows"])
    assert not np.array_equal(first.diagnostics["rows"], other.diagnostics["rows"])
    assert first.diagnostics["exact"] is False
    whole = ex.explain(model, data, ex.PartialDependence(cases=300))
    assert whole.diagnostics["exact"] is True
    np.testing.assert_allclose(first.curves[0], whole.curves[0][first.diagnostics["rows"]])


def test_portions_of_any_size_give_the_same_curves(monkeypatch):
    data, model = table(40), ex.Model.wrap(formula)
    whole = ex.explain(model, data, ex.PartialDependence(grid=4))
    monkeypatch.setattr("explainers.device.chunk_rows", lambda row_bytes, device: 7)
    ticks = []
    parts = ex.explain(
        model,
        data,
        ex.PartialDependence(grid=4),
        progress=lambda done, total, partial=None: ticks.append((done, total)),
    )
    for a, b in zip(whole.curves, parts.curves, strict=True):
        np.testing.assert_array_equal(a, b)
    assert ticks[-1] == (40 * 13, 40 * 13)
    assert len(ticks) > 70


def test_raw_scores_and_a_named_class():
    model, data = trained()
    probability = ex.explain(model, data, ex.PartialDependence(features=("b",)), rows=[1, 2], target=0)
    raw = ex.explain(model, data, ex.PartialDependence(features=("b",), space="raw"), rows=[1, 2])
    assert (probability.space, raw.space) == ("probability", "raw")
    assert (probability.targets, raw.targets) == ((0, 0), (1, 1))
    np.testing.assert_allclose(probability.curves[0], 1 / (1 + np.exp(raw.curves[0])), rtol=1e-9)


def test_missing_values_are_never_on_a_grid_and_empty_columns_are_left_out():
    frame = pd.DataFrame({"a": [1.0, np.nan, 3.0, 4.0], "b": [1.5, 2.5, 3.5, np.nan], "gone": [np.nan] * 4})
    data = ex.Dataset.from_frame(frame)
    model = ex.Model.wrap(lambda X: np.nan_to_num(np.asarray(X, dtype=float)).sum(axis=1))
    result = ex.explain(model, data, ex.PartialDependence())
    assert result.names == ("a", "b")
    assert result.diagnostics["skipped"] == ("gone",)
    np.testing.assert_array_equal(result.grids[0], [1, 3, 4])
    with pytest.raises(ex.InvalidSetting, match="'gone' has no value"):
        ex.explain(model, data, ex.PartialDependence(features=("gone",)))


def test_the_result_survives_being_written_down():
    result = ex.explain(ex.Model.wrap(formula), table(20), ex.PartialDependence(grid=3))
    back = ex.Effect.from_dict(result.to_dict())
    np.testing.assert_array_equal(back.curves[1], result.curves[1])
    assert len(result.to_frame()) == sum(map(len, result.grids))


@pytest.mark.parametrize(
    ("settings", "call", "error", "message"),
    [
        ({"features": ("nobody",)}, {}, ex.SchemaMismatch, "no feature 'nobody'"),
        ({"grid": 1}, {}, ex.InvalidSetting, "between 2 and 1000"),
        ({"space": "raw"}, {}, ex.InvalidSetting, "no raw score"),
        ({}, {"target": "all"}, ex.InvalidSetting, "one output at a time"),
        ({}, {"rows": []}, ex.InvalidSetting, "no cases to explain"),
    ],
)
def test_what_cannot_be_done_is_refused(settings, call, error, message):
    with pytest.raises(error, match=message):
        ex.explain(ex.Model.wrap(formula), table(20), ex.PartialDependence(**settings), **call)
