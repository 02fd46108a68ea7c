"""Counterfactuals: closed form of a line, exhaustive search as the slow twin, and every rule of the schema."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import RandomForestClassifier

import explainers as ex


def sigmoid(z):
    return 1 / (1 + np.exp(-np.asarray(z, dtype=np.float64)))


def frame(n=400, seed=0):
    random = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "rate": random.integers(8, 50, n),
            "temperature": np.round(random.normal(37.5, 1.0, n), 1),
            "dose": random.normal(size=n),
            "asthma": random.choice(["no", "yes"], n),
        }
    )


def risk(X):
    z = 0.2 * (X[:, 0].astype(float) - 30) + 1.0 * (X[:, 1].astype(float) - 38) + 0.5 * X[:, 2].astype(float)
    return sigmoid(z + 0.05 + 1.0 * (X[:, 3] == "yes"))


MODEL = ex.Model.wrap(risk, classes=["lives", "dies"])


def with_features(data, relations=(), **changed):
    features = [dataclasses.replace(data.schema.feature(name), **facts) for name, facts in changed.items()]
    schema = dataclasses.replace(data.schema.replace(*features), relations=tuple(relations))
    return ex.Dataset(data.X, schema)


def case_of(data, **values):
    X = data.X.iloc[[0]].copy()
    for name, value in values.items():
        X[name] = value
    return ex.Dataset(X.reset_index(drop=True), data.schema)


def changes(result, case=0):
    """Feature -> (now, then) of each suggestion."""
    table = result.to_frame()
    table = table[table.case == case]
    return [
        {row.feature: (row.now, row.then) for row in part.itertuples()}
        for _, part in table.groupby("suggestion")
    ]


SICK = {"rate": 38, "temperature": 38.0, "dose": 0.0, "asthma": "no"}  # 1.65 above the threshold in log-odds


def test_the_change_of_one_number_is_the_closed_form_to_the_last_decimal():
    data = ex.Dataset.from_frame(frame())
    result = ex.explain(MODEL, data, ex.Counterfactual(max_changes=1), rows=case_of(data, **SICK))
    suggestions = {tuple(s): s for s in changes(result)}
    assert suggestions["rate",]["rate"] == (38, 29)  # 0.2 * (29 - 30) + 0.05 < 0
    assert suggestions["temperature",]["temperature"] == pytest.approx((38.0, 36.3))
    assert result.wanted == "below 0.5"
    assert result.found[0] == 2  # the dose would have to fall by 3.2 standard deviations, asthma is not there
    np.testing.assert_array_equal(result.before, risk(case_of(data, **SICK).X.to_numpy()))


def test_one_step_of_the_data_nearer_no_longer_works():
    data = ex.Dataset.from_frame(frame())
    result = ex.explain(MODEL, data, ex.Counterfactual(suggestions=6), rows=case_of(data, **SICK))
    steps = {"rate": 1.0, "temperature": 0.1}
    tried = 0
    for rank in range(result.found[0]):
        for j, name in enumerate(result.names[:2]):
            row = result.changed[0, rank].copy()
            if row[j] != result.original[0, j]:
                row[j] += steps[name] * np.sign(result.original[0, j] - row[j])
                tried += 1
                assert risk(data.schema.decode(row[None]).to_numpy())[0] >= 0.5
    assert tried >= 4


def test_every_suggestion_is_predicted_again_and_touches_other_features():
    random = np.random.default_rng(1)
    X = frame(500)
    X["asthma"] = (X["asthma"] == "yes").astype(int)
    y = (0.1 * (X["rate"] - 30) + X["temperature"] - 38 + random.normal(size=500) > 0).astype(int)
    model = ex.Model.wrap(RandomForestClassifier(20, random_state=0).fit(X, y))
    data = ex.Dataset.from_frame(X)
    result = ex.explain(model, data, ex.Counterfactual(), rows=[3, 17, 80, 200])
    assert result.found.sum() >= 8
    for case in range(4):
        side = result.before[case] >= 0.5
        sets = [frozenset(s) for s in changes(result, case)]
        assert len(set(sets)) == len(sets) == result.found[case]
        assert [len(s) for s in sets] == sorted(len(s) for s in sets)
        for rank in range(result.found[case]):
            again = model.predict(data.schema.decode(result.changed[case, [rank]]))[0, 1]
            assert again == result.output[case, rank]
            assert (again >= 0.5) != side
    assert result.diagnostics["validity"] == 1.0


def test_categories_are_searched_as_well_as_exhaustively():
    random = np.random.default_rng(2)
    levels = [3, 2, 4, 3, 2]
    weights = [random.normal(size=k) for k in levels]
    X = pd.DataFrame({f"c{j}": random.choice([f"v{i}" for i in range(k)], 200) for j, k in enumerate(levels)})

    def model(V):
        score = sum(w[[int(v[1:]) for v in V[:, j]]] for j, w in enumerate(weights))
        return sigmoid(score)

    data = ex.Dataset.from_frame(X)
    wrapped = ex.Model.wrap(model, classes=["no", "yes"])
    every = np.array(list(itertools.product(*[range(k) for k in levels])), dtype=np.float64)
    p = model(data.schema.decode(every).to_numpy())
    rows = list(range(8))
    result = ex.explain(wrapped, data, ex.Counterfactual(max_changes=5), rows=rows)
    for case in rows:
        flips = (p >= 0.5) != (result.before[case] >= 0.5)
        fewest = (every[flips] != result.original[case]).sum(axis=1).min()
        assert len(changes(result, case)[0]) == fewest


def test_two_changes_only_where_one_is_not_enough():
    data = ex.Dataset.from_frame(frame())
    both = ex.Model.wrap(
        lambda X: 0.1 + 0.4 * (X[:, 0] < 20) + 0.4 * (X[:, 3] == "yes"), classes=["no", "yes"]
    )
    case = case_of(data, rate=30, asthma="no")
    result = ex.explain(both, data, ex.Counterfactual(threshold=0.8), rows=case)
    assert changes(result) == [{"rate": (30, 19), "asthma": (0, 1)}]
    none = ex.explain(both, data, ex.Counterfactual(threshold=0.8, max_changes=1), rows=case)
    assert none.found[0] == 0
    assert np.isnan(none.changed).all()


def test_locked_features_stay_and_are_named():
    data = with_features(
        ex.Dataset.from_frame(frame()), rate={"change": "immutable"}, temperature={"change": "measured"}
    )
    case = case_of(data, **SICK)
    result = ex.explain(MODEL, data, ex.Counterfactual(), rows=case)
    assert result.diagnostics["locked"] == {"rate": "immutable", "temperature": "measured"}
    assert {name for s in changes(result) for name in s} <= {"dose", "asthma"}
    allowed = ex.explain(MODEL, data, ex.Counterfactual(allow_measured=True), rows=case)
    assert changes(allowed)[0]["temperature"] == pytest.approx((38.0, 36.3))


def test_directions_are_one_way():
    data = with_features(
        ex.Dataset.from_frame(frame()), rate={"direction": "increase"}, temperature={"direction": "increase"},
        asthma={"direction": "increase"},
    )  # fmt: skip
    result = ex.explain(MODEL, data, ex.Counterfactual(max_changes=4), rows=case_of(data, **SICK))
    assert {name for s in changes(result) for name in s} <= {"dose"}
    down = ex.explain(MODEL, data, ex.Counterfactual(), rows=case_of(data, **{**SICK, "rate": 20}))
    assert down.wanted == "at least 0.5"
    assert changes(down)[0]["rate"] == (20, 30)


def test_declared_limits_narrow_the_observed_range():
    data = with_features(ex.Dataset.from_frame(frame()), rate={"low": 32})
    result = ex.explain(MODEL, data, ex.Counterfactual(suggestions=8), rows=case_of(data, **SICK))
    found = [s["rate"][1] for s in changes(result) if "rate" in s]
    assert len(found) > 0
    assert min(found) >= 32
    assert np.nanmin(result.changed[0, :, 1]) >= data.matrix[:, 1].min()


def test_features_that_move_together_do_so_to_values_seen_together():
    X = frame()
    X["systolic"] = np.random.default_rng(0).integers(90, 180, len(X))
    X["diastolic"] = X["systolic"] - 40 - np.arange(len(X)) % 7
    linked = [
        ex.Relation("moves_with", "systolic", "diastolic"),
        ex.Relation("at_most", "diastolic", "systolic"),
    ]
    data = with_features(
        ex.Dataset.from_frame(X), linked, diastolic={"change": "measured"}, rate={"change": "immutable"},
        temperature={"change": "immutable"}, dose={"change": "immutable"}, asthma={"change": "immutable"},
    )  # fmt: skip
    model = ex.Model.wrap(lambda V: sigmoid(0.1 * (V[:, 4].astype(float) - 130)), classes=["low", "high"])
    case = case_of(data, systolic=150, diastolic=100)
    result = ex.explain(model, data, ex.Counterfactual(), rows=case)
    seen = set(map(tuple, data.matrix[:, 4:]))
    assert result.found[0] == 1
    assert tuple(result.changed[0, 0, 4:]) in seen
    assert set(changes(result)[0]) == {"systolic", "diastolic"}
    alone = ex.explain(model, data, ex.Counterfactual(max_changes=1), rows=case)
    assert alone.found[0] == 0
    fixed = with_features(data, linked, diastolic={"change": "immutable"})
    locked = ex.explain(model, fixed, ex.Counterfactual(), rows=case)
    assert locked.diagnostics["locked"]["systolic"] == "moves with diastolic, which is immutable"


def test_at_most_holds_in_every_suggestion_that_touches_it():
    X = pd.DataFrame({"low": np.arange(100), "high": np.arange(100) + 10})
    model = ex.Model.wrap(lambda V: sigmoid((V[:, 0] - 60) / 10), classes=["no", "yes"])
    free = ex.Dataset.from_frame(X)
    data = with_features(free, [ex.Relation("at_most", "low", "high")])
    rows = case_of(free, low=30, high=40)
    assert changes(ex.explain(model, free, ex.Counterfactual(), rows=rows))[0] == {"low": (30, 60)}
    result = ex.explain(model, data, ex.Counterfactual(), rows=case_of(data, low=30, high=40))
    assert changes(result)[0] == {"low": (30, 60), "high": (40, 60)}


def test_a_missing_value_may_become_known_but_never_the_reverse():
    X = frame().drop(columns="asthma")
    X.loc[::5, "temperature"] = np.nan
    model = ex.Model.wrap(lambda V: np.where(np.isnan(V[:, 1]), 0.9, 0.2), classes=["no", "yes"])
    data = ex.Dataset.from_frame(X)
    result = ex.explain(model, data, ex.Counterfactual(), rows=[0, 1])
    assert result.found.tolist() == [1, 0]
    assert list(changes(result)[0]) == ["temperature"]
    assert result.distance[0, 0] == 1.0


def test_more_classes_the_named_one_or_any_other():
    X = pd.DataFrame({"a": np.linspace(0, 10, 101), "b": np.linspace(5, 6, 101)})

    def three(V):
        z = np.column_stack([-((V[:, 0] - centre) ** 2) for centre in (1.0, 5.0, 9.0)])
        return np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)

    model, data = ex.Model.wrap(three, classes=["red", "green", "blue"]), ex.Dataset.from_frame(X)
    rows = case_of(data, a=1.0, b=5.0)
    other = ex.explain(model, data, ex.Counterfactual(), rows=rows)
    assert (other.wanted, changes(other)[0]["a"]) == ("another class than red", pytest.approx((1.0, 3.1)))
    blue = ex.explain(model, data, ex.Counterfactual(), rows=rows, target="blue")
    assert (blue.wanted, changes(blue)[0]["a"]) == ("blue", pytest.approx((1.0, 7.1)))
    assert blue.targets == ("blue",)
    already = ex.explain(model, data, ex.Counterfactual(goal="higher"), rows=rows, target="red")
    assert already.found[0] == 0
    assert already.diagnostics["already"] == (0,)
    away = ex.explain(model, data, ex.Counterfactual(goal="lower"), rows=rows, target="red")
    assert changes(away)[0]["a"] == pytest.approx((1.0, 3.1))


def test_regression_goals():
    data = ex.Dataset.from_frame(frame().drop(columns="asthma"))
    model = ex.Model.wrap(lambda V: V[:, 0] * 2.0)
    rows = case_of(data, rate=20)
    higher = ex.explain(model, data, ex.Counterfactual(goal="higher", threshold=70), rows=rows)
    assert (higher.wanted, changes(higher)[0]["rate"]) == ("at least 70", (20, 35))
    lower = ex.explain(model, data, ex.Counterfactual(goal="lower", threshold=30), rows=rows)
    assert (lower.wanted, changes(lower)[0]["rate"]) == ("below 30", (20, 14))
    auto = ex.explain(model, data, ex.Counterfactual(), rows=[0, 1])
    deviation = 2.0 * data.matrix[:, 0].std()
    assert auto.wanted == "one standard deviation of the predictions higher"
    for case in range(2):
        if auto.found[case]:
            assert auto.output[case, 0] >= auto.before[case] + deviation
            assert auto.output[case, 0] < auto.before[case] + deviation + 2.0
    assert auto.found.sum() >= 1


def test_goals_of_two_classes_and_the_first_class_as_target():
    data = ex.Dataset.from_frame(frame())
    rows = case_of(data, **SICK)
    already = ex.explain(MODEL, data, ex.Counterfactual(goal="higher"), rows=rows)
    assert (already.found[0], already.wanted) == (0, "at least 0.5")
    first = ex.explain(MODEL, data, ex.Counterfactual(), rows=rows, target="lives")
    assert first.wanted == "at least 0.5"
    assert changes(first)[0]["rate"] == (38, 29)
    mixed = ex.explain(MODEL, data, ex.Counterfactual(suggestions=1), rows=range(6))
    assert mixed.wanted == "the other side of 0.5"


def test_scores_are_judged_at_the_log_odds_of_the_threshold():
    model = ex.Model.wrap(lambda V: V[:, 0] - 20.0, classes=["no", "yes"], output="raw")
    data = ex.Dataset.from_frame(frame().drop(columns="asthma"))
    result = ex.explain(model, data, ex.Counterfactual(), rows=case_of(data, rate=30))
    assert (result.space, result.wanted, changes(result)[0]["rate"]) == ("raw", "below 0", (30, 19))


def test_same_seed_same_suggestions_and_progress_reaches_its_end(monkeypatch):
    data = ex.Dataset.from_frame(frame())
    ticks = []
    first = ex.explain(
        MODEL,
        data,
        ex.Counterfactual(),
        rows=[1, 2],
        progress=lambda done, total, partial=None: ticks.append((done, total)),
    )
    monkeypatch.setattr("explainers.device.chunk_rows", lambda row_bytes, device: 13)
    again = ex.explain(MODEL, data, ex.Counterfactual(), rows=[1, 2])
    np.testing.assert_array_equal(first.changed, again.changed)
    assert ticks == sorted(ticks)
    assert ticks[-1] == (20, 20)
    with pytest.raises(ex.Cancelled):
        ex.explain(MODEL, data, ex.Counterfactual(), rows=[1], progress=_cancel)


def _cancel(done, total, partial=None):
    raise ex.Cancelled


def test_evaluations_are_what_the_model_was_asked():
    asked = []

    def counted(X):
        asked.append(len(X))
        return risk(X)

    data = ex.Dataset.from_frame(frame())
    result = ex.explain(ex.Model.wrap(counted, classes=["l", "d"]), data, ex.Counterfactual(), rows=[4])
    assert result.diagnostics["evaluations"] == sum(asked)
    assert len(asked) < 25


@pytest.mark.parametrize(
    ("settings", "call", "message"),
    [
        ({"threshold": 1.5}, {}, "is a probability for a classifier"),
        ({"suggestions": 0}, {}, "between 1 and 20"),
        ({"max_changes": 6}, {}, "between 1 and 5"),
        ({}, {"target": "all"}, "one output at a time"),
        ({}, {"rows": []}, "no cases to explain"),
        ({}, {"target": "neither"}, "no class 'neither'"),
    ],
)
def test_what_cannot_be_done_is_refused(settings, call, message):
    data = ex.Dataset.from_frame(frame(30))
    with pytest.raises(ex.InvalidSetting, match=message):
        ex.explain(MODEL, data, ex.Counterfactual(**settings), **{"rows": [0], **call})


def test_several_outputs_must_be_named():
    data = ex.Dataset.from_frame(frame(30).drop(columns="asthma"))
    two = ex.Model.wrap(lambda V: np.column_stack([V[:, 0], V[:, 1]]))
    with pytest.raises(ex.InvalidSetting, match=r"needs target=0\.\.1"):
        ex.explain(two, data, ex.Counterfactual(), rows=[0])
