"""Units of a module: its outputs, the channels of a layer, or one place of each channel; how much they respond to pictures."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from explainers.errors import InvalidSetting, ModelFailure
from explainers.gradients.capture import kept_output
from explainers.gradients.layers import MapLayer, map_layer
from explainers.gradients.scores import Score
from explainers.lazily import lazily

if TYPE_CHECKING:
    import torch
else:
    torch = lazily("torch")


@dataclass(frozen=True, eq=False)
class Units:
    """Units of a module, while it is on the device of the computation.

    Attributes:
        respond: responses of all outputs or channels ``(n, u)`` to pictures ``(n, c, h, w)``, with a graph.
        columns: which of them are wanted, ``(k,)``.
        names, targets: one for each of those; the targets of outputs are their labels.
        layer: where they are, ``""`` for outputs.
    """

    respond: Callable[[torch.Tensor], Float[torch.Tensor, "n u"]]
    columns: np.ndarray
    names: tuple[str, ...]
    targets: tuple[Any, ...]
    layer: str = ""


@contextlib.contextmanager
def channel_units(
    score: Score,
    name: str | None,
    channel: int | None,
    position: tuple[int, int] | None,
    picture: Float[torch.Tensor, "1 c h w"],
) -> Iterator[Units]:
    """One channel of a layer (or all): its mean over the map, or its value at a position ``(row, column)``.

    Features of a dense layer are channels without places. Raises `InvalidSetting` for an unknown layer, a channel or a position
    that it does not have, or a layer that gives neither maps nor features.
    """
    layer = map_layer(score, name, picture, complete=False)
    with kept_output(layer.module) as call:

        def maps(x: torch.Tensor) -> torch.Tensor:
            call.output = None
            score(x)
            output = call.output
            features = output is not None and output.ndim == 2 and len(output) == len(x)
            return output[:, :, None, None] if features else layer.maps(layer.checked(output, len(x)))  # type: ignore[index]

        with torch.no_grad():
            shape = tuple(maps(picture).shape[1:])
        _check(layer, shape, channel, position)

        def respond(x: torch.Tensor) -> torch.Tensor:
            found = maps(x)
            found = found.mean(dim=(2, 3)) if position is None else found[:, :, position[0], position[1]]
            if not torch.isfinite(found).all():
                raise ModelFailure(
                    f"The layer {layer.name!r} gave NaN or infinity for some of {len(x)} pictures."
                )
            return found

        columns = np.arange(shape[0]) if channel is None else np.array([channel])
        place = "" if position is None else f" at {position}"
        names = tuple(f"channel {j}{place}" for j in columns)
        yield Units(respond, columns, names, names, layer.name)


def _check(
    layer: MapLayer, shape: tuple[int, ...], channel: int | None, position: tuple[int, int] | None
) -> None:
    channels, height, width = shape
    if channel is not None and not 0 <= channel < channels:
        raise InvalidSetting(
            f"The layer {layer.name!r} has no channel {channel}; it has the channels 0..{channels - 1}."
        )
    if position is not None and not (0 <= position[0] < height and 0 <= position[1] < width):
        raise InvalidSetting(
            f"The position {position} lies outside the map of the layer {layer.name!r}, which has rows 0..{height - 1} and "
            f"columns 0..{width - 1}."
        )


def channel_layers(module: torch.nn.Module) -> tuple[tuple[str, int], ...]:
    """Names of the convolutions and dense layers of a module, in order, and how many channels or features each gives."""
    found = ((name, _channels(child)) for name, child in module.named_modules())
    return tuple((name, count) for name, count in found if name and count)


def _channels(layer: torch.nn.Module) -> int:
    """Of a convolution over pictures or a dense layer, also of an ONNX file; 0 of any other."""
    if isinstance(layer, torch.nn.Conv2d):
        return int(layer.out_channels)
    if type(layer) is torch.nn.Linear:  # not the one inside an attention, which is never called
        return int(layer.out_features)
    weight = getattr(layer, "weight", None)
    kind = getattr(layer, "op_type", "")
    if weight is None or (kind, weight.ndim) not in (("Conv", 4), ("Gemm", 2)):
        return 0
    return int(weight.shape[1 if kind == "Gemm" and not layer.transposes_weight else 0])
