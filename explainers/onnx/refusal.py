"""What an ONNX file may not contain, whoever runs it. Everything here raises UnsafeOnnx.

Parsing runs no code, so the dangers are others: files read through external data, loops that never end,
a few bytes that ask for gigabytes, operators that a runtime extension would have to supply.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import onnx
from google.protobuf.message import Message  # type: ignore[import-untyped]  # protobuf ships no types

from explainers.onnx.errors import UnsafeOnnx

MAX_MODEL_BYTES = 1 << 30
MAX_INITIALIZER_BYTES = 1 << 30
MAX_VALUE_ELEMENTS = 1 << 28
MAX_NODES = 20_000

STANDARD_DOMAINS = frozenset({"", "ai.onnx"})
PREDICT_ONLY_DOMAINS = frozenset({"ai.onnx.ml"})
ENDLESS_OPERATORS = frozenset({"Loop", "Scan"})


def refuse_unsafe(model: onnx.ModelProto) -> None:
    """Raise UnsafeOnnx if any part of the model, at any depth, is on the list of dangers."""
    parts = list(_parts(model))
    _refuse_parts([model, *parts])
    _refuse_nodes([part for part in parts if isinstance(part, onnx.NodeProto)])
    if model.functions:
        raise UnsafeOnnx(
            "The model brings its own functions. Export it with functions inlined (onnx.inliner)."
        )
    _refuse_invalid(model)
    _refuse_giant_values(model)


def refuse_giant(shape: tuple[int, ...], source: str) -> None:
    """Raise UnsafeOnnx if a tensor of this shape is over MAX_VALUE_ELEMENTS: asked before it is allocated."""
    if math.prod(shape) > MAX_VALUE_ELEMENTS:
        raise UnsafeOnnx(
            f"{source} asks for a tensor of shape {shape}: {math.prod(shape):,} numbers, over the limit of "
            f"{MAX_VALUE_ELEMENTS:,}. Export the model with realistic sizes."
        )


def _parts(message: Message) -> Iterator[Message]:
    """Every message below this one; tensors are not entered, their data has no parts."""
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        for part in (value,) if isinstance(value, Message) else value:
            yield part
            if not isinstance(part, onnx.TensorProto):
                yield from _parts(part)


def _refuse_parts(parts: list[Message]) -> None:
    for part in parts:
        if any(_is_broken_text(field, value) for field, value in part.ListFields()):
            raise UnsafeOnnx(
                "A name in this file is not text, so the file is damaged. Export or upload it again."
            )
        if isinstance(part, onnx.TensorProto):
            _refuse_tensor(part)
        if isinstance(part, onnx.SparseTensorProto):
            raise UnsafeOnnx(
                "The model holds a sparse tensor, whose size its data does not bound. Export it dense."
            )


def _is_broken_text(field: Any, value: Any) -> bool:
    """Protobuf hands out a text field that is not UTF-8 as bytes."""
    if field.type != field.TYPE_STRING:
        return False
    return any(isinstance(item, bytes) for item in ([value] if isinstance(value, str | bytes) else value))


def _refuse_tensor(tensor: onnx.TensorProto) -> None:
    if tensor.data_location == onnx.TensorProto.EXTERNAL or tensor.external_data:
        raise UnsafeOnnx(
            f"The tensor '{tensor.name}' is kept in another file. Save the model as one file: "
            "onnx.save(model, path, save_as_external_data=False)."
        )
    if min(tensor.dims, default=0) < 0 or 8 * math.prod(tensor.dims) > MAX_INITIALIZER_BYTES:
        raise UnsafeOnnx(
            f"The tensor '{tensor.name}' states the shape {tuple(tensor.dims)}; the limit is "
            f"{MAX_INITIALIZER_BYTES:,} bytes. Upload a smaller model."
        )


def _refuse_nodes(nodes: list[onnx.NodeProto]) -> None:
    if len(nodes) > MAX_NODES:
        raise UnsafeOnnx(f"The model has {len(nodes):,} operators; the limit is {MAX_NODES:,}.")
    foreign = {n.domain for n in nodes} - STANDARD_DOMAINS - PREDICT_ONLY_DOMAINS
    if foreign:
        operators = sorted({f"{n.domain}::{n.op_type}" for n in nodes if n.domain in foreign})
        raise UnsafeOnnx(
            f"The model uses operators outside the ONNX standard: {', '.join(operators)}. "
            "Export it with standard operators only, local functions inlined."
        )
    endless = sorted({n.op_type for n in nodes} & ENDLESS_OPERATORS)
    if endless:
        raise UnsafeOnnx(
            f"The model contains {', '.join(endless)}, which may never end, so it is not opened. "
            "Export it without loops (fixed sequence length, or LSTM and GRU operators)."
        )


def _refuse_invalid(model: onnx.ModelProto) -> None:
    try:
        onnx.checker.check_model(model)
    except (onnx.checker.ValidationError, ValueError) as error:
        raise UnsafeOnnx(f"This is not a valid ONNX model: {str(error).splitlines()[0]}") from error


def _refuse_giant_values(model: onnx.ModelProto) -> None:
    """Sizes that are written in the file or follow from its shapes, in branches too."""
    try:
        inferred = onnx.shape_inference.infer_shapes(model)
    except (onnx.shape_inference.InferenceError, ValueError) as error:
        raise UnsafeOnnx(
            f"The shapes in this model contradict each other: {str(error).splitlines()[0]}"
        ) from error
    for value in _parts(inferred):
        if not isinstance(value, onnx.ValueInfoProto):
            continue
        sizes = tuple(max(d.dim_value, 1) for d in value.type.tensor_type.shape.dim)
        refuse_giant(sizes, f"The value '{value.name}'")
