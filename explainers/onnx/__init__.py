"""ONNX graphs run in torch, so that an uploaded model has gradients and its intermediate values can be seen."""

from __future__ import annotations

from explainers.onnx.check import (
    check_against_runtime,
    dry_run,
    needs_dry_run,
    require_gradient,
    runtime_session,
)
from explainers.onnx.errors import UnsafeOnnx, UnsupportedOnnx
from explainers.onnx.graph import Graph
from explainers.onnx.module import OnnxModule
from explainers.onnx.reading import read_graph

__all__ = [
    "Graph",
    "OnnxModule",
    "UnsafeOnnx",
    "UnsupportedOnnx",
    "check_against_runtime",
    "dry_run",
    "needs_dry_run",
    "read_graph",
    "require_gradient",
    "runtime_session",
]
