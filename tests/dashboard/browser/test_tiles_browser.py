"""A large picture in a real browser: zoomed in, the screen shows the picture's own pixels and the map's own values, and nothing else is fetched.

The linked host stands on a page of its own, before the server's own part for tiles; no model is needed.
"""

from __future__ import annotations

import base64
import io
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uvicorn
from PIL import Image
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import HTMLResponse, JSONResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from dashboard.figures.images import as_seen, averaged, layer_png, map_limit, overlay_values, steps_of
from dashboard.figures.tiles import SIDE, MapTiles, PictureTiles, Tiles, every
from dashboard.linked.assets import WEB
from dashboard.linked.payload import validate
from dashboard.serving.gate import COOKIE
from dashboard.serving.tiles import Shelf, TilesServed
from tests.dashboard.browser.test_journeys import browser  # noqa: F401  # a fixture

pytestmark = pytest.mark.slow

VISITOR = "v" * 43
PAGE = """<!DOCTYPE html><html><body><div id="host"></div><script>window.Plotly = {};</script><script type="module">
import { mount } from "/web/host.js";
const parent = document.getElementById("host");
parent.whyboardCall = 1;
window.sent = [];
const payload = await (await fetch("/payload")).json();
await mount({ payload, call: 1, base: location.origin + "/", parent, send: (events) => window.sent.push(...events) });
</script></body></html>"""

#: Sides that no tile and no block divides.
HEIGHT, WIDTH = 2300, 3100
MOST, MOST_OF_MAP = 1536, 512


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    """Bytes, so that what is on the screen can be told exactly."""
    return np.random.default_rng(0).integers(0, 256, (1, HEIGHT, WIDTH)).astype(np.float32) / np.float32(255)


@pytest.fixture(scope="module")
def values() -> np.ndarray:
    return np.random.default_rng(1).normal(size=(1, HEIGHT, WIDTH)).astype(np.float32)


@pytest.fixture(scope="module")
def address(picture: np.ndarray, values: np.ndarray) -> Iterator[str]:
    """A server of the host's scripts, of one payload, and of the tiles for one visitor."""
    shelf, limit = Shelf(active=lambda session: True), map_limit(values)
    found: dict[str, Tiles] = {
        "picture": PictureTiles(picture, (0.0, 1.0), MOST),
        "map": MapTiles(values, limit, MOST_OF_MAP),
    }

    def native(key: str, most: int) -> dict[str, Any]:
        token = shelf.lend(VISITOR, "s", key, lambda: found[key])
        return {"token": token, "shape": [HEIGHT, WIDTH], "side": SIDE, "every": every((HEIGHT, WIDTH), most)}

    overlay = overlay_values(values, limit) | {"smooth": True, "native": native("map", MOST_OF_MAP)}
    block = {
        "id": "maps",
        "kind": "maps",
        "column": 0,
        "base": layer_png(as_seen(averaged(picture, MOST), (0.0, 1.0))),
        "size": [HEIGHT, WIDTH],
        "native": native("picture", MOST),
        "tiles": [{"id": "one", "title": "one", "overlay": overlay}],
        "large": "one",
        "opacity": 1.0,
        "colours": "signed",
    }
    payload = {"blocks": [block], "seq": 0}
    validate(payload)
    payload["assets"] = {"style": "web/host.css", "plotly": ""}
    sent = json.loads(json.dumps(payload))
    app = Starlette(
        routes=[
            Route("/", lambda request: HTMLResponse(PAGE)),
            Route("/payload", lambda request: JSONResponse(sent)),
            Mount("/web", StaticFiles(directory=WEB)),
        ],
        middleware=[Middleware(TilesServed, shelf=shelf)],
    )
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.02)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join(10)


