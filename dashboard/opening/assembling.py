"""From a model and data to a workspace: the checklist says what does not fit."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

import explainers as ex
from dashboard.opening import columns
from dashboard.workspace import Description, OpenModel, OpenWorkspace


@dataclasses.dataclass(frozen=True)
class Check:
    """One line of the checklist: what was looked at, whether it holds, and what was found or what to do."""

    title: str
    holds: bool
    text: str


def assemble(
    model: ex.Model,
    data: ex.Dataset,
    table: pd.DataFrame | None,
    classes: tuple[str, ...],
    name: str,
    role: str | None = None,
    check: Callable[[ex.Model, ex.Dataset], None] = ex.Model.check,
) -> tuple[OpenWorkspace | None, list[Check]]:
    """The workspace, or ``None`` where the checklist says what does not fit. `role` applies to every row."""
    checks = [
        Check("The model was opened", True, model.family),
        Check("The data were read", True, f"{len(data):,} cases"),
    ]
    try:
        cases = data if table is None else columns.described(data, table, model)
        if role is not None:
            cases = dataclasses.replace(cases, role=np.full(len(cases), role, "<U9"))
        model = (
            model.with_classes(classes) if classes and tuple(map(str, model.classes)) != classes else model
        )
    except ex.ExplainerError as error:
        return None, [*checks, Check("The columns can be used as said", False, str(error))]
    tried = _checked("Model and data fit together, and a prediction was tried", lambda: check(model, cases))
    checks.append(_with_a_way(tried, _other_size(model, cases)))
    if cases.y is not None:
        truth = cases.y
        fits = _checked("The true outcome fits the model's answers", lambda: model.truth(truth))
        checks.append(_with_a_way(fits, _other_names(model, cases)))
    else:
        checks.append(Check("No true outcome: nothing will be said of how well the model does", True, ""))
    if not all(check.holds for check in checks):
        return None, checks
    about = Description(title=name, summary=f"{model.family} on {name}")
    opened = OpenWorkspace(
        cases.digest[:16] + model.digest[-8:],
        about,
        cases,
        (OpenModel("uploaded model", model),),
        cases.schema.target or "",
        private=True,
    )
    return opened, checks


def _with_a_way(check: Check, way: str) -> Check:
    """Where something does not hold, what in the form above mends it."""
    return check if check.holds or not way else dataclasses.replace(check, text=f"{check.text} {way}")


def _other_size(model: ex.Model, cases: ex.Dataset) -> str:
    """Where pictures differ from what the model takes in their sides alone."""
    wanted, shape = model.inputs, cases.schema.shape
    if (
        cases.modality != "image"
        or not isinstance(wanted, tuple)
        or len(wanted) != 3
        or wanted[0] != shape[0]
        or all(side in (None, found) for side, found in zip(wanted, shape, strict=True))
    ):
        return ""
    sides = " × ".join(str(side or found) for side, found in zip(wanted[1:], shape[1:], strict=True))
    return f"Write {sides} into “Size” above, and the pictures are resized to it."


def _other_names(model: ex.Model, cases: ex.Dataset) -> str:
    """Where labels are not the model's classes, or its answers were taken for numbers."""
    if model.task == "classification":
        return "Names of the classes are given above, in the order of the model's outputs."
    return "That is chosen above, under “What does it return?”." if cases.modality == "image" else ""


def _checked(title: str, check: Any) -> Check:
    try:
        check()
    except ex.ExplainerError as error:
        return Check(title, False, str(error))
    return Check(title, True, "")
