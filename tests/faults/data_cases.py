"""Bad and odd data files as plain data: the bytes, and what must happen: an error, or what is opened and said of it.

`opened` answers with plain values, so that a case can be put through the loader here or in a process of its own.
"""

from __future__ import annotations

import functools
import gzip
import io
import struct
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from explainers import Limits, load_dataset

#: Stands for a patient's value: no message and no note may ever hold it.
SECRET = "Mustermann"
LONG = "y" * 90_000


@dataclass(frozen=True)
class Case:
    """One file.

    Attributes:
        build: its bytes.
        error: what the refusal says (a regular expression); empty where the file is opened.
        names, kinds, matrix: what is opened, where it matters.
        notes: a regular expression for each note, in any order; there are no others.
        target: the column with the truth; like: a file whose schema these data are read under.
        bounds: `Limits` other than the usual ones.
        bomb: it asks for much more memory than it has bytes.
        slow: takes long to build.
    """

    name: str
    build: Callable[[], bytes]
    error: str = ""
    names: tuple[str, ...] | None = None
    kinds: tuple[str, ...] | None = None
    matrix: list[list[float | None]] | None = None
    notes: tuple[str, ...] = ()
    target: str | None = None
    like: bytes | None = None
    bounds: dict[str, int] = field(default_factory=dict)
    bomb: bool = False
    slow: bool = False


def opened(content: bytes, target: str | None, bounds: dict[str, int], like: bytes | None) -> dict[str, Any]:
    """The file opened, in plain values; missing codes are None."""
    schema = load_dataset(like).schema if like else None
    data = load_dataset(content, target, schema=schema, limits=Limits(**bounds))
    found: dict[str, Any] = {"rows": len(data), "names": data.schema.names, "notes": data.notes}
    if data.modality == "table":
        found["kinds"] = tuple(feature.kind for feature in data.schema.features)
        found["matrix"] = pd.DataFrame(data.matrix[:20]).astype(object).where(lambda x: x.notna(), None)
        found["matrix"] = found["matrix"].to_numpy().tolist()
    return found


def text(content: str, encoding: str = "utf-8") -> Callable[[], bytes]:
    return lambda: content.encode(encoding)


def parquet(columns: Callable[[], dict[str, Any]], **options: Any) -> Callable[[], bytes]:
    def build() -> bytes:
        buffer = io.BytesIO()
        pq.write_table(pa.table(columns()), buffer, **options)
        return buffer.getvalue()

    return build


def arrow(table: pa.Table, compression: str | None = None, stream: bool = False) -> bytes:
    buffer = io.BytesIO()
    options = pa.ipc.IpcWriteOptions(compression=compression)
    write = pa.ipc.new_stream if stream else pa.ipc.new_file
    with write(buffer, table.schema, options=options) as writer:
        writer.write_table(table)
    return buffer.getvalue()


