"""Messages between the web process and a worker: a header of 32 bytes, JSON, and raw arrays. Nothing is ever unpickled.

A message is trusted no further than its form: every length is bounded before memory is spent, an array's type is one
of a few, and what the JSON holds is checked again by `codec`. Below one mebibyte the arrays follow on the socket; above,
they lie in a memory file whose descriptor travels with the header, and are copied out of it (a mapped file could be
cut short by the other side while it is read).
"""

from __future__ import annotations

import array
import contextlib
import dataclasses
import enum
import json
import math
import os
import select
import socket
import struct
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

HEADER = struct.Struct(
    "<4sBBHIIQQ"
)  # mark, kind, flags, unused, number, bytes of JSON, bytes of arrays, unused
MARK = b"WHY1"
IN_FILE = 1

#: From here on arrays travel in a memory file.
LARGE = 2**20

#: Bytes of JSON that a message may have: column names and diagnostics, never data.
MOST_JSON = 64 * 2**20

#: Lists and objects in the JSON of a message, and values in all: while they are made every other visitor waits.
MOST_NESTED = 2 * 2**20
MOST_VALUES = 8 * 2**20

#: A report, an error or a cancel, of which any number may come, may have this part of all three.
SMALL_PART = 8

#: Dimensions of an array, and the length of one of them.
MOST_AXES = 8
LONGEST = 2**40

#: Seconds in which a message that has begun must end.
REST = 60.0

_ALIGN = 16


class Kind(enum.IntEnum):
    """What a message is."""

    REQUEST = 1
    CANCEL = 2
    PROGRESS = 3
    RESULT = 4
    ERROR = 5


class ProtocolError(Exception):
    """The other side sent something that is no message; nothing more can be trusted from it."""


class Closed(Exception):
    """The other side is gone."""


class Unheard(Closed):
    """The other side does not take what it is sent."""


@dataclasses.dataclass(frozen=True)
class Message:
    """One message: what it is, which request it belongs to, its JSON and its arrays."""

    kind: Kind
    number: int
    body: Any
    arrays: tuple[np.ndarray, ...] = ()


