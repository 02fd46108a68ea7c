"""Text from outside inside Streamlit's markdown: shown as it is, with no link, picture, formula or icon made of it."""

from __future__ import annotations

import re

from dashboard.figures.text import plain_text

_SPECIAL = re.compile(r"([\\`*_{}\[\]()<>#+\-.!|~$:&^@])")


def literal(text: object, most: int = 600) -> str:
    """The text with everything escaped that markdown, its colour and icon directives or LaTeX would read."""
    return _SPECIAL.sub(r"\\\1", plain_text(text, most))
