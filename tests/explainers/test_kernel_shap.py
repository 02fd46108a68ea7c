"""Kernel SHAP: against the definition of Shapley values, the axioms, and shap's own explainer."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pandas as pd
import pytest
import torch

import explainers as ex
from explainers import device
from explainers.sampling.shapley import kernel, polynomial
from explainers.sampling.shapley.coalitions import coalitions
from explainers.sampling.shapley.polynomial import _values_of_kernel
from explainers.sampling.shapley.regression import ShapleyRegression
from tests.cases import CASES, holey_model, network, numbers
from tests.reference import background_game, shapley_values

D = 12


def wavy(X):
    """Interactions of two and three of twelve features."""
    product = np.tanh(X[:, 0] * X[:, 1] + X[:, 2] - X[:, 3] * X[:, 4] * X[:, 5])
    return product + X[:, 6] * X[:, 7] / 2 + np.maximum(X[:, 8] + X[:, 9], 0) * X[:, 10] + X[:, 11]


@pytest.fixture(scope="module")
def wide():
    return ex.Model.wrap(wavy), ex.Dataset.from_frame(numbers(60, D).drop(columns="y"))


@pytest.fixture(scope="module")
def exact(wide):
    return ex.explain(*wide, ex.KernelShap(background=8, budget=2**D), rows=range(6))


def test_it_equals_the_definition_on_categories_and_missing_values():
    model, data = holey_model()
    background = data.take([1, 2, 3])
    found = ex.explain(model, data, ex.KernelShap(), rows=range(6), target="all", background=background)
    for i in range(6):
        game = background_game(model.predict, data, data.matrix[i], background.matrix)
        np.testing.assert_allclose(found.values[i], shapley_values(game, 4), atol=1e-10)
    assert found.standard_error is None
    assert found.diagnostics["exact"]
    assert found.diagnostics["coalitions"] == 16


def test_six_features_equal_the_definition_and_the_background_error_its_spread():
    model = ex.Model.wrap(lambda X: np.exp(X[:, 0]) * X[:, 1] + np.maximum(X[:, 2:].sum(axis=1), X[:, 3]))
    data = ex.Dataset.from_frame(numbers(12, 6).drop(columns="y"))
    found = ex.explain(model, data, ex.KernelShap(background=4), rows=[5])
    chosen = data.sample(4, 0)
    each = []
    for b in chosen:
        game = background_game(model.predict, data, data.matrix[5], data.matrix[[b]])
        each.append(shapley_values(game, 6)[:, 0])
    np.testing.assert_allclose(found.values[0], np.mean(each, axis=0), atol=1e-10)
    np.testing.assert_allclose(found.background_error[0], np.std(each, axis=0, ddof=1) / 2, atol=1e-10)


def test_a_linear_function_has_its_closed_form_from_any_coalitions():
    slope = np.arange(1.0, 15.0)
    model = ex.Model.wrap(lambda X: X @ slope)
    data = ex.Dataset.from_frame(numbers(30, 14).drop(columns="y"))
    found = ex.explain(model, data, ex.KernelShap(background=10, budget=60), rows=range(4))
    reference = data.matrix[data.sample(10, 0)]
    np.testing.assert_allclose(found.values, slope * (data.matrix[:4] - reference.mean(axis=0)), atol=1e-9)
    np.testing.assert_allclose(found.standard_error, 0, atol=1e-9)
    error = slope * reference.std(axis=0, ddof=1) / np.sqrt(10)
    np.testing.assert_allclose(found.background_error, np.tile(error, (4, 1)), rtol=1e-9)


@pytest.mark.parametrize("budget", [26, 27, 101, 1024])
def test_sampled_values_add_up_and_lie_within_their_errors(wide, exact, budget):
    found = ex.explain(*wide, ex.KernelShap(background=8, budget=budget), rows=range(6))
    np.testing.assert_allclose(found.values.sum(axis=1) + found.base_value, found.output, atol=1e-9)
    np.testing.assert_allclose(found.output, exact.output)
    np.testing.assert_allclose(found.base_value, exact.base_value)
    assert not found.diagnostics["exact"]
    assert found.diagnostics["coalitions"] <= budget
    assert found.diagnostics["evaluations"] == (found.diagnostics["coalitions"] - 2) * 6 * 8 + 8 + 6
    if budget > 100:  # with as few pairs as features an error has no freedom left to be judged by
        assert np.abs((found.values - exact.values) / found.standard_error).max() < 5


def test_standard_errors_are_as_large_as_the_errors(wide, exact):
    background = wide[1].take(wide[1].sample(8, 0))
    off = []
    for seed in range(12):
        explainer = ex.KernelShap(budget=300, seed=seed)
        found = ex.explain(*wide, explainer, rows=range(6), background=background)
        off.append((found.values - exact.values) / found.standard_error)
    assert 0.7 < np.std(off) < 1.4
    assert np.abs(np.mean(off)) < 0.3


def test_it_is_closer_than_plain_sampling_at_the_same_budget(wide, exact):
    model, data = wide
    background = data.matrix[data.sample(8, 0)]
    ours, plain = [], []
    for seed in range(6):
        explainer = ex.KernelShap(budget=200, seed=seed)
        found = ex.explain(model, data, explainer, rows=[0], background=data.take(data.sample(8, 0)))
        ours.append(found.values[0] - exact.values[0])
        plain.append(plain_kernel_shap(data.matrix[0], background, 200, seed) - exact.values[0])
    assert np.sqrt(np.mean(np.square(ours))) < 0.7 * np.sqrt(np.mean(np.square(plain)))


def plain_kernel_shap(case, background, budget, seed):
    """Coalitions drawn one by one from Shapley's kernel, with replacement, unpaired; the constraint by elimination."""
    rng = np.random.default_rng(seed)
    sizes = np.arange(1, D)
    chance = 1 / (sizes * (D - sizes))
    masks = np.zeros((budget - 2, D))
    for row in masks:
        row[rng.choice(D, rng.choice(sizes, p=chance / chance.sum()), replace=False)] = 1
    answers = np.array([wavy(np.where(row > 0, case, background)).mean() for row in masks])
    empty, full = wavy(background).mean(), wavy(case[None])[0]
    left = masks[:, :-1] - masks[:, -1:]
    first, *_ = np.linalg.lstsq(left, answers - empty - masks[:, -1] * (full - empty), rcond=None)
    return np.append(first, full - empty - first.sum())


