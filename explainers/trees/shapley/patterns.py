"""Small subtrees of an ensemble and the bits that decide what they say about a row.

A *group* is a largest subtree of at most four leaves. All that matters of a row is a handful of bits: for each player
on the way to the subtree, whether the row satisfies all that is asked of it there, and for each question inside,
whether the row goes right. So what a group adds can be kept in a table with a line for each pattern of bits.

A *player* is a feature of the user; several columns may belong to one.
"""

from __future__ import annotations

import dataclasses
from typing import Any, no_type_check

import numpy as np
from jaxtyping import Bool, Float, Int

from explainers.trees.compiling import compiled
from explainers.trees.ensemble import TreeEnsemble

#: Leaves of a group, and bits of a pattern that are worth a table.
LEAVES, MOST_BITS = 4, 14


@dataclasses.dataclass(frozen=True, eq=False)
class Groups:
    """The groups of an ensemble, one after the other; `start` arrays have one entry more than what they divide.

    Attributes:
        first: the first group of each tree, ``(t+1,)``.
        bit: the first bit of each group, ``(g+1,)``.
        condition: the first condition of each bit, ``(bits+1,)``; a bit is set where all its conditions hold.
        node, right: what a condition asks: that the row goes right (or left) at this node.
        leaf: the first leaf of each group, ``(g+1,)``.
        leaf_node: its node, ``(l,)``.
        part: the first entry of each leaf in what follows, ``(l+1,)``: one for each player on its path.
        player: the player; `mask`, `want`: satisfied where ``pattern & mask == want``; `ratio`: the share of the
            training weight that satisfied it.
    """

    first: Int[np.ndarray, " t1"]
    bit: Int[np.ndarray, " g1"]
    condition: Int[np.ndarray, " b1"]
    node: Int[np.ndarray, " conditions"]
    right: Bool[np.ndarray, " conditions"]
    leaf: Int[np.ndarray, " g1"]
    leaf_node: Int[np.ndarray, " l"]
    part: Int[np.ndarray, " l1"]
    player: Int[np.ndarray, " parts"]
    mask: Int[np.ndarray, " parts"]
    want: Int[np.ndarray, " parts"]
    ratio: Float[np.ndarray, " parts"]

    @property
    def bits(self) -> Int[np.ndarray, " g"]:
        """How many bits each group's pattern has."""
        return np.diff(self.bit)

    @property
    def lines(self) -> int:
        """How many patterns all groups have together."""
        return int((1 << np.minimum(self.bits, 62)).sum())


def groups_of(trees: TreeEnsemble, player: Int[np.ndarray, " columns"]) -> Groups:
    """The groups of an ensemble whose columns belong to these players."""
    parts = _describe(
        trees.roots, trees.feature, trees.right, trees.parent, trees.cover,
        np.asarray(player, dtype=np.int64), int(trees.depth.max(initial=0)), LEAVES,
    )  # fmt: skip
    return Groups(*parts)


@no_type_check  # a plain function: its machine code is kept on disk, which a wrapped one prevents
def _loop(roots, feature, right, parent, cover, player, deepest, most):
    """Everything in `Groups`, in one pass over the nodes."""
    n = len(feature)
    leaves = np.zeros(n, dtype=np.int64)
    total = length = 0
    above = np.zeros(n, dtype=np.int64)
    for node in range(n):
        if parent[node] >= 0:
            above[node] = above[parent[node]] + 1
    for node in range(n - 1, -1, -1):  # children come after their parents
        if feature[node] < 0:
            leaves[node] = 1
            total += 1
            length += above[node]
        if parent[node] >= 0:
            leaves[parent[node]] += leaves[node]
    first = np.zeros(len(roots), dtype=np.int64)
    bit, condition = np.zeros(total + 1, dtype=np.int64), np.zeros(length + total + 1, dtype=np.int64)
    node_of, right_of = np.zeros(length + total, dtype=np.int64), np.zeros(length + total, dtype=np.bool_)
    leaf, leaf_node = np.zeros(total + 1, dtype=np.int64), np.zeros(total, dtype=np.int64)
    part, size = np.zeros(total + 1, dtype=np.int64), length + total
    who, mask, want = np.zeros(size, np.int64), np.zeros(size, np.int64), np.zeros(size, np.int64)
    ratio = np.ones(size)
    path = np.zeros(deepest + 1, dtype=np.int64)
    known = np.zeros(deepest + 1, dtype=np.int64)
    share = np.ones(deepest + 1)
    inside = np.zeros(most, dtype=np.int64)
    groups = bits = conditions = found_leaves = parts = 0
    for tree in range(len(roots) - 1):
        for top in range(roots[tree], roots[tree + 1]):
            if leaves[top] > most or (parent[top] >= 0 and leaves[parent[top]] <= most):
                continue
            depth, node = 0, top
            while parent[node] >= 0:  # the way from the top of the subtree to the root
                path[depth] = node
                depth, node = depth + 1, parent[node]
            players = 0
            first_bit = bits
            for step in range(depth - 1, -1, -1):
                p = player[feature[parent[path[step]]]]
                seen = False
                for i in range(players):
                    seen |= known[i] == p
                if seen:
                    continue
                known[players] = p
                share[players] = 1.0
                for other in range(depth - 1, -1, -1):
                    up = parent[path[other]]
                    if player[feature[up]] == p:
                        node_of[conditions], right_of[conditions] = up, right[up] == path[other]
                        conditions += 1
                        share[players] *= cover[path[other]] / cover[up] if cover[up] > 0 else 0.0
                players += 1
                bits += 1
                condition[bits] = conditions
            questions, last = 0, top
            while last < roots[tree + 1] and (last == top or above[last] > above[top]):
                if feature[last] >= 0:
                    inside[questions] = last
                    questions += 1
                    node_of[conditions], right_of[conditions] = last, True
                    conditions += 1
                    bits += 1
                    condition[bits] = conditions
                last += 1
            for node in range(top, last):
                if feature[node] >= 0:
                    continue
                leaf_node[found_leaves] = node
                begin = parts
                for i in range(players):
                    who[parts], mask[parts], want[parts], ratio[parts] = known[i], 1 << i, 1 << i, share[i]
                    parts += 1
                here = node
                while here != top:
                    up = parent[here]
                    p = player[feature[up]]
                    place = -1
                    for i in range(begin, parts):
                        if who[i] == p:
                            place = i
                    if place < 0:
                        place = parts
                        who[place], mask[place], want[place], ratio[place] = p, 0, 0, 1.0
                        parts += 1
                    for i in range(questions):
                        if inside[i] == up:
                            mask[place] |= 1 << (players + i)
                            if right[up] == here:
                                want[place] |= 1 << (players + i)
                    ratio[place] *= cover[here] / cover[up] if cover[up] > 0 else 0.0
                    here = up
                found_leaves += 1
                part[found_leaves] = parts
            groups += 1
            bit[groups] = first_bit + (bits - first_bit)
            leaf[groups] = found_leaves
        first[tree + 1] = groups
    return (
        first, bit[: groups + 1], condition[: bits + 1], node_of[:conditions], right_of[:conditions],
        leaf[: groups + 1], leaf_node, part, who[:parts], mask[:parts], want[:parts], ratio[:parts],
    )  # fmt: skip


_describe: Any = compiled(_loop)
