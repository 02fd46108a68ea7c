"""Shapley values of each row against each reference case, one pair at a time: for few rows, and for deep trees.

Where the two agree at a node, the walk goes on with both. Where they differ, a coalition decides: with this player it
goes the row's way, without it the reference case's. A leaf that needs `a` players of the row and the absence of `b`
others is reached by known shares of all orders of players (Lundberg et al. 2020, interventional values).
"""

from __future__ import annotations

from typing import Any, no_type_check

import numpy as np
from jaxtyping import Float, Int

from explainers.trees.compiling import compiled, share, threads
from explainers.trees.ensemble import TreeEnsemble


def against_each(
    trees: TreeEnsemble,
    player: Int[np.ndarray, " c"],
    codes: Any,
    reference: Any,
    mean: Float[np.ndarray, "m d k"],
    spread: Float[np.ndarray, "m d k"],
    each: Float[np.ndarray, "m b d k"] | None = None,
) -> None:
    """Fill the mean over reference cases and the sum of squared distances from it; `codes` are ``(p, m)``, ``(p, b)``.

    With `each`, that is filled with the values against every single reference case.
    """
    if each is None and len(mean) < threads():
        each = np.zeros((len(mean), reference.shape[1], *mean.shape[1:]))
    if each is not None:
        _each(trees, player, codes, reference, each)
        mean[:] = each.mean(axis=1)
        spread[:] = ((each - mean[:, None]) ** 2).sum(axis=1)
        return
    _run(trees, player, codes, reference, mean, spread)


def _each(trees: TreeEnsemble, player: np.ndarray, codes: Any, reference: Any, each: np.ndarray) -> None:
    """Few rows: the reference cases are shared among threads."""
    for row in range(each.shape[0]):
        # for a pair the two change places with the sign of the values, so each reference case is a row here
        found = np.zeros((reference.shape[1], *each.shape[2:]))
        one = np.ascontiguousarray(codes[:, row : row + 1])
        _run(trees, player, reference, one, found, np.zeros_like(found))
        each[row] = -found


def _run(trees: TreeEnsemble, player: np.ndarray, codes: Any, reference: Any, mean: Any, spread: Any) -> None:
    questions, deepest = trees.questions, int(trees.depth.max(initial=0))
    who = np.where(trees.feature >= 0, np.asarray(player, dtype=np.int64)[trees.feature], -1)

    def part(start: int, stop: int) -> None:
        _pairs(
            codes, reference, start, stop, trees.roots, trees.feature, trees.left, trees.right, who, questions.column,
            questions.rank, trees.value, trees.output, shares(deepest), deepest, mean, spread,
        )  # fmt: skip

    share(part, len(mean), 4)


def shares(most: int) -> Float[np.ndarray, "a b"]:
    """``shares[a, b]``: the share of orders in which one given of `a` players comes last of them and before all `b`.

    It is ``(a-1)! b! / (a+b)!``; 0 for ``a = 0``.
    """
    found = np.zeros((most + 1, most + 1))
    for a in range(1, most + 1):
        found[a, 0] = 1.0 / a
        for b in range(1, most + 1):
            found[a, b] = found[a, b - 1] * b / (a + b)
    return found


@no_type_check  # a plain function: its machine code is kept on disk, which a wrapped one prevents
def _loop(
    codes, reference, start, stop, roots, feature, left, right, who, column, rank, value, output, shares, deepest,
    mean, spread,
):  # fmt: skip
    """One pair after the other, each tree by an explicit stack of the nodes where both ways are open."""
    players, outputs = mean.shape[1], mean.shape[2]
    leaf_outputs = value.shape[1]
    state = np.zeros(players, dtype=np.int8)  # 1: the row's way was taken, 2: the reference case's
    with_row = np.zeros(deepest + 1, dtype=np.int64)
    with_other = np.zeros(deepest + 1, dtype=np.int64)
    split = np.zeros(deepest + 1, dtype=np.int64)
    pair = np.zeros((players, outputs))
    for r in range(start, stop):
        for b in range(reference.shape[1]):
            pair[:, :] = 0.0
            for tree in range(len(roots) - 1):
                node, open_, rows, others = roots[tree], 0, 0, 0
                while True:
                    while feature[node] >= 0:
                        place, limit, p = column[node], rank[node], who[node]
                        mine, theirs = codes[place, r] <= limit, reference[place, b] <= limit
                        if mine == theirs or state[p] == 1:
                            node = left[node] if mine else right[node]
                        elif state[p] == 2:
                            node = left[node] if theirs else right[node]
                        else:
                            state[p] = 1
                            with_row[rows] = p
                            rows += 1
                            split[open_] = node
                            open_ += 1
                            node = left[node] if mine else right[node]
                    if rows + others > 0:
                        gain, loss = shares[rows, others], shares[others, rows]
                        for k in range(leaf_outputs):
                            place = output[tree] if output[tree] >= 0 else k
                            v = value[node, k]
                            for i in range(rows):
                                pair[with_row[i], place] += v * gain
                            for i in range(others):
                                pair[with_other[i], place] -= v * loss
                    while open_ > 0 and state[who[split[open_ - 1]]] == 2:  # both ways were taken
                        state[who[split[open_ - 1]]] = 0
                        others -= 1
                        open_ -= 1
                    if open_ == 0:
                        break
                    top = split[open_ - 1]
                    state[who[top]] = 2
                    rows -= 1
                    with_other[others] = who[top]
                    others += 1
                    node = left[top] if reference[column[top], b] <= rank[top] else right[top]
            for p in range(players):
                for k in range(outputs):
                    step = pair[p, k] - mean[r, p, k]
                    mean[r, p, k] += step / (b + 1)
                    spread[r, p, k] += step * (pair[p, k] - mean[r, p, k])


_pairs: Any = compiled(_loop)
