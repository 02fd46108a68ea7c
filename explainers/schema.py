"""What the features are: the columns a person uploaded, with their kinds, units, limits and relations.

Numerical methods work on *codes*: one float64 per feature. A number is its own code; a category's code is its
position in `Feature.categories`; a missing value is NaN. `Schema.encode` and `Schema.decode` are the only places
that translate.
"""

from __future__ import annotations

import dataclasses
import datetime
import math
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any, Literal

import numpy as np
import pandas as pd
from jaxtyping import Float

from explainers.errors import SchemaMismatch

Kind = Literal["number", "integer", "category", "boolean"]
Change = Literal["actionable", "measured", "immutable"]
Direction = Literal["any", "increase", "decrease"]
Modality = Literal["table", "image", "text", "sequence"]


@dataclasses.dataclass(frozen=True)
class Feature:
    """One column as the user knows it.

    `low` and `high` are what is possible (not what was observed); `categories` are the values as they stand in
    the data, `category_labels` how they are shown. `change` says whether a person could act on it
    (``actionable``), it only moves with others (``measured``), or never (``immutable``).
    """

    name: str
    kind: Kind = "number"
    label: str = ""
    unit: str = ""
    description: str = ""
    low: float | int | None = None
    high: float | int | None = None
    categories: tuple[Any, ...] = ()
    category_labels: tuple[str, ...] = ()
    dtype: str = "float64"
    change: Change = "actionable"
    direction: Direction = "any"
    missing: bool = False

    @property
    def title(self) -> str:
        """What people read: the label, or the column's name."""
        return self.label or self.name

    @property
    def categorical(self) -> bool:
        """Whether codes are positions in `categories`."""
        return self.kind in ("category", "boolean")

    @cached_property
    def _codes(self) -> dict[Any, int]:
        return {value: code for code, value in enumerate(self.categories)}

    @cached_property
    def codes_are_values(self) -> bool:
        """True where decoding changes nothing: numbers, and categories that are 0, 1, 2, …"""
        if not self.categorical:
            return True
        numeric = self.dtype not in ("object", "str", "string", "category", "bool")
        return numeric and self.categories == tuple(range(len(self.categories)))

    def encode(self, column: pd.Series) -> Float[np.ndarray, " n"]:
        """Codes of a column; raises `SchemaMismatch` for text in a number or an unknown category."""
        if not self.categorical:
            return self._numbers(column)
        values = column.astype(object)
        codes = values.map(self._codes).to_numpy(dtype=np.float64, na_value=np.nan)
        unknown = np.isnan(codes) & ~column.isna().to_numpy()
        if unknown.any():
            raise SchemaMismatch(
                f"{self.name!r} has unknown categories: {_listed(sorted(map(str, values[unknown].unique())), 3)}. "
                f"Known are {_listed(self.categories, 3)}."
            )
        return np.asarray(codes)

    def _numbers(self, column: pd.Series) -> Float[np.ndarray, " n"]:
        if isinstance(column.dtype, np.dtype) and column.dtype.kind in "iuf":
            return np.asarray(column.to_numpy(dtype=np.float64))
        try:
            return np.asarray(pd.to_numeric(column).to_numpy(dtype=np.float64, na_value=np.nan))
        except (ValueError, TypeError) as error:
            first = int(np.argmax(pd.to_numeric(column, errors="coerce").isna() & column.notna()))
            raise SchemaMismatch(
                f"{self.name!r} should hold numbers, but some values are not (first in row {first + 1}). "
                "Correct the values, or declare the feature a category."
            ) from error

    def decode(self, codes: Float[np.ndarray, " n"]) -> pd.Series:
        """The column the model is given: float64 for numbers, the original values for categories."""
        if not self.categorical:
            return pd.Series(codes, name=self.name)
        absent = np.isnan(codes)
        index = np.where(absent, -1, codes).astype(np.int64)
        if self.dtype == "category":
            return pd.Series(
                pd.Categorical.from_codes(index, categories=list(self.categories)), name=self.name
            )
        if not self.categories:
            return pd.Series(np.full(len(codes), None, dtype=object), name=self.name)
        values = pd.Series(list(self.categories), dtype=None if self.dtype == "object" else self.dtype)
        column = values.take(np.maximum(index, 0)).reset_index(drop=True).rename(self.name)
        return column.mask(pd.Series(absent)) if absent.any() else column

    def show(self, code: float) -> str:
        """A value in words: ``63 years``, ``yes``, ``missing``."""
        if code is None or math.isnan(code):
            return "missing"
        if self.categorical:
            return self.category_title(round(code))
        number = f"{code:,.0f}" if self.kind == "integer" or code == round(code, 0) else _significant(code)
        return f"{number} {self.unit}".strip()

    def category_title(self, code: int) -> str:
        """How a category is shown."""
        if code < len(self.category_labels):
            return self.category_labels[code]
        return str(self.categories[code]) if 0 <= code < len(self.categories) else f"category {code}"


