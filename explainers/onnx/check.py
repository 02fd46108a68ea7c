"""Is the torch evaluator right about this model? Compare it with onnxruntime on random inputs."""

from __future__ import annotations

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor

from explainers.onnx.errors import PREDICT_ONLY, UnsupportedOnnx
from explainers.onnx.module import OnnxModule

OPEN_SIZE = 5  # for a dimension other than the batch that the file leaves open, e.g. time


def check_against_runtime(
    module: OnnxModule, content: bytes, n: int = 4, seed: int = 0, tolerance: float = 1e-4
) -> float:
    """Largest difference |ours - onnxruntime| / max(1, |onnxruntime|) over n random inputs.

    A file with a fixed batch size is run by onnxruntime in pieces of that size and by the module in one batch, which
    also shows whether its rows stay independent in a batch it was not exported for.

    Args:
        module: made from the same bytes.
        content: the ONNX file; it must have passed read_graph.
        n: inputs (rounded up to a multiple of the fixed batch).
        seed: of the random inputs: normal for real numbers, 0 or 1 for integers and truth values.
        tolerance: a larger difference raises.

    Raises:
        UnsupportedOnnx: one of the two cannot run the model, the shapes differ, or the tolerance is exceeded.
    """
    x = _random_input(module, n, seed)
    try:
        expected = _runtime_output(content, module, x)
        with torch.no_grad():
            found = module(x)
    except Exception as error:
        note = "".join(f" ({text})" for text in getattr(error, "__notes__", ()))
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UnsupportedOnnx(
            f"The model could not be run for comparison: {reason}{note}. {PREDICT_ONLY}."
        ) from error
    if found.shape != expected.shape:
        raise UnsupportedOnnx(
            f"In torch the output has the shape {tuple(found.shape)}, in onnxruntime {tuple(expected.shape)}: "
            f"{PREDICT_ONLY}. Export the model with a batch axis of open size."
        )
    error_found = _scaled_difference(found, expected)
    if not error_found <= tolerance:
        raise UnsupportedOnnx(
            f"The evaluation in torch differs from onnxruntime by {error_found:.2g}, over the tolerance "
            f"{tolerance:.2g}: {PREDICT_ONLY}."
        )
    return error_found


def _random_input(module: OnnxModule, n: int, seed: int) -> Tensor:
    batch = module.declared_batch or 1
    rows = -(-n // batch) * batch
    shape = (rows, *[size or OPEN_SIZE for size in module.input_shape[1:]])
    generator = torch.Generator().manual_seed(seed)
    if module.input_dtype.is_floating_point:
        return torch.randn(shape, generator=generator).to(module.input_dtype)
    return torch.randint(0, 2, shape, generator=generator).to(module.input_dtype)


def _runtime_output(content: bytes, module: OnnxModule, x: Tensor) -> Tensor:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    step = module.declared_batch or len(x)
    pieces = [x[i : i + step] for i in range(0, len(x), step)]
    run = [session.run([module.output_names[0]], {module.input_name: piece.numpy()})[0] for piece in pieces]
    joined: NDArray[np.float32] = np.concatenate(run) if len(run) > 1 else run[0]
    return torch.from_numpy(np.asarray(joined, dtype=np.float32))


def _scaled_difference(found: Tensor, expected: Tensor) -> float:
    same = (found == expected) | (found.isnan() & expected.isnan())
    scaled = (found - expected).abs() / expected.abs().clamp(min=1.0)
    return float(torch.where(same, 0.0, scaled).max()) if len(same.reshape(-1)) else 0.0
