"""Scores against scikit-learn, intervals against repeated experiments, and what cannot be told."""

from __future__ import annotations

import time

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics

import explainers as ex
from explainers.performance import wilson


def first_column(X):
    return X[:, 0].astype(float)


def identity(k):
    return ex.Model.wrap(lambda X: X[:, :k].astype(float), classes=[f"class {j}" for j in range(k)])


BINARY = ex.Model.wrap(first_column, classes=["lives", "dies"])
LINE = ex.Model.wrap(first_column)


def binary(n=500, seed=0, informative=True):
    """The prediction stands in the first column; it is calibrated."""
    random = np.random.default_rng(seed)
    p = random.beta(2, 3, n)
    died = random.random(n) < (p if informative else 0.4)
    frame = pd.DataFrame({"p": p, "other": random.normal(size=n), "y": np.where(died, "dies", "lives")})
    return ex.Dataset.from_frame(frame, target="y")


def line(n=500, seed=0, noise=1.0):
    random = np.random.default_rng(seed)
    x = random.normal(size=n)
    frame = pd.DataFrame({"x": x, "other": random.normal(size=n), "y": x + noise * random.normal(size=n)})
    return ex.Dataset.from_frame(frame, target="y")


def test_two_classes_equal_scikit_learn():
    data = binary()
    found = ex.performance(BINARY, data, threshold=0.35)
    p, died = data.X["p"].to_numpy(), data.y == "dies"
    decided = p >= 0.35
    expected = {
        "accuracy": metrics.accuracy_score(died, decided),
        "auc": metrics.roc_auc_score(died, p),
        "brier": metrics.brier_score_loss(died, p),
        "log_loss": metrics.log_loss(died, p),
        "sensitivity": metrics.recall_score(died, decided),
        "specificity": metrics.recall_score(~died, ~decided),
        "prevalence": died.mean(),
    }
    assert {name: e.value for name, e in found.estimates.items()} == pytest.approx(expected, abs=1e-12)
    np.testing.assert_array_equal(found.confusion, metrics.confusion_matrix(died, decided))
    assert found.counts == (int((~died).sum()), int(died.sum()))
    assert (found.classes, found.cases, found.note) == (("lives", "dies"), 500, "may include training rows")
    assert list(found.to_frame()["score"]) == list(expected)


def test_more_classes_equal_scikit_learn():
    random = np.random.default_rng(0)
    P = random.dirichlet([1, 1, 1], 300)
    y = np.array([f"class {random.choice(3, p=p)}" for p in P])
    data = ex.Dataset.from_frame(pd.DataFrame(P, columns=list("abc")).assign(y=y), target="y")
    found = ex.performance(identity(3), data)
    assert found.auc.value == pytest.approx(metrics.roc_auc_score(y, P, multi_class="ovr"))
    assert found.log_loss.value == pytest.approx(metrics.log_loss(y, P))
    onehot = y[:, None] == np.array(["class 0", "class 1", "class 2"])
    assert found.brier.value == pytest.approx(((P - onehot) ** 2).sum(axis=1).mean())
    assert found.accuracy.value == pytest.approx((onehot.argmax(axis=1) == P.argmax(axis=1)).mean())
    assert (found.sensitivity, found.threshold) == (None, None)
    assert found.confusion.sum() == 300


def test_regression_equals_scikit_learn():
    data = line()
    found = ex.performance(LINE, data)
    x = data.X["x"].to_numpy()
    assert found.r2.value == pytest.approx(metrics.r2_score(data.y, x))
    assert found.rmse.value == pytest.approx(metrics.root_mean_squared_error(data.y, x))
    assert found.mae.value == pytest.approx(metrics.mean_absolute_error(data.y, x))
    assert list(found.estimates) == ["r2", "rmse", "mae"]


def coverage(make, model, truth, runs=100):
    """How often each interval holds the number that very many cases give."""
    hits = dict.fromkeys(truth, 0)
    for seed in range(runs):
        found = ex.performance(model, make(seed)).estimates
        for name, value in truth.items():
            hits[name] += found[name].low <= value <= found[name].high
    return {name: count / runs for name, count in hits.items()}


def test_intervals_of_a_classifier_hold_the_truth_as_often_as_they_say():
    truth = {name: e.value for name, e in ex.performance(BINARY, binary(200_000, seed=999)).estimates.items()}
    held = coverage(lambda seed: binary(120, seed), BINARY, truth)
    assert min(held.values()) > 0.88
    assert np.mean(list(held.values())) < 0.99


def test_intervals_of_a_regression_hold_the_truth_as_often_as_they_say():
    held = coverage(lambda seed: line(100, seed), LINE, {"r2": 0.5, "rmse": 1.0, "mae": np.sqrt(2 / np.pi)})
    assert min(held.values()) > 0.87
    assert np.mean(list(held.values())) < 0.99


def test_influences_have_the_variance_that_a_bootstrap_shows():
    from explainers.scoring import auc, r2, rmse

    data, numbers = binary(150), line(150)
    died = (data.y == "dies").astype(np.int64)
    P = np.column_stack([1 - data.X["p"], data.X["p"]])
    x = numbers.X[["x"]].to_numpy()
    random = np.random.default_rng(0)
    for score, y, outputs in ((auc, died, P), (r2, numbers.y, x), (rmse, numbers.y, x)):
        value, influence = score(y, outputs)
        assert influence.mean() == pytest.approx(value, abs=1e-9)
        draws = [score(y[i], outputs[i])[0] for i in random.integers(0, 150, (400, 150))]
        assert np.std(draws) == pytest.approx(influence.std() / np.sqrt(150), rel=0.15)


