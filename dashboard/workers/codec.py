"""Values as JSON and arrays, and back: results, explainers, schemas and data sets, and nothing else.

Only the classes named here are ever built, only from their own fields, and a field declared to be an array, a tuple or a
text must be one. `explainers` does the rest of the checking where it has a rule.
"""

from __future__ import annotations

import dataclasses
import datetime
import typing
from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
import pandas as pd

import explainers as ex
from dashboard.checks import Check
from dashboard.workers.protocol import ProtocolError

REPORTS = (Check, ex.Curve, ex.Faithfulness, ex.Randomisation)

CLASSES: dict[str, type] = {
    kind.__name__: kind
    for kind in (*ex.EXPLAINERS, *ex.Explanation.KINDS.values(), ex.Feature, ex.Relation, ex.Schema, ex.Reference, ex.Limits, ex.Contrast, ex.Preparation, *REPORTS)
}  # fmt: skip

#: Values inside each other.
DEEPEST = 64


def pack(value: Any) -> tuple[Any, tuple[np.ndarray, ...]]:
    """What JSON can hold, and the arrays that it names by position. Raises ``TypeError`` for what is never sent."""
    arrays: list[np.ndarray] = []
    return _pack(value, arrays), tuple(arrays)


def unpack(body: Any, arrays: tuple[np.ndarray, ...]) -> Any:
    """The value that `pack` was given; raises `ProtocolError` for anything else."""
    try:
        return _unpack(body, arrays, 0)
    except (
        TypeError,
        ValueError,
        LookupError,
        AttributeError,
        ArithmeticError,
        RecursionError,
        ex.ExplainerError,
    ) as error:
        raise ProtocolError(f"a value that is none ({type(error).__name__})") from error


def _pack(value: Any, arrays: list[np.ndarray]) -> Any:
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, np.ndarray) and value.dtype.kind in "biufUMm":
        arrays.append(value)
        return {"array": len(arrays) - 1}
    if isinstance(value, np.generic):
        return _pack(value.item(), arrays)
    if isinstance(value, bytes):
        return {"bytes": _pack(np.frombuffer(value, np.uint8), arrays)}
    for name, kind, parts in _CONTAINERS:
        if isinstance(value, kind):
            return {name: [_pack(part, arrays) for part in parts(value)]}
    if isinstance(value, Mapping):
        return {"dict": [[str(key), _pack(item, arrays)] for key, item in value.items()]}
    if isinstance(value, ex.Dataset):
        return {"data": _pack(_parts(value), arrays)}
    if type(value).__name__ in CLASSES and dataclasses.is_dataclass(value):
        fields = {f.name: getattr(value, f.name) for f in dataclasses.fields(value) if f.name != "provenance"}
        return {"class": type(value).__name__, "fields": _pack(fields, arrays)}
    return _pack_other(value)


_CONTAINERS: tuple[tuple[str, type, Any], ...] = (
    ("objects", np.ndarray, lambda value: value.reshape(-1).tolist() if value.ndim == 1 else _refuse(value)),
    ("tuple", tuple, iter),
    ("list", list, iter),
    ("set", frozenset, lambda value: sorted(value, key=str)),
)


def _refuse(value: Any) -> Any:
    raise TypeError(f"{type(value).__name__} is not sent to or from a worker.")


def _pack_other(value: Any) -> Any:
    if value is pd.NaT or value is pd.NA:
        return None
    if isinstance(value, datetime.datetime):  # a Timestamp is one too
        return {"time": value.isoformat(), "pandas": isinstance(value, pd.Timestamp)}
    if isinstance(value, datetime.date):
        return {"date": value.isoformat()}
    return _refuse(value)


def _unpack(body: Any, arrays: tuple[np.ndarray, ...], depth: int) -> Any:
    if isinstance(body, str) and not body.isascii():
        body.encode()  # half a character, which no page can show, is a ValueError
    if body is None or isinstance(body, (bool, int, float, str)):
        return body
    if depth > DEEPEST or not isinstance(body, dict):
        raise ProtocolError("values too deep inside each other, or of no known form")

    def inner(part: Any) -> Any:
        return _unpack(part, arrays, depth + 1)

    if "array" in body:
        position = body["array"]
        if not isinstance(position, int) or position < 0:
            raise ProtocolError("an array that was not sent")
        return arrays[position]
    if "bytes" in body:
        return inner(body["bytes"]).tobytes()
    if "class" in body:
        return _build(CLASSES[body["class"]], inner(body["fields"]))
    if "data" in body:
        return _dataset(inner(body["data"]))
    if "dict" in body:
        return {str(key): inner(item) for key, item in body["dict"]}
    if "time" in body:
        text = str(body["time"])
        return pd.Timestamp(text) if body.get("pandas") else datetime.datetime.fromisoformat(text)
    if "date" in body:
        return datetime.date.fromisoformat(body["date"])
    ((name, parts),) = body.items()
    items = [inner(part) for part in parts]
    if name == "objects":
        column = np.empty(len(items), dtype=object)
        column[:] = items
        return column
    return {"tuple": tuple, "list": list, "set": frozenset}[name](items)


