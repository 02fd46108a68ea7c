"""Means of curves of a boosted classifier's probability: every row's curve goes through the link before it is averaged.

No row's curve is ever written down. For 64 rows at a time it is first found out which parts of the leaves' conditions would
decide for them, one bit for each row (see `curves`). Then for each feature the rows' sums go along its grid: an
*event* is a leaf that is reached from a place on, or no longer. After the events of a place the sums become probabilities,
of which only the sum and the sum of squares are kept. Where nothing happens the place before is repeated.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any, no_type_check

import numpy as np
from jaxtyping import Bool, Float, Int, UInt32

from explainers.trees.compiling import compiled, share
from explainers.trees.effects.bits import WORD, decide, padded, valid_rows
from explainers.trees.effects.curves import Runs
from explainers.trees.effects.moments import Moments
from explainers.trees.effects.paths import Paths, steady
from explainers.trees.effects.planes import line_up
from explainers.trees.effects.powers import add_events, add_moments, add_power, add_where
from explainers.trees.ensemble import TreeEnsemble

#: Rows from which a second thread is worth its start.
ROWS_PER_THREAD = 512


@dataclasses.dataclass(frozen=True, eq=False)
class Events:
    """What happens at which place of the grids to the sums of rows, and where there is anything to compute.

    Rows are told by a *word*: `q` are those for which part `q` would decide, ``parts + q`` those whose sum is another at
    the first place of the grid, since the part holds there and not at their own value, or the other way round.

    Attributes:
        begins: whether a part holds at the first place of its grid, ``(q,)``.
        first: the first event of each place and class, ``(places · k + 1,)``.
        word: the rows concerned, ``(e,)``.
        worth: what their sum changes by, ``(e,)``.
        same_as: the place whose probabilities a place has: itself, or the last one before where anything happened.
    """

    begins: Bool[np.ndarray, " q"]
    first: Int[np.ndarray, " bounds"]
    word: UInt32[np.ndarray, " e"]
    worth: Float[np.ndarray, " e"]
    same_as: Int[np.ndarray, " places"]

    @classmethod
    def of(cls, trees: TreeEnsemble, paths: Paths, runs: Runs) -> Events:
        """All events, those of a place and class next to each other."""
        begins, place, word, sign = _changes(paths, runs)
        event, key, worth = _worths(trees, paths, place, word, sign)
        order, places, classes = np.argsort(key, kind="stable"), int(runs.start[-1]), max(2, trees.outputs)
        busy = np.zeros(places, dtype=bool)
        busy[runs.start[:-1]] = busy[place] = True
        return cls(
            begins=begins,
            first=np.searchsorted(key[order], np.arange(places * classes + 1)).astype(np.int64),
            word=word[event[order]].astype(np.uint32),
            worth=worth[order],
            same_as=np.maximum.accumulate(np.where(busy, np.arange(places), 0)),
        )


def _changes(paths: Paths, runs: Runs) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Which parts hold at the first place; of each change its place, its word, and whether a leaf is reached or left.

    Nothing changes behind the end of a grid.
    """
    parts = len(paths.unit)
    part = np.repeat(np.arange(parts), np.diff(runs.first))
    begin, behind = runs.start[paths.unit[part]], runs.start[paths.unit[part] + 1] - 1
    begins = np.zeros(parts, dtype=bool)
    begins[part[runs.low == begin]] = True
    moving = np.flatnonzero(paths.unit >= 0)
    rises, falls = runs.low != begin, runs.high != behind
    place = np.concatenate([runs.start[paths.unit[moving]], runs.low[rises], runs.high[falls]])
    word = np.concatenate([parts + moving, part[rises], part[falls]])
    sign = np.concatenate([np.where(begins[moving], 1.0, -1.0), np.ones(rises.sum()), -np.ones(falls.sum())])
    return begins, place, word, sign


