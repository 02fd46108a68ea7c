"""torch modules, TorchScript and torch.export programs to ONNX, by torch's own exporters."""

from __future__ import annotations

import importlib.util
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from explainers.converting.subject import SINGLE_PRECISION, Subject, Written, first_line, quiet
from explainers.dataset import Dataset
from explainers.errors import InvalidSetting, UnsupportedModel
from explainers.model import Model
from explainers.wrapping.torch_module import as_float32

OPSET = 18
EXAMPLES = 2
EXPORT_YOURSELF = (
    "Export it where it was made: torch.onnx.export(module, example, 'model.onnx', dynamo=True)."
)


class Answering(nn.Module):
    """A function from tensor to tensor as a module, so that whatever answers is asked like one."""

    def __init__(self, function: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.function = [
            function
        ]  # in a list: a program's module is no child, since it cannot be set to eval

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.function[0](x)


def subject(obj: Any, classes: tuple[Any, ...] | None) -> Subject:
    """A module, a script or an exported program."""
    if isinstance(obj, torch.export.ExportedProgram):
        return of_answers(_in_its_batch(obj), lambda _: _from_program(obj), classes)
    obj.eval()
    if isinstance(obj, torch.jit.ScriptModule):
        return of_answers(obj, lambda data: _from_script(obj, example(data)), classes)
    return of_answers(obj, lambda data: _from_module(obj, example(data)), classes)


def of_answers(
    answer: Callable[[torch.Tensor], Any],
    write: Callable[[Dataset | None], Written],
    classes: tuple[Any, ...] | None,
) -> Subject:
    """The subject for a function that does not say what its outputs are: what the ONNX file shows decides."""
    module = answer if type(answer) is nn.Module else Answering(answer)

    def alike(converted: Model) -> Model:
        probabilities = converted.space == "probability" and converted.raw_predictor is None
        return Model.wrap(module, converted.classes or None, output="probability" if probabilities else "raw")

    return Subject(Model.wrap(module, classes), write, alike)


def example(data: Dataset | None) -> torch.Tensor:
    """The first cases, as the module gets them; raises `InvalidSetting` without data and for text."""
    if data is None:
        raise InvalidSetting(
            "torch's exporter needs an example input. Name the data that the module works on."
        )
    try:
        return torch.tensor(as_float32(data.take(np.arange(min(EXAMPLES, len(data)))).X))
    except (ValueError, TypeError) as error:
        raise InvalidSetting(
            f"The module takes numbers; these data hold text ({str(error)[:80]}). Encode it first."
        ) from error


def _tried(module: Callable[[torch.Tensor], Any], x: torch.Tensor) -> None:
    try:
        with torch.inference_mode():
            answer = module(x.clone())
    except Exception as error:  # a module raises what its author likes
        raise InvalidSetting(
            f"The module cannot take cases of shape {tuple(x.shape[1:])}: {first_line(error)}. Are the target "
            "and other columns that are no inputs named?"
        ) from error
    if not isinstance(answer, torch.Tensor):
        raise UnsupportedModel(
            f"The module answers a {type(answer).__name__}, not one tensor of predictions. Wrap it in a module that does."
        )


def _from_module(module: nn.Module, x: torch.Tensor) -> Written:
    _require_onnxscript()
    _tried(module, x)
    batch = ({0: torch.export.Dim("batch", min=1)},)
    with quiet():
        try:
            program = torch.onnx.export(
                module, (x,), dynamo=True, dynamic_shapes=batch, opset_version=OPSET, input_names=["input"],
                verbose=False,
            )  # fmt: skip
        except Exception as error:  # the exporter runs the module's own code
            raise _failed(error) from error
    return _onnx(program)


def _from_program(program: Any) -> Written:
    _require_onnxscript()
    with quiet():
        try:
            return _onnx(torch.onnx.export(program, (), dynamo=True, opset_version=OPSET, verbose=False))
        except Exception as error:  # as above
            raise _failed(error) from error


def _from_script(script: Any, x: torch.Tensor) -> Written:
    """Only torch's older exporter takes scripts."""
    _tried(script, x)
    names: dict[str, Any] = {"input_names": ["input"], "dynamic_axes": {"input": {0: "batch"}}}
    with quiet(), tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        try:
            torch.onnx.export(script, (x,), path, dynamo=False, opset_version=OPSET, **names)
        except Exception as error:  # as above
            raise _failed(error) from error
        return Written(path.read_bytes(), ".onnx", "ONNX", SINGLE_PRECISION)


def _onnx(program: Any) -> Written:
    return Written(program.model_proto.SerializeToString(), ".onnx", "ONNX", SINGLE_PRECISION)


def _failed(error: Exception) -> UnsupportedModel:
    return UnsupportedModel(
        f"torch cannot export this model to ONNX: {first_line(error.__cause__ or error)}. {EXPORT_YOURSELF}"
    )


def _require_onnxscript() -> None:
    if importlib.util.find_spec("onnxscript") is None:
        raise UnsupportedModel("torch's ONNX exporter needs onnxscript. Install it: pip install onnxscript.")


def _in_its_batch(program: Any) -> Callable[[torch.Tensor], torch.Tensor]:
    """An exported program often takes one number of cases only: ask it in pieces of that, the last one filled up."""
    module = program.module()
    given = program.example_inputs
    size = None
    if given and given[0] and isinstance(given[0][0], torch.Tensor):
        first = next((n for n in program.graph.nodes if n.name in program.graph_signature.user_inputs), None)
        side = first.meta["val"].shape[0] if first is not None else None
        size = side if isinstance(side, int) else None

    def answer(x: torch.Tensor) -> torch.Tensor:
        if size is None:
            return module(x)  # type: ignore[no-any-return]
        lacking = -len(x) % size
        filled = torch.cat([x, x[-1:].expand(lacking, *x.shape[1:])]) if lacking else x
        return torch.cat([module(piece) for piece in torch.split(filled, size)])[: len(x)]

    return answer