class Channel:
    """One end of a connection. `limit` bounds the bytes of arrays that are accepted in one message."""

    def __init__(self, end: socket.socket, limit: int = 2**40) -> None:
        self._socket = end
        self._limit = limit
        self._files = hasattr(os, "memfd_create") and end.family == socket.AF_UNIX

    def fileno(self) -> int:
        """The descriptor, to wait for."""
        return self._socket.fileno()

    def close(self) -> None:
        """Close this end; the other side sees it at its next word."""
        self._socket.close()

    def send(self, message: Message, seconds: float | None = None) -> None:
        """Send a message; raises `Closed` where nobody listens any more, `Unheard` where nobody did for so many seconds."""
        held = [np.ascontiguousarray(item) for item in message.arrays]
        arrays = [[item.dtype.str, list(item.shape)] for item in held]
        text = json.dumps({"body": message.body, "arrays": arrays}, separators=(",", ":")).encode()
        size = sum(_padded(item.nbytes) for item in held)
        large = self._files and size >= LARGE
        flags = IN_FILE if large else 0
        header = HEADER.pack(MARK, message.kind, flags, 0, message.number, len(text), size, 0)
        with self._spoken():
            self._socket.settimeout(seconds)
            if large:
                self._send_file(header, held)
                self._socket.sendall(text)
            else:
                self._socket.sendall(b"".join([header, text, *_pieces(held)]))

    def receive(self, seconds: float | None = None, rest: float = REST) -> Message | None:
        """The next message; ``None`` after so many seconds without one.

        Once a message has begun it must end within `rest` seconds. Raises `Closed`, or `ProtocolError` for
        anything that is not a message.
        """
        if not self.waits(seconds):
            return None
        deadline = time.monotonic() + rest
        with self._spoken():
            header, descriptors = self._read_header(deadline)
            try:
                return self._read_rest(header, descriptors, deadline)
            finally:
                for descriptor in descriptors:
                    os.close(descriptor)

    def waits(self, seconds: float | None = 0.0) -> bool:
        """Whether something lies ready to be received within so many seconds."""
        try:
            return _readable(self._socket, seconds)
        except (OSError, ValueError):
            raise Closed from None

    @contextlib.contextmanager
    def _spoken(self) -> Any:
        try:
            yield
        except TimeoutError as error:
            raise Unheard from error
        except OSError as error:
            raise Closed from error

    def _send_file(self, header: bytes, held: Sequence[np.ndarray]) -> None:
        descriptor = os.memfd_create("arrays", os.MFD_CLOEXEC)
        try:
            for piece in _pieces(held):
                _write_all(descriptor, piece)
            socket.send_fds(self._socket, [header], [descriptor])
        finally:
            os.close(descriptor)

    def _read_header(self, deadline: float) -> tuple[tuple[Any, ...], list[int]]:
        ancillary = socket.CMSG_SPACE(4 * array.array("i").itemsize)
        data, notes, flags, _ = self._socket.recvmsg(HEADER.size, ancillary, socket.MSG_CMSG_CLOEXEC)
        descriptors = _descriptors(notes)
        try:
            if not data:
                raise Closed
            if flags & socket.MSG_CTRUNC or len(descriptors) > 1:
                raise ProtocolError("more than one descriptor came with a message")
            header = HEADER.unpack(data + self._exactly(HEADER.size - len(data), deadline))
        except (ProtocolError, Closed, OSError):
            for descriptor in descriptors:
                os.close(descriptor)
            raise
        return header, descriptors

    def _read_rest(self, header: tuple[Any, ...], descriptors: list[int], deadline: float) -> Message:
        mark, kind, flags, _, number, json_bytes, size, _ = header
        if mark != MARK or kind not in Kind._value2member_map_ or bool(flags & IN_FILE) != bool(descriptors):
            raise ProtocolError("a header that is none")
        part = 1 if kind in (Kind.REQUEST, Kind.RESULT) else SMALL_PART
        if json_bytes > MOST_JSON // part or size > self._limit:
            raise ProtocolError(f"a message of {json_bytes + size:,} bytes")
        text = self._exactly(json_bytes, deadline)
        _require_modest(text, part)
        try:
            outer = json.loads(text)
            body, stated = outer["body"], outer["arrays"]
        except (ValueError, KeyError, TypeError, RecursionError):
            raise ProtocolError("a body that is not JSON of the agreed form") from None
        kinds = [_stated(item) for item in stated] if isinstance(stated, list) else []
        if sum(_padded(_bytes_of(*item)) for item in kinds) != size:
            raise ProtocolError("arrays whose sizes do not add up")
        if any(_bytes_of(dtype, [max(side, 1) for side in shape]) > self._limit for dtype, shape in kinds):
            raise ProtocolError("an array of nothing that is longer than any")
        buffer = _from_file(descriptors[0], size) if descriptors else self._exactly(size, deadline)
        return Message(Kind(kind), number, body, tuple(_views(buffer, kinds)))

    def _exactly(self, count: int, deadline: float) -> bytearray:
        """So many bytes; a sender that stops half-way does not hold its reader for ever."""
        buffer = bytearray(count)
        view, got = memoryview(buffer), 0
        while got < count:
            if not self.waits(max(0.0, deadline - time.monotonic())):
                raise ProtocolError("a message that does not end")
            received = self._socket.recv_into(view[got:])
            if received == 0:
                raise Closed
            got += received
        return buffer


def _readable(end: socket.socket, seconds: float | None) -> bool:
    """Whether there is something to read; `select` knows only the first 1,024 descriptors, and a server has more."""
    if not hasattr(select, "poll"):
        return bool(select.select([end], [], [], seconds)[0])
    waiting = select.poll()
    waiting.register(end, select.POLLIN)
    return bool(waiting.poll(None if seconds is None else math.ceil(1000 * seconds)))


