"""What is odd about data and opened all the same, in sentences for the person who opened them.

Names of columns and counts only, never a cell.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from explainers.dataset import Dataset
from explainers.schema import Feature, _listed

EXACT = 2.0**53  # from here on not every whole number is a float64
LOOK = 256  # rows that decide which columns are compared in full
ENOUGH = 10  # rows from which a column that repeats another is no accident
FEW = 20  # values up to which a column may be the target under other names
THOUSANDS = re.compile(r"\s*[+-]?\d{1,3}([.,' \u00a0]\d{3})+([.,]\d+)?\s*")
PERCENT = re.compile(r"\s*[+-]?\d+([.,]\d+)?\s*%\s*")
DATE = re.compile(r"\s*(\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.]\d{2,4})([T ].*)?\s*")
NUMBER = re.compile(r"\s*[+-]?(\d+([.,]\d*)?|[.,]\d+)([eE][+-]?\d+)?\s*")


def with_notes(data: Dataset, *said: str) -> Dataset:
    """The data with these notes and those on their columns."""
    return data.with_notes(*said, *(about_columns(data) if data.modality == "table" else ()))


def about_columns(data: Dataset) -> Iterator[str]:
    """Notes on the columns of a table, the gravest first."""
    features, codes = data.schema.features, data.matrix
    yield from _target_again(data)
    empty = [f.name for i, f in enumerate(features) if f.missing and np.isnan(codes[:, i]).all()]
    if empty:
        yield f"Columns without any value: {_listed(empty)}."
    constant = [f.name for i, f in enumerate(features) if f.name not in empty and _single(codes[:, i])]
    if constant and len(data) > 1:
        yield f"Constant columns: {_listed(constant)}."
    if len(data) == 1:
        yield "There is one row only: nothing to compare it with."
    yield from _same(data)
    large = [f.name for i, f in enumerate(features) if f.kind == "integer" and _inexact(codes[:, i])]
    if large or any(_digits(f) for f in features):
        large += [f.name for f in features if _digits(f)]
        yield f"Whole numbers above 2^53 are not told apart by models: {_listed(large)}. Leave out what is an id."
    counting = [f.name for i, f in enumerate(features) if len(data) >= ENOUGH and _counts(codes[:, i])]
    if counting:
        yield f"Columns that only count the rows: {_listed(counting)}. Leave them out."
    for sentence, names in _texts(features, len(data)).items():
        yield f"{sentence}: {_listed(names)}."


def _single(column: np.ndarray) -> bool:
    """Whether there is one value; the first rows decide for most columns."""
    for part in (column[:LOOK], column):
        known = part[~np.isnan(part)]
        if len(known) and known.min() != known.max():
            return False
    return True


def _inexact(column: np.ndarray) -> bool:
    return bool(np.nanmax(np.abs(column), initial=0) >= EXACT)


def _counts(column: np.ndarray) -> bool:
    return bool(column[0] in (0, 1) and np.array_equal(column, np.arange(len(column)) + column[0]))


def _target_again(data: Dataset) -> Iterator[str]:
    """Features that hold the truth, as it is or under other names: the model would only have to read it off."""
    if data.y is None or len(data) < ENOUGH:
        return
    truth, values = pd.factorize(pd.Series(data.y))
    codes = data.matrix
    numeric = data.y.dtype.kind in "iufb"
    again = [
        feature.name
        for i, feature in enumerate(data.schema.features)
        if (numeric and _equal(codes[:, i], np.asarray(data.y, np.float64)))
        or (2 <= len(values) <= FEW and np.array_equal(pd.factorize(codes[:, i])[0], truth))
    ]
    if again:
        yield f"The same as the target {data.schema.target!r}: {_listed(again)}. Leave them out: they give the answer away."


def _same(data: Dataset) -> Iterator[str]:
    """Columns that hold the same; the first rows decide which are compared in full."""
    firsts: dict[bytes, list[int]] = {}
    names, codes = data.schema.names, data.matrix
    pairs = []
    for i in range(len(names)) if len(data) >= ENOUGH else ():
        if _single(codes[:, i]):
            continue
        alike = firsts.setdefault((codes[:LOOK, i] + 0.0).tobytes(), [])
        first = next((j for j in alike if _equal(codes[:, i], codes[:, j])), None)
        if first is None:
            alike.append(i)
        else:
            pairs.append((names[first], names[i]))
    if pairs:
        shown = "; ".join(_listed(pair) for pair in pairs[:4])
        yield f"Columns that hold the same values: {shown}{' …' if len(pairs) > 4 else ''}."


def _equal(first: np.ndarray, second: np.ndarray) -> bool:
    return np.array_equal(first, second, equal_nan=True)


def _digits(feature: Feature) -> bool:
    """Whole numbers too long for any number type stay text."""
    found = feature.categories[:LOOK]
    return (
        feature.kind == "category"
        and bool(found)
        and all(re.fullmatch(r"[+-]?\d{16,}", str(v)) for v in found)
    )


def _texts(features: Sequence[Feature], n: int) -> dict[str, list[str]]:
    """Text that was probably meant as numbers or dates, and text that is different in every row."""
    found: dict[str, list[str]] = {}
    for feature in features:
        sentence = _text(feature, n) if feature.kind == "category" else None
        if sentence:
            found.setdefault(sentence, []).append(feature.name)
    return found


def _text(feature: Feature, n: int) -> str | None:
    values = [value for value in feature.categories[:1000] if isinstance(value, str)]
    kinds = {
        "Dates, read as text": DATE,
        "Percent signs, read as text; save the numbers without": PERCENT,
        "Numbers with separated thousands, read as text; save them without": THOUSANDS,
    }
    for sentence, pattern in kinds.items():
        if values and all(pattern.fullmatch(value) for value in values):
            return sentence
    numbers = sum(bool(NUMBER.fullmatch(value)) for value in values)
    if values and len(values) / 2 < numbers < len(values):
        return "Numbers in most cells and text in others, read as text; leave cells empty that are missing"
    if len(feature.categories) == n >= ENOUGH:
        return "Another text in every row: a name or an id; leave it out"
    return None
