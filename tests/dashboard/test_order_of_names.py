"""Another order of the names is found as by trying all of them, and said only where it is far better."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from dashboard.panels.order_of_names import FAR_MORE, better_order


@pytest.mark.parametrize("seed", range(8))
def test_it_is_the_best_of_all_orders(seed: int) -> None:
    rng = np.random.default_rng(seed)
    classes = int(rng.integers(2, 5))
    truth = rng.integers(0, classes, 60)
    turned = rng.permutation(classes)
    decided = np.where(rng.random(60) < 0.8, turned[truth], rng.integers(0, classes, 60))
    shares = {
        order: float(np.mean(np.array(order)[decided] == truth)) for order in permutations(range(classes))
    }
    best, own = max(shares.values()), shares[tuple(range(classes))]
    found = better_order(decided, truth, classes)
    if best - own < FAR_MORE:
        assert found is None
    else:
        assert found is not None
        assert (found.share, found.own) == pytest.approx((best, own))
        assert shares[found.places] == pytest.approx(best)


def test_good_names_few_cases_and_missing_truths_say_nothing() -> None:
    truth = np.tile([0, 1, 2], 10)
    assert better_order(truth, truth, 3) is None
    turned = np.array([1, 2, 0])[truth]
    assert better_order(turned, truth, 3) is not None
    assert better_order(turned[:9], truth[:9], 3) is None
    assert better_order(turned, np.full(30, -1), 3) is None
