"""`load_dataset`: data from a file or folder, by what is in it."""

from __future__ import annotations

import pickletools
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from explainers.dataset import Dataset
from explainers.errors import InvalidSetting, UnreadableFile
from explainers.loading import columnar, delimited_text, pictures
from explainers.loading.limits import Limits
from explainers.loading.notes import with_notes
from explainers.loading.sources import GZIP, File, Source, opened_zip, read, unzip_gzip
from explainers.schema import Schema, _listed

PICTURE_SIGNATURES = (b"\x89PNG", b"\xff\xd8\xff", b"II*\0", b"MM\0*")
TABLE_ENDINGS = (".csv", ".tsv", ".parquet", ".feather", ".arrow", ".csv.gz")
PICKLE = b"\x80"
REFUSALS = {
    PICKLE: "is a pickle, which runs code when opened. Save the table: frame.to_csv('data.csv', index=False)",
    b"FEA1": "is Feather version 1. Save it again: frame.to_feather('data.feather')",
    b"\xd0\xcf\x11\xe0": "is an Excel file. Save the sheet as CSV in UTF-8",
    b"\x89HDF": "is HDF5. Save the table: frame.to_csv('data.csv', index=False)",
    b"\x93NUMPY": "is a single array. Save it with its labels: numpy.savez('data.npz', images=images, labels=labels)",
    b"SQLite format 3": "is a database. Save the table as CSV",
    b"PARE": "is an encrypted Parquet file. Save it without encryption",
    b"\xff\xff\xff\xff": "is an Arrow stream. Save it as a file: pyarrow.feather.write_feather(table, 'data.feather')",
    GZIP: "is packed twice. Unpack it once",
    b"BZh": "is packed with bzip2. Unpack it, or pack it with gzip",
    b"\xfd7zXZ": "is packed with xz. Unpack it, or pack it with gzip",
    b"\x28\xb5\x2f\xfd": "is packed with Zstandard. Unpack it, or pack it with gzip",
    b"7z\xbc\xaf": "is a 7z archive. Make a zip",
    b"Rar!": "is a RAR archive. Make a zip",
    b"%PDF": "is a PDF. Save the table as CSV",
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
    window: tuple[float, float] | None = None,
    limits: Limits = Limits(),
) -> Dataset:
    """Data from a path or from bytes; the format is read from the content.

    Tables: CSV (also gzipped), Parquet, Arrow. Pictures: a folder or a zip (sub-folders are labels), or npz; their
    pixels are taken as stored, without the rotation (but for TIFF) or the colour profile that a file may carry.
    What is odd and opened all the same stands in `Dataset.notes`.

    Args:
        source: a path, or the bytes themselves.
        target: the column with the truth; it is never guessed here (see `guess_target`).
        name: how messages call the file; by default the path's last part.
        role: the column that says which rows are for training and which for testing.
        ignore: columns that are kept to look at and never given to the model.
        schema: the features as somebody has corrected them; by default they are inferred.
        pixel_scale: pixels are divided by it; 255 for bytes, 65,535 for 16 bits, 1 for real numbers unless stated.
        window: of DICOM pictures centre and width, in their own units; by default the file's.
        limits: what the file may ask of this machine.

    Raises:
        UnreadableFile: no such file, empty, too large, damaged, or no data that are read here.
        SchemaMismatch: columns that are missing, unnamed or occur twice, infinite values, pictures of several sizes.
    """
    folder = None if isinstance(source, bytes) else Path(source)
    if folder is not None and folder.is_dir():
        _no_columns(target, role, ignore)
        return pictures.from_folder(folder, pixel_scale, limits, window)
    file = read(source, name, "data_bytes", limits)
    if file.content.startswith((b"PK\3\4", b"PK\5\6")):
        _no_columns(target, role, ignore)
        return _from_zip(file, pixel_scale, window)
    frame = read_table(file)
    notes = frame.attrs.pop("notes", ())  # pandas copies attributes with every column
    data = Dataset.from_frame(frame, target, schema=schema, role=role, ignore=ignore)
    return with_notes(data, *notes)


def load_frame(source: Source, name: str = "", *, limits: Limits = Limits()) -> pd.DataFrame:
    """A table as it is in the file, before anybody says what its columns are; raises like `load_dataset`.

    Its notes stand in ``frame.attrs["notes"]``, from where `align` takes them.
    """
    return read_table(read(source, name, "data_bytes", limits))


def read_table(file: File) -> pd.DataFrame:
    """A frame from CSV, gzipped CSV, Parquet or Arrow bytes."""
    if file.content.startswith(GZIP):
        file = unzip_gzip(file)
    content = file.content
    for signature, sentence in REFUSALS.items():
        if content.startswith(signature):
            raise UnreadableFile(f"{file.name!r} {sentence}.")
    if _is_text_pickle(content):
        raise UnreadableFile(f"{file.name!r} {REFUSALS[PICKLE]}.")
    if content.startswith(PICTURE_SIGNATURES) or (content[:4] == b"RIFF" and content[8:12] == b"WEBP"):
        raise UnreadableFile(f"{file.name!r} is a single picture. Open a folder or a zip of pictures.")
    if content.startswith(b"PAR1"):
        return columnar.read_parquet(file)
    if content.startswith(b"ARROW1"):
        return columnar.read_arrow(file)
    return delimited_text.read_text(file)


def _from_zip(file: File, pixel_scale: float | None, window: tuple[float, float] | None) -> Dataset:
    try:
        with opened_zip(file) as (_, parts):
            names = [part.filename for part in parts]
    except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError) as error:
        raise UnreadableFile(
            f"{file.name!r} is a damaged zip or npz file: {error}. Save or upload it again."
        ) from error
    if "xl/workbook.xml" in names:
        raise UnreadableFile(f"{file.name!r} is an Excel file. Save the sheet as CSV in UTF-8.")
    if "content.xml" in names and "mimetype" in names:
        raise UnreadableFile(f"{file.name!r} is an OpenDocument file. Save the sheet as CSV in UTF-8.")
    tables = [name for name in names if name.lower().endswith(TABLE_ENDINGS)]
    if tables and len(tables) == len(names):
        raise UnreadableFile(
            f"{file.name!r} holds tables: {_listed(tables, 3)}. Unpack it and open one of them."
        )
    if names and all(name.endswith(".npy") for name in names):
        return pictures.from_npz(file, pixel_scale)
    return pictures.from_zip(file, pixel_scale, window)


def _is_text_pickle(content: bytes) -> bool:
    """Whether all of it is one pickle of protocol 0 or 1, which have no signature.

    Nothing is carried out. Half a pickle is read as text: a table that begins with 'country' begins like one.
    """
    if content[:1] not in b"(c])}" or not content.rstrip().endswith(b"."):
        return False
    try:
        *_, (_, _, last) = pickletools.genops(content)
        return last is not None and not content[last + 1 :].strip()
    except Exception:  # pickletools raises whatever the bytes provoke
        return False


def _no_columns(target: str | None, role: str | None, ignore: Sequence[str]) -> None:
    if target or role or ignore:
        raise InvalidSetting(
            "Pictures have no columns: their labels and roles come from folders, or from 'labels' and 'role' of an npz."
        )
