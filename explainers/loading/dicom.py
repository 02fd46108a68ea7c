"""Pictures from DICOM files: stored values, rescaled, through a window, to 0..1. Nothing but the pixels is kept: headers name patients.

The window is the caller's, else the file's first, else from the smallest to the largest value. Its law is DICOM PS3.3 C.11.2.1.2.1 (LINEAR):
with centre c and width w, values up to c - 0.5 - (w - 1) / 2 become 0, values above c - 0.5 + (w - 1) / 2 become 1, those between lie on a line.
"""

from __future__ import annotations

import io
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from jaxtyping import Float

from explainers.errors import InvalidSetting, UnreadableFile
from explainers.lazily import lazily
from explainers.loading.limits import Limits
from explainers.schema import shortened

pydicom, pixels = lazily("pydicom"), lazily("pydicom.pixels")

#: Where the mark of a DICOM file stands, and the mark.
PLACE, MARK = 128, b"DICM"

#: Ways of storing pixels that are read: as they are, run lengths, and JPEG as Pillow reads it.
SYNTAXES = {
    "1.2.840.10008.1.2": "implicit little endian",
    "1.2.840.10008.1.2.1": "explicit little endian",
    "1.2.840.10008.1.2.2": "explicit big endian",
    "1.2.840.10008.1.2.5": "run lengths",
    "1.2.840.10008.1.2.4.50": "JPEG baseline",
}

#: Centre and width, in the rescaled units of the file (Hounsfield units of a CT).
Window = tuple[float, float]


def is_dicom(content: bytes) -> bool:
    """Whether the bytes are a DICOM file."""
    return content[PLACE : PLACE + len(MARK)] == MARK


def pixels_of(
    path: PurePosixPath, content: bytes, limits: Limits, window: Window | None
) -> tuple[np.ndarray, frozenset[str]]:
    """Float32 pixels from 0 to 1, ``(h, w)`` or ``(h, w, 3)``, and keys of what is odd; raises `UnreadableFile`."""
    shown = shortened(str(path), 80)
    if window is not None and not (np.isfinite(window).all() and window[1] >= 1):
        raise InvalidSetting(f"A window has a centre and a width of at least 1; got {window}.")
    try:
        return _read(content, shown, limits, window)
    except ModuleNotFoundError as error:
        raise UnreadableFile(
            f"The picture {shown!r} is a DICOM file; they are read with pydicom: pip install 'whyboard[dicom]'."
        ) from error
    except UnreadableFile:
        raise
    except Exception as error:  # pydicom raises whatever the bytes provoke
        raise UnreadableFile(
            f"The picture {shown!r} is a damaged DICOM file ({type(error).__name__})."
        ) from error


def _read(
    content: bytes, shown: str, limits: Limits, window: Window | None
) -> tuple[np.ndarray, frozenset[str]]:
    head = pydicom.dcmread(io.BytesIO(content), stop_before_pixels=True, specific_tags=["TransferSyntaxUID"])
    syntax = str(head.file_meta.get("TransferSyntaxUID", ""))
    if syntax not in SYNTAXES:
        raise UnreadableFile(
            f"The picture {shown!r} is stored as {shortened(syntax, 40) or 'nothing known'}; read are {', '.join(SYNTAXES.values())}. "
            "Save it without compression."
        )
    file = pydicom.dcmread(io.BytesIO(content))
    rows, columns = int(file.get("Rows", 0)), int(file.get("Columns", 0))
    frames = int(file.get("NumberOfFrames", 1) or 1)
    if rows < 1 or columns < 1 or "PixelData" not in file:
        raise UnreadableFile(f"The DICOM file {shown!r} holds no picture.")
    limits.hold(
        shown, "pixels", rows * columns * max(frames, 1), advice="Save one frame, or a smaller picture."
    )
    stored = pixels.pixel_array(file, index=0)
    odd = {"frames"} if frames > 1 else set()
    if stored.ndim == 3:
        return _colour(stored, file), frozenset(odd)
    values = stored * float(file.get("RescaleSlope", 1) or 1) + float(file.get("RescaleIntercept", 0) or 0)
    own = _own_window(file)
    if window is None and own is None:
        odd.add("stretched")
    shown_values = windowed(values, window or own)
    if file.get("PhotometricInterpretation", "") == "MONOCHROME1":
        shown_values = 1 - shown_values
    return shown_values.astype(np.float32), frozenset(odd | {"windowed"})


def windowed(values: Float[np.ndarray, "h w"], window: Window | None) -> Float[np.ndarray, "h w"]:
    """Values through a window, to 0..1; without one from the smallest to the largest."""
    if window is None:
        low, high = float(values.min()), float(values.max())
        return np.asarray((values - low) / (high - low) if high > low else np.zeros(values.shape))
    centre, width = window
    if width <= 1:
        return np.asarray((values > centre - 0.5).astype(np.float64))
    return np.asarray(np.clip((values - (centre - 0.5)) / (width - 1) + 0.5, 0.0, 1.0))


def _own_window(file: Any) -> Window | None:
    """The first of the file's windows, where it states a sound one."""
    centre, width = (np.atleast_1d(file.get(name, [])) for name in ("WindowCenter", "WindowWidth"))
    if not len(centre) or not len(width):
        return None
    found = float(centre[0]), float(width[0])
    return found if np.isfinite(found).all() and found[1] >= 1 else None


def _colour(stored: np.ndarray, file: Any) -> Float[np.ndarray, "h w 3"]:
    """Red, green and blue from 0 to 1."""
    bits = int(file.get("BitsStored", 8))
    return np.asarray(stored[..., :3] / np.float32(2**bits - 1), dtype=np.float32)
