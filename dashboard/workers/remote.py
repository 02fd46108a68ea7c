"""What pages hold instead of a model: a description whose answers come from a worker; and the way to ask.

`Remote` offers `explainers`' own questions (open, predict, explain, what applies) for models that live in a pool of
workers. What comes back is checked as something a stranger sent.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable
from typing import Any

import numpy as np

import explainers as ex
from dashboard.checks import Check, Report
from dashboard.workers import answers
from dashboard.workers.pool import Pool
from dashboard.workers.supervisor import Sound

#: Data sets that a worker holds at a time: the one looked at, and the last few forms it had while it was described.
MOST_DATA = 3


#: What runs code may say of itself what it likes.
PERMITTED = "Opened with the permission to run code: what this model says of itself cannot be relied on."


@dataclasses.dataclass(frozen=True, eq=False)
class RemoteModel(ex.Model):
    """A model that lives in a worker: everything a page may ask of it but its predictions, which only `Remote` brings."""

    able: frozenset[str] = frozenset()
    layers: tuple[tuple[str, int], ...] = ()

    @property
    def abilities(self) -> frozenset[str]:  # known, not found out
        """What methods may need; as the worker found it."""
        return self.able

    @property
    def channels(self) -> tuple[tuple[str, int], ...]:
        """Named layers and how many channels each gives; as the worker found them."""
        return self.layers


class Remote:
    """Asks a pool of workers. Raises `ExplainerError` where a worker cannot answer, whatever the reason."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self._data: list[str] = []
        self._loads = itertools.count()

    def load_model(self, content: Callable[[], bytes], **options: Any) -> ex.Model:
        """`explainers.load_model` in the workers; `content` is asked again when a worker is replaced."""
        name = f"model {next(self._loads)}"
        found = self.pool.teach(
            name, "load_model", lambda: {"content": content(), **options}, answers.described
        )
        model = RemoteModel(
            _not_here,
            able=found.pop("abilities"),
            layers=found.pop("channels"),
            preparation=options.get("preparation"),
            declared=options.get("output", "auto"),
            **found,
        )
        return dataclasses.replace(model, notes=(*model.notes, PERMITTED)) if options.get("allow") else model

    def load_dataset(self, content: bytes, **options: Any) -> ex.Dataset:
        """`explainers.load_dataset` in a worker; the data come back, and no worker keeps them."""
        seconds = self.pool.parent.terms.open_seconds
        data: ex.Dataset = self.pool.ask(
            "load_dataset", {"content": content, **options}, seconds, None, answers.dataset
        )
        return data

    def forget_models(self) -> None:
        """Models loaded so far are not given to new processes, and those that hold them end."""
        self.pool.forget(*[name for name in self.pool.lessons if name.startswith("model ")])
        self.pool.end()

    def applicable(self, model: ex.Model, data: ex.Dataset) -> dict[str, str | None]:
        """For each explainer ``None``, or why it does not apply."""
        seconds = self.pool.parent.terms.explain_seconds
        found: dict[str, str | None] = self._ask("applicable", model, data, seconds, None, answers.reasons)
        return found

    def predict(self, model: ex.Model, data: ex.Dataset, cases: ex.Dataset | None = None) -> np.ndarray:
        """Predictions for all rows, or for other cases with the schema of `data`; ``(n, k)``."""
        seconds = self.pool.parent.terms.predict_seconds
        n, k = len(data if cases is None else cases), len(model.classes)
        sound = lambda found: answers.predictions(found, n, k)  # noqa: E731
        found = self._ask("predict", model, data, seconds, None, sound, cases=_sent(cases, data))
        return np.asarray(found, dtype=np.float64)

    def explain(self, model: ex.Model, data: ex.Dataset, explainer: ex.Explainer, rows: Any, target: Any, progress: ex.Progress | None) -> ex.Explanation:  # fmt: skip
        """`explainers.explain` in a worker."""
        seconds = self.pool.parent.terms.explain_seconds
        kind = type(explainer).returns

        def report(done: int, total: int, partial: ex.Explanation | None = None) -> None:
            if progress is not None:
                progress(done, total, partial if answers.explained(partial, kind) else None)

        asked = {"explainer": explainer, "rows": _sent(rows, data), "target": target}
        sound = lambda found: answers.explained(found, kind)  # noqa: E731
        found: ex.Explanation = self._ask("explain", model, data, seconds, report, sound, **asked)
        where = ex.Provenance(model, data, explainer, rows, target, None)
        return dataclasses.replace(found, provenance=where)

    def check_map(self, model: ex.Model, data: ex.Dataset, check: Check, result: ex.Attribution | None, progress: ex.Progress) -> Report:  # fmt: skip
        """`dashboard.checks.measured` in a worker."""
        seconds = self.pool.parent.terms.explain_seconds

        def report(done: int, total: int, partial: ex.Explanation | None = None) -> None:  # noqa: ARG001
            progress(done, total)

        sound = lambda found: answers.checked(found, check)  # noqa: E731
        asked = {"check": check, "result": result}
        found: Report = self._ask("check_map", model, data, seconds, report, sound, **asked)
        return found

    def check(self, model: ex.Model, data: ex.Dataset) -> None:
        """Try two rows; raises `SchemaMismatch` or `ModelFailure` with what does not fit."""
        sentence = model.mismatch(data)
        if sentence:
            raise ex.SchemaMismatch(sentence)
        self.predict(model, data, data.take(np.arange(min(2, len(data)))))

    def _ask(self, verb: str, model: ex.Model, data: ex.Dataset, seconds: float, progress: ex.Progress | None, sound: Sound, **more: Any) -> Any:  # fmt: skip
        self._hold(data)
        which = {"digest": model.digest, "classes": model.classes, "labels": model.labels}
        return self.pool.ask(verb, {"model": which, "data": data.digest, **more}, seconds, progress, sound)

    def _hold(self, data: ex.Dataset) -> None:
        if data.digest in self._data:
            return
        self.pool.teach(
            f"data {data.digest}", "hold", lambda: {"data": data}, lambda found: found == data.digest
        )
        self._data.append(data.digest)
        while len(self._data) > MOST_DATA:
            self.pool.forget(f"data {self._data.pop(0)}")


def _sent(rows: Any, data: ex.Dataset) -> Any:
    """Cases as they travel: positions, the codes of a table, or a whole data set of pictures."""
    if isinstance(rows, ex.Dataset):
        return rows.matrix if rows.modality == "table" and rows.schema is data.schema else rows
    return None if rows is None else np.asarray(rows, dtype=np.int64)


def _not_here(_: Any) -> Any:
    raise ex.ModelFailure("This model lives in a worker; ask it through `dashboard.compute`.")