def test_features_that_do_not_differ_get_exactly_nothing(wide):
    model, data = wide
    codes = data.matrix[:9].copy()
    codes[:, [2, 7]] = 0.25
    codes[0, 7] = np.nan
    cases = data.with_matrix(np.where(np.isnan(codes), 0.5, codes))
    background = data.with_matrix(codes[1:])
    found = ex.explain(model, data, ex.KernelShap(budget=60), rows=cases, background=background)
    assert (found.values[:, 2] == 0).all()
    assert (found.standard_error[:, 2] == 0).all()
    assert (found.background_error[:, 2] == 0).all()
    assert (found.values[1:, 7] == 0).all()
    assert found.values[0, 7] != 0
    np.testing.assert_allclose(found.values.sum(axis=1) + found.base_value, found.output, atol=1e-9)
    alone = ex.explain(model, data, ex.KernelShap(budget=60), rows=cases.take([0]), background=background)
    np.testing.assert_allclose(alone.values[0], found.values[0], atol=1e-12)


def test_a_case_that_equals_its_only_reference_case_has_no_values(wide):
    model, data = wide
    found = ex.explain(model, data, ex.KernelShap(), rows=[3, 4], background=data.take([3]))
    assert (found.values[0] == 0).all()
    assert np.abs(found.values[1]).max() > 0.1
    assert found.background_error is None
    np.testing.assert_allclose(found.values.sum(axis=1), found.output - found.base_value, atol=1e-9)


def test_symmetric_features_and_sums_of_models():
    data = ex.Dataset.from_frame(numbers(20, 4).drop(columns="y"))
    codes = data.matrix.copy()
    codes[:, 1] = codes[:, 0]
    twins = data.with_matrix(codes)
    one = ex.Model.wrap(lambda X: X[:, 0] * X[:, 1] * X[:, 2])
    other = ex.Model.wrap(lambda X: np.sin(X[:, 3] + X[:, 0]))
    both = ex.Model.wrap(lambda X: X[:, 0] * X[:, 1] * X[:, 2] + np.sin(X[:, 3] + X[:, 0]))
    a, b, c = (ex.explain(m, twins, ex.KernelShap(background=5), rows=[0, 1]) for m in (one, other, both))
    np.testing.assert_allclose(a.values[:, 0], a.values[:, 1], atol=1e-12)
    np.testing.assert_allclose(a.values[:, 3], 0, atol=1e-12)
    np.testing.assert_allclose(a.values + b.values, c.values, atol=1e-12)


