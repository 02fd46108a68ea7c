"""The data a model works on: cases, their truth, their role, and the schema that names the features."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from explainers.digest import digest_of
from explainers.errors import InvalidSetting, SchemaMismatch
from explainers.schema import Modality, Schema, _listed, infer_schema, require_table

ROLES = ("train", "calibrate", "test", "unknown")

#: Draws of reference cases that a data set keeps.
REFERENCES = 4


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """Cases in the order of the file; frozen, so that its digest stays true.

    Attributes:
        X: what the model is given: a DataFrame with one column per feature, or float32 images ``(n, c, h, w)``,
            a list of texts, sequences ``(n, t, c)``.
        schema: the features, the target's name and the modality.
        y: the truth, ``(n,)`` labels or numbers, or ``None``.
        role: ``(n,)`` of `ROLES`; performance uses test rows, reference cases come from training rows.
        extra: columns kept to look at and never given to the model, or ``None``.
        notes: what loading found odd and opened all the same, one sentence each; no part of the digest.
    """

    X: Any
    schema: Schema
    y: np.ndarray | None = None
    role: np.ndarray = dataclasses.field(default_factory=lambda: np.empty(0, "<U9"))
    extra: pd.DataFrame | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if len(self.role) == 0:
            object.__setattr__(self, "role", np.full(len(self.X), "unknown", "<U9"))

    @classmethod
    def from_frame(
        cls,
        frame: pd.DataFrame,
        target: str | None = None,
        *,
        schema: Schema | None = None,
        role: str | None = None,
        ignore: Sequence[str] = (),
    ) -> Dataset:
        """A table; `target`, `role` and the `ignore` columns are split off and are not features.

        Raises `SchemaMismatch` for duplicate or missing columns, an empty table and infinite values, each named.

        >>> Dataset.from_frame(pd.DataFrame({"age": [63, 41], "died": [1, 0]}), target="died").schema.names
        ('age',)
        """
        apart = [name for name in (target, role, *ignore) if name is not None]
        if apart or schema is None or frame.empty or not schema.names_columns_of(frame):
            frame = frame.reset_index(drop=True)
            frame.columns = pd.Index([str(name) for name in frame.columns])
            require_table(frame)
        for name in apart:
            if name not in frame.columns:
                raise SchemaMismatch(f"There is no column {name!r}; there are {_listed(frame.columns)}.")
        if schema is None:
            features = frame.drop(columns=apart)
            if features.shape[1] == 0:
                raise SchemaMismatch("No feature is left: every column is the target, the role or ignored.")
            schema = infer_schema(features)
        codes = schema.encode(frame)
        _refuse_infinite(codes, schema)
        data = cls(
            schema.decode(codes),
            schema.with_target(target),
            y=_truth(frame[target]) if target else None,
            role=_roles(frame[role]) if role else np.empty(0, "<U9"),
            extra=frame[list(ignore)] if ignore else None,
        )
        data.__dict__["matrix"] = codes
        return data

    @classmethod
    def from_images(
        cls,
        array: np.ndarray,
        labels: Sequence[Any] | np.ndarray | None = None,
        *,
        role: Sequence[str] | np.ndarray | None = None,
        pixel_scale: float | int | None = None,
    ) -> Dataset:
        """Images ``(n, h, w)``, ``(n, h, w, c)`` or ``(n, c, h, w)``; the model is given ``pixels / pixel_scale``.

        `pixel_scale` is 255 for bytes and 1 for floats unless stated. Raises `SchemaMismatch` for other shapes
        and for values that are not finite.
        """
        array = np.asarray(array)
        scale = pixel_scale or (255.0 if array.dtype == np.uint8 else 1.0)
        ordered = _channels_first(array)
        pixels = np.ascontiguousarray(ordered, dtype=np.float32)
        if scale != 1.0:
            own = None if np.may_share_memory(pixels, array) else pixels  # never into the caller's array
            pixels = np.divide(pixels, np.float32(scale), out=own)
        finite = np.array([np.isfinite(picture).all() for picture in pixels])
        if not finite.all():
            raise SchemaMismatch(
                f"Some pixels are NaN or infinite, first in picture {int(np.argmin(finite)) + 1}; "
                "replace them before opening."
            )
        schema = Schema(modality="image", shape=pixels.shape[1:], pixel_scale=float(scale))
        return cls._of(pixels, schema, labels, role)

    @classmethod
    def from_texts(
        cls, texts: Sequence[str] | np.ndarray | pd.Series, labels: Sequence[Any] | np.ndarray | None = None
    ) -> Dataset:
        """Texts, one string per case; a missing one is empty. Raises `SchemaMismatch` for a single string."""
        if isinstance(texts, str):
            raise SchemaMismatch("Texts are a sequence of strings; got one string. Put it into a list.")
        # a numpy string is a string too, but prints otherwise
        plain = ["" if pd.isna(text) is True else str(text) for text in texts]
        return cls._of(plain, Schema(modality="text"), labels, None)

    @classmethod
    def from_sequences(cls, array: np.ndarray, labels: Sequence[Any] | None = None) -> Dataset:
        """Sequences or time series ``(n, t, c)``; ``(n, t)`` is one channel."""
        values = np.asarray(array, dtype=np.float32)
        values = values[..., None] if values.ndim == 2 else values
        if values.ndim != 3:
            raise SchemaMismatch(f"Sequences have shape (n, t, c); got {values.shape}.")
        return cls._of(values, Schema(modality="sequence", shape=values.shape[1:]), labels, None)

    @classmethod
    def _of(cls, X: Any, schema: Schema, labels: Any, role: Any) -> Dataset:
        if len(X) == 0:
            raise SchemaMismatch("There are no cases in these data.")
        y = None if labels is None else np.asarray(labels)
        if y is not None and len(y) != len(X):
            raise SchemaMismatch(f"There are {len(X)} cases but {len(y)} labels.")
        return cls(X, schema, y, np.empty(0, "<U9") if role is None else _roles(pd.Series(np.asarray(role))))

    def __len__(self) -> int:
        return len(self.X)

    def __repr__(self) -> str:
        """One line: how many cases, of what, and what is known of them."""
        roles = (f"{np.sum(self.role == role)} {role}" for role in np.unique(self.role) if role != "unknown")
        what = (
            _listed(self.schema.names)
            if self.modality == "table"
            else " × ".join(map(str, self.schema.shape))
        )
        target = f"target {self.schema.target!r}" if self.schema.target else "labelled"
        parts = [f"{len(self):,} cases", *roles, f"{self.modality} of {what}" if what else self.modality]
        return f"Dataset({', '.join(parts if self.y is None else [*parts, target])})"

    @property
    def modality(self) -> Modality:
        """``table``, ``image``, ``text`` or ``sequence``."""
        return self.schema.modality

    @cached_property
    def matrix(self) -> Float[np.ndarray, "n d"]:
        """Codes of a table, float64; see `explainers.schema`."""
        if self.modality != "table":
            raise InvalidSetting(
                f"Only tables have a matrix of codes; these data are of modality {self.modality!r}."
            )
        return self.schema.encode(self.X)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of content and schema: a corrected schema is other data."""
        content = digest_of(*self.X) if isinstance(self.X, list) else self.X
        return digest_of(content, self.schema, self.y if self.y is not None else b"", self.role)

    def with_notes(self, *notes: str) -> Dataset:
        """The same data with these notes, each said once."""
        data = dataclasses.replace(self, notes=tuple(dict.fromkeys(notes)))
        data.__dict__.update(
            {key: self.__dict__[key] for key in ("matrix", "digest") if key in self.__dict__}
        )
        return data

    def take(self, rows: Sequence[Any] | np.ndarray) -> Dataset:
        """The cases at these positions, in this order."""
        index = positions(rows, len(self))
        if isinstance(self.X, pd.DataFrame):
            X: Any = self.X.take(index).reset_index(drop=True)
        else:
            X = [self.X[i] for i in index] if isinstance(self.X, list) else self.X[index]
        y = None if self.y is None else self.y[index]
        extra = None if self.extra is None else self.extra.take(index).reset_index(drop=True)
        part = Dataset(X, self.schema, y, self.role[index] if len(index) else np.empty(0, "<U9"), extra)
        if "matrix" in self.__dict__:
            part.__dict__["matrix"] = self.matrix[index]
        return part

    def with_matrix(self, codes: Float[np.ndarray, "n d"]) -> Dataset:
        """Cases made from codes, with this schema and no truth: edited cases, masked cases."""
        cases = Dataset(self.schema.decode(codes), self.schema)
        cases.__dict__["matrix"] = codes
        return cases

    def rows(self, *roles: str) -> np.ndarray:
        """Positions of the cases with one of these roles."""
        return np.flatnonzero(np.isin(self.role, roles))

    def sample(self, size: int, seed: int = 0, role: str = "train") -> np.ndarray:
        """Positions of a seeded sample, from the cases of `role` where any are known, else from all; sorted."""
        pool = self.rows(role)
        pool = pool if len(pool) else np.arange(len(self))
        if len(pool) <= size:
            return pool
        return np.sort(np.random.default_rng(seed).choice(pool, size=size, replace=False))

    def reference(self, size: int, seed: int = 0) -> Dataset:
        """The cases of `sample`; the last few draws are kept, since the next question usually has the same."""
        kept: dict[tuple[int, int], Dataset] = self.__dict__.setdefault("_references", {})
        if (size, seed) not in kept:
            if len(kept) >= REFERENCES:
                kept.clear()
            kept[size, seed] = self.take(self.sample(size, seed))
        return kept[size, seed]


