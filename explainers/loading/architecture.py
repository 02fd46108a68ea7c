"""A declared architecture: layers as data, never code. The weights come from a file; nothing is allocated before.

>>> spec = Architecture.model_validate({"layers": [{"layer": "Linear", "in_features": 2, "out_features": 1}]})
>>> build(spec)[0].in_features
2
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic
import torch
from torch import nn

from explainers.errors import UnreadableFile, UnsupportedModel
from explainers.loading.limits import Limits
from explainers.loading.sources import read

MAX_BYTES = 4 * 2**20
MOST_LAYERS = 2_000

Size = Annotated[int, pydantic.Field(ge=1, le=1 << 20)]
Count = Annotated[int, pydantic.Field(ge=0, le=1 << 16)]
Pair = Size | tuple[Size, Size]
Padding = Count | tuple[Count, Count] | Literal["same", "valid"]
PlainPadding = Count | tuple[Count, Count]


class Layer(pydantic.BaseModel):
    """One layer. `weights` is the prefix of its tensors in the file; by default its position in the list."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)

    layer: str
    weights: str | None = None

    def make(self) -> nn.Module:
        """The torch layer of that name with these settings."""
        settings = {
            name: getattr(self, name) for name in type(self).model_fields if name not in ("layer", "weights")
        }
        made: nn.Module = getattr(nn, self.layer)(**settings)
        return made


class Plain(Layer):
    layer: Literal[
        "Identity", "ReLU", "ReLU6", "SELU", "SiLU", "Mish", "Tanh", "Sigmoid", "LogSigmoid", "Softplus", "Softsign",
        "Hardswish", "Hardsigmoid", "Hardtanh", "Tanhshrink",
    ]  # fmt: skip


class Slope(Layer):
    layer: Literal["LeakyReLU"]
    negative_slope: float = 0.01


class Elu(Layer):
    layer: Literal["ELU", "CELU"]
    alpha: float = 1.0


class Gelu(Layer):
    layer: Literal["GELU"]
    approximate: Literal["none", "tanh"] = "none"


class LearnedSlope(Layer):
    layer: Literal["PReLU"]
    num_parameters: Size = 1


class Softmax(Layer):
    layer: Literal["Softmax", "LogSoftmax"]
    dim: Literal[1, -1] = 1


class Linear(Layer):
    layer: Literal["Linear"]
    in_features: Size
    out_features: Size
    bias: bool = True


class Conv(Layer):
    layer: Literal["Conv1d", "Conv2d"]
    in_channels: Size
    out_channels: Size
    kernel_size: Pair
    stride: Pair = 1
    padding: Padding = 0
    dilation: Pair = 1
    groups: Size = 1
    bias: bool = True


class BatchNorm(Layer):
    layer: Literal["BatchNorm1d", "BatchNorm2d"]
    num_features: Size
    eps: float = 1e-5
    affine: bool = True


class InstanceNorm(Layer):
    layer: Literal["InstanceNorm1d", "InstanceNorm2d"]
    num_features: Size
    eps: float = 1e-5
    affine: bool = False


class LayerNorm(Layer):
    layer: Literal["LayerNorm"]
    normalized_shape: Size | list[Size]
    eps: float = 1e-5
    elementwise_affine: bool = True
    bias: bool = True


class GroupNorm(Layer):
    layer: Literal["GroupNorm"]
    num_groups: Size
    num_channels: Size
    eps: float = 1e-5
    affine: bool = True


class Dropout(Layer):
    layer: Literal["Dropout", "Dropout1d", "Dropout2d", "AlphaDropout"]
    p: Annotated[float, pydantic.Field(ge=0, le=1)] = 0.5


class MaxPool(Layer):
    layer: Literal["MaxPool1d", "MaxPool2d"]
    kernel_size: Pair
    stride: Pair | None = None
    padding: PlainPadding = 0
    ceil_mode: bool = False


class AveragePool(Layer):
    layer: Literal["AvgPool1d", "AvgPool2d"]
    kernel_size: Pair
    stride: Pair | None = None
    padding: PlainPadding = 0
    ceil_mode: bool = False
    count_include_pad: bool = True


class AdaptivePool(Layer):
    layer: Literal["AdaptiveAvgPool1d", "AdaptiveAvgPool2d", "AdaptiveMaxPool1d", "AdaptiveMaxPool2d"]
    output_size: Pair


