"""What a group of leaves adds to each player, for every pattern of bits: exact Shapley values, by quadrature.

The Shapley value of a leaf is an integral over t in [0, 1], where t is the chance that a player takes part, of a
polynomial of degree d - 1 in t (d players on its path); Gauss-Legendre quadrature with ceil(d / 2) nodes is exact.

Against a background: with ``f`` the shares of reference cases by pattern, one two-way butterfly for each player gives
the polynomial for every pattern of the case at once (d 2^d steps instead of 4^d). Path-dependent: each player that
takes no part is satisfied with the share of the training weight that went its way (Lundberg et al. 2020).
"""

from __future__ import annotations

from typing import Any, no_type_check

import numpy as np
from jaxtyping import Float, Int

from explainers.trees.compiling import compiled
from explainers.trees.shapley.patterns import Groups


def nodes_and_weights(players: int) -> tuple[np.ndarray, np.ndarray]:
    """Gauss-Legendre nodes and weights on [0, 1], enough for so many players on a path."""
    places, weights = np.polynomial.legendre.leggauss(max(1, (players + 1) // 2))
    return (places + 1.0) / 2.0, weights / 2.0


def rules(most: int) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights for 0..most players, one line for each."""
    width = max(1, (most + 1) // 2)
    nodes, weights = np.zeros((most + 1, width)), np.zeros((most + 1, width))
    for players in range(most + 1):
        found = nodes_and_weights(players)
        nodes[players, : len(found[0])], weights[players, : len(found[0])] = found
    return nodes, weights


def fill_tables(
    groups: Groups,
    chosen: Int[np.ndarray, " c"],
    line: Int[np.ndarray, " c1"],
    value: Float[np.ndarray, " n"],
    lane: Int[np.ndarray, " parts"],
    shares: Float[np.ndarray, " lines"] | None,
    out: Any,
) -> None:
    """Fill the tables ``(lines, lanes)`` of the groups `chosen`, that of ``chosen[i]`` from ``line[i]`` on.

    Args:
        value: what the leaf at each node adds.
        lane: where in a line each entry of ``groups.player`` is kept.
        shares: shares of the reference cases by pattern, laid out as the lines; ``None``: path-dependent.
    """
    most = int(np.diff(groups.part).max(initial=0))
    nodes, weights = rules(most)
    _fill(
        chosen, line, groups.leaf, groups.leaf_node, groups.part, lane, groups.mask, groups.want, groups.ratio, value,
        nodes, weights, np.zeros(0) if shares is None else shares, shares is not None, most, out,
    )  # fmt: skip


@no_type_check  # a plain function: its machine code is kept on disk, which a wrapped one prevents
def _loop(
    chosen, line, leaf, leaf_node, part, lane, mask, want, ratio, value, nodes, weights, counts, against, most, out,
):  # fmt: skip
    """Fill the tables; float64 throughout."""
    size = 1 << most
    own = np.zeros((size, most))  # one leaf: by the pattern of its players
    share = np.zeros(size)
    poly = np.zeros(size)
    front = np.ones(most + 1)
    for place in range(len(chosen)):
        group = chosen[place]
        lines = line[place + 1] - line[place]
        for which in range(leaf[group], leaf[group + 1]):
            begin, d = part[which], part[which + 1] - part[which]
            v = value[leaf_node[which]]
            if d == 0 or v == 0.0:
                continue
            patterns = 1 << d
            own[:patterns, :d] = 0.0
            steps = max(1, (d + 1) // 2)
            if against:
                share[:patterns] = 0.0
                for p in range(lines):
                    count = counts[line[place] + p]
                    if count != 0.0:
                        c = 0
                        for j in range(d):
                            if p & mask[begin + j] == want[begin + j]:
                                c |= 1 << j
                        share[c] += count
                for q in range(steps):
                    t, w = nodes[d, q], weights[d, q]
                    poly[:patterns] = share[:patterns]
                    for j in range(d):
                        bit = 1 << j
                        for c in range(patterns):
                            if c & bit == 0:
                                none, yes = poly[c], poly[c | bit]
                                poly[c] = (1.0 - t) * yes
                                poly[c | bit] = t * none + yes
                    for j in range(d):
                        bit = 1 << j
                        for c in range(patterns):
                            if c & bit == 0:
                                yes = poly[c] / (1.0 - t)
                                own[c, j] -= w * yes
                                own[c | bit, j] += w * (poly[c | bit] - yes) / t
            else:
                for q in range(steps):
                    t, w = nodes[d, q], weights[d, q]
                    for c in range(patterns):
                        front[0] = 1.0
                        for j in range(d):
                            r = ratio[begin + j]
                            front[j + 1] = front[j] * (r + ((c >> j & 1) - r) * t)
                        back = w
                        for j in range(d - 1, -1, -1):
                            r = ratio[begin + j]
                            own[c, j] += ((c >> j & 1) - r) * front[j] * back
                            back *= r + ((c >> j & 1) - r) * t
            for p in range(lines):
                c = 0
                for j in range(d):
                    if p & mask[begin + j] == want[begin + j]:
                        c |= 1 << j
                for j in range(d):
                    out[line[place] + p, lane[begin + j]] += v * own[c, j]


_fill: Any = compiled(_loop)
