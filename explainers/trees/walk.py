"""Path-dependent Shapley values by walking every node with a row: for deep trees, and for few rows.

Down the tree goes the product of what each player's path condition contributes at each quadrature node; back up come
the sums of the leaves below, and each edge gives its player the share that this player's condition makes. The
polynomial is integrated exactly (see `tables`); cost is nodes × quadrature nodes for each row, whatever the depth.
The recurrence is that of Linear TreeShap (Yu et al. 2022), in the stable form of quadrature.
"""

from __future__ import annotations

from typing import Any, no_type_check

import numpy as np
from jaxtyping import Float, Int

from explainers.trees.compiling import compiled, share
from explainers.trees.ensemble import TreeEnsemble
from explainers.trees.tables import nodes_and_weights


def most_players(trees: TreeEnsemble, player: Int[np.ndarray, " c"]) -> int:
    """How many players the longest path can have."""
    asked = np.unique(np.asarray(player)[trees.feature[trees.feature >= 0]])
    return int(min(len(asked), trees.depth.max(initial=0)))


def walk(
    trees: TreeEnsemble, player: Int[np.ndarray, " c"], codes: Any, sums: Float[np.ndarray, "m d k"]
) -> None:
    """Add the values of each row to `sums`; players are numbered 0..d-1."""
    questions, deepest = trees.questions, int(trees.depth.max(initial=0))
    player = np.asarray(player, dtype=np.int64)
    nodes, weights, who, ratio, last = trees.kept(("walk", player.tobytes()), lambda: _paths(trees, player))

    def part(start: int, stop: int) -> None:
        _walk(
            codes, start, stop, trees.roots, trees.feature, trees.left, trees.parent, trees.depth, who, last, ratio,
            questions.column, questions.rank, trees.value, trees.output, nodes, weights, deepest, sums,
        )  # fmt: skip

    share(part, len(sums), 2)


def _paths(trees: TreeEnsemble, player: np.ndarray) -> tuple[np.ndarray, ...]:
    """What the walk needs to know of each node, whatever the row."""
    nodes, weights = nodes_and_weights(most_players(trees, player))
    who = np.where(trees.feature >= 0, player[trees.feature], -1)
    up = trees.cover[np.maximum(trees.parent, 0)]
    ratio = np.divide(trees.cover, up, out=np.zeros(len(up)), where=up > 0)
    return nodes, weights, who, ratio, _last_with_the_same_player(trees.parent, who, trees.depth)


@no_type_check  # a plain function: its machine code is kept on disk, which a wrapped one prevents
def _same_loop(parent, who, depth):
    """For each node, the depth of the node that the nearest edge above with the same player leads to; 0 for none."""
    found = np.zeros(len(parent), dtype=np.int64)
    for node in range(len(parent)):
        if parent[node] < 0:
            continue
        above = parent[node]
        while parent[above] >= 0:
            if who[parent[above]] == who[parent[node]]:
                found[node] = depth[above]
                break
            above = parent[above]
    return found


_last_with_the_same_player = compiled(_same_loop)


@no_type_check
def _loop(
    codes, start, stop, roots, feature, left, parent, depth, who, last, ratio, column, rank, value, output, nodes,
    weights, deepest, sums,
):  # fmt: skip
    """Nodes come in order, parents before children; what is known of the path is kept by depth.

    Each condition is a straight line ``a + b t`` in the chance `t` that its player takes part: satisfied with training
    share `s` it is ``s + (1 - s) t``, else ``s - s t``. A node whose player was asked above replaces the older line.
    """
    steps, outputs = len(nodes), value.shape[1]
    product, change = np.ones((deepest + 1, steps)), np.zeros(steps)
    below = np.zeros((deepest + 1, outputs, steps))
    satisfied, share_of = np.ones(deepest + 1, dtype=np.bool_), np.ones(deepest + 1)
    at = np.zeros(deepest + 1, dtype=np.int64)
    for r in range(start, stop):
        for tree in range(len(roots) - 1):
            end = roots[tree + 1]
            for node in range(roots[tree], end):
                d = depth[node]
                at[d] = node
                below[d] = 0.0
                if d > 0:
                    up, before = parent[node], last[node]
                    old = satisfied[before] if before > 0 else True
                    s = share_of[before] if before > 0 else 1.0
                    new = old and (codes[column[up], r] <= rank[up]) == (left[up] == node)
                    satisfied[d], share_of[d] = new, s * ratio[node]
                    a, b, c, e = share_of[d], 1.0 - share_of[d] if new else -share_of[d], s, 1.0 - s
                    if not old:  # both lines are multiples of 1 - t
                        a, b, c, e = ratio[node], 0.0, 1.0, 0.0
                    own, above = product[d], product[d - 1]
                    for q in range(steps):
                        own[q] = above[q] * ((a + b * nodes[q]) / (c + e * nodes[q]))
                if feature[node] >= 0:
                    continue
                for k in range(outputs):
                    own, sums_below = product[d], below[d, k]
                    for q in range(steps):
                        sums_below[q] = own[q] * value[node, k]
                following = depth[node + 1] if node + 1 < end else 0
                while d > 0 and d >= following:  # this subtree is complete: its edge gets its share
                    up, before = parent[at[d]], last[at[d]]
                    old = satisfied[before] if before > 0 else True
                    s = share_of[d]
                    a, b, p = (s, 1.0 - s, 1.0 - s) if satisfied[d] else (1.0, -1.0, -1.0)
                    c, e, o = 1.0, 0.0, 0.0
                    if before > 0:
                        c, e, o = share_of[before], 1.0 - share_of[before], 1.0 - share_of[before]
                    if old:
                        for q in range(steps):
                            change[q] = weights[q] * (p / (a + b * nodes[q]) - o / (c + e * nodes[q]))
                    for k in range(outputs):
                        gained, sums_below, sums_above = 0.0, below[d, k], below[d - 1, k]
                        for q in range(steps):
                            gained += sums_below[q] * change[q]
                            sums_above[q] += sums_below[q]
                        if old:
                            sums[r, who[up], output[tree] if output[tree] >= 0 else k] += gained
                    d -= 1


_walk: Any = compiled(_loop, sums_in_any_order=True)
