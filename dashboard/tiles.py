"""Large pictures of the visitor whose page this is, lent to that visitor's browser in tiles."""

from __future__ import annotations

from collections.abc import Callable, Hashable

import streamlit as st
from streamlit.runtime.scriptrunner_utils.script_run_context import get_script_run_ctx

from dashboard.figures.tiles import Tiles
from dashboard.serving.gate import COOKIE
from dashboard.serving.tiles import SHELF


def lend(key: Hashable, make: Callable[[], Tiles]) -> str | None:
    """The token under which the browser asks for tiles; ``None`` where nobody could (no server of ours, no cookie)."""
    context = get_script_run_ctx(suppress_warning=True)
    visitor = st.context.cookies.get(COOKIE)
    if context is None or visitor is None:
        return None
    return SHELF.lend(visitor, context.session_id, key, make)


def take_back() -> None:
    """Lend this visitor nothing any more."""
    context = get_script_run_ctx(suppress_warning=True)
    if context is not None:
        SHELF.forget(context.session_id)
