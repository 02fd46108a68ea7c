"""Ways in that an attacker who knows the source would try: each was open once, or was tried and found closed."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import random
import socket
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import explainers as ex
from dashboard import page, policy, upload
from dashboard.compute import Compute, Store
from dashboard.configuration import Server
from dashboard.linked.payload import validate
from dashboard.panels import CASE_TABLE, OVERVIEW_TABLE
from dashboard.panels.panel import Page
from dashboard.serving.uploads import Uploads
from dashboard.session import first_selection
from dashboard.view import View
from dashboard.workers import answers, codec, protocol
from dashboard.workers.protocol import Channel, Kind, ProtocolError
from dashboard.workers.starting import environment
from dashboard.workspace import OpenWorkspace
from tests.dashboard.hand_made import eight, line, three_classes
from tests.faults.forging import Forger


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, Channel]]:
    theirs, ours = socket.socketpair()
    with theirs, ours:
        yield theirs, Channel(ours, 2**28)


def say(end: socket.socket, kind: Kind, text: bytes, size: int = 0, descriptor: int | None = None) -> None:
    flags = 0 if descriptor is None else protocol.IN_FILE
    header = protocol.HEADER.pack(protocol.MARK, kind, flags, 0, 1, len(text), size, 0)
    socket.send_fds(end, [header], [] if descriptor is None else [descriptor])
    end.sendall(text)


def test_no_worker_knows_what_else_stands_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_PASSWORD", "s3cret")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s3cret")
    known = environment()
    assert "s3cret" not in known.values()
    assert known["PATH"] == os.environ["PATH"]
    assert "PYTHONPATH" in known


@pytest.mark.parametrize("sign", [b"{}", b"[]", b"0"])
def test_a_small_message_cannot_become_a_large_one(
    ends: tuple[socket.socket, Channel], monkeypatch: pytest.MonkeyPatch, sign: bytes
) -> None:
    monkeypatch.setattr(protocol, "MOST_NESTED", 800)
    monkeypatch.setattr(protocol, "MOST_VALUES", 800)
    theirs, ours = ends
    text = b'{"body":[' + b",".join([sign] * 400) + b'],"arrays":[]}'
    say(theirs, Kind.RESULT, text)
    message = ours.receive(1.0)
    assert message is not None
    assert len(message.body) == 400
    say(theirs, Kind.PROGRESS, text)  # of which any number may come
    with pytest.raises(ProtocolError, match="more values"):
        ours.receive(1.0)
    say(theirs, Kind.RESULT, text.replace(b"[", b"[" + b",".join([sign] * 500) + b",", 1))
    with pytest.raises(ProtocolError, match="more values"):
        ours.receive(1.0)


@pytest.mark.parametrize(
    "array", [["<f16", [1]], ["<f8", [2**39, 0]], [["<f8"], [0]], ["(" * 500, [0]]], ids=str
)
def test_an_array_that_nothing_could_show_is_refused(ends: tuple[socket.socket, Channel], array: Any) -> None:
    theirs, ours = ends
    say(theirs, Kind.RESULT, json.dumps({"body": None, "arrays": [array]}).encode(), 16 * (array[1] == [1]))
    theirs.sendall(bytes(16))
    with pytest.raises(ProtocolError, match="an array"):
        ours.receive(1.0)


@pytest.mark.parametrize("other", ["pipe", "socket", "nothing"])
def test_a_descriptor_that_is_no_memory_file_holds_nobody_up(ends: tuple[socket.socket, Channel], other: str) -> None:  # fmt: skip
    theirs, ours = ends
    opened = {"pipe": lambda: os.pipe()[0], "socket": lambda: os.dup(theirs.fileno())}
    descriptor = opened.get(other, lambda: os.open(os.devnull, os.O_RDONLY))()
    say(theirs, Kind.RESULT, b'{"body":null,"arrays":[["<f8",[262144]]]}', 2**21, descriptor)
    with pytest.raises(ProtocolError, match="shorter than it says"):
        ours.receive(1.0)
    os.close(descriptor)


@pytest.mark.parametrize("body", ["\ud800", {"tuple": ["a", "\udfff"]}, {"time": "1" * 400, "pandas": True}])
def test_half_a_character_and_an_endless_date_are_refused(body: Any) -> None:
    with pytest.raises(ProtocolError):
        codec.unpack(body, ())


def test_a_data_set_without_a_case_or_with_notes_that_are_none_is_no_answer() -> None:
    data = eight().data
    assert answers.dataset(data)
    assert not answers.dataset(data.take(np.arange(0)))
    for notes in ((1,), 1):  # set from outside: what makes a `Dataset` here checks its types
        object.__setattr__(data, "notes", notes)
        assert not answers.dataset(data)


def test_an_upload_in_pieces_has_no_length_whatever_it_says() -> None:
    said: list[Any] = []

    async def app(*_: Any) -> None:
        said.append("let through")

    async def send(message: Any) -> None:
        said.append(message.get("status"))

    async def receive() -> Any:
        return {"type": "http.disconnect"}

    headers = [(b"content-length", b"5"), (b"transfer-encoding", b"chunked")]
    scope = {"type": "http", "method": "PUT", "path": "/_stcore/upload_file/s/f", "headers": headers}
    uploads = Uploads(app, Server(), visits=1, stored=lambda _, files: set(files))
    asyncio.run(uploads(scope, receive, send))
    assert said[0] == 411


def test_the_declared_architecture_is_parsed_in_the_worker() -> None:
    assert not hasattr(upload, "json")


PATIENT = 4700 + 11


@dataclasses.dataclass(frozen=True)
class Failing:
    """A panel that meets what nobody foresaw."""

    name: str = "failing"
    title: str = "Fails"
    area: str = "main"

    def blocks(self, view: View) -> list[dict[str, Any]]:
        raise IndexError(f"patient {PATIENT}")

    def apply(self, event: Any, view: View) -> Any:
        return view.selection


def test_a_panel_that_fails_leaves_the_others_and_tells_no_value(caplog: pytest.LogCaptureFixture) -> None:
    workspace = eight()
    view = View(workspace, first_selection(workspace), Compute(Forger(), Store()))
    both = dataclasses.replace(OVERVIEW_TABLE, panels=(Failing(), OVERVIEW_TABLE.panels[-1]))
    blocks = page.gather(both, view)
    assert "an unexpected IndexError" in json.dumps(blocks[0])
    assert "4711" not in json.dumps(blocks[0]) + caplog.text
    assert "IndexError in the panel failing" in caplog.text
    assert len(blocks) > 1


@pytest.fixture(scope="module")
def forging() -> tuple[Forger, list[tuple[Page, OpenWorkspace]]]:
    """What is forged, computed once for all seeds."""
    made = [(shown, one()) for one in (eight, three_classes, line) for shown in (CASE_TABLE, OVERVIEW_TABLE)]
    return Forger(), made


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_no_answer_however_forged_takes_a_page_down(
    seed: int, forging: tuple[Forger, list[tuple[Page, OpenWorkspace]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(policy, "FIRST_CASES", 4)
    monkeypatch.setattr(policy, "MOST_CASES", 12)
    forger, made = forging
    forger.told.clear()
    for turn in range(40):
        forger.chance = random.Random(100 * seed + turn)
        shown, workspace = made[turn % len(made)]
        blocks = _settled(shown, View(workspace, first_selection(workspace), Compute(forger, Store())))
        validate({"layout": shown.layout, "blocks": blocks})
        assert {block["id"].partition(".")[0] for block in blocks} == {panel.name for panel in shown.panels}
    assert forger.told["refused"] > 0
    assert forger.told["let through"] > 0


def _settled(shown: Page, view: View) -> list[dict[str, Any]]:
    for _ in range(4):
        now = View(view.workspace, view.selection, view.compute)
        blocks = page.gather(shown, now)
        for job in now.pending:
            try:
                job.run(lambda done, total, partial=None: None)
            except ex.ExplainerError:
                continue  # kept, and said in the panel's place
    return blocks
