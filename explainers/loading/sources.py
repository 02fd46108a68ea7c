"""From a path or bytes to bytes with a name, within limits."""

from __future__ import annotations

import dataclasses
import os
import zlib
from pathlib import Path

from explainers.errors import UnreadableFile
from explainers.loading.limits import Limits

Source = str | os.PathLike[str] | bytes


@dataclasses.dataclass(frozen=True)
class File:
    """What was given: the bytes, the name that messages use (never trusted for anything else), and the bounds."""

    name: str
    content: bytes
    limits: Limits = dataclasses.field(default_factory=Limits)


def read(source: Source, name: str, bound: str, limits: Limits) -> File:
    """The bytes of a file, or the bytes given; raises `UnreadableFile` for none, an empty one, one over the bound."""
    if isinstance(source, bytes):
        return _within(File(name or "upload", source, limits), len(source), bound)
    path = Path(source)
    shown = name or path.name
    try:
        size = path.stat().st_size
        _within(File(shown, b".", limits), size, bound)
        content = path.read_bytes()
    except FileNotFoundError:
        raise UnreadableFile(f"There is no file {str(path)!r}.") from None
    except OSError as error:
        raise UnreadableFile(f"{shown!r} cannot be read: {error.strerror}.") from error
    return _within(File(shown, content, limits), len(content), bound)


def _within(file: File, size: int, bound: str) -> File:
    if size == 0 or not file.content:
        raise UnreadableFile(f"{file.name!r} is empty (0 bytes). Save or upload it again.")
    file.limits.hold(file.name, bound, size)
    return file


def unzip_gzip(file: File) -> File:
    """What a gzip file holds; raises `UnreadableFile` where it is damaged or unpacks to more than the limit."""
    most = file.limits.unpacked_bytes
    reader = zlib.decompressobj(wbits=31)
    try:
        content = reader.decompress(file.content, most + 1)
    except zlib.error as error:
        raise UnreadableFile(f"{file.name!r} is a damaged gzip file. Save or upload it again.") from error
    file.limits.hold(file.name, "unpacked_bytes", len(content), advice="Use a smaller part of it.")
    if not reader.eof:
        raise UnreadableFile(f"{file.name!r} is a gzip file that was cut short. Save or upload it again.")
    return dataclasses.replace(file, content=content)
