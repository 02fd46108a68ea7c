"""The AUC of permuted copies from their order, against counting pairs and against the plain scores."""

from __future__ import annotations

import numpy as np
import pytest

from explainers.scoring import auc_of
from explainers.trees.effects.ranks import RankTally

N = 60


def pairs(positive, score):
    """Every positive case beside every negative one: the AUC, and each case's placement, a tie half."""
    above = (score[:, None] > score).astype(float) + 0.5 * (score[:, None] == score)
    placement = np.where(positive, above[:, ~positive].mean(axis=1), 1.0 - above[:, positive].mean(axis=1))
    return placement[positive].mean(), placement


def slow_parts(positive, score, permutation):
    area, placement = pairs(positive, score)
    n, parts = len(score), np.zeros(len(score))
    influence = area + np.where(positive, n / positive.sum(), n / (~positive).sum()) * (placement - area)
    for row in range(n):
        parts[row] += influence[row]
        parts[permutation[row]] += influence[row] - area
    return area, influence, parts


def tally_of(units=2, base=None):
    random = np.random.default_rng(0)
    positive = random.random(N) < 0.3
    base = random.normal(size=N) if base is None else base
    return RankTally(positive, np.zeros((units, N)), np.zeros(units), base), random


@pytest.mark.parametrize("digits", [0, 1, 12], ids=["many-ties", "some-ties", "no-ties"])
def test_copies_are_counted_as_pair_after_pair_says(digits):
    tally, random = tally_of()
    expected, squares = np.zeros((2, N)), np.zeros(2)
    for _ in range(3):
        permutation = random.permutation(N)
        for unit in range(2):
            score = random.normal(size=N).round(digits)
            area, _, parts = slow_parts(tally.positive, score, permutation)
            assert tally.add(unit, score, np.argsort(permutation)) == pytest.approx(area, abs=1e-14)
            expected[unit] += parts
            squares[unit] += (parts**2).sum()
    np.testing.assert_allclose(tally.influences, expected, atol=1e-12)
    np.testing.assert_allclose(tally.squares, squares, rtol=1e-12)


@pytest.mark.parametrize("score", [np.zeros(N), np.arange(N), -np.arange(N) // 7, np.r_[np.nan, np.arange(N - 1)]], ids=["one-value", "rising", "steps", "not-a-number"])  # fmt: skip
def test_equals_the_plain_score_and_its_influence(score):
    tally, _ = tally_of(base=score.astype(np.float64))
    area, influence = auc_of(tally.positive, score.astype(np.float64))
    assert tally.area == pytest.approx(area, abs=1e-14)
    np.testing.assert_allclose(tally.area + tally.excess, influence, atol=1e-13)


def test_a_copy_in_which_nothing_moved_scores_what_the_rows_do():
    tally, random = tally_of()
    receiver = random.permutation(N)
    assert tally.add(0, None, receiver) == tally.add(1, tally.base, receiver) == tally.area
    np.testing.assert_array_equal(tally.influences[0], tally.influences[1])
    assert tally.squares[0] == tally.squares[1] > 0


def test_givers_may_be_counted_beyond_the_mean_of_their_stratum():
    tally, random = tally_of(units=1)
    strata = random.integers(0, 4, size=N)
    permutation = np.arange(N)
    for label in range(4):
        permutation[strata == label] = random.permutation(np.flatnonzero(strata == label))
    score = random.normal(size=N)

    def centred(excess):
        return np.array([excess[i] - excess[strata == strata[i]].mean() for i in range(N)])

    area, influence, _ = slow_parts(tally.positive, score, permutation)
    expected = np.zeros(N)
    for row in range(N):
        expected[row] += influence[row]
        expected[permutation[row]] += influence[row] - influence[strata == strata[row]].mean()
    assert tally.add(0, score, np.argsort(permutation), centred) == pytest.approx(area, abs=1e-14)
    np.testing.assert_allclose(tally.influences[0], expected, atol=1e-12)
    assert tally.squares[0] == pytest.approx((expected**2).sum())