def test_it_equals_the_kernel_explainer_of_shap():
    module = network(torch.nn.Linear(5, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3), seed=3)
    model = ex.Model.wrap(module, classes=["a", "b", "c"])
    data = ex.Dataset.from_frame(numbers(30, 5).drop(columns="y"))
    found = ex.explain(model, data, ex.KernelShap(background=10), rows=[1, 2], target="all")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import shap

        reference = data.matrix[data.sample(10, 0)]
        theirs = shap.KernelExplainer(lambda X: model.predict(X), reference)
        expected = theirs.shap_values(data.matrix[[1, 2]], nsamples=1000, l1_reg=0, silent=True)
    np.testing.assert_allclose(found.values, expected, atol=1e-6)


def test_targets_and_spaces_of_a_classifier():
    case = CASES["mixed_table_classifier"]()
    every = ex.explain(case.model, case.data, ex.KernelShap(background=9), rows=[0, 3], target="all")
    one = ex.explain(case.model, case.data, ex.KernelShap(background=9), rows=[0, 3], target="ill")
    raw = ex.explain(case.model, case.data, ex.KernelShap(background=9, space="raw"), rows=[0, 3])
    np.testing.assert_allclose(every.values[..., 0], one.values, atol=1e-12)
    np.testing.assert_allclose(every.values.sum(axis=2), 0, atol=1e-12)
    assert every.targets == ("ill", "well")
    assert (one.space, raw.space) == ("probability", "raw")
    np.testing.assert_allclose(raw.output, case.model.raw(case.data.X)[[0, 3], 1])
    assert one.reference == ex.Reference(9, "train", "probability")
    assert one.diagnostics["exact"]


def test_an_edited_case_is_explained_like_any_other(wide):
    model, data = wide
    edited = data.matrix[:1].copy()
    edited[0, 4] = 3.0
    cases = ex.Dataset.from_frame(pd.DataFrame(edited, columns=data.schema.names))
    found = ex.explain(model, data, ex.KernelShap(background=5, budget=100), rows=cases)
    assert found.output[0] == pytest.approx(wavy(edited)[0])


def test_portions_and_company_change_nothing(wide, monkeypatch):
    whole = ex.explain(*wide, ex.KernelShap(background=7, budget=90), rows=range(5))
    alone = ex.explain(*wide, ex.KernelShap(background=7, budget=90), rows=[4])
    monkeypatch.setattr(device, "CPU_CHUNK_BYTES", 40_000)
    ticks = []
    small = ex.explain(
        *wide,
        ex.KernelShap(background=7, budget=90),
        rows=range(5),
        progress=lambda *at: ticks.append(at[:2]),
    )
    np.testing.assert_array_equal(small.values, whole.values)
    np.testing.assert_array_equal(small.standard_error, whole.standard_error)
    np.testing.assert_array_equal(alone.values[0], whole.values[4])
    assert len(ticks) > 10
    assert ticks[-1] == (5 * 88, 5 * 88)
    assert ticks == sorted(ticks)


def test_the_progress_stops_it(wide):
    def stop(done, total, partial=None):
        raise ex.Cancelled

    with pytest.raises(ex.Cancelled):
        ex.explain(*wide, ex.KernelShap(background=5), rows=[0], progress=stop)


@pytest.mark.parametrize(
    ("explainer", "message"),
    [
        (ex.KernelShap(budget=25), r"budget=25\) is too small for 12 features; set budget to 26 or more"),
        (ex.KernelShap(space="raw"), "no raw score"),
        (ex.KernelShap(space="probability"), "no probabilities"),
    ],
)
def test_what_it_refuses(wide, explainer, message):
    with pytest.raises(ex.InvalidSetting, match=message):
        ex.explain(*wide, explainer, rows=[0])


# --- rounds, tolerance, proxies, groups ---


