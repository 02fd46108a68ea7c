"""Permutation SHAP: against the definitions of Shapley and Owen values, the axioms, exact values, and shap's own explainer."""

from __future__ import annotations

import math
import warnings
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

import explainers as ex
from explainers import device
from explainers.sampling.shapley import permutation
from explainers.sampling.shapley.orders import Orders
from explainers.sampling.shapley.permutation import half_width
from tests.cases import CASES, network, numbers, planted_patches
from tests.reference import background_game, owen_values, shapley_values

D = 10


def wavy(X):
    """Interactions of two and three of ten features; the last acts alone."""
    product = np.tanh(X[:, 0] * X[:, 1] + X[:, 2] - X[:, 3] * X[:, 4] * X[:, 5])
    return product + np.maximum(X[:, 6] + X[:, 7], 0) * X[:, 8] + X[:, 9]


@pytest.fixture(scope="module")
def wide():
    return ex.Model.wrap(wavy), ex.Dataset.from_frame(numbers(60, D).drop(columns="y"))


@pytest.fixture(scope="module")
def background(wide):
    return wide[1].take(wide[1].sample(6, 0))


@pytest.fixture(scope="module")
def exact(wide, background):
    return ex.explain(*wide, ex.ExactShap(), rows=range(5), background=background)


def explain(wide, background, rows=range(5), progress=None, **settings):
    return ex.explain(
        *wide, ex.PermutationShap(**settings), rows=rows, background=background, progress=progress
    )


def test_it_is_exact_where_all_coalitions_fit():
    model, data = CASES["tree_three_classes"]().model, CASES["tree_three_classes"]().data
    found = ex.explain(model, data, ex.PermutationShap(background=5), rows=range(4), target="all")
    same = ex.explain(model, data, ex.ExactShap(background=5), rows=range(4), target="all")
    np.testing.assert_array_equal(found.values, same.values)
    np.testing.assert_array_equal(found.background_error, same.background_error)
    assert found.standard_error is None
    assert found.diagnostics["exact"]


def test_it_is_the_mean_over_its_own_orders_and_its_reverses(wide, background):
    """The slow twin: walk along every order, one player at a time."""
    model, data = wide
    found = explain(wide, background, rows=[3], budget=200, seed=4)
    orders = Orders.draw(np.arange(D), 200, 4)
    game = background_game(model.predict, data, data.matrix[3], background.matrix)
    each, apart = [], []
    for rank in orders.rank:
        pair = []
        for order in (np.argsort(rank), np.argsort(rank)[::-1]):
            added, inside = np.zeros(D), frozenset()
            for player in order:
                more = inside | {int(player)}
                added[player] = (game(more) - game(inside)).item()
                inside = more
            pair.append(added)
        each.append(np.mean(pair, axis=0))
        apart.append(np.square(pair[0] - pair[1]) / 4)
    n = len(each)
    assert n == found.diagnostics["pairs_of_orders"] > 5
    np.testing.assert_allclose(found.values[0], np.mean(each, axis=0), atol=1e-12)
    weight = 0.25 * (5 / n) ** 2
    squares = ((n - 1) * np.var(each, axis=0, ddof=1) + weight * np.mean(apart, axis=0)) / (n - 1 + weight)
    expected = np.sqrt(squares / n) * half_width(n) / 1.959964
    np.testing.assert_allclose(found.standard_error[0], expected, rtol=1e-5, atol=1e-12)


def test_the_background_error_is_the_spread_over_reference_cases(wide, background):
    found = explain(wide, background, rows=[2], budget=100)
    each = [explain(wide, background.take([b]), rows=[2], budget=100).values[0] for b in range(6)]
    np.testing.assert_allclose(found.values[0], np.mean(each, axis=0), atol=1e-12)
    expected = np.std(each, axis=0, ddof=1) / np.sqrt(6)
    np.testing.assert_allclose(found.background_error[0], expected, atol=1e-12)


