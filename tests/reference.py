"""Slow, obvious second implementations, straight from the definitions."""

from __future__ import annotations


def shapley_values(value, d):
    """Shapley values of the game ``value(set of players)``: mean marginal contribution over all orders."""
    import functools
    import itertools
    import math

    import numpy as np

    value = functools.cache(value)  # each coalition is asked once, however many orders pass it
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


def owen_values(value, unions):
    """Owen values of ``value(set of players)``: mean marginal contribution over all orders in which unions stay together."""
    import functools
    import itertools

    import numpy as np

    value = functools.cache(value)

    def orders():
        for among in itertools.permutations(range(len(unions))):
            for within in itertools.product(*(itertools.permutations(unions[i]) for i in among)):
                yield [player for part in within for player in part]

    totals = [np.asarray(0.0)] * sum(map(len, unions))
    count = 0
    for order in orders():
        count += 1
        inside = set()
        for player in order:
            before = value(frozenset(inside))
            inside.add(player)
            totals[player] = totals[player] + (value(frozenset(inside)) - before)
    return np.array([total / count for total in totals])