def positions(rows: Sequence[Any] | np.ndarray, n: int) -> np.ndarray:
    """Row positions as an int64 array; raises `InvalidSetting` outside ``0..n-1`` or for what is not an integer."""
    try:
        index = np.asarray(rows)
    except ValueError:
        index = np.empty(1, dtype=object)  # rows of unequal lengths
    if index.size == 0:
        return np.empty(0, np.int64)
    if index.ndim != 1 or index.dtype.kind not in "iu":
        raise InvalidSetting(f"Rows are a sequence of whole positions; got {str(rows)[:60]}.")
    if index.min() < 0 or index.max() >= n:
        raise InvalidSetting(f"Rows must lie in 0..{n - 1}; got {index.min()}..{index.max()}.")
    return index.astype(np.int64)


def _truth(column: pd.Series) -> np.ndarray:
    if column.isna().all():
        raise SchemaMismatch(f"The target {column.name!r} has no value in any row.")
    if pd.api.types.is_numeric_dtype(column.dtype) and isinstance(column.dtype, np.dtype):
        if np.isinf(column.to_numpy(dtype=np.float64)).any():
            raise SchemaMismatch(f"Infinite values in the target {column.name!r}. Replace them.")
        return np.asarray(column.to_numpy())
    return np.asarray(column.astype(object).to_numpy(), dtype=object)


