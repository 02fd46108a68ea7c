"""Counts and shares behind the pictures of performance; plain numpy, no drawing."""

from __future__ import annotations

import dataclasses

import numpy as np

FEW = 20  # below this many cases a share is not judged


@dataclasses.dataclass(frozen=True, eq=False)
class Bins:
    """Cases by their predicted probability: in each bin how many, what was predicted and what happened."""

    low: np.ndarray
    high: np.ndarray
    count: np.ndarray
    predicted: np.ndarray
    observed: np.ndarray
    lower: np.ndarray
    upper: np.ndarray


def reliability(predictions: np.ndarray, truth: np.ndarray, bins: int = 10) -> Bins:
    """Bins of equal width; `truth` is 1 where the outcome was the class predicted. Empty bins hold NaN."""
    edges = np.linspace(0, 1, bins + 1)
    place = np.clip(np.digitize(predictions, edges[1:-1]), 0, bins - 1)
    count = np.bincount(place, minlength=bins)
    with np.errstate(invalid="ignore", divide="ignore"):
        predicted = np.bincount(place, predictions, bins) / count
        observed = np.bincount(place, np.asarray(truth, dtype=np.float64), bins) / count
    lower, upper = wilson(observed * count, count)
    return Bins(edges[:-1], edges[1:], count, predicted, observed, lower, upper)


def wilson(positives: np.ndarray, count: np.ndarray, z: float = 1.96) -> tuple[np.ndarray, np.ndarray]:
    """The 95 % score interval of a share (Wilson 1927); sound for few cases and for shares of 0 and 1."""
    with np.errstate(invalid="ignore", divide="ignore"):
        share = positives / count
        centre = (share + z**2 / (2 * count)) / (1 + z**2 / count)
        half = z * np.sqrt(share * (1 - share) / count + z**2 / (4 * count**2)) / (1 + z**2 / count)
    return np.maximum(centre - half, 0.0), np.minimum(centre + half, 1.0)


def nearby(
    predictions: np.ndarray, truth: np.ndarray, value: float, half: float = 0.05
) -> tuple[int, int, float, float]:
    """Cases given about the same probability: how many, how many were positive, and from where to where."""
    low, high = max(0.0, value - half), min(1.0, value + half)
    near = (predictions >= low) & (predictions <= high)
    return int(near.sum()), int(np.asarray(truth)[near].sum()), low, high


def roc_points(scores: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """False positive rate, true positive rate and threshold, from (0, 0) to (1, 1); ties are one step."""
    order = np.argsort(-scores, kind="stable")
    ranked, hit = scores[order], np.asarray(truth, dtype=np.float64)[order]
    last = np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1)
    true, false = np.cumsum(hit)[last], np.cumsum(1 - hit)[last]
    with np.errstate(invalid="ignore", divide="ignore"):
        rates = np.append(0.0, false / false[-1]), np.append(0.0, true / true[-1])
    return *rates, np.append(np.inf, ranked[last])


def rates_at(scores: np.ndarray, truth: np.ndarray, threshold: float) -> tuple[float, float]:
    """False and true positive rate of ``score >= threshold``; NaN where a class has no case."""
    called, positive = scores >= threshold, np.asarray(truth, dtype=bool)
    return _share(called[~positive]), _share(called[positive])


def _share(flags: np.ndarray) -> float:
    return float(flags.mean()) if len(flags) else float("nan")


def confusion_counts(truth: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """Cases by true class (rows) and predicted class (columns); a missing truth (below 0) is left out."""
    known = truth >= 0
    flat = truth[known].astype(np.int64) * classes + predicted[known].astype(np.int64)
    return np.bincount(flat, minlength=classes**2).reshape(classes, classes)
