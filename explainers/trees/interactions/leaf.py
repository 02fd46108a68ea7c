"""What one leaf adds to each pair of its players, for every pattern of satisfied conditions: exact, by quadrature.

The interaction index of players `i` and `j` is an integral over t in [0, 1], where t is the chance that any other
player takes part, of a polynomial in t: what both change together. A player's condition contributes a factor
``f(t)`` to what the leaf adds; for `i` and `j` the factor is replaced by what taking part changes in it.

Path-dependent, with training share `r`: ``f = r + (c - r) t`` for a condition satisfied (``c = 1``) or not, and taking
part changes it by ``c - r``. Against a background the sum over reference cases is one two-way step for each player.
"""

from __future__ import annotations

from typing import no_type_check

from explainers.trees.compiling import compiled


@no_type_check  # a plain function: its machine code is kept on disk, which a wrapped one prevents
def _path_loop(d, ratio, v, nodes, weights, product, change, own):
    """``own[place, pattern]`` of a leaf worth `v`; pairs ``i <= j`` follow each other, ``i = j`` is the player's own value.

    `ratio (d,)` are training shares; `product` and ``change (d, patterns)`` are room to work in.
    """
    patterns = 1 << d
    own[: d * (d + 1) // 2, :patterns] = 0.0
    for q in range(max(1, (d + 1) // 2)):
        t = nodes[d, q]
        product[0] = v * weights[d, q]
        never = -1.0 / (1.0 - t)  # (c - r) / f where c = 0; where r is 0 too, the product is 0
        for j in range(d):
            r, half = ratio[j], 1 << j
            without, with_ = r * (1.0 - t), r + (1.0 - r) * t
            low, high = product[:half], product[half : 2 * half]
            for c in range(half):
                high[c] = low[c] * with_
                low[c] = low[c] * without
            always = (1.0 - r) / with_
            line = change[j]
            for c in range(patterns):
                line[c] = always if c >> j & 1 else never
        place = 0
        for j in range(d):
            line = change[j]
            for i in range(j + 1):
                out, other = own[place], change[i]
                if i == j:
                    for c in range(patterns):
                        out[c] += product[c] * line[c]
                else:
                    for c in range(patterns):
                        out[c] += product[c] * line[c] * other[c]
                place += 1


path_leaf = compiled(_path_loop)


@no_type_check
def _background_loop(d, share, v, nodes, weights, poly, change, own):
    """The same against reference cases, whose ``share (patterns,)`` by pattern is given."""
    patterns = 1 << d
    own[: d * (d + 1) // 2, :patterns] = 0.0
    for q in range(max(1, (d + 1) // 2)):
        t, w = nodes[d, q], v * weights[d, q]
        for c in range(patterns):
            poly[c] = w * share[c]
        for j in range(d):
            bit = 1 << j
            for block in range(0, patterns, 2 * bit):
                low, high = poly[block : block + bit], poly[block + bit : block + 2 * bit]
                for c in range(bit):
                    none, yes = low[c], high[c]
                    low[c] = (1.0 - t) * yes
                    high[c] = t * none + yes
        place = 0
        back, up = 1.0 / (1.0 - t), 1.0 / t
        for j in range(d):
            bit = 1 << j
            for block in range(0, patterns, 2 * bit):
                for c in range(block, block + bit):
                    yes = poly[c] * back
                    change[0, c] = -yes
                    change[0, c + bit] = (poly[c + bit] - yes) * up
            for i in range(j):
                bit = 1 << i
                out = own[place]
                for block in range(0, patterns, 2 * bit):
                    for c in range(block, block + bit):
                        yes = change[0, c] * back
                        out[c] -= yes
                        out[c + bit] += (change[0, c + bit] - yes) * up
                place += 1
            out = own[place]
            for c in range(patterns):
                out[c] += change[0, c]
            place += 1


background_leaf = compiled(_background_loop)
