"""What an Arrow file says of its blocks, read from its own description: rows and unpacked bytes before any is unpacked.

The layout is `Message.fbs` and `File.fbs` of the Arrow format (flatbuffers).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

FOOTER_DICTIONARIES, FOOTER_BATCHES = 2, 3
MESSAGE_HEADER = 2
BATCH_ROWS, BATCH_BUFFERS, BATCH_COMPRESSION = 0, 2, 3
DICTIONARY_DATA = 1
BLOCK, BUFFER = struct.Struct("<qi4xq"), struct.Struct("<qq")


def stated_sizes(content: bytes) -> Iterator[tuple[int, int]]:
    """Rows and unpacked bytes of each block, dictionaries first (without rows).

    Raises `struct.error`, a `ValueError` or `KeyError` where the description is damaged.
    """
    (length,) = struct.unpack_from("<i", content, len(content) - 10)
    footer = _root(content, len(content) - 10 - length)
    for slot in (FOOTER_DICTIONARIES, FOOTER_BATCHES):
        for place in _vector(content, footer, slot, BLOCK.size):
            offset, about, _ = BLOCK.unpack_from(content, place)
            batch = _follow(content, _slot(content, _root(content, offset + 8), MESSAGE_HEADER))
            if slot == FOOTER_DICTIONARIES:
                batch = _follow(content, _slot(content, batch, DICTIONARY_DATA))
            place = _slot(content, batch, BATCH_ROWS) or 0
            rows = struct.unpack_from("<q", content, place)[0] if place else 0
            size = sum(_buffers(content, batch, offset + about))
            yield (0 if slot == FOOTER_DICTIONARIES else rows), size


def _buffers(content: bytes, batch: int, body: int) -> Iterator[int]:
    packed = _slot(content, batch, BATCH_COMPRESSION) is not None
    for place in _vector(content, batch, BATCH_BUFFERS, BUFFER.size):
        offset, size = BUFFER.unpack_from(content, place)
        if packed and size >= 8:
            (stated,) = struct.unpack_from("<q", content, _inside(content, body + offset))
            size = size if stated == -1 else stated
        if size < 0:
            raise ValueError("a negative size")
        yield size


def _inside(content: bytes, place: int) -> int:
    if not 0 <= place < len(content):
        raise ValueError("a block lies outside the file")
    return place


def _root(content: bytes, place: int) -> int:
    return _follow(content, place)


def _follow(content: bytes, place: int | None) -> int:
    if place is None:
        raise ValueError("a block without description")
    return _inside(content, place + struct.unpack_from("<I", content, _inside(content, place))[0])


def _slot(content: bytes, table: int, slot: int) -> int | None:
    """Where a field of a table lies; ``None`` where it is left out."""
    rules = _inside(content, table - struct.unpack_from("<i", content, _inside(content, table))[0])
    (size,) = struct.unpack_from("<H", content, rules)
    if 4 + 2 * slot >= size:
        return None
    (offset,) = struct.unpack_from("<H", content, rules + 4 + 2 * slot)
    return table + offset if offset else None


def _vector(content: bytes, table: int, slot: int, width: int) -> range:
    field = _slot(content, table, slot)
    if field is None:
        return range(0)
    start = _follow(content, field)
    (count,) = struct.unpack_from("<I", content, start)
    _inside(content, start + 3 + count * width)
    return range(start + 4, start + 4 + count * width, width)
