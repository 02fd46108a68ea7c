"""Whole visits in a real browser, against the server that people start: what a person does, and what they then see."""

from __future__ import annotations

import os
import pickle
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pandas as pd
import pytest
import skops.io
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

from dashboard.library import assets
from dashboard.panels.what_if import WhatIf
from dashboard.view import View

ROOT = Path(__file__).parents[3]
CHROMIUM = "/usr/bin/chromium"
pytestmark = pytest.mark.slow

Opened = Callable[..., View]
WAIT = 45_000  # ms; the machine may be busy


def refuse(reason: str) -> Any:
    """Without a browser these tests are skipped at home, and fail where they must run."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        refuse("playwright is not installed")
    path = CHROMIUM if Path(CHROMIUM).exists() else shutil.which("chromium") or shutil.which("google-chrome")
    if path is None:
        refuse("there is no chromium")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def address(browser: Any) -> Iterator[str]:
    """The prepared workspaces, served as `whyboard demo` does."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    command = [sys.executable, "-m", "dashboard.cli", "demo", "--no-browser", "--port", str(port)]
    environment = {name: value for name, value in os.environ.items() if name != "WHYBOARD_WORKSPACES"}
    server = subprocess.Popen(
        command,
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        env={**environment, "OMP_NUM_THREADS": "2", "OMP_WAIT_POLICY": "PASSIVE"},
    )
    try:
        healthy(f"http://localhost:{port}", server)
        yield f"http://localhost:{port}"
    finally:
        server.terminate()
        try:
            server.wait(10)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def healthy(url: str, server: subprocess.Popen[bytes]) -> None:
    for _ in range(360):
        assert server.poll() is None, "the server ended before it answered"
        with suppress(OSError), urllib.request.urlopen(f"{url}/_stcore/health", timeout=2) as answer:
            if answer.status == 200:
                return
        time.sleep(0.25)
    pytest.fail("the server did not answer")


@pytest.fixture
def visitor(browser: Any, address: str) -> Iterator[Callable[..., Any]]:
    """``visitor("?w=credit")``: somebody new with a page open; an error in any page fails the test."""
    contexts, errors = [], []

    def arrive(where: str = "", ready: bool = True) -> Any:
        context = browser.new_context(viewport={"width": 1440, "height": 1000})
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(WAIT)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.asked = []
        page.on("request", lambda request: page.asked.append(request.url))
        page.goto(address + "/" + where)
        if ready:
            painted(page)
        return page

    yield arrive
    for context in contexts:
        context.close()
    assert errors == []


def painted(page: Any, seq: int = 0) -> None:
    """The component shows an answer to event `seq` or later, and waits for none."""
    page.wait_for_selector(".wb-linked[data-ready='1']", timeout=WAIT)
    page.wait_for_function(
        "seq => { const host = document.querySelector('.wb-linked'); return host && Number(host.dataset.seq) >= seq && !host.dataset.busy; }",
        arg=seq,
        timeout=WAIT,
    )


def does(page: Any, action: Callable[[], Any]) -> None:
    """Do something in the component, and wait until its answer is painted."""
    seq = int(page.locator(".wb-linked").get_attribute("data-seq"))
    action()
    painted(page, seq + 1)


def block(page: Any, name: str) -> Any:
    return page.locator(f"[data-block='{name}']")


def control(page: Any, name: str, field: str) -> Any:
    return block(page, name).locator(f"[data-control='{field}']")


def choose(page: Any, label: str, option: str) -> None:
    """One of Streamlit's select boxes in the header."""
    page.locator("[data-testid='stSelectbox']").filter(has_text=label).locator("input").click()
    page.get_by_role("option", name=option, exact=True).click()


def go(page: Any, name: str) -> None:
    page.get_by_role("link", name=name, exact=True).click()


def share_said(text: str) -> int:
    """``→ 41 % (+3 points)`` says 41."""
    found = re.search(r"(\d+)\s*%", text)
    assert found is not None, text
    return int(found.group(1))


