"""Whether classes were named in another order than the model's outputs: then its answers are right under other names."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

#: Cases from which it is asked, and how much more often another order must be right.
LEAST_CASES, FAR_MORE = 10, 0.3


@dataclass(frozen=True)
class Order:
    """Another order of the names.

    Attributes:
        places: for each output the class whose name fits it best.
        share, own: how often the answers are right in that order, and as they are named.
    """

    places: tuple[int, ...]
    share: float
    own: float


def better_order(decided: Int[np.ndarray, " n"], truth: Int[np.ndarray, " n"], classes: int) -> Order | None:
    """The order in which most answers are right, where that is far better than the given one; a missing truth is -1."""
    from scipy.optimize import linear_sum_assignment

    known = truth >= 0
    if int(known.sum()) < LEAST_CASES or classes < 2:
        return None
    counts = np.zeros((classes, classes))
    np.add.at(counts, (decided[known], truth[known].astype(np.int64)), 1)
    _, places = linear_sum_assignment(-counts)
    own, share = (
        float(counts[np.arange(classes), order].sum() / known.sum()) for order in (np.arange(classes), places)
    )
    return Order(tuple(map(int, places)), share, own) if share - own >= FAR_MORE else None
