"""Functions that get another backward pass while a module runs, wherever they are called from.

A torch function mode sees every call: of a layer, used once or twice, of a function, of a method of the tensor, of an ONNX operator. So no
layer is hooked or exchanged, and nothing has to be put back. Imports torch: import this module inside functions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch.overrides import TorchFunctionMode


class Replaced(TorchFunctionMode):
    """Asks `instead` for the result of each function of a tensor of real numbers; ``None`` leaves the call as it is."""

    def instead(
        self, name: str, call: Call, x: torch.Tensor
    ) -> torch.Tensor | None:  # pragma: no cover - abstract
        """The result in the place of ``call.at(x)``."""
        raise NotImplementedError

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        call = Call(func, args, kwargs or {})
        x = call.first
        found = None
        if isinstance(x, torch.Tensor) and x.is_floating_point():
            found = self.instead(call.name.strip("_"), call, x)
        if found is None:
            return func(*args, **call.named)
        return x.copy_(found) if call.in_place else found


class Call:
    """A call of a function whose first argument is what it works on."""

    def __init__(self, func: Callable[..., Any], args: Sequence[Any], named: Mapping[str, Any]) -> None:
        self.func, self.args, self.named = func, tuple(args), dict(named)
        self.name: str = getattr(func, "__name__", "")

    @property
    def first(self) -> Any:
        """The first argument, by place or by name."""
        return self.args[0] if self.args else self.named.get("input")

    @property
    def rest(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The other arguments."""
        return self.args[1:], {k: v for k, v in self.named.items() if k != "input"}

    @property
    def in_place(self) -> bool:
        """Whether the result is wanted in the first argument; the flag is the only one that activations have."""
        flag = bool(self.named.get("inplace")) or any(value is True for value in self.args[1:])
        named_so = self.name.endswith("_") and not self.name.endswith("__")
        return named_so or (flag and "pool" not in self.name)

    def at(self, x: torch.Tensor) -> torch.Tensor:
        """The function of another first argument, which stays as it is."""
        args, named = self.rest
        found: torch.Tensor = self.func(x.clone() if self.in_place else x, *args, **named)
        return found
