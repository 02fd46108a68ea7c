"""Any string as one line of characters that can be seen, and can do nothing to the line that they stand in.

What has no picture of its own is shown, not dropped: a NUL as ␀, an override of the reading direction as its code
point. So two names that differ only in what cannot be seen look different.
"""

from __future__ import annotations

import re
from typing import Any

LONGEST = 120

_ISOLATE, _END = "\u2068", "\u2069"
_CLOSED = f"{_ISOLATE}[^\u2066-\u2069]+{_END}"  # as `plain_text` makes them; they hold what is in them

# Control and direction characters, fillers of no width, lone surrogates. The two joiners belong to scripts and to
# emoji; after a letter of ASCII they only hide.
_UNSEEN = re.compile(
    f"({_CLOSED})|["
    "\x00-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f"
    "\u3164\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff\ud800-\udfff"
    "]|(?:(?<=[\x20-\x7e])|(?<![^\\s]))[\u200c\u200d]"
)
_BREAKS = "\t\n\v\f\r\x85\u2028\u2029"
_TURNED = re.compile("[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc\U00010800-\U00010fff\U0001e800-\U0001efff]")


def plain_text(value: Any, most: int = LONGEST) -> str:
    """One line of visible characters, at most `most`.

    A text in a right-to-left script is isolated, so that it does not turn round what stands beside it.

    >>> plain_text("age\\n(years)")
    'age (years)'
    """
    line = " ".join(visible(str(value)[: 4 * most + 64]).split()) or "(no name)"
    if len(line) > most + line.count(_ISOLATE) + line.count(_END):
        line = line[: most - 1].rstrip() + "…"
        line += _END * (line.count(_ISOLATE) - line.count(_END))
    return line if line.isascii() else _isolated(line)


def visible(text: str) -> str:
    """The whole text with a sign for each character that has none; breaks of lines become spaces.

    >>> visible("a\\x00b")
    'a␀b'
    """
    return text if text.isascii() and text.isprintable() else _UNSEEN.sub(_sign, text)


def _sign(found: re.Match[str]) -> str:
    if found[1]:
        return f"{_ISOLATE}{visible(found[1][1:-1])}{_END}"
    code = ord(found[0])
    if found[0] in _BREAKS:
        return " "
    if code < 0x20 or code == 0x7F:
        return chr(0x2400 + code) if code < 0x20 else "␡"
    return "\ufffd" if 0xD800 <= code < 0xE000 else f"⟨U+{code:04X}⟩"


def _isolated(line: str) -> str:
    return f"{_ISOLATE}{line}{_END}" if _TURNED.search(re.sub(_CLOSED, "", line)) else line