@pytest.fixture
def arrive(browser: Any, address: str) -> Iterator[Callable[..., Any]]:  # noqa: F811
    """A page with the picture on it; any error in the page fails the test."""
    contexts, errors = [], []

    def come(visitor: str = VISITOR, **more: Any) -> Any:
        context = browser.new_context(viewport={"width": 1100, "height": 900}, accept_downloads=True, **more)
        contexts.append(context)
        context.add_cookies([{"name": COOKIE, "value": visitor, "url": address}])
        page = context.new_page()
        page.set_default_timeout(45_000)
        page.asked = []
        page.on("request", lambda request: page.asked.append(request.url))
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(address)
        page.wait_for_selector(".wb-linked[data-ready='1']")
        page.wait_for_function("() => document.querySelector('.wb-large img').naturalWidth > 0")
        return page

    yield come
    for context in contexts:
        context.close()
    assert errors == []


def tiles_asked(page: Any) -> list[str]:
    return [url for url in page.asked if re.search(r"/tiles/.*/\d+/\d+/\d+$", url)]


def fineness(page: Any) -> str:
    return str(page.locator(".wb-fineness").inner_text())


def zoom(page: Any, steps: int) -> None:
    """About the middle, a step at a time."""
    for _ in range(steps):
        page.get_by_role("button", name="zoom in").click()


def sharp(page: Any) -> None:
    page.wait_for_function("() => document.querySelector('.wb-fineness').textContent === ''")
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


#: What a detail canvas holds, and where the picture's sheet lies in its frame.
SEEN = """(number) => {
    const frame = document.querySelectorAll('.wb-large .wb-picture')[number];
    const [under, over] = frame.querySelectorAll('.wb-detail');
    const read = (canvas) => (canvas.hidden ? null : canvas.toDataURL());
    const sheet = frame.querySelector('.wb-sheet').getBoundingClientRect(), box = frame.getBoundingClientRect();
    return { under: read(under), over: read(over), left: sheet.left - box.left, top: sheet.top - box.top, width: sheet.width, height: sheet.height };
}"""


