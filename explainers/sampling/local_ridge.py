"""LIME's local model: a weighted ridge regression on "same bin as the case", for many cases at once.

With z = 1 where a neighbour's feature is in the case's bin and q the number of features that are not, a neighbour
weighs w = sqrt(exp(-q / width^2)). The case itself is one of the neighbours, with weight 1. Coefficients solve
(Z~'WZ~ + alpha I) b = Z~'Wy with weighted-centred Z~; their variance is the sandwich H^-1 (sum w^2 e^2 z~z~') H^-1,
times n / (n - d - 1).
"""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Float, Int

ALPHA = 1.0


@dataclasses.dataclass(frozen=True, eq=False)
class LocalRidge:
    """Fits of `r` cases and `k` outputs."""

    coefficients: Float[np.ndarray, "r d k"]
    intercept: Float[np.ndarray, "r k"]
    r2: Float[np.ndarray, "r k"]
    standard_error: Float[np.ndarray, "r d k"]


def fit(
    bins: Int[np.ndarray, "n d"],
    answers: Float[np.ndarray, "r n k"],
    case_bins: Int[np.ndarray, "r d"],
    case_answers: Float[np.ndarray, "r k"],
    width: float,
) -> LocalRidge:
    """Fit around each of `r` cases; neighbours are shared, what counts as the same bin is the case's own."""
    r, d = case_bins.shape
    z = np.ones((r, len(bins) + 1, d))
    z[:, 1:] = bins == case_bins[:, None]
    n = z.shape[1]
    y = np.concatenate([case_answers[:, None], answers], axis=1)
    weights = np.exp(-(d - z @ np.ones(d)) / (2 * width**2))
    share = (weights / weights.sum(axis=1, keepdims=True))[:, None]
    z_mean, y_mean = (share @ z)[:, 0], (share @ y)[:, 0]
    y = y - y_mean[:, None]
    total = weights.sum(axis=1)[:, None, None]
    inner = _moments(z, weights) - total * z_mean[:, :, None] * z_mean[:, None]
    bread = np.linalg.inv(inner + ALPHA * np.eye(d))
    coefficients = bread @ (np.swapaxes(z, 1, 2) @ (weights[..., None] * y))  # y is centred, so z need not be
    intercept = y_mean - (z_mean[:, None] @ coefficients)[:, 0]
    residual = y + y_mean[:, None] - intercept[:, None] - z @ coefficients
    around, left = (weights[:, None] @ y**2)[:, 0], (weights[:, None] @ residual**2)[:, 0]
    r2 = 1 - np.divide(left, around, out=np.ones_like(left), where=around > 0)
    errors = [_sandwich(z, z_mean, bread, (weights * residual[..., k]) ** 2) for k in range(y.shape[2])]
    error = np.sqrt(np.stack(errors, axis=2) * (n / max(1, n - d - 1)))
    return LocalRidge(coefficients, intercept, r2, error)


def _moments(z: Float[np.ndarray, "r n d"], weights: Float[np.ndarray, "r n"]) -> Float[np.ndarray, "r d d"]:
    return np.asarray(np.swapaxes(z, 1, 2) @ (z * weights[..., None]))


def _sandwich(
    z: Float[np.ndarray, "r n d"],
    z_mean: Float[np.ndarray, "r d"],
    bread: Float[np.ndarray, "r d d"],
    squares: Float[np.ndarray, "r n"],
) -> Float[np.ndarray, "r d"]:
    """The diagonal of H^-1 (sum of squares times z~z~') H^-1, with z~ = z - its mean multiplied out."""
    first = (squares[:, None] @ z)[:, 0]
    cross = first[:, :, None] * z_mean[:, None]
    whole = squares.sum(axis=1)[:, None, None] * z_mean[:, :, None] * z_mean[:, None]
    meat = _moments(z, squares) - cross - np.swapaxes(cross, 1, 2) + whole
    return np.asarray(np.maximum(np.einsum("rij,rjk,rik->ri", bread, meat, bread), 0))