def partials_of(wide, explainer, rows=range(3)):
    """Every partial result, with how far it had got, and the final one."""
    seen = []

    def keep(done, total, partial=None):
        if partial is not None:
            seen.append((done, total, partial))

    background = wide[1].take(wide[1].sample(8, 0))
    return seen, ex.explain(*wide, explainer, rows=rows, background=background, progress=keep)


def test_each_round_is_the_answer_of_a_smaller_budget_and_comes_closer(wide, exact):
    seen, last = partials_of(wide, ex.KernelShap(budget=1024), rows=range(6))
    assert [partial.diagnostics["coalitions"] for _, _, partial in seen] == [64, 128, 256, 512]
    assert [done for done, _, _ in seen] == [6 * 62, 6 * 126, 6 * 254, 6 * 510]
    assert {total for _, total, _ in seen} == {6 * 1022}
    off = [np.square(r.values - exact.values).mean() for r in (*(partial for _, _, partial in seen), last)]
    assert off == sorted(off, reverse=True)
    assert off[-1] < off[0] / 50
    errors = [partial.standard_error.mean() for _, _, partial in seen]
    assert errors == sorted(errors, reverse=True)
    for _, _, partial in seen:
        np.testing.assert_allclose(partial.values.sum(axis=1) + partial.base_value, partial.output, atol=1e-9)
    assert not np.shares_memory(seen[0][2].values, seen[1][2].values)


@pytest.mark.parametrize("method", [ex.KernelShap, ex.PermutationShap])
def test_first_bars_ask_little_and_say_how_little_they_know(method):
    asked, seen = [], []

    def model(X):
        asked.append(len(X))
        return wavy(X)

    def keep(done, total, partial=None):
        if partial is not None:
            seen.append((sum(asked), partial))

    data = ex.Dataset.from_frame(numbers(90, D).drop(columns="y"))
    wrapped = ex.Model.wrap(model)
    last = ex.explain(wrapped, data, method(background=80, budget=512), rows=[3], progress=keep)
    rows, first = seen[0]
    assert rows <= 8 * 50 + 80 + 10  # the reference cases as they are, and a few coalitions
    assert sum(asked) < 80 * 512 * 1.05
    np.testing.assert_allclose(first.values.sum(axis=1) + first.base_value, first.output, atol=1e-9)
    assert first.reference.cases == 8
    assert last.reference.cases == 80
    off = np.abs(first.values - last.values)
    assert (off <= 1.96 * first.standard_error).mean() > 0.8
    assert (off > 0.2 * first.standard_error).mean() > 0.4  # nor are they needlessly wide
    silent = ex.explain(wrapped, data, method(background=80, budget=512), rows=[3])
    np.testing.assert_array_equal(silent.values, last.values)


def test_a_portion_that_comes_again_counts_once(wide):
    failed = []

    def short(X):
        if len(failed) < 3 and len(X) > 100:
            failed.append(len(X))
            raise MemoryError
        return wavy(X)

    background = wide[1].take(wide[1].sample(8, 0))
    method = ex.KernelShap(budget=200)
    found = ex.explain(ex.Model.wrap(short), wide[1], method, rows=range(3), background=background)
    assert failed
    whole = ex.explain(*wide, method, rows=range(3), background=background)
    np.testing.assert_array_equal(found.values, whole.values)


def test_more_pairs_than_are_kept_give_the_same_values(wide, monkeypatch):
    background = wide[1].take(wide[1].sample(3, 0))
    monkeypatch.setattr(polynomial, "MOST_PAIRS", 100)
    kernel._design.cache_clear()
    whole = ex.explain(*wide, ex.KernelShap(budget=1000), rows=range(2), background=background)
    kernel._design.cache_clear()
    monkeypatch.setattr(polynomial, "MOST_KEPT", 64)
    blocks = ex.explain(*wide, ex.KernelShap(budget=1000), rows=range(2), background=background)
    kernel._design.cache_clear()
    np.testing.assert_allclose(blocks.values, whole.values, rtol=0, atol=1e-12)
    np.testing.assert_allclose(blocks.standard_error, whole.standard_error, rtol=0, atol=1e-12)
    assert (whole.standard_error > 0).any()


