"""Interaction values of trees: every kernel against the definition, over all coalitions, and against shap's own values."""

from __future__ import annotations

import functools
import itertools
import math
import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.compose import make_column_transformer
from sklearn.ensemble import (
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from sklearn.tree import DecisionTreeRegressor

import explainers as ex
from explainers import device
from explainers.errors import Cancelled
from explainers.methods import tree_shap_interactions
from explainers.trees.ensemble import NAN, NEVER, ZERO, Tree, TreeEnsemble
from explainers.trees.interactions import exact as interactions
from explainers.trees.interactions.exact import pairs_against_background, path_dependent_pairs
from explainers.trees.shapley import exact as shapley
from tests import tree_cases as slow

DOUBLE = {"kind": np.float64}


def exact(value, d):
    """Interaction values of a game ``(d, d, k)``, from the definition over all coalitions."""
    values = {
        inside: np.asarray(value(set(inside)), dtype=float)
        for size in range(d + 1)
        for inside in itertools.combinations(range(d), size)
    }
    found = np.zeros((d, d, len(values[()])))
    for i, j in itertools.permutations(range(d), 2):
        rest = [player for player in range(d) if player not in (i, j)]
        for size in range(d - 1):
            weight = math.factorial(size) * math.factorial(d - size - 2) / math.factorial(d - 1) / 2
            for inside in itertools.combinations(rest, size):
                both, first, second = (
                    values[tuple(sorted((*inside, *more)))] for more in ((i, j), (i,), (j,))
                )
                found[i, j] += weight * (both - first - second + values[inside])
    for i, whole in enumerate(slow.exact(lambda inside: values[tuple(sorted(inside))], d)):
        found[i, i] = whole - found[i].sum(axis=0)
    return found


def rows(rng, count, trees, sets=0):
    """Whole numbers and halves, many of them exactly on thresholds; some missing, some zero; categories in the last column."""
    X = rng.integers(-6, 7, (count, trees.columns)) / 2
    if sets:
        X[:, -1] = rng.integers(-1, 7, count)
    X[rng.random(X.shape) < 0.15] = np.nan
    return X


def case(seed, columns=5, **more):
    """An ensemble, rows, reference cases and who owns the columns; every fourth has columns that belong together."""
    rng = np.random.default_rng(seed)
    sets, outputs = 3 if seed % 3 == 0 else 0, 1 + seed % 3
    trees = slow.random_ensemble(
        rng,
        **{
            "trees": 4, "depth": 5, "columns": columns, "outputs": outputs, "several": seed % 2 == 1 and outputs > 1,
            "sets": sets, "missing": (NAN, NEVER, ZERO)[seed % 3], **more,
        },
    )  # fmt: skip
    player = np.arange(columns) % (3 if seed % 4 == 3 else columns)
    return trees, rows(rng, 6, trees, sets), rows(rng, 9, trees, sets), player, int(player.max()) + 1


@functools.cache
def truth(seed, i, game):
    """The values of row `i` of this case, once for all kernels."""
    trees, X, background, player, d = case(seed)
    if game == "path-dependent":
        return exact(slow.path_dependent_game(trees, X[i], player), d)
    return exact(slow.background_game(trees, X[i], background, player), d)


def check_sums(found, whole, trees, X):
    """Symmetric; rows sum to the Shapley values, everything to the trees' sum."""
    assert np.array_equal(found.values, found.values.swapaxes(1, 2))
    assert np.allclose(found.values.sum(axis=2), whole.values, rtol=0, atol=1e-10)
    assert np.allclose(found.values.sum(axis=(1, 2)) + found.expected, trees.raw(X), rtol=0, atol=1e-10)


@pytest.mark.parametrize("kernel", ["tables", "walk"])
@pytest.mark.parametrize("seed", range(12))
def test_path_dependent_values_are_the_mean_over_all_coalitions(seed, kernel):
    trees, X, _, player, d = case(seed)
    found = path_dependent_pairs(trees, player, d, X, kernel=kernel, **DOUBLE)
    for i in range(2):
        assert np.allclose(found.values[i], truth(seed, i, "path-dependent"), rtol=0, atol=1e-10)
    check_sums(found, shapley.path_dependent(trees, player, d, X, **DOUBLE), trees, X)
    assert found.kernel == kernel


@pytest.mark.parametrize("kernel", ["tables", "pairs"])
@pytest.mark.parametrize("seed", range(12))
def test_values_against_a_background_are_the_mean_over_all_coalitions(seed, kernel):
    trees, X, background, player, d = case(seed)
    found = pairs_against_background(trees, player, d, X, background, kernel=kernel, **DOUBLE)
    for i in range(2):
        assert np.allclose(found.values[i], truth(seed, i, "background"), rtol=0, atol=1e-10)
    whole = shapley.against_background(trees, player, d, X, background, errors=False, **DOUBLE)
    check_sums(found, whole, trees, X)
    assert found.kernel == kernel


def test_the_cases_hold_what_they_are_said_to_hold():
    """Repeated features on a path, children without training weight, sets, joined columns, several outputs."""
    every = [case(seed) for seed in range(12)]
    repeated = 0
    for trees, *_ in every:
        asked = np.where(trees.parent >= 0, trees.feature[trees.parent], -1)
        repeated += int(((trees.feature >= 0) & (trees.feature == asked)).sum())
    assert repeated > 10
    assert any((trees.cover[1:] == 0).any() for trees, *_ in every)
    assert any((trees.chosen >= 0).any() for trees, *_ in every)
    assert any(np.isnan(X).any() for _, X, *_ in every)
    assert {d for *_, d in every} == {3, 5}
    assert {(trees.outputs, trees.value.shape[1]) for trees, *_ in every} == {
        (1, 1),
        (2, 1),
        (2, 2),
        (3, 1),
        (3, 3),
    }


def test_eight_features_over_all_coalitions():
    trees, X, background, player, d = case(4, columns=8, depth=7, bushy=0.9)
    expected = exact(slow.background_game(trees, X[0], background[:4], player), d)
    for kernel in ("tables", "pairs"):
        found = pairs_against_background(trees, player, d, X[:1], background[:4], kernel=kernel, **DOUBLE)
        assert np.allclose(found.values[0], expected, rtol=0, atol=1e-10)
    expected = exact(slow.path_dependent_game(trees, X[0], player), d)
    for kernel in ("tables", "walk"):
        found = path_dependent_pairs(trees, player, d, X[:1], kernel=kernel, **DOUBLE)
        assert np.allclose(found.values[0], expected, rtol=0, atol=1e-10)


@settings(max_examples=12, deadline=None)
@given(
    seed=st.integers(0, 10**6), depth=st.integers(0, 7), columns=st.integers(1, 12), bushy=st.floats(0.3, 0.9)
)
def test_the_kernels_agree_on_any_ensemble(seed, depth, columns, bushy):
    trees, X, background, player, d = case(3 * seed + 1, columns=columns, depth=depth, bushy=bushy)
    tables = path_dependent_pairs(trees, player, d, X, kernel="tables", **DOUBLE)
    walked = path_dependent_pairs(trees, player, d, X, kernel="walk")
    assert np.allclose(tables.values, walked.values, rtol=0, atol=1e-9)
    check_sums(tables, shapley.path_dependent(trees, player, d, X, kernel="walk"), trees, X)
    tables = pairs_against_background(trees, player, d, X, background, kernel="tables", **DOUBLE)
    pairs = pairs_against_background(trees, player, d, X, background, kernel="pairs")
    assert np.allclose(tables.values, pairs.values, rtol=0, atol=1e-9)
    check_sums(tables, shapley.against_background(trees, player, d, X, background, kernel="pairs"), trees, X)


def test_single_precision_is_near_double():
    trees, X, background, player, d = case(1, columns=8, depth=5, trees=100)
    for found in (
        lambda kind: path_dependent_pairs(trees, player, d, X, kernel="tables", kind=kind),
        lambda kind: pairs_against_background(trees, player, d, X, background, kernel="tables", kind=kind),
    ):
        single, double = found(np.float32).values, found(np.float64).values
        assert np.abs(single - double).max() < 1e-5 * np.abs(double).max()
        assert np.abs(single - double).max() > 0  # they are two precisions


def test_many_groups_rows_and_threads_change_nothing(monkeypatch):
    """More groups than are summed in single precision at once, more rows than one block, two threads."""
    trees, X, background, player, d = case(1, trees=120)
    X = np.repeat(X, 300, axis=0)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    alone = path_dependent_pairs(trees, player, d, X, kernel="tables", **DOUBLE).values
    against = pairs_against_background(trees, player, d, X, background, kernel="tables", **DOUBLE).values
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    again = path_dependent_pairs(trees, player, d, X, kernel="tables", **DOUBLE).values
    assert np.allclose(alone, again, rtol=0, atol=1e-12)
    assert np.allclose(
        alone[::300],
        path_dependent_pairs(trees, player, d, X[::300], kernel="walk").values,
        rtol=0,
        atol=1e-10,
    )
    few = pairs_against_background(trees, player, d, X[::300], background, kernel="pairs").values
    assert np.allclose(against[::300], few, rtol=0, atol=1e-10)
    assert np.array_equal(alone, np.repeat(alone[::300], 300, axis=0))


def test_more_than_a_thousand_reference_cases():
    trees, X, background, player, d = case(1)
    many = np.repeat(background, 130, axis=0)
    few = pairs_against_background(trees, player, d, X, background, kernel="tables", **DOUBLE).values
    assert np.allclose(
        pairs_against_background(trees, player, d, X, many, kernel="tables", **DOUBLE).values,
        few,
        rtol=0,
        atol=1e-10,
    )


def test_features_that_never_meet_have_no_interaction():
    def stump(column):
        return Tree(
            np.array([column, 0, 0]), np.zeros(3), np.array([1, -1, -1]), np.array([2, -1, -1]), np.zeros(3, bool),
            np.array([0.0, -1.0, 2.0]), np.array([10.0, 4.0, 6.0]),
        )  # fmt: skip

    trees = TreeEnsemble.of([stump(0), stump(1), stump(1)], [0.0], 3, single=False)
    X = np.array([[1.0, -1.0, 5.0]])
    for kernel in ("tables", "walk"):
        found = path_dependent_pairs(trees, np.arange(3), 3, X, kernel=kernel, **DOUBLE).values[0, :, :, 0]
        assert np.allclose(found, np.diag([2 - 0.8, 2 * (-1 - 0.8), 0]), rtol=0, atol=1e-12)


def test_two_features_by_hand():
    """f = 4 where both are right, else 0; 100 cases, of which the first sends 50 and the second half of those right."""
    trees = TreeEnsemble.of(
        [
            Tree(
                np.array([0, 0, 1, 0, 0]), np.zeros(5), np.array([1, -1, 3, -1, -1]), np.array([2, -1, 4, -1, -1]),
                np.zeros(5, bool), np.array([0.0, 0.0, 0.0, 0.0, 4.0]), np.array([100.0, 50, 50, 25, 25]),
            )
        ],
        [0.0], 2, single=False,
    )  # fmt: skip
    X = np.ones((1, 2))
    # v() = 1, v(0) = v(1) = 2, v(01) = 4: the pair adds 4 - 2 - 2 + 1 = 1, each alone (1 + 2) / 2 - 1 / 2
    for kernel in ("tables", "walk"):
        found = path_dependent_pairs(trees, np.arange(2), 2, X, kernel=kernel).values[0, :, :, 0]
        assert found == pytest.approx(np.array([[1.0, 0.5], [0.5, 1.0]]))
    for kernel in ("tables", "pairs"):
        found = pairs_against_background(trees, np.arange(2), 2, X, -X, kernel=kernel).values[0, :, :, 0]
        assert found == pytest.approx(np.array([[0.0, 2.0], [2.0, 0.0]]))


def test_more_features_than_a_line_has_places():
    trees, X, background, player, d = case(1, columns=90, depth=5, trees=60)
    tables = path_dependent_pairs(trees, player, d, X, kernel="tables", **DOUBLE)
    walked = path_dependent_pairs(trees, player, d, X, kernel="walk")
    assert np.allclose(tables.values, walked.values, rtol=0, atol=1e-9)
    tables = pairs_against_background(trees, player, d, X, background, kernel="tables", **DOUBLE)
    pairs = pairs_against_background(trees, player, d, X, background, kernel="pairs")
    assert np.allclose(tables.values, pairs.values, rtol=0, atol=1e-9)


def chain(length):
    """One long path: each node asks another column, and one child is a leaf."""
    n = 2 * length + 1
    inner = np.arange(n) % 2 == 0
    inner[-1] = False
    return Tree(
        feature=np.arange(n) // 2, threshold=np.zeros(n), left=np.where(inner, np.arange(n) + 1, -1),
        right=np.where(inner, np.arange(n) + 2, -1), missing_left=np.zeros(n, dtype=bool),
        value=np.linspace(-1, 1, n), cover=np.linspace(100, 1, n),
    )  # fmt: skip


def test_a_path_too_long_for_tables_is_walked():
    trees, player = TreeEnsemble.of([chain(40)], [0.5], 40, single=False), np.arange(40)
    X = np.random.default_rng(0).normal(size=(5, 40)) + 0.5
    found = path_dependent_pairs(trees, player, 40, X)
    assert found.kernel == "walk"
    check_sums(found, shapley.path_dependent(trees, player, 40, X), trees, X)
    paired = pairs_against_background(trees, player, 40, X, -X)
    assert paired.kernel == "pairs"
    check_sums(paired, shapley.against_background(trees, player, 40, X, -X), trees, X)


def test_a_deep_chain_has_the_values_of_conditioning():
    """A pair is what fixing the one changes in the other's Shapley value: the definition, where coalitions are too many."""
    d = 20
    trees, player = TreeEnsemble.of([chain(d)], [0.5], d, single=False), np.arange(d)
    rng = np.random.default_rng(3)
    X = np.abs(rng.normal(size=(1, d)))
    other = X * np.where(np.arange(d) % 3, 1.0, -1.0)  # where they differ, one of the two leaves the path
    found = pairs_against_background(trees, player, d, X, other, kernel="pairs").values[0, :, :, 0]
    for i in (0, 3, 9):
        with_, without = other.copy(), X.copy()
        with_[0, i], without[0, i] = X[0, i], other[0, i]
        present = shapley.against_background(trees, player, d, X, with_, errors=False).values[0, :, 0]
        absent = shapley.against_background(trees, player, d, without, other, errors=False).values[0, :, 0]
        rest = np.arange(d) != i
        assert np.allclose(found[i, rest], ((present - absent) / 2)[rest], rtol=0, atol=1e-12)
        assert np.abs(found[i, rest]).max() > 1e-6


EVERY_KERNEL = {
    "tables": lambda trees, player, d, X, other, **more: path_dependent_pairs(trees, player, d, X, kernel="tables", **more),
    "walk": lambda trees, player, d, X, other, **more: path_dependent_pairs(trees, player, d, X, kernel="walk", **more),
    "tables of reference cases": lambda *args, **more: pairs_against_background(*args, kernel="tables", **more),
    "pairs": lambda *args, **more: pairs_against_background(*args, kernel="pairs", **more),
}  # fmt: skip
every_kernel = pytest.mark.parametrize("of", EVERY_KERNEL.values(), ids=list(EVERY_KERNEL))


@every_kernel
def test_a_leaf_alone_gives_nobody_anything(of):
    leaf = Tree(*(np.array([v]) for v in (0, 0.0, -1, -1, False, 2.5, 10.0)))
    trees, X = TreeEnsemble.of([leaf, leaf], [1.0], 3, single=False), np.zeros((2, 3))
    found = of(trees, np.arange(3), 3, X, X)
    assert np.array_equal(found.values, np.zeros((2, 3, 3, 1)))
    assert found.expected == pytest.approx([6.0])


@every_kernel
def test_no_trees_no_rows_and_one_row(of):
    empty = TreeEnsemble.of([], [0.25], 2, single=True)
    assert np.array_equal(
        of(empty, np.arange(2), 2, np.ones((3, 2)), np.ones((1, 2))).values, np.zeros((3, 2, 2, 1))
    )
    trees, X, background, player, d = case(1)
    assert of(trees, player, d, X[:0], background).values.shape == (0, d, d, 2)
    whole = of(trees, player, d, X, background, **DOUBLE).values
    for i in range(len(X)):
        assert np.allclose(
            of(trees, player, d, X[i : i + 1], background, **DOUBLE).values[0], whole[i], rtol=0, atol=1e-12
        )


@every_kernel
def test_work_can_be_stopped(of):
    trees, X, background, player, d = case(1)

    def stop(done, total, partial=None):
        raise Cancelled("enough")

    with pytest.raises(Cancelled):
        of(trees, player, d, X, background, progress=stop)


def test_the_kernel_fits_the_work(monkeypatch):
    trees, X, background, player, d = case(1, trees=50, depth=6)
    many, others = np.repeat(X, 1000, axis=0), np.repeat(background, 20, axis=0)
    assert path_dependent_pairs(trees, player, d, X[:1]).kernel == "walk"
    assert path_dependent_pairs(trees, player, d, many).kernel == "tables"
    assert pairs_against_background(trees, player, d, X[:1], background).kernel == "pairs"
    assert pairs_against_background(trees, player, d, many[:600], others).kernel == "tables"
    monkeypatch.setattr(interactions, "TABLE_BYTES", 1000)
    again = case(1, trees=50, depth=6)[0]  # what was kept knows the other bound
    assert path_dependent_pairs(again, player, d, many[:40]).kernel == "walk"


# --- the method ---------------------------------------------------------------------------------------------------------


@functools.cache
def frame():
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.normal(size=(300, 4)), columns=["a", "b", "c", "d"])
    X["d"] = rng.integers(0, 4, 300).astype(float)
    return X


