"""Tables as delimited text (CSV): what is odd is named, and no message holds a cell of a row.

The bytes are parsed as they are; only the first lines are looked at as text, so memory stays near the file's size.
"""

from __future__ import annotations

import contextlib
import csv
import io
import itertools
import re
import warnings

import numpy as np
import pandas as pd

from explainers.errors import SchemaMismatch, UnreadableFile
from explainers.loading.column_names import looks
from explainers.loading.sources import File
from explainers.loading.text_encoding import as_utf8
from explainers.loading.text_layout import Layout, cells_of, find_layout, too_long

LOOKED_AT = 200_000  # rows in which short ones are counted
MISSING = ("?",)  # beside what pandas takes as missing: empty, NA, N/A, NaN, null, None, …


def read_text(file: File) -> pd.DataFrame:
    """A frame from CSV bytes; what was found or is odd stands in ``frame.attrs["notes"]``.

    Raises:
        UnreadableFile: not text, no table, a row too long, an open quote, more than the limits.
        SchemaMismatch: no header row, names that are missing, occur twice or look the same.
    """
    text, notes = as_utf8(file)
    layout = find_layout(file, text)
    _hold_lines(file, layout)
    frame = _parsed(file, layout)
    frame, more = _named(file, frame, layout.names)
    frame.attrs["notes"] = (*notes, *layout.notes, *more, *_short_rows(layout, frame))
    return frame


def _hold_lines(file: File, layout: Layout) -> None:
    """Rows and values before anything is parsed; where cells are quoted lines may be no rows, and the parser counts."""
    lines = max(layout.text.count(b"\n"), layout.text.count(b"\r"))
    if b'"' not in layout.text:
        file.limits.hold(file.name, "rows", lines - 1 - layout.skipped, advice="Use a sample.")
    cells = min(lines, file.limits.rows) * len(layout.names)
    file.limits.hold(file.name, "values", cells, advice="Use fewer rows or columns.")


def _parsed(file: File, layout: Layout) -> pd.DataFrame:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # it means that cells were dropped
            frame = pd.read_csv(
                layout.stream(), sep=layout.separator, decimal=layout.decimal, header=0, names=range(len(layout.names)), index_col=False,
                na_values=list(MISSING), skipinitialspace=True, low_memory=False, nrows=file.limits.rows + 1,
                on_bad_lines="error", encoding="utf-8",
            )  # fmt: skip
    except (
        ValueError,
        OverflowError,
        pd.errors.ParserWarning,
    ) as error:  # the parser's errors are ValueErrors
        raise UnreadableFile(_plainly(file, layout, str(error))) from error
    if len(frame) == 0:
        raise SchemaMismatch(f"The table is empty: {file.name!r} has a header and no rows.")
    file.limits.hold(file.name, "rows", len(frame), advice="Use a sample.")
    for column in frame.select_dtypes(exclude="number").columns:
        longest = frame[column].astype("str").str.len().max()
        file.limits.hold(file.name, "cell_characters", 0 if longest != longest else int(longest))
    return frame


def _plainly(file: File, layout: Layout, error: str) -> str:
    """pandas' message in the user's terms; its own words may hold a cell and are never passed on."""
    ragged = re.search(r"Expected (\d+) fields in line (\d+), saw (\d+)", error)
    if ragged:
        expected, line, found = map(int, ragged.groups())
        return too_long(file, line + layout.skipped, found, expected)
    if "EOF inside string" in error:
        what = "a quote is opened and never closed. Correct the cell, or save the table again."
    elif "Length of header or names" in error or "Too many columns" in error:
        what = "some rows have more cells than the header. Name every column in the first row."
    else:
        what = "its cells do not form rows and columns. Save it again as CSV in UTF-8."
    return f"{file.name!r} cannot be read as a table: {what}"


def _named(file: File, frame: pd.DataFrame, names: tuple[str, ...]) -> tuple[pd.DataFrame, list[str]]:
    """The frame without what has no name and says nothing: an index that counts rows, columns without any value."""
    frame.columns, notes = pd.Index(names, dtype=object), []
    if names[0] == "":
        first = frame.iloc[:, 0].to_numpy()
        if len(names) == 1 or not np.array_equal(first, np.arange(len(frame))):
            raise SchemaMismatch(
                f"The first column of {file.name!r} has no name. Name every column in the first row."
            )
        frame = frame.iloc[:, 1:]
        notes.append("The first column has no name and counts the rows: it was left out.")
    last = max((i for i, name in enumerate(frame.columns, 1) if looks(name)), default=0)
    if not frame.iloc[:, last:].isna().to_numpy().all():
        raise SchemaMismatch(
            f"The last column of {file.name!r} has no name. Name every column in the first row."
        )
    if last < frame.shape[1]:
        notes.append(f"The last columns without name and values were left out ({frame.shape[1] - last}).")
    return frame.iloc[:, :last], notes


def _short_rows(layout: Layout, frame: pd.DataFrame) -> list[str]:
    """Rows with fewer cells than the header; looked for only where the last column lacks values."""
    if layout.width < 2 or not frame.iloc[:, -1].isna().any():
        return []
    text = io.TextIOWrapper(layout.stream(), encoding="utf-8", newline="")
    with contextlib.suppress(csv.Error), cells_of(text, layout.separator) as rows:
        short = [line for line, row in itertools.islice(rows, LOOKED_AT) if row and len(row) < layout.width]
        if short:
            return [
                f"Rows with fewer cells than the header: {len(short):,}, the first in line {short[0] + layout.skipped}. "
                "The cells that lack are taken as missing. Was the file cut short?"
            ]
    return []
