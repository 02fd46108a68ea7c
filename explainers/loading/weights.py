"""Bare weights (safetensors, torch state dicts) with a declared architecture."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import torch
from torch import Tensor, nn

from explainers.digest import digest_of
from explainers.errors import UnreadableFile, UnsupportedModel
from explainers.explanation import Output
from explainers.loading import safetensors_files, torch_files
from explainers.loading.architecture import Architecture, build, declared, prefixes
from explainers.loading.policy import refuse
from explainers.loading.sources import File
from explainers.model import Model
from explainers.schema import _listed

EXAMPLE = '{"layers": [{"layer": "Linear", "in_features": 8, "out_features": 1, "weights": "fc"}]}'


def load(
    file: File, architecture: Any, classes: tuple[Any, ...] | None, kind: str, output: Output = "auto"
) -> Model:
    """A module from declared layers and the weights of a file."""
    tensors = safetensors_files.read_tensors(file) if kind == "safetensors" else _state_dict(file)
    if architecture is None:
        raise UnsupportedModel(
            f"{file.name!r} holds weights only ({_listed(tensors)}). Declare the layers they belong to: "
            f"load_model(path, architecture={EXAMPLE}), or a JSON file with the same content."
        )
    plan = declared(architecture)
    module = build(plan)
    _fill(module, plan, tensors)
    ending = type(module[-1]).__name__
    outputs = _outputs(module, plan)
    names = (classes or plan.classes) if output != "target" else None
    ends = ending in ("Softmax", "LogSoftmax", "Sigmoid") and output == "auto"
    if names is None and (ends or plan.output == "probability" or output in ("probability", "raw")):
        names = tuple(str(i) for i in range(max(2, outputs or 2)))
    if names is not None and outputs is not None and len(names) != max(2, outputs):
        raise UnsupportedModel(
            f"The architecture has {max(2, outputs)} classes; {len(names)} names were given."
        )
    model = Model.wrap(module, names, output=plan.output if output == "auto" else output)
    return dataclasses.replace(
        model,
        labels=tuple(range(len(names))) if names else (),
        family=f"torch network ({len(plan.layers)} declared layers)",
        features=plan.features,
        inputs=_inputs(plan),
        digest=digest_of(
            file.content, json.dumps(plan.model_dump(mode="json", exclude_defaults=True), sort_keys=True)
        ),
    )


def _state_dict(file: File) -> dict[str, Tensor]:
    """The tensors of a torch file; other contents are refused."""
    try:
        found, tensor = torch_files.read(file)
    except torch_files.Foreign as error:
        raise refuse(file.name, "torch module") from error
    if isinstance(found, dict) and isinstance(found.get("state_dict"), dict):
        found = found["state_dict"]
    if (
        not isinstance(found, dict)
        or not found
        or not all(isinstance(v, torch_files.View) and isinstance(k, str) for k, v in found.items())
    ):
        raise UnsupportedModel(
            f"{file.name!r} is a torch file without a state dict. Save torch.save(module.state_dict(), path)."
        )
    return {name: tensor(view) for name, view in found.items()}


def _fill(module: nn.Sequential, plan: Architecture, tensors: dict[str, Tensor]) -> None:
    """Every tensor into its place; names what is missing, left over or of another shape."""
    renamed = prefixes(plan)
    wanted = {}
    for name, tensor in module.state_dict().items():
        position, _, rest = name.partition(".")
        wanted[f"{renamed[position]}.{rest}" if renamed[position] else rest] = (name, tensor.shape)
    counters = {name for name in wanted if name.endswith("num_batches_tracked")}
    missing = [name for name in wanted if name not in tensors and name not in counters]
    unexpected = sorted(name for name in tensors if name not in wanted)
    if missing or unexpected:
        raise UnsupportedModel(
            "The weights do not belong to the declared architecture. "
            + (f"Missing in the file: {_listed(missing)}. " if missing else "")
            + (f"In the file but not declared: {_listed(unexpected)}. " if unexpected else "")
            + "Correct the layers or their 'weights' prefixes."
        )
    strange = [
        f"{name} is {tuple(tensors[name].shape)} in the file and {tuple(shape)} declared"
        for name, (_, shape) in wanted.items()
        if name not in counters and tensors[name].shape != shape
    ]
    if strange:
        raise UnsupportedModel(f"Tensors have another shape than declared: {'; '.join(strange[:5])}.")
    state = {inner: _real(name, tensors.get(name)) for name, (inner, _) in wanted.items()}
    module.load_state_dict(state, strict=True, assign=True)


def _real(name: str, tensor: Tensor | None) -> Tensor:
    if name.endswith("num_batches_tracked"):
        return torch.zeros((), dtype=torch.int64)
    if tensor is None or not tensor.is_floating_point():
        raise UnsupportedModel(
            f"{name!r} holds {'nothing' if tensor is None else tensor.dtype}, not real numbers. Save the weights unquantised."
        )
    if not torch.isfinite(tensor).all():
        raise UnreadableFile(
            f"{name!r} holds NaN or infinity: the weights are damaged, or training went wrong."
        )
    return tensor.detach().clone().to(torch.float32)


def _inputs(plan: Architecture) -> int | tuple[int | None, ...] | None:
    """The shape of one case: as declared, or from a first layer that fixes it."""
    if plan.input is not None:
        return plan.input[0] if isinstance(plan.input, tuple) and len(plan.input) == 1 else plan.input
    if plan.features is not None:
        return len(plan.features)
    for layer in plan.layers:
        if layer.layer == "Linear":
            return int(layer.in_features)
        if layer.layer == "Conv2d":
            return (layer.in_channels, None, None)
        if layer.layer in ("Flatten", "Conv1d", "Unflatten") or "Pool" in layer.layer:
            return None
        if layer.layer == "BatchNorm2d":
            return (layer.num_features, None, None)
    return None


def _outputs(module: nn.Sequential, plan: Architecture) -> int | None:
    """How many outputs; tries one case through the layers where its shape is known, and names the layer that fails."""
    shape = _inputs(plan)
    sides = tuple(side for side in (shape if isinstance(shape, tuple) else (shape,)) if side is not None)
    if not sides or (isinstance(shape, tuple) and len(sides) < len(shape)):
        last = next((layer for layer in reversed(plan.layers) if layer.layer == "Linear"), None)
        return None if last is None else int(last.out_features)
    value = torch.zeros((2, *sides))
    with torch.no_grad():
        for position, (layer, child) in enumerate(zip(plan.layers, module, strict=True)):
            try:
                value = child(value)
            except (RuntimeError, ValueError, IndexError) as error:
                raise UnsupportedModel(
                    f"The declared layers do not fit together: layer {position} ({layer.layer}) cannot take "
                    f"{tuple(value.shape[1:])}. {str(error).splitlines()[0][:150]}"
                ) from error
    if value.ndim != 2:
        raise UnsupportedModel(
            f"The declared layers end in shape {tuple(value.shape[1:])}, not in one row of outputs. Add a Flatten layer."
        )
    return int(value.shape[1])
