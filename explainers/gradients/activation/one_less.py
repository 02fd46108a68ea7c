"""A convolution of features that differ in one channel each: what the channel adds is taken off the whole.

A batch whose row r is a picture's features without channel r costs a convolution for each row. But it is linear: of the whole
result the part of one channel is taken off, and all channels' parts together cost one row. Imports torch: import this module inside functions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from explainers.gradients.rules.replaced import Call

#: What a convolution takes beside its input, in this order.
SETTINGS = ("weight", "bias", "stride", "padding", "dilation", "groups")


class OneLess(TorchFunctionMode):
    """While it is entered, the first convolution of a copy of `changed` is computed that way.

    Attributes:
        changed: features ``(1 + n, c, h, w)``: row 0 whole, row r without one channel.
        channels: which ones these are, ``(n,)``.
    """

    def __init__(self, changed: torch.Tensor, channels: torch.Tensor) -> None:
        super().__init__()
        self.changed, self.channels = changed, channels
        self.copy: torch.Tensor | None = None
        self.version = 0

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        call = Call(func, args, kwargs or {})
        if call.name == "conv2d" and call.first is self.copy and self.copy is not None:
            found = self._convolved(call, self.copy)
            if found is not None:
                return found
        found = func(*args, **call.named)
        if call.name == "clone" and call.first is self.changed:
            self.copy, self.version = found, found._version
        return found

    def _convolved(self, call: Call, x: torch.Tensor) -> torch.Tensor | None:
        args, named = call.rest
        known = {**dict(zip(SETTINGS, args, strict=False)), **named}
        if (
            known.get("groups", 1) != 1
            or isinstance(known.get("padding", 0), str)
            or x._version != self.version
        ):
            return None  # a step in place came between, or channels are not summed over
        weight = known["weight"]
        whole = call.at(x[:1])
        spread = {name: known[name] for name in ("stride", "padding", "dilation") if name in known}
        places = functional.unfold(x[0, self.channels][:, None], weight.shape[2:], **spread)
        lost = torch.bmm(weight[:, self.channels].flatten(2).transpose(0, 1), places)
        return torch.cat([whole, whole - lost.reshape(len(lost), *whole.shape[1:])])