def _build(kind: type, fields: dict[str, Any]) -> Any:
    """An instance from its fields, each of the declared form."""
    for name, value in fields.items():
        forms = _forms(kind)[name]
        if forms and not isinstance(value, forms):
            raise ProtocolError(f"a {kind.__name__} whose {name} is of another type")
        if isinstance(value, np.ndarray) and value.dtype == object:
            raise ProtocolError(f"a {kind.__name__} whose {name} is no array of numbers")
    return kind(**fields)


@cache
def _forms(kind: type) -> dict[str, tuple[type, ...]]:
    """For each field the types it may have, as far as they are plain ones; none means that anything is let through."""
    hints = typing.get_type_hints(kind)
    return {field.name: _plain(hints[field.name]) for field in dataclasses.fields(kind)}


def _plain(hint: Any) -> tuple[type, ...]:
    origin = typing.get_origin(hint)
    options = typing.get_args(hint) if origin in (typing.Union, type(int | None)) else (hint,)
    found: list[type] = []
    for option in options:
        base = typing.get_origin(option) or option
        if base is typing.Literal or base is typing.Any or not isinstance(base, type):
            return ()
        found.append(dict if base is Mapping else base)
    return (*found, int) if float in found else tuple(found)


def _parts(data: ex.Dataset) -> dict[str, Any]:
    """A data set as its parts; a table travels as codes, from which its schema makes the same frame again."""
    held = {field.name: getattr(data, field.name) for field in dataclasses.fields(data)}
    if data.modality == "table":
        held["X"] = data.matrix
    elif isinstance(data.X, list):
        held["X"] = list(data.X)
    extra = held.pop("extra")
    if extra is not None:
        held["extra"] = [(str(name), _column(extra[name])) for name in extra.columns]
    return held


def _column(values: pd.Series) -> np.ndarray:
    if isinstance(values.dtype, np.dtype) and values.dtype.kind in "biufMm":
        return np.asarray(values.to_numpy())
    texts = np.empty(len(values), dtype=object)
    texts[:] = [None if missing else str(value) for value, missing in zip(values, values.isna(), strict=True)]
    return texts


def _dataset(parts: dict[str, Any]) -> ex.Dataset:
    schema, X = parts["schema"], parts["X"]
    if not isinstance(schema, ex.Schema):
        raise ProtocolError("a data set without a schema")
    if isinstance(X, np.ndarray):
        sides = 1 + len(schema.shape) if schema.modality != "table" else 2
        if X.dtype.kind != "f" or X.ndim != sides:
            raise ProtocolError("a data set of a shape that is not its schema's")
    if schema.modality == "table":
        return _table(schema, X, parts)
    return ex.Dataset(X, schema, **_rest(parts, len(X)))


def _table(schema: ex.Schema, codes: np.ndarray, parts: dict[str, Any]) -> ex.Dataset:
    if codes.shape[1] != len(schema.names):
        raise ProtocolError("a table with another number of columns than its schema")
    for j, feature in enumerate(schema.features):
        known = codes[~np.isnan(codes[:, j]), j] if feature.categorical else codes[:0, j]
        if len(known) and (known.min() < 0 or known.max() >= len(feature.categories)):
            raise ProtocolError("a code without a category")
    data = ex.Dataset(schema.decode(codes), schema, **_rest(parts, len(codes)))
    data.__dict__["matrix"] = codes
    return data


def _rest(parts: dict[str, Any], n: int) -> dict[str, Any]:
    rest = {name: value for name, value in parts.items() if name not in ("X", "schema")}
    for name in ("y", "role"):
        if rest.get(name) is not None and (
            not isinstance(rest[name], np.ndarray) or rest[name].shape != (n,)
        ):
            raise ProtocolError(f"a data set whose {name} has another length than its cases")
    if rest.get("extra") is not None:
        rest["extra"] = pd.DataFrame(dict(rest["extra"]), index=range(n))
    return rest
