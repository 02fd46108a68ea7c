"""Open one's own: from the bytes of a model and of data to a workspace, with everything inferred shown for correction.

`recognise`, `preview`, `assemble` and `checklist` are plain functions; only `draw` and what it calls touch Streamlit.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np
import pandas as pd
import streamlit as st

import explainers as ex
from dashboard import private, session, trust
from dashboard.compute import Crashed, Passing
from dashboard.configuration import settings
from dashboard.markdown import literal
from dashboard.workers import containment
from dashboard.workers.remote import Remote
from dashboard.workspace import Description, FeatureNote, OpenModel, OpenWorkspace, describe

REFUSED = """
**Opened:** ONNX, XGBoost (JSON, UBJ), LightGBM (text), CatBoost (cbm), skops (scikit-learn), safetensors and torch weights
with a declared architecture; tables as CSV, Parquet, Arrow; pictures as a zip of folders or an npz.

**Refused:** pickle, joblib, dill, TorchScript, .pt2, Keras. Opening one of these runs, or may run, code that its author put
into it. On your own machine, `whyboard convert FILE` turns it into a format that holds none. Or save the model again:
`skops.io.dump(model, "model.skops")`, `model.save_model("model.json")`,
`torch.onnx.export(module, example, "model.onnx", dynamo=True)`.
"""

#: Notes on a file that are shown as they are; more of them stand in a box to be opened.
MOST_NOTES = 3

_KINDS = ("number", "integer", "category", "boolean")
_USES = ("feature", "true outcome", "train/test role", "ignore")
_CHANGES = ("actionable", "measured", "immutable")


@dataclasses.dataclass(frozen=True)
class Check:
    """One line of the checklist: what was looked at, whether it holds, and what was found or what to do."""

    title: str
    holds: bool
    text: str


def draw() -> None:
    """Two places to drop files, then what was recognised, then *Open*."""
    again = "'" * st.session_state.get("deletions", 0)  # other keys are other widgets, with nothing in them
    model_file = st.file_uploader(
        "Model", key=f"upload-model{again}", help="A model file; decided by content, not by name."
    )
    data_file = st.file_uploader(
        "Data", key=f"upload-data{again}", help="A table, or pictures in a zip or npz."
    )
    reduced = containment.note()
    if reduced:
        st.warning(literal(reduced), icon=":material/lock_open:")
    st.caption("Kept in this server's memory alone, for you alone, and gone soon after you close this page.")
    with st.expander("What can be opened, and why some files are refused"):
        st.markdown(REFUSED)
    if model_file is None:
        st.session_state.pop("upload-error-model", None)
    model = _model(model_file) if model_file is not None else None
    if model_file is not None and model is not None:
        st.success(literal(f"{model_file.name}: {model.family}, {model.task}"), icon=":material/check:")
        _notes("About the model", (*trust.of_predictions(model), *trust.of_file(model)))
        if data_file is None:
            st.info("Now drop the data that it is to predict.")
    data = (
        _read("data", data_file, lambda: _open_data(data_file.getvalue(), data_file.name))
        if data_file is not None
        else None
    )
    if data_file is not None and data is not None:
        _preview(model, data, data_file.name)
    places = st.session_state.get("places", {}).values()
    if "upload-remote" in st.session_state or any(place.workspace.private for place in places):
        st.button("Delete my uploads now", on_click=session.forget_private, icon=":material/delete:")


def _remote() -> Remote:
    """The process in which this visitor's files are opened."""
    if "upload-remote" not in st.session_state:
        st.session_state["upload-remote"] = private.remote()
    return cast(Remote, st.session_state["upload-remote"])


def _remote_for_another_model() -> Remote:
    """The same process without the model it has, or another one where people still look at that."""
    places = st.session_state.get("places", {}).values()
    if any(place.compute.engine is _remote() for place in places):
        del st.session_state["upload-remote"]
    _remote().forget_models()
    return _remote()


def _open_model(content: bytes, architecture: Any, name: str, trusted: bool) -> ex.Model:
    limits = settings().limits.limits()
    allow = containment.allowed(settings().formats.allow) if trusted else ()
    return _remote_for_another_model().load_model(
        lambda: content, architecture=architecture, name=name, allow=allow, limits=limits
    )


def _open_data(content: bytes, name: str) -> ex.Dataset:
    return _remote().load_dataset(content, name=name, limits=settings().limits.limits())


def _model(file: Any) -> ex.Model | None:
    """The model in a dropped file; bare weights ask for their architecture."""
    declared = st.session_state.get("upload-architecture")
    architecture = declared.getvalue() if declared is not None else None  # read in the worker, like the rest
    trusted = bool(st.session_state.get(_trust_key(file)))
    key = f"{file.file_id}:{declared.file_id if declared is not None else ''}:{trusted}"
    model: ex.Model | None = _read(
        "model", file, lambda: _open_model(file.getvalue(), architecture, file.name, trusted), key
    )
    said = str(st.session_state.get("upload-error-model", ""))
    if trusted or _runs_code(said):
        _offer_trust(file, trusted)
    # A widget that is not drawn forgets what it holds: the architecture stays beside the model it belongs to.
    if declared is not None or (model is None and "architecture" in said):
        st.file_uploader(
            "Architecture (JSON)",
            key="upload-architecture",
            help="The list of layers these weights belong to.",
        )
    return model


def _trust_key(file: Any) -> str:
    """Trust is in one file: another one is asked about again."""
    return f"upload-trust-{file.file_id}"


