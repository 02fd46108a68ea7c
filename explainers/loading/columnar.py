"""Parquet and Arrow files (Feather): sizes are read from the file's own description, and counted again while reading.

What the file stores of pandas (index, attributes) is not obeyed. No message holds a value.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

import numpy as np
import pandas as pd
import pyarrow as pa

from explainers.errors import SchemaMismatch, UnreadableFile
from explainers.lazily import lazily
from explainers.loading.arrow_blocks import stated_sizes
from explainers.loading.column_names import require_names
from explainers.loading.sources import File
from explainers.schema import _listed

pc, pq = lazily("pyarrow.compute"), lazily("pyarrow.parquet")

DAMAGES = (pa.ArrowException, OSError, ValueError, KeyError, struct.error)
INDEX = "__index_level_"  # how pandas stores an index that has no name
BATCH = 1 << 16


def read_parquet(file: File) -> pd.DataFrame:
    """A frame from Parquet bytes; text is read as dictionaries, so that a short file cannot become long text."""
    try:
        source = pa.BufferReader(file.content)
        reader = pq.ParquetFile(source)
        about, schema = reader.metadata, reader.schema_arrow
        groups = [about.row_group(i) for i in range(about.num_row_groups)]
        rows = max(about.num_rows, sum(group.num_rows for group in groups))
        notes = _require_modest(file, rows, schema, sum(group.total_byte_size for group in groups))
        text = [field.name for field in schema if _is_text(field.type)]
        reader = pq.ParquetFile(source, metadata=about, read_dictionary=text, page_checksum_verification=True)
        batches = reader.iter_batches(BATCH, use_threads=False)
        table = _collected(file, batches, reader.schema_arrow)
        if len(table) != rows:
            raise ValueError("the number of rows is not what it says")
        return _frame(_with_text(table, text), notes)
    except DAMAGES as error:
        raise _broken(file, "Parquet", error) from error


def read_arrow(file: File) -> pd.DataFrame:
    """A frame from an Arrow IPC file, which is also what Feather is."""
    try:
        reader = pa.ipc.open_file(pa.BufferReader(file.content))
        rows = size = 0
        for more_rows, more_size in stated_sizes(file.content):
            rows, size = rows + more_rows, size + more_size
            file.limits.hold(file.name, "rows", rows, advice="Use a sample.")
            file.limits.hold(file.name, "unpacked_bytes", size)
        notes = _require_modest(file, rows, reader.schema, size)
        batches = (reader.get_batch(i) for i in range(reader.num_record_batches))
        table = _collected(file, batches, reader.schema)
        return _frame(table, notes)
    except DAMAGES as error:
        raise _broken(file, "Arrow", error) from error


def _broken(file: File, form: str, error: Exception) -> UnreadableFile:
    """The file's library says what is wrong in its own terms, and may quote a value: only the kind is passed on."""
    if "encrypt" in str(error).lower() or "decrypt" in str(error).lower():
        return UnreadableFile(f"{file.name!r} is an encrypted {form} file. Save it without encryption.")
    return UnreadableFile(
        f"{file.name!r} is a damaged {form} file: it was cut short, or its parts do not fit together. Save it again."
    )


def _require_modest(file: File, rows: int, schema: pa.Schema, size: int) -> list[str]:
    """Bounds on what the file says of itself, names and kinds of columns; what is odd about the names."""
    file.limits.hold(file.name, "rows", rows, advice="Use a sample.")
    file.limits.hold(file.name, "columns", len(schema))
    file.limits.hold(file.name, "values", rows * len(schema), advice="Use fewer rows or columns.")
    file.limits.hold(file.name, "unpacked_bytes", size)
    notes = require_names(file, [name for name in schema.names if not name.startswith(INDEX)])
    for what, advice, refused in (
        ("lists or records", "Unfold them or leave them out.", _is_nested),
        ("raw bytes", "Leave them out.", _is_binary),
        ("values of a kind that is not read here", "Save them as numbers or text.", _is_other),
    ):
        found = [field.name for field in schema if refused(field.type)]
        if found:
            raise SchemaMismatch(f"Columns of {file.name!r} hold {what}: {_listed(found)}. {advice}")
    return notes


