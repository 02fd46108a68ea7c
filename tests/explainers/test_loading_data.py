"""Tables and pictures from files: what is found by itself, what is refused by name, and what is guessed."""

from __future__ import annotations

import gzip
import io
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from PIL import Image

from explainers import (
    Dataset,
    InvalidSetting,
    Limits,
    Model,
    SchemaMismatch,
    UnreadableFile,
    align,
    guess_role,
    guess_target,
    load_dataset,
)
from explainers.loading import columnar, load_frame

FRAME = pd.DataFrame(
    {"age": [63, 41, 58], "dose": [1.5, 2.25, np.nan], "größe": ["a", "b", "a"], "y": [1, 0, 1]}
)


def csv(separator: str = ",", decimal: str = ".", encoding: str = "utf-8") -> bytes:
    return FRAME.to_csv(index=False, sep=separator, decimal=decimal).encode(encoding)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "latin-1"])
@pytest.mark.parametrize(
    ("separator", "decimal"), [(",", "."), (";", "."), (";", ","), ("\t", "."), ("\t", ","), ("|", ".")]
)
def test_separator_decimal_sign_and_encoding_are_found(separator: str, decimal: str, encoding: str) -> None:
    data = load_dataset(csv(separator, decimal, encoding), "y")
    assert data.schema.names == ("age", "dose", "größe")
    np.testing.assert_array_equal(data.matrix, [[63, 1.5, 0], [41, 2.25, 1], [58, np.nan, 0]])
    assert data.y.tolist() == [1, 0, 1]
    assert data.schema.target == "y"


def test_a_target_is_never_guessed_here() -> None:
    assert load_dataset(csv()).y is None
    assert load_dataset(csv()).schema.names[-1] == "y"


def test_missing_values_and_text_that_looks_missing() -> None:
    data = load_dataset(b"a,b,c\n1,?,x\nNA,2, ?\n3,4,y\n")
    np.testing.assert_array_equal(data.matrix, [[1, np.nan, 0], [np.nan, 2, np.nan], [3, 4, 1]])
    assert [f.missing for f in data.schema.features] == [True, True, True]


def test_quotes_blanks_and_line_ends() -> None:
    data = load_dataset(b'"a, b",c\r\n"x\ny", 1\r\n"p ""q""", 2\r\n')
    assert data.schema.names == ("a, b", "c")
    assert data.X["a, b"].tolist() == ["x\ny", 'p "q"']
    assert load_dataset(b"only\n1\n2\n").matrix.tolist() == [[1], [2]]


def test_roles_and_ignored_columns() -> None:
    data = load_dataset(b"a,id,part\n1,7,train\n2,8,test\n", role="part", ignore=["id"])
    assert data.role.tolist() == ["train", "test"]
    assert data.schema.names == ("a",)


HEADERLESS = {
    "numbers": b"6.1,148,0.5\n7.2,85,0.3\n",
    "counts down": b"39,13,2174\n50,13,0\n",
    "text and numbers": b"Adelie,39\nGentoo,40\n",
    "several numbers": b"A11,6,A34,67,1\nA12,48,A32,22,2\n",
    "letters": b"p,x,s\ne,x,s\np,y,n\ne,y,s\n",
    "decimal commas": b"6,1;148,5\n7,2;85,5\n",
}


@pytest.mark.parametrize("case", HEADERLESS)
def test_a_first_row_that_is_data_is_noticed(case: str) -> None:
    with pytest.raises(
        SchemaMismatch, match=r"'scores' seems to have no header: its first row is .*Add a first row"
    ):
        load_dataset(HEADERLESS[case], name="scores")


@pytest.mark.parametrize(
    "header", ["0,1,2", "1,2,3", "1990,1991,1992", "name,0,1,2", "a,b,c", "x1,x2,x3", "nan,b,c"]
)
def test_headers_that_only_look_odd_are_kept(header: str) -> None:
    names = tuple(header.split(","))
    rows = "\n".join(",".join(str(i + 2.5) for i in range(len(names))) for _ in range(3))
    assert load_dataset(f"{header}\n{rows}\n".encode()).schema.names == names


