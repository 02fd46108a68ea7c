"""Interaction values of many rows: for each group of leaves a table by pattern of bits, filled, looked up and dropped.

A line for every pair would be long, so a table has one line of patterns for each pair of the group's own players. One
after the other, each adds to all rows what their patterns say: rows follow each other in memory, and a table of a few
kilobytes stays near the processor. Tables are not kept: for many rows filling them costs little.
"""

from __future__ import annotations

from typing import Any, no_type_check

import numpy as np
from jaxtyping import Float

from explainers.trees.compiling import compiled, threads
from explainers.trees.ensemble import TreeEnsemble
from explainers.trees.interactions.leaf import background_leaf, path_leaf
from explainers.trees.shapley.lookup import ROWS, patterns_of
from explainers.trees.shapley.patterns import Groups
from explainers.trees.shapley.tables import rules

#: Groups whose values are summed in the precision of the tables before they are added in double precision.
GROUPS_PER_SUM = 256


class PairTables:
    """The groups of an ensemble with their pairs of players, and a number for every pair that occurs.

    Attributes:
        first, second: the players of each pair, ``first <= second``; equal for a player's own values, ``(pairs,)``.
        lanes: how many pairs each group has, ``(g,)``.
    """

    def __init__(self, trees: TreeEnsemble, groups: Groups, players: int) -> None:
        self.trees, self.groups = trees, groups
        count = len(groups.bits)
        group = np.repeat(np.arange(count), np.diff(groups.part[groups.leaf]))
        key, place = np.unique(group * players + groups.player, return_inverse=True)
        start = np.searchsorted(key, np.arange(count + 1) * players).astype(np.int64)
        self._place = (place.reshape(-1) - start[group]).astype(np.int64)
        size = np.diff(start)
        self.lanes = size * (size + 1) // 2
        self._lane = np.concatenate([[0], np.cumsum(self.lanes)]).astype(np.int64)
        pair = _pairs(start, (key % players).astype(np.int64), self._lane, players)
        pairs, number = np.unique(pair, return_inverse=True)
        self.first, self.second = pairs // players, pairs % players
        self._number = number.reshape(-1).astype(np.int64)
        self._tree_of = np.repeat(np.arange(trees.trees), np.diff(groups.first))
        questions = trees.questions
        self._ask = (
            groups.bit, groups.condition, questions.column[groups.node].astype(np.int64),
            questions.rank[groups.node], groups.right,
        )  # fmt: skip

    def add(self, output: int, codes: Any, reference: Any, kind: Any) -> Float[np.ndarray, "pairs m"]:
        """The values of one output for the rows of ``codes (p, m)``; `reference` are codes too, ``None``: path-dependent."""
        trees, groups = self.trees, self.groups
        mine = (trees.output == output) | (trees.output < 0)
        chosen = np.flatnonzero(mine[self._tree_of]).astype(np.int64)
        value = np.ascontiguousarray(trees.value[:, output if trees.value.shape[1] > 1 else 0])
        most = int(np.diff(groups.part).max(initial=0))
        nodes, weights = rules(most)
        others = codes[:, :0] if reference is None else reference
        wide, long = int(self.lanes[chosen].max(initial=0)), 1 << int(groups.bits[chosen].max(initial=0))

        def part(bounds: tuple[int, int]) -> Float[np.ndarray, "pairs m"]:
            sums = np.zeros((len(self.first), codes.shape[1]))
            block = np.zeros((len(self.first), codes.shape[1]), dtype=kind)
            _add(
                codes, others, reference is not None, chosen[bounds[0] : bounds[1]], *self._ask, groups.leaf,
                groups.leaf_node, groups.part, self._place, groups.mask, groups.want, groups.ratio, value,
                nodes, weights, most, self._lane, self._number, np.zeros((wide, long), dtype=kind), block, sums,
            )  # fmt: skip
            return sums

        found: Float[np.ndarray, "pairs m"] = _summed(part, len(chosen))
        return found


