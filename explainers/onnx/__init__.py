"""ONNX graphs run in torch, so that an uploaded model has gradients and its intermediate values can be seen."""

from __future__ import annotations

from explainers.onnx.check import check_against_runtime
from explainers.onnx.errors import UnsafeOnnx, UnsupportedOnnx
from explainers.onnx.graph import Graph
from explainers.onnx.module import OnnxModule
from explainers.onnx.reading import read_graph

__all__ = ["Graph", "OnnxModule", "UnsafeOnnx", "UnsupportedOnnx", "check_against_runtime", "read_graph"]
