"""What each leaf asks, feature by feature: the conditions on its path, joined for each feature that is moved.

A *unit* is what is moved together: a feature with all the columns made from it, or a group of features. The
conditions of one unit on one path are a *part*; a leaf is reached where all its parts hold. So a leaf whose other
parts hold is reached exactly for those values of the unit that satisfy the one part.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import no_type_check

import numpy as np
from jaxtyping import Float, Int

from explainers.trees.compiling import compiled
from explainers.trees.effects.bits import WORD, padded
from explainers.trees.ensemble import TreeEnsemble

#: Bytes of decisions of one tree that are kept at hand for a block of rows.
DECISIONS = 2**19


@dataclasses.dataclass(frozen=True, eq=False)
class Paths:
    """The parts of all leaves, one after the other.

    Attributes:
        tree_start: the first leaf of each tree, ``(t+1,)``.
        leaf: the node of each leaf, ``(l,)``.
        leaf_start: the first part of each leaf, ``(l+1,)``.
        unit: the unit of each part, -1 for columns that are never moved, ``(q,)``.
        part_start: the first condition of each part, ``(q+1,)``.
        condition: twice the node, counted from its tree's root, plus one where the path goes right.
        most: the largest number of parts of a leaf.
    """

    tree_start: Int[np.ndarray, " tree_bounds"]
    leaf: Int[np.ndarray, " l"]
    leaf_start: Int[np.ndarray, " leaf_bounds"]
    unit: Int[np.ndarray, " q"]
    part_start: Int[np.ndarray, " part_bounds"]
    condition: Int[np.ndarray, " c"]
    most: int

    @classmethod
    def of(cls, trees: TreeEnsemble, unit_of: Sequence[int]) -> Paths:
        """The parts where each column belongs to the unit named, -1 for none; kept until asked with other units."""
        key = tuple(int(unit) for unit in unit_of)
        kept = trees.__dict__.get("_paths")
        if kept is None or kept[0] != key:
            kept = trees.__dict__["_paths"] = (key, _made(cls, trees, np.array(key, dtype=np.int64)))
        return kept[1]


def _made(kind: type[Paths], trees: TreeEnsemble, unit_of: np.ndarray) -> Paths:
    leaf = np.flatnonzero(trees.feature < 0)
    asked = np.append(unit_of, -2)[trees.feature]  # the last answers for leaves, which ask nothing
    depth = trees.depth[leaf]
    room = int(depth.sum())
    leaf_start, part_start = np.zeros(len(leaf) + 1, np.int64), np.zeros(room + 1, np.int64)
    unit, condition = np.empty(room, np.int64), np.empty(room, np.int64)
    tree_of = np.searchsorted(trees.roots, leaf, side="right") - 1
    fill(
        leaf, trees.roots[tree_of], trees.parent, trees.left, asked, int(depth.max(initial=0)),
        leaf_start, unit, part_start, condition,
    )  # fmt: skip
    parts = int(leaf_start[-1])
    return kind(
        tree_start=np.searchsorted(leaf, trees.roots).astype(np.int64),
        leaf=leaf,
        leaf_start=leaf_start,
        unit=unit[:parts].copy(),
        part_start=part_start[: parts + 1].copy(),
        condition=condition,
        most=int(np.diff(leaf_start).max(initial=0)),
    )


@no_type_check  # a plain function: its machine code is kept on disk, which a wrapped one prevents
def _fill(leaf, root, parent, left, asked, deepest, leaf_start, unit, part_start, condition):
    path = np.empty(deepest + 1, np.int64)
    part, place = 0, 0
    for i in range(len(leaf)):
        node, length = leaf[i], 0
        while parent[node] >= 0:
            above = parent[node]
            path[length] = 2 * above + (0 if left[above] == node else 1)
            length += 1
            node = above
        for q in range(length - 1, -1, -1):
            if path[q] < 0:
                continue
            here = asked[path[q] >> 1]
            unit[part] = here
            for p in range(q, -1, -1):
                if path[p] >= 0 and asked[path[p] >> 1] == here:
                    condition[place] = path[p] - 2 * root[i]
                    place += 1
                    path[p] = -1
            part += 1
            part_start[part] = place
        leaf_start[i + 1] = part


fill = compiled(_fill)


def words_of(trees: TreeEnsemble, copies: int = 1, most: int = 16) -> int:
    """How many words of rows go through the trees together, so that a tree's decisions stay near."""
    nodes = int(np.diff(trees.roots).max(initial=1))
    return int(np.clip(DECISIONS // (8 * nodes * copies), 1, most))


def blocks(codes: np.ndarray, words: int) -> np.ndarray:
    """The codes filled up to whole blocks."""
    return padded(codes, WORD * words)


def steady(trees: TreeEnsemble) -> tuple[Float[np.ndarray, "n v"], Float[np.ndarray, " k"]]:
    """Values of leaves and base, rounded so that their sums are exact in any order; made once.

    All are multiples of one power of two, the last place of the largest sum there can be. So cases that reach the same
    leaves have equal sums whichever way these were computed, and ties stay ties; the rounding is that of any other sum.
    """
    found = trees.__dict__.get("_steady")
    if found is None:
        most = (
            np.maximum.reduceat(np.abs(trees.value).max(axis=1), trees.roots[:-1]).sum()
            if trees.trees
            else 0.0
        )
        largest = 8.0 * float(most) + float(np.abs(trees.base).max(initial=0.0))
        unit = 2.0 ** (np.ceil(np.log2(largest)) - 53.0) if largest > 0 else 1.0
        found = np.round(trees.value / unit) * unit, np.round(trees.base / unit) * unit
        trees.__dict__["_steady"] = found
    return found
