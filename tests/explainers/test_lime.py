"""LIME: against the package ``lime``, its own plain formulas, and its stated errors."""

from __future__ import annotations

import dataclasses
import warnings

import numpy as np
import pandas as pd
import pytest
from scipy.stats import truncnorm
from sklearn.linear_model import Ridge

import explainers as ex
from explainers import device
from explainers.sampling.local_ridge import fit
from explainers.sampling.training_law import TrainingLaw
from tests.cases import CASES

N = 500


def table():
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "a": rng.normal(size=N),
            "b": rng.gamma(2.0, 2.0, N),
            "kind": rng.integers(0, 3, N),
            "c": rng.uniform(-1, 1, N),
        }
    )


def score(X):
    X = np.asarray(X, dtype=float)
    return X[:, 0] + X[:, 0] * (X[:, 2] == 1) - 0.3 * X[:, 1] + np.sin(3 * X[:, 3])


def probability(X):
    return 1 / (1 + np.exp(-score(X)))


def cases():
    frame = table()
    data = ex.Dataset.from_frame(frame)
    kind = ex.Feature("kind", "category", categories=(0, 1, 2), dtype="int64")
    return ex.Dataset.from_frame(frame, schema=data.schema.replace(kind))


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_it_agrees_with_the_package(task):
    from lime.lime_tabular import LimeTabularExplainer

    data, samples, rows = cases(), 60_000, [0, 5, 17]
    classifies = task == "classification"
    model = ex.Model.wrap(probability, classes=["no", "yes"]) if classifies else ex.Model.wrap(score)
    found = ex.explain(model, data, ex.Lime(samples=samples), rows=rows)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = LimeTabularExplainer(table().to_numpy(), mode=task, categorical_features=[2], random_state=1)
        ask = (lambda X: np.column_stack([1 - probability(X), probability(X)])) if classifies else score
        for i, row in enumerate(rows):
            answer = theirs.explain_instance(
                table().to_numpy()[row], ask, num_features=4, num_samples=samples
            )
            weights = dict(answer.as_map()[1])
            expected = np.array([weights[j] for j in range(4)])
            off = (found.values[i] - expected) / (np.sqrt(2) * found.standard_error[i])
            assert np.abs(off).max() < 5
            scale = np.abs(expected).max()
            assert np.abs(found.values[i] - expected).max() < 0.05 * scale
            assert found.base_value[i] == pytest.approx(answer.intercept[1], abs=0.05 * scale)
            assert found.diagnostics["r2"][i] == pytest.approx(answer.score, abs=0.02)
            assert found.diagnostics["local_prediction"][i] == pytest.approx(
                answer.local_pred[0], abs=0.05 * scale
            )


def test_the_fit_is_the_weighted_ridge_of_scikit_learn():
    rng = np.random.default_rng(3)
    bins, case_bins = rng.integers(0, 3, (200, 4)), rng.integers(0, 3, (2, 4))
    answers, own = rng.normal(size=(2, 200, 2)), rng.normal(size=(2, 2))
    found = fit(bins, answers, case_bins, own, 1.5)
    for i in range(2):
        z = np.vstack([np.ones(4), bins == case_bins[i]])
        distance = np.sqrt((1 - z).sum(axis=1))
        weights = np.sqrt(np.exp(-(distance**2) / 1.5**2))
        for k in range(2):
            y = np.append(own[i, k], answers[i, :, k])
            ridge = Ridge(alpha=1).fit(z, y, sample_weight=weights)
            np.testing.assert_allclose(found.coefficients[i, :, k], ridge.coef_, atol=1e-10)
            assert found.intercept[i, k] == pytest.approx(ridge.intercept_)
            assert found.r2[i, k] == pytest.approx(ridge.score(z, y, sample_weight=weights))


def test_the_standard_error_is_the_spread_over_seeds():
    model, data = ex.Model.wrap(score), cases()
    runs = [ex.explain(model, data, ex.Lime(samples=800, seed=seed), rows=[3, 4]) for seed in range(60)]
    spread = np.std([run.values for run in runs], axis=0)
    stated = np.mean([run.standard_error for run in runs], axis=0)
    assert (np.abs(spread / stated - 1) < 0.4).all()


def test_neighbours_follow_the_training_rows():
    rng = np.random.default_rng(1)
    frame = pd.DataFrame(
        {
            "number": np.where(rng.random(4000) < 0.1, np.nan, rng.exponential(2.0, 4000)),
            "kind": rng.choice(["x", "y", None], 4000, p=[0.6, 0.3, 0.1]),
            "steps": rng.choice([5.0, 6.0, 9.0], 4000, p=[0.5, 0.3, 0.2]),
        }
    )
    data = ex.Dataset.from_frame(frame)
    law = TrainingLaw.of(data.schema, data.matrix)
    drawn = law.draw(40_000, 0)
    for j in range(3):
        bins, own = law.bins(drawn)[:, j], law.bins(data.matrix)[:, j]
        for b in np.unique(own):
            assert (bins == b).mean() == pytest.approx((own == b).mean(), abs=0.02)
            inside, theirs = drawn[bins == b, j], data.matrix[own == b, j]
            if b < 0:
                assert np.isnan(inside).all()
            elif j == 0:
                edges = np.nanpercentile(data.matrix[:, 0], [0, 25, 50, 75, 100])[[b, b + 1]]
                ends = (edges - theirs.mean()) / theirs.std()
                expected = truncnorm(*ends, theirs.mean(), theirs.std())
                assert inside.mean() == pytest.approx(expected.mean(), rel=0.03)
                assert inside.std() == pytest.approx(expected.std(), rel=0.05)
                assert edges[0] <= inside.min()
                assert inside.max() <= edges[1]
    assert (drawn[:, 2] == 5.0).mean() == pytest.approx(0.5, abs=0.02)  # a bin of one value


