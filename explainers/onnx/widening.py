"""A graph in half precision as the same graph in single precision, so that small gradients do not vanish.

Every 16-bit constant, input, output and conversion becomes a 32-bit one. The rounding of the intermediate values goes away
with it: how far the two answers lie apart is measured when the file is opened.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import TypeVar

import onnx
import torch
from torch import Tensor

from explainers.onnx.graph import Attribute, Data, Graph, Node, Value

HALVES = frozenset({torch.float16, torch.bfloat16})
CODES = frozenset({int(onnx.TensorProto.FLOAT16), int(onnx.TensorProto.BFLOAT16)})
NAMES_A_TYPE = frozenset({"to", "dtype", "output_dtype"})
T = TypeVar("T", Data, Attribute)


def in_half(graph: Graph) -> bool:
    """Whether any part of the graph is kept or computed in 16 bits."""
    return any(value.dtype in HALVES for value in (*graph.inputs, *graph.outputs)) or any(_halves(graph))


def widened(graph: Graph) -> Graph:
    """The graph in single precision."""
    return _widened(graph, {})


def _halves(graph: Graph) -> Iterator[bool]:
    yield from (_is_half(value) for value in graph.constants.values())
    for node in graph.nodes:
        yield from (_is_half(value) or _names_half(name, value) for name, value in node.attributes.items())
        for body in node.bodies.values():
            yield from _halves(body)


def _widened(graph: Graph, done: dict[int, Tensor]) -> Graph:
    """`done` keeps what bodies share with the graph around them shared."""
    return dataclasses.replace(
        graph,
        nodes=tuple(_node(node, done) for node in graph.nodes),
        constants={name: _tensor(value, done) for name, value in graph.constants.items()},
        inputs=tuple(map(_value, graph.inputs)),
        outputs=tuple(map(_value, graph.outputs)),
    )


def _node(node: Node, done: dict[int, Tensor]) -> Node:
    attributes: Mapping[str, Attribute] = {
        name: int(onnx.TensorProto.FLOAT) if _names_half(name, value) else _tensor(value, done)
        for name, value in node.attributes.items()
    }
    bodies = {name: _widened(body, done) for name, body in node.bodies.items()}
    return dataclasses.replace(node, attributes=attributes, bodies=bodies)


def _tensor(value: T, done: dict[int, Tensor]) -> T:
    if not isinstance(value, Tensor) or not _is_half(value):
        return value
    return done.setdefault(id(value), value.float())


def _value(value: Value) -> Value:
    return dataclasses.replace(value, dtype=torch.float32) if value.dtype in HALVES else value


def _is_half(value: object) -> bool:
    return isinstance(value, Tensor) and value.dtype in HALVES


def _names_half(name: str, value: object) -> bool:
    return name in NAMES_A_TYPE and isinstance(value, int) and value in CODES
