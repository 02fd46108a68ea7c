"""Text from outside inside Streamlit's markdown: shown as it is, with no link, picture, formula or icon made of it.

A backslash keeps the parser off. After it has run, Streamlit goes over the finished text once more and makes links of
bare addresses, icons of `:material_…:`, its logo of `:streamlit:`, emoji of `:smile:` and arrows of `->`; it no longer
sees the backslashes, so these are parted by a word joiner, which has no width and allows no break.
"""

from __future__ import annotations

import re

from dashboard.figures.text import plain_text

JOINER = "\u2060"

_SPECIAL = re.compile(r"([\\`*_{}\[\]()<>#+\-.!|~$:&^@=])")
_REWRITTEN = re.compile(r"(?<=[:@])|(?<=www)(?=\.)|(?<=[<>~-])(?=[>=-])", re.IGNORECASE)


def literal(text: object, most: int = 600) -> str:
    """The text with everything escaped that markdown, its colour and icon directives or LaTeX would read."""
    return _SPECIAL.sub(r"\\\1", _REWRITTEN.sub(JOINER, plain_text(text, most)))
