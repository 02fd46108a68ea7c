"""What a worker does: take one request after the other, run `explainers`, answer. It runs locked and holds all it was given.

It answers with a result or with an error in words; what the model prints goes nowhere, and what it raises is told by kind.
"""

from __future__ import annotations

import builtins
import dataclasses
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

import explainers as ex
from dashboard.checks import Check, Report, measured
from dashboard.workers import codec
from dashboard.workers.protocol import Channel, Closed, Kind, Message

#: Seconds between two reports of progress.
BETWEEN = 0.05


@dataclasses.dataclass
class Held:
    """What this worker was given, by digest."""

    models: dict[str, ex.Model] = dataclasses.field(default_factory=dict)
    named: dict[tuple[str, tuple[Any, ...]], ex.Model] = dataclasses.field(default_factory=dict)
    data: dict[str, ex.Dataset] = dataclasses.field(default_factory=dict)

    def model(self, digest: str, classes: tuple[Any, ...], labels: tuple[Any, ...]) -> ex.Model:
        """The model under the names that its outputs have now; one object for equal names, so that what is remembered of it lasts."""
        model = self.models[digest]
        if model.classes == classes and model.labels == labels:
            return model
        key = (digest, (*classes, None, *labels))
        if key not in self.named:
            self.named[key] = dataclasses.replace(model, classes=classes, labels=labels)
        return self.named[key]


def serve(channel: Channel, most: int) -> None:
    """Answer requests until the other side closes, each with at most so many bytes of arrays."""
    held = Held()
    while True:
        try:
            message = channel.receive()
            if message is not None and message.kind is Kind.REQUEST:
                channel.send(_answered(message, held, channel, most))
        except Closed:
            return


def _answered(message: Message, held: Held, channel: Channel, most: int) -> Message:
    """The result, or the error in words."""
    try:
        asked = codec.unpack(message.body, message.arrays)
        result = VERBS[asked.pop("do")](held, _reporter(channel, message.number), **asked)
        body, arrays = codec.pack(result)
        _require_sendable(sum(item.nbytes for item in arrays), most)
        return Message(Kind.RESULT, message.number, body, arrays)
    except ex.Cancelled:
        error = ("Cancelled", "")
    except (ex.ExplainerError, ImportError) as problem:
        error = (_public(type(problem)), _words(problem))
    except MemoryError:
        error = ("MemoryError", "")
    except Exception as problem:
        # The text may hold a patient's values: the kind and the place are enough to find the cause.
        error = (f"unexpected {type(problem).__name__}", _place(problem))
    return Message(Kind.ERROR, message.number, list(error))


def _public(kind: type[Exception]) -> str:
    """The kind's own name, or that of the nearest one above it that the web process knows."""
    return next(base.__name__ for base in kind.__mro__ if base is ImportError or hasattr(ex, base.__name__))


def _require_sendable(size: int, most: int) -> None:
    if size > most - 2**16:  # arrays are padded
        raise ex.OutOfMemory(
            f"The answer has {size:,} bytes; the limit is {most:,} (setting workers.reply_mb). Ask for fewer cases."
        )


def _words(problem: Exception) -> str:
    """The sentence; where a model's or a library's own words stand in it, their kind only: they may hold a patient's values."""
    cause = problem.__cause__
    if not isinstance(problem, ex.ModelFailure) or cause is None or isinstance(cause, ex.ExplainerError):
        return str(problem)
    name = type(cause).__name__
    sentence = str(problem).partition(f" {name}: ")[0]
    kind = name if hasattr(builtins, name) else "error of its own kind"
    return f"{sentence} It was a {kind}; what it said is not shown, as it may hold values of a case."


def _place(problem: Exception) -> str:
    trace = problem.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return "" if trace is None else f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}"


def _reporter(channel: Channel, number: int) -> ex.Progress:
    """Progress towards the web process; a word to cancel that belongs to this request stops it."""
    said, shown, held = 0.0, 0.0, None

    def report(done: int, total: int, partial: ex.Explanation | None = None) -> None:
        nonlocal said, shown, held
        while channel.waits(0.0):
            message = channel.receive(0.0)
            if message is not None and message.kind is Kind.CANCEL and message.number == number:
                raise ex.Cancelled
        now = time.monotonic()
        held = held if partial is None else partial  # a first answer is not lost where a report was just sent
        if now - said >= BETWEEN or done >= total or (partial is not None and now - shown >= BETWEEN):
            said, shown = now, shown if held is None else now
            body, arrays = codec.pack({"done": int(done), "total": int(total), "partial": held})
            held = None
            channel.send(Message(Kind.PROGRESS, number, body, arrays))

    return report


def _load_model(held: Held, _: ex.Progress, content: bytes, **options: Any) -> dict[str, Any]:
    model = ex.load_model(content, **options)
    held.models[model.digest] = model
    return describe(model)


def describe(model: ex.Model) -> dict[str, Any]:
    """What pages may know of a model without holding it."""
    fields = (
        "task",
        "classes",
        "labels",
        "space",
        "family",
        "features",
        "notes",
        "trust",
        "digest",
        "inputs",
    )
    found = {name: getattr(model, name, "") for name in fields}
    return found | {"abilities": model.abilities, "channels": model.channels}


def _load_dataset(_: Held, __: ex.Progress, content: bytes, **options: Any) -> ex.Dataset:
    return ex.load_dataset(content, **options)


def _hold(held: Held, _: ex.Progress, data: ex.Dataset) -> str:
    held.data[data.digest] = data
    return data.digest


def _applicable(held: Held, _: ex.Progress, model: Mapping[str, Any], data: str) -> dict[str, str | None]:
    found = ex.applicable(held.model(**model), held.data[data])
    return {kind.__name__: reason for kind, reason in found}


def _predict(held: Held, _: ex.Progress, model: Mapping[str, Any], data: str, cases: Any) -> np.ndarray:  # fmt: skip
    which, known = held.model(**model), held.data[data]
    if isinstance(cases, np.ndarray) and cases.dtype.kind == "f" and _takes_codes(which, known):
        return which.predict(cases)
    found = known if cases is None else _cases(held, data, cases)
    return which.predict(found.X)


def _takes_codes(model: ex.Model, data: ex.Dataset) -> bool:
    """Whether a table made of codes would only be taken apart again: networks without names for their columns."""
    plain = data.modality == "table" and all(feature.codes_are_values for feature in data.schema.features)
    return plain and model.module is not None and model.features is None


def _explain(held: Held, progress: ex.Progress, model: Mapping[str, Any], data: str, explainer: ex.Explainer, rows: Any, target: Any) -> ex.Explanation:  # fmt: skip
    which, known = held.model(**model), held.data[data]
    result: ex.Explanation = ex.explain(which, known, explainer, _cases(held, data, rows), target, progress=progress)  # fmt: skip
    return result


def _check_map(held: Held, progress: ex.Progress, model: Mapping[str, Any], data: str, check: Check, result: ex.Attribution | None) -> Report:  # fmt: skip
    return measured(held.model(**model), held.data[data], check, result, progress)


def _cases(held: Held, data: str, rows: Any) -> Any:
    """Positions as they are; edited cases of a table come as codes under the schema of the data held."""
    if isinstance(rows, np.ndarray) and rows.dtype.kind == "f":
        return held.data[data].with_matrix(np.asarray(rows, dtype=np.float64))
    return rows


VERBS: dict[str, Callable[..., Any]] = {
    "load_model": _load_model,
    "load_dataset": _load_dataset,
    "hold": _hold,
    "applicable": _applicable,
    "predict": _predict,
    "explain": _explain,
    "check_map": _check_map,
}
