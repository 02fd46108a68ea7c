"""The layer whose maps are weighed: named or found, and its output as maps, also where it gives tokens on a grid.

Which one is found without a name: `explainers.gradients.default_layer`. Tokens ``(n, t, c)`` lie on a grid with the proportions of the
picture, row by row; one leading token (the class token) is left out of the maps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from explainers.errors import InvalidSetting
from explainers.gradients.capture import named_layer
from explainers.gradients.default_layer import Chosen, default_layer, token_grid
from explainers.gradients.remembered import Remembered
from explainers.gradients.scores import Score
from explainers.lazily import lazily

if TYPE_CHECKING:
    import torch
else:
    torch = lazily("torch")

#: Default layers, for a picture's size.
_DEFAULTS: Remembered[Chosen] = Remembered()

#: Why a layer was chosen that somebody named.
NAMED = "named"


@dataclass(frozen=True, eq=False)
class MapLayer:
    """A layer of the module, for pictures of a certain size.

    Attributes:
        name, module: the layer.
        size: height and width of the pictures.
        why: why this layer, in words.
    """

    name: str
    module: torch.nn.Module
    size: tuple[int, int]
    why: str = NAMED

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
            f"{found}. Leave layer=None for the maps of the last convolution."
        )


def channel_axis(output: torch.Tensor) -> int:
    """Which axis of a layer's output counts channels: of maps the second, of tokens the last."""
    return 1 if output.ndim == 4 else 2


def map_layer(score: Score, name: str | None, pictures: torch.Tensor, *, complete: bool = True) -> MapLayer:
    """The layer of this name, or the default; found with the first of the pictures ``(m, c, h, w)``.

    `complete`: as `explainers.gradients.default_layer.default_layer` has it.
    """
    size = (int(pictures.shape[2]), int(pictures.shape[3]))
    module = score.module

    def find() -> Chosen:
        return default_layer(module, lambda: score(pictures[:1]), size, complete=complete)

    found = Chosen(name, NAMED) if name else _DEFAULTS.of(module, (size, complete), find)
    return MapLayer(found.name, named_layer(module, found.name), size, found.why)
