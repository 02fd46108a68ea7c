"""From sums of pairs to a symmetric matrix for each row, a few rows at a time so that they stay near the processor."""

from __future__ import annotations

from typing import no_type_check

from explainers.trees.compiling import compiled

#: Rows that are put in place together: the sums of a pair follow each other in memory.
TOGETHER = 16


@no_type_check  # a plain function: its machine code is kept on disk, which a wrapped one prevents
def _place_loop(sums, first, second, values, output):
    """``values[row, first, second, output] = sums[pair, row]``."""
    rows = values.shape[0]
    for begin in range(0, rows, TOGETHER):
        end = min(begin + TOGETHER, rows)
        for pair in range(len(first)):
            i, j = first[pair], second[pair]
            for r in range(begin, end):
                values[r, i, j, output] = sums[pair, r]


put_in_place = compiled(_place_loop)


@no_type_check
def _split_loop(values):
    """Pairs above the diagonal become halves on both sides, Shapley values on it what remains of them, in place."""
    rows, d, outputs = values.shape[0], values.shape[1], values.shape[3]
    for r in range(rows):
        own = values[r]
        for i in range(d):
            for j in range(i + 1, d):
                for k in range(outputs):
                    half = own[i, j, k] / 2.0
                    own[i, j, k] = half
                    own[j, i, k] = half
                    own[i, i, k] -= half
                    own[j, j, k] -= half


split = compiled(_split_loop)
