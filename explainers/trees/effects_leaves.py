"""The same as `effects_moved` for trees of at most 64 leaves: a word for each row and feature instead of one for each node.

Each code of a unit forbids some leaves of a tree; what is left is one word, looked up in a table. The leaf that a row reaches
is the only bit that the words of all units share; with another value of one unit it is the only bit that the others' words share with
that value's word. (Lucchese et al. 2015 predict with such words: QuickScorer.)
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, no_type_check

import numpy as np
from jaxtyping import Float, Int, UInt64

from explainers.trees.compiling import compiled, share
from explainers.trees.effects_bits import lowest
from explainers.trees.effects_paths import steady
from explainers.trees.ensemble import TreeEnsemble

#: Leaves of a tree that fit into a word, and codes of a unit up to which its words are tabulated.
MOST_LEAVES, MOST_CODES = 64, 4096

#: Bytes of all tables together.
MOST_BYTES = 2**27

#: Rows that go through a tree together, and from how many a second thread is worth its start.
BLOCK, ROWS_PER_THREAD = 256, 1024


@dataclasses.dataclass(frozen=True, eq=False)
class Words:
    """For each tree and each unit that it asks, the leaves that each code allows.

    Attributes:
        joint: the codes of the units of the rows, ``(units, n)``: those that are moved, then each column that is not.
        given: the same for the donors, of the units that are moved, ``(r, units, n)``.
        first: the first entry of each tree in `unit` and `start`, ``(t+1,)``.
        unit, start: the unit, and where its words begin in `table`.
        table: words with a bit for each leaf in its order in the tree.
    """

    joint: np.ndarray
    given: np.ndarray
    first: Int[np.ndarray, " tree_bounds"]
    unit: Int[np.ndarray, " entries"]
    start: Int[np.ndarray, " entries"]
    table: UInt64[np.ndarray, " words"]

    @classmethod
    def of(
        cls, trees: TreeEnsemble, unit_of: Sequence[int], units: int, codes: Any, donors: Sequence[Any]
    ) -> Words | None:
        """The words, or ``None`` where trees or units are too large for them."""
        leaf = trees.feature < 0
        before = np.concatenate([[0], np.cumsum(leaf)]).astype(np.int64)
        if np.diff(before[trees.roots]).max(initial=0) > MOST_LEAVES or not trees.trees:
            return None
        made = _joined(trees, unit_of, units, codes, donors)
        if made is None:
            return None
        joint, given, values, unit_of_column = made
        inner = np.flatnonzero(~leaf)
        tree_of = np.searchsorted(trees.roots, inner, side="right") - 1
        unit = unit_of_column[trees.questions.column[inner]]
        pairs, entry = np.unique(tree_of * len(joint) + unit, return_inverse=True)
        of_tree, of_unit = pairs // len(joint), pairs % len(joint)
        sizes = np.array([value.shape[1] for value in values], dtype=np.int64)[of_unit]
        start = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        if 8 * start[-1] > MOST_BYTES:
            return None
        table = np.full(int(start[-1]), ~np.uint64(0))
        width = max((value.shape[1] for value in values), default=1)
        codes_of = np.zeros((len(trees.questions.source) + 1, width), dtype=np.int64)
        for columns, value in zip(_columns_of(unit_of_column, len(joint)), values, strict=True):
            codes_of[columns, : value.shape[1]] = value
        _tabulate(
            inner, trees.roots[tree_of], entry.reshape(-1), start, trees.left, trees.right, before, _ends(trees),
            trees.questions.column, trees.questions.rank.astype(np.int64), codes_of, table,
        )  # fmt: skip
        first = np.searchsorted(of_tree, np.arange(trees.trees + 1)).astype(np.int64)
        return cls(joint, given, first, of_unit.astype(np.int64), start[:-1], table)


def _columns_of(unit_of_column: np.ndarray, units: int) -> list[np.ndarray]:
    return [np.flatnonzero(unit_of_column == unit) for unit in range(units)]


def _joined(
    trees: TreeEnsemble, unit_of: Sequence[int], units: int, codes: Any, donors: Sequence[Any]
) -> tuple[np.ndarray, np.ndarray, list[np.ndarray], np.ndarray] | None:
    """One code for each unit instead of one for each of its pseudo-columns, and which codes each stands for."""
    n = codes.shape[1]
    unit_of_column = np.asarray(unit_of, dtype=np.int64)[trees.questions.source]
    still = np.flatnonzero(unit_of_column < 0)
    unit_of_column[still] = units + np.arange(len(still))
    joint = np.zeros((units + len(still), n), dtype=np.uint16)
    given = np.zeros((len(donors), units, n), dtype=np.uint16)
    values = []
    for unit, columns in enumerate(_columns_of(unit_of_column, len(joint))):
        moving = donors if unit < units else ()
        if len(columns) == 1:
            every = [codes[columns[0]], *(donor[columns[0]] for donor in moving)]
            value = np.arange(max((int(part.max(initial=0)) for part in every), default=0) + 1)[None]
            places = every
        else:
            together = np.concatenate([codes[columns], *(donor[columns] for donor in moving)], axis=1)
            value, place = _distinct(together)
            places = np.split(place, 1 + len(moving))
        if value.shape[1] > MOST_CODES:
            return None
        joint[unit] = places[0]
        for copy, found in enumerate(places[1:]):
            given[copy, unit] = found
        values.append(value)
    return joint, given, values, unit_of_column


def _distinct(codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The distinct columns of ``codes (p, n)``, and which of them each column is."""
    place = np.zeros(codes.shape[1], dtype=np.int64)
    for row in codes:
        place = np.unique(place * (int(row.max(initial=0)) + 1) + row, return_inverse=True)[1].reshape(-1)
    _, one = np.unique(place, return_index=True)
    return codes[:, one].astype(np.int64), place


