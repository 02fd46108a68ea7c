"""Exact SHAP: against the definition of Shapley values, the axioms, and shap's own exact explainer."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pandas as pd
import pytest
import torch

import explainers as ex
from explainers import device
from explainers.games.features import FeatureGame
from explainers.sampling.shapley import exact
from explainers.sampling.shapley.exact import Enumeration, unions_of
from tests.cases import CASES, holey_model, network, numbers, planted_patches
from tests.reference import background_game, owen_values, shapley_values


def curved(X):
    """Interactions of two and three of six features."""
    return np.exp(X[:, 0] / 2) * X[:, 1] + np.maximum(X[:, 2] + X[:, 3] * X[:, 4], X[:, 5])


@pytest.fixture(scope="module")
def six():
    return ex.Model.wrap(curved), ex.Dataset.from_frame(numbers(20, 6).drop(columns="y"))


def test_it_equals_the_definition_on_categories_and_missing_values():
    model, data = holey_model()
    background = data.take([1, 2, 3])
    found = ex.explain(model, data, ex.ExactShap(), target="all", background=background)
    for i in range(6):
        game = background_game(model.predict, data, data.matrix[i], background.matrix)
        np.testing.assert_allclose(found.values[i], shapley_values(game, 4), atol=1e-12)
    np.testing.assert_allclose(found.values.sum(axis=1) + found.base_value, found.output, atol=1e-12)
    assert found.standard_error is None
    assert found.diagnostics["exact"]
    assert found.diagnostics["coalitions"] == 16
    assert found.diagnostics["evaluations"] == 6 * 14 * 3 + 3 + 6


def test_the_background_error_is_the_spread_of_the_definition_over_reference_cases(six):
    model, data = six
    found = ex.explain(model, data, ex.ExactShap(background=4), rows=[5])
    each = []
    for b in data.sample(4, 0):
        game = background_game(model.predict, data, data.matrix[5], data.matrix[[b]])
        each.append(shapley_values(game, 6)[:, 0])
    np.testing.assert_allclose(found.values[0], np.mean(each, axis=0), atol=1e-12)
    np.testing.assert_allclose(found.background_error[0], np.std(each, axis=0, ddof=1) / 2, atol=1e-12)


@pytest.mark.slow  # shap compiles its loops anew in each process: most of a minute
def test_it_equals_the_exact_explainer_of_shap():
    module = network(torch.nn.Linear(7, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3), seed=3)
    model = ex.Model.wrap(module, classes=["a", "b", "c"])
    data = ex.Dataset.from_frame(numbers(30, 7).drop(columns="y"))
    found = ex.explain(model, data, ex.ExactShap(background=10), rows=[1, 2], target="all")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import shap

        masker = shap.maskers.Independent(data.matrix[data.sample(10, 0)])
        theirs = shap.ExactExplainer(lambda X: model.predict(X), masker)(data.matrix[[1, 2]])
    np.testing.assert_allclose(found.values, theirs.values, atol=1e-6)


def test_axioms_hold_to_the_last_digits():
    data = ex.Dataset.from_frame(numbers(20, 5).drop(columns="y"))
    codes = data.matrix.copy()
    codes[:, 1] = codes[:, 0]
    twins = data.with_matrix(codes)
    parts = (
        lambda X: X[:, 0] * X[:, 1] * X[:, 2],
        lambda X: np.sin(X[:, 3] + X[:, 0]),
        lambda X: X[:, 0] * X[:, 1] * X[:, 2] - 3 * np.sin(X[:, 3] + X[:, 0]),
    )
    one, other, both = (
        ex.explain(ex.Model.wrap(part), twins, ex.ExactShap(background=5), rows=range(4)) for part in parts
    )
    np.testing.assert_allclose(one.values[:, 0], one.values[:, 1], atol=1e-13)
    np.testing.assert_allclose(one.values[:, 3:], 0, atol=1e-13)
    np.testing.assert_allclose(one.background_error[:, 3:], 0, atol=1e-13)
    np.testing.assert_allclose(one.values - 3 * other.values, both.values, atol=1e-13)
    np.testing.assert_allclose(both.values.sum(axis=1) + both.base_value, both.output, atol=1e-12)
    assert np.abs(both.values[:, :4]).max() > 0.1


def test_a_large_base_value_costs_no_digits():
    model = ex.Model.wrap(lambda X: 1e9 + curved(X))
    data = ex.Dataset.from_frame(numbers(20, 6).drop(columns="y"))
    plain = ex.explain(ex.Model.wrap(curved), data, ex.ExactShap(background=3), rows=[2])
    high = ex.explain(model, data, ex.ExactShap(background=3), rows=[2])
    np.testing.assert_allclose(high.values, plain.values, atol=1e-6)


def test_a_group_is_one_player():
    model, data = holey_model()
    background = data.take([1, 3])
    groups = (("a", "flag"),)
    found = ex.explain(model, data, ex.ExactShap(groups=groups), rows=[0, 2], background=background, target=1)
    assert found.names == ("a + flag", "kind", "b")
    assert found.diagnostics["groups"] == [["a", "flag"]]
    members = ((0, 3), (1,), (2,))
    for i, case in enumerate((0, 2)):
        game = background_game(model.predict, data, data.matrix[case], background.matrix)
        joined = shapley_values(lambda S, game=game: game(frozenset(j for u in S for j in members[u])), 3)
        np.testing.assert_allclose(found.values[i], joined[:, 1], atol=1e-12)


def test_features_that_equal_every_reference_case_are_no_players(six):
    model, data = six
    codes = data.matrix.copy()
    codes[:, [1, 4]] = 0.5
    same = data.with_matrix(codes)
    found = ex.explain(model, same, ex.ExactShap(background=5, budget=16), rows=range(3))
    assert found.diagnostics["coalitions"] == 16
    assert (found.values[:, [1, 4]] == 0).all()
    assert (found.background_error[:, [1, 4]] == 0).all()
    plain = ex.explain(model, same, ex.KernelShap(background=5), rows=range(3))
    np.testing.assert_allclose(found.values, plain.values, atol=1e-12)


def test_one_feature_no_difference_and_one_reference_case():
    model = ex.Model.wrap(lambda X: X[:, 0] ** 2)
    data = ex.Dataset.from_frame(pd.DataFrame({"x": [1.0, 2.0, 3.0]}))
    found = ex.explain(model, data, ex.ExactShap(), rows=[0, 2], background=data.take([0]))
    np.testing.assert_array_equal(found.values, [[0], [8]])
    assert found.background_error is None
    assert found.reference.cases == 1


def test_portions_company_and_blocks_change_nothing(six, monkeypatch):
    monkeypatch.setattr(exact, "JOB_BYTES", 8 * 7 * 16)  # sixteen coalitions a block
    whole = ex.explain(*six, ex.ExactShap(background=7), rows=range(5))
    alone = ex.explain(*six, ex.ExactShap(background=7), rows=[4])
    monkeypatch.setattr(device, "CPU_CHUNK_BYTES", 60_000)
    ticks = []
    small = ex.explain(
        *six, ex.ExactShap(background=7), rows=range(5), progress=lambda *at: ticks.append(at[:2])
    )
    np.testing.assert_array_equal(small.values, whole.values)
    np.testing.assert_array_equal(small.background_error, whole.background_error)
    np.testing.assert_array_equal(alone.values[0], whole.values[4])
    assert len(ticks) > 10
    assert ticks[-1] == (5 * 62, 5 * 62)
    assert ticks == sorted(ticks)
    monkeypatch.undo()
    np.testing.assert_allclose(
        ex.explain(*six, ex.ExactShap(background=7), rows=range(5)).values, whole.values, atol=1e-13
    )


def test_memory_that_runs_out_half_way_costs_time_only(six, monkeypatch):
    expected = ex.explain(*six, ex.ExactShap(background=3), rows=range(3))
    values, failed = FeatureGame.values, []

    def short_of_memory(game, which, masks):
        if len(which) > 25:
            failed.append(len(which))
            raise MemoryError
        return values(game, which, masks)

    monkeypatch.setattr(FeatureGame, "values", short_of_memory)
    found = ex.explain(*six, ex.ExactShap(background=3), rows=range(3))
    np.testing.assert_array_equal(found.values, expected.values)
    assert failed[0] == 186


def test_the_model_is_asked_for_many_coalitions_at_once(six):
    sizes = []

    def counting(X):
        sizes.append(len(X))
        return curved(X)

    ex.explain(ex.Model.wrap(counting), six[1], ex.ExactShap(background=3), rows=range(4))
    assert sum(sizes[-2:]) >= 4 * 62 * 3
    assert len(sizes) <= 6


def test_the_progress_and_the_model_stop_it(six):
    def stop(done, total, partial=None):
        raise ex.Cancelled

    with pytest.raises(ex.Cancelled):
        ex.explain(*six, ex.ExactShap(background=5), rows=[0], progress=stop)

    def failing(X):
        if len(X) > 40:
            raise ValueError("no more")
        return curved(X)

    with pytest.raises(ex.ModelFailure, match="no more"):
        ex.explain(ex.Model.wrap(failing), six[1], ex.ExactShap(background=5), rows=[0])


def test_more_players_than_the_budget_allows_are_refused_with_numbers(six):
    data = ex.Dataset.from_frame(numbers(30, 20).drop(columns="y"))
    model = ex.Model.wrap(lambda X: X.sum(axis=1))
    sentence = r"20 features need 1,048,576 coalitions.*groups=correlated_groups\(data\).*KernelShap"
    with pytest.raises(ex.InvalidSetting, match=sentence):
        ex.explain(model, data, ex.ExactShap(), rows=[0])
    with pytest.raises(ex.InvalidSetting, match=r"budget=63\) is too small: 6 features need 64 coalitions"):
        ex.explain(*six, ex.ExactShap(budget=63), rows=[0])
    assert ex.explain(*six, ex.ExactShap(budget=64), rows=[0]).diagnostics["coalitions"] == 64
    with pytest.raises(ex.InvalidSetting, match="no raw score"):
        ex.explain(*six, ex.ExactShap(space="raw"), rows=[0])


def test_segments_of_a_picture_and_words_of_a_text():
    model, data, inside = planted_patches(4)
    found = ex.explain(model, data, ex.ExactShap(segments=16, budget=2**16), rows=[0], target="patch")
    assert found.values.shape == (1, 1, 16, 16)
    per_segment = found.diagnostics["segment_values"]
    np.testing.assert_allclose(per_segment.sum(axis=1) + found.base_value, found.output, atol=1e-6)
    assert np.abs(found.values[0, 0][inside[0]]).mean() > 2 * np.abs(found.values[0, 0][~inside[0]]).mean()
    assert found.background_error is None
    case = CASES["black_box_texts"]()
    texts = ex.explain(case.model, case.data, ex.ExactShap(), rows=[0, 3], target="good")
    assert [len(row) for row in texts.values] == [3, 5]
    assert texts.diagnostics["tokens"][0] == ("a", "good", "day")
    asked = {frozenset(S): 0.0 for S in ((), (0,), (2,), (0, 2))}
    asked |= {
        frozenset({1}): 1.0,
        frozenset({0, 1}): 0.5,
        frozenset({1, 2}): 0.5,
        frozenset({0, 1, 2}): 1 / 3,
    }
    np.testing.assert_allclose(texts.values[0], shapley_values(asked.get, 3), atol=1e-12)


# --- the coalitions and their weights ---


@pytest.mark.parametrize("p", [1, 2, 3, 6])
def test_weights_are_those_of_shapley(p):
    design = Enumeration.of(np.arange(p))
    assert (
        len(np.unique(design.masks, axis=0))
        == len(design.masks)
        == 2**p - 2
        == Enumeration.size(np.arange(p)) - 2
    )
    weights = design.weights(0, len(design.masks))
    for mask, column in zip(design.masks, weights.T, strict=True):
        s = int(mask.sum())
        enter = math.factorial(s - 1) * math.factorial(p - s) / math.factorial(p)
        leave = math.factorial(s) * math.factorial(p - s - 1) / math.factorial(p)
        np.testing.assert_allclose(column, np.where(mask, enter, -leave), rtol=1e-13)
    np.testing.assert_allclose(design.of_full, 1 / p)


@pytest.mark.parametrize(
    "unions", [((0,), (1, 2)), ((0, 3), (1, 2)), ((0, 1, 4), (2, 3), (5,)), ((0, 1, 2),)]
)
def test_weights_of_unions_are_those_of_owen(unions):
    p = sum(map(len, unions))
    owner = np.empty(p, dtype=np.int64)
    for number, members in enumerate(unions):
        owner[list(members)] = number
    design = Enumeration.of(owner)
    assert len(np.unique(design.masks, axis=0)) == len(design.masks) == Enumeration.size(owner) - 2
    worth = np.random.default_rng(2).normal(size=2**p)
    worth[0] = 0

    def value(S):
        return worth[sum(2**i for i in S)]

    answers = np.array([value(np.flatnonzero(mask)) for mask in design.masks])
    found = design.weights(0, len(answers)) @ answers + design.of_full * worth[-1]
    np.testing.assert_allclose(found, owen_values(value, unions), atol=1e-12)


def test_unions_are_numbered_anew_among_those_who_play():
    found = unions_of([0, 2, 2, 5, 1], np.array([False, True, True, True, False]))
    np.testing.assert_array_equal(found, [0, 0, 1])
