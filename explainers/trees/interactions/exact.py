"""Exact interaction values of an ensemble's sum: which kernel fits the work, and the work in portions.

Three kernels give the same numbers. *Tables* (`tables`): what small groups of leaves add, for each pattern
of bits: many rows. *Walk* (`walk`): every node for each row, path-dependent: few rows, deep trees. *Pairs*
(`pairs`): each row against each reference case: few pairs, deep trees.

The interaction index of two players (Grabisch and Roubens 1999; Lundberg et al. 2018 for trees) is what the one
changes in the effect of the other, averaged over coalitions as in the Shapley value.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from explainers.device import CPU_CHUNK_BYTES, over_chunks, pick
from explainers.progress import Progress, silent
from explainers.trees.ensemble import TreeEnsemble
from explainers.trees.shapley.exact import TABLE_BYTES, Kernel, expected_value

#: Rows that a table is filled for at most: enough to make filling cheap, and reports of progress come often; and how many
#: bytes the sums of all pairs may take meanwhile.
PORTION, PORTION_BYTES = 8192, 256 * 2**20

#: Seconds, roughly, as measured on one core of 2.5 GHz: for a pattern and pair of a leaf's table; to look a pair up for a
#: row; for a node, an edge above it and a quadrature node of the walk; for a tree of a row and a reference case. They only
#: choose between kernels that give the same numbers.
FILL, LOOKUP, STEP, PAIR = 3.3e-9, 9e-10, 2.2e-9, 3.2e-7


@dataclasses.dataclass(frozen=True, eq=False)
class PairValues:
    """Interaction values ``(m, d, d, k)``, the expected sum ``(k,)``, and the kernel that ran.

    A pair's value is split equally between ``[i, j]`` and ``[j, i]``; the diagonal is what remains of the Shapley
    value, so that row `i` sums to it.
    """

    values: Float[np.ndarray, "m d d k"]
    expected: Float[np.ndarray, " k"]
    kernel: Kernel


def path_dependent_pairs(
    trees: TreeEnsemble,
    player: Int[np.ndarray, " c"],
    players: int,
    X: Float[np.ndarray, "m c"],
    *,
    kind: Any = np.float32,
    kernel: Kernel | None = None,
    progress: Progress = silent,
) -> PairValues:
    """Values with the trees' own training weights as reference; ``player[c]`` is the feature of column `c`."""
    from explainers.trees.interactions.walk import walk_pairs
    from explainers.trees.shapley.walk import most_players

    player = np.asarray(player, dtype=np.int64)
    tables = _tables(trees, player, players, kind)
    if kernel is None:
        steps = 4 + (most_players(trees, player) + 1) // 2
        walked = len(X) * float(trees.depth.sum()) * steps * STEP
        kernel = "walk" if tables is None or walked < _seconds(tables, len(X)) else "tables"
    values = np.zeros((len(X), players, players, trees.outputs))
    if kernel == "walk":

        def part(rows: slice) -> None:
            walk_pairs(trees, player, trees.questions.codes(X[rows]), values[rows])

        _in_portions(part, X, values, 0.3, 0, progress)
    else:
        _look_up(trees, tables, None, X, values, kind, progress)
    return PairValues(values, trees.kept("expected", lambda: expected_value(trees)), kernel)


def pairs_against_background(
    trees: TreeEnsemble,
    player: Int[np.ndarray, " c"],
    players: int,
    X: Float[np.ndarray, "m c"],
    background: Float[np.ndarray, "b c"],
    *,
    kind: Any = np.float32,
    kernel: Kernel | None = None,
    progress: Progress = silent,
) -> PairValues:
    """Values against the mean over reference cases."""
    from explainers.trees.interactions.pairs import pairs_against_each

    player = np.asarray(player, dtype=np.int64)
    tables = _tables(trees, player, players, kind)
    if kernel is None:
        paired = len(X) * len(background) * trees.trees * PAIR
        kernel = "pairs" if tables is None or paired < _seconds(tables, len(X)) else "tables"
    values = np.zeros((len(X), players, players, trees.outputs))
    reference = trees.questions.codes(background)
    if kernel == "pairs":

        def part(rows: slice) -> None:
            pairs_against_each(trees, player, trees.questions.codes(X[rows]), reference, values[rows])

        _in_portions(part, X, values, 0.3, 0, progress)
    else:
        _look_up(trees, tables, reference, X, values, kind, progress)
    return PairValues(values, trees.raw(background).mean(axis=0), kernel)


def _tables(trees: TreeEnsemble, player: np.ndarray, players: int, kind: Any) -> Any:
    """The groups and their pairs; ``None`` where the table of one group would be too large."""
    from explainers.trees.interactions.tables import PairTables
    from explainers.trees.shapley.patterns import MOST_BITS, groups_of

    def made() -> Any:
        if trees.leaves > TABLE_BYTES // 64:
            return None
        groups = groups_of(trees, player)
        if groups.bits.max(initial=0) > MOST_BITS:
            return None
        tables = PairTables(trees, groups, players)
        largest = int(((np.int64(1) << groups.bits) * tables.lanes).max(initial=0)) * np.dtype(kind).itemsize
        return tables if largest <= TABLE_BYTES else None

    return trees.kept(("pairs", player.tobytes(), players, np.dtype(kind)), made)


def _seconds(tables: Any, rows: int) -> float:
    """About how long filling and looking up takes."""
    groups = tables.groups
    patterns = (np.int64(1) << groups.bits) * tables.lanes * np.diff(groups.leaf)
    return float(patterns.sum()) * FILL + rows * float(tables.lanes.sum()) * LOOKUP


def _look_up(
    trees: TreeEnsemble, tables: Any, reference: Any, X: np.ndarray, values: np.ndarray, kind: Any, progress: Progress,
) -> None:  # fmt: skip
    def part(rows: slice) -> None:
        codes = trees.questions.codes(X[rows])
        for output in range(trees.outputs):
            found = tables.add(output, codes, reference, kind)
            put_in_place(found, tables.first, tables.second, values[rows], output)

    from explainers.trees.compiling import threads
    from explainers.trees.interactions.matrices import put_in_place

    sums = (8 + np.dtype(kind).itemsize) * threads() * max(len(tables.first), 1)
    portion = min(PORTION, PORTION_BYTES // sums + 1)
    _in_portions(part, X, values, None, CPU_CHUNK_BYTES // portion, progress)


def _in_portions(
    part: Any, X: np.ndarray, values: np.ndarray, seconds: float | None, row_bytes: int, progress: Progress
) -> None:
    from explainers.trees.interactions.matrices import split

    def whole(rows: slice) -> None:
        values[rows] = 0.0  # a portion that did not fit into memory comes again
        part(rows)
        split(values[rows])

    over_chunks(whole, len(X), row_bytes + 16 * X.shape[1] + 64, pick("cpu"), progress, seconds)