def _significant(value: float, digits: int = 4) -> str:
    """About four significant digits without exponent where that stays readable."""
    if value != 0 and not 1e-4 <= abs(value) < 1e9:
        return f"{value:.3g}"
    decimals = 0 if value == 0 else max(0, digits - 1 - math.floor(math.log10(abs(value))))
    text = f"{value:,.{min(decimals, 8)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


@dataclasses.dataclass(frozen=True)
class Relation:
    """A rule between two features that edits and counterfactuals obey: ``feature <= other``, or both move together."""

    kind: Literal["at_most", "moves_with"]
    feature: str
    other: str


@dataclasses.dataclass(frozen=True)
class Schema:
    """All features in the order in which the model gets them, the target, and what is known between them."""

    features: tuple[Feature, ...] = ()
    target: str | None = None
    relations: tuple[Relation, ...] = ()
    modality: Modality = "table"
    shape: tuple[int, ...] = ()
    pixel_scale: float = 1.0

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Feature names in order; for images the channels."""
        if self.modality == "image":
            channels = self.shape[0] if self.shape else 1
            return (
                ("grey",)
                if channels == 1
                else ("red", "green", "blue", "alpha")[:channels]
                if channels <= 4
                else tuple(f"channel {i}" for i in range(channels))
            )
        return tuple(feature.name for feature in self.features)

    @cached_property
    def _positions(self) -> dict[str, int]:
        return {name: i for i, name in enumerate(self.names)}

    def position(self, name: str) -> int:
        """Column of a feature; raises `SchemaMismatch` for an unknown name."""
        try:
            return self._positions[name]
        except KeyError:
            raise SchemaMismatch(f"There is no feature {name!r}; there are {_listed(self.names)}.") from None

    def feature(self, name: str) -> Feature:
        """The feature of that name."""
        return self.features[self.position(name)]

    @cached_property
    def categorical(self) -> tuple[int, ...]:
        """Positions of the features whose codes are category positions."""
        return tuple(i for i, feature in enumerate(self.features) if feature.categorical)

    def replace(self, *changed: Feature) -> Schema:
        """The same schema with some features corrected (matched by name)."""
        by_name = {feature.name: feature for feature in changed}
        for name in by_name:
            self.position(name)
        features = tuple(by_name.get(feature.name, feature) for feature in self.features)
        return dataclasses.replace(self, features=features)

    def encode(self, frame: pd.DataFrame) -> Float[np.ndarray, "n d"]:
        """Codes of a frame that has at least these columns; raises `SchemaMismatch` naming what is missing."""
        codes = self._values(frame)
        if codes is not None:
            return codes
        missing = [name for name in self.names if name not in frame.columns]
        if missing:
            raise SchemaMismatch(f"The data lack {_listed(missing)}. They have {_listed(frame.columns)}.")
        columns = [feature.encode(frame[feature.name]) for feature in self.features]
        return np.column_stack(columns) if columns else np.empty((len(frame), 0))

    def decode(self, codes: Float[np.ndarray, "n d"]) -> pd.DataFrame:
        """The frame the model is given."""
        if self.codes_are_values:
            return pd.DataFrame(codes, columns=self._columns.view(), copy=False)
        series = {f.name: f.decode(codes[:, i]) for i, f in enumerate(self.features)}
        return pd.DataFrame(series, copy=False)

    def with_target(self, target: str | None) -> Schema:
        """The same features with another name for the truth; what is known of them is kept."""
        if target == self.target:
            return self
        found = dataclasses.replace(self, target=target)
        found.__dict__.update(self.__dict__ | {"target": target})
        return found

    def names_columns_of(self, frame: pd.DataFrame) -> bool:
        """Whether the frame has exactly these columns in this order, each once."""
        return self._columns.is_unique and bool(self._columns.equals(frame.columns))

    @cached_property
    def codes_are_values(self) -> bool:
        """Whether decoding changes nothing, whatever the column."""
        return all(feature.codes_are_values for feature in self.features)

    @cached_property
    def _columns(self) -> pd.Index:
        """The names as pandas has them: making them anew costs more than a row."""
        return pd.Index(list(self.names))

    @cached_property
    def _sizes(self) -> np.ndarray:
        """How many categories each of the features in `categorical` has."""
        return np.array([len(self.features[j].categories) for j in self.categorical])

    def _values(self, frame: pd.DataFrame) -> Float[np.ndarray, "n d"] | None:
        """The codes where they are the values themselves, without a look at each column; ``None`` where one is needed."""
        if not self.features or not self.codes_are_values or not self.names_columns_of(frame):
            return None
        codes = _numbers_of(frame)
        if codes is None or not self.categorical:
            return codes
        part = codes[:, list(self.categorical)]
        known = ~np.signbit(part) & (part < self._sizes) & (part == np.floor(part))
        return codes if (known | np.isnan(part)).all() else None


#: Rows up to which a frame is turned into one array to see whether all of it are numbers.
FEW = 32


def _numbers_of(frame: pd.DataFrame) -> Float[np.ndarray, "n d"] | None:
    """A frame of numbers as its own array, which nobody else writes; ``None`` where a column holds something else."""
    if len(frame) <= FEW:
        values = frame.to_numpy()
        return values.astype(np.float64, order="C") if values.dtype.kind in "iuf" else None
    if not all(isinstance(kind, np.dtype) and kind.kind in "iuf" for kind in frame.dtypes.to_numpy()):
        return None
    numbers = np.ascontiguousarray(frame.to_numpy(dtype=np.float64))
    return numbers if numbers.flags.owndata else numbers.copy()


def infer_schema(frame: pd.DataFrame, target: str | None = None) -> Schema:
    """Infer kinds from the values: text, categories and booleans are categories; 0/1 is a boolean; the rest numbers.

    Raises `SchemaMismatch` for duplicate column names and for an empty table.
    """
    require_table(frame)
    return Schema(tuple(_infer(str(name), column) for name, column in frame.items()), target)


def require_table(frame: pd.DataFrame) -> None:
    """Raise `SchemaMismatch` for column names that occur twice and for a table without rows or columns."""
    if not frame.columns.is_unique:
        duplicated = frame.columns[frame.columns.duplicated()].unique()
        raise SchemaMismatch(f"Column names must be unique; {_listed(duplicated)} occur more than once.")
    if frame.shape[1] == 0 or len(frame) == 0:
        raise SchemaMismatch(f"The table is empty: {len(frame)} rows, {frame.shape[1]} columns.")


def _infer(name: str, column: pd.Series) -> Feature:
    dtype = str(column.dtype)
    if isinstance(column.dtype, np.dtype) and column.dtype.kind in "iuf":
        numbers = column.to_numpy(dtype=np.float64)
        absent = np.isnan(numbers)
        missing = bool(absent.any())
        return _infer_number(name, numbers[~absent] if missing else numbers, dtype, missing)
    missing = bool(column.isna().any())
    if getattr(column.dtype, "kind", "") in "mM":
        raise _dates(name)
    values = column.dropna()
    if isinstance(column.dtype, pd.CategoricalDtype):
        categories = tuple(_plain(v) for v in column.cat.categories)
        return Feature(name, "category", categories=categories, dtype="category", missing=missing)
    if pd.api.types.is_bool_dtype(column.dtype):
        return Feature(
            name,
            "boolean",
            categories=(False, True),
            category_labels=("no", "yes"),
            dtype="bool",
            missing=missing,
        )
    if pd.api.types.is_complex_dtype(column.dtype):
        raise SchemaMismatch(f"{name!r} holds complex numbers. Split it into two columns or leave it out.")
    if pd.api.types.is_numeric_dtype(column.dtype):
        return _infer_number(name, values.to_numpy(dtype=np.float64), dtype, missing)
    distinct = _distinct(name, values)
    if any(isinstance(value, _TIMES) for value in distinct):
        raise _dates(name)
    if distinct == {False, True}:
        return Feature(name, "boolean", categories=(False, True), dtype="object", missing=missing)
    return Feature(
        name,
        "category",
        categories=tuple(sorted(distinct, key=lambda v: (str(type(v)), v))),
        dtype=dtype,
        missing=missing,
    )


def _dates(name: str) -> SchemaMismatch:
    return SchemaMismatch(
        f"{name!r} holds dates or times. Turn it into a number (days since …) or leave it out."
    )


_TIMES = (datetime.date, datetime.time, datetime.timedelta, pd.Period, pd.Interval)


def _distinct(name: str, values: pd.Series) -> set[Any]:
    try:
        distinct = {_plain(value) for value in values.unique()}
        "".join(value for value in distinct if isinstance(value, str)).encode()
        return distinct
    except TypeError as error:
        found = type(values.iloc[0]).__name__
        raise SchemaMismatch(
            f"{name!r} holds {found} values; a cell is one number or one text. Leave it out or unfold it."
        ) from error
    except UnicodeEncodeError as error:
        raise SchemaMismatch(
            f"{name!r} holds text with broken characters (lone surrogates). Save it as UTF-8."
        ) from error


def _infer_number(name: str, numbers: np.ndarray, dtype: str, missing: bool) -> Feature:
    whole = (
        bool(len(numbers)) and bool(np.isfinite(numbers).all()) and bool((numbers == np.round(numbers)).all())
    )
    if whole and 0 <= numbers.min() < numbers.max() <= 1:
        return Feature(name, "boolean", categories=(0, 1), dtype=dtype, missing=missing)
    return Feature(name, "integer" if whole else "number", dtype=dtype, missing=missing)


def _plain(value: Any) -> Any:
    """numpy scalars as Python values, so that schemas can be hashed, compared and written down."""
    return value.item() if isinstance(value, np.generic) else value


def shortened(text: str, most: int = 40) -> str:
    """Text from a file as messages show it: never longer than this."""
    return text if len(text) <= most else text[: most - 1] + "…"


def _listed(names: Iterable[Any] | Sequence[Any], most: int = 8) -> str:
    """Names for a message: quoted, cut after a few."""
    every = [repr(shortened(str(name))) for name in names]
    shown = ", ".join(every[:most]) or "none"
    return shown if len(every) <= most else f"{shown} and {len(every) - most} more"
