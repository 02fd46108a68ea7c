"""How good the model is on cases it has not seen, each number with its 95 % interval.

Shares (accuracy, sensitivity, specificity, prevalence) have Wilson intervals, the AUC DeLong's on the log-odds scale.
Means of losses (Brier, log loss, MAE) and RMSE are positive, so their normal interval is taken on the logarithm; R² is at most
1, so its is taken on ln(1 − R²). All errors come from influences per case (`explainers.scoring`), what a bootstrap
would estimate by drawing: nothing here is random.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
from jaxtyping import Float

from explainers.dataset import Dataset, positions
from explainers.errors import InvalidSetting
from explainers.model import Model
from explainers.scoring import Scored, auc, brier, log_loss, mae, r2, rmse

#: Standard normal quantile of a two-sided 95 % interval.
Z = 1.959964


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A number with its 95 % interval."""

    value: float
    low: float
    high: float


@dataclasses.dataclass(frozen=True, eq=False)
class Performance:
    """Scores of a model; what a task does not have, or what these cases cannot tell, is ``None``.

    Attributes:
        cases: how many cases with a known truth were scored.
        note: what to say beside every number: ``"may include training rows"``, or which class is missing; or "".
        classes, counts: the classes and how many cases truly are of each.
        confusion: ``(k, k)`` counts, rows the truth, columns the decision.
        threshold: the second class is decided from this on (two classes; as a log-odds where the model gives scores).
        sensitivity, specificity, prevalence, auc: of the second of two classes; `auc` of more is the mean over classes.
    """

    task: Literal["classification", "regression"]
    cases: int
    note: str = ""
    classes: tuple[Any, ...] = ()
    counts: tuple[int, ...] = ()
    confusion: np.ndarray | None = None
    threshold: float | None = None
    accuracy: Estimate | None = None
    auc: Estimate | None = None
    brier: Estimate | None = None
    log_loss: Estimate | None = None
    sensitivity: Estimate | None = None
    specificity: Estimate | None = None
    prevalence: Estimate | None = None
    r2: Estimate | None = None
    rmse: Estimate | None = None
    mae: Estimate | None = None

    @property
    def estimates(self) -> dict[str, Estimate]:
        """The scores that there are, by field."""
        found = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return {name: value for name, value in found.items() if isinstance(value, Estimate)}

    def to_frame(self) -> pd.DataFrame:
        """One row per score: value and interval."""
        rows = [(name, e.value, e.low, e.high) for name, e in self.estimates.items()]
        return pd.DataFrame(rows, columns=["score", "value", "low", "high"])


def performance(
    model: Model,
    data: Dataset,
    threshold: float = 0.5,
    rows: Sequence[int] | np.ndarray | None = None,
    *,
    predictions: Float[np.ndarray, "n k"] | None = None,
) -> Performance:
    """Scores on `rows`; by default on the test rows, or on all rows where none are known to be test rows.

    `predictions` of every case of `data` (``model.predict(data.X)``), or of the scored rows only, saves asking the model. Raises
    `InvalidSetting` without truth, without a case to score, and for a threshold outside 0..1.
    """
    if data.y is None:
        raise InvalidSetting("Performance needs the true outcome; these data have no target column.")
    if model.task == "classification" and not 0.0 < threshold < 1.0:
        raise InvalidSetting(f"The threshold is a probability above 0 and below 1; got {threshold!r}.")
    chosen, note = _rows(data, rows)
    outputs = _outputs(model, data, chosen, predictions)
    truth = model.truth(data.y[chosen])
    known = truth >= 0 if model.task == "classification" else ~np.isnan(truth)
    if not known.any():
        raise InvalidSetting(f"None of the {len(chosen)} cases has a known outcome; choose other rows.")
    if model.task == "regression":
        return _regression(truth[known], outputs[known], note)
    return _classification(model, truth[known], outputs[known], threshold, note)


def calibration_near(
    predictions: Float[np.ndarray, " n"], truth: np.ndarray, value: float, width: float = 0.1
) -> tuple[int, int]:
    """How many cases were given a probability within ``value ± width / 2``, and how many of them were positive.

    For "of 61 test cases given 35–45 %, 24 died". `truth` is 1 for a positive, 0 for a negative, below 0 or NaN
    where nobody knows (left out). Both ends belong to the band.
    """
    outcome = np.asarray(truth, dtype=np.float64)
    near = (np.abs(predictions - value) <= width / 2 + 1e-9) & (outcome >= 0)
    return int(near.sum()), int((outcome[near] == 1).sum())


def wilson(hits: int, cases: int) -> Estimate | None:
    """A share with its Wilson interval; ``None`` of no cases."""
    if cases == 0:
        return None
    share, shrink = hits / cases, 1 + Z**2 / cases
    centre = (share + Z**2 / (2 * cases)) / shrink
    half = Z * math.sqrt(share * (1 - share) / cases + Z**2 / (4 * cases**2)) / shrink
    return Estimate(share, min(share, max(0.0, centre - half)), max(share, min(1.0, centre + half)))