@pytest.mark.parametrize("budget", [20, 21, 90, 500])
def test_values_add_up_and_lie_within_their_errors(wide, background, exact, budget):
    found = explain(wide, background, budget=budget)
    np.testing.assert_allclose(found.values.sum(axis=1) + found.base_value, found.output, atol=1e-12)
    np.testing.assert_allclose(found.base_value, exact.base_value)
    np.testing.assert_allclose(found.values[:, 9], exact.values[:, 9], atol=1e-12)  # acts alone
    np.testing.assert_allclose(found.standard_error[:, 9], 0, atol=1e-12)
    told = found.diagnostics
    assert not told["exact"]
    assert budget - 18 <= told["coalitions"] <= budget
    assert told["evaluations"] == (told["coalitions"] - 2) * 5 * 6 + 6 + 5
    if budget > 50:
        off = np.abs(found.values - exact.values)[:, :9] / found.standard_error[:, :9]
        assert off.max() < 5


@pytest.mark.parametrize("budget", [100, 300])
def test_standard_errors_are_as_large_as_the_errors(wide, background, exact, budget):
    off = []
    for seed in range(10):
        found = explain(wide, background, budget=budget, seed=seed)
        off.append(((found.values - exact.values) / (found.standard_error + 1e-12))[:, :9])
    assert 0.6 < np.std(off) < 1.4
    assert np.abs(np.mean(off)) < 0.3
    assert 0.92 <= np.mean(np.abs(off) <= 1.96) <= 0.99


def test_intervals_are_no_wider_than_the_errors_where_effects_of_two_are_large():
    """Ten triples of features with large effects of two, which pairs get right, and a small one of three, which they do not."""

    def function(X):
        a, b, c = np.moveaxis(np.asarray(X).reshape(-1, 10, 3), 2, 0)
        return (np.tanh(a * b + c) + 4 * a * c + 3 * b * c).sum(axis=1)

    model, data = ex.Model.wrap(function), ex.Dataset.from_frame(numbers(20, 30).drop(columns="y"))
    references = data.take([5, 6, 7])
    game = background_game(model.predict, data, data.matrix[0], references.matrix)
    truth = np.concatenate(
        [
            shapley_values(lambda inside, at=at: game(frozenset(at + i for i in inside)), 3).ravel()
            for at in range(0, 30, 3)
        ]
    )
    off = []
    for seed in range(8):
        settings = ex.PermutationShap(budget=1500, seed=seed)
        found = ex.explain(model, data, settings, rows=[0], background=references)
        off.append((found.values[0] - truth) / found.standard_error[0])
    assert 0.92 <= np.mean(np.abs(off) <= 1.96) <= 0.98
    assert 0.75 < np.sqrt(np.mean(np.square(off))) < 1.25


def test_one_pair_is_exact_for_effects_of_two():
    model = ex.Model.wrap(lambda X: X[:, 0] * X[:, 1] + np.sin(X[:, 2]) * X[:, 3] + X[:, 4] ** 2)
    data = ex.Dataset.from_frame(numbers(20, 5).drop(columns="y"))
    found = ex.explain(model, data, ex.PermutationShap(background=4, budget=10), rows=range(3))
    same = ex.explain(model, data, ex.ExactShap(background=4), rows=range(3))
    assert found.diagnostics["pairs_of_orders"] == 1
    np.testing.assert_allclose(found.values, same.values, atol=1e-12)
    assert (found.standard_error[:, :4] > 0).all()  # which one pair cannot know


@pytest.mark.slow  # their first call compiles for ten seconds
def test_it_equals_the_permutation_explainer_of_shap(wide, background, exact):
    found = explain(wide, background, budget=1000, rows=[1])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import shap

        masker = shap.maskers.Independent(background.matrix)
        theirs = shap.PermutationExplainer(wavy, masker, seed=0)(
            wide[1].matrix[[1]], max_evals=100 * (2 * D + 1)
        )
    np.testing.assert_allclose(theirs.values, found.values, atol=0.05)
    np.testing.assert_allclose(theirs.values, exact.values[[1]], atol=0.05)
    assert np.abs(exact.values[1]).max() > 0.5


