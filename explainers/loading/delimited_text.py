"""Tables as delimited text (CSV): encoding, separator, decimal sign and header are found, and what is odd is named."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence

import numpy as np
import pandas as pd

from explainers.errors import SchemaMismatch, UnreadableFile
from explainers.loading.sources import File
from explainers.schema import _listed

SEPARATORS = (",", ";", "\t", "|")
SAMPLE_LINES = 200
MISSING = ("?",)  # beside what pandas takes as missing: empty, NA, N/A, NaN, null, None, …
COMMA_NUMBER = re.compile(r"[+-]?\d+,\d+")
POINT_NUMBER = re.compile(r"[+-]?\d*\.\d+")


def read_text(file: File) -> pd.DataFrame:
    """A frame from CSV bytes.

    Raises:
        UnreadableFile: not text, no table, a row too long, an open quote, too many rows or columns.
        SchemaMismatch: no header row, names that are missing or occur twice.
    """
    text = _decoded(file)
    file.limits.hold(file.name, "rows", text.count("\n") - 1, advice="Use a sample.")
    sample = _sample(text)
    separator = _separator(sample)
    rows = _rows(sample, separator)
    if not rows:
        raise UnreadableFile(f"{file.name!r} holds no table: it has only empty lines.")
    header, body = rows[0], rows[1:]
    file.limits.hold(file.name, "columns", len(header))
    names = _names(file, header, body)
    frame = _parsed(file, text, separator, names, _decimal(body, separator))
    return _without_index(file, frame)


def _decoded(file: File) -> str:
    """UTF-8 with or without mark, UTF-16 with a mark, else Windows Latin; anything binary is refused."""
    content = file.content
    try:
        if content.startswith((b"\xff\xfe", b"\xfe\xff")):
            text = content.decode("utf-16")
        else:
            text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        try:
            text = content.decode("cp1252")
        except UnicodeDecodeError as error:
            raise UnreadableFile(
                f"{file.name!r} is not text in UTF-8, UTF-16 or Latin-1 (byte {error.start}). Save it as CSV in UTF-8."
            ) from error
    if re.search(r"[\x00-\x08\x0e-\x1f\x7f]", text):
        raise UnreadableFile(
            f"{file.name!r} is not a text table: it holds binary data. Opened are CSV, Parquet, Arrow, npz and pictures."
        )
    if text[:300].lstrip().lower().startswith(("<!doctype", "<html", "<?xml")):
        raise UnreadableFile(
            f"{file.name!r} is a web page or XML, not a table; the download probably failed. Download it again."
        )
    if text[:300].lstrip().startswith(("{", "[")):
        raise UnreadableFile(
            f"{file.name!r} is JSON, not a table. Save it as CSV: frame.to_csv(path, index=False)."
        )
    return text


def _sample(text: str) -> list[str]:
    """The first lines; a quoted cell may run over several of them, so the last ones may be cut."""
    return text[: 1 << 22].splitlines(keepends=True)[:SAMPLE_LINES]


def _rows(sample: list[str], separator: str) -> list[list[str]]:
    try:
        return [row for row in csv.reader(sample, delimiter=separator, skipinitialspace=True) if any(row)]
    except csv.Error:
        return []


def _separator(sample: list[str]) -> str:
    """The separator that gives every row as many cells as the header, and most of them."""
    best, most = ",", 1
    for separator in SEPARATORS:
        rows = _rows(sample, separator)
        cells = len(rows[0]) if rows else 0
        fitting = sum(len(row) == cells for row in rows)
        if cells > most and fitting >= 0.9 * len(rows):
            best, most = separator, cells
    if most > 1:
        return best
    heads = {separator: sample[0].count(separator) for separator in SEPARATORS} if sample else {",": 0}
    return max(heads, key=lambda separator: heads[separator])


def _decimal(body: list[list[str]], separator: str) -> str:
    """A comma where the cells have decimal commas and no decimal points; impossible where commas separate."""
    if separator == ",":
        return "."
    cells = [cell.strip() for row in body for cell in row]
    commas = sum(bool(COMMA_NUMBER.fullmatch(cell)) for cell in cells)
    points = sum(bool(POINT_NUMBER.fullmatch(cell)) for cell in cells)
    return "," if commas > points else "."


def _names(file: File, header: list[str], body: list[list[str]]) -> list[str]:
    names = [name.strip() for name in header]
    if _looks_like_data(names, body):
        shown = ", ".join(names[:6])
        raise SchemaMismatch(
            f"{file.name!r} seems to have no header: its first row is {shown!r}, which looks like data. "
            "Add a first row with the names of the columns."
        )
    repeated = (
        list(dict.fromkeys(name for name in names if name and names.count(name) > 1))
        if len(set(names)) < len(names)
        else []
    )
    if repeated:
        raise SchemaMismatch(
            f"Column names must be unique; {_listed(repeated)} occur more than once in {file.name!r}."
        )
    unnamed = [i for i, name in enumerate(names) if not name]
    if unnamed and unnamed != [0]:
        raise SchemaMismatch(
            f"Column {unnamed[-1] + 1} of {file.name!r} has no name. Name every column in the first row."
        )
    return names


def _looks_like_data(names: list[str], body: list[list[str]]) -> bool:
    """Whether a first row is one more case: numbers that no one would use as names, or only values of its own columns."""
    numeric = [name for name in names if _is_number(name)]
    if numeric and not _counts_up(numeric, alone=len(numeric) == len(names)):
        return True
    columns = [{row[i].strip() for row in body if i < len(row)} for i in range(len(names))]
    return len(body) > 1 and all(name in column for name, column in zip(names, columns, strict=True))


def _is_number(text: str) -> bool:
    try:
        return bool(np.isfinite(float(text)))
    except ValueError:
        return bool(COMMA_NUMBER.fullmatch(text))


def _counts_up(numeric: Sequence[str], alone: bool) -> bool:
    """Pixel positions and years are names; other numbers are not."""
    if not all(re.fullmatch(r"\d{1,9}", text) for text in numeric):
        return False
    steps = set(np.diff([int(text) for text in numeric]).tolist())
    return steps == {1} if len(numeric) > (1 if alone else 2) else False


def _parsed(file: File, text: str, separator: str, names: list[str], decimal: str) -> pd.DataFrame:
    try:
        frame = pd.read_csv(
            io.StringIO(text), sep=separator, decimal=decimal, header=0, names=names, index_col=False,
            na_values=list(MISSING), skipinitialspace=True, low_memory=False, nrows=file.limits.rows + 1, on_bad_lines="error",
        )  # fmt: skip
    except (
        pd.errors.ParserError,
        pd.errors.ParserWarning,
        pd.errors.EmptyDataError,
        ValueError,
        OverflowError,
    ) as error:
        raise UnreadableFile(f"{file.name!r} cannot be read as a table: {_plainly(str(error))}") from error
    if len(frame) == 0:
        raise SchemaMismatch(f"The table is empty: {file.name!r} has a header and no rows.")
    return frame


def _plainly(error: str) -> str:
    """pandas' message in the user's terms."""
    ragged = re.search(r"Expected (\d+) fields in line (\d+), saw (\d+)", error)
    if ragged:
        expected, line, found = ragged.groups()
        return f"line {line} has {found} cells, the header {expected}. Correct the line, or put text with separators in quotes."
    if "EOF inside string" in error:
        return "a quote is opened and never closed. Correct the cell, or save the table again."
    if "Length of header or names" in error or "Too many columns" in error:
        return "some rows have more cells than the header. Name every column in the first row."
    return error.splitlines()[0][:200]


def _without_index(file: File, frame: pd.DataFrame) -> pd.DataFrame:
    """A nameless first column that counts the rows is the index pandas writes by default: it says nothing."""
    if frame.columns[0] != "":
        return frame
    first = frame.iloc[:, 0]
    if (
        first.dtype.kind == "i"
        and np.array_equal(first.to_numpy(), np.arange(len(frame)))
        and frame.shape[1] > 1
    ):
        return frame.iloc[:, 1:]
    raise SchemaMismatch(
        f"The first column of {file.name!r} has no name. Name every column in the first row."
    )