@functools.cache
def outcome(classes=0):
    X = frame()
    y = (X["a"] * X["b"] + X["d"] * (X["b"] > 0) - X["c"]).to_numpy()
    return np.digitize(y, np.quantile(y, np.arange(1, classes) / classes)) if classes else y


def boosted(kind):
    library = pytest.importorskip("xgboost")
    return {
        "regression": lambda: library.XGBRegressor(n_estimators=8, n_jobs=1).fit(frame(), outcome()),
        "classes": lambda: library.XGBClassifier(n_estimators=5, n_jobs=1).fit(frame(), outcome(3)),
    }[kind]()


def fitted(name):
    made = {
        "xgboost regression": lambda: boosted("regression"),
        "xgboost classes": lambda: boosted("classes"),
        "tree": lambda: DecisionTreeRegressor(max_depth=6, random_state=0).fit(frame(), outcome()),
        "gradient boosting": lambda: GradientBoostingRegressor(n_estimators=6, random_state=0).fit(frame(), outcome()),
        "forest": lambda: RandomForestClassifier(n_estimators=5, random_state=0).fit(frame(), outcome(3)),
        "forest of two": lambda: RandomForestClassifier(n_estimators=5, random_state=0).fit(frame(), outcome(2)),
        "histogram": lambda: HistGradientBoostingClassifier(max_iter=5).fit(frame(), outcome(3)),
        "histogram of two": lambda: HistGradientBoostingClassifier(max_iter=5).fit(frame(), outcome(2)),
    }  # fmt: skip
    return ex.Model.wrap(made[name]()), ex.Dataset.from_frame(frame())


