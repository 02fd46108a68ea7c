"""Is the torch evaluator right about this model? Compare it with onnxruntime on random inputs."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from explainers.onnx.errors import PREDICT_ONLY, UnsafeOnnx, UnsupportedOnnx
from explainers.onnx.graph import Data, Graph, Value
from explainers.onnx.module import GraphModule, OnnxModule
from explainers.onnx.operators import ML_OPERATORS, Operator
from explainers.onnx.silent import onnxruntime
from explainers.onnx.sizes import SizeGuard

TOLERANCE = 1e-4
HALF_TOLERANCE = 2e-2  # onnxruntime rounds every intermediate value to 11 bits, we round none
OPEN_SIZE = 5  # for a dimension other than the batch that the file leaves open, e.g. time


def check_against_runtime(
    module: OnnxModule,
    content: bytes,
    n: int = 4,
    seed: int = 0,
    tolerance: float | None = None,
    output: str | None = None,
) -> float:
    """Largest difference |ours - onnxruntime| / max(1, |onnxruntime|) over n random inputs.

    A file with a fixed batch size is run by onnxruntime in pieces of that size and by the module in one batch, which
    also shows whether its rows stay independent in a batch it was not exported for.

    Args:
        module: made from the same bytes.
        content: the ONNX file; it must have passed read_graph.
        n: inputs (rounded up to a multiple of the fixed batch).
        seed: of the random inputs: normal for real numbers, 0 or 1 for integers and truth values.
        tolerance: a larger difference raises; by default 1e-4, and 0.02 for a file in half precision, which is
            computed in single precision here.
        output: as the file names it, where it is not the module's own (a ZipMap of what the module answers).

    Raises:
        UnsupportedOnnx: one of the two cannot run the model, the shapes differ, or the tolerance is exceeded.
    """
    if tolerance is None:
        tolerance = HALF_TOLERANCE if module.is_half else TOLERANCE
    x = _random_input(module, n, seed)
    try:
        with (
            torch.no_grad(),
            SizeGuard(module.limits),
        ):  # first, so that onnxruntime is not asked for what is refused
            found = module(x)
        expected = _runtime_output(content, module, x, output or module.output_names[0])
    except UnsafeOnnx:
        raise
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


def require_gradient(module: OnnxModule) -> None:
    """Raise UnsupportedOnnx where the output does not follow small changes of the input (it looks up, rounds, compares)."""
    if not module.input_dtype.is_floating_point:
        return
    with torch.enable_grad():
        answer = module(_random_input(module, 1, 0).requires_grad_())
    if not answer.requires_grad:
        operators = [child for child in module.children() if isinstance(child, Operator)]
        stairs = sorted({operator.op_type for operator in operators if not operator.has_gradient})
        because = f" (it passes through {', '.join(stairs)})" if stairs else ""
        raise UnsupportedOnnx(
            f"The output has no gradient with respect to the input{because}: {PREDICT_ONLY}."
        )


def needs_dry_run(graph: Graph) -> bool:
    """Whether a graph has loops, or operators that read columns by number, which onnxruntime does not check."""
    return any(node.bodies or node.op_type in ML_OPERATORS for node in graph.nodes)


def dry_run(graph: Graph, seed: int = 0) -> None:
    """Run all of a graph once on two made-up rows, to see what its loops and trees ask for before onnxruntime is asked.

    Raises:
        UnsafeOnnx: a size or a number of turns over its limit, trees that read columns that there are not, or a graph
            that cannot be run here: what cannot be followed is not opened.
    """
    generator = torch.Generator().manual_seed(seed)
    try:
        with torch.no_grad(), SizeGuard(graph.limits):
            GraphModule(graph).evaluate({v.name: _made_up(v, generator) for v in graph.inputs})
    except UnsafeOnnx:
        raise
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise UnsafeOnnx(
            f"The model has loops or trees and fails on made-up inputs of its own shapes, so they cannot be checked: {reason} "
            "Export it again."
        ) from error


def _made_up(value: Value, generator: torch.Generator) -> Data:
    """Two rows of a fixed or open shape."""
    sides = value.shape if value.shape is not None else (None,)
    if value.shape is None or any(side is None for side in sides[1:]):
        raise UnsafeOnnx(
            f"The input '{value.name}' does not say how many columns it has, so the columns that its trees or loops read "
            "cannot be checked. Export the model with all sizes but the batch."
        )
    shape = [side or 2 for side in sides]
    if value.dtype is None:
        return np.full(shape, "0", dtype=object)
    if value.dtype.is_floating_point:
        return torch.randn(shape, generator=generator).to(value.dtype)
    return torch.randint(0, 2, shape, generator=generator).to(value.dtype)


def _random_input(module: OnnxModule, n: int, seed: int) -> Tensor:
    batch = module.declared_batch or 1
    rows = -(-n // batch) * batch
    shape = (rows, *[size or OPEN_SIZE for size in module.input_shape[1:]])
    generator = torch.Generator().manual_seed(seed)
    if module.input_dtype.is_floating_point:
        return torch.randn(shape, generator=generator).to(module.input_dtype)
    return torch.randint(0, 2, shape, generator=generator).to(module.input_dtype)


def _runtime_output(content: bytes, module: OnnxModule, x: Tensor, output: str) -> Tensor:
    session = runtime_session(content, threads=1)
    step = module.declared_batch or len(x)
    pieces = [x[i : i + step] for i in range(0, len(x), step)]
    feeds = [{name: _array(v) for name, v in module.in_file_types(piece).items()} for piece in pieces]
    run = [_numbers(session.run([output], feed)[0]) for feed in feeds]
    joined: NDArray[np.float32] = np.concatenate(run) if len(run) > 1 else run[0]
    return torch.from_numpy(np.asarray(joined, dtype=np.float32))


def _array(value: Data) -> NDArray[Any]:
    return value.numpy(force=True) if isinstance(value, Tensor) else value


def _numbers(answer: Any) -> NDArray[Any]:
    """A ZipMap answers one dictionary for each row."""
    if isinstance(answer, list):
        return np.array([list(row.values()) for row in answer], dtype=np.float32)
    return np.asarray(answer)


def runtime_session(content: bytes, threads: int) -> onnxruntime.InferenceSession:
    """onnxruntime on the bytes that read_graph passed, and on nothing that they name."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    # Else its threads spin between two calls, five times the processor time of a small network's answer.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # The level above it rearranges half precision, and ends the process on a transformer in 16 bits (1.31.1).
    levels = onnxruntime.GraphOptimizationLevel
    options.graph_optimization_level = getattr(levels, "ORT_ENABLE_LAYOUT", levels.ORT_ENABLE_ALL)
    # Else bytes with a certain producer name are read as onnxruntime's own format, past all checks of ONNX.
    options.add_session_config_entry("session.load_model_format", "ONNX")
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def _scaled_difference(found: Tensor, expected: Tensor) -> float:
    same = (found == expected) | (found.isnan() & expected.isnan())
    scaled = (found - expected).abs() / expected.abs().clamp(min=1.0)
    return float(torch.where(same, 0.0, scaled).max()) if len(same.reshape(-1)) else 0.0