def test_dummies_twins_and_sums():
    data = ex.Dataset.from_frame(numbers(20, 6).drop(columns="y"))
    parts = (
        lambda X: X[:, 0] * X[:, 1] * X[:, 2],
        lambda X: np.sin(X[:, 3] + X[:, 0]),
        lambda X: X[:, 0] * X[:, 1] * X[:, 2] - 2 * np.sin(X[:, 3] + X[:, 0]),
    )
    one, other, both = (
        ex.explain(ex.Model.wrap(part), data, ex.PermutationShap(background=5, budget=40), rows=[0, 1])
        for part in parts
    )
    np.testing.assert_allclose(one.values[:, 3:], 0, atol=1e-13)
    np.testing.assert_allclose(one.standard_error[:, 3:], 0, atol=1e-13)
    np.testing.assert_allclose(one.values - 2 * other.values, both.values, atol=1e-12)
    codes = data.matrix.copy()
    codes[:, 1] = codes[:, 0]
    twins = ex.explain(
        ex.Model.wrap(parts[0]),
        data.with_matrix(codes),
        ex.PermutationShap(background=5, budget=60),
        rows=[0, 1],
    )
    gap = np.abs(twins.values[:, 0] - twins.values[:, 1])
    assert (gap <= 4 * (twins.standard_error[:, 0] + twins.standard_error[:, 1])).all()


# --- groups ---

UNIONS = ((0, 3), (1, 2, 4))
GROUPS = tuple(tuple(f"x{j}" for j in union) for union in UNIONS)


def triples(X):
    return X[:, 0] * X[:, 1] * X[:, 2] + np.maximum(X[:, 3], X[:, 4]) * X[:, 0]


def test_owen_values_equal_their_definition_and_add_up_to_the_groups():
    model, data = ex.Model.wrap(triples), ex.Dataset.from_frame(numbers(12, 5).drop(columns="y"))
    background = data.take([1, 5, 7])
    settings = {"groups": GROUPS, "within_groups": "owen"}
    found = ex.explain(model, data, ex.PermutationShap(**settings), rows=[0, 2], background=background)
    joined = ex.explain(model, data, ex.PermutationShap(groups=GROUPS), rows=[0, 2], background=background)
    assert found.diagnostics["exact"]
    assert found.diagnostics["coalitions"] == 4 + 2 * 2 + 2 * 6
    assert found.names == data.schema.names
    assert joined.names == ("x0 + x3", "x1 + x2 + x4")
    for i, case in enumerate((0, 2)):
        game = background_game(model.predict, data, data.matrix[case], background.matrix)
        np.testing.assert_allclose(found.values[i], owen_values(game, UNIONS)[:, 0], atol=1e-12)
        assert np.abs(found.values[i] - shapley_values(game, 5)[:, 0]).max() > 1e-3
    for number, union in enumerate(UNIONS):
        np.testing.assert_allclose(found.values[:, union].sum(axis=1), joined.values[:, number], atol=1e-12)


def test_sampled_owen_values_lie_within_their_errors(wide, background):
    groups = (("x0", "x3", "x6"), ("x1", "x4", "x7", "x9"))
    settings = {"groups": groups, "within_groups": "owen"}
    whole = explain(wide, background, budget=4096, **settings)
    assert whole.diagnostics["exact"]
    assert whole.diagnostics["owen"] == [list(group) for group in groups]
    for seed in range(4):
        found = explain(wide, background, budget=120, seed=seed, **settings)
        assert not found.diagnostics["exact"]
        np.testing.assert_allclose(found.values.sum(axis=1) + found.base_value, found.output, atol=1e-12)
        off = np.abs(found.values - whole.values) - 5 * found.standard_error
        assert off.max() < 1e-9


