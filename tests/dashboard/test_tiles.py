"""Large pictures in tiles: put together they are the picture, and nobody gets another visitor's."""

from __future__ import annotations

import asyncio
import base64
import gzip
import io
import itertools
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image
from torch import nn

import explainers as ex
from dashboard import costs, policy
from dashboard.compute import Compute, Store
from dashboard.figures import tiles
from dashboard.figures.images import as_seen, averaged, layer_png, map_limit, overlay_values
from dashboard.figures.tiles import MapTiles, PictureTiles, Tiles, every, levels
from dashboard.linked.payload import PayloadError, validate
from dashboard.panels import picture
from dashboard.panels.picture import Picture, packed
from dashboard.serving.gate import COOKIE
from dashboard.serving.tiles import AT_MOST, Shelf, TilesServed
from dashboard.session import first_selection
from dashboard.view import View
from tests.cases import network
from tests.dashboard.hand_made import workspace
from tests.dashboard.in_process import compute

SIDES = [(40, 40), (33, 70), (71, 32), (5, 97)]


@pytest.fixture(autouse=True)
def small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiles, "SIDE", 8)


def dots(content: bytes) -> np.ndarray:
    """A PNG as ``(h, w)`` or ``(h, w, c)`` bytes."""
    with Image.open(io.BytesIO(content)) as file:
        return np.asarray(file)


