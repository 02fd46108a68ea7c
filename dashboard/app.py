"""The router: page settings, what is the same on every page, and which page is shown."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import streamlit as st

from dashboard import frame, page, session, start, startup
from dashboard.panels import CASE_PICTURE, CASE_TABLE, OVERVIEW_PICTURE, OVERVIEW_TABLE

st.set_page_config(page_title="whyboard", page_icon=str(Path(__file__).parent / "icon.png"), layout="wide")
startup.freeze()
frame.style()


def overview() -> None:
    """The whole data set."""
    frame.header()
    page.draw(OVERVIEW_TABLE if session.view().data.modality == "table" else OVERVIEW_PICTURE)


def case() -> None:
    """One case."""
    frame.header()
    page.draw(CASE_TABLE if session.view().data.modality == "table" else CASE_PICTURE)


is_open = session.current() is not None
# All addresses are always known: a reload may ask for any of them.
below: Literal["visible", "hidden"] = "visible" if is_open else "hidden"
CASE = st.Page(
    case, title="Case", icon=":material/person_search:", url_path="case", default=is_open, visibility=below
)
OVERVIEW = st.Page(
    overview, title="Overview", icon=":material/bar_chart:", url_path="overview", visibility=below
)
START = st.Page(start.draw, title="Start", icon=":material/home:", url_path="start", visibility=below)
HOME = st.Page(start.draw, title="whyboard", url_path="home", default=not is_open, visibility="hidden")

shown = st.navigation([CASE, OVERVIEW, START, HOME], position="top")
opened = st.session_state.pop("opened", False)
if is_open and (shown is HOME or (opened and shown is START)):
    # A start page does not leave by itself when a workspace is opened on it.
    st.switch_page(CASE, query_params=dict(st.query_params))
if not is_open and shown in (CASE, OVERVIEW):
    st.switch_page(HOME)  # the workspace is gone, and the start page says so
shown.run()
