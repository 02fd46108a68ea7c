"""Pictures: a folder or a zip of files (sub-folders are labels, or roles above them), or an npz of arrays.

Pixels are taken as Pillow gives them: a rotation in the EXIF data (but for TIFF) and a colour profile are not applied,
of an animation the first frame is taken; each is said in `Dataset.notes`. Sizes are known and held before anything is decoded.
"""

from __future__ import annotations

import io
import os
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import numpy as np

from explainers.dataset import Dataset
from explainers.errors import SchemaMismatch, UnreadableFile
from explainers.loading.dicom import Window
from explainers.loading.limits import Limits
from explainers.loading.notes import with_notes
from explainers.loading.picture_pixels import FORMATS, ODDITIES, Picture, decoded
from explainers.loading.sources import File, opened_zip, unpacked
from explainers.schema import _listed, shortened

ROLE_FOLDERS = {
    "train",
    "training",
    "test",
    "testing",
    "valid",
    "val",
    "validation",
    "holdout",
    "calibrate",
    "calibration",
}
ROLE_WORDS = {"val": "validation", "calibration": "calibrate"}


def from_folder(
    folder: Path, pixel_scale: float | None, limits: Limits, window: Window | None = None
) -> Dataset:
    """All pictures below a folder, in the order of their paths; links are not followed."""
    return _dataset(_files_below(folder, limits), folder.name, pixel_scale, limits, window)


def from_zip(file: File, pixel_scale: float | None, window: Window | None = None) -> Dataset:
    """All pictures in a zip archive, in the order of their paths."""
    try:
        with opened_zip(file) as (archive, parts):
            return _dataset(_files_within(archive, parts), file.name, pixel_scale, file.limits, window)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError) as error:
        raise UnreadableFile(
            f"{file.name!r} is a damaged zip file: {error}. Save or upload it again."
        ) from error


def _files_below(folder: Path, limits: Limits) -> Iterator[tuple[PurePosixPath, bytes]]:
    found = []
    for place, folders, names in os.walk(folder, followlinks=False):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(place) / name for name in names]
        limits.hold(folder.name, "files", len(found))
    total = 0
    for path in sorted(found):
        if path.is_symlink() or not path.is_file():
            continue
        total += path.stat().st_size
        limits.hold(folder.name, "data_bytes", total, advice="Use fewer pictures.")
        yield PurePosixPath(path.relative_to(folder).as_posix()), path.read_bytes()


def _files_within(
    archive: zipfile.ZipFile, parts: list[zipfile.ZipInfo]
) -> Iterator[tuple[PurePosixPath, bytes]]:
    for part in sorted(parts, key=lambda part: part.filename):
        yield PurePosixPath(part.filename.replace("\\", "/")), unpacked(archive, part)


def _dataset(
    files: Iterator[tuple[PurePosixPath, bytes]],
    name: str,
    pixel_scale: float | None,
    limits: Limits,
    window: Window | None,
) -> Dataset:
    pictures: list[Picture] = []
    total = others = 0
    for path, content in files:
        if _hidden(path):
            continue
        picture = decoded(path, content, limits, window)
        if picture is None:
            others += 1
            continue
        pictures.append(picture)
        total += picture.pixels.size
        limits.hold(name, "pictures", len(pictures), advice="Use a sample.")
        limits.hold(name, "values", total, advice="Use fewer or smaller pictures.")
    if not pictures:
        raise UnreadableFile(f"{name!r} holds no pictures. Opened are {', '.join(FORMATS)} and DICOM.")
    labels, roles = _labels([picture.path for picture in pictures])
    images = _stacked(pictures)
    data = Dataset.from_images(images, labels=labels, role=roles, pixel_scale=_scale(images, pixel_scale))
    return with_notes(data, *_oddities(pictures, others))


def _oddities(pictures: list[Picture], others: int) -> Iterator[str]:
    counts = Counter(key for picture in pictures for key in picture.odd)
    first = {key: picture.path for picture in reversed(pictures) for key in picture.odd}
    for key, sentence in ODDITIES.items():
        if key in counts:
            yield f"Pictures that {sentence} ({counts[key]:,}, the first is {shortened(str(first[key]), 80)!r})."
    grey = sum(picture.pixels.ndim == 2 for picture in pictures)
    if 0 < grey < len(pictures):
        yield f"Grey pictures among coloured ones were made coloured ({grey:,})."
    if others:
        yield f"Files that are no pictures were left out ({others:,})."


def _hidden(path: PurePosixPath) -> bool:
    return any(part.startswith((".", "__MACOSX")) for part in path.parts)


def _stacked(pictures: list[Picture]) -> np.ndarray:
    """One array ``(n, c, h, w)``; grey pictures among coloured ones become coloured."""
    sizes = {picture.pixels.shape[:2]: shortened(str(picture.path), 80) for picture in reversed(pictures)}
    if len(sizes) > 1:
        shown = ", ".join(
            f"{width} × {height} ({path!r})" for (height, width), path in list(sizes.items())[:4]
        )
        raise SchemaMismatch(
            f"The pictures have {len(sizes)} different sizes: {shown}. Bring them all to the size that the model takes."
        )
    depths = {str(picture.pixels.dtype): shortened(str(picture.path), 80) for picture in reversed(pictures)}
    if len(depths) > 1:
        shown = ", ".join(f"{depth} ({path!r})" for depth, path in depths.items())
        raise SchemaMismatch(
            f"The pictures have different depths: {shown}. Save them all with 8, or all with 16 bits."
        )
    if all(picture.pixels.ndim == 2 for picture in pictures):
        return np.stack([picture.pixels for picture in pictures])[:, None]
    coloured = [
        np.repeat(p.pixels[..., None], 3, axis=2) if p.pixels.ndim == 2 else p.pixels for p in pictures
    ]
    return np.moveaxis(np.stack(coloured), 3, 1)


