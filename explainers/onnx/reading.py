"""From bytes to a checked Graph. Bytes only: there is no path that a file could use to reach another file."""

from __future__ import annotations

from collections.abc import Iterator

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # protobuf ships no types

from explainers.loading.limits import Limits
from explainers.onnx.errors import PREDICT_ONLY, UnsafeOnnx, UnsupportedOnnx
from explainers.onnx.folding import Folder
from explainers.onnx.graph import TYPES, Attribute, Data, Graph, Node, Value, as_data
from explainers.onnx.operators import ENSEMBLES, LOOPS, ML_OPERATORS, operator_class
from explainers.onnx.refusal import STANDARD_DOMAINS, is_evaluated, refuse_unsafe

OLDEST_OPSET = 7  # before it, broadcasting had other rules
NEWEST_OPSET = 28  # the newest that the official node cases were run with


def read_graph(content: bytes, limits: Limits = Limits()) -> Graph:
    """Parse an ONNX file and check it against everything it may not contain.

    Raises:
        UnsafeOnnx: damaged, external data, operators off the list, endless loops, giant tensors, broken trees, an
            unknown opset. The file must not be opened by anything else either.
        UnsupportedOnnx: sound, but with operators that the torch evaluator does not have. Predictions through
            onnxruntime remain possible.
    """
    model = _parse(content, limits)
    shapes = refuse_unsafe(model, limits)
    opset = _opset(model)
    # Constants are folded before anything is only unsupported: onnxruntime would fold them in a predict-only file too.
    graph = Folder(opset, shapes, limits).folded(_graph(model.graph, opset, limits))
    nodes = list(_all_nodes(graph))
    try:
        _try_lists(nodes, graph)
        _require_evaluation(model)
    except UnsupportedOnnx as error:
        unfollowed = sorted({node.op_type for node in nodes} & (LOOPS | ENSEMBLES))
        if unfollowed:
            raise UnsafeOnnx(
                f"What the model's {', '.join(unfollowed)} reads cannot be followed here, so it is not opened. {error}"
            ) from error
        raise
    return graph


def _parse(content: bytes, limits: Limits) -> onnx.ModelProto:
    if len(content) > limits.model_bytes:
        raise UnsafeOnnx(
            f"The file has {len(content):,} bytes; the limit is {limits.model_bytes:,} (setting limits.model_bytes)."
        )
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
        # A file with ai.onnx.ml operators alone.
        return NEWEST_OPSET
    if not OLDEST_OPSET <= versions[0] <= NEWEST_OPSET:
        # Not predict-only: sizes are checked by rules that are known for these opsets alone.
        raise UnsafeOnnx(
            f"The model is written for opset {versions[0]}; opsets {OLDEST_OPSET} to {NEWEST_OPSET} are known here. "
            "Convert it with onnx.version_converter."
        )
    return versions[0]


def _graph(graph: onnx.GraphProto, opset: int, limits: Limits) -> Graph:
    """As written: not folded yet, with nodes whose operators may be unknown."""
    constants = {tensor.name: _data(tensor) for tensor in graph.initializer}
    return Graph(
        nodes=tuple(_node(node, opset, limits) for node in graph.node),
        constants=constants,
        inputs=tuple(_value(v) for v in graph.input if v.name not in constants),
        outputs=tuple(_value(v) for v in graph.output),
        opset=opset,
        limits=limits,
    )


def _all_nodes(graph: Graph) -> Iterator[Node]:
    for node in graph.nodes:
        yield node
        for body in node.bodies.values():
            yield from _all_nodes(body)


def _try_lists(nodes: list[Node], graph: Graph) -> None:
    """The operators of ai.onnx.ml hold their numbers as lists, whose lengths onnxruntime trusts."""
    problems = []
    for node in nodes:
        try:
            if node.op_type in ML_OPERATORS:
                operator_class(node)(node, graph.constants, graph.opset, graph.limits)
        except UnsupportedOnnx as error:
            problems.append(error)
    for problem in problems:
        raise problem


def _require_evaluation(model: onnx.ModelProto) -> None:
    missing = sorted({node.op_type for node in _protos(model.graph) if not is_evaluated(node)})
    if missing:
        raise UnsupportedOnnx(f"No gradients for the operator(s) {', '.join(missing)}: {PREDICT_ONLY}.")
    strange = [value.name for value in model.graph.input if not value.type.HasField("tensor_type")]
    if strange:
        raise UnsupportedOnnx(f"'{strange[0]}' is not a tensor: {PREDICT_ONLY}.")


def _protos(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _protos(attribute.g)


def _node(node: onnx.NodeProto, opset: int, limits: Limits) -> Node:
    bodies = {a.name: _graph(a.g, opset, limits) for a in node.attribute if a.HasField("g")}
    attributes = {a.name: _attribute(a) for a in node.attribute if a.name not in bodies}
    return Node(node.op_type, node.name, tuple(node.input), tuple(node.output), attributes, bodies)


def _attribute(attribute: onnx.AttributeProto) -> Attribute:
    """An attribute of a kind that no operator here reads becomes text, which the operator then refuses."""
    value = onnx.helper.get_attribute_value(attribute)
    if isinstance(value, onnx.TensorProto):
        return _data(value)
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if isinstance(value, int | float):
        return value
    if attribute.type in (onnx.AttributeProto.INTS, onnx.AttributeProto.FLOATS):
        return tuple(value)
    if attribute.type == onnx.AttributeProto.STRINGS:
        return tuple(item.decode(errors="replace") for item in value)
    return "a kind of attribute that is not evaluated"


def _data(tensor: onnx.TensorProto) -> Data:
    try:
        return as_data(onnx.numpy_helper.to_array(tensor))
    except (ValueError, TypeError, KeyError) as error:
        raise UnsafeOnnx(f"The tensor '{tensor.name}' is damaged: {error}") from error


def _value(value: onnx.ValueInfoProto) -> Value:
    kind = value.type.tensor_type
    shape = tuple(d.dim_value if d.HasField("dim_value") else None for d in kind.shape.dim)
    return Value(value.name, TYPES.get(kind.elem_type), shape if kind.HasField("shape") else None)
