"""Sixteen small files that ask for much: what each is, how it is made, and the sentence that names the bound it meets."""

from __future__ import annotations

import copy
import gzip
import io
import json
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tests.faults import good_files

MEBIBYTE = 1 << 20
SMALL = {
    "unpacked_bytes": 64 * MEBIBYTE
}  # so that a bomb of some hundred mebibytes is large, and quickly made


@dataclass(frozen=True)
class Bomb:
    """One file, what it is opened as (``"model"`` or ``"data"``), and what the error must say."""

    name: str
    make: Callable[[], bytes]
    kind: str
    expected: str
    limits: dict[str, int] = field(default_factory=dict)
    architecture: Any = None


def _claimed_zip() -> bytes:
    """A skops archive whose parts are said to unpack to 6 GiB."""
    parts = dict.fromkeys(("a.npy", "b.npy", "c.npy"), b"0")
    content = bytearray(good_files.zipped({"schema.json": b"{}", **parts}, packed=True))
    at = content.find(b"PK\1\2")
    while at >= 0:  # of each entry in the directory, the size when unpacked
        content[at + 24 : at + 28] = struct.pack("<I", 2**31 - 1)
        at = content.find(b"PK\1\2", at + 1)
    return bytes(content)


def _rows(count: int) -> bytes:
    return gzip.compress(b"a\n" + b"1\n" * count, compresslevel=1)


def _npz() -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, images=np.zeros((300, 1024, 1024), np.uint8))
    return buffer.getvalue()


def _onnx(nodes: Callable[[Any], list[Any]]) -> bytes:
    from onnx import TensorProto, helper

    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes(helper),
        "g",
        [value("x", TensorProto.FLOAT, ["n", 3])],
        [value("y", TensorProto.FLOAT, ["n", 3])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


def _giant_constant(helper: Any) -> list[Any]:
    from onnx import TensorProto

    sides = helper.make_tensor("sides", TensorProto.INT64, [2], [2**17, 2**17])
    return [
        helper.make_node("Constant", [], ["s"], value=sides),
        helper.make_node("ConstantOfShape", ["s"], ["big"]),
        helper.make_node("ReduceSum", ["big"], ["one"], keepdims=0),
        helper.make_node("Add", ["x", "one"], ["y"]),
    ]


def _endless_loop(helper: Any) -> list[Any]:
    from onnx import TensorProto

    value = helper.make_tensor_value_info
    body = helper.make_graph(
        [helper.make_node("Identity", ["going"], ["on"]), helper.make_node("Identity", ["held"], ["kept"])],
        "body",
        [value("turn", TensorProto.INT64, []), value("going", TensorProto.BOOL, []), value("held", TensorProto.FLOAT, ["n", 3])],
        [value("on", TensorProto.BOOL, []), value("kept", TensorProto.FLOAT, ["n", 3])],
    )  # fmt: skip
    constants = (("turns", TensorProto.INT64, 2**62), ("start", TensorProto.BOOL, True))
    made = [
        helper.make_node("Constant", [], [name], value=helper.make_tensor(name, kind, [], [first]))
        for name, kind, first in constants
    ]
    return [*made, helper.make_node("Loop", ["turns", "start", "x"], ["y"], body=body)]


def _torch(value: Any) -> bytes:
    import torch

    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def _repeated_number() -> bytes:
    """One number that says it is 2^40: each step from one to the next has length 0."""
    import torch

    tensors = good_files.tensors()
    return _torch({**tensors, "body.weight": torch.zeros(1).expand(1 << 20, 1 << 20)})


def _tuples() -> bytes:
    """Thirty tuples, each of the one before twice: 2^30 things once somebody looks at them."""
    inside: Any = (1, 2)
    for _ in range(30):
        inside = (inside, inside)
    return _torch({**good_files.tensors(), "more": inside})


def _packed_torch() -> bytes:
    import torch

    parts = good_files.parts_of(_torch({**good_files.tensors(), "more": torch.zeros(48 * MEBIBYTE)}))
    return good_files.zipped(parts, packed=True)


def _deep_skops() -> bytes:
    parts = good_files.parts_of(good_files.skops_forest())
    parts["schema.json"] = b'{"content":' * 5_000 + b"1" + b"}" * 5_000
    return good_files.zipped(parts)


def _categories() -> bytes:
    """Two thousand trees that each ask for one bit for every category up to 2^24."""
    parsed = json.loads(good_files.xgboost_json())
    model = parsed["learner"]["gradient_booster"]["model"]
    tree = next(tree for tree in model["trees"] if tree["categories"])
    tree["categories"][-1] = 2**24 - 1
    count = 2_100
    model["trees"] = [{**copy.copy(tree), "id": i} for i in range(count)]
    model["tree_info"], model["iteration_indptr"] = [0] * count, list(range(count + 1))
    model["gbtree_model_param"]["num_trees"] = str(count)
    return json.dumps(parsed).encode()


def _parquet() -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    piece = pa.table({"a": pa.array(np.zeros(4_000_000, np.int8))})
    buffer = io.BytesIO()
    with pq.ParquetWriter(buffer, piece.schema) as writer:
        for _ in range(50):
            writer.write_table(piece)
    return buffer.getvalue()


def _png(side: int) -> bytes:
    def chunk(name: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
        )

    head = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    picture = (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(bytes(1000)))
        + chunk(b"IEND", b"")
    )
    return good_files.zipped({"a.png": picture})


