"""A page of panels: gather their blocks, draw them in the one linked component, then do the work that is left.

The whole page is one fragment: an event in the component changes the selection and reruns this alone.
"""

from __future__ import annotations

import contextlib
import logging
import time
import traceback
from collections.abc import Mapping
from functools import partial
from typing import Any

import streamlit as st
from streamlit.runtime.scriptrunner_utils.script_requests import ScriptRequestType
from streamlit.runtime.scriptrunner_utils.script_run_context import get_script_run_ctx

import explainers as ex
from dashboard import session
from dashboard.compute import Job
from dashboard.figures.plain import plain_text
from dashboard.linked import linked_host
from dashboard.markdown import literal
from dashboard.panels.panel import Block, Page, Panel
from dashboard.view import View

log = logging.getLogger("whyboard")

FAILED = "This could not be shown: an unexpected {}. Your data and selection are still here."

#: Seconds of work before a bar appears: what is quicker shows only its skeleton.
PATIENCE = 0.6

#: Seconds in which quick results are gathered before the page is painted again.
TOGETHER = 0.25


@st.fragment
def draw(page: Page) -> None:
    """Draw a page of the open workspace; call from the page's script."""
    if st.session_state.pop("header-changed", False):
        st.rerun()  # the header stands outside of this fragment
    view = session.view()
    key = f"{page.name}:{view.workspace.key}"
    payload = {"layout": page.layout, "blocks": gather(page, view)}
    linked_host(payload, key=key, on_event=partial(handle, page))
    if view.pending:
        _work(view.pending)


def gather(page: Page, view: View) -> list[Block]:
    """All blocks of a page; a panel that cannot answer says why in its own place."""
    blocks: list[Block] = []
    for panel in page.panels:
        try:
            blocks += panel.blocks(view)
        except ex.ExplainerError as error:
            blocks += _refused(panel, str(error), view)
        except Exception as error:  # a model may answer what no check foresaw; the other panels stay
            trace = "".join(traceback.format_tb(error.__traceback__))
            log.error("unexpected %s in the panel %s\n%s", type(error).__name__, panel.name, trace)
            blocks += _refused(panel, FAILED.format(type(error).__name__), view)
    return blocks


def handle(page: Page, event: Mapping[str, Any]) -> None:
    """Let the panel whose block it was turn an event into a new selection."""
    view = session.view()
    name, _, part = str(event["block"]).partition(".")
    if part == "again":
        session.select(view.selection.change(cancelled=frozenset()))
        return
    for panel in page.panels:
        if panel.name == name:
            chosen = panel.apply(event, view)
            st.session_state["header-changed"] = chosen.target != view.selection.target
            session.select(chosen)


def _refused(panel: Panel, reason: str, view: View) -> list[Block]:
    """The reason in the panel's place; where work was stopped by hand, the way to take it up again."""
    said: Block = {
        "id": f"{panel.name}.refused",
        "kind": "text",
        "area": panel.area,
        "title": panel.title,
        "items": [{"style": "warning", "text": plain_text(reason, 600)}],
    }
    if panel.name == "whatif" and view.edited:  # the edit may be what it fails on: the way back stays
        reset: Block = {"id": "reset", "kind": "button", "label": "reset"}
        return [
            said,
            {"id": "whatif.tools", "kind": "controls", "area": panel.area, "controls": [reset], "row": True},
        ]
    if not any(f"Stopped: {title}" in reason for title in view.selection.cancelled):
        return [said]
    again = {"id": "again", "kind": "button", "label": "compute again"}
    return [
        said,
        {
            "id": f"{panel.name}.again",
            "kind": "controls",
            "area": panel.area,
            "controls": [again],
            "row": True,
        },
    ]


def _work(jobs: list[Job]) -> None:
    """Compute pending results, with a bar and a cancel, and run again to show them: at once what takes long, else a few together."""
    started = time.monotonic()
    for job in jobs:
        try:
            with contextlib.suppress(
                ex.ExplainerError
            ):  # kept as a failure: the panel says so in the next run
                job.run(_Bar(job.title))
        except ex.Cancelled:
            return  # the run that is asked for comes now; what is still wanted is computed after it
        if time.monotonic() - started > TOGETHER:
            break
    _again()


def _again() -> None:
    try:
        st.rerun(scope="fragment")
    except st.errors.StreamlitAPIException:  # this is a run of the whole page
        st.rerun()


class _Bar:
    """A progress callback that appears after a while, and stops the work as soon as the visitor does something else."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._started = time.monotonic()
        self._bar: Any = None

    def __call__(self, done: int, total: int, partial: ex.Explanation | None = None) -> None:
        if _awaited():
            raise ex.Cancelled
        elapsed = time.monotonic() - self._started
        share = done / max(total, 1)
        if self._bar is None and elapsed > PATIENCE:
            with st.container(key="work"):
                self._bar = st.progress(0.0)
                st.button("Cancel", key="work-cancel", on_click=_cancel, args=(self._title,))
        if self._bar is not None:
            left = elapsed / share - elapsed if share > 0.02 else None
            text = f"{self._title} · {left:.0f} s left" if left is not None else self._title
            self._bar.progress(min(share, 1.0), text=literal(text))


def _awaited() -> bool:
    """Whether the visitor did something since this run began.

    Streamlit stops a run for events outside of fragments only; one from inside, and that is every slider, click and
    the cancel itself, would wait until all the work is done. It has no public name for asking.
    """
    requests: Any = getattr(get_script_run_ctx(), "script_requests", None)
    return requests is not None and requests._state is not ScriptRequestType.CONTINUE


def _cancel(title: str) -> None:
    selection = session.view().selection
    session.select(selection.change(cancelled=selection.cancelled | {title}))
