"""The rows by which permutation importance judges: which have a known truth, and how predictions for them are scored."""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Int

from explainers.errors import InvalidSetting
from explainers.explainer import Problem
from explainers.model import Model
from explainers.scoring import METRICS, Scored, auc_of


@dataclasses.dataclass(frozen=True, eq=False)
class ScoredRows:
    """The rows with a known truth, and how predictions for them are scored.

    Attributes:
        name: of the score, in `explainers.scoring.METRICS`.
        rows: positions of the rows whose truth is known, ``(n,)``.
        truth: their truth in the model's terms, ``(n,)``.
        column: the output that is scored; ``None`` where the score looks at all.
    """

    name: str
    rows: np.ndarray
    truth: np.ndarray
    column: int | None

    @classmethod
    def of(cls, problem: Problem, metric: str) -> ScoredRows:
        """Checked for the metric of this name, or for ``"auto"``; raises `InvalidSetting` where it cannot be scored."""
        name = _metric(metric, problem.model)
        if problem.cases.y is None:
            raise InvalidSetting(
                "Permutation importance needs the true outcome of the cases; these have none."
            )
        truth = problem.model.truth(problem.cases.y)
        known = np.flatnonzero(truth >= 0) if truth.dtype.kind == "i" else np.flatnonzero(~np.isnan(truth))
        if len(known) < 2:
            raise InvalidSetting(
                f"Permutation importance needs at least two cases with a known outcome; got {len(known)}."
            )
        scoring = cls(name, known, truth[known], _column(problem))
        scoring._check(problem.model)
        return scoring

    def _check(self, model: Model) -> None:
        found = np.unique(self.truth)
        if self.name == "r2" and len(found) == 1:
            raise InvalidSetting(
                f"R² needs outcomes that differ; all {len(self.truth)} are {found[0]:g}. Use metric='rmse'."
            )
        if self.name != "auc":
            return
        column = 1 if self.column is None else self.column
        wanted = set(range(len(model.classes))) if self._every_class(model) else {column}
        absent = [model.classes[j] for j in sorted(wanted - set(found.tolist()))]
        if absent or len(found) == 1:
            present = ", ".join(repr(model.classes[int(j)]) for j in found)
            raise InvalidSetting(
                f"AUC needs cases of every class it compares; these {len(self.truth)} cases hold only {present}. "
                "Choose more rows, or metric='accuracy'."
            )

    def _every_class(self, model: Model) -> bool:
        return self.column is None and len(model.classes) > 2

    def score(self, outputs: np.ndarray) -> Scored:
        """The score of predictions for the rows ``(n, k)``, and each row's influence on it."""
        if self.column is not None and self.name == "auc":
            return auc_of(self.truth == self.column, outputs[:, self.column])
        if self.column is not None and METRICS[self.name].task == "regression":
            outputs = outputs[:, [self.column]]
        return METRICS[self.name].score(self.truth, outputs)

    def taken(self, order: Int[np.ndarray, " m"]) -> ScoredRows:
        """The same rows in this order."""
        return dataclasses.replace(self, rows=self.rows[order], truth=self.truth[order])

    def ranked(self, outputs: int) -> int | None:
        """The output whose order alone decides the score, where it does."""
        if self.name != "auc":
            return None
        return self.column if self.column is not None else 1 if outputs == 2 else None


def _metric(name: str, model: Model) -> str:
    """The score for ``"auto"``, or the one asked for where it fits the model; raises `InvalidSetting`."""
    if name == "auto":
        return "r2" if model.task == "regression" else "auc" if len(model.classes) == 2 else "accuracy"
    if METRICS[name].task != model.task:
        fitting = ", ".join(repr(key) for key, metric in METRICS.items() if metric.task == model.task)
        raise InvalidSetting(f"metric={name!r} does not fit a {model.task}; use one of {fitting}.")
    if name == "log_loss" and model.space != "probability":
        raise InvalidSetting(
            f"metric='log_loss' needs probabilities; this model ({model.family}) gives scores. Use 'auc'."
        )
    return name


def _column(problem: Problem) -> int | None:
    """The output asked for by the caller; ``None`` where the score looks at all outputs."""
    outputs = problem.outputs
    if problem.target is not None and not problem.all_outputs:
        return problem.model.output_of(problem.target, outputs)
    if problem.model.task == "regression" and outputs > 1:
        raise InvalidSetting(
            f"The model has {outputs} outputs and the data one truth; name one: target=0..{outputs - 1}."
        )
    return None
