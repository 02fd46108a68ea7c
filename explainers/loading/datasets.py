"""`load_dataset`: data from a file or folder, by what is in it."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from explainers.dataset import Dataset
from explainers.errors import InvalidSetting, UnreadableFile
from explainers.loading import columnar, delimited_text, pictures
from explainers.loading.limits import Limits
from explainers.loading.recognition import is_text_pickle
from explainers.loading.sources import File, Source, read, unzip_gzip
from explainers.schema import Schema

PICTURE_SIGNATURES = (b"\x89PNG", b"\xff\xd8\xff", b"II*\0", b"MM\0*")
PICKLE = b"\x80"
REFUSALS = {
    PICKLE: "is a pickle, which runs code when opened. Save the table: frame.to_csv('data.csv', index=False)",
    b"FEA1": "is Feather version 1. Save it again: frame.to_feather('data.feather')",
    b"\xd0\xcf\x11\xe0": "is an Excel file. Save the sheet as CSV in UTF-8",
    b"\x89HDF": "is HDF5. Save the table: frame.to_csv('data.csv', index=False)",
    b"\x93NUMPY": "is a single array. Save it with its labels: numpy.savez('data.npz', images=images, labels=labels)",
    b"SQLite format 3": "is a database. Save the table as CSV",
}


def load_dataset(
    source: Source,
    target: str | None = None,
    *,
    name: str = "",
    role: str | None = None,
    ignore: Sequence[str] = (),
    schema: Schema | None = None,
    pixel_scale: float | None = None,
    limits: Limits = Limits(),
) -> Dataset:
    """Data from a path or from bytes; the format is read from the content.

    Tables: CSV (also gzipped), Parquet, Arrow. Pictures: a folder or a zip (sub-folders are labels), or npz.

    Args:
        source: a path, or the bytes themselves.
        target: the column with the truth; it is never guessed here (see `guess_target`).
        name: how messages call the file; by default the path's last part.
        role: the column that says which rows are for training and which for testing.
        ignore: columns that are kept to look at and never given to the model.
        schema: the features as somebody has corrected them; by default they are inferred.
        pixel_scale: pixels are divided by it; 255 for bytes, 65,535 for 16 bits, 1 for real numbers unless stated.
        limits: what the file may ask of this machine.

    Raises:
        UnreadableFile: no such file, empty, too large, damaged, or no data that are read here.
        SchemaMismatch: columns that are missing, unnamed or occur twice, infinite values, pictures of several sizes.
    """
    folder = None if isinstance(source, bytes) else Path(source)
    if folder is not None and folder.is_dir():
        _no_columns(target, role, ignore)
        return pictures.from_folder(folder, pixel_scale, limits)
    file = read(source, name, "data_bytes", limits)
    if file.content.startswith((b"PK\3\4", b"PK\5\6")):
        _no_columns(target, role, ignore)
        return _from_zip(file, pixel_scale)
    frame = read_table(file)
    return Dataset.from_frame(frame, target, schema=schema, role=role, ignore=ignore)


def load_frame(source: Source, name: str = "", *, limits: Limits = Limits()) -> pd.DataFrame:
    """A table as it is in the file, before anybody says what its columns are; raises like `load_dataset`."""
    return read_table(read(source, name, "data_bytes", limits))


def read_table(file: File) -> pd.DataFrame:
    """A frame from CSV, gzipped CSV, Parquet or Arrow bytes."""
    if file.content.startswith(b"\x1f\x8b"):
        file = unzip_gzip(file)
    content = file.content
    for signature, sentence in REFUSALS.items():
        if content.startswith(signature):
            raise UnreadableFile(f"{file.name!r} {sentence}.")
    if content[:1] in b"(c]" and is_text_pickle(content):
        raise UnreadableFile(f"{file.name!r} {REFUSALS[PICKLE]}.")
    if content.startswith(PICTURE_SIGNATURES) or (content[:4] == b"RIFF" and content[8:12] == b"WEBP"):
        raise UnreadableFile(f"{file.name!r} is a single picture. Open a folder or a zip of pictures.")
    if content.startswith(b"PAR1"):
        return columnar.read_parquet(file)
    if content.startswith(b"ARROW1"):
        return columnar.read_arrow(file)
    return delimited_text.read_text(file)


def _from_zip(file: File, pixel_scale: float | None) -> Dataset:
    try:
        with zipfile.ZipFile(io.BytesIO(file.content)) as archive:
            names = [part.filename for part in archive.infolist() if not part.is_dir()]
    except (zipfile.BadZipFile, ValueError, OSError) as error:
        raise UnreadableFile(
            f"{file.name!r} is a damaged zip or npz file: {error}. Save or upload it again."
        ) from error
    if "xl/workbook.xml" in names:
        raise UnreadableFile(f"{file.name!r} is an Excel file. Save the sheet as CSV in UTF-8.")
    if names and all(name.endswith(".npy") for name in names):
        return pictures.from_npz(file, pixel_scale)
    return pictures.from_zip(file, pixel_scale)


def _no_columns(target: str | None, role: str | None, ignore: Sequence[str]) -> None:
    if target or role or ignore:
        raise InvalidSetting(
            "Pictures have no columns: their labels and roles come from folders, or from 'labels' and 'role' of an npz."
        )
