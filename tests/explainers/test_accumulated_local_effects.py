"""Accumulated local effects against closed forms and a plain implementation."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import explainers as ex


def table(n=400, seed=0):
    random = np.random.default_rng(seed)
    a = random.normal(size=n)
    frame = pd.DataFrame(
        {"a": a, "b": a + 0.1 * random.normal(size=n), "c": random.integers(0, 4, n).astype(float)}
    )
    frame["d"] = random.choice(["x", "y", "z"], n)
    return ex.Dataset.from_frame(frame)


def formula(X):
    a, b, c, d = (np.asarray(X)[:, j] for j in range(4))
    return (
        2.0 * a.astype(float)
        + b.astype(float) * c.astype(float)
        + (d == "y") * 3.0
        - (d == "z") * b.astype(float)
    )


def plain(f, X, column, grid, categorical=False):
    """Row by row and step by step; the centre is that of the cases."""
    order = list(grid)
    value = X[:, column]
    steps, spreads = [], []
    for k in range(1, len(order)):
        differences = []
        for x in X:
            low, high = x.copy(), x.copy()
            low[column], high[column] = order[k - 1], order[k]
            if categorical:
                inside = x[column] in (order[k - 1], order[k])
            else:
                inside = order[k - 1] < x[column] <= order[k] or (k == 1 and x[column] == order[0])
            if inside:
                differences.append(f(high[None])[0] - f(low[None])[0])
        steps.append(np.mean(differences))
        spreads.append(np.var(differences, ddof=1) / len(differences))
    curve = np.concatenate([[0.0], np.cumsum(steps)])
    if categorical:
        centre = np.mean([curve[order.index(v)] for v in value])
    else:
        ends = [max(1, next(k for k, z in enumerate(order) if v <= z)) for v in value]
        centre = np.mean([(curve[k - 1] + curve[k]) / 2 for k in ends])
    return curve - centre


@pytest.mark.parametrize("feature", ["a", "b", "c", "d"])
def test_equals_the_plain_implementation(feature):
    data = table(60)
    model = ex.Model.wrap(formula)
    result = ex.explain(model, data, ex.AccumulatedLocalEffects(features=(feature,), grid=6))
    codes = data.matrix
    known = data.schema.feature(feature)
    assert result.names == (feature,)
    grid = result.grids[0]

    def f(rows):
        return formula(data.schema.decode(rows).to_numpy())

    expected = plain(f, codes, data.schema.position(feature), grid, known.categorical)
    np.testing.assert_allclose(result.mean[0] - result.diagnostics["centre"], expected, atol=1e-9)
    assert result.diagnostics["centre"] == pytest.approx(f(codes).mean())
    assert result.diagnostics["evaluations"] == 60 * 3
    assert result.curves[0].shape == (0, len(grid))


def test_the_edges_are_quantiles_of_the_cases_and_every_interval_has_cases():
    data = table(400)
    result = ex.explain(ex.Model.wrap(formula), data, ex.AccumulatedLocalEffects(features=("a",), grid=10))
    a = data.matrix[:, 0]
    grid = result.grids[0]
    assert (grid[0], grid[-1]) == (a.min(), a.max())
    counts = np.histogram(a, grid)[0]
    assert counts.sum() == 400
    assert counts.min() >= 38
    assert counts.max() <= 42


def test_a_line_has_its_slope_and_no_error_and_nothing_of_a_correlated_feature():
    data = table(300)
    model = ex.Model.wrap(lambda X: 2.0 * np.asarray(X)[:, 0].astype(float))
    result = ex.explain(model, data, ex.AccumulatedLocalEffects())
    np.testing.assert_allclose(np.diff(result.mean[0]) / np.diff(result.grids[0]), 2.0, rtol=1e-9)
    np.testing.assert_allclose(result.standard_error[0], 0.0, atol=1e-12)
    np.testing.assert_allclose(result.mean[1], result.diagnostics["centre"], atol=1e-12)


def test_the_standard_error_is_what_other_cases_change():
    def product(X):
        X = np.asarray(X, dtype=float)
        return X[:, 0] * X[:, 1]

    found, errors = [], []
    for seed in range(60):
        random = np.random.default_rng(seed)
        frame = pd.DataFrame({"u": np.arange(200) % 5.0, "v": random.normal(size=200)})
        result = ex.explain(
            ex.Model.wrap(product),
            ex.Dataset.from_frame(frame),
            ex.AccumulatedLocalEffects(features=("u",), grid=4),
        )
        found.append(result.mean[0] - result.diagnostics["centre"])
        errors.append(result.standard_error[0])
    spread = np.std(found, axis=0, ddof=1)
    np.testing.assert_allclose(np.mean(errors, axis=0)[[0, -1]], spread[[0, -1]], rtol=0.35)


def test_missing_values_constants_and_single_cases():
    frame = pd.DataFrame({"a": [1.0, np.nan, 3.0, 4.0], "same": [2.0, 2.0, 2.0, 2.0], "gone": [np.nan] * 4})
    model = ex.Model.wrap(lambda X: np.nan_to_num(np.asarray(X, dtype=float)).sum(axis=1))
    data = ex.Dataset.from_frame(frame)
    result = ex.explain(model, data, ex.AccumulatedLocalEffects(grid=9))
    assert result.names == ("a", "same")
    assert result.diagnostics["skipped"] == ("gone",)
    np.testing.assert_array_equal(result.grids[0], [1, 3, 4])
    np.testing.assert_allclose(np.diff(result.mean[0]), [2, 1])
    np.testing.assert_allclose(result.mean[1], [result.diagnostics["centre"]])
    one = ex.explain(model, data, ex.AccumulatedLocalEffects(features=("a",)), rows=[2])
    np.testing.assert_array_equal(one.grids[0], [3])
    assert np.isfinite(one.mean[0]).all()


def test_more_cases_than_asked_for_are_sampled_and_said():
    data = table(50)
    model = ex.Model.wrap(formula)
    result = ex.explain(model, data, ex.AccumulatedLocalEffects(cases=20, seed=3))
    assert result.diagnostics["exact"] is False
    again = ex.explain(model, data, ex.AccumulatedLocalEffects(), rows=result.diagnostics["rows"])
    assert again.diagnostics["exact"] is True
    np.testing.assert_array_equal(result.mean[0], again.mean[0])


@pytest.mark.parametrize(
    ("settings", "call", "error", "message"),
    [
        ({"features": ("nobody",)}, {}, ex.SchemaMismatch, "no feature 'nobody'"),
        ({"grid": 0}, {}, ex.InvalidSetting, "between 1 and 1000"),
        ({"space": "raw"}, {}, ex.InvalidSetting, "no raw score"),
        ({}, {"target": "all"}, ex.InvalidSetting, "one output at a time"),
        ({}, {"rows": []}, ex.InvalidSetting, "no cases to explain"),
    ],
)
def test_what_cannot_be_done_is_refused(settings, call, error, message):
    with pytest.raises(error, match=message):
        ex.explain(ex.Model.wrap(formula), table(20), ex.AccumulatedLocalEffects(**settings), **call)
