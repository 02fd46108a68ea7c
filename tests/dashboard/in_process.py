"""An engine that computes in the test's own process: what a worker does, without the process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import explainers as ex
from dashboard.checks import Check, Report, measured
from dashboard.compute import Compute, Store


class InProcess:
    """Opens, predicts and explains here."""

    def load_model(self, content: Callable[[], bytes], **options: Any) -> ex.Model:
        return ex.load_model(content(), **options)

    def load_dataset(self, content: bytes, **options: Any) -> ex.Dataset:
        return ex.load_dataset(content, **options)

    def check(self, model: ex.Model, data: ex.Dataset) -> None:
        model.check(data)

    def applicable(self, model: ex.Model, data: ex.Dataset) -> dict[str, str | None]:
        return {kind.__name__: reason for kind, reason in ex.applicable(model, data)}

    def predict(self, model: ex.Model, data: ex.Dataset, cases: ex.Dataset | None = None) -> np.ndarray:
        return model.predict((data if cases is None else cases).X)

    def check_map(self, model: ex.Model, data: ex.Dataset, check: Check, result: ex.Attribution | None, progress: ex.Progress) -> Report:  # fmt: skip
        return measured(model, data, check, result, progress)

    def explain(self, model: ex.Model, data: ex.Dataset, explainer: ex.Explainer, rows: Any, target: Any, progress: ex.Progress | None) -> Any:  # fmt: skip
        return ex.explain(model, data, explainer, rows, target, progress=progress)


def compute(store: Store | None = None) -> Compute:
    """A `Compute` that needs no worker."""
    return Compute(InProcess(), store)
