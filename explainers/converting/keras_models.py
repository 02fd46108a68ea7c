"""Keras models to ONNX by Keras's own exporter; pictures are given with channels first, as everywhere here."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper

from explainers.converting.subject import SINGLE_PRECISION, Subject, Written, first_line, quiet
from explainers.converting.torch_modules import of_answers
from explainers.dataset import Dataset
from explainers.errors import UnsupportedModel

LAST = (0, 2, 3, 1)  # from channels first to channels last
OPEN_SIDE = 8  # for a side that the model leaves open, when it is called once


def subject(model: Any, classes: tuple[Any, ...] | None) -> Subject:
    """A Keras model with one input; raises `UnsupportedModel` for several."""
    shape = model.input_shape
    if not isinstance(shape, tuple) or isinstance(model.output_shape, (list, dict)):
        raise UnsupportedModel(
            "This Keras model has several inputs or outputs. Export one with a single input and a single output."
        )
    found = of_answers(_asked(model, shape), lambda data: _written(model, shape, data), classes)
    return Subject(found.model, found.write, found.alike, shape[1] if len(shape) == 2 else None)


def _channels_last(shape: tuple[int | None, ...]) -> bool:
    return len(shape) == 4 and shape[3] in (1, 3, 4) and shape[1] not in (1, 3, 4)


def _asked(model: Any, shape: tuple[int | None, ...]) -> Callable[[torch.Tensor], torch.Tensor]:
    def answer(x: torch.Tensor) -> torch.Tensor:
        import keras

        values = x.cpu().numpy()
        if _channels_last(shape):
            values = np.transpose(values, LAST)
        elif values.ndim == len(shape) + 1:  # pictures for a model that takes them without channels
            values = values[:, 0]
        return torch.from_numpy(np.array(keras.ops.convert_to_numpy(model(values, training=False))))

    return answer


def _written(model: Any, shape: tuple[int | None, ...], data: Dataset | None) -> Written:
    content = _exported(model, shape)
    if _channels_last(shape):
        note = "Its pictures had channels last; the ONNX file takes them first."
        return Written(with_channels_first(content), ".onnx", "ONNX", SINGLE_PRECISION, (note,))
    if len(shape) == 3 and data is not None and data.modality == "image":
        note = "Its pictures had no channel; the ONNX file takes one."
        return Written(with_one_channel(content), ".onnx", "ONNX", SINGLE_PRECISION, (note,))
    return Written(content, ".onnx", "ONNX", SINGLE_PRECISION)


def _exported(model: Any, shape: tuple[int | None, ...]) -> bytes:
    sides = [OPEN_SIDE if side is None else side for side in shape[1:]]
    with tempfile.TemporaryDirectory() as folder, quiet():
        path = Path(folder) / "model.onnx"
        try:
            model(np.zeros((2, *sides), dtype=np.float32))  # the exporter wants a model that was called
            model.export(path, format="onnx", verbose=False)
        except ImportError as error:
            raise UnsupportedModel(
                f"Keras's ONNX exporter is not complete: {error}. Install what it names, or: pip install onnxscript."
            ) from error
        except Exception as error:  # the exporter runs the model's own layers
            raise UnsupportedModel(f"Keras cannot export this model to ONNX: {first_line(error)}.") from error
        return path.read_bytes()


def with_channels_first(content: bytes) -> bytes:
    """The same ONNX model for ``(n, c, h, w)`` instead of ``(n, h, w, c)``: a transposition before its input."""
    return _before(content, lambda n, h, w, c: [n, c, h, w], "Transpose", perm=LAST)


def with_one_channel(content: bytes) -> bytes:
    """The same ONNX model for ``(n, 1, h, w)`` instead of ``(n, h, w)``."""
    return _before(content, lambda n, h, w: [n, 1, h, w], "Squeeze")


def _before(content: bytes, shape: Callable[..., list[Any]], operator: str, **attributes: Any) -> bytes:
    """One operator between a new input of another shape and what was the input."""
    model = onnx.ModelProto.FromString(content)
    graph = model.graph
    old = graph.input[0]
    sides = shape(*(side.dim_param or side.dim_value or None for side in old.type.tensor_type.shape.dim))
    used = {name for node in graph.node for name in (*node.input, *node.output)}
    name = next(f"pictures{'_' * i}" for i in range(len(used) + 2) if f"pictures{'_' * i}" not in used)
    given = [name]
    if operator == "Squeeze":
        axes = f"{name}_axes"
        graph.initializer.append(helper.make_tensor(axes, TensorProto.INT64, [1], [1]))
        given.append(axes)
    graph.node.insert(0, helper.make_node(operator, given, [old.name], **attributes))
    old.CopyFrom(helper.make_tensor_value_info(name, old.type.tensor_type.elem_type, sides))
    return bytes(model.SerializeToString())