@pytest.mark.parametrize("method", [ex.KernelShap(background=50), ex.PermutationShap(background=50)], ids=str)
def test_a_slow_model_is_never_asked_for_long(method):
    """Once it is known how slow it is: whoever stops waits for one portion."""
    clock, longest = [0.0], []

    def model(X):
        clock[0] += 0.002 * len(X)
        longest.append(0.002 * len(X))
        return wavy(X)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("time.perf_counter", lambda: clock[0])
        data = ex.Dataset.from_frame(numbers(60, D).drop(columns="y"))
        ex.explain(ex.Model.wrap(model), data, method, rows=[0])
    assert len(longest) > 100
    assert max(longest) <= 0.3


def test_a_round_asks_nothing_again():
    asked = []

    def model(X):
        asked.append(len(X))
        return wavy(X)

    data = ex.Dataset.from_frame(numbers(60, D).drop(columns="y"))
    found = ex.explain(ex.Model.wrap(model), data, ex.KernelShap(background=8, budget=512), rows=range(2))
    how_many_outputs = 1  # one case, once before
    assert sum(asked) - how_many_outputs == found.diagnostics["evaluations"] == 2 * 510 * 8 + 8 + 2


def test_a_case_stops_once_its_intervals_are_narrow_enough(wide, exact):
    background = wide[1].take(wide[1].sample(8, 0))
    found = ex.explain(*wide, ex.KernelShap(budget=4000, tolerance=0.1), rows=range(6), background=background)
    asked = np.array(found.diagnostics["coalitions_of_each"])
    assert asked.min() < asked.max() < 4000
    assert found.diagnostics["within_tolerance"] == [True] * 6
    assert 1.96 * found.standard_error.max() <= 0.1
    assert found.diagnostics["evaluations"] == (asked - 2).sum() * 8 + 8 + 6
    alone = ex.explain(*wide, ex.KernelShap(budget=4000, tolerance=0.1), rows=[2], background=background)
    np.testing.assert_array_equal(alone.values[0], found.values[2])
    spent = ex.explain(*wide, ex.KernelShap(budget=64, tolerance=1e-9), rows=[0], background=background)
    assert spent.diagnostics["within_tolerance"] == [False]
    loose = ex.explain(*wide, ex.KernelShap(budget=4000, tolerance=1e9), rows=[0], background=background)
    assert loose.diagnostics["coalitions"] == 64


@pytest.mark.parametrize("proxy", ["polynomial", "trees"])
def test_a_proxy_comes_closer_and_its_errors_stay_honest(wide, exact, proxy):
    background = wide[1].take(wide[1].sample(8, 0))
    off, plain = [], []
    for seed in range(2):
        for name, found in (("none", plain), (proxy, off)):
            explainer = ex.KernelShap(budget=500, seed=seed, proxy=name)
            result = ex.explain(*wide, explainer, rows=range(2), background=background)
            found.append(((result.values - exact.values[:2]), result.standard_error))
            np.testing.assert_allclose(
                result.values.sum(axis=1) + result.base_value, result.output, atol=1e-9
            )
    closer = np.mean([d**2 for d, _ in plain]) / np.mean([d**2 for d, _ in off])
    assert closer > 4
    assert 0.6 < np.std([d / e for d, e in off]) < 1.4


@pytest.mark.parametrize("d", [1, 3, 6])
def test_the_values_of_the_polynomial_are_those_of_the_definition(d):
    rng = np.random.default_rng(d)
    masks = rng.random((5, d)) < 0.5
    rho = 0.37
    signs = np.where(masks, 1.0, -1.0)
    for values, own in zip(_values_of_kernel(masks, rho).T, signs, strict=True):

        def game(inside, own=own):
            there = np.where(np.isin(np.arange(d), list(inside)), 1.0, -1.0)
            return np.prod(1 + rho * own * there)

        np.testing.assert_allclose(values, shapley_values(game, d), atol=1e-12)


def test_more_pairs_than_the_polynomial_is_fitted_to(wide, exact, monkeypatch):
    monkeypatch.setattr(polynomial, "MOST_PAIRS", 100)
    kernel._design.cache_clear()
    background = wide[1].take(wide[1].sample(8, 0))
    off = {}
    for proxy in ("none", "polynomial"):
        explainer = ex.KernelShap(budget=900, proxy=proxy)
        found = ex.explain(*wide, explainer, rows=range(6), background=background)
        off[proxy] = np.square(found.values - exact.values).mean()
        assert np.abs((found.values - exact.values) / found.standard_error).max() < 5
    kernel._design.cache_clear()
    assert off["polynomial"] < off["none"] / 1.5


