"""Small networks as files, made by hand from a seed: the same layers as ONNX, as safetensors and as torch weights."""

from __future__ import annotations

import io
import itertools
from typing import Any

import numpy as np
import pandas as pd

import explainers as ex


def network(columns: int, hidden: int = 64, classes: int = 2, seed: int = 0) -> dict[str, np.ndarray]:
    """Weights ``(out, in)`` and biases of three layers."""
    rng = np.random.default_rng(seed)
    sizes = (columns, hidden, hidden, classes)
    layers: dict[str, np.ndarray] = {}
    for i, (taken, given) in enumerate(itertools.pairwise(sizes)):
        layers[f"l{i}.weight"] = (rng.normal(size=(given, taken)) / taken**0.5).astype(np.float32)
        layers[f"l{i}.bias"] = rng.normal(size=given).astype(np.float32)
    return layers


def as_onnx(layers: dict[str, np.ndarray]) -> bytes:
    """Gemm, Relu, Gemm, Relu, Gemm, Softmax."""
    from onnx import TensorProto, helper, numpy_helper

    nodes, last, count = [], "x", len(layers) // 2
    for i in range(count):
        nodes.append(
            helper.make_node("Gemm", [last, f"l{i}.weight", f"l{i}.bias"], [last := f"g{i}"], transB=1)
        )
        if i < count - 1:
            nodes.append(helper.make_node("Relu", [last], [last := f"r{i}"]))
    nodes.append(helper.make_node("Softmax", [last], ["y"], axis=-1))
    sides = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", size])
        for name, size in (("x", layers["l0.weight"].shape[1]), ("y", len(layers[f"l{count - 1}.bias"])))
    ]
    held = [numpy_helper.from_array(value, name) for name, value in layers.items()]
    graph = helper.make_graph(nodes, "network", sides[:1], sides[1:], held)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(made.SerializeToString())


def as_safetensors(layers: dict[str, np.ndarray]) -> bytes:
    """The weights alone."""
    from safetensors.numpy import save

    return bytes(save(layers))


def as_torch(layers: dict[str, np.ndarray]) -> bytes:
    """The weights alone, as torch saves them."""
    import torch

    buffer = io.BytesIO()
    torch.save({name: torch.from_numpy(value) for name, value in layers.items()}, buffer)
    return buffer.getvalue()


def architecture(layers: dict[str, np.ndarray]) -> dict[str, Any]:
    """What the weights' files do not say."""
    count, parts = len(layers) // 2, []
    for i in range(count):
        given, taken = layers[f"l{i}.weight"].shape
        parts += [{"layer": "Linear", "in_features": taken, "out_features": given, "weights": f"l{i}"}]
        parts += [{"layer": "ReLU" if i < count - 1 else "Softmax"}]
    return {"layers": parts}


def data(rows: int, columns: int, seed: int = 1) -> ex.Dataset:
    """A table of numbers."""
    values = np.random.default_rng(seed).normal(size=(rows, columns))
    return ex.Dataset.from_frame(pd.DataFrame(values, columns=[f"f{i}" for i in range(columns)]))
