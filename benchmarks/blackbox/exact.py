"""Exact Shapley values, without sampling and without our own estimators: what every side is held against.

For feature j, phi_j = sum over S without j of |S|! (d - |S| - 1)! / d! (v(S + j) - v(S)), from a table of all v(S).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

#: Model rows asked at once.
PORTION = 200_000

#: Coalitions of a network at once.
CACHED = 128


def coalition_table(
    predict: Callable[[np.ndarray], np.ndarray], rows: np.ndarray, background: np.ndarray
) -> np.ndarray:
    """Mean prediction ``(m, 2^d)`` of every coalition: its features from the row, the others from each reference case."""
    m, d = rows.shape
    masks = (np.arange(2**d)[:, None] >> np.arange(d) & 1).astype(bool)
    step = max(1, PORTION // len(background))
    found = np.empty((m, 2**d))
    for i in range(m):
        for start in range(0, 2**d, step):
            part = masks[start : start + step]
            mixed = np.where(part[:, None, :], rows[i], background).reshape(-1, d)
            found[i, start : start + step] = predict(mixed).reshape(len(part), -1).mean(axis=1)
    return found


def by_enumeration(table: np.ndarray) -> np.ndarray:
    """Values ``(m, d)`` from the value of every coalition ``(m, 2^d)``."""
    m, count = table.shape
    d = count.bit_length() - 1
    size = np.array([bin(number).count("1") for number in range(count)])
    weight = np.array([1 / (d * math.comb(d - 1, s)) if s < d else 0.0 for s in range(d + 1)])[size]
    values = np.empty((m, d))
    for j in range(d):
        split = table.reshape(m, -1, 2, 2**j)
        values[:, j] = ((split[:, :, 1] - split[:, :, 0]) * weight.reshape(-1, 2, 2**j)[:, 0]).sum(
            axis=(1, 2)
        )
    return values


def of_network(module: Any, rows: np.ndarray, background: np.ndarray) -> np.ndarray:
    """The same for linear, ReLU, linear, ReLU, linear; the first layer's sums are shared between coalitions.

    Its answer for x_S, b_rest is that for b plus a part for each half of the features, so the mixed rows are never written
    down: 2^20 coalitions against 100 reference cases take seconds a row.
    """
    import torch

    first, _, second, _, last = module
    low = rows.shape[1] // 2
    tables = []
    with torch.inference_mode():
        base = torch.tensor(background, dtype=torch.float32)
        inner, outer = second.weight.T.contiguous(), last.weight[0].contiguous()
        for row in rows:
            steps = (torch.tensor(row, dtype=torch.float32) - base)[:, :, None] * first.weight.T
            near, far = (_sums(part) for part in (steps[:, :low], steps[:, low:]))
            near += first(base)
            parts, means = near.split(CACHED), []
            for one in far:
                for part in parts:  # so many that all of it stays in the processor's cache
                    hidden = torch.addmm(second.bias, (part + one).relu_().flatten(0, 1), inner).relu_()
                    means.append((hidden @ outer).view(len(part), -1).mean(dim=1))
            tables.append((torch.cat(means).double() + last.bias.double()).numpy())
    return by_enumeration(np.array(tables))


def _sums(steps: Any) -> Any:
    """Sums ``(2^s, b, h)`` over every subset of ``(b, s, h)``; bit j says whether part j is in."""
    import torch

    found = torch.zeros(1, steps.shape[0], steps.shape[2])
    for j in range(steps.shape[1]):
        found = torch.cat([found, found + steps[:, j]])
    return found
