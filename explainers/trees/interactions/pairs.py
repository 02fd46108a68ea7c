"""Interaction values of each row against each reference case, one of these pairs at a time: for few rows, and deep trees.

The walk is that of `shapley.pairs`. A leaf that needs `a` players of the row and the absence of `b` others is a game with one
winning set; the interaction index of two of its players is a known share of its value: both among the `a`
``(a-2)! b! / (a+b-1)!``, both among the `b` ``a! (b-2)! / (a+b-1)!``, one of each ``-(a-1)! (b-1)! / (a+b-1)!``.
"""

from __future__ import annotations

from typing import Any, no_type_check

import numpy as np
from jaxtyping import Float, Int

from explainers.trees.compiling import compiled, share
from explainers.trees.ensemble import TreeEnsemble
from explainers.trees.shapley.pairs import shares


def pairs_against_each(
    trees: TreeEnsemble,
    player: Int[np.ndarray, " c"],
    codes: Any,
    reference: Any,
    sums: Float[np.ndarray, "m d d k"],
) -> None:
    """Add the mean over reference cases: each pair to ``sums[row, i, j]``, ``i < j``, a player's own to ``[row, i, i]``.

    `codes` are ``(p, m)`` and `reference` ``(p, b)``.
    """
    questions, deepest = trees.questions, int(trees.depth.max(initial=0))
    who = np.where(trees.feature >= 0, np.asarray(player, dtype=np.int64)[trees.feature], -1)

    def part(start: int, stop: int) -> None:
        _pairs(
            codes, reference, start, stop, trees.roots, trees.feature, trees.left, trees.right, who, questions.column,
            questions.rank, trees.value, trees.output, shares(deepest), deepest, sums,
        )  # fmt: skip

    share(part, len(sums), 1)


@no_type_check  # a plain function: its machine code is kept on disk, which a wrapped one prevents
def _loop(
    codes, reference, start, stop, roots, feature, left, right, who, column, rank, value, output, shares, deepest, sums,
):  # fmt: skip
    """With ``shares[a, b] = (a-1)! b! / (a+b)!`` the three shares are those of one player less."""
    players, leaf_outputs, cases = sums.shape[1], value.shape[1], reference.shape[1]
    state = np.zeros(players, dtype=np.int8)  # 1: the row's way was taken, 2: the reference case's
    with_row = np.zeros(deepest + 1, dtype=np.int64)
    with_other = np.zeros(deepest + 1, dtype=np.int64)
    split = np.zeros(deepest + 1, dtype=np.int64)
    for r in range(start, stop):
        for b in range(cases):
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
                        gain, loss = shares[rows, others] / cases, shares[others, rows] / cases
                        two = shares[rows - 1, others] / cases if rows > 1 else 0.0
                        none = shares[others - 1, rows] / cases if others > 1 else 0.0
                        # one of each: (a-1)! (b-1)! / (a+b-1)!
                        one = shares[rows, others - 1] / cases if rows > 0 and others > 0 else 0.0
                        for k in range(leaf_outputs):
                            place = output[tree] if output[tree] >= 0 else k
                            v = value[node, k]
                            for i in range(rows):
                                p = with_row[i]
                                sums[r, p, p, place] += v * gain
                                for j in range(i):
                                    sums[r, min(p, with_row[j]), max(p, with_row[j]), place] += v * two
                                for j in range(others):
                                    sums[r, min(p, with_other[j]), max(p, with_other[j]), place] -= v * one
                            for i in range(others):
                                p = with_other[i]
                                sums[r, p, p, place] -= v * loss
                                for j in range(i):
                                    sums[r, min(p, with_other[j]), max(p, with_other[j]), place] += v * none
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


_pairs: Any = compiled(_loop)