BAR = """([block, name]) => {
    const plot = document.querySelector(`[data-block='${block}'] .wb-plot`);
    for (const trace of plot?._fullData ?? []) {
        const place = Array.from(trace.customdata ?? []).indexOf(name);
        if (trace.type === 'bar' && place >= 0) return Number(trace.x[place]);
    }
    return null;
}"""


def test_the_highest_risk_wrong_case_is_found_with_two_clicks(visitor: Any, opened: Opened) -> None:
    view = opened("pneumonia")
    wrong = [int(row) for row in view.workspace.rows if (view.predictions[row, 1] >= 0.5) != view.truth[row]]
    wanted = max(wrong, key=lambda row: view.predictions[row, 1])
    page = visitor("?w=pneumonia")
    does(
        page,
        lambda: control(page, "cases.filter", "sort").locator("select").select_option(label="lowest first"),
    )
    does(page, lambda: control(page, "cases.filter", "show").get_by_role("radio", name="wrong").check())
    does(
        page,
        lambda: control(page, "cases.filter", "sort").locator("select").select_option(label="highest first"),
    )
    entries = block(page, "cases.list").locator(".wb-entry")
    ids = [
        entry
        for entry in entries.evaluate_all("nodes => nodes.map(node => node.dataset.id)")
        if entry != str(view.selection.row)
    ]
    assert ids[0] == str(wanted)
    does(page, lambda: block(page, "cases.list").locator(f"[data-id='{wanted}']").click())
    assert f"Case {wanted} " in block(page, "strip.case").inner_text()
    assert share_said(block(page, "says.text").inner_text()) == round(100 * view.predictions[wanted, 1])
    assert block(page, "cases.list").locator("[aria-selected=true]").get_attribute("data-id") == str(wanted)


def test_asthma_lowers_the_estimate_and_switching_it_off_raises_it(visitor: Any, opened: Opened) -> None:
    view = opened("pneumonia")
    assert view.original.X["asthma"].tolist() == [1]
    page = visitor("?w=pneumonia")
    assert page.evaluate(BAR, ["why.chart", "asthma"]) < 0
    assert "Move a slider" in block(page, "whatif.answer").inner_text()
    does(page, lambda: control(page, "whatif.features", "asthma").get_by_role("radio", name="no").check())
    said = block(page, "whatif.answer").inner_text()
    without = View(view.workspace, view.selection.edit(("asthma", 0.0)), view.compute).score
    assert without > view.score
    assert share_said(said) == round(100 * without)
    assert "+" in said
    assert page.evaluate(BAR, ["why.chart", "asthma"]) > 0
    does(page, lambda: control(page, "whatif.tools", "reset").locator("button").click())
    assert "Move a slider" in block(page, "whatif.answer").inner_text()
    assert page.evaluate(BAR, ["why.chart", "asthma"]) < 0


def test_one_suggested_change_turns_the_no_into_a_yes(visitor: Any) -> None:
    page = visitor("?w=credit")
    assert share_said(block(page, "says.text").inner_text()) < 50
    control(page, "suggestions.ask", "search").locator("button").click()
    load = block(page, "suggestions.table").get_by_role("button", name="load").first
    load.wait_for()
    painted(page)
    does(page, load.click)
    assert share_said(block(page, "says.text").inner_text()) >= 50
    assert "→" in block(page, "whatif.answer").inner_text()


PEAK = """() => {
    const canvas = document.querySelector("[data-block='picture.maps'] .wb-large canvas:not([hidden])"); // the plain picture's is hidden
    if (!canvas) return null;
    const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
    let best = 0;
    for (let place = 0; place < canvas.width * canvas.height; place += 1) if (data[4 * place + 3] > data[4 * best + 3]) best = place;
    return [Math.floor(best / canvas.width) / canvas.height, (best % canvas.width) / canvas.width];
}"""


