"""The columns of an uploaded table: what each is for, as inferred and as corrected by hand."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

import explainers as ex
from dashboard.workspace import FeatureNote, describe

_KINDS = ("number", "integer", "category", "boolean")
_USES = ("feature", "true outcome", "train/test role", "ignore")
_CHANGES = ("actionable", "measured", "immutable")


def preview(model: ex.Model | None, data: ex.Dataset) -> pd.DataFrame:
    """The columns of a table as inferred: one row each with use, kind, unit and whether it can be changed."""
    frame = data.X
    target = ex.guess_target(frame, model) if model is not None else None
    role = ex.guess_role(frame)
    known = None if model is None else model.features

    def use(name: str) -> str:
        if name == target:
            return "true outcome"
        if name == role:
            return "train/test role"
        stored = name.replace(" ", "_")  # as LightGBM keeps it
        return "ignore" if known is not None and name not in known and stored not in known else "feature"

    return pd.DataFrame(
        {
            "column": [feature.name for feature in data.schema.features],
            "use": [use(feature.name) for feature in data.schema.features],
            "kind": [feature.kind for feature in data.schema.features],
            "unit": ["" for _ in data.schema.features],
            "change": ["actionable" for _ in data.schema.features],
            "example": [feature.show(data.matrix[0, j]) for j, feature in enumerate(data.schema.features)],
        }
    )


def edited(model: ex.Model | None, data: ex.Dataset) -> pd.DataFrame:
    st.markdown(
        f"{len(data):,} rows, {len(data.schema.features)} columns. Correct what was inferred wrongly:"
    )
    choices = {
        "column": st.column_config.TextColumn("Column", disabled=True),
        "use": st.column_config.SelectboxColumn("Use", options=_USES, required=True),
        "kind": st.column_config.SelectboxColumn("Kind", options=_KINDS, required=True),
        "unit": st.column_config.TextColumn("Unit"),
        "change": st.column_config.SelectboxColumn("Can it change?", options=_CHANGES, required=True),
        "example": st.column_config.TextColumn("First row", disabled=True),
    }
    key = f"upload-columns-{data.digest[:12]}-{model.digest[:12] if model is not None else ''}"
    edited = st.data_editor(
        preview(model, data),
        column_config=choices,
        hide_index=True,
        width="stretch",
        key=key,
        height=min(320, 38 + 36 * len(data.schema.features)),
    )
    assert isinstance(edited, pd.DataFrame)
    return edited


def train_rows(data: ex.Dataset, table: pd.DataFrame) -> str | None:
    """Which rows trained the model, where no column says so."""
    if (table["use"] == "train/test role").any():
        return None
    options = ("unknown", "none of these: all are test rows", "all of these")
    chosen = st.selectbox("Which rows trained the model?", options, key=f"upload-trained-{data.digest[:12]}")
    return {options[1]: "test", options[2]: "train"}.get(chosen)


def described(data: ex.Dataset, table: pd.DataFrame, model: ex.Model) -> ex.Dataset:
    """The table with the corrected uses and kinds."""
    uses = dict(zip(table["column"], table["use"], strict=True))
    target = [name for name, use in uses.items() if use == "true outcome"]
    roles = [name for name, use in uses.items() if use == "train/test role"]
    for names, what in ((target, "true outcome"), (roles, "train/test role")):
        if len(names) > 1:
            raise ex.SchemaMismatch(
                f"Only one column can be the {what}; you chose {', '.join(map(repr, names))}."
            )
    ignore = [name for name, use in uses.items() if use == "ignore"]
    columns = tuple(name for name in uses if name not in (*target, *roles))
    lacking = model.columns_mismatch(columns) if model.features is not None else None
    if lacking:  # said before nothing is left of data that belong to another model
        raise ex.SchemaMismatch(lacking)
    cases = ex.Dataset.from_frame(
        data.X, target[0] if target else None, role=roles[0] if roles else None, ignore=ignore
    )
    cases = cases.with_notes(*data.notes)
    features = {feature.name: feature for feature in cases.schema.features}
    notes = tuple(
        _note(row, features[row.column], data) for row in table.itertuples() if row.column in features
    )
    cases = describe(cases, notes)
    sentence = model.mismatch(cases)
    if sentence:
        raise ex.SchemaMismatch(sentence)
    return cases


def _note(row: Any, feature: ex.Feature, data: ex.Dataset) -> FeatureNote:
    """One row of the editor; a number that becomes a category takes the values it has."""
    categories = None
    if row.kind in ("category", "boolean") and not feature.categorical:
        categories = tuple(sorted(data.X[feature.name].dropna().unique().tolist()))
        if len(categories) > 200:
            raise ex.SchemaMismatch(
                f"{feature.name!r} has {len(categories):,} different values: too many for a category. Keep it a number, or ignore it."
            )
    return FeatureNote(
        name=feature.name, kind=row.kind, unit=row.unit or None, change=row.change, categories=categories
    )