def _runs_code(refusal: str) -> bool:
    """Whether a file was refused for a format that the operator allows."""
    return any(form.why in refusal for form in ex.FORMATS if form.name in settings().formats.allow)


def _offer_trust(file: Any, given: bool) -> None:
    """A format that runs code, where the operator allows it and the lock has passed its test."""
    if not containment.allowed(settings().formats.allow):
        st.caption(
            "The operator allows this format, but the lock's self-test did not pass here: it stays refused."
        )
        return
    if not given:
        st.warning(
            "Here it can be opened all the same, in a locked process without files or network. The code in it runs there, "
            "and the model can answer falsely.",
            icon=":material/warning:",
        )
    st.checkbox("I know where this file comes from: open it all the same", key=_trust_key(file))


def _read(what: str, file: Any, load: Any, key: str | None = None) -> Any:
    """Read a file once; say what went wrong and keep everything else that was dropped."""
    key = key or file.file_id
    held = st.session_state.get(f"upload-read-{what}")
    if held is None or held[0] != key:
        try:
            held = (key, load(), "", False)
        except ex.ExplainerError as error:
            held = (key, None, str(error), isinstance(error, Passing | Crashed))
        st.session_state[f"upload-read-{what}"] = held
    st.session_state[f"upload-error-{what}"] = held[2]
    if held[2]:
        _failed(what, held[2], again=held[3])
    return held[1]


def _failed(what: str, sentence: str, again: bool) -> None:
    """The sentence; where a second attempt may go better, the way to it."""
    if what == "data" and sentence == st.session_state.get("upload-error-model"):
        return  # said already, with the same button
    st.error(literal(sentence), icon=":material/error:")
    if again:
        st.button(
            "Try again", on_click=_forget_failures, icon=":material/refresh:", key=f"upload-again-{what}"
        )


def _forget_failures() -> None:
    for what in ("model", "data"):
        if st.session_state.get(f"upload-error-{what}"):
            st.session_state.pop(f"upload-read-{what}", None)


def _preview(model: ex.Model | None, data: ex.Dataset, data_name: str) -> None:
    """What was inferred, correctable in place, the checklist, and the button."""
    _notes("About the data", data.notes)
    classes = _class_names(model)
    table: pd.DataFrame | None = None
    if data.modality == "table":
        table = _columns_editor(model, data)
        roles = _train_rows(data, table)
    else:
        st.markdown(f"{len(data):,} pictures of {' × '.join(map(str, data.schema.shape))}")
        roles = None
    if model is None:
        st.info("Now drop the model these data belong to.")
        return
    workspace, checks = assemble(model, data, table, classes, data_name, roles, _remote().check)
    for check in checks:
        icon = ":material/check:" if check.holds else ":material/close:"
        st.markdown(
            f"{icon} {literal(check.title)}" + (f"  \n:small[{literal(check.text)}]" if check.text else "")
        )
    st.button(
        "Open",
        type="primary",
        disabled=workspace is None,
        on_click=_open,
        args=(workspace,),
        width="stretch",
        key="upload-open",
    )


def _notes(title: str, notes: Sequence[str]) -> None:
    """What reading a file found worth saying: one quiet paragraph, what is long folded away."""
    if not notes:
        return
    text = "  \n".join(literal(note) for note in notes)
    if len(notes) <= MOST_NOTES:
        st.caption(text)
    else:
        with st.expander(literal(f"{title}: {len(notes)} notes")):
            st.caption(text)


def _open(workspace: OpenWorkspace) -> None:
    session.open_private(workspace, _remote())
    st.session_state["opened"] = True


def _class_names(model: ex.Model | None) -> tuple[str, ...]:
    """Names for the outputs, as people should read them; positive class second."""
    if model is None or not model.classes:
        return ()
    given = st.text_input(
        "Names of the classes, in output order",
        ", ".join(str(name) for name in model.classes),
        key=f"upload-classes-{model.digest[:12]}",
    )
    names = tuple(part.strip() for part in given.split(","))
    if len(names) != len(model.classes) or len(set(names)) != len(names):
        st.warning(
            f"The model has {len(model.classes)} classes; give as many different names, with commas between them."
        )
        return ()
    return names


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


def _columns_editor(model: ex.Model | None, data: ex.Dataset) -> pd.DataFrame:
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


def _train_rows(data: ex.Dataset, table: pd.DataFrame) -> str | None:
    """Which rows trained the model, where no column says so."""
    if (table["use"] == "train/test role").any():
        return None
    options = ("unknown", "none of these: all are test rows", "all of these")
    chosen = st.selectbox("Which rows trained the model?", options, key=f"upload-trained-{data.digest[:12]}")
    return {options[1]: "test", options[2]: "train"}.get(chosen)


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
        cases = data if table is None else _dataset(data, table, model)
        if role is not None:
            cases = dataclasses.replace(cases, role=np.full(len(cases), role, "<U9"))
        model = (
            model.with_classes(classes) if classes and tuple(map(str, model.classes)) != classes else model
        )
    except ex.ExplainerError as error:
        return None, [*checks, Check("The columns can be used as said", False, str(error))]
    checks.append(
        _checked("Model and data fit together, and a prediction was tried", lambda: check(model, cases))
    )
    if cases.y is not None:
        truth = cases.y
        checks.append(_checked("The true outcome fits the model's answers", lambda: model.truth(truth)))
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


def _dataset(data: ex.Dataset, table: pd.DataFrame, model: ex.Model) -> ex.Dataset:
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


def _checked(title: str, check: Any) -> Check:
    try:
        check()
    except ex.ExplainerError as error:
        return Check(title, False, str(error))
    return Check(title, True, "")
