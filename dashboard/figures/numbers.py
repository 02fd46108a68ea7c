"""Numbers as people read them: true minus signs, few digits, and the scale never left out."""

from __future__ import annotations

import dataclasses
import math

from dashboard.figures.plain import plain_text

MINUS = "−"
PLUS = "+"
THIN = "\u202f"  # narrow and no break: a figure and its % stay on one line

#: Of a unit, which stands behind every figure.
LONGEST_UNIT = 32


def percent(share: float) -> str:
    """A share of one: ``41 %``, ``0.4 %``, ``under 0.1 %``; certainty is never made up by rounding."""
    if math.isnan(share):
        return "unknown"
    value = 100 * share
    if 0 < value < 0.05:
        return f"under 0.1{THIN}%"
    if 99.95 <= value < 100:
        return f"over 99.9{THIN}%"
    decimals = 1 if 0 < abs(value) < 0.95 or 99.05 < value < 100 else 0
    return f"{fixed(value, decimals)}{THIN}%"


def number(value: float, digits: int = 4) -> str:
    """About `digits` significant digits, without exponent where that stays readable: ``152.3``, ``−0.04``."""
    if math.isnan(value):
        return "unknown"
    if value == 0:
        return "0"
    if not 1e-4 <= abs(value) < 1e9:
        return _true_minus(f"{value:.{digits - 1}g}")
    decimals = min(max(0, digits - 1 - math.floor(math.log10(abs(value)))), 8)
    text = f"{value:,.{decimals}f}"
    return _true_minus(text.rstrip("0").rstrip(".") if "." in text else text)


def fixed(value: float, decimals: int) -> str:
    """A fixed number of decimals; what rounds to zero has no sign."""
    text = f"{value:,.{decimals}f}"
    return _true_minus(text if float(text.replace(",", "")) else text.lstrip("-"))


def r_squared(fit: float) -> str:
    """``.64``, as papers print it."""
    if math.isnan(fit):
        return "unknown"
    return _true_minus(f"{fit:.2f}".replace("0.", ".", 1))


def counted(count: int, one: str, many: str = "") -> str:
    """``1 case``, ``61 cases``."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def _true_minus(text: str) -> str:
    return MINUS + text[1:] if text.startswith("-") else text


@dataclasses.dataclass(frozen=True)
class Scale:
    """How predictions and contributions in one space are written.

    `unit` is the target's unit; for raw scores it replaces "log-odds" where the score is something else.
    """

    space: str
    unit: str = ""

    def __post_init__(self) -> None:
        """A unit comes from a file, and every text and axis takes it from here."""
        if self.unit:
            object.__setattr__(self, "unit", plain_text(self.unit, LONGEST_UNIT))

    @property
    def factor(self) -> float:
        """What values are multiplied with before they are drawn."""
        return 100.0 if self.space == "probability" else 1.0

    @property
    def axis(self) -> str:
        """The title of an axis of contributions."""
        if self.space == "probability":
            return "percentage points"
        if self.space == "raw":
            return self.unit or "log-odds (raw score)"
        return self.unit or "units of the target"

    @property
    def level_axis(self) -> str:
        """The title of an axis of predictions."""
        if self.space == "probability":
            return "model's estimate, %"
        if self.space == "raw":
            return f"raw score, {self.unit or 'log-odds'}"
        return f"model's estimate, {self.unit}" if self.unit else "model's estimate"

    @property
    def noun(self) -> str:
        """What a prediction in this space is called."""
        return "score" if self.space == "raw" else "estimate"

    def level(self, value: float) -> str:
        """A prediction: ``41 %``, ``1.3 log-odds``, ``152.3 mg/dL``."""
        if self.space == "probability" or math.isnan(value):
            return percent(value)
        if self.space == "raw":
            return f"{self._size(value)} {self.unit or 'log-odds'}"
        return f"{number(value)} {self.unit}".rstrip()

    def figure(self, value: float) -> str:
        """A prediction without its unit, for where the axis states it; a % stays."""
        return percent(value) if self.space == "probability" or math.isnan(value) else self._size(value)

    def change(self, value: float) -> str:
        """A contribution without its unit: ``+14``, ``−9``, ``+0.4``."""
        text = self._size(value * self.factor)
        return text if value <= 0 or text in ("0", "unknown") else PLUS + text

    def amount(self, value: float) -> str:
        """The size of a contribution with its unit: ``14 points``, ``1 point``, ``0.8 log-odds``."""
        size = self._size(abs(value) * self.factor)
        if self.space == "probability":
            return f"{size} point" if size == "1" else f"{size} points"
        return f"{size} {self.unit or ('log-odds' if self.space == 'raw' else '')}".rstrip()

    def size(self, value: float) -> str:
        """The same without the unit."""
        return self._size(abs(value) * self.factor)

    def _size(self, value: float) -> str:
        if math.isnan(value):
            return "unknown"
        if self.space == "target":
            return number(value, 3)
        small = 2.95 if self.space == "probability" else 100.0
        if abs(value) >= small:
            return fixed(value, 0)
        text = fixed(value, 1 if self.space == "probability" else 2)
        return text.rstrip("0").rstrip(".") if "." in text else text
