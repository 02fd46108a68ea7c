"""torch.export archives (.pt2). Opening or asking one can run code in four ways (sample inputs and weights that are
pickles, guards and shapes that are Python text): call this only inside a locked process, and predict there too.
"""

from __future__ import annotations

import io
from typing import Any

import torch

from explainers.explanation import Output
from explainers.loading.sources import File
from explainers.model import Model


class Exported(torch.nn.Module):
    """An exported module, which knows one mode only: torch forbids `train` and `eval` on it."""

    def __init__(self, program: torch.nn.Module) -> None:
        super().__init__()
        self.program = program

    def train(self, mode: bool = True) -> Exported:
        """Nothing changes but the flag: the mode was fixed at the export."""
        self.training = mode
        return self

    def forward(self, x: torch.Tensor) -> Any:
        return self.program(x)


def load(file: File, classes: tuple[Any, ...] | None, output: Output = "auto") -> Model:
    """The exported module of an archive, wrapped. Runs the code in the file; hooks, and so layers, are not available."""
    program = torch.export.load(io.BytesIO(file.content))
    return Model.wrap(Exported(program.module()), classes, output=output)
