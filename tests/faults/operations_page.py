"""The page that the operation tests serve: it knows no workspace, and does on request what a page may do."""

from __future__ import annotations

import logging
import threading
import time
import warnings

import streamlit as st
from streamlit import runtime

from dashboard import privacy
from tests.faults.operations_cases import SECRET, pair


def fail() -> None:
    raise ValueError(SECRET)


wish = st.query_params.get("do", "")
st.session_state.setdefault("runs", 0)
st.session_state["runs"] += 1
st.write(f"runs {st.session_state['runs']}")
if wish == "raise":
    fail()
if wish == "chain":
    try:
        {}[SECRET]
    except KeyError as error:
        raise RuntimeError(f"while looking for {SECRET}") from error
if wish == "thread":
    threading.Thread(target=fail).start()
if wish == "warn":
    warnings.warn(f"what to make of {SECRET}?", UserWarning, stacklevel=1)
if wish == "log":
    try:
        fail()
    except ValueError as error:
        logging.getLogger("some.library").exception("It failed: %s", error)
if wish in ("first", "second"):
    privacy.download("Save", pair()[wish == "second"], f"{wish}.csv", key="save")
if wish == "busy":
    end = time.monotonic() + 3
    while time.monotonic() < end:
        sum(range(10_000))
if wish == "held":
    st.write(
        f"held {sum(1 for files in runtime.get_instance().uploaded_file_mgr.file_storage.values() if files)}"
    )
