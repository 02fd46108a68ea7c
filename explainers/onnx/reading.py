"""From bytes to a checked Graph. Bytes only: there is no path that a file could use to reach another file."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

import numpy as np
import onnx
import torch
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # protobuf ships no types
from torch import Tensor

from explainers.onnx.errors import PREDICT_ONLY, UnsafeOnnx, UnsupportedOnnx
from explainers.onnx.folding import fold_constants
from explainers.onnx.graph import Attribute, Graph, Node, Value, torch_type
from explainers.onnx.operators import OPERATORS
from explainers.onnx.refusal import MAX_MODEL_BYTES, STANDARD_DOMAINS, refuse_unsafe

Source = TypeVar("Source")
Result = TypeVar("Result")

OLDEST_OPSET = 7  # before it, broadcasting had other rules
NEWEST_OPSET = 28  # the newest that the official node cases were run with


def read_graph(content: bytes) -> Graph:
    """Parse an ONNX file and check it against everything it may not contain.

    Raises:
        UnsafeOnnx: damaged, external data, operators outside the standard, Loop or Scan, giant tensors, an unknown
            opset. The file must not be opened by anything else either.
        UnsupportedOnnx: sound, but with operators or types that the torch evaluator does not have. Predictions
            through onnxruntime remain possible.
    """
    model = _parse(content)
    refuse_unsafe(model)
    opset = _opset(model)
    # Constants are folded before anything is only unsupported: onnxruntime would fold them in a predict-only file too.
    tensors, tensor_problems = _converted(_named_tensor, model.graph.initializer)
    calls, node_problems = _converted(_node, (n for n in model.graph.node if _is_known(n)))
    nodes, constants = fold_constants(calls, dict(tensors), opset)
    _require_known_operators(model.graph.node)
    for problem in (*tensor_problems, *node_problems):
        raise problem
    return Graph(
        nodes=nodes,
        constants=constants,
        inputs=tuple(_value(v) for v in model.graph.input if v.name not in constants),
        outputs=tuple(_value(v) for v in model.graph.output),
        opset=opset,
    )


def _parse(content: bytes) -> onnx.ModelProto:
    if len(content) > MAX_MODEL_BYTES:
        raise UnsafeOnnx(f"The file has {len(content):,} bytes; the limit is {MAX_MODEL_BYTES:,}.")
    try:
        model: onnx.ModelProto = onnx.ModelProto.FromString(content)
    except DecodeError as error:
        raise UnsafeOnnx(
            "This is not an ONNX file, or it was cut short. Export or upload it again."
        ) from error
    if not model.graph.node:
        raise UnsafeOnnx(
            "The file holds no operators, so it is not an ONNX model. Export or upload it again."
        )
    return model


def _opset(model: onnx.ModelProto) -> int:
    versions = [int(entry.version) for entry in model.opset_import if entry.domain in STANDARD_DOMAINS]
    if not versions:
        # A file with ai.onnx.ml operators alone; those are named by the next check.
        return NEWEST_OPSET
    if not OLDEST_OPSET <= versions[0] <= NEWEST_OPSET:
        # Not predict-only: sizes are checked by rules that are known for these opsets alone.
        raise UnsafeOnnx(
            f"The model is written for opset {versions[0]}; opsets {OLDEST_OPSET} to {NEWEST_OPSET} are known here. "
            "Convert it with onnx.version_converter."
        )
    return versions[0]


def _converted(
    convert: Callable[[Source], Result], items: Iterable[Source]
) -> tuple[list[Result], list[UnsupportedOnnx]]:
    """What could be converted, and the reasons for what could not."""
    results, problems = [], []
    for item in items:
        try:
            results.append(convert(item))
        except UnsupportedOnnx as problem:
            problems.append(problem)
    return results, problems


def _is_known(node: onnx.NodeProto) -> bool:
    return node.op_type in OPERATORS and node.domain in STANDARD_DOMAINS


def _require_known_operators(nodes: Iterable[onnx.NodeProto]) -> None:
    missing = sorted({n.op_type for n in nodes if not _is_known(n)})
    if missing:
        raise UnsupportedOnnx(f"No gradients for the operator(s) {', '.join(missing)}: {PREDICT_ONLY}.")


def _node(node: onnx.NodeProto) -> Node:
    attributes = {a.name: _attribute(node, a) for a in node.attribute}
    return Node(node.op_type, node.name, tuple(node.input), tuple(node.output), attributes)


def _attribute(node: onnx.NodeProto, attribute: onnx.AttributeProto) -> Attribute:
    value = onnx.helper.get_attribute_value(attribute)
    if isinstance(value, onnx.TensorProto):
        return _tensor(value)
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if isinstance(value, int | float):
        return value
    if attribute.type in (onnx.AttributeProto.INTS, onnx.AttributeProto.FLOATS):
        return tuple(value)
    if attribute.type == onnx.AttributeProto.STRINGS:
        return tuple(item.decode(errors="replace") for item in value)
    raise UnsupportedOnnx(
        f"{node.op_type} has an attribute '{attribute.name}' of an unknown kind: {PREDICT_ONLY}."
    )


def _tensor(tensor: onnx.TensorProto) -> Tensor:
    torch_type(tensor.data_type)
    try:
        array = onnx.numpy_helper.to_array(tensor)
    except (ValueError, TypeError) as error:
        raise UnsafeOnnx(f"The tensor '{tensor.name}' is damaged: {error}") from error
    return torch.from_numpy(np.array(array))


def _named_tensor(tensor: onnx.TensorProto) -> tuple[str, Tensor]:
    return tensor.name, _tensor(tensor)


def _value(value: onnx.ValueInfoProto) -> Value:
    kind = value.type.tensor_type
    if not value.type.HasField("tensor_type"):
        raise UnsupportedOnnx(f"'{value.name}' is not a tensor: {PREDICT_ONLY}.")
    shape = tuple(d.dim_value if d.HasField("dim_value") else None for d in kind.shape.dim)
    return Value(value.name, torch_type(kind.elem_type), shape if kind.HasField("shape") else None)
