"""Which layer is looked at where none is named.

It is where the last convolution's maps are complete: of all layers that are called after it and give maps of as many places, the last (its
bias where that is a step of its own, its normalisation, the activation, the sum with a shortcut, the joined branches). Maps before their
activation also hold what it drops, with signs of its own; one branch holds a part of what the block sees. The convolution is the one that is
called last with a map of 3 × 3 places at least; where none has one, with more than one place. What a module's own code does to the maps of its last layer, outside all submodules (``F.relu``), has no
name; then the layer before it is looked at.

A vision transformer has no convolution behind the one that cuts the picture into patches; there it is the last normalisation (LayerNorm) of all
tokens before the last attention: behind that attention only the class token still matters to the answer.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from explainers.gradients.capture import last_spatial_layer
from explainers.lazily import lazily
from explainers.module_layers import spatial_layers

if TYPE_CHECKING:
    import torch
else:
    torch = lazily("torch")

#: ONNX operators that stand for an attention where they see at least three axes.
ATTENTION_OPERATORS = ("Attention", "MultiHeadAttention", "Softmax")

LAST, TOKENS = "the last convolution", "the last normalisation of all tokens before the last attention"


class Chosen(NamedTuple):
    """A layer by its name, and why it was chosen, in words."""

    name: str
    why: str


def token_grid(tokens: int, size: tuple[int, int]) -> tuple[int, int] | None:
    """Rows and columns of tokens in the picture's proportions, with or without a class token; ``None`` where none fit."""
    for count in (tokens, tokens - 1):
        rows = round((count * size[0] / size[1]) ** 0.5)
        if rows > 0 and count > 1 and count % rows == 0 and rows * size[1] == count // rows * size[0]:
            return rows, count // rows
    return None


def default_layer(
    module: torch.nn.Module, run: Callable[[], object], size: tuple[int, int], *, complete: bool = True
) -> Chosen:
    """The layer that is looked at; `run` asks the module about one picture of that size.

    Without `complete` it is the convolution itself, before its activation: what of a feature is searched for, where a ReLU would have no slope.
    """
    found = _seen_by_attention(module, run, size)
    if found is not None and found not in spatial_layers(module):
        return Chosen(found, TOKENS)
    found = found or last_spatial_layer(module, run)
    behind = _behind(module, found, run) if complete else found
    if behind == found:
        return Chosen(found, LAST)
    return Chosen(behind, f"the last with the maps of the last convolution, {found!r}")


@dataclass(frozen=True, eq=False)
class _Call:
    """A call's output, and how often it had been changed in place."""

    name: str
    output: torch.Tensor
    version: int


def _behind(module: torch.nn.Module, convolution: str, run: Callable[[], object]) -> str:
    """The last layer from the convolution on that gives maps of as many places."""
    called: list[_Call] = []
    times: Counter[str] = Counter()

    def note(name: str) -> Any:
        def hook(_layer: torch.nn.Module, _arguments: tuple[Any, ...], output: Any) -> None:
            times[name] += 1
            if name == convolution:
                called.clear()
            if isinstance(output, torch.Tensor) and (
                name == convolution or (called and _fits(output, called[0].output))
            ):
                called.append(_Call(name, output, output._version))

        return hook

    with contextlib.ExitStack() as hooks, torch.no_grad():
        for name, layer in module.named_modules():
            if name:
                hooks.callback(layer.register_forward_hook(note(name)).remove)
        run()
    if not called:
        return convolution
    last = called[-1]
    # a container gives what its last layer gives, a dropout what it was given: the first of those, if it is called once
    same = [call.name for call in called if call.output is last.output and call.version == last.version]
    return next((name for name in same if times[name] == 1), same[-1])


def _fits(output: torch.Tensor, maps: torch.Tensor) -> bool:
    """Maps of as many places. With as many channels as rows and columns, channels may stand last: who knows."""
    places = output.ndim == maps.ndim == 4 and len(output) == len(maps) and output.shape[2:] == maps.shape[2:]
    return places and len(set(output.shape[1:])) > 1


def _seen_by_attention(
    module: torch.nn.Module, run: Callable[[], object], size: tuple[int, int]
) -> str | None:
    """In a network with attention the last normalisation of tokens before the last attention, or the last convolution, if that comes later."""
    attentions = [name for name, child in module.named_modules() if name and _attends(child)]
    norms = [name for name, child in module.named_modules() if _normalises(child)]
    if not (attentions and norms):
        return None
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
        name for i, (kind, name) in enumerate(called) if kind == "maps" or (kind == "tokens" and i < last)
    ]
    return places[-1] if places else None


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
