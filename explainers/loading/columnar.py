"""Parquet and Arrow files (Feather): sizes are read from the file's own description before any data are."""

from __future__ import annotations

import io

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from explainers.errors import SchemaMismatch, UnreadableFile
from explainers.loading.sources import File
from explainers.schema import _listed


def read_parquet(file: File) -> pd.DataFrame:
    """A frame from Parquet bytes."""
    try:
        reader = pq.ParquetFile(io.BytesIO(file.content))
        about = reader.metadata
        size = sum(about.row_group(i).total_byte_size for i in range(about.num_row_groups))
        _require_modest(file, about.num_rows, reader.schema_arrow, size)
        return _frame(reader.read(use_threads=False))
    except (pa.ArrowException, OSError, ValueError, KeyError) as error:
        raise _broken(file, "Parquet", error) from error


def read_arrow(file: File) -> pd.DataFrame:
    """A frame from an Arrow IPC file, which is also what Feather is."""
    try:
        reader = pa.ipc.open_file(io.BytesIO(file.content))
        rows, batches = 0, []
        for position in range(reader.num_record_batches):
            batches.append(reader.get_batch(position))
            rows += batches[-1].num_rows
            _require_modest(file, rows, reader.schema, sum(batch.nbytes for batch in batches))
        _require_modest(file, rows, reader.schema, 0)
        table = pa.Table.from_batches(batches, reader.schema)
        table.validate(full=True)
        return _frame(table)
    except (pa.ArrowException, OSError, ValueError, KeyError) as error:
        raise _broken(file, "Arrow", error) from error


def _broken(file: File, form: str, error: Exception) -> UnreadableFile:
    text = (str(error).splitlines() or [type(error).__name__])[0][:200]
    return UnreadableFile(f"{file.name!r} is a damaged {form} file: {text}. Save it again.")


def _require_modest(file: File, rows: int, schema: pa.Schema, size: int) -> None:
    file.limits.hold(file.name, "rows", rows, advice="Use a sample.")
    file.limits.hold(file.name, "columns", len(schema))
    file.limits.hold(file.name, "unpacked_bytes", size)
    names = list(schema.names)
    if len(set(names)) < len(names):
        repeated = [name for name in dict.fromkeys(names) if names.count(name) > 1]
        raise SchemaMismatch(
            f"Column names must be unique; {_listed(repeated)} occur more than once in {file.name!r}."
        )
    nested = [field.name for field in schema if pa.types.is_nested(field.type)]
    if nested:
        raise SchemaMismatch(
            f"Columns of {file.name!r} hold lists or records: {_listed(nested)}. Unfold them or leave them out."
        )


def _frame(table: pa.Table) -> pd.DataFrame:
    """Decimals become numbers; an index that pandas stored is dropped unless it has a name."""
    decimal = [i for i, field in enumerate(table.schema) if pa.types.is_decimal(field.type)]
    for i in decimal:
        table = table.set_column(i, table.schema.names[i], table.column(i).cast(pa.float64()))
    frame = table.to_pandas(use_threads=False)
    named = [name for name in frame.index.names if name is not None]
    return frame.reset_index(level=named).reset_index(drop=True) if named else frame.reset_index(drop=True)
