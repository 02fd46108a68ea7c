"""Permutations that keep what belongs together: rows exchange a feature only with rows that could have had it too.

A plain permutation tears correlated features apart. Here a regression tree predicts the moved columns from all others, and rows
change places within its leaves: among rows whose other features tell the same about the moved ones. What is left of the
dependence within a leaf is lost; leaves are as small as splits that mean something make them, so that a feature
independent of the others has one leaf, and the plain permutation.

A split counts where the squares it explains exceed ``2 log(rows · columns)`` times the mean square in its node (of all the
splits that could be tried at random hardly one does), or where one below it counts. Numbers enter as ranks, categories as one column for each of the commonest
values; missing values are values of their own. Papers: Strobl et al. 2008, Conditional variable importance for random forests;
Molnar, König, Bischl and Casalicchio 2023, a conditional subgroup approach, whose leaves of one tree for each feature are used here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from explainers.lazily import lazily
from explainers.progress import Progress, silent
from explainers.schema import Schema

tree = lazily("sklearn.tree")

#: Rows that a leaf holds at least: among fewer, many rows would keep their own value.
LEAST = 10

#: Rows that a tree is grown from, and numbers in them, but not fewer rows than these; more rows are sorted into its leaves.
MOST_ROWS, MOST_CELLS, FEWEST_ROWS = 10_000, 50_000, 2_000

#: Values of a category that have their own column; the others share none.
MOST_VALUES = 20


def conditional_permutations(
    matrix: Float[np.ndarray, "n d"],
    schema: Schema,
    units: Sequence[Sequence[int]],
    repeats: int,
    seed: int = 0,
) -> Int[np.ndarray, "u r n"]:
    """For each unit and repeat, which row each row's value is taken from.

    Args:
        matrix: codes of the rows.
        units: for each unit the columns that move together.

    The same random order serves all units of a repeat, so units without dependence share one permutation.
    """
    strata = list(strata_of_units(matrix, schema, units, seed))
    return permutations_within(strata, repeats, seed)


def permutations_within(
    strata: Sequence[Int[np.ndarray, " n"]], repeats: int, seed: int = 0, progress: Progress = silent
) -> Int[np.ndarray, "u r n"]:
    """Uniformly drawn permutations that leave every row in its stratum, for each unit (at least one) and repeat."""
    n = len(strata[0])
    random = np.random.default_rng(seed)
    found = np.empty((len(strata), repeats, n), dtype=np.int64)
    compact = [_compact(labels) for labels in strata]
    homes = [np.argsort(labels, kind="stable") for labels in compact]
    for repeat in range(repeats):
        order = np.argsort(random.random(n), kind="stable")
        for u, (labels, home) in enumerate(zip(compact, homes, strict=True)):
            found[u, repeat, home] = order[np.argsort(labels[order], kind="stable")]
        progress(0, 1)
    return found


def _compact(labels: Int[np.ndarray, " n"]) -> Any:
    """The labels from 0 on, in the smallest type that holds them: up to 16 bits they sort in one pass."""
    values, compact = np.unique(labels, return_inverse=True)
    return compact.reshape(-1).astype(np.min_scalar_type(len(values)))


def strata_of(
    matrix: Float[np.ndarray, "n d"], schema: Schema, unit: Sequence[int], seed: int = 0
) -> Int[np.ndarray, " n"]:
    """The stratum of each row, within which the columns of `unit` hardly depend on the others."""
    return next(strata_of_units(matrix, schema, [unit], seed))


def strata_of_units(
    matrix: Float[np.ndarray, "n d"], schema: Schema, units: Sequence[Sequence[int]], seed: int = 0
) -> Iterator[Int[np.ndarray, " n"]]:
    """The strata for one unit after the other: each takes a tree, a fifth of a second at most."""
    blocks = [_columns_of(matrix[:, j], feature.categorical) for j, feature in enumerate(schema.features)]
    for unit in units:
        moved = [_of_length_one(blocks[j]) for j in unit]
        others = [block for j, block in enumerate(blocks) if j not in set(unit)]
        yield _strata(np.hstack(moved), others, seed)


def _strata(
    wanted: Float[np.ndarray, "n w"], others: list[Float[np.ndarray, "n _"]], seed: int
) -> Int[np.ndarray, " n"]:
    n = len(wanted)
    if not others or not wanted.any() or n < 2 * LEAST:
        return np.zeros(n, dtype=np.int64)
    known = np.hstack(others)
    most = min(MOST_ROWS, max(FEWEST_ROWS, MOST_CELLS // known.shape[1]))
    rows = np.random.default_rng(seed).choice(n, size=most, replace=False) if n > most else np.arange(n)
    grown = tree.DecisionTreeRegressor(min_samples_leaf=LEAST, random_state=seed)
    grown.fit(known[rows], wanted[rows])
    return np.asarray(_pruned(grown.tree_, known.shape[1])[grown.apply(known)])


def _columns_of(column: Float[np.ndarray, " n"], categorical: bool) -> Float[np.ndarray, "n c"]:
    """A feature as columns of numbers: ranks (and whether missing), or one column for each common category."""
    absent = np.isnan(column)
    if categorical:
        values, counts = np.unique(column, return_counts=True)
        common = values[np.argsort(-counts, kind="stable")[:MOST_VALUES]]
        return np.stack([absent if np.isnan(value) else column == value for value in common], axis=1).astype(
            np.float64
        )
    rank = pd.Series(column).rank().to_numpy(dtype=np.float64)
    middle = (len(column) - absent.sum() + 1) / 2
    rank = np.where(absent, middle, rank)
    return np.column_stack([rank, absent]) if absent.any() else rank[:, None]


def _of_length_one(block: Float[np.ndarray, "n c"]) -> Float[np.ndarray, "n c"]:
    """Each feature counts alike, whatever its scale and its number of columns; 0 where it never varies."""
    spread = block.std(axis=0)
    centred = (block - block.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    return np.asarray(centred / np.sqrt(max(1, int((spread > 0).sum()))))


def _pruned(grown: Any, columns: int) -> Int[np.ndarray, " nodes"]:
    """For each node of a tree the node it is merged into: the first one below which no split means anything."""
    left, right = grown.children_left, grown.children_right
    count, impurity = grown.n_node_samples, grown.impurity
    inner = np.flatnonzero(left >= 0)
    below = count[left[inner]] * impurity[left[inner]] + count[right[inner]] * impurity[right[inner]]
    explained = count[inner] * impurity[inner] - below
    means = np.zeros(len(left), dtype=bool)
    means[inner] = explained > 2 * np.log(count[0] * columns) * impurity[inner]
    for node in inner[::-1]:  # a child comes after its parent
        means[node] |= means[left[node]] | means[right[node]]
    home = np.arange(len(left))
    for node in inner:
        if home[node] != node or not means[node]:
            home[left[node]] = home[right[node]] = home[node]
    return home
