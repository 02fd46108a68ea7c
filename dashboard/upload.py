"""Open one's own: two places to drop files, what was recognised in them, and the button; its parts are in `dashboard.opening`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import pandas as pd
import streamlit as st

import explainers as ex
from dashboard import private, session, trust
from dashboard.compute import Crashed, Passing
from dashboard.configuration import settings
from dashboard.markdown import literal
from dashboard.opening import columns, pictures
from dashboard.opening.assembling import assemble
from dashboard.opening.preparing import Said
from dashboard.workers import containment
from dashboard.workers.remote import Remote
from dashboard.workspace import OpenWorkspace

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
    model = _model(model_file, data_file) if model_file is not None else None
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
        _preview(model, data, model_file, data_file)
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


def _open_model(content: bytes, architecture: Any, name: str, trusted: bool, said: Said) -> ex.Model:
    limits = settings().limits.limits()
    allow = containment.allowed(settings().formats.allow) if trusted else ()
    return _remote_for_another_model().load_model(
        lambda: content,
        architecture=architecture,
        name=name,
        allow=allow,
        limits=limits,
        output=said.output,
        preparation=said.preparation,
    )


def _open_data(content: bytes, name: str) -> ex.Dataset:
    return _remote().load_dataset(content, name=name, limits=settings().limits.limits())


def _model(file: Any, data_file: Any) -> ex.Model | None:
    """The model in a dropped file, behind what was said of its pictures; bare weights ask for their architecture."""
    declared = st.session_state.get("upload-architecture")
    architecture = declared.getvalue() if declared is not None else None  # read in the worker, like the rest
    trusted = bool(st.session_state.get(_trust_key(file)))
    about = pictures.stated(_held_data(data_file), _both(file, data_file))
    model: ex.Model | None = _read(
        "model",
        file,
        lambda: _open_model(file.getvalue(), architecture, file.name, trusted, about),
        f"{_model_key(file)}:{about}",
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


def _model_key(file: Any) -> str:
    """What makes the model another one, but for what is said of its pictures."""
    declared = st.session_state.get("upload-architecture")
    trusted = bool(st.session_state.get(_trust_key(file)))
    return f"{file.file_id}:{declared.file_id if declared is not None else ''}:{trusted}"


def _held_data(file: Any) -> Any:
    """The data as they were read in an earlier run, where they are those of this file."""
    held = st.session_state.get("upload-read-data")
    return held[1] if file is not None and held is not None and held[0] == file.file_id else None


def _both(model_file: Any, data_file: Any) -> str:
    """What is said of pictures is said of these files; of others nothing is."""
    return f"{model_file.file_id}-{data_file.file_id if data_file is not None else ''}"


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


def _preview(model: ex.Model | None, data: ex.Dataset, model_file: Any, data_file: Any) -> None:
    """What was inferred, correctable in place, the checklist, and the button."""
    _notes("About the data", data.notes)
    classes = _class_names(model, "" if model_file is None else _model_key(model_file))
    table: pd.DataFrame | None = None
    roles, usable = None, True
    if data.modality == "table":
        table = columns.edited(model, data)
        roles = columns.train_rows(data, table)
    else:
        st.markdown(f"{len(data):,} pictures of {' × '.join(map(str, data.schema.shape))}")
        if model_file is not None and data.modality == "image":
            usable = pictures.ask(data, _both(model_file, data_file))
    if model is None:
        if model_file is None:  # one that was refused has been told of above
            st.info("Now drop the model these data belong to.")
        return
    if not usable:
        st.markdown(":material/close: What the model expects cannot be used as it is written: see above")
        st.button("Open", type="primary", disabled=True, width="stretch", key="upload-open")
        return
    workspace, checks = assemble(model, data, table, classes, data_file.name, roles, _remote().check)
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


def _class_names(model: ex.Model | None, of: str) -> tuple[str, ...]:
    """Names for the outputs of a file, as people should read them; positive class second."""
    if model is None or not model.classes:
        return ()
    given = st.text_input(
        "Names of the classes, in output order",
        ", ".join(str(name) for name in model.classes),
        key=f"upload-classes-{of}-{len(model.classes)}",
    )
    names = tuple(part.strip() for part in given.split(","))
    if len(names) != len(model.classes) or len(set(names)) != len(names):
        st.warning(
            f"The model has {len(model.classes)} classes; give as many different names, with commas between them."
        )
        return ()
    return names