def _require_modest(text: bytearray, part: int) -> None:
    """Refuse what would take much more memory than its text, before it is made; signs inside of texts count too."""
    nested = text.count(b"[") + text.count(b"{")
    if nested > MOST_NESTED // part or text.count(b",") > MOST_VALUES // part:
        raise ProtocolError("more values in a message than are ever sent")


def _padded(size: int) -> int:
    return -(-size // _ALIGN) * _ALIGN


def _pieces(held: Sequence[np.ndarray]) -> list[bytes | memoryview]:
    """The arrays' bytes, each padded so that the next one is aligned."""
    pieces: list[bytes | memoryview] = []
    for item in held:
        if item.nbytes:
            pieces.append(item.reshape(-1).view(np.uint8).data)
        pieces.append(bytes(_padded(item.nbytes) - item.nbytes))
    return pieces


def _write_all(descriptor: int, piece: bytes | memoryview) -> None:
    view = memoryview(piece)
    while len(view):
        view = view[os.write(descriptor, view) :]


def _descriptors(notes: Sequence[tuple[int, int, bytes]]) -> list[int]:
    found = array.array("i")
    for level, kind, data in notes:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            found.frombytes(data[: len(data) - len(data) % found.itemsize])
    return list(found)


def _text(name: Any) -> str:
    if not isinstance(name, str):
        raise TypeError
    return name


def _stated(item: Any) -> tuple[np.dtype[Any], tuple[int, ...]]:
    """Type and shape as stated: plain numbers, truth values, texts of fixed width and times; never objects."""
    try:
        name, shape = item
        dtype = np.dtype(_text(name))
        sides = tuple(shape)
    except (TypeError, ValueError, SyntaxError, OverflowError):  # whatever numpy makes of a strange name
        raise ProtocolError("an array without type and shape") from None
    whole = all(
        isinstance(side, int) and not isinstance(side, bool) and 0 <= side <= LONGEST for side in sides
    )
    # A float of 16 bytes is no number to JSON.
    sent = dtype.kind in "biufUMm" and dtype.itemsize and not (dtype.kind == "f" and dtype.itemsize > 8)
    if not sent or not whole or len(sides) > MOST_AXES:
        raise ProtocolError("an array of a type or shape that is not sent")
    return dtype, sides


def _bytes_of(dtype: np.dtype[Any], shape: Sequence[int]) -> int:
    return dtype.itemsize * math.prod(shape)


def _from_file(descriptor: int, size: int) -> bytearray:
    """A copy. The position is set each time: the other side shares it, and could move it to keep us reading."""
    if os.fstat(descriptor).st_size < size:
        raise ProtocolError("a memory file shorter than it says")
    buffer = bytearray(size)
    view, got = memoryview(buffer), 0
    while got < size:
        os.lseek(descriptor, got, os.SEEK_SET)  # `preadv` is none of the calls that a locked process may make
        part = os.readv(descriptor, [view[got:]])
        if part == 0:
            raise ProtocolError("a memory file shorter than it says")
        got += part
    return buffer


def _empty(shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray:
    try:
        return np.empty(shape, dtype)
    except ValueError:  # its other sides are too long together
        raise ProtocolError("an array of a type or shape that is not sent") from None


def _views(buffer: bytearray, kinds: Sequence[tuple[np.dtype[Any], tuple[int, ...]]]) -> list[np.ndarray]:
    """Arrays over one buffer, without another copy."""
    found, at = [], 0
    for dtype, shape in kinds:
        size = _bytes_of(dtype, shape)
        if size == 0:
            found.append(_empty(shape, dtype))
        else:
            found.append(np.frombuffer(buffer, dtype, math.prod(shape), at).reshape(shape))
        at += _padded(size)
    return found