def _ends(trees: TreeEnsemble) -> Int[np.ndarray, " n"]:
    """One behind the last node below each node, in the order of nodes: all nodes between are below it."""
    found = trees.__dict__.get("_ends")
    if found is None:
        found = np.arange(1, len(trees.feature) + 1)
        for node in np.argsort(-trees.depth, kind="stable"):
            if trees.feature[node] >= 0:
                found[node] = found[trees.right[node]]
        trees.__dict__["_ends"] = found
    return found


@no_type_check  # a plain function: its machine code is kept on disk, which a wrapped one prevents
def _fill(inner, root, entry, start, left, right, before, end, column, rank, codes_of, table):
    """Take from each word the leaves on the side of each node that the code does not go to."""
    one = np.uint64(1)
    for i in range(len(inner)):
        node = inner[i]
        at = before[root[i]]
        words = np.empty(2, np.uint64)
        for side in range(2):
            child = left[node] if side == 0 else right[node]
            low, high = before[child] - at, before[end[child]] - at
            count = np.uint64(high - low)
            bits = ~np.uint64(0) if high - low == 64 else (one << count) - one
            words[side] = ~(bits << np.uint64(low))
        for place in range(start[entry[i]], start[entry[i] + 1]):
            goes_left = codes_of[column[node], place - start[entry[i]]] <= rank[node]
            table[place] &= words[1] if goes_left else words[0]


_tabulate = compiled(_fill)


def moved_by_words(
    trees: TreeEnsemble, words: Words, change: Float[np.ndarray, "u r k n"]
) -> Float[np.ndarray, "k n"]:
    """The sums of each row without the base; what moving changes in them goes into `change`."""
    n = words.joint.shape[1]
    value, _ = steady(trees)
    leaf = trees.feature < 0
    leaf_first = np.concatenate([[0], np.cumsum(leaf)]).astype(np.int64)[trees.roots]
    most = int(np.diff(words.first).max(initial=0))
    total = np.empty((trees.outputs, n))

    def part(start: int, stop: int) -> None:
        _moved(
            words.joint, words.given, start, stop, words.first, words.unit, words.start, words.table, most, leaf_first,
            np.ascontiguousarray(value[leaf]), trees.output, total, change,
        )  # fmt: skip

    share(part, n, ROWS_PER_THREAD)
    return total


@no_type_check  # a plain function too
def _loop(
    joint,
    given,
    first_row,
    last_row,
    first,
    unit,
    start,
    table,
    most,
    leaf_first,
    value,
    output,
    total,
    change,
):
    units, copies, outputs, _ = change.shape
    # longer than needed: two threads must not write into one line of the cache
    own, rest = np.empty(most + 64, np.uint64), np.empty(most + 64, np.uint64)
    free = np.empty(most + 64, np.int64)
    codes = np.empty((BLOCK, len(joint)), np.uint16)
    theirs = np.empty(BLOCK * units * copies, np.uint16)
    sums, moves = np.empty((BLOCK, outputs)), np.empty(BLOCK * units * outputs * copies)
    width, leaves = value.shape[1], value.ravel()
    every, one = ~np.uint64(0), np.uint64(1)
    for at in range(first_row, last_row, BLOCK):
        rows = min(BLOCK, last_row - at)
        sums[:] = 0.0
        moves[:] = 0.0
        for u in range(len(joint)):
            for r in range(rows):
                codes[r, u] = joint[u, at + r]
        for u in range(units):
            for c in range(copies):
                for r in range(rows):
                    theirs[(r * units + u) * copies + c] = given[c, u, at + r]
        for t in range(len(first) - 1):
            entry, parts = first[t], first[t + 1] - first[t]
            low, high = (output[t], output[t] + 1) if output[t] >= 0 else (0, outputs)
            for r in range(rows):
                shared = every
                for a in range(parts):
                    word = table[np.uint64(start[entry + a]) + np.uint64(codes[r, unit[entry + a]])]
                    own[a] = word
                    rest[a] = shared
                    shared &= word
                mine = (leaf_first[t] + np.int64(lowest(shared))) * width
                for k in range(low, high):
                    sums[r, k] += leaves[mine + k - low]
                shared, count = every, 0
                for a in range(parts - 1, -1, -1):
                    word = rest[a] & shared
                    rest[a] = word
                    shared &= own[a]
                    free[count] = a
                    count += 1 if (word & (word - one)) != np.uint64(0) and unit[entry + a] < units else 0
                for f in range(count):
                    a = free[f]
                    u, begin, word = unit[entry + a], np.uint64(start[entry + a]), rest[a]
                    read = np.uint64((r * units + u) * copies)
                    for k in range(
                        low, high
                    ):  # unsigned places: a signed one is asked each time whether it is negative
                        here, at_leaf = leaves[mine + k - low], np.uint64(leaf_first[t] * width + k - low)
                        spot = np.uint64(((r * units + u) * outputs + k) * copies)
                        for c in range(copies):
                            other = np.uint64(c)
                            then = lowest(word & table[begin + np.uint64(theirs[read + other])])
                            moves[spot + other] += leaves[at_leaf + then * np.uint64(width)] - here
        for k in range(outputs):
            for r in range(rows):
                total[k, at + r] = sums[r, k]
        for u in range(units):
            for c in range(copies):
                for k in range(outputs):
                    for r in range(rows):
                        change[u, c, k, at + r] = moves[((r * units + u) * outputs + k) * copies + c]


_moved = compiled(_loop)
