"""Mean absolute attribution, and groups of correlated features."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

import explainers as ex


def attribution(values, **more):
    values = np.asarray(values, dtype=np.float64)
    m = len(values)
    names = tuple("abcd"[: values.shape[1]])
    facts = {
        "base_value": np.zeros(m),
        "output": np.zeros(m),
        "space": "probability",
        "targets": ("yes",) * m,
    }
    return ex.Attribution(names=names, values=values, **{**facts, **more})


VALUES = [[1.0, -2.0, 0.0], [-3.0, 4.0, 0.0], [2.0, 0.0, 0.0]]


def test_mean_absolute_value_and_its_error():
    reference = ex.Reference(100, "train", "probability")
    result = ex.mean_absolute(attribution(VALUES, reference=reference))
    np.testing.assert_allclose(result.values, [2.0, 2.0, 0.0])
    np.testing.assert_allclose(result.standard_error, [1.0 / np.sqrt(3), 2.0 / np.sqrt(3), 0.0])
    assert result.metric == "mean |SHAP value| (probability)"
    assert (result.groups, result.reference, result.background_error) == ((), reference, None)
    assert np.isnan(ex.mean_absolute(attribution(VALUES[:1])).standard_error).all()


def test_a_group_adds_its_values_before_the_absolute_value():
    error = np.full((3, 3), 0.5)
    result = ex.mean_absolute(attribution(VALUES, background_error=error), groups=(("b", "a"),))
    assert result.names == ("a + b", "c")
    np.testing.assert_allclose(result.values, [(1 + 1 + 2) / 3, 0.0])
    np.testing.assert_allclose(result.background_error, [1.0, 0.5])
    assert result.groups == (("a", "b"), ("c",))


def test_all_outputs_are_added_up():
    both = np.stack([np.array(VALUES), -np.array(VALUES)], axis=2)
    result = ex.mean_absolute(attribution(both))
    np.testing.assert_allclose(result.values, [4.0, 4.0, 0.0])


@pytest.mark.parametrize(
    ("values", "groups", "message"),
    [
        (VALUES, (("a", "z"),), "no feature 'z'"),
        (VALUES, (("a", "b"), ("b", "c")), "'b' stands in two groups"),
        (np.empty((0, 3)), (), "no cases"),
        (np.zeros((2, 3, 4, 4)), (), "Only attributions of tables"),
    ],
)
def test_what_has_no_summary_is_refused(values, groups, message):
    with pytest.raises(ex.InvalidSetting, match=message):
        ex.mean_absolute(attribution(values), groups)


def table(n=400):
    random = np.random.default_rng(0)
    a, b = random.normal(size=n), random.normal(size=n)
    return pd.DataFrame(
        {
            "alone": random.normal(size=n),
            "a": a,
            "curved": np.exp(a) + 0.01 * random.normal(size=n),
            "flag": b > 0,
            "b": np.sign(b) + 0.1 * random.normal(size=n),
            "mirror": -a + 0.1 * random.normal(size=n),
            "constant": 1.0,
            "many": random.choice(["x", "y", "z"], n),
        }
    )


def test_groups_follow_rank_correlation_of_either_sign():
    assert ex.correlated_groups(ex.Dataset.from_frame(table())) == (("a", "curved", "mirror"), ("flag", "b"))
    assert ex.correlated_groups(ex.Dataset.from_frame(table()), threshold=1.0) == ()


def test_the_threshold_is_the_average_rank_correlation():
    frame = table()[["a", "mirror", "alone"]]
    rho = abs(spearmanr(frame["a"], frame["mirror"]).statistic)
    data = ex.Dataset.from_frame(frame)
    assert ex.correlated_groups(data, threshold=rho - 1e-6) == (("a", "mirror"),)
    assert ex.correlated_groups(data, threshold=rho + 1e-6) == ()


def test_copies_are_grouped_at_one_and_missing_values_are_no_harm():
    frame = table()[["a", "alone"]]
    frame["copy"] = frame["a"] * 3
    assert ex.correlated_groups(ex.Dataset.from_frame(frame), threshold=1.0) == (("a", "copy"),)
    frame.loc[::7, "copy"] = np.nan
    frame["gone"] = np.nan
    assert ex.correlated_groups(ex.Dataset.from_frame(frame)) == (("a", "copy"),)


def test_many_rows_are_sampled_the_same_way_each_time():
    random = np.random.default_rng(0)
    a = random.normal(size=5000)
    data = ex.Dataset.from_frame(pd.DataFrame({"a": a, "b": a + 0.3 * random.normal(size=5000)}))
    assert ex.correlated_groups(data) == ex.correlated_groups(data) == (("a", "b"),)


def test_one_feature_has_no_groups_and_a_wrong_threshold_is_refused():
    data = ex.Dataset.from_frame(pd.DataFrame({"a": [1.0, 2.0, 4.0]}))
    assert ex.correlated_groups(data) == ()
    with pytest.raises(ex.InvalidSetting, match="above 0 and at most 1"):
        ex.correlated_groups(data, threshold=0.0)
