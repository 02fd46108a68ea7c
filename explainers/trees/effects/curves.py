"""How the sums of the trees run over a grid of values of one feature: for single rows, and on average over all.

For each part of a leaf's conditions the grid points that satisfy it form a few *runs* of neighbours (one for a
number; a set of categories may need more). A row whose other parts hold has the leaf's value on these runs. On average
over rows only their number counts, so one pass over the rows gives the mean curve of every feature at every value.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, no_type_check

import numpy as np
from jaxtyping import Float, Int

from explainers.trees.compiling import compiled, share
from explainers.trees.effects.bits import WORD, decide, lowest, ones, sets, valid_rows
from explainers.trees.effects.paths import Paths, blocks, steady, words_of
from explainers.trees.ensemble import TreeEnsemble

#: Rows from which a second thread is worth its start.
ROWS_PER_THREAD = 1024


@dataclasses.dataclass(frozen=True, eq=False)
class Runs:
    """The grid points at which each part of the leaves holds, as intervals of places among all grids.

    The grid of unit `u` has the places ``start[u] .. start[u+1] - 2``; the last place of each is behind its grid.
    """

    start: Int[np.ndarray, " grid_bounds"]
    first: Int[np.ndarray, " part_bounds"]
    low: Int[np.ndarray, " r"]
    high: Int[np.ndarray, " r"]

    @classmethod
    def of(cls, trees: TreeEnsemble, paths: Paths, grids: Sequence[Any]) -> Runs:
        """From the codes of each unit's grid points, ``(p, g)``; only the columns of the unit are looked at."""
        questions = trees.questions
        start = np.concatenate([[0], np.cumsum([grid.shape[1] + 1 for grid in grids])]).astype(np.int64)
        codes = np.zeros((len(questions.source) + 1, int(start[-1])), dtype=questions.dtype)
        for place, grid in zip(start[:-1], grids, strict=True):
            codes[: len(grid), place : place + grid.shape[1]] = grid
        tree_of = np.repeat(np.arange(trees.trees), np.diff(paths.tree_start))
        of_part = np.repeat(trees.roots[tree_of], np.diff(paths.leaf_start)).astype(np.int64)
        rest = (
            paths.unit,
            of_part,
            paths.part_start,
            paths.condition,
            questions.column,
            questions.rank,
            codes,
            start,
        )
        first = np.zeros(len(paths.unit) + 1, np.int64)
        nothing = np.empty(0, np.int64)
        _runs(*rest, first, nothing, nothing)
        first = np.cumsum(first)
        low, high = np.empty(int(first[-1]), np.int64), np.empty(int(first[-1]), np.int64)
        _runs(*rest, first, low, high)
        return cls(start, first, low, high)


@no_type_check  # a plain function: its machine code is kept on disk, which a wrapped one prevents
def _find(unit, root, part_start, condition, column, rank, codes, start, first, low, high):
    """Without room for runs, how many each part has (at ``first[part + 1]``); with room, the runs themselves."""
    for part in range(len(unit)):
        u = unit[part]
        if u < 0:
            continue
        before, found = False, 0
        for g in range(start[u], start[u + 1]):
            holds = g < start[u + 1] - 1
            q = part_start[part]
            while holds and q < part_start[part + 1]:
                node = root[part] + (condition[q] >> 1)
                holds = (codes[column[node], g] <= rank[node]) != (condition[q] & 1 == 1)
                q += 1
            if holds != before:
                if len(low) and holds:
                    low[first[part] + found] = g
                if len(low) and not holds:
                    high[first[part] + found] = g
                found += 0 if holds else 1
            before = holds
        if not len(low):
            first[part + 1] = found


_runs = compiled(_find)


