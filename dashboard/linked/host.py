"""One Streamlit component that holds linked controls, text, charts, tables and pictures, and repaints them in place.

Streamlit's own charts are rebuilt whenever their figure changes, and its sliders report only on release. Here everything
that moves together lives in one component inside one fragment: an event reruns that fragment alone, the answer is
one message, and the browser changes only what differs (`Plotly.react`, text nodes, attributes). A page uses it as

    @st.fragment
    def what_if() -> None:
        linked_host(payload(st.session_state.what_if), key="what_if", on_event=apply_event)

with a pure `payload(state)`; `on_event` runs before the fragment does, so the payload already shows its effect. What a
payload holds and which events come back is the contract in `dashboard.linked.payload`.

Speed needs two settings of the app, not of this module: `gc.freeze()` once after the heavy imports, and
`runner.postScriptGC=false`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import Any

import streamlit as st
from plotly.utils import PlotlyJSONEncoder
from streamlit.components.v2 import component
from streamlit.components.v2.types import ComponentRenderer

from dashboard.linked import assets
from dashboard.linked.payload import shown, validate

__all__ = ["linked_host"]

OnEvent = Callable[[dict[str, Any]], None]


def linked_host(
    payload: Mapping[str, Any], *, key: str, on_event: OnEvent | None = None, height: int | None = None
) -> None:
    """Show `payload` where this is called, and hand what the reader does to `on_event`, each event once, in order.

    `height` in px makes the whole host scroll inside; by default it is as high as its content. Raises `PayloadError`
    when the payload breaks the contract.
    """
    validate(payload)
    data = {**shown(payload), "seq": st.session_state.get(_seq_key(key), 0), "assets": assets.publish()}
    _component()(
        key=key,
        # Bytes, encoded once: Streamlit would encode a dictionary twice, and refuse the arrays inside figures.
        data=json.dumps(data, cls=PlotlyJSONEncoder, separators=(",", ":")).encode(),
        height="content" if height is None else height,
        on_events_change=partial(_deliver, key, on_event),
    )


@cache
def _component() -> ComponentRenderer:
    return component("whyboard.linked", js=assets.loader(), isolate_styles=False)


def _deliver(key: str, on_event: OnEvent | None) -> None:
    """Hand over the events that are new, and remember the last number: the next payload carries it back."""
    events = (st.session_state.get(key) or {}).get("events") or []
    for event in events:
        if event["seq"] <= st.session_state.get(_seq_key(key), 0):
            continue
        st.session_state[_seq_key(key)] = event["seq"]
        if on_event is not None:
            on_event(event)


def _seq_key(key: str) -> str:
    return f"{key}:linked_seq"