def test_names_that_occur_twice_or_are_missing() -> None:
    with pytest.raises(SchemaMismatch, match="must be unique; 'a' occur more than once in 'upload'"):
        load_dataset(b"a,b,a\n1,2,3\n")
    with pytest.raises(SchemaMismatch, match="Column 2 of 'upload' has no name"):
        load_dataset(b"a,,c\n1,2,3\n")
    with pytest.raises(SchemaMismatch, match="first column of 'upload' has no name"):
        load_dataset(b",b\n7,2\n9,3\n")
    index = FRAME.to_csv().encode()  # pandas' own index, without a name
    assert load_dataset(index).schema.names == tuple(FRAME.columns)


BAD_TABLES = {
    "empty": (b"", r"is empty \(0 bytes\)"),
    "blank": (b"\n\n\n", "holds no table"),
    "header only": (b"a,b\n", "The table is empty"),
    "ragged": (b"a,b\n1,2\n1,2,3\n4,5\n", "line 3 has 3 cells, the header 2"),
    "wide": (b"a,b\n1,2,3\n4,5,6\n7,8,9\n", "more cells than the header|cells, the header"),
    "open quote": (b'a,b\n1,"2\n3,4\n', "quote is opened and never closed"),
    "binary": (bytes(range(256)), "not a text table|is not text"),
    "NUL": (b"a,b\n1,\x00\n", "not a text table: it holds binary data"),
    "bytes of no alphabet": (b"a,b\n\x81\x8d,1\n", "is not text in UTF-8, UTF-16 or Latin-1"),
    "web page": (b"<!DOCTYPE html><html></html>", "is a web page or XML"),
    "JSON": (b'[{"a": 1}]', "is JSON, not a table"),
    "infinite": (b"a,b\n1e999,1\n2,3\n", "Infinite values in 'a'"),
    "pickle": (b"\x80\x04\x95", "is a pickle, which runs code"),
    "npy": (b"\x93NUMPY\x01\x00", "is a single array"),
    "excel": (b"\xd0\xcf\x11\xe0" + bytes(20), "is an Excel file. Save the sheet as CSV"),
    "feather 1": (b"FEA1" + bytes(20), "is Feather version 1"),
    "picture": (b"\x89PNG\r\n\x1a\n", "is a single picture"),
    "gzip cut": (gzip.compress(csv() * 50)[:60], "gzip file that was cut short|damaged gzip"),
    "parquet cut": (b"PAR1" + bytes(30), "damaged Parquet file"),
    "arrow cut": (b"ARROW1" + bytes(30), "damaged Arrow file"),
    "zip cut": (b"PK\3\4" + bytes(30), "damaged zip or npz file"),
}


@pytest.mark.parametrize("case", BAD_TABLES)
def test_files_that_are_no_tables_are_named(case: str) -> None:
    content, sentence = BAD_TABLES[case]
    with pytest.raises((UnreadableFile, SchemaMismatch), match=sentence):
        load_dataset(content)


