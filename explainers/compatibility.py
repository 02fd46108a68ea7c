"""Whether data have what a model takes, and in one sentence what they lack."""

from __future__ import annotations

import math

from explainers.schema import _listed

#: How many columns a model takes, or the shape of one case (``None`` where a side is open); ``None`` where nobody knows.
Inputs = int | tuple[int | None, ...] | None


def of_cases(inputs: Inputs, shape: tuple[int, ...]) -> str | None:
    """Why pictures or sequences of this shape are not what the model takes; ``None`` where they are."""
    if isinstance(inputs, int) and shape and inputs != math.prod(shape):
        return f"The model takes {inputs} numbers for each case; these data have {_sides(shape)} = {math.prod(shape)}."
    if isinstance(inputs, tuple) and shape and not _fits(inputs, shape):
        return f"The model takes cases of shape {_sides(inputs)}; these data have {_sides(shape)}."
    return None


def of_columns(features: tuple[str, ...] | None, inputs: Inputs, names: tuple[str, ...]) -> str | None:
    """Why columns of these names are not the model's; ``None`` where they are, or more than them."""
    if features is not None:
        return _of_named(features, names)
    if isinstance(inputs, tuple):
        return f"The model takes cases of shape {_sides(inputs)} (pictures or sequences); these data are a table."
    if inputs is None or inputs == len(names):
        return None
    found = f"The model takes {inputs} columns; these data have {len(names)}: {_listed(names)}."
    if inputs < len(names):
        return f"{found} Name the target, or leave {len(names) - inputs} out with ignore=[…]."
    return f"{found} {inputs - len(names)} are missing."


def _of_named(features: tuple[str, ...], names: tuple[str, ...]) -> str | None:
    known, held = set(features), {*names, *(stored_name(name) for name in names)}
    missing = [name for name in features if name not in held]
    extra = [name for name in names if name not in known and stored_name(name) not in known]
    more = f" Columns the model does not know: {_listed(extra)}." if extra else ""
    return f"The model needs {_listed(missing)}, which the data lack.{more}" if missing else None


def stored_name(name: str) -> str:
    """A column's name as LightGBM stores it: it replaces blanks."""
    return name.replace(" ", "_")


def _fits(wanted: tuple[int | None, ...], shape: tuple[int, ...]) -> bool:
    return len(wanted) == len(shape) and all(
        side in (None, found) for side, found in zip(wanted, shape, strict=True)
    )


def _sides(shape: tuple[int | None, ...]) -> str:
    return " × ".join("any" if side is None else str(side) for side in shape)