def test_groups_are_players(wide):
    model, data = wide
    groups = tuple((f"x{i}", f"x{i + 1}") for i in range(0, D, 2))
    background = data.take([20, 21, 22])
    found = ex.explain(model, data, ex.KernelShap(groups=groups), rows=[0, 1], background=background)
    assert found.names == tuple(" + ".join(group) for group in groups)
    assert found.diagnostics["exact"]
    for i in range(2):
        whole = background_game(model.predict, data, data.matrix[i], background.matrix)

        def game(inside, whole=whole):
            return whole(frozenset(j for pair in inside for j in (2 * pair, 2 * pair + 1)))

        np.testing.assert_allclose(found.values[i], shapley_values(game, D // 2)[:, 0], atol=1e-10)
    with pytest.raises(ex.InvalidSetting, match="no feature 'height'"):
        ex.explain(model, data, ex.KernelShap(groups=(("height",),)), rows=[0])


def test_pictures_have_segments_as_players():
    case = CASES["black_box_pictures"]()
    explainer = ex.KernelShap(segments=4, budget=300)
    found = ex.explain(case.model, case.data, explainer, rows=[0, 1], target="all")
    assert found.values.shape[:3] == (2, 1, *case.data.schema.shape[1:])[:3]
    of_segments = found.diagnostics["segment_values"]
    np.testing.assert_allclose(of_segments.sum(axis=1) + found.base_value, found.output, atol=1e-6)
    assert np.abs(of_segments).max() > 1e-4


def test_texts_have_words_as_players():
    model = ex.Model.wrap(lambda texts: np.array([t.count("good") - 2.0 * t.count("bad") for t in texts]))
    data = ex.Dataset.from_texts(["a good day", "bad and bad and good", "nothing"])
    found = ex.explain(model, data, ex.KernelShap(), rows=range(3))
    assert found.diagnostics["tokens"][0] == ("a", "good", "day")
    np.testing.assert_allclose(found.values[0], [0, 1, 0], atol=1e-12)
    for values, base, output in zip(found.values, found.base_value, found.output, strict=True):
        assert values.sum() + base == pytest.approx(output)


# --- the coalitions themselves ---


@pytest.mark.parametrize("d", [1, 2, 3, 6, 9])
def test_all_coalitions_are_asked_once_where_they_fit(d):
    design = coalitions(d, 2**d, 0)
    assert design.exact
    assert len(np.unique(design.masks, axis=0)) == len(design.masks) == 2**d - 2
    sizes = design.first.sum(axis=1)
    kernel = [(d - 1) / (math.comb(d, int(s)) * s * (d - s)) for s in sizes]
    np.testing.assert_allclose(design.weights, kernel)


@pytest.mark.parametrize(
    ("d", "budget"), [(5, 12), (5, 20), (8, 100), (12, 26), (12, 1000), (30, 62), (30, 2000), (200, 402)]
)
def test_drawn_pairs_are_different_and_shared_out_over_sizes(d, budget):
    design = coalitions(d, budget, 1)
    assert len(np.unique(design.masks, axis=0)) == len(design.masks)
    assert budget - 3 <= len(design.masks) + 2 <= budget or design.exact
    sizes = np.minimum(design.first.sum(axis=1), (~design.first).sum(axis=1))
    assert tuple(np.bincount(sizes, minlength=d // 2 + 1)[1:]) == design.drawn
    assert all(1 <= drawn <= there for drawn, there in zip(design.drawn, design.existing, strict=True))
    np.testing.assert_array_equal(sizes - 1, design.stratum)
    fit = ShapleyRegression.of(design)
    assert np.isfinite(fit.pairs).all()
    np.testing.assert_allclose(fit.pairs.sum(axis=0), 0, atol=1e-9)
    assert fit.spread.sum() == pytest.approx(1)


def test_every_pair_of_a_size_is_as_likely():
    count = np.zeros(6)
    for seed in range(300):
        design = coalitions(6, 20, seed)
        of_size = design.first[design.stratum == 0]
        alone = np.where(of_size.sum(axis=1, keepdims=True) == 1, of_size, ~of_size)
        count += alone.sum(axis=0)
    assert count.max() / count.min() < 1.25