def parquet(frame: pd.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.to_parquet(buffer)
    return buffer.getvalue()


def feather(frame: pd.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.to_feather(buffer)
    return buffer.getvalue()


@pytest.mark.parametrize("write", [parquet, feather])
def test_columnar_files_hold_the_same(write, tmp_path: Path) -> None:
    frame = FRAME.assign(flag=[True, False, True], ward=pd.Categorical(["x", "y", "x"]))
    path = tmp_path / "data.bin"
    path.write_bytes(write(frame))
    data = load_dataset(path, "y")
    expected = Dataset.from_frame(frame, "y")
    assert data.schema == expected.schema
    assert data.digest == expected.digest == load_dataset(str(path), "y").digest
    with pytest.raises(UnreadableFile, match=r"damaged (Parquet|Arrow) file"):
        load_dataset(write(frame)[: len(write(frame)) // 2])


def test_columnar_oddities() -> None:
    named = FRAME.set_index("age")
    assert "age" in load_dataset(parquet(named)).schema.names
    decimal = pa.table({"a": pa.array(["1.50", "2.25"]).cast(pa.decimal128(5, 2))}).to_pandas()
    assert load_dataset(parquet(decimal)).matrix.tolist() == [[1.5], [2.25]]
    with pytest.raises(SchemaMismatch, match="hold lists or records: 'a'"):
        load_dataset(parquet(pd.DataFrame({"a": [[1], [2]]})))


def test_gzipped_tables_are_opened() -> None:
    assert load_dataset(gzip.compress(csv()), "y").digest == load_dataset(csv(), "y").digest


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        (Limits(rows=2), r"rows; the limit is 2 \(setting limits.rows\). Use a sample"),
        (Limits(columns=3), r"has 4 columns; the limit is 3 \(setting limits.columns\)"),
        (Limits(data_bytes=10), r"bytes; the limit is 10 \(setting limits.data_bytes\)"),
    ],
)
def test_bounds_are_named(limits, message, tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_bytes(csv())
    for source in (csv(), parquet(FRAME), feather(FRAME), tmp_path / "data.csv"):
        with pytest.raises(UnreadableFile, match=message):
            load_dataset(source, limits=limits)


def test_what_a_gzip_unpacks_to_is_bounded() -> None:
    bomb = gzip.compress(b"a\n" + b"1\n" * 100_000)
    with pytest.raises(UnreadableFile, match=r"bytes when unpacked; the limit is 1,000 \(setting"):
        load_dataset(bomb, limits=Limits(unpacked_bytes=1000))


def test_a_parquet_of_many_rows_is_refused_before_it_is_read(monkeypatch) -> None:
    content = parquet(pd.DataFrame({"a": np.zeros(6_000_000, np.int8)}))
    assert len(content) < 100_000
    monkeypatch.setattr(columnar, "_frame", lambda _: pytest.fail("it was read"))
    with pytest.raises(UnreadableFile, match="has 6,000,000 rows; the limit is 5,000,000"):
        load_dataset(content)


def encoded(pixels: np.ndarray, form: str = "PNG", mode: str | None = None) -> bytes:
    buffer = io.BytesIO()
    image = Image.fromarray(pixels)
    (image.convert(mode) if mode else image).save(buffer, form)
    return buffer.getvalue()


GREY = np.arange(20, dtype=np.uint8).reshape(4, 5)
COLOUR = np.stack([GREY, GREY + 50, GREY + 100], axis=2)


def folder(top: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_bytes(content)
    return top


def packed(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


LAYOUTS = {
    "labels": ({"cat/1.png": 1, "dog/0.png": 2, "cat/2.png": 3}, ["cat", "cat", "dog"], None),
    "around": ({"top/cat/1.png": 1, "top/dog/2.png": 2}, ["cat", "dog"], None),
    "flat": ({"b.png": 1, "a.png": 2}, None, None),
    "one folder": ({"x/b.png": 1, "x/a.png": 2}, None, None),
    "roles": ({"train/cat/1.png": 1, "train/dog/2.png": 2, "val/dog/3.png": 3}, ["cat", "dog", "dog"], ["train", "train", "test"]),
    "roles only": ({"train/1.png": 1, "test/2.png": 2}, None, ["test", "train"]),
    "with other files": ({"cat/1.png": 1, "dog/1.png": 2, "readme.txt": None, ".DS_Store": None, "__MACOSX/cat/1.png": None}, ["cat", "dog"], None),
}  # fmt: skip


@pytest.mark.parametrize("case", LAYOUTS)
@pytest.mark.parametrize("zipped", [False, True])
def test_folders_are_labels(case: str, zipped: bool, tmp_path: Path) -> None:
    layout, labels, roles = LAYOUTS[case]
    files = {
        name: b"hello" if shade is None else encoded(np.full((4, 5), shade, np.uint8))
        for name, shade in layout.items()
    }
    data = load_dataset(packed(files) if zipped else folder(tmp_path, files))
    assert (None if data.y is None else data.y.tolist()) == labels
    assert data.role.tolist() == (roles or ["unknown"] * len(data))
    shades = [layout[name] for name in sorted(layout) if layout[name] is not None]
    np.testing.assert_allclose(data.X[:, 0, 0, 0] * 255, shades, atol=1e-4)
    assert data.X.shape == (len(shades), 1, 4, 5)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (encoded(GREY), GREY[None] / 255),
        (encoded(COLOUR), np.moveaxis(COLOUR, 2, 0) / 255),
        (encoded(np.dstack([COLOUR, GREY])), np.moveaxis(COLOUR, 2, 0) / 255),
        (encoded(COLOUR, "BMP"), np.moveaxis(COLOUR, 2, 0) / 255),
        (encoded(GREY, "TIFF"), GREY[None] / 255),
        (encoded(GREY, "PNG", "LA"), GREY[None] / 255),
        (encoded(GREY > 9, "PNG"), (GREY > 9)[None]),
        (encoded(GREY.astype(np.uint16) * 300), GREY[None].astype(np.float64) * 300 / 65535),
    ],
    ids=["L", "RGB", "RGBA", "BMP", "TIFF", "LA", "1", "16 bits"],
)
def test_modes(content: bytes, expected: np.ndarray, tmp_path: Path) -> None:
    data = load_dataset(packed({"a.png": content}))
    np.testing.assert_allclose(data.X[0], expected, atol=1e-6)


@pytest.mark.parametrize("form", ["JPEG", "WEBP"])
def test_lossy_forms_are_close(form: str) -> None:
    data = load_dataset(packed({"a": encoded(np.full((8, 8, 3), 128, np.uint8), form)}), pixel_scale=1.0)
    np.testing.assert_allclose(data.X, 128, atol=3)


def test_grey_among_colour_becomes_colour() -> None:
    data = load_dataset(packed({"a.png": encoded(GREY), "b.png": encoded(COLOUR)}))
    np.testing.assert_allclose(data.X[0], np.repeat(GREY[None], 3, axis=0) / 255, atol=1e-6)


GIF = io.BytesIO()
Image.fromarray(GREY).save(GIF, "GIF")
BAD_PICTURES = {
    "sizes": ({"a.png": encoded(GREY), "b.png": encoded(GREY.T)}, r"2 different sizes: .*4 × 5 \('b.png'\).*Bring them all"),
    "depths": ({"a.png": encoded(GREY), "b.png": encoded(GREY.astype(np.uint16))}, "different depths: uint"),
    "cut short": ({"a.png": encoded(np.random.default_rng(0).integers(0, 255, (40, 40, 3), np.uint8))[:400]}, "picture 'a.png' is damaged"),
    "not a picture": ({"a.png": b"hello"}, "picture 'a.png' cannot be read. Opened are PNG"),
    "other form": ({"a.png": GIF.getvalue()}, "picture 'a.png' cannot be read"),
    "none": ({"a.txt": b"hello"}, "holds no pictures"),
    "loose": ({"cat/a.png": encoded(GREY), "b.png": encoded(GREY)}, "Some pictures are in class folders and some are not: 'b.png'"),
    "excel": ({"xl/workbook.xml": b""}, "is an Excel file"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_PICTURES)
def test_pictures_that_do_not_fit_are_named(case: str) -> None:
    files, sentence = BAD_PICTURES[case]
    with pytest.raises((UnreadableFile, SchemaMismatch), match=sentence):
        load_dataset(packed(files))


def test_picture_bounds_are_named() -> None:
    files = {"a.png": encoded(GREY), "b.png": encoded(GREY)}
    for limits, sentence in (
        (Limits(pixels=19), "has 20 pixels in one picture; the limit is 19"),
        (Limits(pictures=1), "has 2 pictures; the limit is 1"),
        (Limits(unpacked_bytes=50), "bytes when unpacked; the limit is 50"),
        (Limits(values=30), "has 40 values; the limit is 30"),
    ):
        with pytest.raises(UnreadableFile, match=sentence):
            load_dataset(packed(files), limits=limits)
    with pytest.raises(InvalidSetting, match="Pictures have no columns"):
        load_dataset(packed(files), target="label")


def npz(**arrays) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def test_npz_arrays() -> None:
    images = np.stack([GREY, GREY])
    data = load_dataset(npz(images=images, labels=["a", "b"], role=["train", "test"]))
    assert (data.y.tolist(), data.role.tolist()) == (["a", "b"], ["train", "test"])
    np.testing.assert_allclose(data.X[0, 0], GREY / 255, atol=1e-6)
    other = load_dataset(npz(first=np.zeros(3), pixels=images.astype(np.float32), y=np.array([[0], [1]])))
    assert other.y.tolist() == [0, 1]
    assert other.X.max() == 19
    assert load_dataset(npz(X=images), pixel_scale=2.0).X.max() == 9.5


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (npz(a=np.zeros(3)), r"holds no pictures .*it has a \(3,\). Save them as 'images'"),
        (npz(images=np.zeros((2, 3, 3)), y=np.zeros((2, 2))), r"labels of 'upload' have shape \(2, 2\)"),
        (npz(images=np.zeros((2, 3, 3)), y=[1]), "2 cases but 1 labels"),
        (npz(images=np.full((2, 3, 3), "a")), "holds <U1, not pixels"),
        (packed({"images.npy": npz(x=np.zeros(3))}), "not a sound npz file"),
        (npz(images=np.array([object()], dtype=object)), "it holds Python objects"),
    ],
)
def test_npz_that_does_not_fit(content: bytes, sentence: str) -> None:
    with pytest.raises((UnreadableFile, SchemaMismatch), match=sentence):
        load_dataset(content)


def test_an_array_that_claims_more_than_it_holds_is_refused() -> None:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "<f8", "fortran_order": False, "shape": (1 << 40, 28, 28)}
    )
    with pytest.raises(UnreadableFile, match="claims more numbers than it holds"):
        load_dataset(packed({"images.npy": header.getvalue() + bytes(80)}))


