"""The start page: prepared workspaces as cards, and the way to open one's own."""

from __future__ import annotations

import streamlit as st

import explainers as ex
from dashboard import session, upload
from dashboard.library import library
from dashboard.markdown import literal


def draw() -> None:
    """Cards on the left, upload on the right."""
    st.title("whyboard", anchor=False)
    st.markdown("Opens a trained model and its data, and shows why the model predicts what it predicts.")
    notice, news = st.session_state.pop("notice", None), st.session_state.pop("news", None)
    with st.container():  # always there: what stands below keeps its place, and files on their way with it
        if notice:
            st.error(literal(notice), icon=":material/error:")
        if news:
            st.info(literal(news), icon=":material/info:")
    cards, own = st.columns([1.55, 1], gap="large")
    with cards:
        st.subheader("Prepared workspaces", anchor=False)
        _cards()
    with own:
        st.subheader("Open your own", anchor=False)
        upload.draw()


def _cards() -> None:
    shelf = library()
    if not shelf.folders:
        st.info("There is no prepared workspace here. Open a model and its data on the right.")
    columns = st.columns(3, gap="small")
    for place, name in enumerate(shelf.folders):
        with columns[place % 3]:
            _card(name)


def _card(name: str) -> None:
    about = library().describe(name).workspace
    with st.container(border=True, height="stretch", key=f"card-{name}", vertical_alignment="distribute"):
        kind = " :gray-badge[synthetic data]" if about.synthetic else ""
        st.markdown(f"**{literal(about.title)}**{kind}  \n:small[{literal(about.summary)}]")
        st.button("Open", key=f"open-{name}", on_click=_open, args=(name,), width="stretch")


def _open(name: str) -> None:
    try:
        session.open_prepared(name)
        st.session_state["opened"] = True
    except ex.ExplainerError as error:
        st.session_state["notice"] = str(error)
