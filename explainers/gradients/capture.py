"""What passes through one layer of a module: seen, or made the start of the graph. Hooks are always removed."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from explainers.errors import InvalidSetting
from explainers.lazily import lazily
from explainers.module_layers import spatial_layers

if TYPE_CHECKING:
    import torch
else:
    torch = lazily("torch")


#: Rows and columns of a map that says where something is: one of 2 × 2 tells quarters of the picture apart.
LEAST_SIDE = 3


@dataclasses.dataclass
class Call:
    """The last call of a layer: its first argument and its output, where they are tensors."""

    argument: torch.Tensor | None = None
    output: torch.Tensor | None = None


@contextlib.contextmanager
def last_call(layer: torch.nn.Module) -> Iterator[Call]:
    """Record the last call of a layer."""
    call = Call()

    def hook(_layer: torch.nn.Module, arguments: tuple[Any, ...], output: Any) -> None:
        call.argument = _tensor(arguments[0] if arguments else None)
        call.output = _tensor(output)

    with _hooked(layer, hook):
        yield call


@contextlib.contextmanager
def graph_start(layer: torch.nn.Module) -> Iterator[Call]:
    """Make the output of a layer a leaf: everything before it needs no graph, the backward pass ends there.

    The layers after it work on a copy, so that an in-place one (ReLU) neither fails nor overwrites the leaf.
    """
    call = Call()

    def hook(_layer: torch.nn.Module, _arguments: tuple[Any, ...], output: Any) -> Any:
        found = _tensor(output)
        if found is None:
            return output
        call.output = found.detach().requires_grad_()
        return call.output.clone()

    with _hooked(layer, hook):
        yield call


@contextlib.contextmanager
def kept_output(layer: torch.nn.Module) -> Iterator[Call]:
    """Record the output of a layer with its graph; the layers after it work on a copy, so that no in-place one overwrites it."""
    call = Call()

    def hook(_layer: torch.nn.Module, _arguments: tuple[Any, ...], output: Any) -> Any:
        call.output = _tensor(output)
        return output if call.output is None else call.output.clone()

    with _hooked(layer, hook):
        yield call


def named_layer(module: torch.nn.Module, name: str) -> torch.nn.Module:
    """A layer by its name; raises `InvalidSetting` listing the convolutions."""
    layers = dict(module.named_modules())
    layers.pop("", None)
    if name not in layers:
        raise InvalidSetting(
            f"There is no layer {name!r}; the convolutions are {', '.join(map(repr, spatial_layers(module)))}."
        )
    found: torch.nn.Module = layers[name]
    return found


def last_spatial_layer(module: torch.nn.Module, run: Callable[[], object]) -> str:
    """The convolution that `run` calls last with at least 3 × 3 places in its output, where none has, with more than one (1 × 1 shows nothing)."""
    names = spatial_layers(module)
    if len(names) == 1:
        return names[0]
    called: list[tuple[str, tuple[int, int]]] = []
    with contextlib.ExitStack() as hooks, torch.no_grad():
        for name in names:
            hooks.enter_context(_hooked(module.get_submodule(name), _note_places(name, called)))
        run()
    large = [name for name, size in called if min(size) >= LEAST_SIDE]
    several = [name for name, size in called if max(size) > 1]
    return (large or several or [name for name, _ in called] or names)[-1]


def _note_places(name: str, called: list[tuple[str, tuple[int, int]]]) -> Any:
    def hook(_layer: torch.nn.Module, _arguments: tuple[Any, ...], output: Any) -> None:
        if isinstance(output, torch.Tensor) and output.ndim == 4:
            called.append((name, (output.shape[2], output.shape[3])))

    return hook


@contextlib.contextmanager
def _hooked(layer: torch.nn.Module, hook: Any) -> Iterator[None]:
    handle = layer.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def _tensor(value: Any) -> torch.Tensor | None:
    return value if isinstance(value, torch.Tensor) else None