def test_conditions_are_said_in_the_users_words():
    frame = pd.DataFrame(
        {"age": np.arange(20, 60), "ward": ["east", "west"] * 20, "dose": [np.nan, 1.5] * 20}
    )
    data = ex.Dataset.from_frame(frame)
    age = ex.Feature("age", "integer", label="Age", unit="years", dtype="int64")
    data = ex.Dataset.from_frame(frame, schema=data.schema.replace(age))
    model = ex.Model.wrap(lambda X: np.asarray(X[:, 0], dtype=float))
    found = ex.explain(model, data, ex.Lime(samples=100), rows=[0, 15, 39])
    assert found.diagnostics["conditions"] == [
        ["Age <= 29 years", "ward = east", "dose is missing"],
        ["29 years < Age <= 39 years", "ward = west", "dose <= 1.5"],
        ["Age > 49 years", "ward = west", "dose <= 1.5"],
    ]


def test_a_feature_the_model_ignores_has_no_weight_beyond_its_error():
    model, data = ex.Model.wrap(lambda X: np.asarray(X[:, 1], dtype=float)), cases()
    found = ex.explain(model, data, ex.Lime(samples=20_000), rows=range(5))
    others = [0, 2, 3]
    assert (np.abs(found.values[:, others]) < 4.5 * found.standard_error[:, others]).all()
    assert (np.abs(found.values[:, 1]) > 10 * found.standard_error[:, 1]).all()


def test_portions_and_company_change_nothing(monkeypatch):
    model, data = ex.Model.wrap(probability, classes=[0, 1]), cases()
    whole = ex.explain(model, data, ex.Lime(samples=300), rows=range(8))
    alone = ex.explain(model, data, ex.Lime(samples=300), rows=[6])
    monkeypatch.setattr(device, "CPU_CHUNK_BYTES", 60_000)
    ticks = []
    small = ex.explain(
        model, data, ex.Lime(samples=300), rows=range(8), progress=lambda *at: ticks.append(at[:2])
    )
    np.testing.assert_allclose(small.values, whole.values, rtol=1e-10)
    np.testing.assert_allclose(alone.values[0], whole.values[6], rtol=1e-10)
    assert ticks[-1] == (307, 307)
    assert len(ticks) > 5


def test_the_result_says_what_it_is():
    case = CASES["mixed_table_classifier"]()
    model = dataclasses.replace(case.model)  # samples are remembered for each model: this one has none yet
    found = ex.explain(model, case.data, ex.Lime(samples=200), rows=[1, 2], target="ill")
    every = ex.explain(model, case.data, ex.Lime(samples=200), rows=[1, 2], target="all")
    raw = ex.explain(model, case.data, ex.Lime(samples=200, space="raw"), rows=[1, 2])
    np.testing.assert_allclose(every.values[..., 0], found.values, atol=1e-12)
    np.testing.assert_allclose(found.output, model.predict(case.data.X)[[1, 2], 0])
    np.testing.assert_allclose(raw.output, model.raw(case.data.X)[[1, 2], 1])
    np.testing.assert_allclose(
        found.base_value + found.values.sum(axis=1), found.diagnostics["local_prediction"]
    )
    assert found.diagnostics["kernel_width"] == pytest.approx(0.75 * 2)
    assert (found.diagnostics["sample"], found.diagnostics["evaluations"]) == ("asked", 201)
    assert (every.diagnostics["sample"], every.diagnostics["evaluations"]) == (
        "remembered from an earlier call",
        2,
    )
    assert found.diagnostics["exact"] is False
    assert found.background_error is None
    assert found.reference == ex.Reference(30, "train", "probability")


@pytest.mark.parametrize(
    ("explainer", "message"),
    [(ex.Lime(space="raw"), "no raw score"), (ex.Lime(space="probability"), "no probabilities")],
)
def test_what_it_refuses(explainer, message):
    with pytest.raises(ex.InvalidSetting, match=message):
        ex.explain(ex.Model.wrap(score), cases(), explainer, rows=[0])


def test_pictures_are_refused():
    case = CASES["cnn_two_classes"]()
    with pytest.raises(ex.NotApplicable, match="Explains table data"):
        ex.explain(case.model, case.data, ex.Lime(), rows=[0])
