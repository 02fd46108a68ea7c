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
    y = np.concatenate([case_answers[:, None], np.broadcast_to(answers, (r, *answers.shape[1:]))], axis=1)
    weights = np.exp(-(d - z.sum(axis=2)) / (2 * width**2))[..., None]
    share = weights / weights.sum(axis=1, keepdims=True)
    z_mean, y_mean = (share * z).sum(axis=1), (share * y).sum(axis=1)
    z -= z_mean[:, None]
    y = y - y_mean[:, None]
    weighted = np.swapaxes(z * weights, 1, 2)
    bread = np.linalg.inv(weighted @ z + ALPHA * np.eye(d))
    coefficients = bread @ (weighted @ y)
    residual = y - z @ coefficients
    total = (weights * y**2).sum(axis=1)
    left = (weights * residual**2).sum(axis=1)
    r2 = 1 - np.divide(left, total, out=np.ones_like(left), where=total > 0)
    projected = z @ bread * weights  # what each neighbour's answer adds to the coefficients
    n = z.shape[1]
    variance = np.swapaxes(projected**2, 1, 2) @ residual**2 * (n / max(1, n - d - 1))
    intercept = y_mean - (z_mean[:, None] @ coefficients)[:, 0]
    return LocalRidge(coefficients, intercept, r2, np.sqrt(variance))
