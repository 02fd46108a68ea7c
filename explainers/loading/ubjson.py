"""Universal Binary JSON as XGBoost writes it: a decoder that allocates no more than the file can fill.

Typed arrays (``[$d#L``) become numpy arrays, everything else the same Python values as from JSON.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from explainers.loading.limits import Limits

NUMBERS: dict[bytes, np.dtype[Any]] = {
    b"i": np.dtype(">i1"), b"U": np.dtype(">u1"), b"I": np.dtype(">i2"), b"l": np.dtype(">i4"), b"L": np.dtype(">i8"),
    b"d": np.dtype(">f4"), b"D": np.dtype(">f8"),
}  # fmt: skip
CONSTANTS = {b"Z": None, b"T": True, b"F": False}


def decode(content: bytes, name: str = "upload", limits: Limits = Limits()) -> Any:
    """The value that the bytes hold; raises ``ValueError`` for anything malformed or cut short.

    Raises `UnreadableFile` where it is nested too deeply, or holds more single values than a model has nodes.
    """
    reader = _Reader(content, name, limits)
    value = reader.value(reader.take(1), 0)
    if reader.at != len(content):
        raise ValueError(f"{len(content) - reader.at} bytes follow the end")
    return value


class _Reader:
    def __init__(self, content: bytes, name: str, limits: Limits) -> None:
        self.content = content
        self.at = 0
        self.name, self.limits = name, limits
        self.values = 0

    def take(self, size: int) -> bytes:
        if size < 0 or self.at + size > len(self.content):
            raise ValueError("it ends too early")
        self.at += size
        return self.content[self.at - size : self.at]

    def peek(self) -> bytes:
        return self.content[self.at : self.at + 1]

    def value(self, kind: bytes, depth: int) -> Any:
        self.values += 1
        if depth > self.limits.json_depth or self.values > self.limits.nodes:
            self.limits.hold(self.name, "json_depth", depth)
            self.limits.hold(self.name, "nodes", self.values)
        if kind in NUMBERS:
            return np.frombuffer(self.take(NUMBERS[kind].itemsize), NUMBERS[kind])[0].item()
        if kind in CONSTANTS:
            return CONSTANTS[kind]
        if kind == b"S":
            return self.text()
        if kind == b"C":
            return self.take(1).decode("ascii")
        if kind == b"[":
            return self.array(depth)
        if kind == b"{":
            return self.mapping(depth)
        raise ValueError(f"there is an unknown mark {kind!r} at byte {self.at}")

    def size(self) -> int:
        kind = self.take(1)
        if kind not in NUMBERS or NUMBERS[kind].kind == "f":
            raise ValueError(f"a length is missing at byte {self.at}")
        return int(self.value(kind, 0))

    def text(self) -> str:
        return self.take(self.size()).decode("utf-8")

    def array(self, depth: int) -> Any:
        kind, count = self.header()
        if kind is not None and kind in NUMBERS:
            size = NUMBERS[kind].itemsize
            values = np.frombuffer(self.take((count or 0) * size), NUMBERS[kind])
            return values.astype(values.dtype.newbyteorder("="))
        if count is not None:
            if count > len(self.content) - self.at:
                raise ValueError("an array is longer than the file")
            return [self.value(kind or self.take(1), depth + 1) for _ in range(count)]
        found = []
        while (mark := self.take(1)) != b"]":
            found.append(self.value(mark, depth + 1))
        return found

    def mapping(self, depth: int) -> dict[str, Any]:
        kind, count = self.header()
        found: dict[str, Any] = {}
        while (len(found) < count) if count is not None else (self.peek() != b"}"):
            name = self.text()
            if name in found:
                raise ValueError(f"{name!r} occurs twice")
            found[name] = self.value(kind or self.take(1), depth + 1)
        if count is None:
            self.take(1)
        return found

    def header(self) -> tuple[bytes | None, int | None]:
        """The optional common type and count of a container."""
        kind = count = None
        if self.peek() == b"$":
            self.take(1)
            kind = self.take(1)
        if self.peek() == b"#":
            self.take(1)
            count = self.size()
        if kind is not None and count is None:
            raise ValueError(f"a count is missing at byte {self.at}")
        if count is not None and count < 0:
            raise ValueError(f"a count is negative at byte {self.at}")
        return kind, count
