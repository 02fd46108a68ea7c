"""Slow, obvious second implementations, straight from the definitions."""

from __future__ import annotations


def shapley_values(value, d):
    """Shapley values of the game ``value(set of players)``: mean marginal contribution over all orders."""
    import itertools
    import math

    import numpy as np

    totals = [np.asarray(0.0)] * d
    for order in itertools.permutations(range(d)):
        inside = set()
        for player in order:
            before = value(frozenset(inside))
            inside.add(player)
            totals[player] = totals[player] + (value(frozenset(inside)) - before)
    return np.array([total / math.factorial(d) for total in totals])


def background_game(predict, data, case, background):
    """The game of a case: players outside take the values of each reference case in turn, the answers are averaged."""
    import functools

    import numpy as np

    @functools.cache
    def value(inside):
        codes = np.array(background)
        for j in inside:
            codes[:, j] = case[j]
        return predict(data.with_matrix(codes).X).mean(axis=0)

    return value
