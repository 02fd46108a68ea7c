"""The linked host in a real browser: what a reader does, what reaches the server, what is repainted and what is kept."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
pytestmark = pytest.mark.slow

APP = """
import json
from pathlib import Path
import streamlit as st
from dashboard.linked import linked_host
from dashboard.linked.payload import typed_array

HOSTILE = "<img src=x onerror='window.hacked=1'><b>age</b>"
LOG = Path(__file__).with_suffix(".log")
OPTIONS = [{"value": "a", "label": "A"}, {"value": "b", "label": "B"}]

def payload(state):
    age = state["age"]
    spark = {"x": [0, 50, 100], "y": [0.0, 0.5, 1.0], "density": [1, 2, 1], "base": 0.5, "scale": 100, "decimals": 0,
             "suffix": " %"}
    controls = [
        {"id": "age", "kind": "slider", "label": HOSTILE, "value": age, "original": 50, "min": 0, "max": 100, "step": 1,
         "unit": "years", "data_low": 10, "data_high": 90, "spark": spark},
        {"id": "fixed", "kind": "slider", "label": "fixed", "value": 5, "min": 0, "max": 9, "step": 1, "locked": True},
        {"id": "sex", "kind": "select", "label": "sex", "value": state["sex"], "options": OPTIONS},
        {"id": "go", "kind": "button", "label": "go"},
    ]
    figure = {"data": [{"type": "bar", "x": [age, 20], "y": ["p", "q"], "orientation": "h", "customdata": ["P", "Q"]}],
              "layout": {"xaxis": {"range": [0, 100]}}}
    tile = {"id": "map", "title": "map",
            "overlay": {"values": typed_array([1.0, -1.0, 0.2, 0.0]), "shape": [2, 2], "limit": 1.0}}
    return {"blocks": [
        {"id": "says", "kind": "text", "column": 0,
         "items": [{"style": "big", "text": f"{age} %"}, {"style": "sentence", "text": HOSTILE}]},
        {"id": "bars", "kind": "chart", "column": 0, "height": 200, "alt": "two bars", "click": True, "figure": figure},
        {"id": "steady", "kind": "chart", "column": 0, "height": 120, "alt": "steady",
         "figure": {"data": [{"y": [1, 2]}], "layout": {}}},
        {"id": "if", "kind": "controls", "column": 1, "controls": controls},
        {"id": "need", "kind": "table", "column": 1, "columns": [{"id": "now", "label": "now"}],
         "rows": [{"id": "r1", "cells": [{"text": HOSTILE, "tone": "changed"}], "button": {"id": "load", "label": "load"}}]},
        {"id": "picture", "kind": "image", "column": 1, "tile_size": 80, "click": True, "opacity": 0.5, "tiles": [tile],
         "footer": "the map", "code": "ex.explain()", "csv": "a,b"},
        {"id": "cases", "kind": "list", "column": 1, "height": 60, "selected": "2",
         "items": [{"id": str(i), "title": f"case {i}", "value": "4 %", "share": 0.04} for i in range(9)]},
    ]}

def apply(event):
    with LOG.open("a") as log:
        log.write(json.dumps(event) + "\\n")
    if event["type"] == "control" and event["id"] in ("age", "sex"):
        st.session_state.state[event["id"]] = event["value"]

@st.fragment
def part():
    state = st.session_state.setdefault("state", {"age": 50, "sex": "a"})
    linked_host(payload(state), key="demo", on_event=apply)