def test_features_that_equal_the_references_are_no_players(wide):
    model, data = wide
    codes = data.matrix[:9].copy()
    codes[:, [2, 7]] = 0.25
    cases, background = data.with_matrix(codes[:3]), data.with_matrix(codes[3:])
    joined = {"groups": (("x2", "x7"),)}
    for settings in ({}, joined, {**joined, "within_groups": "owen"}):
        explainer = ex.PermutationShap(budget=60, **settings)
        found = ex.explain(model, data, explainer, rows=cases, background=background)
        flat = [found.names.index(name) for name in found.names if name in ("x2", "x7", "x2 + x7")]
        assert len(flat) in (1, 2)
        for array in (found.values, found.standard_error, found.background_error):
            assert (array[:, flat] == 0).all()
        np.testing.assert_allclose(found.values.sum(axis=1) + found.base_value, found.output, atol=1e-12)


# --- growing ---


def test_partial_results_grow_into_the_result(wide, background, exact):
    seen = []

    def keep(done, total, partial=None):
        if partial is not None:
            seen.append((done, partial))

    found = explain(wide, background, budget=500, progress=keep)
    pairs = [partial.diagnostics["pairs_of_orders"] for _, partial in seen]
    last = found.diagnostics["pairs_of_orders"]
    assert pairs == [2**i for i in range(len(pairs))]
    assert pairs[-1] < last <= 2 * pairs[-1]
    assert [partial.diagnostics["coalitions"] for _, partial in seen] == [done // 5 + 2 for done, _ in seen]
    for _, partial in seen:
        assert type(partial) is ex.Attribution
        np.testing.assert_array_equal(partial.output, found.output)
        np.testing.assert_array_equal(partial.base_value, found.base_value)
        np.testing.assert_allclose(
            partial.values.sum(axis=1) + partial.base_value, partial.output, atol=1e-12
        )
    errors = [np.median(partial.standard_error) for _, partial in seen]
    assert np.median(found.standard_error) < errors[-1] < errors[0] / 3
    short = explain(wide, background, budget=20)
    np.testing.assert_array_equal(short.values, seen[0][1].values)
    np.testing.assert_array_equal(short.standard_error, seen[0][1].standard_error)


def test_a_tolerance_stops_each_case_when_its_intervals_are_narrow(wide, background, exact):
    found = explain(wide, background, budget=1000, tolerance=0.1)
    spent = np.array(found.diagnostics["coalitions_of_each"])
    within = np.array(found.diagnostics["within_tolerance"])
    narrow = 1.96 * found.standard_error.max(axis=1) <= 0.1
    np.testing.assert_array_equal(within, narrow)
    assert within[spent < 980].all()
    assert spent.min() < 500
    assert np.abs(found.values - exact.values)[within].max() < 0.2
    for row in (0, 4):
        alone = explain(wide, background, rows=[row], budget=1000, tolerance=0.1)
        np.testing.assert_array_equal(alone.values[0], found.values[row])
    never = explain(wide, background, budget=100, tolerance=0.0)
    plain = explain(wide, background, budget=100)
    np.testing.assert_array_equal(never.values, plain.values)
    assert not any(never.diagnostics["within_tolerance"])


def test_stopping_early_keeps_what_the_intervals_promise(wide, background, exact):
    inside = []
    for seed in range(8):
        found = explain(wide, background, budget=1000, tolerance=0.15, seed=seed)
        inside.append(np.abs(found.values - exact.values) <= 1.96 * found.standard_error + 1e-12)
    assert np.mean(inside) > 0.92


def test_seeds_portions_waves_and_company(wide, background, monkeypatch):
    whole = explain(wide, background, budget=150)
    again = explain(wide, background, budget=150)
    other = explain(wide, background, budget=150, seed=1)
    alone = explain(wide, background, budget=150, rows=[4])
    np.testing.assert_array_equal(whole.values, again.values)
    assert (whole.values[:, :9] != other.values[:, :9]).all()
    np.testing.assert_array_equal(alone.values[0], whole.values[4])
    np.testing.assert_array_equal(alone.standard_error[0], whole.standard_error[4])
    monkeypatch.setattr(device, "CPU_CHUNK_BYTES", 30_000)
    ticks = []
    small = explain(wide, background, budget=150, progress=lambda *at: ticks.append(at[:2]))
    monkeypatch.setattr(permutation, "STATE_BYTES", 1)  # one case after the other
    seen = []
    waves = explain(wide, background, budget=150, progress=lambda *at: seen.append(at[2]))
    for found in (small, waves):
        np.testing.assert_array_equal(found.values, whole.values)
        np.testing.assert_array_equal(found.standard_error, whole.standard_error)
        np.testing.assert_array_equal(found.background_error, whole.background_error)
    assert len(ticks) > 10
    assert ticks == sorted(ticks)
    assert ticks[-1][0] == ticks[-1][1]
    assert seen
    assert all(partial is None for partial in seen)
    monkeypatch.setattr(permutation, "JOB_BYTES", 1)  # one pair after the other
    np.testing.assert_allclose(explain(wide, background, budget=150).values, whole.values, atol=1e-13)


def test_a_coalition_is_asked_once(background):
    asked = []

    def remembering(X):
        asked.extend(np.asarray(X).round(6).tobytes() for X in np.asarray(X)[:, None])
        return wavy(X)

    data = ex.Dataset.from_frame(numbers(60, D).drop(columns="y"))
    model = ex.Model.wrap(remembering)
    found = ex.explain(model, data, ex.PermutationShap(budget=900), rows=[7], background=background.take([0]))
    mixed = [row for row in asked if asked.count(row) > 1]
    assert (
        len(set(mixed)) <= 2
    )  # the case and the reference case may be asked before, for what the outputs are
    assert found.diagnostics["coalitions"] > 850


def test_the_progress_and_the_model_stop_it(wide, background):
    def stop(done, total, partial=None):
        if partial is not None:
            raise ex.Cancelled

    with pytest.raises(ex.Cancelled):
        explain(wide, background, progress=stop, budget=200)

    def failing(X):
        if len(X) > 40:
            raise ValueError("no more")
        return wavy(X)

    with pytest.raises(ex.ModelFailure, match="no more"):
        explain((ex.Model.wrap(failing), wide[1]), background)


@pytest.mark.parametrize(
    ("explainer", "message"),
    [
        (
            ex.PermutationShap(budget=19),
            r"budget=19\) is too small for 10 players.*20 coalitions. Set budget to 20",
        ),
        (ex.PermutationShap(groups=(("x0", "no"),)), "no feature 'no'"),
        (ex.PermutationShap(groups=(("x0", "no"),), within_groups="owen"), "no feature 'no'"),
        (ex.PermutationShap(space="probability"), "no probabilities"),
    ],
)
def test_what_it_refuses(wide, explainer, message):
    with pytest.raises(ex.InvalidSetting, match=message):
        ex.explain(*wide, explainer, rows=[0])


def test_one_feature_one_reference_case_and_no_cases(wide):
    model = ex.Model.wrap(lambda X: X[:, 0] ** 2)
    data = ex.Dataset.from_frame(pd.DataFrame({"x": [1.0, 2.0, 3.0]}))
    found = ex.explain(model, data, ex.PermutationShap(budget=2), rows=[0, 2], background=data.take([0]))
    np.testing.assert_array_equal(found.values, [[0], [8]])
    assert found.background_error is None
    sampled = explain(wide, wide[1].take([0]), budget=60)
    assert sampled.background_error is None
    assert sampled.standard_error is not None


def test_segments_of_a_picture_and_words_of_a_text():
    model, data, inside = planted_patches(3)
    explainer = ex.PermutationShap(segments=30, budget=200)
    found = ex.explain(model, data, explainer, rows=[0, 1], target="patch")
    assert found.values.shape == found.standard_error.shape == (2, 1, 16, 16)
    per_segment = found.diagnostics["segment_values"]
    np.testing.assert_allclose(per_segment.sum(axis=1) + found.base_value, found.output, atol=1e-5)
    assert np.abs(found.values[0, 0][inside[0]]).mean() > 2 * np.abs(found.values[0, 0][~inside[0]]).mean()
    texts = ex.Dataset.from_texts(["a good day in a long and good summer", "so"])
    model = CASES["black_box_texts"]().model
    some = ex.explain(model, texts, ex.PermutationShap(budget=40), target="good")
    assert [len(row) for row in some.values] == [len(row) for row in some.standard_error] == [7, 1]
    total = [row.sum() for row in some.values] + some.base_value
    np.testing.assert_allclose(total, some.output, atol=1e-12)
    again = ex.Attribution.from_dict(some.to_dict())
    np.testing.assert_array_equal(again.values[0], some.values[0])


def test_a_network_with_several_outputs(monkeypatch):
    # portions follow the clock, and float32 sums of portions of other sizes round otherwise: here the clock stands
    for place in ("device", "model"):
        monkeypatch.setattr(f"explainers.{place}.time", SimpleNamespace(perf_counter=lambda: 0.0))
    module = network(torch.nn.Linear(8, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3), seed=3)
    model = ex.Model.wrap(module, classes=["a", "b", "c"])
    data = ex.Dataset.from_frame(numbers(30, 8).drop(columns="y"))
    explainer = ex.PermutationShap(background=5, budget=100)
    every = ex.explain(model, data, explainer, rows=[1, 2], target="all")
    one = ex.explain(model, data, explainer, rows=[1, 2], target="b")
    np.testing.assert_allclose(every.values[..., 1], one.values, atol=1e-12)
    np.testing.assert_allclose(every.standard_error[..., 1], one.standard_error, atol=1e-12)
    assert every.targets == ("a", "b", "c")


# --- the orders themselves ---


@pytest.mark.parametrize(
    ("owner", "budget"),
    [([0, 1, 2, 3], 15), (range(6), 40), ([0, 0, 1, 2, 1, 3, 3, 3], 60), (range(40), 300)],
)
def test_orders_are_different_keep_unions_together_and_list_what_they_meet(owner, budget):
    owner = np.array(owner)
    p = len(owner)
    orders = Orders.draw(owner, budget, 3)
    either = {tuple(rank) for rank in orders.rank} | {tuple(p - 1 - rank) for rank in orders.rank}
    assert len(either) == 2 * orders.pairs
    assert len(np.unique(orders.masks, axis=0)) == len(orders.masks) == orders.known[-1] <= budget - 2
    for n, rank in enumerate(orders.rank):
        along = owner[np.argsort(rank)]
        assert (np.diff(along) != 0).sum() == len(set(owner.tolist())) - 1
        for path, at in ((orders.path[n, 0], rank), (orders.path[n, 1], p - 1 - rank)):
            assert (path[0], path[-1]) == (0, 1)
            np.testing.assert_array_equal(orders.masks[path[1:-1] - 2], at < np.arange(1, p)[:, None])
            assert path.max() < orders.known[n + 1] + 2
    sizes = np.bincount(owner)
    assert orders.existing == math.factorial(len(sizes)) * math.prod(map(math.factorial, sizes)) // 2


def test_every_order_is_as_likely():
    count = np.zeros((4, 4))
    for seed in range(400):
        rank = Orders.draw(np.arange(4), 8, seed).rank[0]
        count[np.arange(4), rank] += 1
    assert count.max() / count.min() < 1.8
