"""What delimited text is written in: UTF-8, UTF-16 with its mark, else Windows Latin; all else is refused by name."""

from __future__ import annotations

import codecs

from explainers.errors import UnreadableFile
from explainers.loading.sources import PIECE, File

MARK = codecs.BOM_UTF8
CONTROL = bytes({*range(9), *range(14, 32), 127})


def as_utf8(file: File) -> tuple[bytes, list[str]]:
    """The text in UTF-8 without a mark, and what is worth saying of how it was written."""
    content, notes = file.content, []
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        content, notes = _from_utf16(file), ["The text is in UTF-16."]
    else:
        marks = 0
        while content.startswith(MARK, marks):  # some programs write it twice
            marks += len(MARK)
        content = content[marks:]
        place = _not_utf8(content)
        if place is not None:
            line = content.count(b"\n", 0, place) + 1
            content = _from_windows(file, content)
            notes = [
                f"The text is not in UTF-8 (line {line}): it was read as Windows-1252. "
                "Look whether names and texts are right."
            ]
    _require_text(file, content)
    return content, notes


def _not_utf8(content: bytes) -> int | None:
    """The place of the first byte that is not UTF-8; looked for piece by piece, so that no second copy is made."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    for start in range(0, len(content), PIECE):
        try:
            decoder.decode(content[start : start + PIECE], final=start + PIECE >= len(content))
        except UnicodeDecodeError as error:
            return start + error.start
    return None


def _control(content: bytes) -> int | None:
    """The place of the first control character, which no text table has; a NUL is one."""
    for start in range(0, len(content), PIECE):
        piece = content[start : start + PIECE]
        if len(piece.translate(None, CONTROL)) < len(piece):
            return start + next(i for i, byte in enumerate(piece) if byte in CONTROL)
    return None


def _from_utf16(file: File) -> bytes:
    try:
        return file.content.decode("utf-16").encode()
    except UnicodeDecodeError as error:
        raise UnreadableFile(
            f"{file.name!r} is not sound text in UTF-16 (byte {error.start}). Save it as CSV in UTF-8."
        ) from error


def _from_windows(file: File, content: bytes) -> bytes:
    try:
        return content.decode("cp1252").encode()
    except UnicodeDecodeError as error:
        raise UnreadableFile(
            f"{file.name!r} is not text in UTF-8, UTF-16 or Latin-1 (byte {error.start}). Save it as CSV in UTF-8."
        ) from error


def _require_text(file: File, content: bytes) -> None:
    found = _control(content)
    start = content[:1000].lstrip()
    if found is not None and max(content[:1000:2].count(0), content[1:1000:2].count(0)) > 0.4 * len(
        content[:1000:2]
    ):
        raise UnreadableFile(
            f"{file.name!r} seems to be UTF-16 or UTF-32 without a mark at its start. Save it as CSV in UTF-8."
        )
    if found is not None:
        line = content.count(b"\n", 0, found) + 1
        raise UnreadableFile(
            f"{file.name!r} is not a text table: it holds binary data (a control character in line {line}). "
            "Opened are CSV, Parquet, Arrow, npz and pictures."
        )
    if start.lower().startswith((b"<!doctype", b"<html", b"<?xml")):
        raise UnreadableFile(
            f"{file.name!r} is a web page or XML, not a table; the download probably failed. Download it again."
        )
    if start.startswith((b"{", b"[")):
        raise UnreadableFile(
            f"{file.name!r} is JSON, not a table. Save it as CSV: frame.to_csv(path, index=False)."
        )
