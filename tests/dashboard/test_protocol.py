"""Messages between processes: what goes in comes out; what is no message is refused before memory is spent."""

from __future__ import annotations

import ast
import json
import os
import socket
import threading
from pathlib import Path

import numpy as np
import pytest

import dashboard.workers
from dashboard.workers.protocol import (
    HEADER,
    LARGE,
    MARK,
    Channel,
    Closed,
    Kind,
    Message,
    ProtocolError,
)


@pytest.fixture
def ends():
    """Two channels, and the raw socket behind the first."""
    ours, theirs = socket.socketpair()
    yield Channel(ours), Channel(theirs, limit=64 * 2**20), ours
    ours.close()
    theirs.close()


ARRAYS = {
    "none": (),
    "one of each kind": (
        np.arange(5, dtype=np.int8), np.array([True, False]), np.array(["a", "größe"]), np.array([1.5, np.nan, -np.inf]),
        np.array(["2026-01-01"], dtype="datetime64[s]"),
    ),
    "empty and of no dimension": (np.empty((0, 3)), np.array(7.0)),
    "not contiguous": (np.arange(12.0).reshape(3, 4).T,),
    "just under a mebibyte": (np.zeros(LARGE // 8 - 2),),
    "over a mebibyte": (np.arange(LARGE // 4, dtype=np.float64), np.arange(3)),
}  # fmt: skip


@pytest.mark.parametrize("name", ARRAYS)
def test_a_message_arrives_as_it_was_sent(ends, name: str) -> None:
    sender, receiver, _ = ends
    sent = Message(Kind.RESULT, 7, {"names": ["<b>", "\u0000"], "deep": [[1, None]]}, ARRAYS[name])
    with_other_thread = threading.Thread(target=sender.send, args=(sent,))
    with_other_thread.start()
    got = receiver.receive(5.0)
    with_other_thread.join()
    assert got is not None
    assert (got.kind, got.number, got.body) == (sent.kind, sent.number, sent.body)
    assert len(got.arrays) == len(sent.arrays)
    for mine, theirs in zip(got.arrays, sent.arrays, strict=True):
        assert mine.dtype == theirs.dtype
        np.testing.assert_array_equal(mine, theirs)


def test_descriptors_are_not_left_open(ends) -> None:
    sender, receiver, _ = ends
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        sender.send(Message(Kind.RESULT, 1, None, (np.zeros(LARGE),)))
        assert receiver.receive(5.0) is not None
    assert len(os.listdir("/proc/self/fd")) == before


def test_nothing_is_received_where_nothing_was_sent(ends) -> None:
    _, receiver, raw = ends
    assert receiver.receive(0.01) is None
    raw.close()
    with pytest.raises(Closed):
        receiver.receive(1.0)


def frame(body: object, payload: bytes = b"", **said: int) -> bytes:
    """A message by hand, with lies about itself."""
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    fields = {"kind": 4, "flags": 0, "number": 1, "json": len(text), "size": len(payload)} | said
    return HEADER.pack(MARK, fields["kind"], fields["flags"], 0, fields["number"], fields["json"], fields["size"], 0) + text + payload  # fmt: skip


def stated(dtype: object, shape: object) -> dict[str, object]:
    return {"body": None, "arrays": [[dtype, shape]]}


NONSENSE = {
    "another mark": (b"HTTP" + frame({})[4:], "a header that is none"),
    "a kind that does not exist": (frame({}, kind=99), "a header that is none"),
    "a file that did not come": (frame({}, flags=1), "a header that is none"),
    "more JSON than allowed": (frame({}, json=2**31), "a message of"),
    "more arrays than allowed": (frame({}, size=2**50), "a message of"),
    "not JSON": (frame(b"{body: 1}"), "not JSON"),
    "JSON of another form": (frame([1]), "not JSON"),
    "JSON too deep": (frame(b"[" * 100_000), "not JSON"),
    "objects": (frame(stated("|O", [1]), b"\0" * 16), "a type or shape"),
    "a structure": (frame(stated("f8,f8", [1]), b"\0" * 16), "a type or shape"),
    "a type that is none": (frame(stated("banana", [1]), b"\0" * 16), "without type and shape"),
    "a negative side": (frame(stated("<f8", [-2]), b"\0" * 16), "a type or shape"),
    "a side that is no number": (frame(stated("<f8", ["2"]), b"\0" * 16), "a type or shape"),
    "a shape larger than its bytes": (frame(stated("<f8", [1000]), b"\0" * 16), "do not add up"),
    "a shape whose product overflows": (
        frame(stated("<f8", [2**40, 2**40]), b"\0" * 16),
        "longer than any|do not add up",
    ),
    "too many dimensions": (frame(stated("<f8", [1] * 40), b"\0" * 16), "a type or shape"),
}


@pytest.mark.parametrize("name", NONSENSE)
def test_what_is_no_message_is_refused(ends, name: str) -> None:
    _, receiver, raw = ends
    content, sentence = NONSENSE[name]
    writer = threading.Thread(target=raw.sendall, args=(content,))
    writer.start()
    with pytest.raises(ProtocolError, match=sentence):
        receiver.receive(5.0)
    receiver.close()
    writer.join()


def test_a_message_cut_short_is_the_end(ends) -> None:
    _, receiver, raw = ends
    raw.sendall(frame({"body": 1, "arrays": []})[:-3])
    raw.close()
    with pytest.raises(Closed):
        receiver.receive(5.0)


def test_a_memory_file_shorter_than_it_says_is_refused(ends) -> None:
    _, receiver, raw = ends
    descriptor = os.memfd_create("short")
    os.write(descriptor, b"\0" * 16)
    text = json.dumps(stated("<f8", [1000])).encode()
    socket.send_fds(raw, [HEADER.pack(MARK, 4, 1, 0, 1, len(text), 8000, 0)], [descriptor])
    raw.sendall(text)
    os.close(descriptor)
    with pytest.raises(ProtocolError, match="shorter than it says"):
        receiver.receive(5.0)


def test_no_file_of_the_workers_unpickles() -> None:
    folder = Path(dashboard.workers.__file__).parent
    banned = {
        "pickle",
        "multiprocessing",
        "marshal",
        "shelve",
        "joblib",
        "dill",
        "cloudpickle",
        "eval",
        "exec",
    }
    for path in folder.rglob("*.py"):
        used = set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                used |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                used.add(str(node.module).split(".")[0])
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                used.add(node.func.id)
        assert not used & banned, f"{path.name} uses {used & banned}"