def test_another_model_looks_at_another_place_of_the_same_scan(visitor: Any) -> None:
    """The letter stands in the upper right corner; the first case has one and no finding."""
    page = visitor("?w=scans")
    page.wait_for_function(f"() => ({PEAK})() !== null")
    painted(page)
    down, right = page.evaluate(PEAK)
    assert (down < 0.32, right > 0.68) == (True, True)
    shown = block(page, "strip.case").inner_text()
    choose(page, "Model", "honest")
    page.wait_for_function(
        "before => document.querySelector(\"[data-block='strip.case']\").innerText !== before", arg=shown
    )
    page.wait_for_function(
        f"before => {{ const now = ({PEAK})(); return now && (now[0] !== before[0] || now[1] !== before[1]); }}",
        arg=[down, right],
    )
    painted(page)
    down, right = page.evaluate(PEAK)
    assert (down < 0.32, right > 0.68) != (True, True)


ALPHAS = """() => {
    const canvas = document.querySelector("[data-block='picture.maps'] .wb-large canvas:not([hidden])");
    const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
    return data.filter((_, place) => place % 4 === 3).filter((alpha) => alpha > 0).length;
}"""


def drag(page: Any, start: tuple[float, float], end: tuple[float, float]) -> None:
    """Over the plain picture, in shares of its sides."""
    box = page.locator("[data-block='picture.maps'] .wb-large .wb-picture").first.bounding_box()
    for number, (x, y) in enumerate((start, end)):
        page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"], steps=4)
        if number == 0:
            page.mouse.down()
    page.mouse.up()


def large_picture_stays(page: Any) -> None:
    """From looking to a drawn square of 40 px the large picture keeps its place, so the square is what is stored."""
    maps = block(page, "picture.maps")
    large = maps.locator(".wb-large .wb-picture").first
    box = large.bounding_box()

    def stays() -> None:
        assert large.bounding_box() == pytest.approx(box, abs=1)

    assert maps.get_by_role("button", name="remove the region").is_disabled()
    maps.get_by_role("button", name="draw a rectangle").click()
    stays()
    assert maps.get_by_text("Draw on any of the pictures").is_visible()
    x, y = box["x"] + 60, box["y"] + 60
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 5, y + 5)
    stays()
    page.mouse.move(x + 40, y + 40, steps=4)
    does(page, page.mouse.up)
    stays()
    points = maps.locator(".wb-region-line").first.get_attribute("points").split()
    (left, top), (right, bottom) = (map(float, points[corner].split(",")) for corner in (0, 2))
    sides = ((right - left) * box["width"], (bottom - top) * box["height"])
    assert sides == pytest.approx((40, 40), abs=1)


def test_a_map_is_looked_at_without_the_server_and_a_region_is_read_from_it(
    visitor: Any, tmp_path: Path
) -> None:
    page = visitor("?w=scans")
    page.wait_for_function(f"() => ({PEAK})() !== null")
    painted(page)
    maps = block(page, "picture.maps")
    seq = page.locator(".wb-linked").get_attribute("data-seq")
    sheet = maps.locator(".wb-large .wb-sheet").first
    all_shown = page.evaluate(ALPHAS)
    asked = len(page.asked)
    maps.get_by_label("opacity").fill("0.9")
    canvas = maps.locator(".wb-large canvas:not([hidden])").first
    assert canvas.evaluate("node => getComputedStyle(node).opacity") == "0.9"
    maps.get_by_label("strongest").fill("0.05")
    assert 0 < page.evaluate(ALPHAS) <= 0.05 * 64 * 64 < all_shown
    maps.get_by_label("colours").select_option("signed")
    maps.get_by_role("button", name="zoom in").click()
    drag(page, (0.8, 0.8), (0.2, 0.5))
    moved = maps.locator(".wb-sheet").evaluate_all("nodes => nodes.map((node) => node.style.transform)")
    assert set(moved) == {sheet.evaluate("node => node.style.transform")} != {"none"}
    assert len(moved) >= 6
    with page.expect_download() as saved:
        maps.get_by_role("button", name="save the large map").click()
    with Image.open(saved.value.path()) as picture:
        assert picture.size == (64, 64)
    maps.get_by_role("button", name="show the whole picture").click()
    assert page.locator(".wb-linked").get_attribute("data-seq") == seq
    assert len(page.asked) == asked  # nothing was sent and nothing fetched

    with page.expect_download() as values:
        maps.get_by_role("button", name="save the values of Grad-CAM").click()
    assert np.load(values.value.path())["values"].shape == (1, 1, 64, 64)
    large_picture_stays(page)
    does(page, lambda: maps.get_by_role("button", name="remove the region").click())
    maps.get_by_role("button", name="draw a rectangle").click()
    does(page, lambda: drag(page, (0.78, 0.02), (0.98, 0.2)))  # the letter
    table = block(page, "region.table")
    table.wait_for()
    first = table.locator("tbody tr").first
    inside, usual = (share_said(first.locator("td").nth(place).inner_text()) for place in (1, 2))
    assert inside > 3 * usual
    assert maps.locator(".wb-region-line[points]:visible").count() >= 6

    mask = np.zeros((32, 32), np.uint8)
    mask[20:, :8] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    does(page, lambda: maps.locator("input[type=file]").set_input_files(tmp_path / "mask.png"))
    assert "9\u202f% of the picture (384 pixels)" in block(page, "region.text").inner_text()
    does(page, lambda: maps.get_by_role("button", name="remove the region").click())
    assert table.count() == 0