def _labels(paths: list[PurePosixPath]) -> tuple[list[str] | None, list[str] | None]:
    """Labels from the folder that a picture is in, roles from the folder above where those are called train, test, …"""
    folders = [path.parts[:-1] for path in paths]
    while len({parts[:1] for parts in folders}) == 1 and all(len(parts) > 1 for parts in folders):
        folders = [parts[1:] for parts in folders]  # one folder around everything says nothing
    roles = None
    if all(parts and parts[0].lower() in ROLE_FOLDERS for parts in folders):
        roles = [ROLE_WORDS.get(parts[0].lower(), parts[0].lower()) for parts in folders]
        folders = [parts[1:] for parts in folders]
    if len(set(folders)) == 1 and (roles is None or not folders[0]):
        return None, roles  # all in one folder: no labels
    loose = [str(path) for path, parts in zip(paths, folders, strict=True) if not parts]
    if loose:
        raise SchemaMismatch(
            f"Some pictures are in class folders and some are not: {_listed(loose, 3)}. Put each into the folder of its class."
        )
    return ["/".join(parts) for parts in folders], roles


def from_npz(file: File, pixel_scale: float | None) -> Dataset:
    """Arrays: the pictures (``images``, ``X`` or the first with 3 or 4 sides), ``labels`` or ``y``, ``role``."""
    arrays = _arrays(file)
    name: str | None = next((name for name in ("images", "X", "x") if name in arrays), None)
    name = name or next((name for name, array in arrays.items() if array.ndim in (3, 4)), None)
    if name is None or arrays[name].ndim not in (3, 4):
        shapes = ", ".join(f"{shortened(key)} {array.shape}" for key, array in list(arrays.items())[:8])
        raise SchemaMismatch(
            f"{file.name!r} holds no pictures (n, h, w) or (n, h, w, c); it has {shapes}. Save them as 'images'."
        )
    truth = next((key for key in ("labels", "y", "label", "target") if key in arrays), "")
    labels = arrays.get(truth)
    if labels is not None and labels.ndim == 2 and 1 in labels.shape:
        labels = labels.reshape(-1)
    if labels is not None and labels.ndim != 1:
        raise SchemaMismatch(
            f"The labels of {file.name!r} have shape {labels.shape}; expected one for each picture."
        )
    if labels is not None and labels.dtype.kind not in "uifbU":
        raise SchemaMismatch(
            f"The labels of {file.name!r} hold {labels.dtype}; save them as text or as numbers."
        )
    images, role = arrays[name], arrays.get("role")
    if images.dtype.kind not in "uifb":
        raise SchemaMismatch(f"{shortened(name)!r} of {file.name!r} holds {images.dtype}, not pixels.")
    if role is not None and (role.shape != (len(images),) or role.dtype.kind != "U"):
        raise SchemaMismatch(
            f"'role' of {file.name!r} is {role.dtype} {role.shape}; expected one word for each picture."
        )
    data = Dataset.from_images(images, labels=labels, role=role, pixel_scale=_scale(images, pixel_scale))
    unused = [key for key in arrays if key not in (name, truth, "role")]
    return with_notes(data, *([f"Arrays that were not used: {_listed(unused)}."] if unused else []))


def _scale(images: np.ndarray, pixel_scale: float | None) -> float | None:
    return 65535.0 if pixel_scale is None and images.dtype == np.uint16 else pixel_scale


def _arrays(file: File) -> dict[str, np.ndarray]:
    """The arrays of an npz, without objects; each one's stated size is compared with its bytes before it is made."""
    found = {}
    try:
        with opened_zip(file) as (archive, parts):
            for part in parts:
                content = io.BytesIO(unpacked(archive, part))
                array = _array(file, content, part.file_size)
                found[part.filename.removesuffix(".npy")] = array
    except (
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        ValueError,
        NotImplementedError,
        RuntimeError,
        OSError,
    ) as error:
        raise UnreadableFile(
            f"{file.name!r} is not a sound npz file of plain arrays: {error}. Save it again with numpy.savez."
        ) from error
    return found


def _array(file: File, content: io.BytesIO, size: int) -> np.ndarray:
    version = np.lib.format.read_magic(content)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, kind = read(content)
    if kind.hasobject:
        raise ValueError("it holds Python objects")
    if min(shape, default=0) < 0 or int(np.prod(shape, dtype=object)) * kind.itemsize > size:
        raise ValueError("an array claims more numbers than it holds")
    file.limits.hold(file.name, "values", int(np.prod(shape, dtype=object)), advice="Use fewer pictures.")
    content.seek(0)
    return np.asarray(np.lib.format.read_array(content, allow_pickle=False))
