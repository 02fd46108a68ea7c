"""A workspace in which everything is called something hostile, seen in a real browser: nothing happens, and it works."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import numpy as np
import pandas as pd
import pytest
import skops.io
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from dashboard.figures.plain import plain_text
from dashboard.figures.text import safe_text
from dashboard.markdown import JOINER
from dashboard.standalone import standalone
from explainers import Feature, Schema
from tests.dashboard.browser.test_journeys import (
    ROOT,
    WAIT,
    block,
    browser,  # noqa: F401  # a fixture
    control,
    does,
    go,
    healthy,
    painted,
)
from tests.dashboard.test_figures import attribution, reasons
from tests.faults.strings import EVERY, HOSTILE, NAMES

pytestmark = pytest.mark.slow

#: As a column may be called: a file with an endless name is not opened, so that one is the label of its column.
COLUMNS = {group: name[:80].strip("\r\n\t ") or "x" for group, name in NAMES.items()}
KINDS = tuple(dict.fromkeys(" ".join(name.split())[:80] for name in EVERY if "\ud800" not in name))[:40]
SHORT = " ".join(name for group, name in NAMES.items() if group not in ("long", "control"))


def quoted(text: str) -> str:
    """A string of TOML, which takes JSON's escapes."""
    return json.dumps(text.replace("\ud800", ""), ensure_ascii=False).replace("\x7f", "\\u007f")