def test_a_region_is_drawn_by_keys_alone(visitor: Any) -> None:
    page = visitor("?w=scans")
    page.wait_for_function(f"() => ({PEAK})() !== null")
    painted(page)
    maps = block(page, "picture.maps")
    said, line = maps.get_by_role("status"), maps.locator(".wb-region-line").first
    large = maps.locator(".wb-large .wb-picture").first

    def press(*keys: str) -> str:
        for key in keys:
            page.keyboard.press(key)
        return str(said.inner_text()) if said.is_visible() else ""

    maps.get_by_role("button", name="draw a rectangle").focus()
    assert press("Enter") == "rectangle from 40 % to 60 % across, 40 % to 60 % down"
    assert large.evaluate("node => node === document.activeElement")
    assert large.get_attribute("role") == "application"
    assert (
        press(*["ArrowRight"] * 6, *["ArrowUp"] * 5)
        == "rectangle from 52 % to 72 % across, 30 % to 50 % down"
    )
    assert press(*["Shift+ArrowRight"] * 3, "Shift+ArrowUp").startswith(
        "rectangle from 52 % to 78 % across, 30 % to 48 %"
    )
    assert press("Escape") == ""
    assert not line.is_visible()
    assert large.get_attribute("role") == "group"
    assert block(page, "region.table").count() == 0  # nothing was sent

    maps.get_by_role("button", name="draw a rectangle").focus()
    press("Enter", *["ArrowRight"] * 19, *["ArrowUp"] * 19)  # into the corner with the letter
    does(page, lambda: press("Enter"))
    first = block(page, "region.table").locator("tbody tr").first
    inside, usual = (share_said(first.locator("td").nth(place).inner_text()) for place in (1, 2))
    assert inside > 3 * usual
    assert said.inner_text() == "The region is set: rectangle from 78 % to 98 % across, 2 % to 22 % down."

    corners = line.get_attribute("points")
    maps.get_by_role("button", name="draw a rectangle").click()
    box = large.bounding_box()
    page.mouse.move(box["x"] + 30, box["y"] + 30)
    page.mouse.down()
    page.mouse.move(box["x"] + 120, box["y"] + 120, steps=4)
    assert line.get_attribute("points") != corners
    press("Escape")
    page.mouse.up()
    assert line.get_attribute("points") == corners  # what was there stays
    assert maps.get_by_role("button", name="draw a rectangle").get_attribute("aria-pressed") == "false"


