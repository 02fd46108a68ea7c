"""What is left of an ONNX file once it has been read: frozen values, tensors already in torch.

Element types that torch lacks (text, 4-bit integers, 8-bit floats) are numpy arrays beside the tensors.

>>> Node("Relu", "", ("x",), ("y",), {}).outputs
('y',)
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor

from explainers.loading.limits import Limits

Array = NDArray[Any]
Data = Tensor | Array
Attribute = int | float | str | Tensor | Array | tuple[int, ...] | tuple[float, ...] | tuple[str, ...]
Shape = tuple[int | None, ...]

TYPES: dict[int, torch.dtype] = {
    onnx.TensorProto.FLOAT: torch.float32,
    onnx.TensorProto.DOUBLE: torch.float64,
    onnx.TensorProto.FLOAT16: torch.float16,
    onnx.TensorProto.BFLOAT16: torch.bfloat16,
    onnx.TensorProto.INT8: torch.int8,
    onnx.TensorProto.INT16: torch.int16,
    onnx.TensorProto.INT32: torch.int32,
    onnx.TensorProto.INT64: torch.int64,
    onnx.TensorProto.UINT8: torch.uint8,
    onnx.TensorProto.UINT16: torch.uint16,
    onnx.TensorProto.UINT32: torch.uint32,
    onnx.TensorProto.UINT64: torch.uint64,
    onnx.TensorProto.BOOL: torch.bool,
}


def as_data(array: Array) -> Data:
    """A tensor where torch has the element type, else the array itself; text as Python strings."""
    if array.dtype.name == "bfloat16":
        return torch.from_numpy(array.view(np.int16).copy()).view(torch.bfloat16)
    try:
        return torch.from_numpy(np.array(array))
    except TypeError:
        return array.astype(object) if array.dtype.kind in "US" else array


@dataclass(frozen=True)
class Value:
    """A graph input or output.

    Attributes:
        dtype: None for a type that torch lacks.
        shape: a dimension that the file leaves open is None, an unstated shape is None.
    """

    name: str
    dtype: torch.dtype | None
    shape: Shape | None


@dataclass(frozen=True)
class Node:
    """One operator call; an omitted optional input or output has the name ''.

    Attributes:
        bodies: the graphs inside a Loop, Scan or If, by attribute.
        captured: what the bodies read from the graph around them, constants left out.
    """

    op_type: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Attribute]
    bodies: Mapping[str, Graph] = field(default_factory=dict)
    captured: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.op_type} ({self.name or 'unnamed'})"

    @property
    def reads(self) -> tuple[str, ...]:
        return (*self.inputs, *self.captured)


@dataclass(frozen=True)
class Graph:
    """A checked graph: nodes in execution order, constants by value name, real inputs, outputs, opset version."""

    nodes: tuple[Node, ...]
    constants: Mapping[str, Data]
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    opset: int
    limits: Limits = Limits()

    @property
    def captured(self) -> tuple[str, ...]:
        """Names that are read here and made in a graph around this one."""
        here = {"", *self.constants, *(value.name for value in self.inputs)}
        here.update(name for node in self.nodes for name in node.outputs)
        read = [name for node in self.nodes for name in node.reads]
        return tuple(dict.fromkeys(n for n in [*read, *(v.name for v in self.outputs)] if n not in here))

    def restricted_to(self, output: str) -> Graph:
        """The part of the graph that one output needs; a ZipMap at the end gives way to the probabilities it wraps."""
        value = next(v for v in self.outputs if v.name == output)
        maker = next((node for node in self.nodes if output in node.outputs), None)
        if maker is not None and maker.op_type == "ZipMap":
            value = Value(maker.inputs[0], torch.float32, None)
        needed, kept = {value.name}, []
        for node in reversed(self.nodes):
            if needed.intersection(filter(None, node.outputs)):
                needed.update(node.reads)
                kept.append(node)
        return dataclasses.replace(self, nodes=tuple(reversed(kept)), outputs=(value,))
