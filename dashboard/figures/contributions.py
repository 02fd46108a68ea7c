"""One case's contributions in the order in which people read them: largest first, the small ones pooled."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from dashboard.figures.numbers import Scale, counted, number
from dashboard.figures.text import LONGEST, label_text, safe_text
from explainers import Attribution, Schema

RESOLVED_AT = 2.0  # standard errors
CALCULATION = "error of the calculation, not of the model or the patient"


@dataclasses.dataclass(frozen=True)
class Part:
    """What one feature, or a pooled rest, contributes to one prediction.

    `label` fits beside a bar, `full` is uncut, `note` is read under the pointer. `error` is the standard error of the calculation, 0 where exact; `background_error` what another draw of
    reference cases would change, 0 where unknown.
    """

    names: tuple[str, ...]
    label: str
    full: str
    value: float
    error: float = 0.0
    background_error: float = 0.0
    note: str = ""

    @property
    def pooled(self) -> bool:
        """Whether this is the rest."""
        return len(self.names) != 1

    @property
    def resolved(self) -> bool:
        """Whether the sign is known: the value is more than two standard errors from zero."""
        return self.error == 0 or abs(self.value) > RESOLVED_AT * self.error


def parts(
    attribution: Attribution, schema: Schema, case: np.ndarray | None, row: int = 0, output: int = 0
) -> list[Part]:
    """All contributions to one prediction, largest first; `output` counts where all outputs were explained.

    Raises ``ValueError`` for what has no value per feature (images).
    """
    values = _of(attribution.values, row, output)
    if values.shape != (len(attribution.names),):
        raise ValueError(f"Bars need one value per feature; found shape {attribution.values.shape}.")
    errors = _errors(attribution.standard_error, row, output, len(values))
    spread = _errors(attribution.background_error, row, output, len(values))
    codes = {} if case is None else dict(zip(schema.names, case, strict=True))
    every = [
        Part((name,), *_labels(schema, name, codes.get(name)), float(value), float(error), float(other))
        for name, value, error, other in zip(attribution.names, values, errors, spread, strict=True)
    ]
    return sorted(every, key=lambda part: -abs(part.value) if math.isfinite(part.value) else math.inf)


def pooled(every: Sequence[Part], most: int) -> list[Part]:
    """The `most` largest and one row for the rest; a rest of one is simply shown."""
    if len(every) <= most + 1:
        return list(every)
    rest = every[most:]
    label = counted(len(rest), "other feature")
    return [*every[:most], _sum(tuple(name for part in rest for name in part.names), label, label, rest)]


def in_rows_of(rows: Sequence[Part], every: Sequence[Part]) -> list[Part | None]:
    """The parts of another explanation in the rows of the first; ``None`` where it says nothing."""
    by_name = {part.names[0]: part for part in every}
    aligned: list[Part | None] = []
    for row in rows:
        found = [by_name[name] for name in row.names if name in by_name]
        if len(row.names) == len(found) == 1:
            aligned.append(found[0])
        else:
            aligned.append(_sum(row.names, row.label, row.full, found) if found else None)
    return aligned


def hover_text(part: Part | None, row: Part, scale: Scale, whose: str) -> str:
    """What the pointer reads on a bar: the value, its sign in words, and both errors, each named."""
    if part is None:
        return f"{safe_text(row.full, 250)}<br>no value"
    direction = "raises" if part.value > 0 else "lowers" if part.value < 0 else "neither raises nor lowers"
    lines = [
        safe_text(row.full, 250),
        f"{scale.change(part.value)} {safe_text(scale.axis)}: {direction} {whose}",
    ]
    if part.note:
        lines.append(safe_text(part.note))
    if part.error:
        lines.append(f"± {number(2 * part.error * scale.factor, 2)}: {CALCULATION}")
    if not part.resolved:
        lines.append("not yet resolved: within its error of 0")
    if part.background_error:
        lines.append(
            f"± {number(2 * part.background_error * scale.factor, 2)} with another draw of reference cases"
        )
    return "<br>".join(lines)


def _labels(schema: Schema, name: str, code: float | None) -> tuple[str, str]:
    return label_text(schema, name, code), label_text(schema, name, code, LONGEST)


def _sum(names: tuple[str, ...], label: str, full: str, some: Sequence[Part]) -> Part:
    error = math.hypot(*(part.error for part in some))
    return Part(
        names,
        label,
        full,
        sum(part.value for part in some),
        error,
        math.hypot(*(p.background_error for p in some)),
    )


def level_of(values: np.ndarray, row: int = 0, output: int = 0) -> float:
    """A base value or an output of one case."""
    return float(values[row, output] if values.ndim == 2 else values[row])


def _of(values: np.ndarray, row: int, output: int) -> np.ndarray:
    case: np.ndarray = values[row]
    return case[:, output] if case.ndim == 2 else case


def _errors(errors: np.ndarray | None, row: int, output: int, size: int) -> np.ndarray:
    return np.zeros(size) if errors is None else np.nan_to_num(_of(errors, row, output))
