"""Nothing leaves the machine: the real server and a real browser, with every way out watched and closed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.faults.visiting import PATIENCE, Served, free_port, running, until

pytestmark = pytest.mark.slow

#: Runs before anything else in the server and in each Python that it starts: refuses and writes down what leads outside.
WATCH = """
import os, sys

def watch(event, args):
    if event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        where = args[1]
        outside = isinstance(where, tuple) and where[0] not in ("127.0.0.1", "::1", "localhost")
    elif event in ("socket.getaddrinfo", "socket.gethostbyname"):
        where = args[0]
        outside = where not in (None, "127.0.0.1", "::1", "localhost", b"localhost", "")
    else:
        return
    if outside:
        with open(os.environ["WATCHED"], "a") as report:
            report.write(f"{event} {where}\\n")
        raise ConnectionRefusedError(f"{event} leads outside: {where}")

sys.addaudithook(watch)
"""


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the watch in it; `report` there names what tried to leave."""
    folder = tmp_path_factory.mktemp("watch")
    (folder / "sitecustomize.py").write_text(WATCH)
    (folder / "report").write_text("")
    return folder


@pytest.fixture(scope="module")
def demo(watched: Path) -> Iterator[Served]:
    port = free_port()
    command = [sys.executable, "-m", "dashboard.cli", "demo", "--no-browser", "--port", str(port)]
    environment = {"PYTHONPATH": str(watched), "WATCHED": str(watched / "report"), "WHYBOARD_WORKSPACES": ""}
    for name, folder in (("TMPDIR", "temporary"), ("HOME", "home"), ("XDG_CACHE_HOME", "cache")):
        (watched / folder).mkdir()
        environment[name] = str(watched / folder)
    with running(command, port, **environment) as server:
        yield server


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    path = shutil.which("chromium") or shutil.which("google-chrome")
    if path is None:
        if os.environ.get("CI"):
            pytest.fail("there is no chromium")
        pytest.skip("there is no chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        closed = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost"
        chromium = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", closed])
        yield chromium
        chromium.close()


def test_the_watch_sees_what_it_must(watched: Path) -> None:
    """Otherwise the silence below says nothing."""
    command = [
        sys.executable,
        "-c",
        "import urllib.request; urllib.request.urlopen('http://checkip.example')",
    ]
    report = watched / "tried"
    environment = {**os.environ, "PYTHONPATH": str(watched), "WATCHED": str(report)}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=PATIENCE)
    assert ended.returncode == 1
    assert "checkip.example" in report.read_text()


def test_nothing_leaves_while_somebody_looks_around(demo: Served, watched: Path, browser: Any) -> None:
    context = browser.new_context(viewport={"width": 1440, "height": 1000})
    page = context.new_page()
    page.set_default_timeout(4 * PATIENCE * 1000)
    asked: list[str] = []
    complaints: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("websocket", lambda opened: asked.append(opened.url))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda said: complaints.append(said.text) if "Content Security" in said.text else None)
    page.goto(f"http://localhost:{demo.port}/")
    page.get_by_role("button", name="Open", exact=True).first.click()
    page.wait_for_selector(".wb-linked[data-ready='1']")
    page.get_by_role("link", name="Overview").click()
    page.wait_for_selector(
        "[data-block^='importance'] .js-plotly-plot, [data-block^='beeswarm'] .js-plotly-plot"
    )
    for origin in ("http://evil.example", "null"):  # Streamlit would look up the machine's public address now
        assert demo.ask("/_stcore/stream", headers={"Origin": origin})[0] == 403
    context.close()
    until(demo.healthy)
    assert {urlsplit(url).hostname for url in asked if not url.startswith(("data:", "blob:"))} == {
        "localhost"
    }
    assert len(asked) > 20
    assert complaints == []
    assert (watched / "report").read_text() == ""
    written = [path for name in ("temporary", "home", "cache") for path in (watched / name).rglob("*")]
    kept = [path.name for path in written if path.is_file()]
    assert [
        name for name in kept if not name.startswith("fontlist-")
    ] == []  # matplotlib's, which shap imports


def test_the_page_itself_keeps_the_browser_in(demo: Served, browser: Any) -> None:
    """A link or picture that a hostile name smuggled in finds every way closed by the policy."""
    page = browser.new_context().new_page()
    page.goto(f"http://localhost:{demo.port}/")
    refused = page.evaluate(
        """async () => {
          const seen = [];
          document.addEventListener("securitypolicyviolation", (event) => seen.push(event.effectiveDirective));
          const add = (name, fields) => document.body.append(Object.assign(document.createElement(name), fields));
          add("img", { src: "http://localhost:1/x.png" });
          add("script", { src: "http://localhost:1/x.js" });
          add("script", { textContent: "window.ran = true" });
          add("iframe", { src: "http://localhost:1/x" });
          add("link", { rel: "stylesheet", href: "http://localhost:1/x.css" });
          await fetch("http://localhost:1/x").catch(() => null);
          for (let turn = 0; turn < 200 && new Set(seen).size < 5; turn++) {
            await new Promise((done) => setTimeout(done, 50));
          }
          return { seen, ran: window.ran === true };
        }"""
    )
    kinds = {"img-src", "script-src-elem", "frame-src", "style-src-elem", "connect-src"}
    assert kinds <= set(refused["seen"])
    assert refused["ran"] is False
    page.context.close()
