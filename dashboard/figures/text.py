"""Names as text: whatever a column or a class is called, it is shown and never obeyed.

`plain_text` is for places that show text as text (sentences, tables); `safe_text` is for strings inside Plotly
figures, which are read as Plotly's own small markup.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

from dashboard.figures.numbers import MINUS
from dashboard.figures.plain import LONGEST, plain_text
from explainers import Feature, Schema

__all__ = [
    "LONGEST",
    "WHOLE",
    "distinct",
    "feature_of",
    "label_text",
    "plain_text",
    "safe_text",
    "title_of",
    "title_text",
    "value_text",
    "whole",
]

LONGEST_TITLE = 26
LONGEST_VALUE = 18
LONGEST_LABEL = 32  # beside a bar: a title and its value share it

#: In a tooltip, which shows what was cut; longer than any name that was given to be read.
WHOLE = 300

# "$": where a page has loaded MathJax, Plotly hands it what stands between two of them. "{": Plotly fills in what
# stands in %{…} of a template for the pointer.
_ESCAPED = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", "$": "&#36;", "{": "&#123;"})


def safe_text(value: Any, most: int = LONGEST) -> str:
    """The same for a string inside a Plotly figure: tags, entities and formulas stay the characters they are.

    >>> safe_text("<b>age</b>")
    '&lt;b&gt;age&lt;/b&gt;'
    """
    return plain_text(value, most).translate(_ESCAPED)


def whole(value: Any, shown: str) -> dict[str, str]:
    """What a payload adds where a name was cut: the whole of it for the tooltip, or nothing."""
    full = plain_text(value, WHOLE)
    return {} if full == shown else {"whole": full}


def distinct(texts: Iterable[str]) -> list[str]:
    """The same texts, numbered where one occurs again: what is chosen from a list must be told apart.

    >>> distinct(["a…", "b", "a…"])
    ['a…', 'b', 'a… (2)']
    """
    found: list[str] = []
    for text in texts:
        tries = (text if count == 1 else f"{text} ({count})" for count in itertools.count(1))
        found.append(next(one for one in tries if one not in found))
    return found


def feature_of(schema: Schema, name: str) -> Feature | None:
    """The feature of that name; ``None`` for a group, a channel, a pooled rest."""
    return schema.feature(name) if schema.features and name in schema.names else None


def title_of(schema: Schema, name: str) -> str:
    """What a feature is called, as it came."""
    feature = feature_of(schema, name)
    return feature.title if feature else name


def title_text(schema: Schema, name: str, most: int = LONGEST_TITLE) -> str:
    """What people read for a feature."""
    return plain_text(title_of(schema, name), most)


def value_text(feature: Feature, code: float, most: int = LONGEST_VALUE) -> str:
    """A value with its unit and a true minus sign."""
    shown = feature.show(float(code))
    if not feature.categorical and shown.startswith("-"):
        shown = MINUS + shown[1:]
    return plain_text(shown, most)


def label_text(schema: Schema, name: str, code: float | None, most: int = LONGEST_LABEL) -> str:
    """``age = 63 years``; the title alone where there is no value. What is too long is cut in the title first."""
    feature = feature_of(schema, name)
    if feature is None or code is None:
        return title_text(schema, name, min(most, LONGEST))
    value = value_text(feature, code, LONGEST_VALUE if most <= LONGEST_LABEL else most)
    return f"{title_text(schema, name, max(most - 3 - len(value), 12))} = {value}"