def npz(packing: int = zipfile.ZIP_DEFLATED, **parts: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", packing) as archive:
        for name, content in parts.items():
            archive.writestr(f"{name}.npy", content)
    return buffer.getvalue()


def npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


# --- builders that need more than a line


def many_groups(groups: int, rows: int) -> bytes:
    """A Parquet file of `groups` × `rows` zeros: 200 million rows in under a megabyte."""
    buffer, table = io.BytesIO(), pa.table({"a": np.zeros(rows, np.int8)})
    with pq.ParquetWriter(buffer, table.schema) as writer:
        for _ in range(groups):
            writer.write_table(table)
    return buffer.getvalue()


def shared_text(as_category: bool) -> bytes:
    """100,000 rows that share one text of 90,000 characters: 9 GB once written out."""
    codes = pa.array(np.zeros(100_000, np.int32))
    shared = pa.DictionaryArray.from_arrays(codes, pa.array([LONG]))
    return parquet(lambda: {"a": shared}, store_schema=as_category)()


def shared_views() -> bytes:
    """Half a million views of one text in an Arrow file."""
    view = struct.pack("<i4sii", len(LONG), LONG[:4].encode(), 0, 0)
    buffers = [None, pa.py_buffer(view * 500_000), pa.py_buffer(LONG.encode())]
    return arrow(
        pa.table({"a": pa.Array.from_buffers(pa.string_view(), 500_000, buffers)}), compression="zstd"
    )


def fewer_rows_than_stated() -> bytes:
    """The footer says 63 rows, the row group holds 3."""
    content = parquet(lambda: {"a": [1.5, 2.5, 3.5]})()
    length = struct.unpack("<i", content[-8:-4])[0]
    body, footer = content[: -8 - length], content[-8 - length : -8]
    assert (
        footer.count(b"\x16\x06") > 1
    )  # field of type i64 with the value 3: the first is the number of rows
    return body + footer.replace(b"\x16\x06", b"\x16\x7e", 1) + content[-8:]


def flipped_page() -> bytes:
    content = bytearray(
        parquet(
            lambda: {"a": np.arange(1000.0)},
            compression="none",
            use_dictionary=False,
            write_page_checksum=True,
        )()
    )
    content[2000] ^= 1
    return bytes(content)


def encrypted(plain_footer: bool) -> bytes:
    from pyarrow.parquet import encryption as keys

    class Keys(keys.KmsClient):
        def wrap_key(self, key: bytes, name: str) -> bytes:
            return key

        def unwrap_key(self, key: bytes, name: str) -> bytes:
            return key

    about = keys.KmsConnectionConfig()
    how = keys.EncryptionConfiguration(
        footer_key="f", column_keys={"c": ["a"]}, plaintext_footer=plain_footer, double_wrapping=False
    )
    factory = keys.CryptoFactory(lambda _: Keys())
    table, buffer = pa.table({"a": [1, 2], "b": [3, 4]}), io.BytesIO()
    with pq.ParquetWriter(
        buffer, table.schema, encryption_properties=factory.file_encryption_properties(about, how)
    ) as w:
        w.write_table(table)
    return buffer.getvalue()


def lying_arrow(claimed: int) -> bytes:
    """A packed buffer that says it unpacks to so many bytes."""
    content = bytearray(arrow(pa.table({"a": np.zeros(1000)}), compression="zstd"))
    place = bytes(content).index(struct.pack("<q", 8000) + b"\x28\xb5\x2f\xfd")
    content[place : place + 8] = struct.pack("<q", claimed)
    return bytes(content)


def lying_npz() -> bytes:
    """300 MB of zeros that the archive says are 1,000 bytes."""
    size = 300_000_000
    return npz(images=bytes(size)).replace(struct.pack("<I", size), struct.pack("<I", 1000))


def claiming_npz() -> bytes:
    """An array of 2^40 pictures with 80 bytes."""
    head = io.BytesIO()
    about = {"descr": "<f8", "fortran_order": False, "shape": (1 << 40, 28, 28)}
    np.lib.format.write_array_header_1_0(head, about)
    return npz(images=head.getvalue() + bytes(80))


def excel() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("[Content_Types].xml", "<Types/>")
        archive.writestr("xl/workbook.xml", "<workbook/>")
    return buffer.getvalue()


ROWS = "".join(f"{i * 7 % 11},{i * i % 13},{'yes' if i % 3 else 'no'}\n" for i in range(12))
UNIQUE = "".join(f"{i * 7 % 11}.5,{SECRET}{i}\n" for i in range(12))
MESSY = "".join(f"{i % 5},7,{i % 5},,{i}\n" for i in range(12))
LEAK = "".join(f"{i * 7 % 11},{int(i % 3 > 0)},{'yes' if i % 3 else 'no'}\n" for i in range(12))
AB = ("a", "b")
SEMICOLONS = "separated by semicolons"

CASES = (
    # --- text
    Case("empty", text(""), r"is empty \(0 bytes\)"),
    Case("blank lines", text("\n\r\n\n"), "holds no table: it has only empty lines"),
    Case("header only", text("a,b\n"), "table is empty: 'upload' has a header and no rows"),
    Case("row too long", text(f"a,b\n1,2\n{SECRET},2,3\n"), r"line 3 has 3 cells, the header 2\. Correct"),
    Case("row too long, late", text("a,b\n" + "1,2\n" * 300 + f"1,{SECRET},3\n"), "line 302 has 3 cells, the header 2"),
    Case("row too short", text("a,b,c\n1,2,3\n4,5\n6,7,8\n"), matrix=[[1, 2, 3], [4, 5, None], [6, 7, 8]],
         notes=(r"fewer cells than the header: 1, the first in line 3\. .*cut short\?",)),
    Case("open quote", text(f'a,b\n1,"{SECRET}\n3,4\n'), "a quote is opened and never closed"),
    Case("open quote in the header", text('"a,b\n1,2\n'), "a quote is opened and never closed"),
    Case("no header", text(f"63,{SECRET},1.5\n41,{SECRET},2.5\n"), r"no header: its first row is data, numbers in column 1, 3\. Add"),
    Case("Latin-1", text("größe,b\n1,2\n3,4\n", "latin-1"), names=("größe", "b"), notes=(r"not in UTF-8 \(line 1\).*Windows-1252",)),
    Case("UTF-16", text("größe,b\n1,2\n", "utf-16"), names=("größe", "b"), notes=("is in UTF-16", "one row only")),
    Case("UTF-16 without mark", text("a,b\n1,2\n", "utf-16-le"), "UTF-16 or UTF-32 without a mark"),
    Case("UTF-16 cut", lambda: text("a,b\n1,2\n", "utf-16")()[:-1], r"not sound text in UTF-16 \(byte \d+\)"),
    Case("mark twice", text("\ufeff\ufeffa,b\n1,2\n3,4\n"), names=AB, matrix=[[1, 2], [3, 4]]),
    Case("NUL", text(f"a,b\n1,{SECRET}\0\n"), "binary data .a control character in line 2"),
    Case("semicolons, European decimals", text("a;b\n1,5;2\n3,25;4\n"), matrix=[[1.5, 2], [3.25, 4]], notes=(SEMICOLONS, "decimal commas")),
    Case("separator declared", text("sep=;\na;b\n1;2\n3;4\n"), names=AB, matrix=[[1, 2], [3, 4]], notes=(SEMICOLONS,)),
    Case("another separator", text("a^b\n1^2\n3^4\n"), names=("a^b",), notes=("Only one column was found",)),
    Case("mixed line ends", text("a,b\r\n1,2\n3,4\r5,6\r\n"), matrix=[[1, 2], [3, 4], [5, 6]]),
    Case("line ends of old Macs over the bound", text("a,b\r1,2\r3,4\r5,6\r"), r"3 rows; the limit is 2 \(setting limits.rows\)", bounds={"rows": 2}),
    Case("separators at the ends", text("a,b\n1,2,\n3,4,\n"), names=AB, matrix=[[1, 2], [3, 4]], notes=(r"columns without name and values were left out \(1\)",)),
    Case("a nameless last column with values", text(f"a,b,\n1,2,{SECRET}\n3,4,5\n"), "last column of 'upload' has no name"),
    Case("comments above", text("# made by\n# nobody\na,b\n1,2\n3,4\n"), names=AB, matrix=[[1, 2], [3, 4]], notes=("2 comment lines above",)),
    Case("a header that is no comment", text("#a,b\n1,2\n3,4\n"), names=("#a", "b")),
    Case("duplicate header", text("a,b,a\n1,2,3\n"), "must be unique; 'a' occur more than once"),
    Case("names that look the same", text("größe,gro\u0308ße\n1,2\n"), "columns 1 and 2 of 'upload' look the same.*Rename"),
    Case("names that differ in a zero width", text("a,a\u200b\n1,2\n"), "columns 1 and 2 of 'upload' look the same"),
    Case("a name that runs the other way", text("\u202eegas,b\n1,2\n3,4\n"), names=("\u202eegas", "b"), notes=("invisible characters: column 1",)),
    Case("a name of blanks", text("a, \u200b ,c\n1,2,3\n"), "Column 2 of 'upload' has no name"),
    Case("a name without end", text(f"{LONG},b\n1,2\n"), r"90,000 characters in the name of one column; the limit is 1,000 \(setting limits.name_characters\)"),
    Case("quotes in the header", text('"a ""b""","c, d"\n1,2\n3,4\n'), names=('a "b"', "c, d")),
    Case("a header like a pickle", text("country,age\n1,2\n0.5,4\n"), names=("country", "age"), matrix=[[1, 2], [0.5, 4]]),
    Case("infinite", text("a,b\ninf,2\n1,3\n"), "Infinite values in 'a'. Replace them"),
    Case("1e999", text("a,b\n2,1e999\n1,3\n"), "Infinite values in 'b'"),
    Case("an infinite target", text("a,b\n2,1e999\n1,3\n"), "Infinite values in the target 'b'", target="b"),
    Case("a cell without end", text(f'a,b\n"{SECRET}{LONG}{LONG}",2\n1,3\n'), r"180,010 characters in one cell; the limit is 100,000 \(setting limits.cell_characters\)"),
    Case("a line without end", lambda: b"a" * 5_000_000, "no table: its first line has over 4,194,304 characters"),
    Case("100,000 columns", text(",".join(f"x{i}" for i in range(100_000)) + "\n1\n"), r"100,000 columns; the limit is 10,000 \(setting"),
    Case("10,000 columns", text(",".join(f"x{i}" for i in range(10_000)) + ("\n" + "1.5," * 9999 + "2.5") * 2 + "\n"), notes=("Constant columns: .* and 9992 more",), slow=True),
    Case("values over the bound", text("a,b,c\n" + ROWS), r"has 39 values; the limit is 30 \(setting limits.values\)", bounds={"values": 30}),
    Case("thousands separated", text('a,b\n"1,234",2\n"5,678",3\n'), kinds=("category", "integer"), notes=("separated thousands.*: 'a'",)),
    Case("percent signs", text("a,b\n12%,2\n14 %,3\n"), kinds=("category", "integer"), notes=("Percent signs.*: 'a'",)),
    Case("numbers and text mixed", text(f"a,b\n1,1\n2,2\n3,3\n{SECRET},3\n"), kinds=("category", "integer"), notes=("Numbers in most cells and text in others.*: 'a'",)),
    Case("dates as text", text("a,b\n2024-01-05,1\n2024-02-06,2\n"), kinds=("category", "integer"), notes=("Dates, read as text: 'a'",)),
    Case("an id of text", text("a,name\n" + UNIQUE), notes=("Another text in every row.*: 'name'",)),
    Case("whole numbers above 2^53", text("id,b\n9007199254740993,1\n12,2\n"), kinds=("integer", "integer"), notes=("above 2.53 .*: 'id'",)),
    Case("whole numbers above 2^53, some missing", text("id,b\n9007199254740993,1\n,2\n12,3\n"), notes=("above 2.53 .*: 'id'",)),
    Case("digits beyond any number", text("id,b\n123456789012345678901,1\n123456789012345678902,2\n"), kinds=("category", "integer"), notes=("above 2.53 .*: 'id'", )),
    Case("index without name", text(",a\n0,5\n1,7\n2,6\n"), names=("a",), notes=("first column has no name and counts the rows",)),
    Case("constant, doubled, empty, counting", text("a,b,c,d,e\n" + MESSY), notes=("Columns without any value: 'd'", "Constant columns: 'b'", "same values: 'a', 'c'", "only count the rows: 'e'")),
    Case("one row", text("a,b\n1,2\n"), matrix=[[1, 2]], notes=("one row only",)),
    Case("the target among the features", text("a,b,y\n" + LEAK), target="y", notes=("same as the target 'y': 'b'. Leave",)),
    Case("a target without values", text("a,y\n1,\n2,\n"), "target 'y' has no value", target="y"),
    Case("a level never seen", text("a,b\n1,well\n2,ill\n"), "'b' has unknown categories: 'ill'. Known are 'well'", like=b"a,b\n1,well\n"),
    Case("text under a schema of numbers", text(f"a,b\n1,2\n{SECRET},3\n"), r"'a' should hold numbers.*\(first in row 2\)", like=b"a,b\n1,2\n"),
    # --- packed
    Case("gzip of 200 million rows", lambda: gzip.compress(b"a\n") + gzip.compress(b"1\n" * 4_000_000) * 50, r"rows; the limit is 5,000,000 \(setting limits.rows\)", bomb=True, slow=True),
    Case("gzip of 300 MB in one cell", lambda: gzip.compress(b'a\n"' + bytes(300_000_000).replace(b"\0", b"x")), "bytes when unpacked; the limit is 10,000,000", bounds={"unpacked_bytes": 10_000_000}, bomb=True, slow=True),
    Case("gzip of several members", lambda: gzip.compress(b"a,b\n1,2\n") + gzip.compress(b"3,4\n") + bytes(9), matrix=[[1, 2], [3, 4]]),
    Case("gzip with something behind", lambda: gzip.compress(b"a,b\n1,2\n") + b"behind", "damaged gzip file: something else follows"),
    Case("gzip in gzip", lambda: gzip.compress(gzip.compress(b"a,b\n1,2\n")), "is packed twice"),
    Case("Excel called .csv", excel, "is an Excel file. Save the sheet as CSV"),
    # --- Parquet and Arrow
    Case("Parquet of 200 million rows", lambda: many_groups(200, 1_000_000), r"200,000,000 rows; the limit is 5,000,000", bomb=True, slow=True),
    Case("Parquet whose text is shared", lambda: shared_text(False), r"bytes when unpacked; the limit is 1,000,000,000 \(setting", bounds={"unpacked_bytes": 10**9}, bomb=True),
    Case("Parquet whose category is shared", lambda: shared_text(True), "bytes when unpacked; the limit is 4,294,967,296", bomb=True),
    Case("Parquet with another number of rows", fewer_rows_than_stated, "damaged Parquet file: .*do not fit together"),
    Case("Parquet with a flipped bit", flipped_page, "damaged Parquet file"),
    Case("Parquet cut short", lambda: parquet(lambda: {"a": [1, 2]})()[:-9], "damaged Parquet file: it was cut short"),
    Case("Parquet encrypted", lambda: encrypted(False), "is an encrypted Parquet file"),
    Case("Parquet with an encrypted column", lambda: encrypted(True), "is an encrypted Parquet file"),
    Case("Parquet without rows", parquet(lambda: {"a": pa.array([], pa.float64())}), "table is empty: 0 rows"),
    Case("Parquet of lists, records and maps", parquet(lambda: {"l": [[1]], "s": [{"x": 1}], "m": pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int8()))}), "hold lists or records: 'l', 's', 'm'. Unfold"),
    Case("Parquet of bytes", parquet(lambda: {"a": [b"\0\1"]}), "hold raw bytes: 'a'"),
    Case("Parquet of moments in a time zone", parquet(lambda: {"t": pa.array([1], pa.timestamp("us", "Europe/Berlin")), "a": [1]}), "'t' holds dates or times"),
    Case("Parquet of days beyond the calendar", parquet(lambda: {"t": pa.array([10**8], pa.int32()).cast(pa.date32())}), "'t' holds dates or times"),
    Case("Parquet of durations", parquet(lambda: {"t": pa.array([5], pa.duration("s"))}), "'t' holds dates or times"),
    Case("Parquet of decimals, truth and missing numbers", parquet(lambda: {"d": pa.array(["1.50", "2.25", "0"]).cast(pa.decimal128(5, 2)), "t": [True, None, False], "n": pa.array([3, None, 5])}),
         kinds=("number", "boolean", "integer"), matrix=[[1.5, 1, 3], [2.25, None, None], [0, 0, 5]]),
    Case("Parquet levels in their order", parquet(lambda: {"a": pa.DictionaryArray.from_arrays(pa.array([2, 0, 0]), pa.array(["low", "mid", "high"])), "b": [1, 2, 3]}), kinds=("category", "integer"), matrix=[[2, 1], [0, 2], [0, 3]]),
    Case("Parquet names that look the same", parquet(lambda: {"a": [1], "a\u200b": [2]}), "look the same"),
    Case("Arrow stream", lambda: arrow(pa.table({"a": [1]}), stream=True), "is an Arrow stream. Save it as a file"),
    Case("Arrow whose block claims much", lambda: lying_arrow(1 << 50), "1,125,899,906,842,624 bytes when unpacked"),
    Case("Arrow whose block claims less than nothing", lambda: lying_arrow(-5), "damaged Arrow file"),
    Case("Arrow of views of one text", shared_views, "bytes when unpacked; the limit is 4,294,967,296", bomb=True),
    Case("Arrow of 80 MB in kilobytes", lambda: arrow(pa.table({"a": np.zeros(10_000_000)}), "zstd"), "80,0.* bytes when unpacked; the limit is 1,000,000", bounds={"unpacked_bytes": 1_000_000, "rows": 10**8}, bomb=True),
    Case("Arrow cut short", lambda: arrow(pa.table({"a": [1, 2]}))[:-12], "damaged Arrow file"),
    # --- npz
    Case("npz of 300 MB", lambda: npz(images=npy(np.zeros((300, 1000, 1000), np.uint8))), "bytes when unpacked; the limit is 100,000,000", bounds={"unpacked_bytes": 10**8}, bomb=True, slow=True),
    Case("npz whose sizes lie", lying_npz, "not a sound npz file of plain arrays: Bad CRC", bomb=True, slow=True),
    Case("npz that claims more than it holds", claiming_npz, "an array claims more numbers than it holds", bomb=True),
    Case("npz of many values", lambda: npz(images=npy(np.zeros((10, 20, 20), bool))), "has 4,000 values; the limit is 3,999", bounds={"values": 3999}),
    Case("npz packed another way", lambda: npz(zipfile.ZIP_BZIP2, images=npy(np.zeros((2, 3, 3)))), "'images.npy' in 'upload' is encrypted or packed in an unusual way"),
    Case("npz for a later kind of zip", lambda: npz(images=npy(np.zeros((2, 3, 3)))).replace(b"PK\1\2\x14\3\x14", b"PK\1\2\x14\3\xff"), "damaged zip or npz file: zip file version"),
    Case("npz with a pickle inside", lambda: npz(images=npy(np.array([[["x"]]], dtype=object))), "it holds Python objects"),
    Case("npz of nothing but sides", lambda: npz(images=npy(np.zeros((0, 5, 5)))), "There are no cases"),
    Case("npz labels of bytes", lambda: npz(images=npy(np.zeros((1, 3, 3))), labels=npy(np.array([b"a"]))), "labels of 'upload' hold .S1; save them as text"),
    Case("npz roles of numbers", lambda: npz(images=npy(np.zeros((1, 3, 3))), role=npy(np.array([1]))), "'role' of 'upload' is int64 .*expected one word"),
)  # fmt: skip


@functools.cache
def content(name: str) -> bytes:
    """The bytes of a case, made once."""
    return next(case for case in CASES if case.name == name).build()