def _columns() -> bytes:
    names = ",".join(f"c{i}" for i in range(100_000))
    return f"{names}\n{','.join(['1'] * 100_000)}\n".encode()


def _setting(name: str) -> str:
    return rf"the limit (is|of) [\d,]+ (bytes )?\(setting limits\.{name}\)"


WEIGHTS = good_files.ARCHITECTURE

CASES: tuple[Bomb, ...] = (
    Bomb("skops: 6 GiB in 400 bytes", _claimed_zip, "model", _setting("unpacked_bytes")),
    Bomb("skops: 5,000 levels", _deep_skops, "model", _setting("json_depth")),
    Bomb("XGBoost JSON: 100,000 levels", lambda: b'{"learner":' + b"[" * 100_000, "model", _setting("json_depth")),
    Bomb("XGBoost UBJ: 100,000 levels", lambda: b"{L\0\0\0\0\0\0\0\7learner" + b"[" * 100_000, "model", _setting("json_depth")),
    Bomb("XGBoost: bits for 2^24 categories in each tree", _categories, "model", _setting("unpacked_bytes")),
    Bomb("ONNX: 64 GiB of one number", lambda: _onnx(_giant_constant), "model", _setting("tensor_bytes")),
    Bomb("ONNX: a loop of 2^62 turns", lambda: _onnx(_endless_loop), "model", _setting("iterations")),
    Bomb("torch: one number that says it is 2^40", _repeated_number, "model", "claims more numbers than it holds", {}, WEIGHTS),
    Bomb("torch: 2^30 tuples", _tuples, "model", "a torch file without a state dict", {}, WEIGHTS),
    Bomb("torch: packed noughts", _packed_torch, "model", "it is compressed, and torch does not compress its files", {}, WEIGHTS),
    Bomb("gzip: 100 million rows", lambda: _rows(100_000_000), "data", _setting("unpacked_bytes"), {**SMALL, "rows": 10**9}),
    Bomb("npz: 300 MiB of noughts", _npz, "data", _setting("unpacked_bytes"), SMALL),
    Bomb("Parquet: 200 million rows", _parquet, "data", _setting("rows")),
    Bomb("PNG: 900 million pixels", lambda: _png(30_000), "data", _setting("pixels")),
    Bomb("CSV: 100,000 columns", _columns, "data", _setting("columns")),
    Bomb("CSV: a cell of 50 million characters", lambda: b"a,b\n1," + b"x" * 50_000_000 + b"\n", "data", _setting("cell_characters")),
)  # fmt: skip
