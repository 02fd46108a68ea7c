"""The router: page settings, what is the same on every page, and which page is shown."""

from __future__ import annotations

from pathlib import Path

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


START = st.Page(
    start.draw, title="Start", icon=":material/home:", url_path="start", default=session.current() is None
)
OVERVIEW = st.Page(overview, title="Overview", icon=":material/bar_chart:", url_path="overview")
CASE = st.Page(
    case,
    title="Case",
    icon=":material/person_search:",
    url_path="case",
    default=session.current() is not None,
)

shown = st.navigation([START] if session.current() is None else [CASE, OVERVIEW, START], position="top")
if st.session_state.pop("opened", False) and shown.url_path == START.url_path != "":
    # Opened on the start page while another workspace was open: that page does not leave by itself.
    st.switch_page(CASE, query_params=dict(st.query_params))
shown.run()
