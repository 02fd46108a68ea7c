"""Partial dependence of single features and of pairs at the cases themselves, from the trees, for a few hundred cases.

A leaf with conditions on both features of a pair adds, at a case that satisfies the conditions on both, its value times the share of
cases that satisfy all others. A leaf that asks only one of the two adds nothing to their interaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, no_type_check

import numpy as np
from jaxtyping import Int

from explainers.trees.compiling import compiled
from explainers.trees.effects.bits import WORD, decide, lowest, ones, sets, valid_rows
from explainers.trees.effects.paths import Paths, blocks
from explainers.trees.ensemble import TreeEnsemble


def add_pairs(
    trees: TreeEnsemble,
    unit_of: Sequence[int],
    codes: Any,
    chosen: Int[np.ndarray, " t"],
    column: int,
    out: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray],
) -> None:
    """Add what the trees `chosen` give to one output, at each of the cases ``codes (p, n)``.

    `out` has: the sums ``(n,)``; for each unit its partial dependence at the cases' values ``(u, n)``; what averaging over
    all cases' values of the unit changes in the sums ``(u, n)``; for each pair ``u < v`` their joint partial dependence less that
    of each alone ``(u, u, n)``. All but the first and third up to a constant.
    """
    paths = Paths.of(trees, unit_of)
    n = codes.shape[1]
    words = -(-n // WORD)
    questions = trees.questions
    worth = trees.value[:, column if trees.value.shape[1] > 1 else 0]
    _pairs(
        blocks(codes, words), n, words, chosen, trees.roots, trees.feature, questions.column, questions.rank,
        paths.tree_start, paths.leaf, paths.leaf_start, paths.unit, paths.part_start, paths.condition, paths.most,
        np.ascontiguousarray(worth), *out,
    )  # fmt: skip


@no_type_check  # a plain function: its machine code is kept on disk, which a wrapped one prevents
def _add(words, amount, out):
    """``out[row] += amount`` for the rows of the bits."""
    for w in range(len(words)):
        there = words[w]
        while there != np.uint64(0):
            out[64 * w + np.int64(lowest(there))] += amount
            there &= there - np.uint64(1)


@no_type_check  # a plain function too
def _size(words):
    """How many bits are set."""
    count = np.uint64(0)
    for w in range(len(words)):
        count += ones(words[w])
    return np.float64(count)


add, size = compiled(_add), compiled(_size)


@no_type_check  # a plain function too
def _loop(
    codes, rows, words, chosen, roots, feature, column, rank, tree_start, leaf, leaf_start,
    unit, part_start, condition, most, value, own_sum, alone, without, joint,
):  # fmt: skip
    nodes = 1
    for t in chosen:
        nodes = max(nodes, roots[t + 1] - roots[t])
    bits = np.empty((nodes, words), np.uint64)
    own, others = np.empty((most + 1, words), np.uint64), np.empty((most + 1, words), np.uint64)
    valid, rest, both = np.empty(words, np.uint64), np.empty(words, np.uint64), np.empty(words, np.uint64)
    valid_rows(np.int64(0), rows, valid)
    for t in chosen:
        decide(codes, np.int64(0), feature, column, rank, roots[t], roots[t + 1], bits)
        for i in range(tree_start[t], tree_start[t + 1]):
            start, parts = leaf_start[i], leaf_start[i + 1] - leaf_start[i]
            sets(bits, condition, part_start, start, start + parts, valid, own, others)
            worth = value[leaf[i]]
            add(others[parts], worth, own_sum)
            for a in range(parts):
                u = unit[start + a]
                if u < 0:
                    continue
                share = worth * size(others[a]) / rows
                add(own[a], share, alone[u])
                add(others[parts], -worth, without[u])
                add(others[a], worth * size(own[a]) / rows, without[u])
                for b in range(parts):
                    v = unit[start + b]
                    if v < 0 or v == u:
                        continue
                    x, y = min(u, v), max(u, v)
                    add(own[a], -share, joint[x, y])
                    if a > b:
                        continue
                    for w in range(words):
                        held = valid[w]
                        for c in range(parts):
                            if c != a and c != b:
                                held &= own[c, w]
                        rest[w] = held
                        both[w] = own[a, w] & own[b, w]
                    add(both, worth * size(rest) / rows, joint[x, y])


_pairs = compiled(_loop)
