"""Which column is the truth, which the role, and which are the model's: suggestions for the page that opens a file."""

from __future__ import annotations

import numpy as np
import pandas as pd

from explainers.compatibility import stored_name
from explainers.dataset import Dataset, _roles
from explainers.errors import SchemaMismatch
from explainers.loading.notes import with_notes
from explainers.model import Model
from explainers.schema import _listed

TARGET_NAMES = (
    "target",
    "label",
    "labels",
    "y",
    "class",
    "outcome",
    "truth",
    "diagnosis",
    "response",
    "result",
)
ROLE_NAMES = ("role", "split", "set", "subset", "fold", "partition")


def guess_target(frame: pd.DataFrame, model: Model) -> str | None:
    """The column that holds the truth: one the model does not know, whose values fit its classes; else ``None``.

    A column with a usual name (target, label, class, …) goes first; otherwise it must be the only one that fits.
    """
    unknown = _unknown(frame, model)
    fitting = [name for name in unknown if _fits(frame[name], model)]
    for usual in TARGET_NAMES:
        for name in fitting:
            if name.strip().lower() == usual:
                return name
    spare = model.features is not None or (isinstance(model.inputs, int) and len(unknown) == model.inputs + 1)
    return fitting[0] if spare and len(fitting) == 1 else None


def _unknown(frame: pd.DataFrame, model: Model) -> list[str]:
    names = [str(name) for name in frame.columns]
    known = set(model.features or ())
    return [name for name in names if name not in known and stored_name(name) not in known]


def _fits(column: pd.Series, model: Model) -> bool:
    if column.isna().all():
        return False
    if model.task == "regression":
        return pd.api.types.is_numeric_dtype(column.dtype) and not pd.api.types.is_bool_dtype(column.dtype)
    values = column.dropna().unique()
    if len(values) > len(model.classes):
        return False
    try:
        model.truth(np.asarray(values, dtype=object))
    except SchemaMismatch:
        return False
    return True


def guess_role(frame: pd.DataFrame) -> str | None:
    """The column that says which rows are for training and which for testing, or ``None``."""
    for usual in ROLE_NAMES:
        for name in frame.columns:
            if str(name).strip().lower() == usual and _are_roles(frame[name]):
                return str(name)
    return None


def _are_roles(column: pd.Series) -> bool:
    try:
        return bool((_roles(column) != "unknown").any())
    except SchemaMismatch:
        return False


def align(frame: pd.DataFrame, model: Model, target: str | None = None, role: str | None = None) -> Dataset:
    """The data set for a model: its columns in its order where it knows them, every other column kept aside.

    Raises `SchemaMismatch` naming the columns that are missing, and those that the model does not know.
    """
    notes = frame.attrs.get("notes", ())
    frame = frame.rename(columns=str)
    frame.attrs = {}  # pandas copies attributes with every column
    apart = [name for name in (target, role) if name is not None]
    lacking = [name for name in apart if name not in frame.columns]
    if lacking:
        raise SchemaMismatch(f"There is no column {_listed(lacking)}; there are {_listed(frame.columns)}.")
    names = tuple(name for name in frame.columns if name not in apart)
    sentence = model.columns_mismatch(names)
    if sentence:
        raise SchemaMismatch(sentence)
    if model.features is None:
        return with_notes(Dataset.from_frame(frame, target, role=role), *notes)
    held = {**{stored_name(name): name for name in names}, **{name: name for name in names}}
    wanted = [held[name] for name in model.features]
    extra = [name for name in names if name not in set(wanted)]
    data = Dataset.from_frame(frame[[*wanted, *extra, *apart]], target, role=role, ignore=extra)
    return with_notes(data, *notes)