class Pad(Layer):
    layer: Literal["ZeroPad2d", "ReflectionPad2d", "ReplicationPad2d"]
    padding: Count | tuple[Count, Count, Count, Count]


class Flatten(Layer):
    layer: Literal["Flatten"]
    start_dim: Count = 1
    end_dim: int = -1


class Unflatten(Layer):
    layer: Literal["Unflatten"]
    dim: Literal[1] = 1
    unflattened_size: tuple[Size, ...]


class Upsample(Layer):
    layer: Literal["Upsample"]
    scale_factor: Annotated[float, pydantic.Field(gt=0, le=16)]
    mode: Literal["nearest", "bilinear", "linear"] = "nearest"


KINDS = (
    Plain, Slope, Elu, Gelu, LearnedSlope, Softmax, Linear, Conv, BatchNorm, InstanceNorm, LayerNorm, GroupNorm,
    Dropout, MaxPool, AveragePool, AdaptivePool, Pad, Flatten, Unflatten, Upsample,
)  # fmt: skip
KNOWN: dict[str, type[Layer]] = {
    name: kind
    for kind in KINDS
    for name in kind.model_fields["layer"].annotation.__args__  # type: ignore[union-attr]
}


class Architecture(pydantic.BaseModel):
    """The layers in order, and what is known of the two ends.

    `input` is the number of columns or the shape of one case; `features` names the columns; `classes` the outputs;
    `output` says whether they are probabilities, raw scores or target values where the last layer does not.
    """

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)

    layers: Annotated[list[Any], pydantic.Field(min_length=1, max_length=MOST_LAYERS)]
    input: Size | tuple[Size, ...] | None = None
    features: tuple[str, ...] | None = None
    classes: tuple[str | int, ...] | None = None
    output: Literal["auto", "probability", "raw", "target"] = "auto"

    @pydantic.field_validator("layers")
    @classmethod
    def _known(cls, layers: list[Any]) -> list[Layer]:
        return [_layer(position, layer) for position, layer in enumerate(layers)]


def _layer(position: int, layer: Any) -> Layer:
    if isinstance(layer, Layer):
        return layer
    name = layer.get("layer") if isinstance(layer, dict) else None
    if not isinstance(name, str) or name not in KNOWN:
        raise ValueError(f"layer {position} is {name!r}; known layers are {', '.join(sorted(KNOWN))}")
    try:
        return KNOWN[name].model_validate(layer)
    except pydantic.ValidationError as error:
        raise ValueError(f"layer {position} ({name}): {_sentences(error)}") from error


def _sentences(error: pydantic.ValidationError) -> str:
    lines = []
    for single in error.errors()[:5]:
        place = ".".join(str(part) for part in single["loc"][:1])
        lines.append(f"{place}: {single['msg']}" if place else single["msg"])
    return "; ".join(dict.fromkeys(lines)).replace("Value error, ", "")


def declared(architecture: Any) -> Architecture:
    """An architecture from a dictionary, a JSON file's path, or its bytes; raises `UnsupportedModel` saying what is wrong."""
    if isinstance(architecture, Architecture):
        return architecture
    if isinstance(architecture, (str, bytes, os.PathLike)):
        architecture = _from_json(architecture)
    try:
        if isinstance(architecture, list):
            architecture = {"layers": architecture}
        return Architecture.model_validate(architecture)
    except pydantic.ValidationError as error:
        raise UnsupportedModel(f"The declared architecture is not valid: {_sentences(error)}.") from error


def _from_json(source: str | bytes | os.PathLike[str]) -> Any:
    name = "architecture" if isinstance(source, bytes) else Path(source).name
    content = read(source, name, "model_bytes", Limits(model_bytes=MAX_BYTES)).content
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise UnreadableFile(f"The architecture {name!r} is not valid JSON: {error}.") from error


def build(architecture: Architecture) -> nn.Sequential:
    """The layers in a row, without any memory for their weights."""
    made = []
    for position, layer in enumerate(architecture.layers):
        try:
            with torch.device("meta"):
                made.append(layer.make())
        except (ValueError, TypeError, RuntimeError) as error:
            raise UnsupportedModel(
                f"The declared architecture is not valid: layer {position} ({layer.layer}): {error}."
            ) from error
    return nn.Sequential(*made).eval()


def prefixes(architecture: Architecture) -> dict[str, str]:
    """Position of a layer -> prefix of its tensors in the file."""
    return {
        str(i): str(i) if layer.weights is None else layer.weights.rstrip(".")
        for i, layer in enumerate(architecture.layers)
    }
