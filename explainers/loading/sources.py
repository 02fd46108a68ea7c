"""From a path or bytes to bytes with a name, within limits."""

from __future__ import annotations

import dataclasses
import os
import zlib
from pathlib import Path

from explainers.errors import UnreadableFile

Source = str | os.PathLike[str] | bytes

MAX_MODEL_BYTES = 2 * 2**30
MAX_DATA_BYTES = 2 * 2**30
#: What compressed data may unpack to.
MAX_UNPACKED_BYTES = 4 * 2**30


@dataclasses.dataclass(frozen=True)
class File:
    """What was given: the bytes, and the name that messages use (never trusted for anything else)."""

    name: str
    content: bytes


def read(source: Source, name: str, limit: int) -> File:
    """The bytes of a file, or the bytes given; raises `UnreadableFile` for none, an empty one, one over the limit."""
    if isinstance(source, bytes):
        return _within(File(name or "upload", source), len(source), limit)
    path = Path(source)
    shown = name or path.name
    try:
        size = path.stat().st_size
        _within(File(shown, b"."), size, limit)
        content = path.read_bytes()
    except FileNotFoundError:
        raise UnreadableFile(f"There is no file {str(path)!r}.") from None
    except OSError as error:
        raise UnreadableFile(f"{shown!r} cannot be read: {error.strerror}.") from error
    return _within(File(shown, content), len(content), limit)


def _within(file: File, size: int, limit: int) -> File:
    if size == 0 or not file.content:
        raise UnreadableFile(f"{file.name!r} is empty (0 bytes). Save or upload it again.")
    if size > limit:
        raise UnreadableFile(f"{file.name!r} has {size:,} bytes; the limit is {limit:,}.")
    return file


def unzip_gzip(file: File) -> File:
    """What a gzip file holds; raises `UnreadableFile` where it is damaged or unpacks to more than the limit."""
    reader = zlib.decompressobj(wbits=31)
    try:
        content = reader.decompress(file.content, MAX_UNPACKED_BYTES + 1)
    except zlib.error as error:
        raise UnreadableFile(f"{file.name!r} is a damaged gzip file. Save or upload it again.") from error
    if len(content) > MAX_UNPACKED_BYTES:
        raise UnreadableFile(
            f"{file.name!r} unpacks to more than {MAX_UNPACKED_BYTES:,} bytes, the limit. Use a smaller part of it."
        )
    if not reader.eof:
        raise UnreadableFile(f"{file.name!r} is a gzip file that was cut short. Save or upload it again.")
    return File(file.name, content)