def own(found: dict[str, Any], name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """What a canvas shows ``(h, w, 4)``, which row and column of the picture its pixels' middles fall on, and which are no edge's."""
    with Image.open(io.BytesIO(base64.b64decode(found[name].partition(",")[2]))) as file:
        shown = np.asarray(file.convert("RGBA"))
    across = (np.arange(shown.shape[1]) + 0.5 - found["left"]) * WIDTH / found["width"]
    down = (np.arange(shown.shape[0]) + 0.5 - found["top"]) * HEIGHT / found["height"]
    inner = [np.abs(at - np.rint(at)) > 0.25 for at in (down, across)]
    return shown, down.astype(int), across.astype(int), np.logical_and.outer(*inner)


def test_zoomed_in_the_screen_shows_the_pictures_own_pixels(
    arrive: Callable[..., Any], picture: np.ndarray, values: np.ndarray
) -> None:
    page = arrive()
    assert "3 × 3 pixels" in fineness(page)
    assert "7 × 7 values of the map" in fineness(page)
    assert tiles_asked(page) == []
    zoom(page, 9)  # 38 times
    sharp(page)
    found = page.evaluate(SEEN, 0)
    shown, rows, columns, inner = own(found, "under")
    assert inner.mean() > 0.2
    wanted = np.rint(255 * picture[0][np.ix_(rows, columns)]).astype(np.uint8)
    assert (shown[..., 0][inner] == wanted[inner]).all()
    assert found["over"] is None

    found = page.evaluate(SEEN, 1)
    shown, rows, columns, inner = own(found, "over")
    steps = steps_of(values[0], map_limit(values))[np.ix_(rows, columns)].astype(int)
    assert (np.abs(shown[..., 3].astype(int) - 255 * np.abs(steps) / 127)[inner] <= 1).all()
    strong = inner & (np.abs(steps) > 30)
    assert ((shown[..., 0] > shown[..., 2]) == (steps > 0))[strong].all()

    levels = {int(url.split("/")[-3]) for url in tiles_asked(page)}
    assert levels <= {0, 1, 2}
    assert (
        len([url for url in tiles_asked(page) if url.split("/")[-3] == "0"]) <= 24
    )  # of the 70 that there are


def test_the_share_shown_is_that_of_the_whole_map_at_every_zoom(
    arrive: Callable[..., Any], values: np.ndarray
) -> None:
    page = arrive()
    page.get_by_label("strongest").fill("0.1")
    zoom(page, 8)
    sharp(page)
    shown, rows, columns, inner = own(page.evaluate(SEEN, 1), "over")
    sizes = np.abs(steps_of(values[0], map_limit(values)).astype(int))
    counted = np.cumsum(np.bincount(sizes.ravel())[::-1])[::-1]  # how many are at least so strong
    least = next(step for step in range(128) if counted[step] <= 0.1 * sizes.size)
    there = sizes[np.ix_(rows, columns)] >= least
    assert 0.02 < there.mean() < 0.3
    assert ((shown[..., 3] > 0) == there)[inner].all()


def test_levels_follow_the_zoom_and_a_region_is_drawn_where_the_pointer_is(
    arrive: Callable[..., Any],
) -> None:
    page = arrive(device_scale_factor=2)
    zoom(page, 2)
    page.wait_for_function("() => !document.querySelector('.wb-fineness').textContent.startsWith('Loading')")
    assert "2 × 2" in fineness(page)
    assert {url.split("/")[-3] for url in tiles_asked(page)} <= {"1", "2"}
    zoom(page, 6)
    sharp(page)
    page.get_by_role("button", name="rectangle").click()
    frame = page.locator(".wb-large .wb-picture").first
    box = frame.bounding_box()
    page.mouse.move(box["x"] + 0.25 * box["width"], box["y"] + 0.25 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + 0.75 * box["width"], box["y"] + 0.5 * box["height"], steps=3)
    page.mouse.up()
    points = page.evaluate("() => window.sent.at(-1).region.points")
    sheet = page.evaluate(SEEN, 0)
    wanted = [
        [
            (0.25 * box["width"] - sheet["left"]) / sheet["width"],
            (0.25 * box["height"] - sheet["top"]) / sheet["height"],
        ],
        [
            (0.75 * box["width"] - sheet["left"]) / sheet["width"],
            (0.5 * box["height"] - sheet["top"]) / sheet["height"],
        ],
    ]
    assert np.array([points[0], points[2]]) == pytest.approx(np.array(wanted), abs=2e-4)
    page.get_by_role("button", name="show the whole picture").click()
    page.wait_for_function("() => document.querySelector('.wb-fineness').textContent.startsWith('Overview')")


def test_the_picture_is_saved_in_its_own_size(
    arrive: Callable[..., Any], picture: np.ndarray, values: np.ndarray
) -> None:
    page = arrive()
    page.get_by_label("opacity").fill("0.5")
    with page.expect_download() as saved:
        page.get_by_role("button", name="save the large map").click()
    with Image.open(io.BytesIO(Path(saved.value.path()).read_bytes())) as file:
        shown = np.asarray(file.convert("RGB")).astype(float)
    assert shown.shape == (HEIGHT, WIDTH, 3)
    steps = steps_of(values[0], map_limit(values)).astype(float) / 127
    colour = np.where((steps > 0)[..., None], [214, 96, 77], [67, 147, 195])
    alpha = 0.5 * np.abs(steps)[..., None]
    wanted = (1 - alpha) * 255 * picture[0][..., None] + alpha * colour
    assert np.abs(shown - wanted).max() <= 3


def test_another_visitor_sees_the_overview_alone(arrive: Callable[..., Any]) -> None:
    page = arrive(visitor="w" * 43)
    zoom(page, 6)
    page.wait_for_function(
        "() => document.querySelector('.wb-fineness').textContent.includes('could not be loaded')"
    )
    assert tiles_asked(page) != []