_ROLE_WORDS = {
    "training": "train",
    "testing": "test",
    "valid": "test",
    "validation": "test",
    "holdout": "test",
    "none": "unknown",
    "nan": "unknown",
    "": "unknown",
}


def _roles(column: pd.Series) -> np.ndarray:
    text = (
        column.astype(object)
        .where(column.notna(), "unknown")
        .astype(str)
        .str.strip()
        .str.lower()
        .replace(_ROLE_WORDS)
    )
    unknown = sorted(set(text) - set(ROLES))
    if unknown:
        raise SchemaMismatch(f"Row roles are {', '.join(ROLES)}; found {_listed(unknown, 3)}.")
    return np.asarray(text.to_numpy(), dtype="<U9")


def _refuse_infinite(codes: Float[np.ndarray, "n d"], schema: Schema) -> None:
    if not np.isinf(codes).any():
        return
    infinite = [schema.names[i] for i in np.flatnonzero(np.isinf(codes).any(axis=0))]
    raise SchemaMismatch(
        f"Infinite values in {_listed(infinite)}. Replace them, or leave them empty (missing)."
    )


def _channels_first(array: np.ndarray) -> np.ndarray:
    if array.ndim == 3:
        return array[:, None]
    if array.ndim == 4 and array.shape[1] in (1, 3, 4):
        return array
    if array.ndim == 4 and array.shape[3] in (1, 3, 4):
        return np.moveaxis(array, 3, 1)
    if array.ndim == 4:
        return array
    raise SchemaMismatch(f"Images have shape (n, h, w), (n, h, w, c) or (n, c, h, w); got {array.shape}.")