def _collected(file: File, batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> pa.Table:
    """The batches as a table; rows and unpacked bytes are counted as they come, whatever the file said."""
    kept, rows, size = [], 0, 0
    for batch in batches:
        rows += batch.num_rows
        size += sum(_unpacked(file, column) for column in batch.columns)
        file.limits.hold(file.name, "rows", rows, advice="Use a sample.")
        file.limits.hold(file.name, "unpacked_bytes", size)
        batch.validate(full=True)
        if batch.num_rows:
            kept.append(batch)
    return pa.Table.from_batches(kept, schema)


def _unpacked(file: File, column: pa.Array) -> int:
    """Bytes of a column once each cell has its own text, as it has in a frame; in the file many may share one."""
    if not pa.types.is_dictionary(column.type):
        return int(_lengths(file, column).sum() if _is_text(column.type) else column.nbytes)
    if not _is_text(column.type.value_type):
        return int(column.nbytes)
    lengths = _lengths(file, column.dictionary)
    indices = column.indices.drop_null().to_numpy()
    if len(indices) and not 0 <= indices.min() <= indices.max() < len(lengths):
        raise ValueError("an index outside its dictionary")
    return int(column.indices.nbytes + lengths[indices].sum())


def _lengths(file: File, text: pa.Array) -> np.ndarray:
    """Bytes of each text; of views from the views themselves, for the texts may lie over each other."""
    if pa.types.is_string_view(text.type):
        views = np.frombuffer(text.buffers()[1] or b"", np.int32, 4 * (len(text) + text.offset))
        lengths = views[4 * text.offset :: 4].astype(np.int64)
    else:
        text.validate(full=True)
        lengths = pc.binary_length(text).fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
    file.limits.hold(file.name, "cell_characters", int(lengths.max(initial=0)))
    return lengths


def _with_text(table: pa.Table, names: list[str]) -> pa.Table:
    for name in names:
        place = table.schema.get_field_index(name)
        written = table.column(place).cast(pa.string()).cast(pa.large_string())
        table = table.set_column(place, name, written)
    return table


def _frame(table: pa.Table, notes: Iterable[str]) -> pd.DataFrame:
    """Decimals become numbers, times those of UTC; an index that pandas stored is dropped unless it has a name."""
    table = table.drop_columns([name for name in table.schema.names if name.startswith(INDEX)])
    for i, field in enumerate(table.schema):
        if pa.types.is_decimal(field.type):
            table = table.set_column(i, field.name, table.column(i).cast(pa.float64()))
        if pa.types.is_timestamp(field.type) and field.type.tz:  # a locked process has no list of time zones
            table = table.set_column(i, field.name, table.column(i).cast(pa.timestamp(field.type.unit)))
    frame = table.to_pandas(use_threads=False, ignore_metadata=True, date_as_object=False)
    frame.attrs["notes"] = tuple(notes)
    return frame


def _is_text(kind: pa.DataType) -> bool:
    tests = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
    return any(test(kind) for test in tests)


def _inner(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _is_nested(kind: pa.DataType) -> bool:
    return bool(pa.types.is_nested(_inner(kind)))


def _is_binary(kind: pa.DataType) -> bool:
    inner, types = _inner(kind), pa.types
    tests = (types.is_binary, types.is_large_binary, types.is_fixed_size_binary, types.is_binary_view)
    return any(test(inner) for test in tests)


def _is_other(kind: pa.DataType) -> bool:
    """Not a number, truth value, text, date or time, nor a category of plain ones; run lengths, intervals, extensions."""
    inner, types = _inner(kind), pa.types
    plain = (
        types.is_boolean(inner) or types.is_integer(inner) or types.is_floating(inner) or _is_text(inner)
    ) or types.is_null(inner)
    times = types.is_temporal(kind) and not types.is_interval(kind)
    return not (plain or times or types.is_decimal(kind)) or isinstance(kind, pa.BaseExtensionType)
