"""What is left of an ONNX file once it has been read: frozen values, tensors already in torch.

>>> Node("Relu", "", ("x",), ("y",), {}).outputs
('y',)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import onnx
import torch
from torch import Tensor

from explainers.onnx.errors import PREDICT_ONLY, UnsupportedOnnx

Attribute = int | float | str | Tensor | tuple[int, ...] | tuple[float, ...] | tuple[str, ...]
Shape = tuple[int | None, ...]

TYPES: dict[int, torch.dtype] = {
    onnx.TensorProto.FLOAT: torch.float32,
    onnx.TensorProto.DOUBLE: torch.float64,
    onnx.TensorProto.FLOAT16: torch.float16,
    onnx.TensorProto.INT8: torch.int8,
    onnx.TensorProto.INT16: torch.int16,
    onnx.TensorProto.INT32: torch.int32,
    onnx.TensorProto.INT64: torch.int64,
    onnx.TensorProto.UINT8: torch.uint8,
    onnx.TensorProto.BOOL: torch.bool,
}


def torch_type(code: int) -> torch.dtype:
    """The torch type of an ONNX element type code; raises UnsupportedOnnx for strings, float8 and the like."""
    if code not in TYPES:
        known = code in onnx.TensorProto.DataType.values()
        name = onnx.TensorProto.DataType.Name(code) if known else str(code)
        allowed = ", ".join(str(kind).removeprefix("torch.") for kind in TYPES.values())
        raise UnsupportedOnnx(
            f"The element type {name} is not evaluated here (but {allowed} are): {PREDICT_ONLY}."
        )
    return TYPES[code]


@dataclass(frozen=True)
class Value:
    """A graph input or output; a dimension that the file leaves open is None, an unstated shape is None."""

    name: str
    dtype: torch.dtype
    shape: Shape | None


@dataclass(frozen=True)
class Node:
    """One operator call; an omitted optional input or output has the name ''."""

    op_type: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Attribute]

    def __str__(self) -> str:
        return f"{self.op_type} ({self.name or 'unnamed'})"


@dataclass(frozen=True)
class Graph:
    """A checked graph: nodes in execution order, constants by value name, real inputs, outputs, opset version."""

    nodes: tuple[Node, ...]
    constants: Mapping[str, Tensor]
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    opset: int