def curves(trees: TreeEnsemble, paths: Paths, runs: Runs, codes: Any) -> Float[np.ndarray, "g k n"]:
    """The sums of each row at each place of the grids; rows with ``codes (p, n)``."""
    n, places = codes.shape[1], int(runs.start[-1])
    words = words_of(trees, 1, int(np.clip(2**19 // (8 * WORD * max(1, places * trees.outputs)), 1, 16)))
    filled = blocks(codes, words)
    out = np.empty((places, trees.outputs, n))
    value, base = steady(trees)
    questions = trees.questions

    def part(start: int, stop: int) -> None:
        _curves(
            filled, n, start, stop, words, trees.roots, trees.feature, questions.column, questions.rank,
            paths.tree_start, paths.leaf, paths.leaf_start, paths.unit, paths.part_start, paths.condition, paths.most,
            value, trees.output, base, runs.start, runs.first, runs.low, runs.high, out,
        )  # fmt: skip

    share(part, filled.shape[1] // (WORD * words), -(-ROWS_PER_THREAD // (WORD * words)))
    return out


@no_type_check  # a plain function: its machine code is kept on disk, which a wrapped one prevents
def _curve_loop(
    codes, rows, first_block, last_block, words, roots, feature, column, rank, tree_start, leaf, leaf_start,
    unit, part_start, condition, most, value, output, base, grid, run_first, run_low, run_high, out,
):  # fmt: skip
    outputs, span = len(base), 64 * words
    nodes = 1
    for t in range(len(roots) - 1):
        nodes = max(nodes, roots[t + 1] - roots[t])
    bits = np.empty((nodes, words), np.uint64)
    own, others = np.empty((most + 1, words), np.uint64), np.empty((most + 1, words), np.uint64)
    valid = np.empty(words, np.uint64)
    sums = np.empty((outputs, span))
    steps = np.empty((len(out), outputs, span))
    none, one = np.uint64(0), np.uint64(1)
    for block in range(first_block, last_block):
        first = np.int64(block * span)
        valid_rows(first, rows, valid)
        for k in range(outputs):
            sums[k] = base[k]
        steps[:] = 0.0
        for t in range(len(roots) - 1):
            decide(codes, first, feature, column, rank, roots[t], roots[t + 1], bits)
            low, high = (output[t], output[t] + 1) if output[t] >= 0 else (0, outputs)
            for i in range(tree_start[t], tree_start[t + 1]):
                start, stop = leaf_start[i], leaf_start[i + 1]
                sets(bits, condition, part_start, start, stop, valid, own, others)
                parts = stop - start
                for k in range(low, high):
                    worth = value[leaf[i], k - low]
                    for w in range(words):
                        there = others[parts, w]
                        while there != none:
                            row = 64 * w + np.int64(lowest(there))
                            there &= there - one
                            sums[k, row] += worth
                            for a in range(parts):
                                if unit[start + a] >= 0:
                                    steps[grid[unit[start + a]], k, row] -= worth
                    for a in range(parts):
                        if unit[start + a] < 0:
                            continue
                        for run in range(run_first[start + a], run_first[start + a + 1]):
                            rise, fall = steps[run_low[run], k], steps[run_high[run], k]
                            for w in range(words):
                                there = others[a, w]
                                while there != none:
                                    row = 64 * w + np.int64(lowest(there))
                                    there &= there - one
                                    rise[row] += worth
                                    fall[row] -= worth
        count = min(span, rows - first)
        for u in range(len(grid) - 1):
            for k in range(outputs):
                height = sums[k].copy()
                for g in range(grid[u], grid[u + 1]):
                    for r in range(count):
                        height[r] += steps[g, k, r]
                        out[g, k, first + r] = height[r]


_curves = compiled(_curve_loop)


def reached(trees: TreeEnsemble, paths: Paths, codes: Any) -> tuple[np.ndarray, np.ndarray]:
    """How many rows satisfy all other parts of the leaf, for each part, and how many reach each leaf."""
    n = codes.shape[1]
    words = words_of(trees)
    filled = blocks(codes, words)
    found: list[tuple[np.ndarray, np.ndarray]] = []
    questions = trees.questions

    def part(start: int, stop: int) -> None:
        counts = np.zeros(len(paths.unit), np.int64), np.zeros(len(paths.leaf), np.int64)
        _reached(
            filled, n, start, stop, words, trees.roots, trees.feature, questions.column, questions.rank,
            paths.tree_start, paths.leaf_start, paths.part_start, paths.condition, paths.most, *counts,
        )  # fmt: skip
        found.append(counts)

    share(part, filled.shape[1] // (WORD * words), -(-ROWS_PER_THREAD // (WORD * words)))
    by_part, by_leaf = np.zeros(len(paths.unit), np.int64), np.zeros(len(paths.leaf), np.int64)
    for parts, leaves in found:
        by_part += parts
        by_leaf += leaves
    return by_part, by_leaf


@no_type_check  # a plain function: its machine code is kept on disk, which a wrapped one prevents
def _count_loop(
    codes, rows, first_block, last_block, words, roots, feature, column, rank, tree_start, leaf_start,
    part_start, condition, most, by_part, by_leaf,
):  # fmt: skip
    span, nodes = 64 * words, 1
    for t in range(len(roots) - 1):
        nodes = max(nodes, roots[t + 1] - roots[t])
    bits = np.empty((nodes, words), np.uint64)
    own, others = np.empty((most + 1, words), np.uint64), np.empty((most + 1, words), np.uint64)
    valid = np.empty(words, np.uint64)
    for block in range(first_block, last_block):
        first = np.int64(block * span)
        valid_rows(first, rows, valid)
        for t in range(len(roots) - 1):
            decide(codes, first, feature, column, rank, roots[t], roots[t + 1], bits)
            for i in range(tree_start[t], tree_start[t + 1]):
                start, stop = leaf_start[i], leaf_start[i + 1]
                sets(bits, condition, part_start, start, stop, valid, own, others)
                for a in range(stop - start + 1):
                    count = np.uint64(0)
                    for w in range(words):
                        count += ones(others[a, w])
                    if a == stop - start:
                        by_leaf[i] += np.int64(count)
                    else:
                        by_part[start + a] += np.int64(count)


_reached = compiled(_count_loop)


def mean_curves(
    trees: TreeEnsemble, paths: Paths, runs: Runs, counts: tuple[np.ndarray, np.ndarray], rows: int
) -> Float[np.ndarray, "g k"]:
    """The mean sums over `rows` rows at each place of the grids, from the counts of `reached`."""
    by_part, by_leaf = counts
    worth = np.zeros((len(paths.leaf), trees.outputs))
    tree_of = np.repeat(np.arange(trees.trees), np.diff(paths.tree_start))
    single = trees.output[tree_of] >= 0
    values = trees.value[paths.leaf]
    worth[single, trees.output[tree_of][single]] = values[single, 0]
    worth[~single] = values[~single]
    steps = np.zeros((int(runs.start[-1]), trees.outputs))
    leaf_of = np.repeat(np.arange(len(paths.leaf)), np.diff(paths.leaf_start))
    moving = paths.unit >= 0
    lost = worth[leaf_of] * (by_leaf[leaf_of] / rows)[:, None]
    np.subtract.at(steps, runs.start[paths.unit[moving]], lost[moving])
    gained = np.repeat(worth[leaf_of] * (by_part / rows)[:, None], np.diff(runs.first), axis=0)
    np.add.at(steps, runs.low, gained)
    np.subtract.at(steps, runs.high, gained)
    whole = trees.base + (worth * (by_leaf / rows)[:, None]).sum(axis=0)
    for start, stop in zip(runs.start[:-1], runs.start[1:], strict=True):
        steps[start:stop] = whole + np.cumsum(steps[start:stop], axis=0)
    return steps
