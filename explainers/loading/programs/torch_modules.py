"""Pickled torch modules. Opening one runs whatever it says: call this only inside a locked process."""

from __future__ import annotations

import io
from typing import Any

import torch

from explainers.errors import UnsupportedModel
from explainers.explanation import Output
from explainers.loading.sources import File
from explainers.model import Model


def load(file: File, classes: tuple[Any, ...] | None, output: Output = "auto") -> Model:
    """The module that a torch file makes, wrapped. Runs the code in the file."""
    found = torch.load(io.BytesIO(file.content), map_location="cpu", weights_only=False)
    if not isinstance(found, torch.nn.Module):
        raise UnsupportedModel(
            f"{file.name!r} holds a {type(found).__name__}, not a torch module. Save the module, or its state dict alone."
        )
    return Model.wrap(found.eval(), classes, output=output)