def classifier(features: tuple | None = ("age", "dose"), inputs: int | None = None) -> Model:
    return Model(
        lambda X: np.zeros(len(X)),
        "classification",
        ("well", "ill"),
        (0, 1),
        "probability",
        features=features,
        inputs=inputs,
    )


GUESSES = {
    "the only one that fits": ({"age": [1, 2], "dose": [3.5, 4], "state": ["ill", "well"], "id": [7, 8]}, classifier(), "state"),
    "a usual name": ({"age": [1, 2], "dose": [3, 4], "flag": [0, 1], "Outcome": [1, 0]}, classifier(), "Outcome"),
    "two that fit": ({"age": [1, 2], "dose": [3, 4], "p": [0, 1], "q": [1, 0]}, classifier(), None),
    "a usual name that does not fit": ({"age": [1, 2], "dose": [3, 4], "label": ["x", "y"]}, classifier(), None),
    "nothing left": ({"age": [1, 2], "dose": [3, 4]}, classifier(), None),
    "known columns are not truths": ({"age": [0, 1], "dose": [0, 1]}, classifier(), None),
    "no names, one too many": ({"a": [5, 7], "b": [2.5, 3], "state": ["ill", "well"]}, classifier(None, 2), "state"),
    "no names, no count": ({"a": [5, 7], "state": ["ill", "well"]}, classifier(None), None),
    "no names, a usual name": ({"a": [5, 7], "y": ["ill", None]}, classifier(None), "y"),
    "regression": ({"age": [5, 7], "price": [1.5, 2.5], "town": ["x", "y"]}, Model(lambda X: X, "regression", features=("age",)), "price"),
    "empty": ({"age": [1, 2], "dose": [1, 2], "target": [None, None]}, classifier(), None),
}  # fmt: skip