def test_pictures_are_made_on_demand_and_lead_to_the_real_ones_beside_them(visitor: Any) -> None:
    page = visitor("overview?w=digits")
    made = block(page, "made.for")
    made.get_by_role("button", name="make the pictures").click()
    pictures = block(page, "made.pictures")
    pictures.get_by_role("button", name="save as PNG").first.wait_for()
    assert pictures.locator(".wb-tile").count() == 10
    seven = pictures.locator(".wb-tile").nth(7)
    assert re.search(r"reaches \S+; the highest real picture \S+", seven.inner_text())
    with page.expect_download() as saved:
        seven.get_by_role("button", name="save as PNG").click()
    with Image.open(saved.value.path()) as picture:
        assert picture.size == (8, 8)
    with page.expect_download() as values:
        pictures.get_by_role("button", name="values (npz)").click()
    assert np.load(values.value.path())["pictures"].shape == (10, 1, 1, 8, 8)
    real = seven.get_by_role("button", name="Case ").first
    number = real.get_attribute("aria-label").partition(",")[0]
    does(page, lambda: real.click())
    assert block(page, "strip.case").inner_text().startswith(f"{number} · 7: model says")

    does(page, lambda: made.locator("select").select_option(label="layer node_conv2d_2"))
    if made.get_by_role("button", name="make the picture").count():  # where it would take more than a moment
        made.get_by_role("button", name="make the picture").click()
    pictures.get_by_role("button", name="channel 0: save as PNG").wait_for()
    assert pictures.locator(".wb-tile").count() == 1


def test_outside_the_data_the_page_warns(visitor: Any, opened: Opened) -> None:
    controls = WhatIf().blocks(opened("pneumonia"))[2]["controls"]
    name = next(c["id"] for c in controls if c["kind"] == "slider" and c["max"] > c["data_high"])
    page = visitor("?w=pneumonia")
    assert block(page, "whatif.answer").locator(".wb-warning").count() == 0
    control(page, "whatif.features", name).locator("input[type=range]").focus()
    does(page, lambda: page.keyboard.press("End"))
    warning = block(page, "whatif.answer").locator(".wb-warning")
    warning.wait_for()
    assert "Outside the data" in warning.inner_text()
    assert "outside the data" in control(page, "whatif.features", name).locator(".wb-note").inner_text()


