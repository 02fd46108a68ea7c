"""Numbers to take away: CSV that a spreadsheet shows and never runs."""

from __future__ import annotations

from typing import Any

import pandas as pd

#: A cell that starts like this is a formula to a spreadsheet.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def csv_text(frame: pd.DataFrame) -> str:
    """The table as CSV; texts that a spreadsheet would run get a leading apostrophe, numbers stay numbers."""
    safe = frame.rename(columns=_inert)
    for place, kind in enumerate(safe.dtypes):
        if not pd.api.types.is_numeric_dtype(kind):
            safe.isetitem(place, safe.iloc[:, place].map(_inert))
    return str(safe.to_csv(index=False, lineterminator="\n"))


def _inert(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    inert = f"'{value}" if value.startswith(_FORMULA) else value
    return inert.replace("\r\n", "\n").replace(
        "\r", "\n"
    )  # a bare \r is not quoted, and starts a row in a spreadsheet
