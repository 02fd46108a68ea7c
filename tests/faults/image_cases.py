"""Bad and odd pictures as plain data: what is uploaded, and what must happen: an error, or pixels and notes."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image

from explainers import Limits, load_dataset

GREY = np.arange(12, dtype=np.uint8).reshape(3, 4) * 20
COLOUR = np.stack([GREY, GREY + 10, GREY + 20], axis=2)
ROTATION = 274


@dataclass(frozen=True)
class Case:
    """One upload.

    Attributes:
        build: its bytes: a zip of pictures, an npz, or something else that is called one.
        error: what the refusal says (a regular expression); empty where it is opened.
        pixels: the first picture ``(c, h, w)`` as the model is given it, where it matters; tolerance: how near.
        notes: a regular expression for each note, in any order; there are no others.
        bounds: `Limits` other than the usual ones.
        bomb: it asks for much more memory than it has bytes.
    """

    name: str
    build: Callable[[], bytes]
    error: str = ""
    pixels: np.ndarray | None = None
    tolerance: float = 1e-6
    notes: tuple[str, ...] = ()
    bounds: dict[str, int] = field(default_factory=dict)
    bomb: bool = False


def opened(content: bytes, bounds: dict[str, int]) -> dict[str, Any]:
    """The upload opened, in plain values."""
    data = load_dataset(content, limits=Limits(**bounds))
    return {"pictures": len(data), "first": data.X[0].tolist(), "notes": data.notes}


def saved(pixels: np.ndarray | Image.Image, form: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    image.save(buffer, form, **options)
    return buffer.getvalue()


def packed(*pictures: bytes, name: str = "a.png") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for i, content in enumerate(pictures):
            archive.writestr(f"{i}{name}", content)
    return buffer.getvalue()


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width: int, height: int, depth: int, colour: int, rows: bytes, *before: bytes) -> bytes:
    """A PNG by hand: sizes are whatever is stated."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return (
        b"\x89PNG\r\n\x1a\n"
        + head
        + b"".join(before)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def webp(width: int, height: int) -> bytes:
    """A lossless WebP by hand that states a size and holds nothing."""
    size = b"\x2f" + struct.pack("<I", (width - 1) | (height - 1) << 14) + bytes(3)
    return b"RIFF" + struct.pack("<I", 20) + b"WEBPVP8L" + struct.pack("<I", 5) + size


def tiff(*entries: tuple[int, int, int]) -> bytes:
    """A TIFF by hand: tags of a kind (3: two bytes, 4: four bytes) with a value each; the last tags lie."""
    body = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in sorted(entries))
    return b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", len(entries)) + body + bytes(4 + 64)


def tiled() -> bytes:
    """8 × 8 pixels in one tile of 60,000 × 60,000."""
    tags = ((256, 3, 8), (257, 3, 8), (258, 3, 8), (259, 3, 8), (262, 3, 1), (277, 3, 1))
    return tiff(*tags, (322, 4, 60_000), (323, 4, 60_000), (324, 4, 200), (325, 4, 64))


def turned() -> Image.Exif:
    exif = Image.Exif()
    exif[ROTATION] = 6
    return exif


def frames(form: str, **options: Any) -> bytes:
    first, second = (Image.fromarray(COLOUR + shade) for shade in (0, 9))
    return saved(first, form, save_all=True, append_images=[second], **options)


def flipped(place: int) -> bytes:
    """One bit of the pixels' checksum, or of the pixels themselves."""
    content = bytearray(saved(GREY))
    start = content.index(b"IDAT") + 4
    (size,) = struct.unpack(">I", content[start - 8 : start - 4])
    content[start + (size if place < 0 else place)] ^= 1
    return bytes(content)


def npz(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, images=array)
    return buffer.getvalue()


def first(pixels: np.ndarray, scale: float = 255.0) -> np.ndarray:
    return (pixels[None] if pixels.ndim == 2 else np.moveaxis(pixels, 2, 0)) / scale


ALPHA = np.dstack([COLOUR, GREY])
DEEP_ROWS = b"".join(b"\0" + bytes([1, 2] * 9) for _ in range(3))
PALETTE = Image.fromarray(np.arange(12, dtype=np.uint8).reshape(3, 4)).convert("P")
HOLLOW = np.full((2, 3, 3), 0.5)
HOLLOW[1, 0, 0] = np.nan
OVER = r"pixels in one picture; the limit is 40,000,000 \(setting limits.pixels\)\. Make"