def _summed(part: Any, groups: int) -> Any:
    """The sum of what threads found, each for its share of the groups."""
    from concurrent.futures import ThreadPoolExecutor

    parts = max(1, min(threads(), groups // 64))
    bounds = [(groups * i // parts, groups * (i + 1) // parts) for i in range(parts)]
    if parts == 1:
        return part(bounds[0])
    with ThreadPoolExecutor(parts) as pool:
        found = list(pool.map(part, bounds))
    for other in found[1:]:
        found[0] += other
    return found[0]


@no_type_check  # a plain function: its machine code is kept on disk, which a wrapped one prevents
def _pair_loop(start, player, lane, players):
    """The key of each group's pairs; a group's players come in rising order."""
    out = np.zeros(lane[-1], dtype=np.int64)
    for g in range(len(start) - 1):
        place = lane[g]
        for j in range(start[g], start[g + 1]):
            for i in range(start[g], j + 1):
                out[place] = player[i] * players + player[j]
                place += 1
    return out


_pairs = compiled(_pair_loop)


@no_type_check
def _loop(
    codes, reference, against, chosen, bits, condition, column, rank, right, leaf, leaf_node, part, local,
    mask, want, ratio, value, nodes, weights, most, lane, number, table, block, sums,
):  # fmt: skip
    """Add to ``sums (pairs, rows)`` what the groups `chosen` add; `table` and `block` are room to work in.

    Within a group the pair of its players ``i <= j`` is in line ``j (j + 1) / 2 + i``.
    """
    size = 1 << most
    own = np.zeros((max(1, most * (most + 1) // 2), size))
    change, product, share = np.zeros((max(1, most), size)), np.zeros(size), np.zeros(size)
    counts, place = np.zeros(table.shape[1]), np.zeros(table.shape[1], dtype=np.int64)
    pattern, held = np.zeros(ROWS, dtype=np.uint16), np.zeros(ROWS, dtype=np.uint16)
    rows, others = codes.shape[1], reference.shape[1]
    for step in range(len(chosen)):
        g = chosen[step]
        lines, lanes = 1 << (bits[g + 1] - bits[g]), lane[g + 1] - lane[g]
        if lanes == 0:
            continue
        if against:
            counts[:lines] = 0.0
            for begin in range(0, others, ROWS):
                count = min(ROWS, others - begin)
                patterns_of(
                    reference,
                    begin,
                    count,
                    bits[g],
                    bits[g + 1],
                    condition,
                    column,
                    rank,
                    right,
                    held,
                    pattern,
                )
                for r in range(count):
                    counts[pattern[r]] += 1.0 / others
        table[:lanes, :lines] = 0
        for which in range(leaf[g], leaf[g + 1]):
            first, d = part[which], part[which + 1] - part[which]
            v = value[leaf_node[which]]
            if d == 0 or v == 0.0:
                continue
            for p in range(lines):
                place[p] = 0
            for j in range(d):
                m, w, mark = mask[first + j], want[first + j], 1 << j
                for p in range(lines):
                    place[p] |= mark if p & m == w else 0
            if against:
                share[: 1 << d] = 0.0
                for p in range(lines):
                    share[place[p]] += counts[p]
                background_leaf(d, share, v, nodes, weights, product, change, own)
            else:
                path_leaf(d, ratio[first : first + d], v, nodes, weights, product, change, own)
            pair = 0
            for j in range(d):
                for i in range(j + 1):
                    x, y = local[first + i], local[first + j]
                    target = y * (y + 1) // 2 + x if x <= y else x * (x + 1) // 2 + y
                    line, source = table[target], own[pair]
                    for p in range(lines):
                        line[p] += source[place[p]]
                    pair += 1
        for begin in range(0, rows, ROWS):
            count = min(ROWS, rows - begin)
            patterns_of(
                codes, begin, count, bits[g], bits[g + 1], condition, column, rank, right, held, pattern
            )
            for i in range(lanes):
                line, target = table[i], block[number[lane[g] + i], begin : begin + count]
                for r in range(count):
                    target[r] += line[pattern[r]]
        if step % GROUPS_PER_SUM == GROUPS_PER_SUM - 1 or step == len(chosen) - 1:
            for i in range(len(block)):
                for r in range(rows):
                    sums[i, r] += block[i, r]
                    block[i, r] = 0


_add: Any = compiled(_loop)
