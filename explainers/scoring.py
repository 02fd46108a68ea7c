"""How good predictions are, and how much each case decides it.

Every score comes with its *influence*: one number per case whose mean is the score and whose variance over ``n`` is
the score's sampling variance (the linear term of the score in the weights of the cases; Hampel 1974). For a plain
mean it is the case's own loss; for the AUC it gives DeLong's variance (DeLong 1988). Differences of scores on the
same cases need only the difference of influences.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Literal

import numpy as np
from jaxtyping import Float, Int

Outputs = Float[np.ndarray, "n k"]
Labels = Int[np.ndarray, " n"]
Numbers = Float[np.ndarray, " n"]
Scored = tuple[float, Float[np.ndarray, " n"]]


def accuracy(truth: Labels, outputs: Outputs) -> Scored:
    """Share of cases whose largest output is the true class."""
    return _mean((outputs.argmax(axis=1) == truth).astype(np.float64))


def log_loss(truth: Labels, outputs: Outputs) -> Scored:
    """Mean of −ln(probability given to the true class), probabilities kept away from 0 by 1e-15."""
    given = np.take_along_axis(outputs, truth[:, None], axis=1)[:, 0]
    return _mean(-np.log(np.clip(given, 1e-15, 1.0)))


def brier(truth: Labels, outputs: Outputs) -> Scored:
    """Mean squared distance of the probabilities from the truth; for two classes of the second's alone."""
    hit = truth[:, None] == np.arange(outputs.shape[1])
    squares = (outputs - hit) ** 2
    return _mean(squares[:, 1] if outputs.shape[1] == 2 else squares.sum(axis=1))


def auc(truth: Labels, outputs: Outputs) -> Scored:
    """Area under the ROC curve of the second class; for more classes the mean over one class against the rest."""
    columns = (1,) if outputs.shape[1] == 2 else tuple(range(outputs.shape[1]))
    scored = [auc_of(truth == j, outputs[:, j]) for j in columns]
    return float(np.mean([value for value, _ in scored])), np.mean(
        [influence for _, influence in scored], axis=0
    )


def auc_of(positive: np.ndarray, score: Numbers) -> Scored:
    """Chance that a positive case scores above a negative one, ties counting half; needs cases of both kinds."""
    n = len(score)
    order = np.argsort(score)
    kind, ordered = positive[order], score[order]
    positives = np.append(0, np.cumsum(kind))
    many = int(positives[-1])
    # twice how many lie below, and how many positive ones; a tie is half below
    below, under = np.arange(1, 2 * n, 2), positives[:-1] + positives[1:]
    new = ordered[1:] != ordered[:-1]
    if not new.all():
        first = np.concatenate([[0], np.flatnonzero(new) + 1, [n]])  # of each value
        times = np.diff(first)
        below = np.repeat(first[:-1] + first[1:], times)
        under = np.repeat(positives[first[:-1]] + positives[first[1:]], times)
    placement = np.empty(n)
    placement[order] = np.where(kind, (below - under) / (2.0 * (n - many)), 1.0 - under / (2.0 * many))
    area = float(placement[positive].mean())
    weight = np.where(positive, n / many, n / (n - many))
    return area, area + weight * (placement - area)


def r2(truth: Numbers, outputs: Outputs) -> Scored:
    """Share of the truth's variance that the predictions explain."""
    error, spread = (truth - outputs[:, 0]) ** 2, (truth - truth.mean()) ** 2
    unexplained = error.mean() / spread.mean()
    value = float(1.0 - unexplained)
    return value, value - (error - error.mean()) / spread.mean() + unexplained * (
        spread / spread.mean() - 1.0
    )


def rmse(truth: Numbers, outputs: Outputs) -> Scored:
    """Root of the mean squared error, in units of the target."""
    squares = (truth - outputs[:, 0]) ** 2
    value = float(np.sqrt(squares.mean()))
    return value, value + (squares - squares.mean()) / (2.0 * value if value > 0 else 1.0)


def mae(truth: Numbers, outputs: Outputs) -> Scored:
    """Mean absolute error, in units of the target."""
    return _mean(np.abs(truth - outputs[:, 0]))


def _mean(losses: Numbers) -> Scored:
    return float(losses.mean()), losses


@dataclasses.dataclass(frozen=True)
class Metric:
    """A score by name: what people call it, which task it is for, and whether more is better."""

    title: str
    task: Literal["classification", "regression"]
    higher_is_better: bool
    score: Callable[..., Scored]


METRICS = {
    "auc": Metric("AUC", "classification", True, auc),
    "accuracy": Metric("accuracy", "classification", True, accuracy),
    "log_loss": Metric("log loss", "classification", False, log_loss),
    "r2": Metric("R²", "regression", True, r2),
    "rmse": Metric("RMSE", "regression", False, rmse),
    "mae": Metric("mean absolute error", "regression", False, mae),
}
