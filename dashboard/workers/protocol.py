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

#: Dimensions of an array.
MOST_AXES = 8

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

    def send(self, message: Message) -> None:
        """Send a message; raises `Closed` where nobody listens any more."""
        held = [np.ascontiguousarray(item) for item in message.arrays]
        arrays = [[item.dtype.str, list(item.shape)] for item in held]
        text = json.dumps({"body": message.body, "arrays": arrays}, separators=(",", ":")).encode()
        size = sum(_padded(item.nbytes) for item in held)
        large = self._files and size >= LARGE
        flags = IN_FILE if large else 0
        header = HEADER.pack(MARK, message.kind, flags, 0, message.number, len(text), size, 0)
        with self._spoken():
            if large:
                self._send_file(header, held)
                self._socket.sendall(text)
            else:
                self._socket.sendall(b"".join([header, text, *_pieces(held)]))

    def receive(self, seconds: float | None = None) -> Message | None:
        """The next message; ``None`` after so many seconds without one.

        Once a message has begun its rest must follow within a minute. Raises `Closed`, or `ProtocolError` for
        anything that is not a message.
        """
        if not self.waits(seconds):
            return None
        deadline = time.monotonic() + 60.0
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
            ready, _, _ = select.select([self._socket], [], [], seconds)
        except (OSError, ValueError):
            raise Closed from None
        return bool(ready)

    @contextlib.contextmanager
    def _spoken(self) -> Any:
        try:
            yield
        except (BrokenPipeError, ConnectionError, TimeoutError) as error:
            raise Closed from error
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
        if json_bytes > MOST_JSON or size > self._limit:
            raise ProtocolError(f"a message of {json_bytes + size:,} bytes")
        text = self._exactly(json_bytes, deadline)
        try:
            outer = json.loads(text)
            body, stated = outer["body"], outer["arrays"]
        except (ValueError, KeyError, TypeError, RecursionError):
            raise ProtocolError("a body that is not JSON of the agreed form") from None
        kinds = [_stated(item) for item in stated] if isinstance(stated, list) else []
        if sum(_padded(_bytes_of(*item)) for item in kinds) != size:
            raise ProtocolError("arrays whose sizes do not add up")
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


def _stated(item: Any) -> tuple[np.dtype[Any], tuple[int, ...]]:
    """Type and shape as stated: plain numbers, truth values, texts of fixed width and times; never objects."""
    try:
        name, shape = item
        dtype = np.dtype(str(name))
        sides = tuple(shape)
    except (TypeError, ValueError):
        raise ProtocolError("an array without type and shape") from None
    whole = all(isinstance(side, int) and not isinstance(side, bool) and side >= 0 for side in sides)
    if dtype.kind not in "biufUMm" or dtype.hasobject or not whole or len(sides) > MOST_AXES:
        raise ProtocolError("an array of a type or shape that is not sent")
    return dtype, sides


def _bytes_of(dtype: np.dtype[Any], shape: tuple[int, ...]) -> int:
    return dtype.itemsize * math.prod(shape)


def _from_file(descriptor: int, size: int) -> bytearray:
    buffer = bytearray(size)
    view, got = memoryview(buffer), 0
    os.lseek(descriptor, 0, os.SEEK_SET)
    while got < size:
        part = os.readv(descriptor, [view[got:]])
        if part == 0:
            raise ProtocolError("a memory file shorter than it says")
        got += part
    return buffer


def _views(buffer: bytearray, kinds: Sequence[tuple[np.dtype[Any], tuple[int, ...]]]) -> list[np.ndarray]:
    """Arrays over one buffer, without another copy."""
    found, at = [], 0
    for dtype, shape in kinds:
        size = _bytes_of(dtype, shape)
        if size == 0:
            found.append(np.empty(shape, dtype))
        else:
            found.append(np.frombuffer(buffer, dtype, math.prod(shape), at).reshape(shape))
        at += _padded(size)
    return found
