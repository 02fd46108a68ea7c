"""Names as text: whatever a column or a class is called, it is shown and never obeyed.

`plain_text` is for places that show text as text (sentences, tables); `safe_text` is for strings inside Plotly
figures, which are read as Plotly's own small markup.
"""

from __future__ import annotations

import unicodedata
from typing import Any

from dashboard.figures.numbers import MINUS
from explainers import Feature, Schema

LONGEST_TITLE = 26
LONGEST_VALUE = 18
LONGEST_LABEL = 32  # beside a bar: a title and its value share it
LONGEST = 120

_JOINERS = "\u200c\u200d"  # Persian, Indic scripts and emoji need them, and they do no harm
_ISOLATE, _END = "\u2068", "\u2069"
# "$" too: where a page has loaded MathJax, Plotly hands it what stands between two of them.
_ESCAPED = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", "$": "&#36;"})


def plain_text(value: Any, most: int = LONGEST) -> str:
    """One line of visible characters, at most `most`; control and direction characters are gone.

    A text in a right-to-left script is isolated, so that it does not turn round what stands beside it.

    >>> plain_text("age\\n(years)")
    'age (years)'
    """
    text = str(value)[: 4 * most + 64]
    simple = text.isascii() and text.isprintable()
    line = " ".join((text if simple else "".join(map(_visible, text))).split()) or "(no name)"
    if len(line) > most:
        line = line[: most - 1].rstrip() + "…"
    turned = not simple and any(
        unicodedata.bidirectional(character) in ("R", "AL", "AN") for character in line
    )
    return f"{_ISOLATE}{line}{_END}" if turned else line


def safe_text(value: Any, most: int = LONGEST) -> str:
    """The same for a string inside a Plotly figure: tags, entities and formulas stay the characters they are.

    >>> safe_text("<b>age</b>")
    '&lt;b&gt;age&lt;/b&gt;'
    """
    return plain_text(value, most).translate(_ESCAPED)


def _visible(character: str) -> str:
    if character in _JOINERS:
        return character
    category = unicodedata.category(character)
    if category in ("Cc", "Zl", "Zp", "Zs"):
        return " " if category != "Zs" else character
    if category == "Cs":
        return "\ufffd"
    return "" if category == "Cf" else character


def feature_of(schema: Schema, name: str) -> Feature | None:
    """The feature of that name; ``None`` for a group, a channel, a pooled rest."""
    return schema.feature(name) if schema.features and name in schema.names else None


def title_text(schema: Schema, name: str, most: int = LONGEST_TITLE) -> str:
    """What people read for a feature."""
    feature = feature_of(schema, name)
    return plain_text(feature.title if feature else name, most)


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
