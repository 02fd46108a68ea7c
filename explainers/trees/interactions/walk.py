"""Path-dependent interaction values by walking every node with a row: for few rows, and for deep trees.

As in `shapley.walk`: down the tree goes the product of the conditions' factors at each quadrature node, back up come the sums of
the leaves below. Each edge changes what its player's condition makes of the product; the pair of two players is the sum
over all edges of the one above or below all edges of the other, so each complete edge meets the edges above it once.
Cost: nodes × depth × quadrature nodes for each row.
"""

from __future__ import annotations

from typing import Any, no_type_check

import numpy as np
from jaxtyping import Float, Int

from explainers.trees.compiling import compiled, share
from explainers.trees.ensemble import TreeEnsemble
from explainers.trees.shapley.tables import nodes_and_weights
from explainers.trees.shapley.walk import _last_with_the_same_player, most_players


def walk_pairs(
    trees: TreeEnsemble, player: Int[np.ndarray, " c"], codes: Any, sums: Float[np.ndarray, "m d d k"]
) -> None:
    """Add the values of each row: each pair to ``sums[row, i, j]``, ``i < j``, a player's own to ``sums[row, i, i]``."""
    nodes, weights = nodes_and_weights(most_players(trees, player))
    questions, deepest = trees.questions, int(trees.depth.max(initial=0))
    who = np.where(trees.feature >= 0, np.asarray(player, dtype=np.int64)[trees.feature], -1)
    up = trees.cover[np.maximum(trees.parent, 0)]
    ratio = np.divide(trees.cover, up, out=np.zeros(len(up)), where=up > 0)
    last = _last_with_the_same_player(trees.parent, who, trees.depth)

    def part(start: int, stop: int) -> None:
        _walk(
            codes, start, stop, trees.roots, trees.feature, trees.left, trees.parent, trees.depth, who, last, ratio,
            questions.column, questions.rank, trees.value, trees.output, nodes, weights, deepest, sums,
        )  # fmt: skip

    share(part, len(sums), 2)


@no_type_check  # a plain function: its machine code is kept on disk, which a wrapped one prevents
def _loop(
    codes, start, stop, roots, feature, left, parent, depth, who, last, ratio, column, rank, value, output, nodes,
    weights, deepest, sums,
):  # fmt: skip
    """Conditions are straight lines in `t`, as in `shapley.walk`; `change` is what an edge adds to its player's part of 1."""
    steps, outputs = len(nodes), value.shape[1]
    product, change = np.ones((deepest + 1, steps)), np.zeros((deepest + 1, steps))
    below, gained = np.zeros((deepest + 1, outputs, steps)), np.zeros(steps)
    satisfied, share_of = np.ones(deepest + 1, dtype=np.bool_), np.ones(deepest + 1)
    counts = np.zeros(deepest + 1, dtype=np.bool_)  # whether an edge changes anything
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
                    satisfied[d], share_of[d], counts[d] = new, s * ratio[node], old
                    if old:
                        b = share_of[d]
                        e, p, o = 1.0 - b, 1.0 - b, 1.0 - s if before > 0 else 0.0
                        if not new:
                            e, p = -b, -1.0
                        for q in range(steps):
                            t = nodes[q]
                            older = s + (1.0 - s) * t
                            product[d, q] = product[d - 1, q] * ((b + e * t) / older)
                            # not satisfied, the share may be 0, and so is the product: -1 / (1 - t) is the limit
                            change[d, q] = p / (b + e * t if new else 1.0 - t) - o / older
                    else:
                        for q in range(steps):
                            product[d, q] = product[d - 1, q] * ratio[node]
                if feature[node] >= 0:
                    continue
                for k in range(outputs):
                    for q in range(steps):
                        below[d, k, q] = product[d, q] * value[node, k]
                following = depth[node + 1] if node + 1 < end else 0
                while d > 0 and d >= following:  # this subtree is complete: its edge meets those above
                    p = who[parent[at[d]]]
                    for k in range(outputs):
                        place, single = output[tree] if output[tree] >= 0 else k, 0.0
                        for q in range(steps):
                            below[d - 1, k, q] += below[d, k, q]
                        if not counts[d]:
                            continue
                        for q in range(steps):
                            gained[q] = weights[q] * below[d, k, q] * change[d, q]
                            single += gained[q]
                        sums[r, p, p, place] += single
                        for e in range(1, d):
                            other = who[parent[at[e]]]
                            if other == p or not counts[e]:
                                continue
                            both = 0.0
                            for q in range(steps):
                                both += gained[q] * change[e, q]
                            sums[r, min(p, other), max(p, other), place] += both
                    d -= 1


_walk: Any = compiled(_loop, sums_in_any_order=True)