def _rows(data: Dataset, rows: Sequence[int] | np.ndarray | None) -> tuple[np.ndarray, str]:
    if rows is not None:
        chosen = positions(rows, len(data))
    else:
        chosen = data.rows("test")
        chosen = chosen if len(chosen) else np.arange(len(data))
    if len(chosen) == 0:
        raise InvalidSetting("There are no cases to score; the rows named are none.")
    roles = set(np.unique(data.role[chosen]))
    if "unknown" in roles:
        return chosen, "may include training rows"
    return chosen, "includes training rows" if "train" in roles else ""


def _outputs(model: Model, data: Dataset, chosen: np.ndarray, predictions: np.ndarray | None) -> np.ndarray:
    if predictions is None:
        return model.predict(data.take(chosen).X if len(chosen) < len(data) else data.X)
    if len(predictions) == len(data):
        return np.asarray(predictions[chosen])
    if len(predictions) == len(chosen):
        return predictions
    raise InvalidSetting(
        f"Pass predictions for all {len(data)} cases or for the {len(chosen)} scored; got {len(predictions)}."
    )


def _classification(
    model: Model, truth: np.ndarray, outputs: np.ndarray, threshold: float, note: str
) -> Performance:
    n, k = outputs.shape
    binary, probable = k == 2, model.space == "probability"
    cut = threshold if probable else math.log(threshold / (1.0 - threshold))
    decided = (outputs[:, 1] >= cut).astype(np.int64) if binary else outputs.argmax(axis=1)
    confusion = np.bincount(truth * k + decided, minlength=k * k).reshape(k, k)
    counts = confusion.sum(axis=1)
    missing = [str(model.classes[j]) for j in np.flatnonzero(counts == 0)]
    remarks = [note] if note else []
    if missing:
        remarks.append(f"no case of {', '.join(missing)}, so there is no AUC")
    if model.doubt(outputs):
        remarks.append(model.doubt(outputs))
    return Performance(
        "classification",
        n,
        "; ".join(remarks),
        classes=model.classes,
        counts=tuple(int(c) for c in counts),
        confusion=confusion,
        threshold=cut if binary else None,
        accuracy=wilson(int(np.trace(confusion)), n),
        auc=None if missing else _area(auc(truth, outputs), int(counts.min())),
        brier=_positive(brier(truth, outputs)) if probable else None,
        log_loss=_positive(log_loss(truth, outputs)) if probable else None,
        sensitivity=wilson(int(confusion[1, 1]), int(counts[1])) if binary else None,
        specificity=wilson(int(confusion[0, 0]), int(counts[0])) if binary else None,
        prevalence=wilson(int(counts[1]), n) if binary else None,
    )


def _regression(truth: np.ndarray, outputs: np.ndarray, note: str) -> Performance:
    if outputs.shape[1] != 1:
        raise InvalidSetting(
            f"The model has {outputs.shape[1]} outputs but the data one truth; score one output at a time."
        )
    varies = bool(np.ptp(truth) > 0)
    remarks = [note] if note else []
    if not varies:
        remarks.append("all outcomes are equal, so there is no R²")
    return Performance(
        "regression",
        len(truth),
        "; ".join(remarks),
        r2=_explained(r2(truth, outputs)) if varies else None,
        rmse=_positive(rmse(truth, outputs)),
        mae=_positive(mae(truth, outputs)),
    )


def _error(influence: np.ndarray) -> float:
    n = len(influence)
    return float(influence.std(ddof=1) / math.sqrt(n)) if n > 1 else math.inf


def _positive(scored: Scored) -> Estimate:
    """Normal on the logarithm; a score of exactly 0 has no error that these cases could show."""
    value, influence = scored
    if value <= 0.0:
        return Estimate(value, value, value)
    factor = _factor(_error(influence) / value)
    return Estimate(value, value / factor, value * factor)


def _explained(scored: Scored) -> Estimate:
    """Normal on ln(1 − R²), so that the interval never passes 1."""
    value, influence = scored
    rest = 1.0 - value
    if rest <= 0.0:
        return Estimate(value, value, value)
    factor = _factor(_error(influence) / rest)
    return Estimate(value, 1.0 - rest * factor, 1.0 - rest / factor)


def _area(scored: Scored, fewest: int) -> Estimate:
    """Normal on the log-odds; at 0 or 1, where no error shows, Wilson's for as many cases as the rarer class has."""
    value, influence = scored
    if not 0.0 < value < 1.0:
        edge = wilson(round(value) * fewest, fewest)
        return Estimate(value, edge.low, edge.high) if edge else Estimate(value, 0.0, 1.0)
    shift = min(Z * _error(influence) / (value * (1.0 - value)), 700.0)
    middle = math.log(value / (1.0 - value))
    return Estimate(value, 1.0 / (1.0 + math.exp(shift - middle)), 1.0 / (1.0 + math.exp(-shift - middle)))


def _factor(relative_error: float) -> float:
    return math.exp(min(Z * relative_error, 700.0))
