"""A network with pictures, what our side and the others are given of it, and the target."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import io
from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import nn

import explainers as ex
from benchmarks.images import networks

#: Names of the networks, and how they are made.
DEEP, SHALLOW, SMALL = "ResNet-50's shape", "ResNet-18's shape", "a small network"
NETWORKS: dict[str, Callable[[], nn.Sequential]] = {
    DEEP: lambda: networks.resnet(networks.DEEP, narrow=True),
    SHALLOW: lambda: networks.resnet(networks.SHALLOW, narrow=False),
    SMALL: networks.small,
}


@dataclasses.dataclass(eq=False)
class Case:
    """A network and the pictures ``(n, 3, side, side)`` that are explained."""

    name: str
    net: nn.Sequential
    x: torch.Tensor

    @property
    def size(self) -> str:
        """In words."""
        count, side = len(self.x), self.x.shape[-1]
        return f"{count} picture{'s' if count > 1 else ''} of {side} × {side}, {self.name}"

    @cached_property
    def theirs(self) -> nn.Sequential:
        """A copy for the others, whose hooks stay or who exchange layers."""
        return copy.deepcopy(self.net)

    @cached_property
    def target(self) -> int:
        """What the network says of the first picture."""
        with torch.no_grad():
            return int(self.net(self.x[:1]).argmax())

    @cached_property
    def targets(self) -> torch.Tensor:
        """The same target for each."""
        return torch.full((len(self.x),), self.target)

    @cached_property
    def data(self) -> ex.Dataset:
        """The pictures as our side knows them."""
        return ex.Dataset.from_images(self.x.numpy())

    def explained(self, method: ex.Explainer, target: Any = None, **more: Any) -> Any:
        """Our result; the model is wrapped afresh, so nothing made for it before is known."""
        wanted = self.target if target is None else target
        settings = {"device": "cpu", **more}
        model = ex.Model.wrap(self.net, classes=range(networks.CLASSES), output="raw")
        return ex.explain(model, self.data, method, target=wanted, **settings)

    def values(self, method: ex.Explainer, target: Any = None, **more: Any) -> np.ndarray:
        """Our values alone."""
        return np.asarray(self.explained(method, target, **more).values)


class Cases:
    """Networks made once, when first asked for; `quick` has small pictures and a shallow network in the place of the deep one."""

    def __init__(self, quick: bool) -> None:
        self.quick = quick
        self._made: dict[str, nn.Sequential] = {}

    def __call__(self, name: str, count: int, side: int) -> Case:
        """So many pictures of that side; half of it, 112 at most, in a quick run."""
        if self.quick:
            name, side = SHALLOW if name == DEEP else name, min(max(32, side // 2), 112)
        if name not in self._made:
            self._made[name] = NETWORKS[name]()
        return Case(name, self._made[name], networks.pictures(count, side))


def silently(call: Callable[[], Any]) -> Any:
    """The peers' progress bars belong to nobody's report."""
    with contextlib.redirect_stderr(io.StringIO()):
        return call()
