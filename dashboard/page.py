"""A page of panels: gather their blocks, draw them in the one linked component, then do the work that is left.

The whole page is one fragment: an event in the component changes the selection and reruns this alone.
"""

from __future__ import annotations

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
from dashboard.costs import FORESEEABLE, duration
from dashboard.export import file_name
from dashboard.figures.plain import plain_text
from dashboard.linked import linked_host
from dashboard.markdown import literal
from dashboard.panels.panel import Block, Offers, Page, Panel
from dashboard.privacy import download
from dashboard.running import Run
from dashboard.view import View

log = logging.getLogger("whyboard")

FAILED = "This could not be shown: an unexpected {}. Your data and selection are still here."

BINARY = "application/octet-stream"

#: Seconds of work before a bar appears: what is quicker shows only its skeleton.
PATIENCE = 0.6

#: Seconds in which quick results are gathered before the page is painted again.
TOGETHER = 0.25

#: Seconds between two paints while a result grows finer, and between two looks at whether it did.
REPAINT, LOOK = 0.3, 0.03

#: Seconds in which no slider moves before the finer result is begun.
STILL = 0.6


@st.fragment
def draw(page: Page) -> None:
    """Draw a page of the open workspace; call from the page's script."""
    if st.session_state.pop("header-changed", False):
        st.rerun()  # the header stands outside of this fragment
    view = session.view()
    key = f"{page.name}:{view.workspace.key}"
    payload = {"layout": page.layout, "blocks": gather(page, view)}
    linked_host(payload, key=key, on_event=partial(handle, page))
    _files(page, view)
    session.hold(view.seen)
    if view.pending:
        _work(view)


def gather(page: Page, view: View) -> list[Block]:
    """All blocks of a page; a panel that cannot answer says why in its own place."""
    blocks: list[Block] = []
    for panel in page.panels:
        told = set(view.stopped)
        try:
            blocks += panel.blocks(view)
            blocks += _halted(panel, [text for title, text in view.stopped.items() if title not in told])
        except ex.ExplainerError as error:
            blocks += _refused(panel, str(error), view)
        except Exception as error:  # a model may answer what no check foresaw; the other panels stay
            trace = "".join(traceback.format_tb(error.__traceback__))
            log.error("unexpected %s in the panel %s\n%s", type(error).__name__, panel.name, trace)
            blocks += _refused(panel, FAILED.format(type(error).__name__), view)
    return blocks


def _files(page: Page, view: View) -> None:
    """What panels offer to save that is more than a table, as links that are this visitor's alone; their blocks' `saves` press them."""
    for panel in page.panels:
        if not isinstance(panel, Offers):
            continue
        try:
            offered = panel.files(view)
        except ex.ExplainerError:
            continue  # its blocks say why
        for place, file in enumerate(offered):
            name = file_name(file.title, file.ending)
            key = f"save:{page.name}:{panel.name}:{place}"
            download(literal(file.label), file.content, name, key=key, mime=BINARY, kind="tertiary")


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
    return [said, _resume(panel)]


def _halted(panel: Panel, sentences: list[str]) -> list[Block]:
    """Under what is shown of a computation that was stopped by hand: how far it came, and the way to take it up again."""
    if not sentences:
        return []
    items = [{"style": "warning", "text": plain_text(sentence, 600)} for sentence in sentences]
    return [
        {"id": f"{panel.name}.halted", "kind": "text", "area": panel.area, "items": items},
        _resume(panel),
    ]


def _resume(panel: Panel) -> Block:
    again = {"id": "again", "kind": "button", "label": "compute again"}
    return {
        "id": f"{panel.name}.again",
        "kind": "controls",
        "area": panel.area,
        "controls": [again],
        "row": True,
    }


def _work(view: View) -> None:
    """Compute pending results, with a bar and a cancel, and run again to show them: at once what takes long, else a few together.

    A result that grows finer is shown as it is each time.
    """
    started = time.monotonic()
    while view.edited and time.monotonic() - started < STILL:
        if _awaited():
            return
        time.sleep(LOOK)
    started = time.monotonic()
    for job in sorted(view.pending, key=lambda job: job.seconds):  # in their order else
        if not _computed(job, view):
            return  # the run that is asked for comes now; what is still wanted is computed after it
        if time.monotonic() - started > TOGETHER:
            break
    _again()


def _computed(job: Job, view: View) -> bool:
    """Wait for a result, or paint again where a finer one is known; ``False`` where the visitor does something else."""
    me = _visitor()
    run = view.compute.begin(job, me)
    painted, staying = time.monotonic(), False
    try:
        bar = _Bar(job)
        while not run.ended.wait(LOOK):
            if _awaited():
                return False
            run.watch(me)
            bar.show(run)
            shown = view.shown.get(job.key)
            news = view.compute.partial(job.key) is not shown
            if news and (shown is None or time.monotonic() - painted > REPAINT):  # the first at once
                staying = True
                _again()
    finally:
        if not staying:
            run.leave(me)
    return True


def _visitor() -> str:
    return str(getattr(get_script_run_ctx(), "session_id", ""))


def _again() -> None:
    try:
        st.rerun(scope="fragment")
    except st.errors.StreamlitAPIException:  # this is a run of the whole page
        st.rerun()


class _Bar:
    """How far a computation is, and a cancel; they appear after a while."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._bar: Any = None

    def show(self, run: Run) -> None:
        """Paint it as it is now."""
        if self._bar is None and run.age > PATIENCE:
            with st.container(key="work"):
                self._bar = st.progress(0.0)
                st.button("Cancel", key="work-cancel", on_click=_cancel, args=(self._job.title,))
        if self._bar is not None:
            share = run.done / max(run.total, 1)
            text = " · ".join(part for part in (self._job.title, self._time(run.age, share)) if part)
            self._bar.progress(min(share, 1.0), text=literal(text))

    def _time(self, elapsed: float, share: float) -> str:
        """What is left at the pace so far; before there is one, what was foreseen."""
        return f"{duration(elapsed / share - elapsed)} left" if share > FORESEEABLE else self._job.cost


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