@pytest.mark.parametrize(
    ("hits", "cases", "low", "high"),
    [(0, 10, 0.0, 0.2775), (5, 10, 0.2366, 0.7634), (10, 10, 0.7225, 1.0), (81, 263, 0.2553, 0.3662)],
)
def test_wilson_intervals_are_the_published_ones(hits, cases, low, high):
    found = wilson(hits, cases)
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-4)
    assert found.low <= found.value <= found.high


def test_a_perfect_ranking_still_has_an_interval():
    frame = pd.DataFrame(
        {"p": [0.1, 0.2, 0.7, 0.9], "z": [1.0, 2.0, 3.0, 4.0], "y": ["lives", "lives", "dies", "dies"]}
    )
    found = ex.performance(BINARY, ex.Dataset.from_frame(frame, target="y")).auc
    assert (found.value, found.high) == (1.0, 1.0)
    assert found.low == pytest.approx(wilson(2, 2).low)


def test_test_rows_are_scored_where_known():
    data = binary(100)
    role = np.array(["train"] * 70 + ["test"] * 30, dtype="<U9")
    roles = ex.Dataset(data.X, data.schema, data.y, role)
    found = ex.performance(BINARY, roles)
    assert (found.cases, found.note) == (30, "")
    assert ex.performance(BINARY, roles, rows=range(80)).note == "includes training rows"
    scored = ex.performance(BINARY, data.take(range(70, 100)))
    assert found.auc == scored.auc


def test_predictions_passed_in_save_asking_the_model():
    def never(X):
        raise AssertionError("asked")

    data = binary(100)
    silent = ex.Model.wrap(never, classes=["lives", "dies"])
    P = BINARY.predict(data.X)
    whole = ex.performance(BINARY, data, rows=[3, 4, 50, 51, 52])
    assert ex.performance(silent, data, rows=[3, 4, 50, 51, 52], predictions=P).auc == whole.auc
    assert (
        ex.performance(silent, data, rows=[3, 4, 50, 51, 52], predictions=P[[3, 4, 50, 51, 52]]).auc
        == whole.auc
    )
    with pytest.raises(ex.InvalidSetting, match="all 100 cases or for the 2 scored; got 7"):
        ex.performance(silent, data, rows=[1, 2], predictions=P[:7])


def test_one_class_only_leaves_out_what_it_cannot_tell_and_says_so():
    data = binary(100)
    found = ex.performance(BINARY, data, rows=np.flatnonzero(data.y == "dies"))
    assert (found.auc, found.specificity) == (None, None)
    assert found.sensitivity is not None
    assert found.note == "may include training rows; no case of lives, so there is no AUC"
    flat = ex.Dataset.from_frame(line(20).X.assign(y=1.0), target="y")
    regression = ex.performance(LINE, flat)
    assert regression.r2 is None
    assert "no R²" in regression.note


def test_unknown_truth_is_left_out_and_scores_are_judged_as_log_odds():
    data = binary(100)
    y = data.y.copy()
    y[:10] = None
    found = ex.performance(BINARY, ex.Dataset(data.X, data.schema, y))
    assert (found.cases, sum(found.counts)) == (90, 90)
    margins = ex.Model.wrap(
        lambda X: np.log(X[:, 0] / (1 - X[:, 0])), classes=["lives", "dies"], output="raw"
    )
    raw = ex.performance(margins, data, threshold=0.3)
    same = ex.performance(BINARY, data, threshold=0.3)
    assert (raw.accuracy, raw.auc) == (same.accuracy, same.auc)
    assert (raw.brier, raw.log_loss) == (None, None)


def test_calibration_near_counts_a_band_with_both_ends():
    p = np.array([0.34, 0.35, 0.40, 0.45, 0.46, 0.41, 0.42])
    truth = np.array([1, 1, 0, 1, 1, -1, 0])
    assert ex.calibration_near(p, truth, 0.40, 0.10) == (4, 2)
    assert ex.calibration_near(p, np.array([1, 1, 0, 1, 1, np.nan, 0]), 0.40, 0.10) == (4, 2)
    assert ex.calibration_near(p, truth, 0.9, 0.1) == (0, 0)


def test_four_thousand_rows_take_less_than_a_blink():
    data = binary(4000)
    P = BINARY.predict(data.X)
    seconds = []
    for _ in range(5):
        started = time.perf_counter()
        ex.performance(BINARY, data, predictions=P)
        seconds.append(time.perf_counter() - started)
    assert min(seconds) < 0.2  # under 50 ms on a quiet machine


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"threshold": 0.0}, "above 0 and below 1"),
        ({"rows": []}, "no cases to score"),
        ({"rows": [100]}, "0..99"),
    ],
)
def test_wrong_settings_are_refused(settings, message):
    with pytest.raises(ex.InvalidSetting, match=message):
        ex.performance(BINARY, binary(100), **settings)


def test_no_truth_is_refused():
    data = binary(30)
    with pytest.raises(ex.InvalidSetting, match="no target column"):
        ex.performance(BINARY, ex.Dataset.from_frame(data.X))
    empty = ex.Dataset(data.X, data.schema, np.full(30, None, dtype=object))
    with pytest.raises(ex.InvalidSetting, match="None of the 30 cases"):
        ex.performance(BINARY, empty)
