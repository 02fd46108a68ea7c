"""Pictures: a folder or a zip of files (sub-folders are labels, or roles above them), or an npz of arrays."""

from __future__ import annotations

import dataclasses
import io
import os
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image, UnidentifiedImageError

from explainers.dataset import Dataset
from explainers.errors import SchemaMismatch, UnreadableFile
from explainers.loading.limits import Limits
from explainers.loading.sources import File
from explainers.schema import _listed

FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP")
ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp")
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
GREY = {"1", "L", "LA", "La"}
DEEP = {"I;16", "I;16L", "I;16B", "I;16N"}


@dataclasses.dataclass(frozen=True)
class Picture:
    """One decoded picture: its place below the top, and its pixels ``(h, w)`` or ``(h, w, 3)``."""

    path: PurePosixPath
    pixels: np.ndarray


def from_folder(folder: Path, pixel_scale: float | None, limits: Limits) -> Dataset:
    """All pictures below a folder, in the order of their paths; links are not followed."""
    return _dataset(_files_below(folder, limits), folder.name, pixel_scale, limits)


def from_zip(file: File, pixel_scale: float | None) -> Dataset:
    """All pictures in a zip archive, in the order of their paths."""
    try:
        with zipfile.ZipFile(io.BytesIO(file.content)) as archive:
            parts = [part for part in archive.infolist() if not part.is_dir()]
            file.limits.hold(file.name, "unpacked_bytes", sum(part.file_size for part in parts))
            return _dataset(_files_within(archive, parts), file.name, pixel_scale, file.limits)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError) as error:
        raise UnreadableFile(
            f"{file.name!r} is a damaged zip file: {error}. Save or upload it again."
        ) from error


def _files_below(folder: Path, limits: Limits) -> Iterator[tuple[PurePosixPath, bytes]]:
    found = []
    for place, folders, names in os.walk(folder, followlinks=False):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(place) / name for name in names]
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
        yield PurePosixPath(part.filename.replace("\\", "/")), archive.read(part)


def _dataset(
    files: Iterator[tuple[PurePosixPath, bytes]], name: str, pixel_scale: float | None, limits: Limits
) -> Dataset:
    pictures: list[Picture] = []
    total = 0
    for path, content in files:
        picture = None if _hidden(path) else _decoded(path, content, limits)
        if picture is None:
            continue
        pictures.append(picture)
        total += picture.pixels.size
        limits.hold(name, "pictures", len(pictures), advice="Use a sample.")
        limits.hold(name, "values", total, advice="Use fewer or smaller pictures.")
    if not pictures:
        raise UnreadableFile(f"{name!r} holds no pictures. Opened are {', '.join(FORMATS)}.")
    labels, roles = _labels([picture.path for picture in pictures])
    images = _stacked(pictures)
    return Dataset.from_images(images, labels=labels, role=roles, pixel_scale=_scale(images, pixel_scale))


def _hidden(path: PurePosixPath) -> bool:
    return any(part.startswith((".", "__MACOSX")) for part in path.parts)


def _decoded(path: PurePosixPath, content: bytes, limits: Limits) -> Picture | None:
    """The pixels; ``None`` for a file that neither is a picture nor is called one."""
    named = path.suffix.lower() in ENDINGS
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with Image.open(io.BytesIO(content), formats=FORMATS) as image:
                width, height = image.size
                limits.hold(str(path), "pixels", width * height, advice="Make it smaller.")
                return Picture(path, _pixels(image, path))
    except UnidentifiedImageError as error:
        if not named:
            return None
        raise UnreadableFile(
            f"The picture {str(path)!r} cannot be read. Opened are {', '.join(FORMATS)}."
        ) from error
    except UnreadableFile:
        raise
    except Exception as error:  # Pillow's decoders raise whatever the bytes provoke
        raise UnreadableFile(
            f"The picture {str(path)!r} is damaged: {str(error)[:150] or type(error).__name__}."
        ) from error


def _pixels(image: Image.Image, path: PurePosixPath) -> np.ndarray:
    """Grey ``(h, w)``, colour ``(h, w, 3)``; transparency is dropped, palettes and CMYK become colour."""
    if image.mode in DEEP:
        return np.asarray(image).astype(np.uint16)
    if image.mode == "I":
        values = np.asarray(image)
        if values.min() < 0 or values.max() > 65535:
            raise UnreadableFile(f"The picture {str(path)!r} has 32-bit pixels. Save it with 8 or 16 bits.")
        return values.astype(np.uint16)
    if image.mode == "F":
        return np.asarray(image, dtype=np.float32)
    if image.mode in GREY:
        return np.asarray(image.convert("L"))
    return np.asarray(image.convert("RGBA" if image.mode == "PA" else "RGB"))[..., :3]


def _stacked(pictures: list[Picture]) -> np.ndarray:
    """One array ``(n, c, h, w)``; grey pictures among coloured ones become coloured."""
    sizes = {picture.pixels.shape[:2]: str(picture.path) for picture in reversed(pictures)}
    if len(sizes) > 1:
        shown = ", ".join(
            f"{width} × {height} ({path!r})" for (height, width), path in list(sizes.items())[:4]
        )
        raise SchemaMismatch(
            f"The pictures have {len(sizes)} different sizes: {shown}. Bring them all to the size that the model takes."
        )
    depths = {str(picture.pixels.dtype): str(picture.path) for picture in reversed(pictures)}
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
        shapes = ", ".join(f"{key} {array.shape}" for key, array in list(arrays.items())[:8])
        raise SchemaMismatch(
            f"{file.name!r} holds no pictures (n, h, w) or (n, h, w, c); it has {shapes}. Save them as 'images'."
        )
    labels = next((arrays[key] for key in ("labels", "y", "label", "target") if key in arrays), None)
    if labels is not None and labels.ndim == 2 and 1 in labels.shape:
        labels = labels.reshape(-1)
    if labels is not None and labels.ndim != 1:
        raise SchemaMismatch(
            f"The labels of {file.name!r} have shape {labels.shape}; expected one for each picture."
        )
    images = arrays[name]
    if images.dtype.kind not in "uifb":
        raise SchemaMismatch(f"{name!r} of {file.name!r} holds {images.dtype}, not pixels.")
    return Dataset.from_images(
        images, labels=labels, role=arrays.get("role"), pixel_scale=_scale(images, pixel_scale)
    )


def _scale(images: np.ndarray, pixel_scale: float | None) -> float | None:
    return 65535.0 if pixel_scale is None and images.dtype == np.uint16 else pixel_scale


def _arrays(file: File) -> dict[str, np.ndarray]:
    """The arrays of an npz, without objects; each one's stated size is compared with its bytes before it is made."""
    found = {}
    try:
        with zipfile.ZipFile(io.BytesIO(file.content)) as archive:
            parts = [part for part in archive.infolist() if part.filename.endswith(".npy")]
            file.limits.hold(file.name, "unpacked_bytes", sum(part.file_size for part in parts))
            for part in parts:
                content = io.BytesIO(archive.read(part))
                found[part.filename.removesuffix(".npy")] = _array(content, part.file_size)
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


def _array(content: io.BytesIO, size: int) -> np.ndarray:
    version = np.lib.format.read_magic(content)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, kind = read(content)
    if kind.hasobject:
        raise ValueError("it holds Python objects")
    if int(np.prod(shape, dtype=object)) * kind.itemsize > size:
        raise ValueError("an array claims more numbers than it holds")
    content.seek(0)
    return np.asarray(np.lib.format.read_array(content, allow_pickle=False))
