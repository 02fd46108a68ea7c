"""What boosted trees are given: the columns of their training in order, with categories as the codes they had there."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, NoReturn

import numpy as np
import pandas as pd
from jaxtyping import Float

from explainers.errors import ModelFailure
from explainers.wrapping.gradient_boosting_libraries import _ordered, _sized


@dataclasses.dataclass(frozen=True, eq=False)
class TrainingColumns:
    """The columns that a booster was trained on.

    Attributes:
        count: how many.
        library: who trained it, for messages.
        names: their names, where the model has some.
        categories: the categories of the columns (by position) whose categories are known; a code is a place in them.
        unplaced: categories of columns that the model does not name: those of the frame's own categorical columns.
        coded: columns of categories, for which a number is a code.
        strict: whether infinity, and a category that training had not, are refused, as XGBoost does; else such a
            category is missing.
    """

    count: int
    library: str
    names: tuple[str, ...] | None = None
    categories: Mapping[int, pd.Index] = dataclasses.field(default_factory=dict)
    unplaced: tuple[pd.Index, ...] = ()
    coded: frozenset[int] = frozenset()
    strict: bool = False

    def matrix(self, X: Any) -> Float[np.ndarray, "n c"]:
        """The rows as numbers, NaN where missing; a frame's columns by name, an array's as they are, codes included.

        Raises `UnsupportedModel` for other columns, `ModelFailure` for values that the library refuses.
        """
        if isinstance(X, pd.DataFrame):
            values = self._numbers(_sized(_ordered(X, self.names), self.count))
        else:
            rows = np.array(X, dtype=np.float64)  # a copy: codes below are put right in place
            values = _sized(rows.reshape(len(rows), -1 if rows.size else self.count), self.count)
        return self._checked(values) if self.strict else values

    def _numbers(self, frame: pd.DataFrame) -> np.ndarray:
        known = self._categories(frame)
        if not known and all(isinstance(kind, np.dtype) and kind.kind in "biuf" for kind in frame.dtypes):
            return np.asarray(frame.to_numpy(dtype=np.float64, copy=bool(self.coded)))
        values = np.empty(frame.shape)
        for j in range(self.count):
            values[:, j] = self._column(frame.iloc[:, j], j, known.get(j))
        return values

    def _checked(self, values: np.ndarray) -> np.ndarray:
        """Refuse what is infinite in single precision; no code below 0 is rounded to 0, as LightGBM does."""
        infinite = np.abs(values) > np.finfo(np.float32).max
        if infinite.any():
            place = int(np.flatnonzero(infinite.any(axis=0))[0])
            name = self.names[place] if self.names else place
            raise ModelFailure(
                f"The column {name!r} holds infinity or a number too large for single precision, which XGBoost "
                "refuses. Leave the value out: it is then missing."
            )
        for j in self.coded:
            values[values[:, j] < 0, j] = -1.0
        return values

    def _categories(self, frame: pd.DataFrame) -> Mapping[int, pd.Index]:
        if not self.unplaced:
            return self.categories
        places = [j for j, kind in enumerate(frame.dtypes) if _categorical(kind)]
        if len(places) != len(self.unplaced):
            raise ModelFailure(
                f"{self.library} was trained on {len(self.unplaced)} columns of categories; these data have "
                f"{len(places)}. Give the same columns as text or as pandas categories."
            )
        return dict(zip(places, self.unplaced, strict=True))

    def _column(self, column: pd.Series, place: int, categories: pd.Index | None) -> np.ndarray:
        if categories is not None:
            return self._codes(column, categories)
        if place in self.coded and isinstance(column.dtype, pd.CategoricalDtype):  # the model has no names
            codes = column.cat.codes.to_numpy(dtype=np.float64)
            return np.where(codes < 0, np.nan, codes)
        try:
            return np.asarray(column.to_numpy(dtype=np.float64, na_value=np.nan))
        except (ValueError, TypeError):
            self._numberless(column)

    def _codes(self, column: pd.Series, categories: pd.Index) -> np.ndarray:
        present = column.notna().to_numpy()
        texts = not pd.api.types.is_numeric_dtype(categories.dtype) and categories.inferred_type == "string"
        if texts and not _categorical(column.dtype) and present.any():
            raise ModelFailure(
                f"The column {column.name!r} holds numbers; the model was trained on {_some(categories)}."
            )
        values = column.to_numpy(dtype=object)
        codes = categories.astype(object).get_indexer(pd.Index(values, dtype=object)).astype(np.float64)
        for row in np.flatnonzero(present & (codes < 0)).tolist() if self.strict else ():
            codes[row] = _cut_short(values[row], categories)
        strange = present & (codes < 0)
        if self.strict and strange.any():
            found = values[strange][0]
            raise ModelFailure(
                f"The column {column.name!r} holds {found!r}, which {self.library} has not seen in training and "
                f"refuses; it knows {_some(categories)}."
            )
        return np.where(codes < 0, np.nan, codes)

    def _numberless(self, column: pd.Series) -> NoReturn:
        found = next(iter(column.dropna()), "")
        raise ModelFailure(
            f"The column {column.name!r} holds {found!r}; this {self.library} model was trained on numbers there, or "
            "does not say which categories its codes stand for. Give numbers."
        )


def _cut_short(value: Any, categories: pd.Index) -> int:
    """The code of a category whose end is lost: NUL stands for each letter that XGBoost did not store; else -1."""
    found = [
        code
        for code, name in enumerate(categories)
        if isinstance(name, str) and "\0" in name and len(str(value)) == len(name)
        and str(value).startswith(name.rstrip("\0"))
    ]  # fmt: skip
    return found[0] if len(found) == 1 else -1


def _categorical(kind: Any) -> bool:
    return isinstance(kind, (pd.CategoricalDtype, pd.StringDtype)) or getattr(kind, "kind", "") == "O"


def _some(categories: pd.Index) -> str:
    shown = ", ".join(repr(value) for value in categories[:6])
    return shown + (", …" if len(categories) > 6 else "")
