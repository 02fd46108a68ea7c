"""Fields of an explainer: their ranges and choices, read from the annotations.

An explainer is a frozen dataclass. ``Annotated[int, Range(1, 100)]`` bounds a number, ``Literal[...]`` lists
choices; the same annotations make the dashboard's settings form, so nothing is written twice.
"""

from __future__ import annotations

import dataclasses
import functools
import types
import typing
from typing import Annotated, Any, Literal, TypeAlias, Union

from explainers.errors import InvalidSetting


@dataclasses.dataclass(frozen=True)
class Range:
    """Inclusive bounds of a numeric setting."""

    low: float | int
    high: float | int


#: What random numbers start from.
Seed: TypeAlias = Annotated[int, Range(0, 2**31 - 1)]

#: Which of the model's scores is explained; ``"auto"``: the one that suits the method, as a rule what `predict` returns.
ScoreSpace: TypeAlias = Literal["auto", "raw", "probability"]


@dataclasses.dataclass(frozen=True)
class Setting:
    """One field of an explainer as a form needs it."""

    name: str
    type: type
    default: Any
    range: Range | None
    choices: tuple[Any, ...]
    optional: bool


@functools.cache
def settings_of(explainer: type) -> tuple[Setting, ...]:
    """The settings of an explainer class, in the order in which they are declared."""
    hints = typing.get_type_hints(explainer, include_extras=True)
    return tuple(_read(field, hints[field.name]) for field in dataclasses.fields(explainer) if field.init)


def validate(explainer: Any) -> None:
    """Raise `InvalidSetting` for a field outside its declared range or choices."""
    for setting in settings_of(type(explainer)):  # type: ignore[arg-type]  # a class is hashable; mypy's cache disagrees
        value = getattr(explainer, setting.name)
        if value is None and setting.optional:
            continue
        _check(type(explainer).__name__, setting, value)


def _check(owner: str, setting: Setting, value: Any) -> None:
    name = f"{owner}({setting.name}=…)"
    closed = bool(setting.choices) and setting.range is None and setting.type is str
    if (isinstance(value, str) or closed) and setting.choices and value not in setting.choices:
        raise InvalidSetting(f"{name} must be one of {', '.join(map(repr, setting.choices))}; got {value!r}.")
    if isinstance(value, str) and not setting.choices and setting.type in (int, float):
        raise InvalidSetting(f"{name} must be a number; got {value!r}.")
    bounds = setting.range
    if bounds is None or isinstance(value, str):
        return
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise InvalidSetting(f"{name} must be a number; got {value!r}.")
    if setting.type is int and not isinstance(value, int):
        raise InvalidSetting(f"{name} must be a whole number; got {value!r}.")
    if not bounds.low <= value <= bounds.high:
        raise InvalidSetting(f"{name} must be between {bounds.low:g} and {bounds.high:g}; got {value!r}.")


def _read(field: dataclasses.Field[Any], hint: Any) -> Setting:
    default = field.default if field.default is not dataclasses.MISSING else None
    bounds: Range | None = None
    choices: tuple[Any, ...] = ()
    kinds: list[type] = []
    optional = False
    for part in _parts(hint):
        if isinstance(part, Range):
            bounds = part
        elif typing.get_origin(part) is Literal:
            choices += typing.get_args(part)
        elif part is type(None):
            optional = True
        else:
            kinds.append(typing.get_origin(part) or part)
    kind = kinds[0] if kinds else str
    return Setting(field.name, kind, default, bounds, choices, optional)


def _parts(hint: Any) -> list[Any]:
    """Flatten unions and ``Annotated`` into plain types, literals and bounds."""
    origin = typing.get_origin(hint)
    if origin is typing.Annotated:
        inner, *extras = typing.get_args(hint)
        return [*_parts(inner), *extras]
    if origin in (Union, types.UnionType):
        return [part for arm in typing.get_args(hint) for part in _parts(arm)]
    return [hint]
