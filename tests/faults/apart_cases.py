"""What may become of a call in a process of its own, as functions that do it."""

from __future__ import annotations

import ctypes
import os
from typing import Any

from explainers import UnreadableFile


def answer(content: bytes) -> Any:
    return {"length": len(content)}


def refuse() -> None:
    raise UnreadableFile("'a.csv' is empty (0 bytes). Save or upload it again.")


def stumble() -> None:
    raise KeyError("no such thing")


def crash() -> None:
    ctypes.string_at(0)


def leave() -> None:
    os._exit(3)


def spin() -> None:
    while True:
        pass


def swell() -> int:
    return len(bytearray(4 << 30))


def grow() -> int:
    return len(bytearray(b"x") * (100 << 20))