def together(tile: Callable[[int, int], np.ndarray], height: int, width: int) -> np.ndarray:
    """Tiles of 8 by 8 side by side."""
    rows = [
        np.concatenate([tile(c, r) for c in range(-(-width // 8))], axis=1) for r in range(-(-height // 8))
    ]
    return np.concatenate(rows)


def means(image: np.ndarray, block: int) -> np.ndarray:
    """Of each block, one after the other; ``(c, h, w)``."""
    high, wide = (-(-side // block) for side in image.shape[1:])
    found = np.zeros((len(image), high, wide))
    for k, y, x in np.ndindex(*found.shape):
        found[k, y, x] = image[k, y * block : (y + 1) * block, x * block : (x + 1) * block].mean()
    return found


# Pictures and maps


@pytest.mark.parametrize(("height", "width"), SIDES)
@pytest.mark.parametrize("channels", [1, 3, 5])
def test_tiles_put_together_are_the_picture(height: int, width: int, channels: int) -> None:
    image = np.random.default_rng(0).normal(size=(channels, height, width)).astype(np.float32)
    ends = (float(image.min()), float(image.max()))
    found = PictureTiles(image, ends, 10)
    whole = together(lambda c, r: dots(found.tile(0, c, r)), height, width)
    sent = layer_png(as_seen(image, ends)).partition(",")[2]
    assert (whole == dots(base64.b64decode(sent))).all()
    for level in range(1, levels(every(image.shape, 10))):
        wanted = means(image, 2**level)
        shown = together(lambda c, r, at=level: dots(found.tile(at, c, r)), *wanted.shape[1:])  # type: ignore[misc]
        wanted = (as_seen(wanted, ends) * 255).transpose(1, 2, 0)
        assert np.abs(shown.reshape(wanted.shape) - wanted).max() < 0.51


@pytest.mark.parametrize(("height", "width"), SIDES)
def test_tiles_of_a_map_have_its_steps_and_say_how_often_each_occurs(height: int, width: int) -> None:
    values = np.random.default_rng(1).normal(size=(2, height, width)).astype(np.float32)
    values[0, 0, 0] = np.nan
    limit = map_limit(values)
    found = MapTiles(values, limit, 10)
    counts = json.loads(found.about())["counts"]
    assert len(counts) == levels(every(values.shape, 10)) >= 2
    summed = np.nan_to_num(values.astype(float).sum(axis=0))[None]
    for level, counted in enumerate(counts):
        wanted = np.rint(np.clip(means(summed, 2**level)[0] / limit, -1, 1) * 127)

        def one(c: int, r: int, at: int = level, shape: tuple[int, ...] = wanted.shape) -> np.ndarray:
            return np.frombuffer(found.tile(at, c, r), "i1").reshape(
                min(8, shape[0] - 8 * r), min(8, shape[1] - 8 * c)
            )

        shown = together(one, *wanted.shape)
        assert np.abs(shown - wanted).max() <= 1
        assert (shown != wanted).mean() < 0.01  # sums in another order may be rounded otherwise
        assert [int((np.abs(shown) == size).sum()) for size in range(128)] == counted
    assert found.nbytes < values.nbytes  # the values are let go of


def test_the_finest_level_of_a_map_is_painted_as_a_map_that_is_sent_whole() -> None:
    values = np.random.default_rng(2).normal(size=(1, 20, 31))
    whole = np.frombuffer(base64.b64decode(overlay_values(values)["values"]["bdata"]), "i1").reshape(20, 31)
    found = MapTiles(values, map_limit(values), 10)
    assert (np.frombuffer(found.tile(0, 1, 2), "i1").reshape(4, 8) == whole[16:20, 8:16]).all()


@pytest.mark.parametrize(("block", "wanted"), [(1, 0), (2, 1), (3, 2), (4, 2), (5, 3), (8, 3), (9, 4)])
def test_levels_are_those_finer_than_the_overview(block: int, wanted: int) -> None:
    assert levels(block) == sum(2**level < block for level in range(10)) == wanted


def test_a_block_is_that_of_the_overview() -> None:
    for side, most in itertools.product((9, 10, 11, 20, 21, 97), (5, 10)):
        shape = (1, 4, side)
        assert averaged(np.zeros(shape), most).shape[2] == -(-side // every(shape, most))


@pytest.mark.parametrize(
    "place", [(2, 0, 0), (-1, 0, 0), (0, 4, 0), (0, 0, 5), (0, -1, 0), (0, 0, -1), (1, 2, 0)]
)
def test_there_are_no_tiles_outside(place: tuple[int, int, int]) -> None:
    for found in (PictureTiles(np.zeros((1, 33, 30)), (0, 1), 10), MapTiles(np.zeros((1, 33, 30)), 1, 10)):
        assert found.tile(0, 3, 4)
        with pytest.raises(LookupError):
            found.tile(*place)


# Who gets them


class Held:
    """Tiles of one byte that say how large they are."""

    kind = "application/octet-stream"

    def __init__(self, nbytes: int = 0) -> None:
        self.nbytes = nbytes

    def tile(self, level: int, column: int, row: int) -> bytes:
        if level:
            raise LookupError
        return bytes([column, row])

    def about(self) -> bytes:
        return b"{}"


def test_a_loan_is_one_visitors_while_the_visit_lasts() -> None:
    there = {"s1", "s2"}
    shelf = Shelf(active=there.__contains__)
    first = shelf.lend("v1", "s1", "a", Held)
    assert shelf.lend("v1", "s1", "a", Held) == first
    second = shelf.lend("v2", "s2", "a", Held)
    assert len({first, second}) == 2
    assert len(first) == 64
    assert shelf.find(first, "v1") is not None
    for stranger in ("v2", None, ""):
        assert shelf.find(first, stranger) is None
    assert shelf.find("0" * 64, "v1") is None
    there.remove("s1")
    assert shelf.find(first, "v1") is None
    shelf.forget("s2")
    assert shelf.find(second, "v2") is None


def test_few_are_lent_at_a_time_and_all_within_a_bound() -> None:
    shelf = Shelf(active=lambda session: True, most=100)
    tokens = [shelf.lend("v1", "s1", key, Held) for key in range(AT_MOST)]
    assert shelf.lend("v1", "s1", 0, Held) == tokens[0]  # used again, so it stays longer
    other = shelf.lend("v2", "s2", "b", lambda: Held(60))
    shelf.lend("v1", "s1", "new", Held)
    assert [shelf.find(token, "v1") is not None for token in tokens] == [True, False, True]
    shelf.lend("v3", "s3", "c", lambda: Held(60))
    assert shelf.find(other, "v2") is None


def ask(
    shelf: Shelf, path: str, cookie: str = "", method: str = "GET", prefix: str = "", **headers: str
) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body; what is no tile is answered with 299."""
    told: list[dict[str, Any]] = []

    async def beyond(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 299, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def send(message: Any) -> None:
        told.append(message)

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    sent = {"cookie": f"{COOKIE}={cookie}"} if cookie else {}
    pairs = [(name.replace("_", "-").encode(), value.encode()) for name, value in {**sent, **headers}.items()]
    scope = {"type": "http", "method": method, "path": path, "headers": pairs}
    asyncio.run(TilesServed(beyond, shelf, prefix)(scope, receive, send))
    found = {name.decode(): value.decode() for name, value in told[0]["headers"]}
    return told[0]["status"], found, b"".join(message.get("body", b"") for message in told[1:])


def test_a_tile_is_asked_for_with_the_token_and_the_cookie() -> None:
    shelf, mine = Shelf(active=lambda session: True), "m" * 43
    token = shelf.lend(mine, "s", "a", Held)
    status, headers, body = ask(shelf, f"/tiles/{token}/0/3/4", mine)
    assert (status, body) == (200, bytes([3, 4]))
    assert headers["cache-control"] == "no-store"
    _, headers, body = ask(shelf, f"/tiles/{token}/0/3/4", mine, accept_encoding="gzip, br")
    assert (headers["content-encoding"], gzip.decompress(body)) == ("gzip", bytes([3, 4]))
    assert ask(shelf, f"/tiles/{token}/about", mine)[2] == b"{}"
    assert ask(shelf, f"/x/tiles/{token}/about", mine, prefix="x")[0] == 200
    for path in (
        f"{token}/1/0/0",
        f"{token}/0/-1/0",
        f"{token}/0/0",
        f"{token}/",
        "",
        f"{token[:-1]}/0/0/0",
        f"{token}/0/0/99999",
    ):
        assert ask(shelf, f"/tiles/{path}", mine)[::2] == (404, b"There is nothing here.")
    assert ask(shelf, f"/tiles/{token}/0/3/4", mine, method="POST")[0] == 404
    for cookie in ("o" * 43, "", "short"):
        assert ask(shelf, f"/tiles/{token}/0/3/4", cookie)[::2] == (404, b"There is nothing here.")
    assert ask(shelf, "/other", mine)[0] == 299


# The page


def large_picture(lend: Callable[..., str | None] | None, answers: Compute | None = None) -> View:
    module = network(
        nn.Conv2d(1, 2, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 2)
    ).eval()
    pixels = np.random.default_rng(0).random((4, 1, 30, 41)).astype(np.float32)
    opened = workspace(
        ex.Model.wrap(module, ("a", "b"), output="raw"), ex.Dataset.from_images(pixels), "large"
    )
    more = {} if lend is None else {"lend": lend}
    return View(opened, first_selection(opened), answers or compute(), **more)  # type: ignore[arg-type]


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sides from which pictures and maps are large; one quick method."""
    monkeypatch.setattr(picture, "MOST_PIXELS", 20)
    monkeypatch.setattr(picture, "MOST_SIDE", 10)
    monkeypatch.setattr(picture, "PACKED_AHEAD", 100)
    monkeypatch.setattr(policy, "picture_methods", lambda refused: (ex.Saliency(), ex.InputXGradient()))


def settled(view: View) -> tuple[View, dict[str, Any]]:
    """The block of maps once all is computed."""
    Picture().blocks(view)
    for job in view.pending:
        job.run(lambda done, total, partial=None: None)
    now = View(view.workspace, view.selection, view.compute, lend=view.lend)
    return now, next(block for block in Picture().blocks(now) if block["id"] == "picture.maps")


@pytest.mark.usefixtures("few")
def test_the_page_lends_the_picture_and_the_large_map() -> None:
    lent: dict[Any, Tiles] = {}

    def lend(key: Any, make: Callable[[], Tiles]) -> str:
        lent.setdefault(key, make())
        return f"{list(lent).index(key):064x}"

    view, block = settled(large_picture(lend))
    validate({"blocks": [block]})
    assert block["native"] == {"token": "0" * 64, "shape": [30, 41], "side": 512, "every": 3}
    natives = {tile["id"]: tile["overlay"].get("native") for tile in block["tiles"]}
    assert natives == {
        "Saliency": {"token": f"{1:064x}", "shape": [30, 41], "side": 512, "every": 5},
        "InputXGradient": None,
    }
    shown, of_map = lent.values()
    image = np.asarray(view.data.X[view.selection.row])
    assert (dots(shown.tile(0, 1, 1)) == (255 * image[0, 8:16, 8:16] + 0.5).astype(np.uint8)).all()
    assert isinstance(of_map, MapTiles)


@pytest.mark.usefixtures("few")
def test_without_a_browser_to_lend_to_there_is_the_overview_alone() -> None:
    _, block = settled(large_picture(None))
    assert "native" not in block
    assert all("native" not in tile["overlay"] for tile in block["tiles"])


def test_a_picture_that_is_sent_whole_is_not_lent() -> None:
    assert "native" not in Picture()._maps(large_picture(lambda key, make: "0" * 64), [], None)


@pytest.mark.usefixtures("few")
def test_many_values_are_packed_when_they_are_asked_for() -> None:
    view, _ = settled(large_picture(None))
    (file,) = Picture().files(view)
    assert callable(file.content)
    result = view.known(ex.Saliency(), [view.selection.row], view.target)
    assert isinstance(result, ex.Attribution)
    with np.load(io.BytesIO(file.content())) as saved:
        assert (saved["values"] == result.values).all()
    assert len(packed(result)) == len(file.content())


@pytest.mark.usefixtures("few")
def test_what_is_on_the_page_is_known_though_the_store_dropped_it() -> None:
    answers = compute()
    answers.store = Store(limit=9000)  # of two maps it keeps one
    view = large_picture(None, answers)
    held: dict[Any, Any] = {}
    for _ in range(4):
        view = View(view.workspace, view.selection, answers, held=held)
        Picture().blocks(view)
        held = dict(view.seen)
        for job in view.pending[:1]:
            job.run(lambda done, total, partial=None: None)
    assert view.pending == []
    assert len(held) == 2
    assert sum(answers.store.get(key) is not None for key in held) < 2


@pytest.mark.parametrize(
    "wrong",
    [{"token": "../x"}, {"token": "0" * 63}, {"shape": [0, 4]}, {"every": 1.5}, {"side": -1}, {"more": 1}],
)
def test_what_a_browser_is_told_of_tiles_is_checked(wrong: dict[str, Any]) -> None:
    told = {"token": "0" * 64, "shape": [30, 41], "side": 8, "every": 3}
    block = {"id": "m", "kind": "maps", "base": "data:image/png;base64,", "size": [30, 41], "tiles": []}
    validate({"blocks": [block | {"native": told}]})
    with pytest.raises(PayloadError, match="native"):
        validate({"blocks": [block | {"native": told | wrong}]})


def test_few_large_pictures_are_timed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """64 of them may be more than a worker has memory for."""
    view = large_picture(None)
    each = view.data.X[0].nbytes
    for most, wanted in ((3 * each, [1, 3]), (each // 2, [1, 1])):
        asked: list[int] = []

        def predict(model: ex.Model, data: ex.Dataset, cases: Any, asked: list[int] = asked) -> np.ndarray:
            asked.append(len(cases))
            return np.zeros((len(cases), 2))

        monkeypatch.setattr(costs, "MOST_BYTES", most)
        assert costs.Costs(predict, Store())._pace(view.model, view.data) is not None
        assert asked == wanted