@pytest.mark.parametrize("case", GUESSES)
def test_the_target_is_guessed_where_it_is_clear(case: str) -> None:
    columns, model, expected = GUESSES[case]
    assert guess_target(pd.DataFrame(columns), model) == expected


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"a": [1, 2], "Split": ["train", "TEST"]}, "Split"),
        ({"fold": [1, 2], "set": ["training", "validation"]}, "set"),
        ({"fold": [1, 2]}, None),
        ({"part": ["train", "test"]}, None),
        ({"role": [None, None]}, None),
        ({"role": ["doctor", "nurse"]}, None),
    ],
)
def test_the_role_is_guessed_by_name_and_words(columns: dict, expected: str | None) -> None:
    assert guess_role(pd.DataFrame(columns)) == expected


def test_align_takes_the_models_columns_in_its_order() -> None:
    frame = pd.DataFrame(
        {"id": [7, 8], "dose": [1.5, 2], "y": ["ill", "well"], "age": [40, 50], "split": ["train", "test"]}
    )
    data = align(frame, classifier(), "y", "split")
    assert data.schema.names == ("age", "dose")
    assert (data.y.tolist(), data.role.tolist()) == (["ill", "well"], ["train", "test"])
    assert list(data.extra.columns) == ["id"]
    stored = align(frame.rename(columns={"dose": "the dose"}), classifier(("the_dose", "age")), "y", "split")
    assert stored.schema.names == ("the dose", "age")
    with pytest.raises(
        SchemaMismatch,
        match=r"needs 'weight', which the data lack. Columns the model does not know: 'id', 'dose'",
    ):
        align(frame, classifier(("age", "weight")), "y", "split")
    with pytest.raises(SchemaMismatch, match="There is no column 'z'"):
        align(frame, classifier(), "z")


