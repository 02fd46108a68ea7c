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
from explainers.trees.shapley.eights import EIGHT, add, gained, scale, times_line, times_lines
from explainers.trees.shapley.tables import nodes_and_weights


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
    nodes, weights = _in_eights(*nodes_and_weights(most_players(trees, player)))
    who = np.where(trees.feature >= 0, player[trees.feature], -1)
    up = trees.cover[np.maximum(trees.parent, 0)]
    ratio = np.divide(trees.cover, up, out=np.zeros(len(up)), where=up > 0)
    return nodes, weights, who, ratio, _last_with_the_same_player(trees.parent, who, trees.depth)


def _in_eights(nodes: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Filled up with nodes that have no weight."""
    more = -len(nodes) % EIGHT
    return np.append(nodes, np.full(more, 0.5)), np.append(weights, np.zeros(more))


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
    steps, outputs = len(nodes), value.shape[1]  # the steps are whole eights
    product = np.ones((deepest + 1) * steps)
    below = np.zeros((deepest + 1) * outputs * steps)
    satisfied, share_of = np.ones(deepest + 1, dtype=np.bool_), np.ones(deepest + 1)
    at = np.zeros(deepest + 1, dtype=np.int64)
    level = outputs * steps
    for tree in range(len(roots) - 1):  # a tree stays in the nearer memory for all rows
        end = roots[tree + 1]
        for r in range(start, stop):
            for node in range(roots[tree], end):
                d = depth[node]
                at[d] = node
                here = d * steps
                if d > 0:
                    up, before = parent[node], last[node]
                    old = satisfied[before] if before > 0 else True
                    s = share_of[before] if before > 0 else 1.0
                    new = old and (codes[column[up], r] <= rank[up]) == (left[up] == node)
                    own = s * ratio[node]
                    satisfied[d], share_of[d] = new, own
                    slope = 1.0 - own if new else -own
                    for q in range(0, steps, 8):
                        if not old:  # both lines are multiples of 1 - t
                            scale(product, here + q, product, here - steps + q, ratio[node])
                        elif before == 0:
                            times_line(product, here + q, here - steps + q, nodes, q, own, slope)
                        else:
                            times_lines(product, here + q, here - steps + q, nodes, q, own, slope, s, 1.0 - s)
                if feature[node] >= 0:
                    below[d * level : (d + 1) * level] = 0.0
                    continue
                for k in range(outputs):
                    for q in range(0, steps, 8):
                        scale(below, d * level + k * steps + q, product, here + q, value[node, k])
                following = depth[node + 1] if node + 1 < end else 0
                while d > 0 and d >= following:  # this subtree is complete: its edge gets its share
                    up, before = parent[at[d]], last[at[d]]
                    if satisfied[before] if before > 0 else True:
                        s, o = share_of[d], share_of[before]
                        p, c, e = (1.0 - s, s, 1.0 - s) if satisfied[d] else (-1.0, 1.0, -1.0)
                        for k in range(outputs):
                            change = 0.0
                            for q in range(0, steps, 8):
                                place = d * level + k * steps + q
                                change += gained(below, place, weights, nodes, q, p, c, e)
                                if before > 0:
                                    change -= gained(below, place, weights, nodes, q, 1.0 - o, o, 1.0 - o)
                            sums[r, who[up], output[tree] if output[tree] >= 0 else k] += change
                    for place in range(d * level, (d + 1) * level, 8):
                        add(below, place - level, place)
                    d -= 1


_walk: Any = compiled(_loop)
