"""One picture from bytes to the pixels that Pillow gives, as most training does; what is odd is noted.

Pixels are as stored (only TIFF files are turned upright by Pillow); sizes are held before anything is decoded.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import re
import warnings
from collections.abc import Iterator
from pathlib import PurePosixPath

import numpy as np
from PIL import Image, UnidentifiedImageError

from explainers.errors import UnreadableFile
from explainers.loading import dicom
from explainers.loading.limits import Limits
from explainers.schema import shortened

FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP")
ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp")
GREY = {"1", "L", "LA", "La"}
DEEP = {"I;16", "I;16L", "I;16B", "I;16N"}
ROTATION, BITS, TILE_WIDTH, TILE_HEIGHT = 274, 258, 322, 323  # EXIF and TIFF tags

ODDITIES = {
    "animated": "are animations or hold several pages: the first one was taken",
    "upright": "are TIFF files that say how they are to be turned: they were turned upright, as Pillow does",
    "rotated": "say in their EXIF data that they are to be turned: the pixels were taken as they are stored",
    "transparent": "have transparent parts: transparency was dropped",
    "printed": "are in printing colours (CMYK): they were turned into red, green and blue",
    "profiled": "carry a colour profile: it was not applied",
    "deep": "have 16 bits for each colour: they were read with 8",
    "windowed": "are DICOM files: their values were brought to 0..1 through a window, and nothing but the pixels was kept",
    "stretched": "are DICOM files without a window: their values were stretched from the smallest to the largest, each on its own",
    "frames": "are DICOM files with several frames: the first one was taken",
}


@dataclasses.dataclass(frozen=True)
class Picture:
    """One decoded picture: its place below the top, its pixels ``(h, w)`` or ``(h, w, 3)``, keys of `ODDITIES`."""

    path: PurePosixPath
    pixels: np.ndarray
    odd: frozenset[str] = frozenset()


def decoded(
    path: PurePosixPath, content: bytes, limits: Limits, window: dicom.Window | None = None
) -> Picture | None:
    """The picture; ``None`` for a file that neither is one nor is called one. `window` is of DICOM files."""
    if dicom.is_dicom(content):
        return Picture(path, *dicom.pixels_of(path, content, limits, window))
    named = path.suffix.lower() in ENDINGS
    shown = shortened(str(path), 80)
    try:
        with _pillow_warns_of(limits), Image.open(io.BytesIO(content), formats=FORMATS) as image:
            _hold(image, shown, limits)
            if image.format == "PNG":  # decoding would not look at the checksums of its pixels
                Image.open(io.BytesIO(content), formats=["PNG"]).verify()
            odd = frozenset(_odd(image, content))
            return Picture(path, _pixels(image, shown), odd)
    except UnidentifiedImageError as error:
        if not named:
            return None
        raise UnreadableFile(
            f"The picture {shown!r} cannot be read. Opened are {', '.join(FORMATS)}."
        ) from error
    except UnreadableFile:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        found = re.search(r"\((\d+) pixels\)", str(error))
        limits.hold(shown, "pixels", int(found[1]) if found else limits.pixels + 1, advice="Make it smaller.")
        raise UnreadableFile(f"The picture {shown!r} has too many pixels. Make it smaller.") from error
    except Exception as error:  # Pillow's decoders raise whatever the bytes provoke
        raise UnreadableFile(
            f"The picture {shown!r} is damaged: {shortened(str(error), 150) or type(error).__name__}."
        ) from error


@contextlib.contextmanager
def _pillow_warns_of(limits: Limits) -> Iterator[None]:
    """Pillow's bound on pixels is ours, and its warning of a bomb an error; its other warnings say nothing to a user."""
    before = Image.MAX_IMAGE_PIXELS
    try:
        Image.MAX_IMAGE_PIXELS = limits.pixels
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            yield
    finally:
        Image.MAX_IMAGE_PIXELS = before


def _hold(image: Image.Image, shown: str, limits: Limits) -> None:
    width, height = image.size
    limits.hold(shown, "pixels", width * height, advice="Make it smaller.")
    tags = getattr(image, "tag_v2", {})
    tile = tags.get(TILE_WIDTH, 0) * tags.get(
        TILE_HEIGHT, 0
    )  # a tile is decoded whole, however small the picture
    limits.hold(shown, "pixels", tile, advice="Save it without tiles.")


def _odd(image: Image.Image, content: bytes) -> Iterator[str]:
    if getattr(image, "is_animated", False):
        yield "animated"
    if _turned(image):
        yield "upright" if image.format == "TIFF" else "rotated"
    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        yield "transparent"
    if image.mode == "CMYK":
        yield "printed"
    if image.info.get("icc_profile"):
        yield "profiled"
    bits = max(getattr(image, "tag_v2", {}).get(BITS, (8,)))
    if image.mode in ("RGB", "RGBA") and (bits > 8 or (image.format == "PNG" and content[24] == 16)):
        yield "deep"


def _turned(image: Image.Image) -> bool:
    """Whether EXIF asks for another orientation; data that cannot be read ask for nothing."""
    try:
        return image.getexif().get(ROTATION, 1) not in (0, 1)
    except Exception:  # EXIF is a file inside the file, and is not needed
        return False


def _pixels(image: Image.Image, shown: str) -> np.ndarray:
    """Grey ``(h, w)``, colour ``(h, w, 3)``; transparency is dropped, palettes and CMYK become colour."""
    if image.mode in DEEP:
        return np.asarray(image).astype(np.uint16)
    if image.mode == "I":
        values = np.asarray(image)
        if values.min() < 0 or values.max() > 65535:
            raise UnreadableFile(f"The picture {shown!r} has 32-bit pixels. Save it with 8 or 16 bits.")
        return values.astype(np.uint16)
    if image.mode == "F":
        return np.asarray(image, dtype=np.float32)
    if image.mode in GREY:
        return np.asarray(image.convert("L"))
    return np.asarray(image.convert("RGBA" if image.mode == "PA" else "RGB"))[..., :3]
