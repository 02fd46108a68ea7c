"""What leaves the page as a file: tables that a spreadsheet shows and never runs, and names that lead nowhere."""

from __future__ import annotations

import re
import secrets
import unicodedata
from collections.abc import Iterator
from typing import Any

import pandas as pd

from dashboard.figures.plain import plain_text, visible
from dashboard.footers import footer, reproduction_line
from explainers import Explanation

APOSTROPHE = "in the CSV, an apostrophe keeps texts from being run as formulas"

#: Characters of a title in a file's name.
LONGEST_FILE_NAME = 48

#: Where a spreadsheet would begin a formula, blanks before it included: at the start, and after what separates cells
#: where a comma does not. Some spreadsheets read the wide signs too; a tab or a break in front is treated alike.
_FORMULA = re.compile(r"(?:^|(?<=[;\t]))(?=\s*[=+\-@＝＋－＠])|^(?=[\t\n])")


def takeaway(
    result: Explanation, frame: pd.DataFrame | None = None, rows: str | None = None
) -> dict[str, str]:
    """What stands under a block: how the result was made, the line that repeats it, and its numbers.

    `frame` has the numbers to save where they are not all of the result; `rows` names its rows in Python.
    """
    table = result.to_frame() if frame is None else frame
    note = f" · {APOSTROPHE}" if any(_FORMULA.search(_lines(text)) for text in _texts(table)) else ""
    return {"footer": footer(result) + note, "code": reproduction_line(result, rows), "csv": csv_text(table)}


def csv_text(frame: pd.DataFrame) -> str:
    """The table as CSV; texts that a spreadsheet would run get a leading apostrophe, numbers stay numbers."""
    safe = frame.rename(columns=cell)
    for place in _text_columns(frame):
        safe.isetitem(place, safe.iloc[:, place].map(cell))
    return str(safe.to_csv(index=False, lineterminator="\n"))


def cell(value: Any) -> Any:
    """A header or a cell: a text that nothing runs, with a sign for each character that cannot be seen."""
    return _FORMULA.sub("'", _lines(value)) if isinstance(value, str) else value


def file_name(title: str, ending: str) -> str:
    """A name for a download: words of the title, and some letters that nobody can guess.

    Only letters, digits and single dashes are taken, so that no name is a path, hidden, an option or a device.

    >>> file_name("../../etc/passwd", "html")[:20]
    'whyboard-etc-passwd-'
    """
    known = unicodedata.normalize("NFKC", plain_text(title, LONGEST_FILE_NAME))
    words = "-".join(re.findall(r"[^\W_]+", known))[:LONGEST_FILE_NAME].strip("-")
    return "-".join(part for part in ("whyboard", words, secrets.token_hex(6)) if part) + f".{ending}"


def _lines(text: str) -> str:
    """Tabs and breaks stay; a bare carriage return, which is not quoted and starts a row, becomes a break."""
    unified = text.replace("\r\n", "\n").replace("\r", "\n")
    return "".join(part if part in ("\t", "\n") else visible(part) for part in re.split("([\t\n])", unified))


def _text_columns(frame: pd.DataFrame) -> list[int]:
    return [at for at, kind in enumerate(frame.dtypes) if not pd.api.types.is_numeric_dtype(kind)]


def _texts(frame: pd.DataFrame) -> Iterator[str]:
    """Every header and every cell that is a text."""
    yield from (name for name in frame.columns if isinstance(name, str))
    for at in _text_columns(frame):
        yield from (value for value in frame.iloc[:, at].unique() if isinstance(value, str))
