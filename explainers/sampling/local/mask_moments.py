"""What is known in closed form of masks of which each size has its weight, and all of a size are equally likely.

With s of u players kept, one is kept with probability f1 = s / u, two with f2 = s (s - 1) / (u (u - 1)), and so on. So means of powers
of a direction q = sum_j b_j z_j follow from the sums of b's powers, and also those over the masks that keep a player.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

#: Powers of the direction: 0 to 3.
POWERS = 4


def together(players: int, most: int) -> Float[np.ndarray, "{most}+1 sizes"]:
    """Probability that 0, 1, …, `most` given players are all kept, where 0, 1, …, `players` are."""
    kept = np.arange(players + 1, dtype=np.float64)
    found = np.ones((most + 1, players + 1))
    for i in range(most):
        found[i + 1] = found[i] * np.maximum(kept - i, 0) / max(1, players - i)
    return found


def power_means(
    direction: Float[np.ndarray, " u"],
) -> tuple[Float[np.ndarray, "powers u+1"], Float[np.ndarray, "powers u+1 u"]]:
    """Means of q^0, …, q^3 over the masks of each size, and of the same times z_j for each player."""
    u = len(direction)
    first, second, third = (float((direction**i).sum()) for i in (1, 2, 3))
    plain = _raw(together(u, 3)[:, :, None], np.array([first]), np.array([second]), np.array([third]))
    if u == 0:
        return plain[:, :, 0], np.zeros((POWERS, 1, 0))
    b = direction
    # a mask that keeps a player keeps one fewer of the others
    among = np.concatenate([np.zeros((POWERS, 1)), together(u - 1, 3)], axis=1)[:, :, None]
    one, q, square, cube = _raw(among, first - b, second - b**2, third - b**3)
    with_it = np.stack([one, b + q, b**2 + 2 * b * q + square, b**3 + 3 * b**2 * q + 3 * b * square + cube])
    return plain[:, :, 0], with_it * together(u, 1)[1][:, None]


def _raw(
    kept: Float[np.ndarray, "powers s 1"],
    first: Float[np.ndarray, " n"],
    second: Float[np.ndarray, " n"],
    third: Float[np.ndarray, " n"],
) -> Float[np.ndarray, "powers s n"]:
    """Means of powers of a sum over kept players, from the sums of all players' powers."""
    _, one, two, three = kept
    return np.stack(
        [
            np.ones((kept.shape[1], len(first))),
            one * first,
            one * second + two * (first**2 - second),
            one * third
            + 3 * two * (first * second - third)
            + three * (first**3 - 3 * first * second + 2 * third),
        ]
    )
