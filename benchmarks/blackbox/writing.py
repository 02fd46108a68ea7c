"""What a section of the report holds."""

from __future__ import annotations

import dataclasses
from typing import Any


@dataclasses.dataclass(frozen=True)
class Section:
    """One part of the report.

    Attributes:
        word: to choose it by.
        title: what it answers.
        text: markdown.
        rows: the same as numbers.
        missed: what is worse than wanted, a line each.
    """

    word: str
    title: str
    text: str
    rows: list[dict[str, Any]]
    missed: list[str]
