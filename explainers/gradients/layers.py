"""The layer whose maps are weighed: named or found, and its output as maps, also where it gives tokens on a grid.

Without a name it is the convolution that is called last with more than one place in its map. A vision transformer has no
convolution behind the one that cuts the picture into patches; there it is the last normalisation (LayerNorm) of all tokens
before the last attention: behind that attention only the class token still matters to the answer.

Tokens ``(n, t, c)`` lie on a grid with the proportions of the picture, row by row; one leading token (the class token) is left
out of the maps.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from explainers.errors import InvalidSetting
from explainers.gradients.capture import last_spatial_layer, named_layer
from explainers.gradients.scores import Score
from explainers.lazily import lazily
from explainers.model import spatial_layers

if TYPE_CHECKING:
    import torch
else:
    torch = lazily("torch")

#: Default layers found, by module: for a picture's size and the children that the module had then. To find one costs a pass.
_FOUND: WeakKeyDictionary[torch.nn.Module, dict[tuple[Any, ...], str]] = WeakKeyDictionary()

#: ONNX operators that stand for an attention where they see at least three axes.
ATTENTION_OPERATORS = ("Attention", "MultiHeadAttention", "Softmax")


@dataclass(frozen=True, eq=False)
class MapLayer:
    """A layer of the module, for pictures of a certain size.

    Attributes:
        name, module: the layer.
        size: height and width of the pictures.
    """

    name: str
    module: torch.nn.Module
    size: tuple[int, int]

    def maps(self, values: torch.Tensor, beyond: int = 0) -> torch.Tensor:
        """Activations as maps ``(n, c, h, w)``; slopes, which have one axis `beyond`, as ``(n, c, h, w, e)``."""
        grid = token_grid(values.shape[1], self.size) if values.ndim - beyond == 3 else None
        if grid is None:
            return values
        height, width = grid
        places = values[:, values.shape[1] - height * width :]
        return places.reshape(len(values), height, width, *values.shape[2:]).movedim(3, 1)

    def checked(self, output: torch.Tensor | None, count: int) -> torch.Tensor:
        """The output for so many pictures; raises `InvalidSetting` where it is neither maps nor tokens."""
        if output is not None and len(output) == count:
            on_grid = output.ndim == 3 and token_grid(output.shape[1], self.size) is not None
            if on_grid or output.ndim == 4:
                return output
        found = "nothing" if output is None else f"shape {tuple(output.shape)}"
        raise InvalidSetting(
            f"The layer {self.name!r} must give maps of shape (n, c, h, w), or tokens (n, t, c) that cover the picture; it gave "
            f"{found}. Leave layer=None for the last convolution."
        )


def channel_axis(output: torch.Tensor) -> int:
    """Which axis of a layer's output counts channels: of maps the second, of tokens the last."""
    return 1 if output.ndim == 4 else 2


def token_grid(tokens: int, size: tuple[int, int]) -> tuple[int, int] | None:
    """Rows and columns of tokens in the picture's proportions, with or without a class token; ``None`` where none fit."""
    for count in (tokens, tokens - 1):
        rows = round((count * size[0] / size[1]) ** 0.5)
        if rows > 0 and count > 1 and count % rows == 0 and rows * size[1] == count // rows * size[0]:
            return rows, count // rows
    return None


def map_layer(score: Score, name: str | None, pictures: torch.Tensor) -> MapLayer:
    """The layer of this name, or the default; found with the first of the pictures ``(m, c, h, w)``."""
    size = (int(pictures.shape[2]), int(pictures.shape[3]))
    found = name or _remembered(score, size, lambda: score(pictures[:1]))
    return MapLayer(found, named_layer(score.module, found), size)


def _remembered(score: Score, size: tuple[int, int], run: Callable[[], object]) -> str:
    module = score.module
    found = _FOUND.setdefault(module, {})
    children = (size, *((name, id(child)) for name, child in module.named_modules()))
    if children not in found:
        found.clear()
        found[children] = _default(module, run, size)
    return found[children]


def _default(module: torch.nn.Module, run: Callable[[], object], size: tuple[int, int]) -> str:
    attentions = [name for name, child in module.named_modules() if name and _attends(child)]
    norms = [name for name, child in module.named_modules() if _normalises(child)]
    if not (attentions and norms):
        return last_spatial_layer(module, run)
    called: list[tuple[str, str]] = []
    with contextlib.ExitStack() as hooks, torch.no_grad():
        for name in attentions:
            handle = module.get_submodule(name).register_forward_pre_hook(_note_attention(name, called))
            hooks.callback(handle.remove)
        for name in norms:
            handle = module.get_submodule(name).register_forward_hook(_note_tokens(name, called, size))
            hooks.callback(handle.remove)
        for name in spatial_layers(module):
            handle = module.get_submodule(name).register_forward_hook(_note_maps(name, called))
            hooks.callback(handle.remove)
        run()
    last = max((i for i, (kind, _) in enumerate(called) if kind == "attention"), default=-1)
    places = [
        (i, name)
        for i, (kind, name) in enumerate(called)
        if kind == "maps" or (kind == "tokens" and i < last)
    ]
    return places[-1][1] if places else last_spatial_layer(module, run)


def _attends(layer: torch.nn.Module) -> bool:
    if isinstance(layer, torch.nn.MultiheadAttention) or "attention" in type(layer).__name__.lower():
        return True
    return getattr(layer, "op_type", "") in ATTENTION_OPERATORS


def _normalises(layer: torch.nn.Module) -> bool:
    return isinstance(layer, torch.nn.LayerNorm) or getattr(layer, "op_type", "") == "LayerNormalization"


def _note_attention(name: str, called: list[tuple[str, str]]) -> Any:
    def hook(_layer: torch.nn.Module, arguments: tuple[Any, ...]) -> None:
        # the softmax of the answer is no attention; a layer called with keywords alone is none of ONNX
        if not arguments or getattr(arguments[0], "ndim", 3) > 2:
            called.append(("attention", name))

    return hook


def _note_tokens(name: str, called: list[tuple[str, str]], size: tuple[int, int]) -> Any:
    def hook(_layer: torch.nn.Module, _arguments: tuple[Any, ...], output: Any) -> None:
        if isinstance(output, torch.Tensor) and output.ndim == 3 and len(output) == 1:
            called.extend([("tokens", name)] if token_grid(output.shape[1], size) else [])

    return hook


def _note_maps(name: str, called: list[tuple[str, str]]) -> Any:
    def hook(_layer: torch.nn.Module, _arguments: tuple[Any, ...], output: Any) -> None:
        if isinstance(output, torch.Tensor) and output.ndim == 4 and output.shape[2] * output.shape[3] > 1:
            called.append(("maps", name))

    return hook