@pytest.mark.parametrize(
    "name", ["xgboost regression", "xgboost classes", "tree", "gradient boosting", "forest"]
)
def test_path_dependent_values_are_those_of_shap(name):
    """shap's interactions against a background are another thing, and wrong: only its path-dependent ones are compared."""
    shap = pytest.importorskip("shap")
    model, data = fitted(name)
    explainer = ex.TreeShapInteractions(background=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = shap.TreeExplainer(model.estimator).shap_interaction_values(data.X.iloc[:40])
    expected = expected[..., None] if expected.ndim == 3 else expected
    for rows in (range(2), range(40)):
        found = ex.explain(model, data, explainer, rows=rows, target="all")
        np.testing.assert_allclose(found.values, expected[: len(rows)], atol=2e-6)
    assert np.abs(expected[:, 0, 1]).max() > 0.01


@pytest.mark.parametrize(
    "name", ["xgboost classes", "forest", "forest of two", "histogram", "histogram of two", "tree"]
)
@pytest.mark.parametrize("background", [0, 12])
def test_rows_sum_to_the_values_of_tree_shap(name, background):
    model, data = fitted(name)
    for target in ("all", None):
        found = ex.explain(
            model, data, ex.TreeShapInteractions(background=background), rows=range(30), target=target
        )
        whole = ex.explain(model, data, ex.TreeShap(background=background), rows=range(30), target=target)
        assert found.values.shape == (30, 4, *whole.values.shape[1:])
        np.testing.assert_allclose(found.values.sum(axis=2), whole.values, atol=1e-5)
        np.testing.assert_allclose(found.base_value, whole.base_value, atol=1e-12)
        np.testing.assert_allclose(found.output, whole.output, atol=1e-12)
        assert (found.space, found.targets, found.reference) == (whole.space, whole.targets, whole.reference)
        assert found.diagnostics["completeness_gap"] < 1e-5
        assert found.diagnostics["kernel"] in ("tables", "walk", "pairs")


def test_precision_is_a_setting():
    model, data = fitted("forest")
    both = [
        ex.explain(model, data, ex.TreeShapInteractions(background=0, precision=precision)).values
        for precision in ("single", "double")
    ]
    assert 0 < np.abs(both[0] - both[1]).max() < 1e-6


def test_the_columns_of_one_feature_are_one_player():
    rng = np.random.default_rng(0)
    X = pd.DataFrame(
        {"kind": rng.choice(["x", "y", "z"], 200), "a": rng.normal(size=200), "b": rng.normal(size=200)}
    )
    y = X["a"] * (X["kind"] == "x") - X["b"] * (X["kind"] == "z")
    encode = make_column_transformer((OneHotEncoder(), ["kind"]), remainder="passthrough")
    model = ex.Model.wrap(
        make_pipeline(encode, GradientBoostingRegressor(n_estimators=10, random_state=0)).fit(X, y)
    )
    data = ex.Dataset.from_frame(X)
    found = ex.explain(model, data, ex.TreeShapInteractions(background=7), rows=[3])
    chosen = data.sample(7, 0)

    def value(inside):
        rows = data.X.iloc[chosen].copy()
        for j in inside:
            rows.iloc[:, j] = data.X.iloc[3, j]
        return [model.predict(rows).mean()]

    np.testing.assert_allclose(found.values[0], exact(value, 3)[..., 0], atol=1e-6)
    assert found.names == ("kind", "a", "b")


@pytest.mark.parametrize("background", [0, 9])
def test_portions_change_nothing(monkeypatch, background):
    model, data = fitted("histogram")
    explainer = ex.TreeShapInteractions(background=background)
    whole = ex.explain(model, data, explainer, rows=range(200))
    monkeypatch.setattr(device, "CPU_CHUNK_BYTES", 60_000)
    ticks = []
    small = ex.explain(model, data, explainer, rows=range(200), progress=lambda *at: ticks.append(at[:2]))
    np.testing.assert_allclose(small.values, whole.values, atol=1e-12)
    assert ticks[-1] == (200, 200)
    assert len(ticks) > 2


def test_the_table_has_each_pair_once():
    model, data = fitted("histogram")
    found = ex.explain(model, data, ex.TreeShapInteractions(background=5), rows=[1, 2], target="all")
    table = found.to_frame()
    assert len(table) == 2 * 10 * 3
    assert list(table.columns) == ["case", "feature", "with", "output", "value"]
    pair = table.query("case == 1 and feature == 'a' and `with` == 'b' and output == 2")
    assert pair["value"].tolist() == [2 * found.values[1, 0, 1, 2]]
    alone = table.query("case == 0 and feature == 'c' and `with` == '' and output == 0")
    assert alone["value"].tolist() == [found.values[0, 2, 2, 0]]
    sums = table.groupby(["case", "output"])["value"].sum().to_numpy().reshape(2, 3)
    np.testing.assert_allclose(sums + found.base_value, found.output, atol=1e-6)


def test_values_that_do_not_fit_are_refused(monkeypatch):
    model, data = fitted("tree")
    monkeypatch.setattr(tree_shap_interactions, "MOST_BYTES", 8 * 16 * 7)
    with pytest.raises(ex.InvalidSetting, match=r"8 cases and 4 features .* name at most 7 cases"):
        ex.explain(model, data, ex.TreeShapInteractions(), rows=range(8))
    assert ex.explain(model, data, ex.TreeShapInteractions(), rows=range(7)).values.shape == (7, 4, 4)


def test_wrong_numbers_are_not_shown(monkeypatch):
    model, data = fitted("tree")
    right = tree_shap_interactions.path_dependent_pairs

    def wrong(*args, **more):
        found = right(*args, **more)
        found.values[0, 0, 0] += 1.0
        return found

    monkeypatch.setattr(tree_shap_interactions, "path_dependent_pairs", wrong)
    with pytest.raises(ex.ModelFailure, match="do not add up"):
        ex.explain(model, data, ex.TreeShapInteractions(background=0), rows=range(3))


def test_curved_links_are_refused():
    X = frame()
    model = ex.Model.wrap(HistGradientBoostingRegressor(loss="poisson", max_iter=3).fit(X, np.exp(outcome())))
    with pytest.raises(ex.NotApplicable, match="curved"):
        ex.explain(model, ex.Dataset.from_frame(X), ex.TreeShapInteractions())
