"""Friedman's H against closed forms and a plain implementation."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import explainers as ex


def table(n=40, seed=0):
    random = np.random.default_rng(seed)
    frame = pd.DataFrame(random.normal(size=(n, 3)), columns=list("abc"))
    frame["d"] = random.choice(["x", "y"], n)
    return ex.Dataset.from_frame(frame)


def formula(X):
    a, b, c, d = (np.asarray(X)[:, j] for j in range(4))
    return a.astype(float) * b.astype(float) + c.astype(float) + (d == "y") * (1.0 + 0.5 * c.astype(float))


def plain(f, X):
    """Case by case: the partial dependence of features, pairs and complements, each centred."""
    d = X.shape[1]

    def dependence(columns):
        found = []
        for x in X:
            Y = X.copy()
            Y[:, columns] = x[columns]
            found.append(f(Y).mean())
        return np.array(found) - np.mean(found)

    alone = [dependence([j]) for j in range(d)]
    own = f(X) - f(X).mean()
    H, size = np.zeros((d, d)), np.zeros((d, d))
    for j in range(d):
        gap = own - alone[j] - dependence([k for k in range(d) if k != j])
        H[j, j], size[j, j] = np.sqrt((gap**2).sum() / (own**2).sum()), np.sqrt((gap**2).mean())
        for k in range(j):
            both = dependence([j, k])
            gap = both - alone[j] - alone[k]
            H[j, k] = H[k, j] = np.sqrt((gap**2).sum() / (both**2).sum())
            size[j, k] = size[k, j] = np.sqrt((gap**2).mean())
    return H, size


def test_equals_the_plain_implementation():
    data = table(24)
    result = ex.explain(ex.Model.wrap(formula), data, ex.InteractionStrength())
    H, size = plain(lambda rows: formula(data.schema.decode(rows).to_numpy()), data.matrix)
    np.testing.assert_allclose(result.values, H, atol=1e-7)
    np.testing.assert_allclose(result.strength, size, atol=1e-7)
    assert result.diagnostics["exact"] is True
    # a category's two values, and with another feature at most one pair per case, are asked once each
    assert result.diagnostics["evaluations"] == 24 * (1 + 3 * 24 + 2 + 6 * 24)


def test_a_sum_has_no_interaction_and_a_product_of_centred_features_nothing_else():
    data = table(60)
    sums = ex.explain(
        ex.Model.wrap(lambda X: np.asarray(X)[:, :3].astype(float) @ [1.0, 2.0, 0.0]),
        data,
        ex.InteractionStrength(),
    )
    np.testing.assert_array_equal(sums.values, 0.0)
    np.testing.assert_array_equal(sums.strength, 0.0)
    signs = pd.DataFrame(
        {"a": [1.0, 1.0, -1.0, -1.0], "b": [1.0, -1.0, 1.0, -1.0], "c": [1.0, 2.0, 3.0, 4.0]}
    )
    model = ex.Model.wrap(lambda X: np.asarray(X, dtype=float)[:, 0] * np.asarray(X, dtype=float)[:, 1])
    product = ex.explain(model, ex.Dataset.from_frame(signs), ex.InteractionStrength())
    np.testing.assert_allclose(product.values, [[1, 1, 0], [1, 1, 0], [0, 0, 0]], atol=1e-12)
    np.testing.assert_allclose(product.strength, [[1, 1, 0], [1, 1, 0], [0, 0, 0]], atol=1e-12)


def test_named_features_and_portions_of_any_size(monkeypatch):
    data, model = table(), ex.Model.wrap(formula)
    whole = ex.explain(model, data, ex.InteractionStrength())
    monkeypatch.setattr("explainers.device.chunk_rows", lambda row_bytes, device: 37)
    part = ex.explain(model, data, ex.InteractionStrength(features=("d", "c")))
    assert part.names == ("d", "c")
    np.testing.assert_allclose(part.values, whole.values[np.ix_([3, 2], [3, 2])], rtol=1e-9)
    np.testing.assert_allclose(part.strength, whole.strength[np.ix_([3, 2], [3, 2])], rtol=1e-9)


def test_missing_values_are_values_and_the_sample_is_said():
    frame = table(30).X.copy()
    frame.loc[::4, "a"] = np.nan
    data = ex.Dataset.from_frame(frame)

    def filled(X):
        X = np.asarray(X)[:, :3].astype(float)
        return np.where(np.isnan(X[:, 0]), 3.0, X[:, 0]) * X[:, 1]

    result = ex.explain(ex.Model.wrap(filled), data, ex.InteractionStrength(cases=12, seed=2))
    rows = result.diagnostics["rows"]
    assert len(rows) == 12
    assert result.diagnostics["exact"] is False
    H, size = plain(lambda codes: filled(data.schema.decode(codes).to_numpy()), data.matrix[rows])
    np.testing.assert_allclose(result.values, np.where(size > 1e-9, H, 0.0), atol=1e-7)
    assert (result.values[:2, :2] > 0.3).all()


def test_the_table_has_a_row_for_each_feature_and_each_pair():
    frame = ex.explain(ex.Model.wrap(formula), table(10), ex.InteractionStrength()).to_frame()
    assert list(frame.columns) == ["feature", "with", "share", "strength"]
    assert len(frame) == 10
    assert list(frame["with"])[:2] == ["all others", "b"]


@pytest.mark.parametrize(
    ("settings", "call", "error", "message"),
    [
        ({"features": ("nobody",)}, {}, ex.SchemaMismatch, "no feature 'nobody'"),
        ({"cases": 1}, {}, ex.InvalidSetting, "between 2 and 5000"),
        ({"space": "raw"}, {}, ex.InvalidSetting, "no raw score"),
        ({}, {"target": "all"}, ex.InvalidSetting, "one output at a time"),
        ({}, {"rows": []}, ex.InvalidSetting, "no cases to explain"),
        ({}, {"rows": [3]}, ex.InvalidSetting, "at least two cases"),
    ],
)
def test_what_cannot_be_done_is_refused(settings, call, error, message):
    with pytest.raises(error, match=message):
        ex.explain(ex.Model.wrap(formula), table(20), ex.InteractionStrength(**settings), **call)
