"""Permutation importance against closed forms, a slow twin, scikit-learn, and repeated experiments."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.inspection import permutation_importance
from sklearn.linear_model import LogisticRegression

import explainers as ex

COEFFICIENTS = np.array([2.0, -1.0, 0.5, 0.0])


def line(X):
    return np.asarray(X, dtype=np.float64) @ COEFFICIENTS


def numbers(n, noise=0.3, seed=0):
    random = np.random.default_rng(seed)
    X = random.normal(size=(n, 4))
    frame = pd.DataFrame(X, columns=list("abcd"))
    frame["y"] = line(X) + noise * random.normal(size=n)
    return ex.Dataset.from_frame(frame, target="y")


def classes(n=400, k=2, seed=0):
    random = np.random.default_rng(seed)
    X = random.normal(size=(n, 4))
    frame = pd.DataFrame(X, columns=list("abcd"))
    score = X[:, 0] + 0.5 * X[:, 1] + random.normal(size=n)
    frame["y"] = pd.qcut(score, k, labels=[f"class {j}" for j in range(k)]).astype(str)
    data = ex.Dataset.from_frame(frame, target="y")
    return ex.Model.wrap(LogisticRegression().fit(data.X, data.y)), data


def slow_twin(model, data, metric, settings):
    """One copy, one prediction at a time, with the same permutations."""
    random = np.random.default_rng(settings.seed)
    truth, n = data.y, len(data)
    permutations = [random.permutation(n) for _ in range(settings.repeats)]
    base = metric(truth, model.predict(data.X))
    found = []
    for name in data.schema.names:
        drops = []
        for permutation in permutations:
            X = data.X.copy()
            X[name] = X[name].to_numpy()[permutation]
            drops.append(base - metric(truth, model.predict(X)))
        found.append(np.mean(drops))
    return np.array(found)


def test_a_linear_model_loses_twice_the_squared_coefficient():
    data = numbers(4000)
    result = ex.explain(ex.Model.wrap(line), data, ex.PermutationImportance(repeats=10))
    closed = 2 * COEFFICIENTS**2 * data.matrix.var(axis=0) / data.y.var()
    assert np.all(np.abs(result.values - closed) <= 4 * result.standard_error + 1e-12)
    assert result.values[3] == 0.0
    assert result.metric == "drop of R²"


@pytest.mark.parametrize(
    ("metric", "closed"),
    [
        ("rmse", lambda c: np.sqrt(0.09 + 2 * c**2) - 0.3),
        ("mae", lambda c: np.sqrt(2 / np.pi) * (np.sqrt(0.09 + 2 * c**2) - 0.3)),
    ],
)
def test_errors_of_a_linear_model_rise_as_normal_residuals_say(metric, closed):
    result = ex.explain(
        ex.Model.wrap(line), numbers(4000), ex.PermutationImportance(metric=metric, repeats=10)
    )
    np.testing.assert_allclose(result.values, closed(COEFFICIENTS), atol=0.08)
    assert np.all(np.abs(result.values - closed(COEFFICIENTS)) <= 4 * result.standard_error + 0.02)
    assert result.metric.startswith("rise of")


def test_equals_the_slow_twin_for_auc_accuracy_and_log_loss():
    from sklearn.metrics import accuracy_score, log_loss, roc_auc_score

    model, data = classes()
    three, data3 = classes(k=3)
    settings = {"repeats": 3, "seed": 4}
    cases = [
        ("auc", model, data, lambda y, p: roc_auc_score(y, p[:, 1])),
        ("accuracy", three, data3, lambda y, p: accuracy_score(y, np.array(three.classes)[p.argmax(axis=1)])),
        ("log_loss", three, data3, lambda y, p: -log_loss(y, p, labels=list(three.classes))),
        (
            "auc",
            three,
            data3,
            lambda y, p: roc_auc_score(y, p, multi_class="ovr", labels=list(three.classes)),
        ),
    ]
    for metric, judged, cases_of, score in cases:
        explainer = ex.PermutationImportance(metric=metric, **settings)
        expected = slow_twin(judged, cases_of, score, explainer)
        np.testing.assert_allclose(ex.explain(judged, cases_of, explainer).values, expected, atol=1e-12)


def test_agrees_with_scikit_learn_within_the_error():
    model, data = classes(600)
    ours = ex.explain(model, data, ex.PermutationImportance(repeats=10))
    theirs = permutation_importance(
        model.estimator, data.X, data.y, scoring="roc_auc", n_repeats=10, random_state=0
    )
    repeat_error = np.hypot(theirs.importances_std / np.sqrt(10), ours.standard_error)
    assert np.all(np.abs(ours.values - theirs.importances_mean) <= 3 * repeat_error)


def test_the_standard_error_is_what_fresh_data_show():
    explainer = ex.PermutationImportance(repeats=3)
    model = ex.Model.wrap(line)
    results = [ex.explain(model, numbers(150, noise=1.0, seed=s), explainer) for s in range(60)]
    seen = np.std([r.values for r in results], axis=0)[:3]
    stated = np.mean([r.standard_error for r in results], axis=0)[:3]
    assert np.all(stated > 0.75 * seen)
    assert np.all(stated < 1.35 * seen)


def test_a_group_is_permuted_together_and_named_by_its_members():
    data = numbers(2000)
    copied = ex.Dataset.from_frame(data.X.assign(twin=data.X["a"], y=data.y), target="y")
    model = ex.Model.wrap(lambda X: X[:, 0] + X[:, 4] - X[:, 1])
    result = ex.explain(model, copied, ex.PermutationImportance(metric="rmse", groups=(("twin", "a"),)))
    assert result.names == ("a + twin", "b", "c", "d")
    assert result.groups == (("a", "twin"), ("b",), ("c",), ("d",))
    alone = ex.explain(
        ex.Model.wrap(lambda X: 2 * X[:, 0] - X[:, 1]), data, ex.PermutationImportance(metric="rmse")
    )
    np.testing.assert_allclose(result.values, alone.values, atol=1e-9)


def test_small_data_are_asked_in_one_call_beside_the_cases_themselves():
    calls = []

    def model(X):
        calls.append(len(X))
        return line(X)

    result = ex.explain(ex.Model.wrap(model), numbers(60), ex.PermutationImportance())
    assert calls == [60, 60 * 4 * 5]
    assert result.diagnostics["evaluations"] == sum(calls)


def test_portions_of_any_size_give_the_same_numbers(monkeypatch):
    data, explainer = numbers(37), ex.PermutationImportance(repeats=2)
    whole = ex.explain(ex.Model.wrap(line), data, explainer)
    monkeypatch.setattr("explainers.device.chunk_rows", lambda row_bytes, device: 10)
    parts = ex.explain(ex.Model.wrap(line), data, explainer)
    np.testing.assert_array_equal(parts.values, whole.values)
    np.testing.assert_allclose(parts.standard_error, whole.standard_error, rtol=1e-12)


def test_a_partial_result_comes_after_each_repeat_but_the_last(monkeypatch):
    monkeypatch.setattr("explainers.device.chunk_rows", lambda row_bytes, device: 30)
    seen = []
    data, explainer = numbers(30), ex.PermutationImportance(repeats=3)

    def progress(done, total, partial=None):
        seen.append((done, total, partial))

    result = ex.explain(ex.Model.wrap(line), data, explainer, progress=progress)
    partials = [partial for _, _, partial in seen if partial is not None]
    assert [p.diagnostics["repeats"] for p in partials] == [1, 2]
    assert seen[-1][0] == seen[-1][1] == 30 * 4 * 3
    once = ex.explain(ex.Model.wrap(line), data, ex.PermutationImportance(repeats=1))
    np.testing.assert_array_equal(partials[0].values, once.values)
    assert not np.array_equal(partials[0].values, result.values)


def test_cancelling_passes_through():
    def stop(done, total, partial=None):
        raise ex.Cancelled

    with pytest.raises(ex.Cancelled):
        ex.explain(ex.Model.wrap(line), numbers(30), ex.PermutationImportance(), progress=stop)


def test_test_rows_are_used_and_rows_without_truth_left_out():
    data = numbers(100)
    role = np.array(["train"] * 60 + ["test"] * 40, dtype="<U9")
    y = data.y.copy()
    y[70] = np.nan
    roles = ex.Dataset(data.X, data.schema, y, role)
    result = ex.explain(ex.Model.wrap(line), roles, ex.PermutationImportance())
    assert result.diagnostics["cases"] == 39
    assert result.diagnostics["note"] == ""
    unknown = ex.explain(ex.Model.wrap(line), data, ex.PermutationImportance())
    assert unknown.diagnostics["note"] == "may include training rows"


def test_the_named_class_decides_the_auc_of_more_classes():
    from sklearn.metrics import roc_auc_score

    model, data = classes(k=3)
    explainer = ex.PermutationImportance(metric="auc", repeats=2)
    result = ex.explain(model, data, explainer, target="class 2")
    expected = slow_twin(model, data, lambda y, p: roc_auc_score(y == "class 2", p[:, 2]), explainer)
    np.testing.assert_allclose(result.values, expected, atol=1e-12)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"metric": "rmse"}, "does not fit a classification; use one of 'auc', 'accuracy', 'log_loss'"),
        ({"groups": (("a", "nobody"),)}, "no feature 'nobody'"),
        ({"groups": (("a", "b"), ("b", "c"))}, "'b' stands in two groups"),
        ({"groups": ((),)}, "group of features is empty"),
        ({"repeats": 0}, "between 1 and 1000"),
    ],
)
def test_wrong_settings_are_refused(change, message):
    model, data = classes(60)
    with pytest.raises(ex.InvalidSetting, match=message):
        ex.explain(model, data, ex.PermutationImportance(**change))


def test_what_cannot_be_scored_is_refused_in_words():
    model, data = classes(60)
    of_one_class = np.flatnonzero(data.y == "class 1")
    with pytest.raises(ex.InvalidSetting, match="hold only 'class 1'"):
        ex.explain(model, data, ex.PermutationImportance(), rows=of_one_class)
    with pytest.raises(ex.InvalidSetting, match="at least two cases with a known outcome; got 1"):
        ex.explain(model, data, ex.PermutationImportance(), rows=[3])
    with pytest.raises(ex.NotApplicable, match="no target column"):
        ex.explain(model, ex.Dataset.from_frame(data.X), ex.PermutationImportance())
    with pytest.raises(ex.InvalidSetting, match="these have none"):
        ex.explain(model, data, ex.PermutationImportance(), rows=ex.Dataset.from_frame(data.X))
    same = ex.Dataset.from_frame(numbers(20).X.assign(y=3.0), target="y")
    with pytest.raises(ex.InvalidSetting, match="all 20 are 3"):
        ex.explain(ex.Model.wrap(line), same, ex.PermutationImportance())
    two = ex.Model.wrap(lambda X: np.column_stack([line(X), line(X)]))
    with pytest.raises(ex.InvalidSetting, match="2 outputs and the data one truth"):
        ex.explain(two, numbers(20), ex.PermutationImportance())
