"""The tables of one output of an ensemble, and many rows looked up in them."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float

from explainers.trees.compiling import share
from explainers.trees.ensemble import TreeEnsemble
from explainers.trees.shapley.lookup import (
    FEW,
    ROWS,
    add_lines,
    add_lines_of_few,
    add_packed_lines,
    count_patterns,
    width_for,
)
from explainers.trees.shapley.patterns import Groups
from explainers.trees.shapley.tables import fill_tables


class Bank:
    """Tables for the trees of one output, in `kind` (float32 or float64); `players` are numbered 0..players-1.

    Lines have a place for every player, or where there are more than 64, only for the players of their group.
    """

    def __init__(self, trees: TreeEnsemble, groups: Groups, output: int, players: int, kind: Any) -> None:
        self.trees, self.groups, self.players = trees, groups, players
        self.kind = np.dtype(kind)
        mine = (trees.output == output) | (trees.output < 0)
        tree_of = np.repeat(np.arange(trees.trees), np.diff(groups.first))
        self.chosen = np.flatnonzero(mine[tree_of]).astype(np.int64)
        self.value = np.ascontiguousarray(trees.value[:, output if trees.value.shape[1] > 1 else 0])
        self.width = width_for(players)
        sizes = np.int64(1) << groups.bits[self.chosen]
        self.line = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        questions = trees.questions
        self._ask = (
            groups.bit, groups.condition, questions.column[groups.node].astype(np.int64),
            questions.rank[groups.node], groups.right,
        )  # fmt: skip

    @property
    def lanes(self) -> int:
        """How many numbers a line has."""
        return self.width or int(np.diff(self._own[1]).max(initial=1))

    @property
    def bytes(self) -> int:
        """How much memory the tables take."""
        return int(self.line[-1] + 1) * self.lanes * int(self.kind.itemsize)

    @cached_property
    def _own(self) -> tuple[Any, Any, Any]:
        """For packed lines: each part's place in its group's line, each group's first player, and the players."""
        groups = self.groups
        group = np.repeat(np.arange(len(groups.bits)), np.diff(groups.part[groups.leaf]))
        key, place = np.unique(group * self.players + groups.player, return_inverse=True)
        first = np.searchsorted(key, np.arange(len(groups.bits) + 1) * self.players)
        return place.reshape(-1) - first[group], first.astype(np.int64), (key % self.players).astype(np.int64)

    def shares(self, codes: Any, weight: Float[np.ndarray, " b"]) -> Float[np.ndarray, " lines"]:
        """The weight of these reference cases by pattern, for `build`."""
        found = np.zeros(int(self.line[-1]))
        count_patterns(codes, 0, codes.shape[1], weight, self.chosen, *self._ask, self.line, found)
        return found

    def build(self, shares: Float[np.ndarray, " lines"] | None) -> Any:
        """The tables against reference cases, or path-dependent ones; a line of zeros comes last."""
        table = np.zeros((int(self.line[-1]) + 1, self.lanes), dtype=self.kind)
        lane = self.groups.player if self.width else self._own[0]
        fill_tables(self.groups, self.chosen, self.line, self.value, lane, shares, table)
        return table

    def look_up(self, table: Any, codes: Any, sums: Float[np.ndarray, "m d"]) -> None:
        """Add to `sums` what the tables say of the rows of `codes`."""
        flat = table.reshape(-1)

        def dense(first: int, last: int) -> None:
            block = np.zeros(ROWS * self.lanes, dtype=self.kind)
            add_lines(codes, first, last, self.chosen, *self._ask, self.line, flat, self.lanes, block, sums)

        def packed(first: int, last: int) -> None:
            add_packed_lines(
                codes, first, last, self.chosen, *self._ask, self.line, table, self._own[1], self._own[2], sums
            )  # fmt: skip

        if self.width and len(sums) <= FEW:
            add_lines_of_few(
                codes, 0, len(sums), self.chosen, *self._ask, self.line, flat, np.int64(self.lanes), sums
            )
        else:
            share(dense if self.width else packed, len(sums), ROWS)
