"""One palette for every picture. The signed pair is for signed things only; all else is grey or the accent."""

from __future__ import annotations

RAISES = "#D6604D"
LOWERS = "#4393C3"
NEUTRAL = "#8B919A"
ACCENT = "#7A6BBF"

# Feature values from low to high: two hues that mean neither direction, both readable on white and near-black.
LOW_TO_HIGH = ((0.0, "#E2B03B"), (0.5, "#C0719A"), (1.0, "#6E56B8"))

# Half-transparent greys are right on a light and on a dark ground.
GRID = "rgba(128,128,128,0.25)"
ZERO = "rgba(128,128,128,0.7)"
ERROR = "rgba(128,128,128,0.95)"
CURVES = "rgba(128,128,128,0.28)"
OUTSIDE = "rgba(128,128,128,0.14)"

FADED = 0.35


def by_sign(value: float) -> str:
    """The colour of a signed value; nothing (zero, NaN) is neutral."""
    return RAISES if value > 0 else LOWERS if value < 0 else NEUTRAL


def tinted(colour: str, opacity: float) -> str:
    """A hex colour with an opacity."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity:g})"
