"""The same as `moved` for trees of at most 256 leaves, without a branch for any row.

A *plane* says for each of 64 rows, in one byte, which leaf it would reach from one node. The planes of a node's two children
and the answers of the rows make its own: one vector operation for 64 rows. With other values of a unit only the
planes of nodes that ask it, and of those above, are different; what they give at the root is looked up among the
leaves. A unit that no row of the block is asked on its way changes nothing, and is passed over.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from typing import Any, no_type_check

import numpy as np
from jaxtyping import Float, Int

from explainers.trees.compiling import compiled, share
from explainers.trees.effects.bits import lowest, ones
from explainers.trees.effects.paths import steady
from explainers.trees.effects.vectors import (
    ROWS,
    add_difference,
    at_most,
    choose,
    choose_five,
    differ,
    look_up,
)
from explainers.trees.ensemble import TreeEnsemble

#: Leaves that a byte can name, and of a tree up to which planes are used.
LEAVES = 256
MOST_LEAVES = LEAVES

#: Rows of a block that are looked up one by one: where more reach another leaf, all are.
FEW = 16

#: Rows from which a second thread is worth its start.
ROWS_PER_THREAD = 512


@dataclasses.dataclass(frozen=True, eq=False)
class Plan:
    """What to compute for each tree, and for each unit that it asks.

    Inner nodes of a tree are numbered from its last, so that children come before their parents; a child is given by
    its leaf's number in the tree, or by `LEAVES` plus its number. An *entry* is a unit of a tree.

    Attributes:
        first_node: the first inner node of each tree, ``(t+1,)``.
        node: the nodes, ``(i,)``.
        left, right: their children, ``(i,)``.
        first_leaf: the first leaf of each tree, ``(t+1,)``.
        first_entry: the first entry of each tree, ``(t+1,)``.
        unit: of each entry, ``(e,)``.
        first_asked, asked: the nodes that ask each entry's unit, as numbers in the tree, ``(e+1,)`` and ``(a,)``.
        first_step: the first step of each entry, ``(e+1,)``; a step makes the plane of a node that asks, or of one above.
        step: the node's number in the tree, then, for its question, left and right child, a place among the entry's own
            answers or steps, or -1 where the row's own is used, ``(s, 4)``.
    """

    first_node: Int[np.ndarray, " tree_bounds"]
    node: Int[np.ndarray, " i"]
    left: Int[np.ndarray, " i"]
    right: Int[np.ndarray, " i"]
    first_leaf: Int[np.ndarray, " tree_bounds"]
    first_entry: Int[np.ndarray, " tree_bounds"]
    unit: Int[np.ndarray, " e"]
    first_asked: Int[np.ndarray, " entry_bounds"]
    asked: Int[np.ndarray, " a"]
    first_step: Int[np.ndarray, " entry_bounds"]
    step: Int[np.ndarray, "s 4"]

    @classmethod
    def of(cls, trees: TreeEnsemble, unit_of: Sequence[int], units: int) -> Plan | None:
        """The plan, or ``None`` where a tree is too large; kept until asked with other units."""
        key = (*map(int, unit_of), units)
        kept = trees.__dict__.get("_plan")
        if kept is None or kept[0] != key:
            kept = trees.__dict__["_plan"] = (
                key,
                _made(cls, trees, np.array(key[:-1], dtype=np.int64), units),
            )
        return kept[1]


def _made(kind: type[Plan], trees: TreeEnsemble, unit_of: np.ndarray, units: int) -> Plan | None:
    leaf = trees.feature < 0
    first_leaf = np.concatenate([[0], np.cumsum(leaf)])[trees.roots].astype(np.int64)
    if np.diff(first_leaf).max(initial=0) > MOST_LEAVES or not trees.trees:
        return None
    inner = np.flatnonzero(~leaf)
    first_node = np.searchsorted(inner, trees.roots).astype(np.int64)
    tree_of = np.repeat(np.arange(trees.trees), np.diff(first_node))
    node = np.concatenate([inner[a:b][::-1] for a, b in itertools.pairwise(first_node)])
    number = np.zeros(len(leaf), dtype=np.int64)
    number[node] = LEAVES + np.arange(len(node)) - first_node[tree_of]
    number[leaf] = np.arange(first_leaf[-1]) - np.repeat(first_leaf[:-1], np.diff(first_leaf))
    unit = unit_of[trees.feature[node]]
    room = int((trees.depth[node] + 1).sum())
    first_entry = np.zeros(trees.trees + 1, np.int64)
    entry_unit, first_asked, first_step = (np.zeros(len(node) + 1, np.int64) for _ in range(3))
    asked, step = np.zeros(len(node), np.int64), np.zeros((room, 4), np.int64)
    left, right = number[trees.left[node]], number[trees.right[node]]
    above = np.where(trees.parent[node] >= 0, number[trees.parent[node]] - LEAVES, -1)
    entries = _plan(
        first_node,
        left,
        right,
        above,
        unit,
        units,
        first_entry,
        entry_unit,
        first_asked,
        asked,
        first_step,
        step,
    )
    return kind(
        first_node, node, left, right, first_leaf, first_entry, entry_unit[:entries].copy(),
        first_asked[: entries + 1].copy(), asked[: first_asked[entries]].copy(), first_step[: entries + 1].copy(),
        step[: first_step[entries]].copy(),
    )  # fmt: skip


@no_type_check  # a plain function: its machine code is kept on disk, which a wrapped one prevents
def _plan_loop(
    first_node, left, right, above, unit, units, first_entry, entry_unit, first_asked, asked, first_step, step
):  # fmt: skip
    most = 0
    for t in range(len(first_node) - 1):
        most = max(most, first_node[t + 1] - first_node[t])
    answer, made = np.empty(most, np.int64), np.empty(most, np.int64)
    entry, asks, steps = 0, 0, 0
    for t in range(len(first_node) - 1):
        at, count = first_node[t], first_node[t + 1] - first_node[t]
        for u in range(units):
            answer[:] = -1
            made[:] = -1
            own = 0
            for i in range(count):
                if unit[at + i] == u:
                    answer[i] = own
                    asked[asks + own] = i
                    own += 1
                    j = i
                    while j >= 0 and made[j] == -1:
                        made[j] = -2
                        j = above[at + j]
            if own == 0:
                continue
            place = 0
            for i in range(count):
                if made[i] == -1:
                    continue
                made[i] = place
                step[steps + place, 0] = i
                step[steps + place, 1] = answer[i]
                near, far = left[at + i] - LEAVES, right[at + i] - LEAVES
                step[steps + place, 2] = made[near] if near >= 0 else -1
                step[steps + place, 3] = made[far] if far >= 0 else -1
                place += 1
            asks += own
            steps += place
            entry_unit[entry] = u
            entry += 1
            first_asked[entry] = asks
            first_step[entry] = steps
        first_entry[t + 1] = entry
    return entry


_plan = compiled(_plan_loop)


def moved_by_planes(
    trees: TreeEnsemble,
    plan: Plan,
    codes: Any,
    donors: Sequence[Any] | np.ndarray,
    into: tuple[Float[np.ndarray, "k m"], Float[np.ndarray, "u r k m"]],
    at: int,
) -> None:
    """The sums of each row without the base, and what moving changes in them, from place `at` of `into` on."""
    n = codes.shape[1]
    value, _ = steady(trees)
    leaves = np.ascontiguousarray(value[trees.feature < 0].T)
    total, change = into
    given = donors if isinstance(donors, np.ndarray) else np.empty((len(donors), *codes.shape), codes.dtype)
    for copy, donor in enumerate([] if given is donors else donors):
        given[copy] = donor
    questions = trees.questions

    def part(start: int, stop: int) -> None:
        _moved(
            codes, given, start, stop, plan.first_node, questions.column[plan.node].astype(np.int64),
            questions.rank[plan.node], plan.left, plan.right, plan.first_leaf, plan.first_entry, plan.unit,
            plan.first_asked, plan.asked, plan.first_step, plan.step, leaves, trees.output, total, change, at,
        )  # fmt: skip

    share(part, n, ROWS_PER_THREAD)


@no_type_check
def _line_up(array):
    """The array from its first place on that begins a line of the cache."""
    return array[((-array.ctypes.data) % 64) // array.itemsize :]


line_up = compiled(_line_up)


@no_type_check  # a plain function too
def _loop(
    codes, donors, first_row, last_row, first_node, column, rank, left, right, first_leaf, first_entry, unit,
    first_asked, asked, first_step, step, leaves, output, total, change, to_row,
):  # fmt: skip
    units, copies, outputs, _ = change.shape
    columns = len(codes)
    inner, asks, steps = 0, 0, 0
    for t in range(len(first_node) - 1):
        inner = max(inner, first_node[t + 1] - first_node[t])
    for e in range(len(unit)):
        asks = max(asks, first_asked[e + 1] - first_asked[e])
        steps = max(steps, first_step[e + 1] - first_step[e])
    # places of planes: of the leaves, of the rows' answers, of the nodes, of the donors' answers, of their nodes
    nodes = LEAVES * ROWS
    answers = nodes + inner * ROWS
    theirs = answers + inner * ROWS
    made = theirs + asks * copies * ROWS
    places = np.empty(6 * len(step), np.int64)
    for t in range(len(first_node) - 1):
        for e in range(first_entry[t], first_entry[t + 1]):
            for s in range(first_step[e], first_step[e + 1]):
                i = step[s, 0]
                for side in range(3):
                    place = step[s, 1 + side]
                    if place >= 0:
                        places[6 * s + side] = (theirs if side == 0 else made) + place * copies * ROWS
                    elif side == 0:
                        places[6 * s] = answers + i * ROWS
                    else:
                        child = left[first_node[t] + i] if side == 1 else right[first_node[t] + i]
                        places[6 * s + side] = child * ROWS
                    places[6 * s + 3 + side] = ROWS if place >= 0 else 0
    planes = line_up(np.empty(made + steps * copies * ROWS + ROWS, np.uint8))
    for leaf in range(LEAVES):
        planes[leaf * ROWS : (leaf + 1) * ROWS] = leaf
    own = line_up(np.zeros((columns + 1) * ROWS, codes.dtype))
    others = line_up(np.zeros((columns * copies + 1) * ROWS, codes.dtype))
    here, sums = line_up(np.empty((outputs + 1) * ROWS)), line_up(np.empty((outputs + 1) * ROWS))
    moves = line_up(np.empty((units * copies * outputs + 1) * ROWS))
    held, come = np.empty(inner, np.uint64), np.empty(LEAVES + inner, np.uint64)
    values, width = leaves.ravel(), leaves.shape[1]
    none, one = np.uint64(0), np.uint64(1)
    for begin in range(first_row, last_row, ROWS):
        rows = min(ROWS, last_row - begin)
        for p in range(columns):
            for r in range(rows):
                own[p * ROWS + r] = codes[p, begin + r]
            for c in range(copies):
                for r in range(rows):
                    others[(p * copies + c) * ROWS + r] = donors[c, p, begin + r]
        sums[:] = 0.0
        moves[:] = 0.0
        for t in range(len(first_node) - 1):
            at, count = first_node[t], first_node[t + 1] - first_node[t]
            low, high = (output[t], output[t] + 1) if output[t] >= 0 else (0, outputs)
            if count == 0:
                for k in range(low, high):
                    for r in range(ROWS):
                        sums[k * ROWS + r] += values[(k - low) * width + first_leaf[t]]
                continue
            of, limit = column[at : at + count], rank[at : at + count]
            below, beyond = left[at : at + count], right[at : at + count]
            for i in range(len(of)):
                held[i] = at_most(own, of[i] * ROWS, limit[i], planes, answers + i * ROWS)
                choose(
                    planes, answers + i * ROWS, below[i] * ROWS, beyond[i] * ROWS, 0, 0, 0, nodes + i * ROWS
                )
            root = nodes + (count - 1) * ROWS
            for k in range(low, high):
                look_up(values, (k - low) * width + first_leaf[t], planes, root, here, (k - low) * ROWS)
                for r in range(ROWS):
                    sums[k * ROWS + r] += here[(k - low) * ROWS + r]
            # from answers, to which rows come by
            come[LEAVES + count - 1] = ~none
            for i in range(len(of) - 1, -1, -1):
                come[below[i]] = come[LEAVES + i] & held[i]
                come[beyond[i]] = come[LEAVES + i] & ~held[i]
            for e in range(first_entry[t], first_entry[t + 1]):
                asking, passing = asked[first_asked[e] : first_asked[e + 1]], none
                for j in range(len(asking)):
                    passing |= come[LEAVES + asking[j]]
                if passing == none:
                    continue
                to = theirs
                for j in range(len(asking)):
                    i = asking[j]
                    read = of[i] * copies * ROWS
                    for c in range(copies):
                        at_most(others, read + c * ROWS, limit[i], planes, to)
                        to += ROWS
                line = places[6 * first_step[e] : 6 * first_step[e + 1]]
                to = made
                for s in range(0, len(line), 6):
                    which, a, b = line[s], line[s + 1], line[s + 2]
                    which_by, a_by, b_by = line[s + 3], line[s + 4], line[s + 5]
                    for _ in range(copies // 5):
                        choose_five(planes, which, a, b, which_by, a_by, b_by, to)
                        which, a, b, to = which + 5 * which_by, a + 5 * a_by, b + 5 * b_by, to + 5 * ROWS
                    for _ in range(copies % 5):
                        choose(planes, which, a, b, 0, 0, 0, to)
                        which, a, b, to = which + which_by, a + a_by, b + b_by, to + ROWS
                end = to - (copies + 1) * ROWS
                for c in range(copies):
                    end += ROWS
                    turned = differ(planes, end, root)
                    if turned == none:
                        continue
                    many = ones(turned) > FEW
                    for k in range(low, high):
                        table, to = (
                            (k - low) * width + first_leaf[t],
                            ((unit[e] * copies + c) * outputs + k) * ROWS,
                        )
                        if many:
                            add_difference(values, table, planes, end, here, (k - low) * ROWS, moves, to)
                            continue
                        left_over = turned
                        while left_over != none:
                            r = np.int64(lowest(left_over))
                            left_over &= left_over - one
                            moves[to + r] += values[table + planes[end + r]] - here[(k - low) * ROWS + r]
        for k in range(outputs):
            for r in range(rows):
                total[k, to_row + begin + r] = sums[k * ROWS + r]
        for u in range(units):
            for c in range(copies):
                for k in range(outputs):
                    for r in range(rows):
                        change[u, c, k, to_row + begin + r] = moves[
                            ((u * copies + c) * outputs + k) * ROWS + r
                        ]


_moved = compiled(_loop)
