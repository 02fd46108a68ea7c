"""Conditional permutations against closed forms for normal columns, and against what must never be mixed."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import explainers as ex
from explainers.sampling.columns import conditional_donors
from explainers.sampling.columns.conditional_donors import (
    conditional_permutations,
    permutations_within,
    strata_of,
)


def normal(n=3000, correlation=0.9, seed=0):
    """`a` and `b` correlated, `c` independent of both."""
    random = np.random.default_rng(seed)
    a = random.normal(size=n)
    b = correlation * a + np.sqrt(1 - correlation**2) * random.normal(size=n)
    return ex.Dataset.from_frame(pd.DataFrame({"a": a, "b": b, "c": random.normal(size=n)}))


def permuted(data, units, repeats=3, seed=0):
    return conditional_permutations(data.matrix, data.schema, units, repeats, seed)


@pytest.mark.parametrize("correlation", [0.5, 0.9])
def test_normal_columns_keep_their_conditional_variance(correlation):
    data = normal(correlation=correlation)
    a, b, _ = data.matrix.T
    donors = permuted(data, [[0], [1], [2]])
    for j in (0, 1):
        moved = data.matrix[donors[j], j]
        # two independent draws given the other feature differ by twice its conditional variance
        half = ((moved - data.matrix[:, j]) ** 2).mean() / 2
        assert half == pytest.approx(1 - correlation**2, rel=0.1)
        others = np.corrcoef(np.vstack([moved, data.matrix[:, 1 - j]]))[:-1, -1]
        assert (others > correlation - 0.08).all()
    plain = np.random.default_rng(0).permutation(len(data))
    assert abs(np.corrcoef(a[plain], b)[0, 1]) < 0.05


def test_an_independent_feature_has_one_stratum_and_the_plain_permutation():
    data = normal()
    assert (strata_of(data.matrix, data.schema, [2]) == 0).all()
    assert len(np.unique(strata_of(data.matrix, data.schema, [0]))) > 5
    random = np.random.default_rng(4)
    noise = ex.Dataset.from_frame(pd.DataFrame(random.normal(size=(400, 6)), columns=list("abcdef")))
    strata = [strata_of(noise.matrix, noise.schema, [j]) for j in range(6)]
    assert sum(len(np.unique(labels)) == 1 for labels in strata) >= 5
    donors = permuted(noise, [[j] for j in range(6) if len(np.unique(strata[j])) == 1])
    assert (donors == donors[0]).all()


def test_every_row_stays_in_its_stratum_and_all_orders_are_as_likely():
    labels = [np.array([0, 1, 0, 1, 0]), np.zeros(5, dtype=int)]
    found = permutations_within(labels, 6000, seed=1)
    assert found.shape == (2, 6000, 5)
    np.testing.assert_array_equal(np.sort(found, axis=-1), np.broadcast_to(np.arange(5), found.shape))
    np.testing.assert_array_equal(labels[0][found[0]], np.broadcast_to(labels[0], (6000, 5)))
    for u, orders in ((0, 12), (1, 120)):
        _, counts = np.unique(found[u], axis=0, return_counts=True)
        assert len(counts) == orders
        assert ((counts - 6000 / orders) ** 2).sum() / (6000 / orders) < orders + 5 * np.sqrt(2 * orders)


def test_categories_and_missing_values_stay_where_they_can_be():
    random = np.random.default_rng(0)
    n = 1200
    sex = random.choice(["f", "m"], n)
    pregnant = (sex == "f") & (random.random(n) < 0.3)
    weight = np.where(sex == "m", 80, 65) + 8 * random.normal(size=n)
    marker = np.where(pregnant, random.normal(size=n), np.nan)
    data = ex.Dataset.from_frame(
        pd.DataFrame({"sex": sex, "pregnant": pregnant, "weight": weight, "marker": marker})
    )
    donors = permuted(data, [[0], [1], [3]])
    assert not (pregnant[donors[1]] & (sex == "m")).any()
    # a few pregnant rows among heavy ones are too few for a leaf of their own
    assert (sex[donors[0]] == "m")[:, pregnant].mean() < 0.01
    np.testing.assert_array_equal(np.isnan(marker)[donors[2]], np.broadcast_to(~pregnant, (3, n)))
    assert (donors[0] != np.arange(n)).mean() > 0.8


def test_a_group_moves_given_the_rest():
    random = np.random.default_rng(0)
    a = random.normal(size=(2000, 1))
    X = np.hstack([a, a + 0.3 * random.normal(size=(2000, 1)), a + 0.3 * random.normal(size=(2000, 1))])
    data = ex.Dataset.from_frame(pd.DataFrame(X, columns=list("abc")))
    donors = permuted(data, [[0, 1], [0, 1, 2]], repeats=1)
    given, free = (X[donors[u, 0]] for u in (0, 1))
    assert np.corrcoef(given[:, 0], X[:, 2])[0, 1] > 0.85
    assert np.corrcoef(given[:, 1], X[:, 2])[0, 1] > 0.8
    assert abs(np.corrcoef(free[:, 0], X[:, 2])[0, 1]) < 0.08  # nothing is left to keep
    np.testing.assert_array_equal(np.sort(given[:, 0]), np.sort(X[:, 0]))


def test_the_seed_decides_and_more_rows_than_grow_the_tree_are_sorted_into_it(monkeypatch):
    data = normal(800)
    one, again, other = (permuted(data, [[0], [2]], seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    assert (one != other).mean() > 0.5
    assert len({tuple(permutation) for permutation in one[0]}) == 3
    monkeypatch.setattr(conditional_donors, "MOST_ROWS", 400)
    few = permuted(data, [[0]], seed=1)
    assert np.corrcoef(data.matrix[few[0, 0], 0], data.matrix[:, 1])[0, 1] > 0.75


def test_little_to_go_by_is_one_stratum():
    data = normal(12)
    assert (strata_of(data.matrix, data.schema, [0]) == 0).all()  # fewer rows than two leaves need
    frame = normal(100).X.assign(same=1.0)
    data = ex.Dataset.from_frame(frame)
    assert (strata_of(data.matrix, data.schema, [3]) == 0).all()
    assert (strata_of(data.matrix, data.schema, [0, 1, 2, 3]) == 0).all()


def test_conditional_importance_of_a_copy_is_small_where_the_plain_one_is_large():
    data = normal(2000, correlation=0.98)
    a = data.matrix[:, 0]
    donors = permuted(data, [[0]], repeats=5)[0]
    conditional = ((a[donors] - a) ** 2).mean()
    plain = 2 * a.var()
    assert conditional < 0.06 * plain
    assert conditional == pytest.approx(2 * (1 - 0.98**2), rel=0.2)
