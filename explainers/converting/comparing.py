"""Whether a converted model predicts as the original does: on what cases, and how far apart."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from explainers.converting.subject import Subject
from explainers.dataset import Dataset
from explainers.errors import ExplainerError, InvalidSetting, ModelFailure
from explainers.model import Model

MOST_ROWS = 5_000
MOST_PICTURES = 200
MADE_UP_ROWS = 200
MADE_UP_PICTURES = 20
SCALES = (0.1, 1.0, 10.0, 100.0, 1000.0)


def sample(cases: Dataset) -> Any:
    """Cases to compare on: all, or evenly through the data where they are many."""
    most = MOST_ROWS if cases.modality == "table" else MOST_PICTURES
    return cases.take(np.unique(np.linspace(0, len(cases) - 1, min(len(cases), most)).astype(np.int64))).X


def made_up(subject: Subject, model: Model) -> Any:
    """Random numbers, small and large for a table, since it is not known on what scale its columns are."""
    names = subject.model.features
    shape = subject.width or (len(names) if names else model.inputs)
    random = np.random.default_rng(0)
    sides = [side for side in shape if side is not None] if isinstance(shape, tuple) else []
    if isinstance(shape, tuple) and len(sides) == len(shape):
        return random.random((MADE_UP_PICTURES, *sides)).astype(np.float32)
    if not isinstance(shape, int):
        raise InvalidSetting(
            "Without data the predictions cannot be compared: it is not known what the model's inputs look like. "
            "Name the data that it works on."
        )
    rows = random.normal(size=(MADE_UP_ROWS, shape)) * np.resize(SCALES, MADE_UP_ROWS)[:, None]
    return pd.DataFrame(rows, columns=list(names) if names else [str(i) for i in range(shape)])


def compare(original: Model, model: Model, X: Any, tolerance: float, made_up: bool) -> tuple[float, float]:
    """The largest difference and the largest allowed; raises `ModelFailure` where it is over it."""
    try:
        before = original.predict(X)
    except ExplainerError as error:
        if not made_up:
            raise
        raise InvalidSetting(
            f"The model does not take made-up rows of numbers ({error}). Name the data that it works on."
        ) from error
    after = model.predict(X)
    if before.shape != after.shape:
        raise ModelFailure(
            f"The original answers {before.shape[1]} outputs for each case, the converted model {after.shape[1]}. "
            "It was not converted."
        )
    found = float(np.abs(before - after).max(initial=0.0))
    allowed = tolerance * max(1.0, float(np.abs(before).max(initial=0.0)))
    if found > allowed:
        share = float((np.abs(before - after).max(axis=1) > allowed).mean())
        raise ModelFailure(
            f"The converted model predicts otherwise than the original: by up to {found:.3g} (allowed is {allowed:.1g}), "
            f"on {share:.1%} of {len(X):,} cases. It was not converted."
        )
    return found, allowed
