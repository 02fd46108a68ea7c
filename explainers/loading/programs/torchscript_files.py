"""TorchScript. Its `__setstate__` runs when it is opened, its `forward` at each prediction, and both can write files:
call this only inside a locked process, and predict there too.
"""

from __future__ import annotations

import io
from typing import Any

import torch

from explainers.explanation import Output
from explainers.loading.sources import File
from explainers.model import Model


def load(file: File, classes: tuple[Any, ...] | None, output: Output = "auto") -> Model:
    """The script of a file, wrapped. Runs the code in the file; hooks, and so layers, are not available."""
    module = torch.jit.load(io.BytesIO(file.content), map_location="cpu").eval()  # type: ignore[no-untyped-call]
    leaves = [child for child in module.modules() if not list(child.children())]
    ending = getattr(leaves[-1] if leaves else module, "original_name", "")
    ends = output == "auto" and classes is not None and ending in ("Softmax", "Sigmoid")
    return Model.wrap(module, classes, output="probability" if ends else output)
