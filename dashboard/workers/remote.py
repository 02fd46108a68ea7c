"""What pages hold instead of a model: a description whose answers come from a worker; and the way to ask.

`Remote` offers `explainers`' own questions (open, predict, explain, what applies) for models that live in a pool of
workers. What comes back is checked as something a stranger sent.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

import explainers as ex
from dashboard.workers.endings import nonsense
from dashboard.workers.pool import Pool

#: Data sets that a worker holds at a time: the one looked at, and the last few forms it had while it was described.
MOST_DATA = 3


#: What runs code may say of itself what it likes.
PERMITTED = "Opened with the permission to run code: what this model says of itself cannot be relied on."


@dataclasses.dataclass(frozen=True, eq=False)
class RemoteModel(ex.Model):
    """A model that lives in a worker: everything a page may ask of it but its predictions, which only `Remote` brings."""

    able: frozenset[str] = frozenset()

    @property
    def abilities(self) -> frozenset[str]:  # known, not found out
        """What methods may need; as the worker found it."""
        return self.able


class Remote:
    """Asks a pool of workers. Raises `ExplainerError` where a worker cannot answer, whatever the reason."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self._data: list[str] = []
        self._loads = itertools.count()

    def load_model(self, content: Callable[[], bytes], **options: Any) -> ex.Model:
        """`explainers.load_model` in the workers; `content` is asked again when a worker is replaced."""
        name = f"model {next(self._loads)}"
        found = self.pool.teach(name, "load_model", lambda: {"content": content(), **options})
        model = _described(found)
        return dataclasses.replace(model, notes=(*model.notes, PERMITTED)) if options.get("allow") else model

    def load_dataset(self, content: bytes, **options: Any) -> ex.Dataset:
        """`explainers.load_dataset` in a worker; the data come back, and no worker keeps them."""
        seconds = self.pool.parent.terms.open_seconds
        found = self.pool.ask("load_dataset", {"content": content, **options}, seconds)
        if not isinstance(found, ex.Dataset):
            raise ex.ModelFailure(f"{nonsense('load_dataset')}.")
        return found

    def forget_models(self) -> None:
        """Models loaded so far are not given to new processes, and those that hold them end."""
        self.pool.forget(*[name for name in self.pool.lessons if name.startswith("model ")])
        self.pool.end()

    def applicable(self, model: ex.Model, data: ex.Dataset) -> dict[str, str | None]:
        """For each explainer ``None``, or why it does not apply."""
        found = self._ask("applicable", model, data, self.pool.parent.terms.explain_seconds, None)
        forms = {kind.__name__ for kind in ex.EXPLAINERS}
        if not isinstance(found, dict) or found.keys() != forms or not all(isinstance(v, str | None) for v in found.values()):  # fmt: skip
            raise ex.ModelFailure(f"{nonsense('applicable')}.")
        return found

    def predict(self, model: ex.Model, data: ex.Dataset, cases: ex.Dataset | None = None) -> np.ndarray:
        """Predictions for all rows, or for other cases with the schema of `data`; ``(n, k)``."""
        seconds = self.pool.parent.terms.predict_seconds
        found = self._ask("predict", model, data, seconds, None, cases=_sent(cases, data))
        n, k = len(data if cases is None else cases), len(model.classes)
        if not _numbers(found, n) or (k and found.shape[1] != k):
            raise ex.ModelFailure(f"{nonsense('predict')}.")
        return np.asarray(found, dtype=np.float64)

    def explain(self, model: ex.Model, data: ex.Dataset, explainer: ex.Explainer, rows: Any, target: Any, progress: ex.Progress | None) -> ex.Explanation:  # fmt: skip
        """`explainers.explain` in a worker."""
        seconds = self.pool.parent.terms.explain_seconds
        found = self._ask("explain", model, data, seconds, progress, explainer=explainer, rows=_sent(rows, data), target=target)  # fmt: skip
        if not isinstance(found, type(explainer).returns):
            raise ex.ModelFailure(f"{nonsense('explain')}.")
        where = ex.Provenance(model, data, explainer, rows, target, None)
        return dataclasses.replace(found, provenance=where)

    def check(self, model: ex.Model, data: ex.Dataset) -> None:
        """Try two rows; raises `SchemaMismatch` or `ModelFailure` with what does not fit."""
        sentence = model.mismatch(data)
        if sentence:
            raise ex.SchemaMismatch(sentence)
        self.predict(model, data, data.take(np.arange(min(2, len(data)))))

    def _ask(self, verb: str, model: ex.Model, data: ex.Dataset, seconds: float, progress: ex.Progress | None, **more: Any) -> Any:  # fmt: skip
        self._hold(data)
        which = {"digest": model.digest, "classes": model.classes, "labels": model.labels}
        return self.pool.ask(verb, {"model": which, "data": data.digest, **more}, seconds, progress)

    def _hold(self, data: ex.Dataset) -> None:
        if data.digest in self._data:
            return
        self.pool.teach(f"data {data.digest}", "hold", lambda: {"data": data})
        self._data.append(data.digest)
        while len(self._data) > MOST_DATA:
            self.pool.forget(f"data {self._data.pop(0)}")


def _sent(rows: Any, data: ex.Dataset) -> Any:
    """Cases as they travel: positions, the codes of a table, or a whole data set of pictures."""
    if isinstance(rows, ex.Dataset):
        return rows.matrix if rows.modality == "table" and rows.schema is data.schema else rows
    return None if rows is None else np.asarray(rows, dtype=np.int64)


def _numbers(found: Any, n: int) -> bool:
    return (
        isinstance(found, np.ndarray)
        and found.dtype.kind == "f"
        and found.ndim == 2
        and len(found) == n
        and bool(np.isfinite(found).all())
    )


def _described(found: Any) -> RemoteModel:
    """The description of a model, if it is one."""
    if not isinstance(found, Mapping) or not isinstance(found.get("abilities"), frozenset):
        raise ex.ModelFailure(f"{nonsense('load_model')}.")
    known = {field.name for field in dataclasses.fields(ex.Model)}
    fields = {name: value for name, value in found.items() if name in known}
    texts = ("task", "space", "family", "digest")
    tuples = ("classes", "labels", "notes")
    sound = all(isinstance(fields.get(name), str) for name in texts)
    sound &= all(isinstance(fields.get(name), tuple) for name in tuples)
    if not sound or fields["task"] not in ("classification", "regression"):
        raise ex.ModelFailure(f"{nonsense('load_model')}.")
    return RemoteModel(_not_here, able=found["abilities"], **fields)


def _not_here(_: Any) -> Any:
    raise ex.ModelFailure("This model lives in a worker; ask it through `dashboard.compute`.")
