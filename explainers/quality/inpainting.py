"""Missing pixels painted from their surroundings: nearly the smoothest surface that the known pixels hold.

    u_p = mean of u over the neighbours of p        for every missing pixel p (Laplace's equation)

with nothing flowing over the picture's border. Relaxation alone needs as many sweeps as a hole is wide, squared; so the picture is first
made smaller by halves until one pixel is left, and every size starts from the surface of the next smaller one (a cascade of
grids, Bornemann and Deuflhard 1996, doi 10.1007/s002110050234). Some sweeps at each size then do, few in large pictures: what is left of the
equation is too wide and too faint to see. Nothing is random: the same picture is painted the same.

This file imports numba; who uses it imports it where it is needed.
"""

from __future__ import annotations

from typing import no_type_check

import numpy as np
from jaxtyping import Bool, Float

from explainers.trees.compiling import compiled, share

#: Sweeps at full size, forth and back in turn; twice as many at each smaller one, up to a number.
SWEEPS, MOST_SWEEPS = 8, 64

#: Sizes with a side above the first have the second number of sweeps: what grew from the smaller one is as good as there.
LARGE, FEW_SWEEPS = 512, 3

#: How far a pixel goes towards the mean of its neighbours, and beyond (successive over-relaxation).
PACE = np.float32(1.6)
QUARTER = np.float32(0.25)


def inpainted(
    pictures: Float[np.ndarray, "n c h w"],
    missing: Bool[np.ndarray, "n h w"],
    otherwise: Float[np.ndarray, " c"],
) -> Float[np.ndarray, "n c h w"]:
    """float32 pictures with their missing pixels painted; known ones stay as they are.

    A painted value lies between the least and the greatest known one of its channel. `otherwise` is the colour of a
    picture with no known pixel.
    """
    painted = np.array(pictures, dtype=np.float32, order="C")

    # channels do not meet: where pictures come one by one, they are what threads share
    channels = painted.shape[1]
    together = channels if len(painted) > 1 else 1
    parts = -(-channels // together)

    def some(start: int, stop: int) -> None:
        for job in range(start, stop):
            i, part = divmod(job, parts)
            own = slice(part * together, (part + 1) * together)
            values, known = painted[i, own], ~missing[i]
            _paint(values, known, otherwise[own].astype(np.float32))
            if known.any():  # sweeps that go beyond the mean may overshoot
                low = values.min(axis=(1, 2), where=known, initial=np.inf, keepdims=True)
                high = values.max(axis=(1, 2), where=known, initial=-np.inf, keepdims=True)
                np.clip(values, low, high, out=values)

    share(some, len(painted) * parts, 1)
    return painted


def _paint(values: np.ndarray, known: np.ndarray, otherwise: np.ndarray, sweeps: int = SWEEPS) -> None:
    """Paint one picture ``(c, h, w)`` in place."""
    height, width = known.shape
    if known.all():
        return
    if height == width == 1:
        values[:, 0, 0] = otherwise
        return
    smaller = np.empty((len(values), -(-height // 2), -(-width // 2)), dtype=np.float32)
    seen = np.empty(smaller.shape[1:], dtype=np.bool_)
    halve(values, known, smaller, seen)
    large = max(known.shape) > LARGE
    _paint(smaller, seen, otherwise, sweeps if large else min(2 * sweeps, MOST_SWEEPS))
    grow(smaller, known, values)
    relax(values, known, FEW_SWEEPS if large else sweeps)


@no_type_check
def _halve_loop(values, known, smaller, seen):
    """Means of the known pixels in blocks of four, and which blocks have one."""
    height, width = known.shape
    for y in range(seen.shape[0]):
        for x in range(seen.shape[1]):
            count = 0
            smaller[:, y, x] = 0.0
            for v in range(2 * y, min(2 * y + 2, height)):
                for u in range(2 * x, min(2 * x + 2, width)):
                    if known[v, u]:
                        count += 1
                        for c in range(len(values)):
                            smaller[c, y, x] += values[c, v, u]
            seen[y, x] = count > 0
            if count:
                for c in range(len(values)):
                    smaller[c, y, x] /= count


@no_type_check
def _grow_loop(smaller, known, values):
    """Missing pixels from the smaller picture, between whose pixels values run straight (3/4 of the near, 1/4 of the far)."""
    height, width = known.shape
    rows, columns = smaller.shape[1:]
    for y in range(height):
        near_y = y // 2
        far_y = min(max(near_y + (1 if y % 2 else -1), 0), rows - 1)
        for x in range(width):
            if known[y, x]:
                continue
            near_x = x // 2
            far_x = min(max(near_x + (1 if x % 2 else -1), 0), columns - 1)
            for c in range(len(values)):
                near = 0.75 * smaller[c, near_y, near_x] + 0.25 * smaller[c, near_y, far_x]
                far = 0.75 * smaller[c, far_y, near_x] + 0.25 * smaller[c, far_y, far_x]
                values[c, y, x] = 0.75 * near + 0.25 * far


@no_type_check
def _relax_loop(values, known, sweeps):
    """Each missing pixel moves to the mean of its neighbours, one after the other, in the order of rows and back in turn."""
    height, width = known.shape
    for sweep in range(sweeps):
        back = sweep % 2 == 1
        for row in range(height):
            y = height - 1 - row if back else row
            above, below = max(y - 1, 0), min(y + 1, height - 1)
            for column in range(width):
                x = width - 1 - column if back else column
                if known[y, x]:
                    continue
                before, after = max(x - 1, 0), min(x + 1, width - 1)
                # beyond the border lies the pixel's own copy, which pulls it to where it is
                for c in range(len(values)):
                    beside = (
                        values[c, y, before] + values[c, y, after] + values[c, above, x] + values[c, below, x]
                    )
                    values[c, y, x] += PACE * (QUARTER * beside - values[c, y, x])


halve = compiled(_halve_loop)
grow = compiled(_grow_loop)
relax = compiled(_relax_loop)
