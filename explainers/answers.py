"""What a predictor answers, as columns of numbers; or in words why that cannot be."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float

from explainers.errors import ModelFailure, TooManyAtOnce


def columns(answer: Any, count: int) -> Float[np.ndarray, "n k"]:
    """The answer for `count` cases, one column for each output; raises `ModelFailure` for another shape, NaN or infinity."""
    values = _numbers(answer)
    if values.ndim == 1 and len(values) == count:
        values = values[:, None]
    if values.ndim != 2 or len(values) != count:
        raise ModelFailure(
            f"The model answered shape {values.shape} for {count} cases; expected ({count},) or ({count}, k)."
        )
    if not np.isfinite(values).all():
        bad = int((~np.isfinite(values)).any(axis=1).sum())
        raise ModelFailure(
            f"The model answered NaN or infinity for {bad} of {count} cases. Check missing values in the data."
        )
    return values


def failure(error: Exception, count: int) -> ModelFailure:
    """What a model raised, in our terms: `TooManyAtOnce` where its memory ran out."""
    text = f"{type(error).__name__}: {error}".splitlines()[0][:300]
    kind = TooManyAtOnce if _out_of_memory(error) else ModelFailure
    return kind(f"The model raised an error while predicting {count} cases. {text}")


def _out_of_memory(error: Exception) -> bool:
    """Whether fewer cases at a time may do: torch, onnxruntime and others say so in words only."""
    text = str(error).lower()
    return isinstance(error, MemoryError) or "out of memory" in text or "failed to allocate" in text


def _numbers(answer: Any) -> np.ndarray:
    if not _numeric(answer):
        return _not_numbers(answer)
    try:
        return np.asarray(answer, dtype=np.float64)
    except (TypeError, ValueError):  # a generator, rows of different lengths
        return _not_numbers(answer)


def _numeric(answer: Any) -> bool:
    kind = getattr(getattr(answer, "dtype", None), "kind", None)
    return (
        kind in "biuf"
        if kind is not None
        else not isinstance(answer, (str, bytes, dict)) and answer is not None
    )


def _not_numbers(answer: Any) -> np.ndarray:
    kind = getattr(answer, "dtype", type(answer).__name__)
    raise ModelFailure(
        f"The model answered {kind}, not numbers. Wrap a function that returns scores or probabilities."
    )