CASES = (
    Case("PNG of 900 million pixels", lambda: packed(png(30_000, 30_000, 8, 0, b"0")), f"900,000,000 {OVER}", bomb=True),
    Case("PNG of 169 million pixels", lambda: packed(png(13_000, 13_000, 8, 0, b"0")), f"169,000,000 {OVER}", bomb=True),
    Case("PNG of 80 million pixels", lambda: packed(png(8_000, 10_000, 8, 0, b"0")), f"80,000,000 {OVER}", bomb=True),
    Case("WebP of 256 million pixels", lambda: packed(webp(16_000, 16_000)), f"256,000,000 {OVER}", bomb=True),
    Case("TIFF with a huge tile", lambda: packed(tiled()), f"3,600,000,000 {OVER.removesuffix('Make')}Save it without tiles", bomb=True),
    Case("values of all together", lambda: packed(saved(GREY), saved(GREY)), "has 24 values; the limit is 20", bounds={"values": 20}),
    Case("text that unpacks to much", lambda: packed(png(1, 1, 8, 0, b"\0\1", chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(4_000_000))))), "'0a.png' is damaged: Decompressed data too large", bomb=True),
    Case("a colour profile that unpacks to much", lambda: packed(png(1, 1, 8, 0, b"\0\1", chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(4_000_000))))), "'0a.png' is damaged: Decompressed data too large", bomb=True),
    Case("cut short", lambda: packed(saved(np.random.default_rng(0).integers(0, 255, (30, 30), np.uint8))[:500]), "'0a.png' is damaged"),
    Case("JPEG cut short", lambda: packed(saved(np.random.default_rng(0).integers(0, 255, (30, 30, 3), np.uint8), "JPEG")[:900]), "'0a.png' is damaged: .*truncated"),
    Case("checksum of the pixels", lambda: packed(flipped(-1)), "'0a.png' is damaged: broken PNG file"),
    Case("checksum of a pixel", lambda: packed(flipped(3)), "'0a.png' is damaged: broken PNG file"),
    Case("turned by EXIF", lambda: packed(saved(GREY, "PNG", exif=turned())), pixels=first(GREY), notes=(r"say in their EXIF data .*as they are stored \(1, the first is '0a.png'\)",)),
    Case("TIFF to be turned", lambda: packed(saved(GREY, "TIFF", exif=turned())), pixels=first(np.rot90(GREY, 3)), notes=("turned upright",)),
    Case("EXIF that is no EXIF", lambda: packed(saved(GREY, "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff", quality=95)), pixels=first(GREY), tolerance=0.03),
    Case("16 bits grey", lambda: packed(saved(GREY.astype(np.uint16) * 250)), pixels=first(GREY.astype(float) * 250, 65535)),
    Case("16 bits colour", lambda: packed(png(3, 3, 16, 2, DEEP_ROWS)), pixels=first(np.ones((3, 3, 3))), notes=("16 bits for each colour: they were read with 8",)),
    Case("CMYK", lambda: packed(saved(Image.new("CMYK", (4, 3), (0, 255, 255, 0)), "TIFF")), pixels=first(np.tile([255, 0, 0], (3, 4, 1))), notes=("printing colours",)),
    Case("palette", lambda: packed(saved(PALETTE)), pixels=first(np.repeat(np.arange(12).reshape(3, 4, 1), 3, axis=2))),
    Case("palette with transparency", lambda: packed(saved(PALETTE, transparency=bytes(range(12)))), pixels=first(np.repeat(np.arange(12).reshape(3, 4, 1), 3, axis=2)), notes=("transparency was dropped",)),
    Case("alpha", lambda: packed(saved(ALPHA)), pixels=first(COLOUR), notes=("transparency was dropped",)),
    Case("colour profile", lambda: packed(saved(COLOUR, icc_profile=b"not a profile")), pixels=first(COLOUR), notes=("carry a colour profile: it was not applied",)),
    Case("one pixel", lambda: packed(saved(GREY[1:2, 1:2])), pixels=first(GREY[1:2, 1:2])),
    Case("animated WebP", lambda: packed(frames("WEBP", lossless=True)), pixels=first(COLOUR), notes=("animations or hold several pages: the first",)),
    Case("animated PNG", lambda: packed(frames("PNG")), pixels=first(COLOUR), notes=("animations or hold several pages: the first",)),
    Case("TIFF of two pages", lambda: packed(frames("TIFF")), pixels=first(COLOUR), notes=("animations or hold several pages: the first",)),
    Case("animated GIF called PNG", lambda: packed(frames("GIF")), "'0a.png' cannot be read. Opened are PNG, JPEG"),
    Case("JPEG called PNG", lambda: packed(saved(GREY, "JPEG", quality=95)), pixels=first(GREY), tolerance=0.03),
    Case("grey among colour", lambda: packed(saved(GREY), saved(COLOUR)), pixels=first(np.dstack([GREY] * 3)), notes=(r"Grey pictures among coloured ones were made coloured \(1\)",)),
    Case("depths mixed", lambda: packed(saved(GREY), saved(GREY.astype(np.uint16))), "different depths: uint"),
    Case("sizes mixed", lambda: packed(saved(GREY), saved(GREY.T)), "2 different sizes: .*Bring them all"),
    Case("picture and zip at once", lambda: saved(GREY) + packed(saved(GREY)), "is a single picture. Open a folder or a zip"),
    Case("picture with a zip behind it, in a zip", lambda: packed(saved(GREY) + packed(saved(COLOUR))), pixels=first(GREY)),
    Case("other files among them", lambda: packed(saved(GREY), b"hello", name="a"), pixels=first(GREY), notes=(r"no pictures were left out \(1\)",)),
    Case("NaN among pixels", lambda: npz(HOLLOW), "NaN or infinite, first in picture 2; replace"),
    Case("a zip of tables", lambda: packed(b"a,b\n1,2\n", name="a.csv"), "holds tables: '0a.csv'. Unpack it"),
    Case("too many files in a zip", lambda: packed(*[b"x"] * 30), "has 30 files; the limit is 29", bounds={"files": 29}),
    Case("two files of one name", lambda: packed(saved(GREY), saved(GREY)).replace(b"1a.png", b"0a.png"), "two files of the same name"),
)  # fmt: skip