st.set_page_config(layout="wide")
st.session_state.runs = st.session_state.get("runs", 0) + 1
st.write(f"full runs: {st.session_state.runs}")
part()
"""


def refuse(reason: str) -> Any:
    """Without a browser these tests are skipped at home, and fail where they must run."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """A served app: its address, and the file in which it notes every event."""
    script = tmp_path_factory.mktemp("linked") / "app.py"
    script.write_text(APP, encoding="utf-8")
    port = free_port()
    options = {
        "server.port": port,
        "server.address": "127.0.0.1",
        "server.headless": "true",
        "server.fileWatcherType": "none",
        "browser.gatherUsageStats": "false",
    }
    arguments = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    server = subprocess.Popen(
        [sys.executable, "-m", "streamlit", "run", str(script), *arguments],
        cwd=script.parent,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
    )
    address = f"http://127.0.0.1:{port}"
    try:
        wait_for(address, server)
        yield address, script.with_suffix(".log")
    finally:
        server.terminate()
        try:
            server.wait(10)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def wait_for(address: str, server: subprocess.Popen[bytes]) -> None:
    for _ in range(240):
        assert server.poll() is None, "the server ended before it answered"
        with suppress(OSError), urllib.request.urlopen(f"{address}/_stcore/health") as answer:
            if answer.status == 200:
                return
        time.sleep(0.25)
    pytest.fail("the server did not answer within a minute")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        refuse("playwright is not installed")
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        refuse("no chromium on the path")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser: Any, app: tuple[str, Path]) -> Iterator[Any]:
    """A fresh session with the host painted; any error in the page fails the test."""
    address, log = app
    log.unlink(missing_ok=True)
    tab = browser.new_page(viewport={"width": 1440, "height": 900})
    errors: list[str] = []
    tab.on("pageerror", lambda error: errors.append(str(error)))
    tab.goto(address)
    tab.wait_for_selector(".wb-linked[data-ready]", timeout=60_000)
    yield tab
    tab.close()
    assert errors == []


def events(app: tuple[str, Path]) -> list[dict[str, Any]]:
    log = app[1]
    return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


def painted(page: Any, seq: int) -> None:
    page.wait_for_function("seq => Number(document.querySelector('.wb-linked').dataset.seq) >= seq", arg=seq)


def slider(page: Any) -> Any:
    return page.locator("[data-control=age] input")


def big(page: Any) -> str:
    return str(page.locator(".wb-big").inner_text())


# How long the first bar is drawn, in the units of its axis.
BAR = "document.querySelector('[data-block=bars] .wb-plot').data[0].x[0]"
PATH = "document.querySelector('[data-block=bars] .point path').getAttribute('d')"


def test_a_key_press_on_a_slider_repaints_the_same_chart_and_keeps_the_focus(
    page: Any, app: tuple[str, Path]
) -> None:
    before = page.evaluate(PATH)
    page.evaluate("window.plot = document.querySelector('[data-block=bars] .wb-plot .main-svg')")
    slider(page).focus()
    page.keyboard.press("ArrowRight")
    painted(page, 1)
    assert [(e["type"], e["block"], e["id"], e["value"]) for e in events(app)] == [
        ("control", "if", "age", 51)
    ]
    assert big(page) == "51 %"
    assert page.evaluate(BAR) == 51
    assert page.evaluate(PATH) != before
    assert page.evaluate("window.plot === document.querySelector('[data-block=bars] .wb-plot .main-svg')")
    assert page.evaluate("document.activeElement.closest('[data-control]').dataset.control") == "age"
    assert page.get_by_text("full runs: 1").is_visible()


def test_quick_presses_end_at_the_last_value_with_growing_numbers(page: Any, app: tuple[str, Path]) -> None:
    slider(page).focus()
    for _ in range(12):
        page.keyboard.press("ArrowRight")
    assert slider(page).input_value() == "62"
    page.wait_for_function("document.querySelector('.wb-big').textContent === '62 %'")
    page.wait_for_function("!document.querySelector('.wb-linked').dataset.busy")
    assert slider(page).input_value() == "62"
    numbers = [event["seq"] for event in events(app)]
    assert numbers == sorted(set(numbers))
    assert events(app)[-1]["value"] == 62


def test_dragging_shows_the_curve_at_once_and_no_answer_moves_the_slider(page: Any) -> None:
    box = slider(page).bounding_box()
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] / 2, middle)
    page.mouse.down()
    page.evaluate("window.answers = Number(document.querySelector('.wb-linked').dataset.seq)")
    page.mouse.move(box["x"] + box["width"] * 0.75, middle)
    held = slider(page).input_value()
    at_once = page.locator("[data-control=age] .wb-effect").inner_text()
    assert int(held) > 60
    assert at_once == f"{held} % (+{int(held) - 50})"
    page.wait_for_function("Number(document.querySelector('.wb-linked').dataset.seq) > window.answers")
    assert slider(page).input_value() == held
    page.mouse.up()
    page.wait_for_function(
        "value => document.querySelector('.wb-big').textContent === value + ' %'", arg=held
    )
    assert slider(page).input_value() == held


def test_outside_the_data_is_said_and_the_way_back_works(page: Any) -> None:
    control = page.locator("[data-control=age]")
    slider(page).focus()
    page.keyboard.press("End")
    assert control.locator(".wb-note").inner_text() == "outside the data"
    page.wait_for_function("document.querySelector('.wb-big').textContent === '100 %'")
    control.locator(".wb-back").click()
    page.wait_for_function("document.querySelector('.wb-big').textContent === '50 %'")
    assert slider(page).input_value() == "50"
    assert control.locator(".wb-note").inner_text() == ""
    assert not control.locator(".wb-back").is_visible()


def test_labels_are_bound_and_a_locked_slider_is_disabled(page: Any) -> None:
    assert page.get_by_label("sex").input_value() == "A"
    assert page.get_by_label("fixed").is_disabled()
    assert slider(page).get_attribute("aria-valuetext") == "50 years"
    assert page.get_by_role("img", name="two bars").is_visible()


def test_hostile_strings_are_shown_as_text(page: Any) -> None:
    hostile = "<img src=x onerror='window.hacked=1'><b>age</b>"
    for place in ("[data-control=age] .wb-label", ".wb-sentence", ".wb-cell.wb-changed"):
        assert page.locator(place).text_content() == hostile
    assert page.locator("[data-block=says] b, [data-block=if] b, [data-block=need] img").count() == 0
    assert page.evaluate("window.hacked") is None


def test_opacity_threshold_and_colours_change_the_canvas_without_the_server(
    page: Any, app: tuple[str, Path]
) -> None:
    canvas = page.locator("[data-block=picture] canvas")
    pixels = "node => [...node.getContext('2d').getImageData(0, 0, node.width, node.height).data]"
    drawn = canvas.evaluate(pixels)
    assert drawn[:8] == [214, 96, 77, 255, 67, 147, 195, 255]
    assert drawn[11] == 51
    assert drawn[15] == 0
    assert canvas.evaluate("node => getComputedStyle(node).opacity") == "0.5"
    page.get_by_label("opacity").fill("0.9")
    assert canvas.evaluate("node => getComputedStyle(node).opacity") == "0.9"
    page.get_by_label("strongest").fill("0.5")  # two of four pixels
    assert [canvas.evaluate(pixels)[place] for place in (3, 7, 11)] == [255, 255, 0]
    page.get_by_label("colours").select_option("heat")
    assert canvas.evaluate(pixels)[:4] == [246, 215, 70, 255]
    page.get_by_label("colours").select_option("contour")
    assert canvas.evaluate("node => node.width") > 2
    page.wait_for_timeout(300)
    assert events(app) == []


def test_clicks_reach_the_server_with_what_was_clicked(page: Any, app: tuple[str, Path]) -> None:
    page.get_by_role("button", name="load").click()
    painted(page, 1)
    page.get_by_role("button", name="map").click()
    painted(page, 2)
    page.get_by_role("button", name="go", exact=True).click()
    painted(page, 3)
    page.get_by_label("sex").select_option("B")
    painted(page, 4)
    page.locator("[data-block=bars] .point").nth(1).click(force=True)
    painted(page, 5)
    page.get_by_role("option", name="case 2").focus()
    page.keyboard.press("ArrowDown")
    painted(page, 6)
    seen = [{name: value for name, value in event.items() if name != "seq"} for event in events(app)]
    assert seen == [
        {"type": "table", "block": "need", "id": "load", "row": "r1"},
        {"type": "tile", "block": "picture", "id": "map"},
        {"type": "control", "block": "if", "id": "go", "value": None},
        {"type": "control", "block": "if", "id": "sex", "value": "b"},
        {"type": "click", "block": "bars", "point": "Q", "curve": 0, "index": 1},
        {"type": "list", "block": "cases", "id": "3"},
    ]


def test_the_chosen_entry_of_a_list_is_in_sight(page: Any) -> None:
    inside = """node => {
        const [entry, list] = [node, node.parentNode].map((one) => one.getBoundingClientRect());
        return entry.top >= list.top - 1 && entry.bottom <= list.bottom + 1;
    }"""
    assert page.get_by_role("option", name="case 2").evaluate(inside)
    assert not page.get_by_role("option", name="case 8").evaluate(inside)


def test_the_numbers_are_saved_without_the_server(page: Any, app: tuple[str, Path]) -> None:
    with page.expect_download() as download:
        page.get_by_role("button", name="CSV").click()
    assert re.fullmatch(r"whyboard-\w+\.csv", download.value.suggested_filename)
    assert Path(download.value.path()).read_text(encoding="utf-8-sig") == "a,b"
    assert events(app) == []


def test_a_chart_that_did_not_change_is_not_drawn_again(page: Any) -> None:
    page.evaluate("""() => {
        window.drawn = [];
        const react = window.Plotly.react;
        window.Plotly.react = (node, ...rest) => {
            window.drawn.push(node.closest('[data-block]').dataset.block);
            return react(node, ...rest);
        };
    }""")
    slider(page).focus()
    page.keyboard.press("ArrowLeft")
    painted(page, 1)
    assert page.evaluate("window.drawn") == ["bars"]


def test_columns_stack_when_the_page_is_narrow_and_charts_follow(page: Any) -> None:
    def left(block: str) -> float:
        return float(page.locator(f"[data-block={block}]").bounding_box()["x"])

    assert left("if") > left("says") + 100
    page.set_viewport_size({"width": 800, "height": 900})
    page.wait_for_function("document.querySelector('.wb-linked').dataset.width === 'narrow'")
    assert left("if") == left("says")
    page.wait_for_function("""() => {
        const plot = document.querySelector('[data-block=bars] .wb-plot');
        return Math.abs(plot.querySelector('.main-svg').clientWidth - plot.clientWidth) <= 1;
    }""")


def test_plotly_is_fetched_once_per_browser(browser: Any, app: tuple[str, Path]) -> None:
    context = browser.new_context()
    sizes = []
    for _ in range(2):
        tab = context.new_page()
        tab.goto(app[0])
        tab.wait_for_selector(".wb-linked[data-ready]", timeout=60_000)
        entry = "performance.getEntriesByType('resource').filter(e => e.name.includes('plotly.min.js')).map(e => e.transferSize)"
        sizes.append(tab.evaluate(entry))
        tab.close()
    context.close()
    assert [len(one) for one in sizes] == [1, 1]
    assert sizes[0][0] > 1_000_000
    assert sizes[1][0] == 0
