"""How a delimited text is laid out, found from its first lines: separator, decimal sign, header, what stands above it."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import io
import itertools
import re
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from explainers.errors import SchemaMismatch, UnreadableFile
from explainers.loading.column_names import looks, require_names
from explainers.loading.sources import File

SEPARATORS = (",", ";", "\t", "|")
SEPARATOR_WORDS = {";": "semicolons", "\t": "tabulators", "|": "bars"}
SAMPLE_LINES = 200
SAMPLE_BYTES = 1 << 22
COMMA_NUMBER = re.compile(r"[+-]?\d+,\d+")
POINT_NUMBER = re.compile(r"[+-]?\d*\.\d+")
DECLARED = re.compile(r'"?sep=([,;\t|])"?\s*', re.IGNORECASE)  # the line Excel reads first


@dataclasses.dataclass(frozen=True)
class Layout:
    """Where the header starts, what separates cells, and how the columns are called; notes on what was found.

    `width` is the number of cells that a row must have; `names` is longer by one where every row ends in a separator.
    """

    text: bytes
    start: int
    skipped: int
    separator: str
    decimal: str
    names: tuple[str, ...]
    width: int
    notes: tuple[str, ...]

    def stream(self) -> io.BytesIO:
        """The bytes from the header on."""
        stream = io.BytesIO(self.text)
        stream.seek(self.start)
        return stream


def find_layout(file: File, text: bytes) -> Layout:
    """Raises `UnreadableFile` for what is no table, `SchemaMismatch` where the first row is no header."""
    head = text[:SAMPLE_BYTES].decode(errors="ignore")
    lines = list(itertools.islice(io.StringIO(head, newline=""), SAMPLE_LINES))
    if len(text) > SAMPLE_BYTES and len(lines) == 1:
        raise UnreadableFile(
            f"{file.name!r} is no table: its first line has over {SAMPLE_BYTES:,} characters. "
            "Save it as CSV with one line for each row."
        )
    skipped, separator, notes = _preamble(lines)
    body = lines[skipped:]
    rows = _rows(body, separator)
    if not rows:
        raise UnreadableFile(f"{file.name!r} holds no table: it has only empty lines.")
    header, cells = [name.strip() for name in rows[0]], rows[1:]
    file.limits.hold(file.name, "columns", len(header))
    _require_header(file, header, cells)
    width = len(header)
    last = max((i for i, name in enumerate(header, 1) if looks(name)), default=width)
    notes += require_names(file, header[header[0] == "" : last], first=1 + (header[0] == ""))
    if cells and all(len(row) == width + 1 and not row[-1].strip() for row in cells):
        header.append("")  # every row ends in a separator, the header does not
    _refuse_long(file, body, separator, len(header), skipped)
    decimal = _decimal(cells, separator)
    if separator in SEPARATOR_WORDS:
        notes.append(f"Cells are separated by {SEPARATOR_WORDS[separator]}.")
    if decimal == ",":
        notes.append("Numbers have decimal commas.")
    if len(header) == 1:
        notes.append("Only one column was found. Where there are more, separate the cells with commas.")
    start = len("".join(lines[:skipped]).encode())
    return Layout(text, start, skipped, separator, decimal, tuple(header), width, tuple(notes))


def _preamble(lines: list[str]) -> tuple[int, str, list[str]]:
    """How many lines stand above the header (Excel's ``sep=``, comments), and the separator of what follows."""
    declared = DECLARED.fullmatch(lines[0]) if lines else None
    if declared:
        return 1, declared[1], []
    comments = len(list(itertools.takewhile(lambda line: line.startswith("#"), lines)))
    separator = _separator(lines[comments:] or lines)
    if comments and comments < len(lines):
        last, first = _rows(lines[comments - 1 : comments], separator), _rows(lines[comments:], separator)
        if last and first and len(last[0]) == len(first[0]) and len(first[0]) > 1:
            comments -= 1  # a header that begins with '#'
    if not comments or comments == len(lines):
        return 0, separator, []
    return comments, separator, [f"{comments} comment lines above the header were left out."]


@contextlib.contextmanager
def cells_of(lines: Iterable[str], separator: str) -> Iterator[Iterator[tuple[int, list[str]]]]:
    """Rows with the line each ends in; Python refuses cells over 131,072 characters, our own bound comes after it."""
    before = csv.field_size_limit(SAMPLE_BYTES)
    try:
        reader = csv.reader(lines, delimiter=separator, skipinitialspace=True)
        yield ((reader.line_num, row) for row in reader)
    finally:
        csv.field_size_limit(before)


def _rows(sample: list[str], separator: str) -> list[list[str]]:
    with cells_of(sample, separator) as rows:
        return [row for _, row in rows if any(row)]


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


def _require_header(file: File, names: list[str], body: list[list[str]]) -> None:
    """Raise where the first row is one more case: numbers that no one would use as names, or values of its columns."""
    numeric = [name for name in names if _is_number(name)]
    places = [str(i) for i, name in enumerate(names, 1) if _is_number(name)]
    columns = [{row[i].strip() for row in body if i < len(row)} for i in range(len(names))]
    if numeric and not _counts_up(numeric, alone=len(numeric) == len(names)):
        found = f"data, numbers in column {', '.join(places[:6])}"
    elif len(body) > 1 and all(name in column for name, column in zip(names, columns, strict=True)):
        found = "data, values that its columns hold again below"
    else:
        return
    raise SchemaMismatch(
        f"{file.name!r} seems to have no header: its first row is {found}. "
        "Add a first row with the names of the columns."
    )


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


def _refuse_long(file: File, lines: list[str], separator: str, columns: int, skipped: int) -> None:
    """A row with more cells than the header, found among the first lines; later ones are found by the parser."""
    with cells_of(lines, separator) as rows:
        for line, row in rows:
            if len(row) > columns and any(row):
                raise UnreadableFile(too_long(file, line + skipped, len(row), columns))


def too_long(file: File, line: int, found: int, columns: int) -> str:
    """The sentence for a row with more cells than the header."""
    return (
        f"{file.name!r} cannot be read as a table: line {line} has {found} cells, the header {columns}. "
        "Correct the line, or put text with separators in quotes."
    )
