"""A page as a whole: a panel that cannot answer says so in its place, and work stops for whoever is there."""

from __future__ import annotations

import threading
import time
import types
from collections.abc import Callable
from typing import Any

import pytest
from streamlit.runtime.scriptrunner_utils.script_requests import RerunData, ScriptRequests

import explainers as ex
from dashboard import page, session
from dashboard.compute import Job
from dashboard.linked.payload import validate
from dashboard.panels.panel import Page
from dashboard.selection import Selection
from dashboard.view import View
from tests.dashboard.hand_made import eight

Look = Callable[..., View]


class Good:
    name, title, area = "good", "Good?", "here"

    def blocks(self, view: View) -> list[dict[str, Any]]:
        return [{"id": "good.text", "kind": "text", "area": "here", "items": []}]

    def apply(self, event: Any, view: View) -> Selection:
        return view.selection.pick(5)


class Bad(Good):
    name, title = "bad", "Bad?"

    def blocks(self, view: View) -> list[dict[str, Any]]:
        view.later("Long work", ex.KernelShap(), [0], "yes")
        raise ex.NotApplicable("This needs gradients.")


PAGE = Page("p", (Bad(), Good()), {"wide": {"columns": [1], "areas": [["here"]]}})


@pytest.fixture
def state(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Streamlit's session as a plain dictionary."""
    held: dict[str, Any] = {}
    fake = types.SimpleNamespace(session_state=held)
    monkeypatch.setattr(session, "st", fake)
    monkeypatch.setattr(page.st, "session_state", held)
    return held


def enter(state: dict[str, Any], view: View) -> session.Place:
    state["place"] = session.Place(view.workspace, view.compute, view.selection)
    return state["place"]


def test_one_panel_that_cannot_answer_takes_no_other_along(look: Look) -> None:
    blocks = page.gather(PAGE, look(eight()))
    validate({"layout": PAGE.layout, "blocks": blocks})
    assert [block["id"] for block in blocks] == ["bad.refused", "good.text"]
    assert blocks[0]["title"] == "Bad?"
    assert blocks[0]["items"] == [{"style": "warning", "text": "This needs gradients."}]


def test_what_was_stopped_by_hand_offers_to_go_on_and_does(look: Look, state: dict[str, Any]) -> None:
    view = look(eight(), cancelled=frozenset({"Long work"}))
    blocks = page.gather(PAGE, view)
    validate({"layout": PAGE.layout, "blocks": blocks})
    assert [block["id"] for block in blocks] == ["bad.refused", "bad.again", "good.text"]
    place = enter(state, view)
    page.handle(PAGE, {"type": "control", "block": "bad.again", "id": "again", "value": None})
    assert place.selection == view.selection.change(cancelled=frozenset())


def test_an_event_reaches_the_panel_whose_block_it_was(look: Look, state: dict[str, Any]) -> None:
    place = enter(state, look(eight(), row=1))
    page.handle(PAGE, {"type": "control", "block": "nobody.text", "id": "x", "value": 1})
    assert place.selection.row == 1
    page.handle(PAGE, {"type": "control", "block": "good.text", "id": "x", "value": 1})
    assert place.selection.row == 5


def slow(started: threading.Event) -> Job:
    def work(progress: ex.Progress) -> None:
        while True:
            started.set()
            time.sleep(0.002)
            progress(1, 10)

    return Job("Long work", "key", work)


def test_a_visitor_who_does_something_stops_the_work(monkeypatch: pytest.MonkeyPatch, look: Look) -> None:
    requests, started = ScriptRequests(), threading.Event()
    context = types.SimpleNamespace(script_requests=requests, session_id="ann")
    monkeypatch.setattr(page, "get_script_run_ctx", lambda: context)
    monkeypatch.setattr(page, "PATIENCE", 60.0)
    view, job = look(eight()), slow(started)
    run = view.compute.begin(job, "ann")
    assert started.wait(20)
    assert not page._awaited()
    requests.request_rerun(RerunData(fragment_id="some"))
    assert not page._computed(job, view)
    assert run.ended.wait(20)


def test_a_moving_slider_begins_nothing(monkeypatch: pytest.MonkeyPatch, look: Look) -> None:
    monkeypatch.setattr(page, "_awaited", lambda: True)
    view = look(eight(), edits=(("share", 0.5),))
    view.pending.append(Job("Long work", "key", lambda progress: pytest.fail("it began")))
    page._work(view)
    assert not view.compute._runs._runs


def test_work_goes_on_while_nobody_asks(monkeypatch: pytest.MonkeyPatch, look: Look) -> None:
    monkeypatch.setattr(page, "get_script_run_ctx", lambda: None)
    assert not page._awaited()
    done: list[int] = []
    assert page._computed(Job("Work", "key", lambda progress: done.append(1)), look(eight()))
    assert done == [1]