def _worths(
    trees: TreeEnsemble, paths: Paths, place: np.ndarray, word: np.ndarray, sign: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The change that each event belongs to, its place and class as one number, and its worth.

    A change in a tree that adds to all classes is an event for each of them.
    """
    value, output, base = _by_class(trees)
    leaf = np.repeat(np.arange(len(paths.leaf)), np.diff(paths.leaf_start))[word % max(1, len(paths.unit))]
    column = output[np.repeat(np.arange(trees.trees), np.diff(paths.tree_start))[leaf]]
    events = np.where(column < 0, len(base), 1)
    change = np.repeat(np.arange(len(word)), events)
    step = np.arange(len(change)) - np.repeat(np.cumsum(events) - events, events)
    key = (place * len(base) + np.maximum(column, 0))[change] + step
    return change, key, sign[change] * value[paths.leaf[leaf[change]], step]


def _by_class(trees: TreeEnsemble) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Values of the leaves, the class that each tree adds to, and the base; one sum tells two classes: the first's is 0."""
    value, base = steady(trees)
    if trees.outputs > 1:
        return value, trees.output, base
    return value, np.ones(trees.trees, np.int64), np.array([0.0, base[0]])


def linked_moments(
    trees: TreeEnsemble, paths: Paths, runs: Runs, events: Events, codes: Any, target: int
) -> Moments:
    """Of the probability of class `target` along the grids, over one row or more with ``codes (p, n)``.

    Only for the links ``"logistic"`` of one sum and ``"softmax"``. Each row's probability is within 2e-7 of that in double
    precision, and so is their mean.
    """
    n, places = codes.shape[1], int(runs.start[-1])
    value, output, base = _by_class(trees)
    scale = (trees.slope if trees.link == "logistic" else 1.0) / math.log(2.0)
    filled, questions = padded(codes, WORD), trees.questions
    found: list[Moments] = []

    def part(start: int, stop: int) -> None:
        about, total, squares = np.zeros(places, np.float32), np.zeros(places), np.zeros(places)
        _linked(
            filled, n, start, stop, trees.roots, trees.feature, questions.column, questions.rank, paths.tree_start,
            paths.leaf, paths.leaf_start, paths.part_start, paths.condition, paths.most, value, output, base, runs.start,
            events.begins, events.first, events.word, events.worth, events.same_as, target, scale, about, total, squares,
        )  # fmt: skip
        rows = min(n, WORD * stop) - WORD * start
        found.append(Moments(rows, about + total / rows, np.maximum(squares - total**2 / rows, 0.0)))

    share(part, filled.shape[1] // WORD, -(-ROWS_PER_THREAD // WORD))
    whole = sum(found[1:], start=found[0])
    return Moments(n, whole.mean[events.same_as], whole.squares[events.same_as])


@no_type_check  # a plain function: its machine code is kept on disk, which a wrapped one prevents
def _loop(
    codes, rows, first_block, last_block, roots, feature, column, rank, tree_start, leaf, leaf_start, part_start,
    condition, most, value, output, base, grid, begins, first_event, word, worth, same_as, target, scale,
    about, total, squares,
):  # fmt: skip
    outputs, all_parts, nodes = len(base), len(begins), 1
    for t in range(len(roots) - 1):
        nodes = max(nodes, roots[t + 1] - roots[t])
    bits, valid = np.empty((nodes, 1), np.uint64), np.empty(1, np.uint64)
    own, before = np.empty(most + 1, np.uint64), np.empty(most + 1, np.uint64)
    words = np.empty(2 * all_parts, np.uint64)
    sums = line_up(np.empty((outputs + 1) * 64))[: outputs * 64]
    height = line_up(np.empty((outputs + 1) * 64))[: outputs * 64]
    inverse = line_up(np.empty(2 * 64, np.float32))[:64]
    for block in range(first_block, last_block):
        first = np.int64(block * 64)
        valid_rows(first, rows, valid)
        everyone = valid[0]
        for k in range(outputs):
            sums[64 * k : 64 * (k + 1)] = base[k]
        for t in range(len(roots) - 1):
            decide(codes, first, feature, column, rank, roots[t], roots[t + 1], bits)
            low, high = (output[t], output[t] + 1) if output[t] >= 0 else (0, outputs)
            for i in range(tree_start[t], tree_start[t + 1]):
                start, parts = leaf_start[i], leaf_start[i + 1] - leaf_start[i]
                reach = everyone
                for a in range(parts):
                    holds = everyone
                    for c in range(part_start[start + a], part_start[start + a + 1]):
                        holds &= bits[condition[c] >> 1, 0] ^ (np.uint64(0) - np.uint64(condition[c] & 1))
                    own[a], before[a] = holds, reach
                    reach &= holds
                held = everyone
                for a in range(parts - 1, -1, -1):
                    deciding = before[a] & held
                    held &= own[a]
                    words[start + a] = deciding
                    words[all_parts + start + a] = deciding ^ reach if begins[start + a] else reach
                for k in range(low, high):
                    add_where(sums, 64 * k, reach, value[leaf[i], k - low])
        for u in range(len(grid) - 1):
            height[:] = sums
            for g in range(grid[u], grid[u + 1] - 1):
                if same_as[g] != g:
                    continue
                for k in range(outputs):
                    e = g * outputs + k
                    add_events(height, 64 * k, words, word, worth, first_event[e], first_event[e + 1])
                inverse[:] = 1.0
                for k in range(outputs):
                    if k != target:
                        add_power(height, 64 * k, 64 * target, scale, inverse)
                if block == first_block:
                    about[g] = np.float32(1.0) / inverse[0]
                add_moments(inverse, everyone, about[g], total, squares, g)


_linked = compiled(_loop)