def write(folder: Path, classes: tuple[str, ...]) -> None:
    """A prepared workspace whose every name is hostile; the files' own names too."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    rows = 20 * len(classes)
    frame = pd.DataFrame({name: rng.normal(size=rows).round(2) for name in COLUMNS.values()})
    frame["kind"] = np.resize(KINDS, rows)
    truth = np.resize(np.array(classes, dtype=object), rows)
    frame[COLUMNS["html"]] += np.resize(np.arange(len(classes)), rows)
    encode = make_column_transformer((OneHotEncoder(), ["kind"]), remainder="passthrough")
    model = make_pipeline(encode, LogisticRegression(max_iter=2000, tol=0.05)).fit(frame, truth)
    file = "<img src=x onerror=window.hacked=1> $x$ :red[y]"
    skops.io.dump(model, folder / f"{file}.skops")
    frame.assign(truth=truth).to_parquet(folder / f"{file}.parquet")
    note = quoted(" ".join(text for text in EVERY if len(text) < 200))
    lines = [
        "[workspace]", f"title = {quoted(SHORT)}", f"summary = {quoted(NAMES['long'])}", f"story = {note}",
        f"subject = {quoted(NAMES['html'])}", f"subjects = {quoted(SHORT)}",
        "[data]", f"file = {quoted(file + '.parquet')}", 'target = "truth"', f"target_label = {quoted(SHORT)}",
        "[[models]]", f"name = {quoted(SHORT)}", f"file = {quoted(file + '.skops')}", f"note = {note}",
    ]  # fmt: skip
    for group, name in COLUMNS.items():
        told = {
            "label": NAMES[group],
            "unit": HOSTILE[group][-1],
            "description": " ".join(HOSTILE[group])[:900],
        }
        lines += [
            "[[features]]",
            f"name = {quoted(name)}",
            *(f"{key} = {quoted(text)}" for key, text in told.items()),
        ]
    (folder / "workspace.toml").write_text("\n".join(lines), encoding="utf-8")


@pytest.fixture(scope="module")
def address(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:  # noqa: F811
    """A server of two such workspaces: of two classes, and of twelve."""
    shelf = tmp_path_factory.mktemp("hostile")
    write(shelf / "two", (f"no {SHORT}", SHORT))
    write(shelf / "many", tuple(COLUMNS.values()))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    command = [
        sys.executable,
        "-m",
        "dashboard.cli",
        "serve",
        str(shelf),
        "--no-browser",
        "--port",
        str(port),
    ]
    server = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": "2"}
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


MADE = """() => {
    const found = [];
    const own = (link) => new URL(link, location.href).host === location.host;
    for (const node of document.querySelectorAll('*')) {
        for (const { name, value } of node.attributes) {
            if (/^on/i.test(name)) found.push(`${node.tagName} ${name}`);
            if (/^(href|src|xlink:href|action|srcdoc)$/i.test(name) && !/^(data|blob):/.test(value) && !own(value)) {
                found.push(`${node.tagName} ${name}=${value.slice(0, 80)}`);
            }
        }
    }
    for (const node of document.querySelectorAll('iframe, object, embed, .katex, .MathJax, mjx-container')) found.push(node.tagName);
    const ours = "[data-testid='stExpander'], [data-testid='stHeading']"; // what we say of formats, and our own name
    const inside = ['a', 'img', 'h1', 'li', 'table', 'em', 'code', 'del', '[role=img]', '.stMarkdownColoredText', '.stMarkdownColoredBackground'];
    for (const one of inside) {
        for (const node of document.querySelectorAll(`[data-testid='stMarkdownContainer'] ${one}`)) {
            if (!node.closest(ours)) found.push(`markdown ${one}: ${node.outerHTML.slice(0, 120)}`);
        }
    }
    for (const node of document.querySelectorAll('.wb-linked a, .wb-plot a, .wb-linked img:not([hidden])')) found.push(node.outerHTML.slice(0, 120));
    return [found, window.hacked ?? null];
}"""


#: Scrolls a chart into sight and says where it then is, in one step: the page may be painted anew at any moment.
PLACE = """name => {
    const plot = document.querySelector(`[data-block='${name}'] .wb-plot .main-svg`)?.closest('.wb-plot');
    plot?.scrollIntoView({ block: 'center' });
    return plot ? plot.getBoundingClientRect().toJSON() : null;
}"""


class Visit:
    """A page, everything it asked for, and every box or error that it showed."""

    def __init__(self, context: Any, address: str) -> None:
        self.page = context.new_page()
        self.page.set_default_timeout(WAIT)
        self.address = address
        self.asked: list[str] = []
        self.alarms: list[str] = []
        context.on("request", lambda request: self.asked.append(request.url))
        self.page.on("pageerror", lambda error: self.alarms.append(str(error)))
        self.page.on("dialog", lambda box: (self.alarms.append(box.message), box.dismiss()))

    def harmless(self) -> None:
        made, hacked = self.page.evaluate(MADE)
        assert made == []
        assert hacked is None
        assert self.alarms == []
        here = urlsplit(self.address).netloc
        strange = [
            u for u in self.asked if urlsplit(u).scheme not in ("data", "blob") and urlsplit(u).netloc != here
        ]
        assert strange == []


@pytest.fixture
def visit(browser: Any, address: str) -> Iterator[Visit]:  # noqa: F811
    context = browser.new_context(viewport={"width": 1440, "height": 1000}, accept_downloads=True)
    yield Visit(context, address)
    context.close()


def hover_everywhere(visit: Visit, name: str) -> str:
    """Move over a chart from left to right and top to bottom; everything that was read there."""
    visit.page.wait_for_function("() => document.querySelectorAll('.wb-skeleton, .wb-stale').length === 0")
    box = visit.page.wait_for_function(PLACE, arg=name).json_value()
    read = set()
    for down in np.linspace(0.05, 0.85, 9):
        for right in (0.35, 0.55, 0.8):
            visit.page.mouse.move(box["x"] + right * box["width"], box["y"] + down * box["height"])
            visit.page.wait_for_timeout(40)
            read.update(visit.page.locator(".hoverlayer .nums").all_text_contents())
    return "\n".join(read)


def test_the_start_page_shows_titles_as_they_are(visit: Visit) -> None:
    visit.page.goto(visit.address)
    card = visit.page.locator(".st-key-card-two")
    card.wait_for()
    visit.page.wait_for_timeout(500)
    assert plain_text(SHORT, 600).strip("\u2068\u2069")[:300] in card.inner_text().replace(JOINER, "")
    visit.harmless()


def test_an_address_is_a_message_at_most(visit: Visit) -> None:
    for name in (NAMES["html"], NAMES["path"], NAMES["template"], ":streamlit:"):
        visit.page.goto(f"{visit.address}/?{urlencode({'w': name})}")
        visit.page.get_by_text("There is no workspace").wait_for()
        visit.harmless()


@pytest.mark.parametrize("name", ["two", "many"])
def test_the_pages_of_a_hostile_workspace_work(visit: Visit, name: str) -> None:
    page = visit.page
    page.goto(f"{visit.address}/?w={name}")
    painted(page)
    features = block(page, "whatif.features").inner_text()
    for group in ("html", "script", "latex", "sql", "template", "directive"):
        assert plain_text(NAMES[group], 60).rstrip("…") in features
    visit.harmless()
    page.locator("[data-testid='stTooltipIcon']").first.hover()
    page.locator("[data-testid='stTooltipContent']").first.wait_for()
    visit.harmless()
    slider = block(page, "whatif.features").locator("input[type=range]").first
    does(page, lambda: slider.press("ArrowRight"))
    assert "→" in block(page, "whatif.answer").inner_text()
    for way in ("waterfall", "table", "bars"):
        does(page, lambda way=way: control(page, "why.ways", "way").get_by_role("radio", name=way).check())
        visit.harmless()
    assert len(hover_everywhere(visit, "why.chart")) > 100
    visit.harmless()
    with page.expect_download() as loading:
        block(page, "why.chart").get_by_role("button", name="CSV").click()
    assert re.fullmatch(r"whyboard-[0-9a-z]+\.csv", loading.value.suggested_filename)
    for line in Path(loading.value.path()).read_text(encoding="utf-8-sig").splitlines():
        assert not line.lstrip('"').startswith(("=", "+", "@"))
    if name == "many":
        box = page.locator("[data-testid='stSelectbox']").filter(has_text="Explain").locator("input")
        box.click()
        visit.harmless()
        box.fill(COLUMNS["template"][:12])
        box.press("Enter")
        page.wait_for_function(
            "name => document.querySelector(\"[data-block='strip.case']\").innerText.includes(name)",
            arg=COLUMNS["template"],
        )
        painted(page)
        visit.harmless()
    go(page, "Overview")
    for chart in ("importance.chart", "beeswarm.chart", "effect.chart", "facts.confusion"):
        block(page, chart).locator(".main-svg").first.wait_for()
        hover_everywhere(visit, chart)
    visit.harmless()
    painted(page)
    assert page.get_by_text("unexpected").count() == 0


def test_the_standalone_page_is_inert_and_draws(visit: Visit, tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    schema = Schema(tuple(Feature(name) for name in EVERY))
    figure = reasons(
        attribution(np.ones((1, len(EVERY))), schema.names), None, schema, np.zeros(len(EVERY)), most=60
    )
    figure.add_annotation(text=safe_text(SHORT), showarrow=False)
    file.write_text(standalone(SHORT, [*(t for t in EVERY if "\ud800" not in t), figure]), encoding="utf-8")
    visit.page.goto(file.as_uri())
    visit.page.locator(".main-svg").first.wait_for()
    assert visit.page.locator("p").count() == len(EVERY) - 1
    assert visit.page.locator("img, a, iframe, [onload], [onerror], [onmouseover]").count() == 0
    assert visit.page.evaluate("window.hacked ?? null") is None
    assert visit.alarms == []
    assert [url for url in visit.asked if not url.startswith(("file:", "data:", "blob:"))] == []
