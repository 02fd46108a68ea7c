"""The sums of the trees after one unit of a row takes other values, for every unit and several donors in one pass.

Only leaves all of whose other parts hold can be reached by moving one unit, so nothing else is looked at; a tree whose
path to the row's own leaf does not ask the unit adds the same as before, and costs nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, no_type_check

import numpy as np
from jaxtyping import Float

from explainers.trees.compiling import compiled, share
from explainers.trees.effects.bits import WORD, decide, lowest, sets, valid_rows
from explainers.trees.effects.paths import Paths, blocks, steady, words_of
from explainers.trees.effects.planes import Plan, moved_by_planes
from explainers.trees.ensemble import TreeEnsemble

#: Rows from which a second thread is worth its start.
ROWS_PER_THREAD = 1024


def moved(
    trees: TreeEnsemble,
    unit_of: Sequence[int],
    units: int,
    codes: Any,
    donors: Sequence[Any] | np.ndarray,
    into: tuple[Float[np.ndarray, "k m"], Float[np.ndarray, "u r k m"]] | None = None,
    at: int = 0,
) -> tuple[Float[np.ndarray, "k m"], Float[np.ndarray, "u r k m"]]:
    """The sums of each row, and what each unit's values from each donor change in them.

    Args:
        trees: the ensemble.
        unit_of: the unit of each column, -1 where it is never moved.
        units: how many units there are; the trees may lack some.
        codes: of the rows, ``(p, n)``.
        donors: codes ``(p, n)`` whose column `i` has the other values of row `i`.
        into: where both answers go, for more rows than these; made where it is not given.
        at: the place of the first row there.
    """
    n, copies = codes.shape[1], len(donors)
    if into is None:
        into = np.empty((trees.outputs, n)), np.empty((units, copies, trees.outputs, n))
    total, change = into
    value, base = steady(trees)
    plan = Plan.of(trees, unit_of, units)
    if plan is not None:
        moved_by_planes(trees, plan, codes, donors, into, at)
        total[:, at : at + n] += base[:, None]
        return into
    paths = Paths.of(trees, unit_of)
    words = words_of(trees, copies + 1, 8)
    own = blocks(codes, words)
    others = np.empty((copies, *own.shape), dtype=own.dtype)
    for copy, donor in enumerate(donors):
        others[copy] = blocks(donor, words)
    questions = trees.questions

    def part(start: int, stop: int) -> None:
        _moved(
            own, others, n, start, stop, words, trees.roots, trees.feature, questions.column, questions.rank,
            paths.tree_start, paths.leaf, paths.leaf_start, paths.unit, paths.part_start, paths.condition, paths.most,
            value, trees.output, total, change, at,
        )  # fmt: skip

    share(part, own.shape[1] // (WORD * words), -(-ROWS_PER_THREAD // (WORD * words)))
    total[:, at : at + n] += base[:, None]
    return into


@no_type_check  # a plain function: its machine code is kept on disk, which a wrapped one prevents
def _loop(
    codes, donors, rows, first_block, last_block, words, roots, feature, column, rank, tree_start, leaf, leaf_start,
    unit, part_start, condition, most, value, output, total, change, at,
):  # fmt: skip
    copies, outputs, span = len(donors), len(total), 64 * words
    nodes = 1
    for t in range(len(roots) - 1):
        nodes = max(nodes, roots[t + 1] - roots[t])
    bits = np.empty((nodes, words), np.uint64)
    given = np.empty((copies, nodes, words), np.uint64)
    own, others = np.empty((most + 1, words), np.uint64), np.empty((most + 1, words), np.uint64)
    valid = np.empty(words, np.uint64)
    sums = np.empty((outputs, span))
    moves = np.empty((change.shape[0], copies, outputs, span))
    none, one = np.uint64(0), np.uint64(1)
    for block in range(first_block, last_block):
        first = np.int64(block * span)
        valid_rows(first, rows, valid)
        sums[:] = 0.0
        moves[:] = 0.0
        for t in range(len(roots) - 1):
            decide(codes, first, feature, column, rank, roots[t], roots[t + 1], bits)
            for c in range(copies):
                decide(donors[c], first, feature, column, rank, roots[t], roots[t + 1], given[c])
            low, high = (output[t], output[t] + 1) if output[t] >= 0 else (0, outputs)
            for i in range(tree_start[t], tree_start[t + 1]):
                start, stop = leaf_start[i], leaf_start[i + 1]
                sets(bits, condition, part_start, start, stop, valid, own, others)
                parts = stop - start
                for w in range(words):
                    there = others[parts, w]
                    while there != none:
                        row = 64 * w + np.int64(lowest(there))
                        there &= there - one
                        for k in range(low, high):
                            sums[k, row] += value[leaf[i], k - low]
                for a in range(parts):
                    u = unit[start + a]
                    if u < 0:
                        continue
                    for w in range(words):
                        could = others[a, w]
                        if could == none:
                            continue
                        was = could & own[a, w]
                        for c in range(copies):
                            then = could
                            for q in range(part_start[start + a], part_start[start + a + 1]):
                                turned = none - np.uint64(condition[q] & 1)
                                then &= given[c, condition[q] >> 1, w] ^ turned
                            turn = then ^ was
                            while turn != none:
                                bit = lowest(turn)
                                turn &= turn - one
                                sign = 1.0 if (then >> bit) & one else -1.0
                                row = 64 * w + np.int64(bit)
                                for k in range(low, high):
                                    moves[u, c, k, row] += sign * value[leaf[i], k - low]
        count = min(span, rows - first)
        for k in range(outputs):
            total[k, at + first : at + first + count] = sums[k, :count]
        for u in range(change.shape[0]):
            for c in range(copies):
                for k in range(outputs):
                    change[u, c, k, at + first : at + first + count] = moves[u, c, k, :count]


_moved = compiled(_loop)
