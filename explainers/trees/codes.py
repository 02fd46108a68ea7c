"""The compiled loop that turns values into codes."""

from __future__ import annotations

from typing import no_type_check

import numpy as np
from jaxtyping import Float, Int

from explainers.trees.compiling import compiled

#: Buckets for each threshold: few thresholds share one, so few comparisons follow.
BUCKETS = 4


def buckets(thresholds: Float[np.ndarray, " k"]) -> tuple[float, float, Int[np.ndarray, " buckets"]]:
    """A straight line that sorts values into buckets: its zero, its slope, and how many thresholds lie before each bucket.

    Rounding cannot mislead: the line never falls, so thresholds of earlier buckets are smaller than the value, and
    those of later ones larger.
    """
    finite = thresholds[np.isfinite(thresholds)]
    count = 1 << max(0, int(BUCKETS * len(finite) - 1).bit_length()) if len(finite) > 1 else 1
    low = float(finite[0]) if len(finite) else 0.0
    with np.errstate(over="ignore"):
        slope = float(count / (finite[-1] - low)) if count > 1 else 0.0
    if not (0.0 < slope < np.inf):
        low, slope, count = 0.0, 0.0, 1
    with np.errstate(over="ignore", invalid="ignore"):
        line = (thresholds - low) * slope
    place = np.where(line < count, np.where(line > 0, line, 0), count - 1).astype(np.int64)
    return low, slope, np.searchsorted(place, np.arange(count + 1)).astype(np.int32)


@no_type_check  # a plain function: its machine code is kept on disk, which a wrapped one prevents
def _loop(
    X, begin, end, source, kind, missing_left, missing, start, thresholds, low, slope, bucket_start, before,
    set_of, set_start, member, out,
):  # fmt: skip
    """``out[p, r]``: the code of row ``r`` in pseudo-column ``p``, for rows ``begin .. end``; see `questions`."""
    for p in range(len(source)):
        column, line = X[:, source[p]], out[p]
        treat = missing[p]
        if kind[p] == 2:
            base = set_start[set_of[p]]
            size = set_start[set_of[p] + 1] - base - 1
        else:
            base, size = start[p], start[p + 1] - start[p]
        first, last = bucket_start[p], bucket_start[p + 1] - bucket_start[p] - 2
        zero, rise = low[p], slope[p]
        for r in range(begin, end):
            x = np.float64(column[r])
            absent = x != x
            if treat != 0:
                if treat == 2:
                    absent = absent | ((x >= -1.0000000180025095e-35) & (x <= 1.0000000180025095e-35))
                elif absent:
                    x, absent = 0.0, False
            if kind[p] == 2:
                place = np.int64(x) if x > -1.0 and x < size else size
                left = missing_left[p] if absent else member[base + place]
                line[r] = 0 if left else 1
                continue
            if absent:
                line[r] = 0 if kind[p] == 1 else size + 1
                continue
            along = (x - zero) * rise
            b = first + (last if not along < last else (np.int64(along) if along > 0.0 else 0))
            under, above = np.int64(before[b]), np.int64(before[b + 1])
            while under < above:  # how many thresholds are smaller, by halves
                half = (under + above) >> 1
                if thresholds[base + half] < x:
                    under = half + 1
                else:
                    above = half
            line[r] = under + 1 if kind[p] == 1 else under


fill_codes = compiled(_loop)
