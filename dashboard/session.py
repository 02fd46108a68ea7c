"""One visitor's state in Streamlit's session: which workspace is open, and what is selected in it."""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable, Mapping
from typing import Any, cast

import streamlit as st
from streamlit.runtime.scriptrunner_utils.script_run_context import get_script_run_ctx
from streamlit.runtime.uploaded_file_manager import UploadedFile

import explainers as ex
from dashboard import tiles
from dashboard.compute import STORE_BYTES, Compute, size_of
from dashboard.library import library
from dashboard.selection import Selection
from dashboard.view import View
from dashboard.workers.remote import Remote
from dashboard.workspace import OpenWorkspace

GONE = (
    "What you had uploaded is gone: uploads are kept in memory alone, and end with the page, the visit or the server. "
    "Drop the files again to go on."
)
DELETED = (
    "Your uploads were deleted: the files, the process that held them, and everything computed from them."
)


#: Bytes of a result from which a visit keeps it itself while it is shown.
HELD = STORE_BYTES // 32


@dataclasses.dataclass
class Place:
    """An open workspace with this visitor's selection in it; a private one brings its own store. `held` are large results on the page."""

    workspace: OpenWorkspace
    compute: Compute
    selection: Selection
    held: dict[Hashable, Any] = dataclasses.field(default_factory=dict)


def current() -> Place | None:
    """Where the visitor is, or ``None`` on the start page; an address with ``?w=…`` opens that workspace."""
    if "place" not in st.session_state and "w" in st.query_params:
        try:
            open_prepared(st.query_params["w"])
        except ex.ExplainerError as error:
            st.session_state["notice"] = str(error)
            st.query_params.clear()
    elif "place" not in st.session_state and st.query_params.pop("own", None) is not None:
        st.session_state["news"] = GONE
    return cast(Place | None, st.session_state.get("place"))


def open_prepared(name: str) -> None:
    """Open a prepared workspace; raises `ExplainerError`. A selection left behind there is found again."""
    workspace, compute = library().open(name)
    _enter(Place(workspace, compute, Selection()))
    st.query_params["w"] = name


def open_private(workspace: OpenWorkspace, remote: Remote) -> None:
    """Open an upload: it lives in this session alone, and its model in a process of its own."""
    st.query_params.clear()
    st.query_params["own"] = "1"
    _enter(Place(workspace, Compute(remote), Selection()))


def _enter(place: Place) -> None:
    left: dict[str, Place] = st.session_state.setdefault("places", {})
    key = ("private:" if place.workspace.private else "") + place.workspace.key
    known = left.get(key)
    if known is None or known.workspace is not place.workspace:
        left[key] = known = dataclasses.replace(place, selection=first_selection(place.workspace))
    st.session_state["place"] = known


def leave() -> None:
    """Back to the start page."""
    left: Place | None = st.session_state.pop("place", None)
    if left is not None:
        left.held = {}
    st.query_params.clear()


def forget_private() -> None:
    """Delete what this visitor uploaded, and everything computed from it."""
    places: dict[str, Place] = st.session_state.get("places", {})
    for key in [key for key in places if key.startswith("private:")]:
        _end(places.pop(key).compute.engine)
    _end(st.session_state.get("upload-remote"))
    for key in [key for key in st.session_state if str(key).startswith("upload-")]:
        _forget_files(st.session_state[key])
        del st.session_state[key]
    st.session_state["deletions"] = st.session_state.get("deletions", 0) + 1
    st.session_state["news"] = DELETED
    tiles.take_back()
    leave()


def _end(engine: object) -> None:
    if isinstance(engine, Remote):
        engine.pool.close()


def _forget_files(value: object) -> None:
    """Streamlit keeps a dropped file until its session ends; this lets go of it now."""
    context = get_script_run_ctx()
    if isinstance(value, UploadedFile) and context is not None:
        cast(Any, context.uploaded_file_mgr).remove_file(context.session_id, value.file_id)


def first_selection(workspace: OpenWorkspace) -> Selection:
    """The case that tells the story, else the first one people browse."""
    row = workspace.first_case if workspace.first_case is not None else int(workspace.rows[0])
    return Selection(row=row)


def view() -> View:
    """The visitor's look at the open workspace."""
    place = cast(Place, st.session_state["place"])
    return View(place.workspace, place.selection, place.compute, held=place.held, lend=tiles.lend)


def hold(seen: Mapping[Hashable, Any]) -> None:
    """Keep what is on the page, as long as it is, where the store might drop it; the rest the store keeps."""
    place = cast(Place, st.session_state["place"])
    place.held = {key: value for key, value in seen.items() if size_of(value) > HELD}


def select(selection: Selection) -> None:
    """Change the selection; every page shows it from the next run on."""
    place = cast(Place, st.session_state["place"])
    place.selection = selection
    place.compute.store.retry()