def test_align_counts_where_a_model_knows_no_names() -> None:
    frame = pd.DataFrame({"b": [1, 2], "a": [3.5, 4], "y": [0, 1]})
    assert align(frame, classifier(None, 2), "y").schema.names == ("b", "a")
    with pytest.raises(SchemaMismatch, match=r"takes 2 columns; these data have 3: .*'y'.*leave 1 out"):
        align(frame, classifier(None, 2))


def test_a_file_is_first_a_frame_and_then_aligned() -> None:
    frame = load_frame(b"dose,id,age,y\n1.5,7,40,ill\n2,8,50,well\n")
    assert list(frame.columns) == ["dose", "id", "age", "y"]
    assert align(frame, classifier(), guess_target(frame, classifier())).y.tolist() == ["ill", "well"]


def test_notes_are_carried_and_are_no_part_of_the_digest() -> None:
    content = b"age;dose;weight;state\n" + b"".join(b"%d;%d;70;ill\n" % (i, i * i % 7) for i in range(12))
    frame = load_frame(content)
    assert frame.attrs["notes"] == ("Cells are separated by semicolons.",)
    data = align(frame, classifier(("weight", "dose")), "state")
    assert data.notes == ("Cells are separated by semicolons.", "Constant columns: 'weight'.")
    assert data.digest == data.with_notes().digest == data.with_notes("a", "b", "a").digest
    assert data.with_notes("a", "b", "a").notes == ("a", "b")
    assert data.take([0]).notes == ()
    assert load_dataset(content).notes[0] == "Cells are separated by semicolons."


def test_arrays_of_an_npz_that_are_not_used_are_named() -> None:
    images = np.stack([GREY, GREY])
    assert load_dataset(npz(images=images, y=[0, 1], ages=[3, 4])).notes == (
        "Arrays that were not used: 'ages'.",
    )
