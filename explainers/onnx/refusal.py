"""What an ONNX file may not contain, whoever runs it. Everything here raises UnsafeOnnx.

Parsing runs no code, so the dangers are others: files read through external data, loops that never end,
a few bytes that ask for gigabytes, operators that a runtime extension would have to supply.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from typing import Any

import onnx
from google.protobuf.message import Message  # type: ignore[import-untyped]  # protobuf ships no types
from google.protobuf.unknown_fields import UnknownFieldSet  # type: ignore[import-untyped]

from explainers.loading.limits import Limits
from explainers.onnx.errors import UnsafeOnnx
from explainers.onnx.operators import ML_OPERATORS, OPERATORS
from explainers.onnx.sizes import refuse_giant

STANDARD_DOMAINS = frozenset({"", "ai.onnx"})
ML_DOMAIN = "ai.onnx.ml"

# Left to onnxruntime: reviewed, with results no larger than what their inputs or the inferred shapes say. The rest of the
# standard (image decoders, random numbers, optimisers, regular expressions) has no place in a model that is explained.
PREDICT_ONLY_OPERATORS = frozenset(
    """
    BitCast BitShift CausalConvWithState Col2Im Compress ConcatFromSequence ConvInteger CumProd
    DFT DeformConv Det DynamicQuantizeLinear LinearAttention MatMulInteger MaxRoiPool MaxUnpool NegativeLogLikelihoodLoss
    NonMaxSuppression Optional OptionalGetElement OptionalHasElement QLinearConv QLinearMatMul
    ReverseSequence RoiAlign STFT Scatter SequenceAt SequenceConstruct SequenceEmpty SequenceErase
    SequenceInsert SequenceLength Shrink SoftmaxCrossEntropyLoss SplitToSequence StringNormalizer SwiGLU
    TensorScatter Unique
    """.split()  # noqa: SIM905  # words, not a column of quotation marks
)


def is_evaluated(node: onnx.NodeProto) -> bool:
    """Whether our evaluator has the operator."""
    return node.op_type in (ML_OPERATORS if node.domain == ML_DOMAIN else OPERATORS) and (
        node.domain in STANDARD_DOMAINS or node.domain == ML_DOMAIN
    )


def refuse_unsafe(model: onnx.ModelProto, limits: Limits) -> dict[str, tuple[int | None, ...]]:
    """Raise UnsafeOnnx if any part of the model, at any depth, is on the list of dangers.

    Returns the shapes that follow from the inputs' shapes alone; a side that does not follow is None.
    """
    parts = list(_parts(model, limits.json_depth))
    _refuse_parts([model, *parts], limits)
    _refuse_nodes([part for part in parts if isinstance(part, onnx.NodeProto)], limits)
    if model.functions:
        raise UnsafeOnnx(
            "The model brings its own functions. Export it with functions inlined (onnx.inliner)."
        )
    _refuse_invalid(model)
    return _inferred_shapes(model, limits)


def _parts(message: Message, levels: int) -> Iterator[Message]:
    """Every message below this one; tensors are not entered, their data has no parts."""
    if levels < 0:
        raise UnsafeOnnx(
            "The model's graphs lie inside each other over the limit of levels (setting limits.json_depth)."
        )
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        for part in (value,) if isinstance(value, Message) else value:
            yield part
            if not isinstance(part, onnx.TensorProto):
                yield from _parts(part, levels - isinstance(part, onnx.GraphProto))


def _refuse_parts(parts: list[Message], limits: Limits) -> None:
    for part in parts:
        if any(_is_broken_text(field, value) for field, value in part.ListFields()):
            raise UnsafeOnnx(
                "A name in this file is not text, so the file is damaged. Export or upload it again."
            )
        if len(UnknownFieldSet(part)):
            raise UnsafeOnnx(
                "The file has fields that are not in the ONNX format as known here, so it cannot be checked. "
                "Export it again with an older version of ONNX."
            )
        if isinstance(part, onnx.TensorProto):
            _refuse_tensor(part, limits)
        if isinstance(part, onnx.SparseTensorProto):
            raise UnsafeOnnx(
                "The model holds a sparse tensor, whose size its data does not bound. Export it dense."
            )


def _is_broken_text(field: Any, value: Any) -> bool:
    """Protobuf hands out a text field that is not UTF-8 as bytes."""
    if field.type != field.TYPE_STRING:
        return False
    return any(isinstance(item, bytes) for item in ([value] if isinstance(value, str | bytes) else value))


def _refuse_tensor(tensor: onnx.TensorProto, limits: Limits) -> None:
    if tensor.data_location == onnx.TensorProto.EXTERNAL or tensor.external_data:
        raise UnsafeOnnx(
            f"The tensor '{tensor.name}' is kept in another file. Save the model as one file: "
            "onnx.save(model, path, save_as_external_data=False)."
        )
    if min(tensor.dims, default=0) < 0 or math.prod(tensor.dims) > limits.tensor_bytes:
        raise UnsafeOnnx(
            f"The tensor '{tensor.name}' states the shape {tuple(tensor.dims)}; the limit is "
            f"{limits.tensor_bytes:,} bytes (setting limits.tensor_bytes). Upload a smaller model."
        )


def _refuse_nodes(nodes: list[onnx.NodeProto], limits: Limits) -> None:
    if len(nodes) > limits.operators:
        raise UnsafeOnnx(
            f"The model has {len(nodes):,} operators; the limit is {limits.operators:,} (setting limits.operators)."
        )
    foreign = sorted(
        {f"{n.domain}::{n.op_type}" for n in nodes if n.domain not in STANDARD_DOMAINS | {ML_DOMAIN}}
    )
    if foreign:
        raise UnsafeOnnx(
            f"The model uses operators outside the ONNX standard: {', '.join(foreign)}. "
            "Export it with standard operators only, local functions inlined."
        )
    others = sorted({n.op_type for n in nodes if not _is_listed(n)})
    if others:
        raise UnsafeOnnx(
            f"The model uses the operator(s) {', '.join(others)}, which are not on the list of those opened here. "
            "Export the model without them."
        )


def _is_listed(node: onnx.NodeProto) -> bool:
    """An operator that onnx itself does not know is left to its checker, which says so."""
    listed = node.domain in STANDARD_DOMAINS and node.op_type in PREDICT_ONLY_OPERATORS
    return listed or is_evaluated(node) or not onnx.defs.has(node.op_type, node.domain)


def _refuse_invalid(model: onnx.ModelProto) -> None:
    try:
        onnx.checker.check_model(model)
    except (onnx.checker.ValidationError, ValueError) as error:
        raise UnsafeOnnx(f"This is not a valid ONNX model: {str(error).splitlines()[0]}") from error


def _inferred_shapes(model: onnx.ModelProto, limits: Limits) -> dict[str, tuple[int | None, ...]]:
    """Shapes by name, in branches too; a name that two branches use has none."""
    try:
        inferred = onnx.shape_inference.infer_shapes(_without_claims(model, limits))
    except (onnx.shape_inference.InferenceError, ValueError) as error:
        raise UnsafeOnnx(
            f"The shapes in this model contradict each other: {str(error).splitlines()[0]}"
        ) from error
    shapes: dict[str, tuple[int | None, ...]] = {}
    made: Counter[str] = Counter()
    for part in _parts(inferred, limits.json_depth):
        if isinstance(part, onnx.NodeProto):
            made.update(part.output)
        if isinstance(part, onnx.ValueInfoProto) and part.type.tensor_type.HasField("shape"):
            dims = part.type.tensor_type.shape.dim
            shapes[part.name] = tuple(d.dim_value if d.HasField("dim_value") else None for d in dims)
            refuse_giant([max(d.dim_value, 1) for d in dims], f"The value '{part.name}'", limits)
    return {name: shape for name, shape in shapes.items() if made[name] <= 1}


def _without_claims(model: onnx.ModelProto, limits: Limits) -> onnx.ModelProto:
    """What the file says of the shapes of its intermediate values and outputs is not believed; onnx works them out."""
    plain = onnx.ModelProto()
    plain.CopyFrom(model)
    inner = [p for p in _parts(plain.graph, limits.json_depth) if isinstance(p, onnx.GraphProto)]
    for graph in [plain.graph, *inner]:
        del graph.value_info[:]
        claimed = graph.output if graph is plain.graph else [*graph.output, *graph.input]
        for value in claimed:
            if value.type.HasField("tensor_type"):
                value.type.tensor_type.ClearField("shape")
    return plain
