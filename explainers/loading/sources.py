"""From a path or bytes to bytes with a name, within limits; what is packed is unpacked piece by piece."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import os
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from explainers.errors import UnreadableFile
from explainers.loading.limits import Limits
from explainers.schema import shortened

Source = str | os.PathLike[str] | bytes
PIECE = 1 << 20
GZIP = b"\x1f\x8b"
NOT_LINES = (b"PAR1", b"ARROW1", b"\xff\xfe", b"\xfe\xff")  # where a byte 10 is no line end


@dataclasses.dataclass(frozen=True)
class File:
    """What was given: the bytes, the name that messages use (never trusted for anything else), and the bounds."""

    name: str
    content: bytes
    limits: Limits = dataclasses.field(default_factory=Limits)


def read(source: Source, name: str, bound: str, limits: Limits) -> File:
    """The bytes of a file, or the bytes given; raises `UnreadableFile` for none, an empty one, one over the bound."""
    if isinstance(source, bytes):
        return _within(File(shortened(name or "upload", 120), source, limits), len(source), bound)
    path = Path(source)
    shown = shortened(name or path.name, 120)
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
    """What a gzip file holds, all its members; bytes and rows are counted as they come out.

    Raises `UnreadableFile` where it is damaged, or as soon as it unpacks to more than the limits.
    """
    unpacked, lines, counted = io.BytesIO(), 0, True
    for piece in _inflated(file):
        if unpacked.tell() == 0:
            counted = not piece.startswith(NOT_LINES)
        unpacked.write(piece)
        file.limits.hold(file.name, "unpacked_bytes", unpacked.tell(), advice="Use a smaller part of it.")
        lines += piece.count(b"\n")
        counted = counted and b'"' not in piece  # a quoted cell may hold line ends: the parser counts those
        if counted:
            file.limits.hold(file.name, "rows", lines - 1, advice="Use a sample.")
    return dataclasses.replace(file, content=unpacked.getvalue())


def _inflated(file: File) -> Iterator[bytes]:
    waiting = memoryview(file.content)
    while waiting[:2] == GZIP:
        reader, place = zlib.decompressobj(wbits=31), 0
        try:
            while not reader.eof:
                packed = reader.unconsumed_tail or waiting[place : (place := place + PIECE)]
                piece = reader.decompress(packed, PIECE)
                if not piece and not reader.unconsumed_tail and not reader.eof and place >= len(waiting):
                    raise UnreadableFile(
                        f"{file.name!r} is a gzip file that was cut short. Save or upload it again."
                    )
                yield piece
        except zlib.error as error:
            raise UnreadableFile(f"{file.name!r} is a damaged gzip file. Save or upload it again.") from error
        waiting = waiting[min(place, len(waiting)) - len(reader.unused_data) :]
        if len(waiting) == 0:
            return
    if bytes(waiting).strip(b"\0"):
        raise UnreadableFile(f"{file.name!r} is a damaged gzip file: something else follows. Save it again.")


@contextlib.contextmanager
def opened_zip(file: File) -> Iterator[tuple[zipfile.ZipFile, list[zipfile.ZipInfo]]]:
    """An archive and its files, once their number, their stated sizes and their packing are known to be modest."""
    file.limits.hold(file.name, "files", file.content.count(b"PK\1\2"))
    with zipfile.ZipFile(io.BytesIO(file.content)) as archive:
        parts = [part for part in archive.infolist() if not part.is_dir()]
        file.limits.hold(file.name, "unpacked_bytes", sum(part.file_size for part in parts))
        for part in parts:
            if part.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) or part.flag_bits & 1:
                raise UnreadableFile(
                    f"{shortened(part.filename)!r} in {file.name!r} is encrypted or packed in an unusual way. "
                    "Make the zip again without a password, with the usual packing (deflate)."
                )
        if len({part.filename for part in parts}) < len(parts):
            raise UnreadableFile(f"{file.name!r} holds two files of the same name. Make the zip again.")
        yield archive, parts


def unpacked(archive: zipfile.ZipFile, part: zipfile.ZipInfo) -> bytes:
    """One file of an archive: never more than its stated size, however much is packed into it."""
    content = io.BytesIO()
    try:
        with archive.open(part) as stream:
            while piece := stream.read(PIECE):
                content.write(piece)
    except ValueError as error:  # a place before the start of the file
        raise zipfile.BadZipFile(str(error)) from error
    return content.getvalue()
