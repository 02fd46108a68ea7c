"""The kernels for tree values against the definition, over all coalitions; each against the others where that is too slow."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from explainers.errors import Cancelled, UnsupportedModel
from explainers.trees.ensemble import NAN, NEVER, ZERO, Sets, Tree, TreeEnsemble
from explainers.trees.shapley import exact as shapley
from explainers.trees.shapley.exact import against_background, expected_value, path_dependent
from explainers.trees.shapley.on_device import DeviceBank
from tests import tree_cases as slow

DOUBLE = {"kind": np.float64}


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
    sets = 3 if seed % 3 == 0 else 0
    outputs = 1 + seed % 3
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
        return slow.exact(slow.path_dependent_game(trees, X[i], player), d)
    return slow.exact(slow.background_game(trees, X[i], background, player), d)


@pytest.mark.parametrize("seed", range(12))
def test_sums_are_those_of_walking_each_tree(seed):
    trees, X, _, _, _ = case(seed)
    assert np.allclose(trees.raw(X), [slow.raw(trees, row) for row in X], rtol=0, atol=1e-12)


@pytest.mark.parametrize("kernel", ["tables", "walk"])
@pytest.mark.parametrize("seed", range(12))
def test_path_dependent_values_are_the_mean_over_all_coalitions(seed, kernel):
    trees, X, _, player, d = case(seed)
    found = path_dependent(trees, player, d, X, kernel=kernel, **DOUBLE)
    for i in range(2):
        assert np.allclose(found.values[i], truth(seed, i, "path-dependent"), rtol=0, atol=1e-10)
    assert np.allclose(found.values.sum(axis=1) + found.expected, trees.raw(X), rtol=0, atol=1e-10)
    assert found.kernel == kernel


@pytest.mark.parametrize("kernel", ["tables", "pairs"])
@pytest.mark.parametrize("seed", range(12))
def test_values_against_a_background_are_the_mean_over_all_coalitions(seed, kernel):
    trees, X, background, player, d = case(seed)
    found = against_background(trees, player, d, X, background, kernel=kernel, **DOUBLE)
    for i in range(2):
        assert np.allclose(found.values[i], truth(seed, i, "background"), rtol=0, atol=1e-10)
    assert np.allclose(found.values.sum(axis=1) + found.expected, trees.raw(X), rtol=0, atol=1e-10)


def test_ten_features_over_all_coalitions():
    trees, X, background, player, d = case(4, columns=10, depth=6)
    background = background[:4]
    with_tables = against_background(trees, player, d, X[:1], background, kernel="tables", **DOUBLE)
    wanted = slow.exact(slow.background_game(trees, X[0], background, player), d)
    assert np.allclose(with_tables.values[0], wanted, rtol=0, atol=1e-10)
    wanted = slow.exact(slow.path_dependent_game(trees, X[0], player), d)
    found = path_dependent(trees, player, d, X[:1], **DOUBLE)
    assert np.allclose(found.values[0], wanted, rtol=0, atol=1e-10)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10**6), depth=st.integers(0, 9), columns=st.integers(1, 9), bushy=st.floats(0.3, 1.0)
)
def test_the_kernels_agree_on_any_ensemble(seed, depth, columns, bushy):
    trees, X, background, player, d = case(3 * seed + 1, columns=columns, depth=depth, bushy=bushy)
    tables = path_dependent(trees, player, d, X, kernel="tables", **DOUBLE).values
    walked = path_dependent(trees, player, d, X, kernel="walk").values
    assert np.allclose(tables, walked, rtol=0, atol=1e-9)
    tables = against_background(trees, player, d, X, background, kernel="tables", errors=False, **DOUBLE)
    pairs = against_background(trees, player, d, X, background, kernel="pairs")
    assert np.allclose(tables.values, pairs.values, rtol=0, atol=1e-9)


def test_single_precision_is_near_double():
    trees, X, background, player, d = case(1, columns=8, depth=6, trees=40)
    for found in (
        lambda kind: path_dependent(trees, player, d, X, kernel="tables", kind=kind),
        lambda kind: against_background(trees, player, d, X, background, kernel="tables", kind=kind),
    ):
        single, double = found(np.float32).values, found(np.float64).values
        assert np.abs(single - double).max() < 1e-5 * np.abs(double).max()
        assert np.abs(single - double).max() > 0  # they are two precisions


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("trees", [1, 7, 40])
def test_a_row_alone_has_the_values_it_has_among_many(trees, kind):
    trees, X, _, player, d = case(trees, columns=8, depth=6, trees=trees)
    X = np.tile(X, (40, 1))[:40]  # more than are looked up one by one
    many = path_dependent(trees, player, d, X, kernel="tables", kind=kind).values
    for rows in (slice(0, 1), slice(2, 7)):
        few = path_dependent(trees, player, d, X[rows], kernel="tables", kind=kind).values
        assert np.allclose(few, many[rows], rtol=0, atol=1e-5 if kind is np.float32 else 1e-12)
        assert np.abs(few).max() > 0.01


def test_more_features_than_a_line_has_places():
    trees, X, background, player, d = case(1, columns=150, depth=5, trees=60)
    tables = path_dependent(trees, player, d, X, kernel="tables", **DOUBLE)
    assert np.allclose(
        tables.values, path_dependent(trees, player, d, X, kernel="walk").values, rtol=0, atol=1e-9
    )
    tables = against_background(trees, player, d, X, background, kernel="tables", **DOUBLE)
    pairs = against_background(trees, player, d, X, background, kernel="pairs")
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
    trees = TreeEnsemble.of([chain(40)], [0.5], 40, single=False)
    X = np.random.default_rng(0).normal(size=(5, 40)) + 0.5
    found = path_dependent(trees, np.arange(40), 40, X)
    assert found.kernel == "walk"
    assert np.allclose(found.values.sum(axis=1) + found.expected, trees.raw(X), rtol=0, atol=1e-10)
    paired = against_background(trees, np.arange(40), 40, X, -X)
    assert paired.kernel == "pairs"
    assert np.allclose(paired.values.sum(axis=1) + paired.expected, trees.raw(X), rtol=0, atol=1e-10)


def test_a_leaf_alone_gives_nobody_anything():
    leaf = Tree(*(np.array([v]) for v in (0, 0.0, -1, -1, False, 2.5, 10.0)))
    trees = TreeEnsemble.of([leaf, leaf], [1.0], 3, single=False)
    X = np.zeros((2, 3))
    for found in (
        path_dependent(trees, np.arange(3), 3, X, kernel="tables"),
        path_dependent(trees, np.arange(3), 3, X, kernel="walk"),
        against_background(trees, np.arange(3), 3, X, X, kernel="tables"),
        against_background(trees, np.arange(3), 3, X, X, kernel="pairs"),
    ):
        assert np.array_equal(found.values, np.zeros((2, 3, 1)))
        assert found.expected == pytest.approx([6.0])
    assert trees.raw(X) == pytest.approx(np.full((2, 1), 6.0))


@pytest.mark.parametrize("kernel", ["tables", "walk"])
def test_no_rows_give_no_values(kernel):
    trees, X, _, player, d = case(1)
    assert path_dependent(trees, player, d, X[:0], kernel=kernel).values.shape == (0, d, 2)


def test_no_trees_give_the_base():
    trees = TreeEnsemble.of([], [0.25], 2, single=True)
    X = np.ones((3, 2))
    assert trees.raw(X) == pytest.approx(np.full((3, 1), 0.25))
    assert np.array_equal(
        path_dependent(trees, np.arange(2), 2, X, kernel="tables").values, np.zeros((3, 2, 1))
    )


def test_the_error_is_the_spread_over_reference_cases():
    trees, X, background, player, d = case(2)
    found = against_background(trees, player, d, X, background, kernel="pairs")
    each = [slow.exact(slow.background_game(trees, X[0], [other], player), d) for other in background]
    assert np.allclose(
        found.error[0], np.std(each, axis=0, ddof=1) / np.sqrt(len(background)), rtol=0, atol=1e-10
    )


def test_halves_tell_the_error_too():
    """Over many values the two errors agree; for each value eight halves are a rough measure."""
    rng = np.random.default_rng(0)
    trees = slow.random_ensemble(rng, trees=20, depth=4, columns=6)
    X, background = rows(rng, 60, trees), rows(rng, 80, trees)
    exact = against_background(trees, np.arange(6), 6, X, background, kernel="pairs").error
    rough = against_background(trees, np.arange(6), 6, X, background, kernel="tables").error
    assert 0.9 < np.sqrt((rough**2).mean() / (exact**2).mean()) < 1.1
    assert np.corrcoef(rough.ravel(), exact.ravel())[0, 1] > 0.7


def test_one_reference_case_has_no_spread():
    trees, X, background, player, d = case(1)
    for kernel in ("tables", "pairs"):
        assert against_background(trees, player, d, X, background[:1], kernel=kernel).error is None


def test_the_expected_value_is_the_mean_over_training_weights():
    for seed in range(6):
        trees, X, _, player, _ = case(seed)
        assert expected_value(trees) == pytest.approx(slow.path_dependent_game(trees, X[0], player)(set()))


def test_work_can_be_stopped():
    trees, X, background, player, d = case(1)

    def stop(done, total, partial=None):
        raise Cancelled("enough")

    for kernel in ("tables", "walk"):
        with pytest.raises(Cancelled):
            path_dependent(trees, player, d, X, kernel=kernel, progress=stop)
    for kernel in ("tables", "pairs"):
        with pytest.raises(Cancelled):
            against_background(trees, player, d, X, background, kernel=kernel, progress=stop)


def test_the_kernel_fits_the_work():
    trees, X, background, player, d = case(1, trees=50, depth=6)
    many = np.repeat(X, 3000, axis=0)
    assert path_dependent(trees, player, d, X[:1]).kernel == "walk"
    assert path_dependent(trees, player, d, many).kernel == "tables"
    assert against_background(trees, player, d, X[:1], background).kernel == "pairs"
    assert against_background(trees, player, d, many, np.repeat(background, 20, axis=0)).kernel == "tables"


def test_tables_above_the_bound_are_not_made(monkeypatch):
    trees, X, _, player, d = case(1)
    monkeypatch.setattr(shapley, "TABLE_BYTES", 1000)
    assert path_dependent(trees, player, d, np.repeat(X, 5000, axis=0)).kernel == "walk"


def test_trees_that_lead_nowhere_are_refused():
    leaf = {"missing_left": np.zeros(2, dtype=bool), "value": np.zeros(2), "cover": np.ones(2)}
    for left, right in ((np.array([1, -1]), np.array([5, -1])), (np.array([0, -1]), np.array([1, -1]))):
        with pytest.raises(UnsupportedModel, match="circles"):
            TreeEnsemble.of([Tree(np.zeros(2, int), np.zeros(2), left, right, **leaf)], [0.0], 1, single=True)
    wrong = Tree(np.full(3, 7), np.zeros(3), np.array([1, -1, -1]), np.array([2, -1, -1]), np.zeros(3, bool), np.zeros(3), np.ones(3))  # fmt: skip
    with pytest.raises(UnsupportedModel, match="column 7; there are 2"):
        TreeEnsemble.of([wrong], [0.0], 2, single=True)
    trees, X, _, _, _ = case(1)
    with pytest.raises(UnsupportedModel, match="trained on 5 columns; these rows have 4"):
        trees.raw(X[:, :4])


@settings(max_examples=60, deadline=None)
@given(
    thresholds=st.lists(st.floats(width=64, allow_nan=False), min_size=1, max_size=40, unique=True),
    values=st.lists(st.floats(width=64), min_size=1, max_size=20),
)
def test_a_code_counts_the_thresholds_below(thresholds, values):
    """Infinite, denormal and very unequal thresholds included."""
    limits = np.array(sorted(thresholds))
    n = len(limits)
    trees = TreeEnsemble.of(
        [
            Tree(np.zeros(3, int), np.full(3, t), np.array([1, -1, -1]), np.array([2, -1, -1]), np.zeros(3, bool), np.zeros(3), np.ones(3))
            for t in limits
        ],
        [0.0], 1, single=False,
    )  # fmt: skip
    X = np.concatenate([np.array(values), limits])[:, None]
    codes = trees.questions.codes(X)[0]
    for x, code in zip(X[:, 0], codes, strict=True):
        assert code == (n + 1 if np.isnan(x) else sum(t < x for t in limits))


def test_a_value_beyond_single_precision_is_infinite():
    tree = Tree(
        np.zeros(3, int), np.full(3, 1e38), np.array([1, -1, -1]), np.array([2, -1, -1]), np.zeros(3, bool),
        np.array([0.0, -1.0, 1.0]), np.ones(3),
    )  # fmt: skip
    trees = TreeEnsemble.of([tree], [0.0], 1, single=True)
    X = np.array([[1e300], [-1e300]])
    assert trees.questions.codes(X).tolist() == [[1, 0]]
    assert trees.raw(X).ravel().tolist() == [1, -1]


def test_sets_answer_for_every_category():
    sets = Sets.of([[True, False, True, False]])  # categories 0 and 2 go left, others right
    tree = Tree(
        np.zeros(3, int), np.zeros(3), np.array([1, -1, -1]), np.array([2, -1, -1]), np.array([True, False, False]),
        np.array([0.0, -1.0, 1.0]), np.ones(3), chosen=np.array([0, -1, -1]),
    )  # fmt: skip
    trees = TreeEnsemble.of([tree], [0.0], 1, single=True, sets=sets)
    found = trees.raw(np.array([[0.0], [1.0], [2.0], [3.0], [77.0], [-5.0], [2.9], [np.nan], [np.inf]]))
    assert found.ravel().tolist() == [-1, 1, -1, 1, 1, 1, -1, -1, 1]


@pytest.mark.parametrize(("columns", "outputs"), [(6, 1), (6, 3), (90, 1)])
def test_the_tables_of_another_device_say_the_same(columns, outputs):
    """With torch on the processor; a device only changes where its tensors are."""
    rng = np.random.default_rng(columns)
    trees = slow.random_ensemble(rng, trees=12, depth=5, columns=columns, outputs=outputs, sets=2)
    X, player = rows(rng, 40, trees, 2), np.arange(columns)
    here = path_dependent(trees, player, columns, X, kernel="tables", **DOUBLE)
    banks = shapley._banks(trees, player, columns, np.float64)
    for output, bank in enumerate(banks):
        sums = np.zeros((len(X), columns))
        DeviceBank(bank, bank.build(None), torch.device("cpu")).look_up(trees.questions.codes(X), sums)
        assert np.allclose(sums, here.values[:, :, output], rtol=0, atol=1e-12)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_equals_the_processor():
    trees, X, background, player, d = case(1, columns=8, trees=30)
    many, cuda = np.repeat(X, 500, axis=0), torch.device("cuda")
    for found in (
        lambda device: path_dependent(trees, player, d, many, kernel="tables", device=device),
        lambda device: against_background(trees, player, d, many, background, kernel="tables", device=device),
    ):
        assert np.allclose(found(cuda).values, found(None).values, rtol=0, atol=1e-5)