def cases(n: int = 80, **names: str) -> pd.DataFrame:
    """Two numbers, and an outcome that follows them."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"age": rng.integers(20, 90, n), "dose": rng.normal(2, 1, n).round(2)})
    frame["outcome"] = (frame["age"] / 30 + frame["dose"] > 3.8).astype(int)
    return frame.rename(columns=names)


def file(name: str, content: bytes) -> dict[str, Any]:
    return {"name": name, "mimeType": "application/octet-stream", "buffer": content}


#: In a function: the page's policy forbids to run a text, which is how an expression is looked at again and again.
IDLE = "document.querySelector(\"[data-testid='stApp']\")?.dataset.testScriptState === 'notRunning'"


def drop(page: Any, place: str, given: dict[str, Any]) -> None:
    """Drop a file at once, whatever the page is doing, and wait until it shows it."""
    field = f".st-key-upload-{place}"
    before = page.locator(field).inner_text()
    page.locator(f"{field} input[type=file]").set_input_files(given)
    page.wait_for_function(
        f"([field, before]) => document.querySelector(field).innerText !== before && {IDLE}",
        arg=[field, before],
    )


def upload(page: Any, model: dict[str, Any], frame: pd.DataFrame) -> None:
    page.get_by_text("Open your own").wait_for()
    drop(page, "model", model)
    drop(page, "data", file("cases.csv", frame.to_csv(index=False).encode()))


def open_upload(page: Any, model: dict[str, Any], frame: pd.DataFrame) -> None:
    upload(page, model, frame)
    page.locator(".st-key-upload-open button:not([disabled])").click()
    painted(page)


def test_an_own_model_and_table_are_opened_and_a_pickle_is_not(visitor: Any) -> None:
    frame = cases()
    model = LogisticRegression(max_iter=500).fit(frame[["age", "dose"]], frame["outcome"])
    page = visitor(ready=False)
    upload(page, file("model.pkl", pickle.dumps({"a": 1})), frame)
    refusal = page.get_by_role("alert").filter(has_text="pickle")
    refusal.wait_for()
    page.get_by_text("80 rows, 3 columns").wait_for()
    assert page.locator(".st-key-upload-open").count() == 0
    drop(page, "model", file("model.skops", skops.io.dumps(model)))
    page.locator(".st-key-upload-open button:not([disabled])").wait_for()
    assert refusal.count() == 0
    page.locator(".st-key-upload-open button").click()
    painted(page)
    assert block(page, "strip.case").inner_text().startswith("Case 0 · 1: model says")
    expected = model.predict_proba(frame[["age", "dose"]])[0, 1]
    assert share_said(block(page, "says.text").inner_text()) == round(100 * expected)
    assert "w=" not in page.url


def test_what_an_own_model_of_pictures_expects_is_what_it_receives(visitor: Any) -> None:
    folder = assets() / "digits"
    page = visitor(ready=False)
    page.get_by_text("Open your own").wait_for()
    drop(page, "model", file("digits.onnx", (folder / "digits.onnx").read_bytes()))
    opened = page.get_by_test_id("stAlert").filter(
        has_text="ONNX network"
    )  # good news has no role of its own
    opened.wait_for(timeout=2 * WAIT)  # the first of its kind
    drop(page, "data", file("digits.npz", (folder / "digits.npz").read_bytes()))

    def field(name: str) -> Any:
        return page.locator(f"[class*='st-key-upload-input-{name}']")

    def write(text: str) -> None:
        field("size").get_by_role("textbox").fill(text)
        field("size").get_by_role("textbox").press("Enter")

    write("none")
    refusal = page.get_by_test_id("stAlert").filter(has_text="like 224 × 224")
    refusal.wait_for()
    assert page.locator(".st-key-upload-open button").is_disabled()
    write("8")
    refusal.wait_for(state="detached")
    field("preset").get_by_role("combobox").click()
    page.get_by_role("option", name="MNIST digits").click()
    page.get_by_text("mean 0.1307; deviation 0.3081").wait_for()
    page.locator(".st-key-upload-open button:not([disabled])").click()
    painted(page)
    said = block(page, "received.text").inner_text()
    assert "resized to 8 × 8; less the mean 0.1307; divided by 0.3081" in said


def open_slow(page: Any) -> None:
    """A model that takes seconds for what the overview asks first."""
    rng = np.random.default_rng(0)
    many = pd.DataFrame(rng.normal(size=(6000, 8)).round(3), columns=[f"f{i}" for i in range(8)])
    many["outcome"] = (many.sum(axis=1) > 0).astype(int)
    slow = KNeighborsClassifier(25, algorithm="brute").fit(many.drop(columns="outcome"), many["outcome"])
    open_upload(page, file("slow.skops", skops.io.dumps(slow)), many[:200])


def test_a_long_computation_is_cancelled_and_the_page_stays_usable(visitor: Any) -> None:
    page = visitor(ready=False)
    open_slow(page)
    go(page, "Overview")
    cancel = page.locator(".st-key-work button")
    cancel.wait_for()
    page.locator(".st-key-work").filter(has_text="SHAP values").wait_for()
    began = time.monotonic()
    cancel.click()
    page.get_by_text(re.compile("Stopped: SHAP values|Stopped after")).first.wait_for()
    assert time.monotonic() - began < 20
    page.wait_for_function("() => !document.querySelector('.st-key-work')")
    painted(page)
    line = block(page, "strip.case").inner_text()
    does(page, lambda: control(page, "strip.move", "next").locator("button").click())
    assert block(page, "strip.case").inner_text() != line
    assert page.get_by_text(re.compile("Stopped: SHAP values|Stopped after")).first.is_visible()
    page.get_by_role("button", name="compute again").first.click()
    cancel.wait_for()
    page.locator(".st-key-work").filter(has_text="SHAP values").wait_for()


def test_anything_done_interrupts_a_long_computation(visitor: Any) -> None:
    page = visitor(ready=False)
    open_slow(page)
    go(page, "Overview")
    page.locator(".st-key-work").filter(has_text="SHAP values").wait_for()
    line = block(page, "strip.case").inner_text()
    began = time.monotonic()
    control(page, "strip.move", "next").locator("button").click()
    page.wait_for_function(
        "before => document.querySelector(\"[data-block='strip.case']\").innerText !== before", arg=line
    )
    assert time.monotonic() - began < 6  # the work alone takes longer
    page.locator(".st-key-work").filter(has_text="SHAP values").wait_for()  # and then it is taken up again


def test_no_request_leaves_this_machine(visitor: Any) -> None:
    page = visitor(ready=False)
    page.get_by_text("Prepared workspaces").wait_for()
    page.locator(".st-key-open-pneumonia button").click()
    painted(page)
    go(page, "Overview")
    block(page, "importance.chart").locator(".main-svg").first.wait_for()
    urls = [urlsplit(url) for url in page.asked]
    assert len(urls) > 10
    strange = {
        url.geturl()[:200]
        for url in urls
        if url.scheme not in ("data", "blob") and url.hostname not in ("localhost", "127.0.0.1")
    }
    assert strange == set()


HOSTILE = "<img src=x onerror=window.hacked=1>"
MARKDOWN = "![p](http://evil.test/p.png)"


def test_hostile_names_never_become_elements(visitor: Any) -> None:
    frame = cases(age=HOSTILE, dose=MARKDOWN)
    model = LogisticRegression(max_iter=500).fit(frame[[HOSTILE, MARKDOWN]], frame["outcome"])
    page = visitor(ready=False)
    made = "document.querySelectorAll(\"img[src='x'], img[src*='evil'], a[href*='evil'], image[href*='evil']\").length"

    def harmless() -> None:
        assert page.evaluate(made) == 0
        assert page.evaluate("window.hacked") is None
        assert [url for url in page.asked if "evil" in url] == []

    upload(page, file(f"{MARKDOWN.replace('/', '_')}.skops", skops.io.dumps(model)), frame)
    page.locator(".st-key-upload-open button:not([disabled])").wait_for()
    harmless()
    page.locator(".st-key-upload-open button").click()
    painted(page)
    assert HOSTILE in block(page, "whatif.features").inner_text()
    assert MARKDOWN in block(page, "whatif.features").inner_text()
    harmless()
    for way in ("waterfall", "table"):
        does(page, lambda way=way: control(page, "why.ways", "way").get_by_role("radio", name=way).check())
        harmless()
    go(page, "Overview")
    block(page, "importance.chart").locator(".main-svg").first.wait_for()
    harmless()


def test_two_visitors_have_their_own_selection(visitor: Any) -> None:
    one, other = visitor("?w=credit"), visitor("?w=credit")
    first = block(other, "strip.case").inner_text()
    assert block(one, "strip.case").inner_text() == first
    does(one, lambda: control(one, "strip.move", "wrong").locator("button").click())
    assert block(one, "strip.case").inner_text() != first
    does(
        other,
        lambda: control(other, "cases.filter", "sort").locator("select").select_option(label="lowest first"),
    )
    assert block(other, "strip.case").inner_text() == first
    assert control(one, "cases.filter", "sort").locator("select").input_value() == "highest first"


def test_a_class_chosen_in_the_chart_stands_in_the_header(visitor: Any) -> None:
    page = visitor("?w=digits")
    header = page.locator("[data-testid='stSelectbox']").filter(has_text="Explain")
    assert header.locator("input").input_value() == "predicted class"
    place, label = page.evaluate("""() => {
        const bars = document.querySelector("[data-block='classes.chart'] .wb-plot")._fullData[0];
        const widest = bars.x.indexOf(Math.max(...bars.x));
        return [widest, String(bars.customdata[widest])];
    }""")
    does(page, lambda: block(page, "classes.chart").locator(".point").nth(place).click(force=True))
    page.wait_for_function(
        "label => document.querySelector(\"[data-testid='stSelectbox'] input[aria-label='Explain']\")?.value === label",
        arg=label,
    )
    choose(page, "Explain", "predicted class")
    page.wait_for_function(
        "() => document.querySelector(\"[data-testid='stSelectbox'] input[aria-label='Explain']\")?.value === 'predicted class'"
    )


def test_the_workspace_opened_from_the_start_page_is_shown_while_another_is_open(visitor: Any) -> None:
    page = visitor("?w=credit")
    go(page, "Start")
    page.locator(".st-key-open-diabetes button").click()
    page.wait_for_function(
        "() => document.querySelector(\"[data-block='strip.case']\")?.innerText.includes('Case 79')"
    )
    painted(page)
    assert "disease progression" in block(page, "strip.case").inner_text()
