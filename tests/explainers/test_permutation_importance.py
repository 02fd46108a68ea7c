"""Permutation importance against closed forms, a slow twin, scikit-learn, and repeated experiments."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.inspection import permutation_importance
from sklearn.linear_model import LogisticRegression

import explainers as ex
from explainers.sampling.columns.conditional_donors import conditional_permutations, strata_of
from explainers.sampling.columns.donors import Donors

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


# --- among rows whose other features look alike ------------------------------------------------------------------------


def linked(n, seed=0, noise=0.3, correlation=0.9):
    """`a` and `b` correlated, `c` not; the noise is larger where `a` is."""
    random = np.random.default_rng(seed)
    a, c = random.normal(size=(2, n))
    b = correlation * a + np.sqrt(1 - correlation**2) * random.normal(size=n)
    X = np.column_stack([a, b, c])
    y = X @ COEFFICIENTS[:3] + noise * (1 + 2 * (a > 1)) * random.normal(size=n)
    return ex.Dataset.from_frame(pd.DataFrame(X, columns=list("abc")).assign(y=y), target="y")


def leaning(X):
    return np.asarray(X, dtype=np.float64) @ COEFFICIENTS[:3]


def of_classes(data):
    frame = data.X.assign(y=np.where(data.y > 0, "yes", "no"))
    return ex.Dataset.from_frame(frame, target="y")


def test_conditionally_a_linear_model_loses_what_the_feature_has_beyond_the_others():
    data, model = linked(4000), ex.Model.wrap(leaning)
    found = ex.explain(model, data, ex.PermutationImportance(repeats=10, conditional=True))
    own = np.array([1 - 0.9**2, 1 - 0.9**2, 1.0])
    closed = 2 * COEFFICIENTS[:3] ** 2 * own / data.y.var()
    np.testing.assert_allclose(found.values, closed, rtol=0.1)
    assert np.all(np.abs(found.values - closed) <= 4 * found.standard_error + 0.05 * closed)
    plain = ex.explain(model, data, ex.PermutationImportance(repeats=10))
    assert np.all(plain.values[:2] > 4 * found.values[:2])
    strata = found.diagnostics["strata"]
    assert strata[2] == 1
    assert min(strata[:2]) > 5
    assert "look alike" in found.diagnostics["conditional"]
    assert "strata" not in plain.diagnostics


def test_conditionally_equals_the_slow_twin():
    from sklearn.metrics import r2_score

    data, groups = linked(300), (("a", "c"),)
    for explainer, units in (
        (ex.PermutationImportance(repeats=3, seed=4, conditional=True), [[0], [1], [2]]),
        (ex.PermutationImportance(repeats=3, seed=4, conditional=True, groups=groups), [[0, 2], [1]]),
    ):
        expected = []
        donors = conditional_permutations(data.matrix, data.schema, units, 3, 4)
        for unit, permutations in zip(units, donors, strict=True):
            drops = []
            for permutation in permutations:
                X = data.matrix.copy()
                X[:, unit] = X[np.ix_(permutation, unit)]
                drops.append(r2_score(data.y, leaning(data.matrix)) - r2_score(data.y, leaning(X)))
            expected.append(np.mean(drops))
        found = ex.explain(ex.Model.wrap(leaning), data, explainer)
        np.testing.assert_allclose(found.values, expected, atol=1e-12)


@pytest.mark.parametrize("metric", ["auc", "accuracy"])
def test_conditionally_trees_give_what_asking_gives(metric):
    from sklearn.ensemble import RandomForestClassifier

    data = of_classes(linked(500, noise=1.0))
    forest = RandomForestClassifier(20, min_samples_leaf=10, random_state=0).fit(data.X, data.y)
    known = ex.Model.wrap(forest)
    asked = ex.Model.wrap(
        lambda X: forest.predict_proba(pd.DataFrame(np.asarray(X), columns=list("abc"))),
        classes=known.classes,
    )
    for groups in ((), (("b", "c"),)):
        explainer = ex.PermutationImportance(metric=metric, repeats=3, conditional=True, groups=groups)
        one, other = (ex.explain(model, data, explainer) for model in (known, asked))
        assert (one.diagnostics["kernel"][:4], other.diagnostics["kernel"][:4]) == ("tree", "pred")
        assert max(one.diagnostics["strata"]) > 3
        np.testing.assert_allclose(one.values, other.values, atol=1e-12)
        np.testing.assert_allclose(one.standard_error, other.standard_error, rtol=1e-9)


def test_the_conditional_standard_error_is_what_fresh_data_show():
    explainer = ex.PermutationImportance(metric="mae", repeats=3, conditional=True)
    model = ex.Model.wrap(leaning)
    results = [ex.explain(model, linked(150, s, 1.0, 0.7), explainer) for s in range(40)]
    seen = np.std([r.values for r in results], axis=0)
    stated = np.mean([r.standard_error for r in results], axis=0)
    assert np.all(stated > 0.75 * seen)
    assert np.all(stated < 1.35 * seen)


def test_a_giver_counts_by_what_it_has_beyond_its_stratum():
    data = linked(200)
    donors = Donors.among_alike(data.matrix, data.schema, [[0], [2]], 2, seed=1)
    influence = np.random.default_rng(0).normal(size=200) + data.matrix[:, 1]
    labels = strata_of(data.matrix, data.schema, [0], seed=1)
    expected = [influence[i] - influence[labels == labels[i]].mean() for i in range(200)]
    np.testing.assert_allclose(donors.beyond(0, influence, influence.mean()), expected, atol=1e-12)
    np.testing.assert_array_equal(donors.beyond(1, influence, 0.25), influence - 0.25)
    assert donors.counts == (len(np.unique(labels)), 1)


@pytest.mark.parametrize("alike", [True, False])
def test_rows_in_another_order_exchange_the_same_values(alike):
    data = linked(60)
    made = (
        Donors.among_alike(data.matrix, data.schema, [[0], [1], [2]], 2, seed=1)
        if alike
        else Donors.among_all(60, 3, 2, seed=1)
    )
    assert made.shared is not alike
    order = np.random.default_rng(2).permutation(60)
    turned = made.taken(order)
    assert turned.shared is not alike
    for unit in range(3):
        np.testing.assert_array_equal(order[turned.permutations[unit]], made.permutations[unit][:, order])
        kept = made.permutations[unit, 1][made.receiver(unit, 1)]
        np.testing.assert_array_equal(kept, np.arange(60))
        for old, new in [(made.strata[unit], turned.strata[unit])]:
            assert (old is None) == (new is None)
            if old is not None:
                np.testing.assert_array_equal(new, old[order])


def test_finding_the_strata_can_be_cancelled():
    asked = []

    def stop(done, total, partial=None):
        asked.append(done)
        raise ex.Cancelled

    model = ex.Model.wrap(lambda X: asked.append(-1) or leaning(X))
    with pytest.raises(ex.Cancelled):
        ex.explain(model, linked(100), ex.PermutationImportance(conditional=True), progress=stop)
    assert asked[-1] == 0
    assert asked.count(-1) <= 1


def test_nothing_is_asked_after_a_cancel_and_one_portion_before_it():
    asked, stopped = [], []

    def stop(done, total, partial=None):
        if done:  # the first portion of permuted rows is answered
            stopped.append(sum(asked))
            raise ex.Cancelled

    model = ex.Model.wrap(lambda X: asked.append(len(X)) or leaning(X))
    data = linked(1000)
    with pytest.raises(ex.Cancelled):
        ex.explain(model, data, ex.PermutationImportance(conditional=True), progress=stop)
    assert stopped == [sum(asked)]
    assert stopped[0] <= len(data) + 2 + 2048  # the cases once, and the first portion of 15,000 permuted rows


# --- correlated features -------------------------------------------------------------------------------------------------


def tumours():
    from sklearn.datasets import load_breast_cancer

    table = load_breast_cancer(as_frame=True)
    frame = table.data.assign(target=np.where(table.target == 1, "benign", "malignant"))
    role = np.where(np.random.default_rng(0).random(len(frame)) < 0.5, "train", "test").astype("<U9")
    data = ex.Dataset.from_frame(frame, target="target")
    return ex.Dataset(data.X, data.schema, data.y, role)


@pytest.mark.parametrize("kernel", ["trees", "predictions"])
def test_no_single_measure_of_a_tumour_matters_but_groups_of_them_do(kernel):
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    data = tumours()
    train = data.rows("train")
    estimator = (
        RandomForestClassifier(60, random_state=42)
        if kernel == "trees"
        else make_pipeline(StandardScaler(), LogisticRegression(C=0.1))
    )
    model = ex.Model.wrap(estimator.fit(data.X.iloc[train], data.y[train]))
    single, grouped, named = (
        ex.explain(model, data, ex.PermutationImportance(metric="accuracy", repeats=5, groups=groups))
        for groups in ((), "correlated", ex.correlated_groups(data))
    )
    assert single.diagnostics["kernel"].startswith("tree" if kernel == "trees" else "predictions")
    assert single.diagnostics["score"] > 0.93
    assert len(single.values) == 30
    assert single.values.max() < 0.025
    largest = grouped.groups[int(grouped.values.argmax())]
    assert {"mean radius", "worst area"} <= set(largest)
    assert grouped.values.max() > 0.1
    assert grouped.values.max() > 5 * single.values.max()
    assert (grouped.values - 3 * grouped.standard_error > single.values.max()).sum() >= 2
    assert grouped.groups == named.groups
    np.testing.assert_array_equal(grouped.values, named.values)
