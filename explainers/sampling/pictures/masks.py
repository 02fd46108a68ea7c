"""RISE's masks: random grids of cells, enlarged bilinearly and shifted at random (Petsiuk, Das and Saenko 2018, arXiv 1806.07421).

A grid's nodes stand a cell apart, and reach beyond the picture on all sides; the shift is uniform over a cell. So every
pixel has the same law, also at the border: its mean is `keep`, and what two pixels have in common depends on their distance alone.

Node k weighs max(0, 1 - |place - k|) at a place in cells, along each side; a mask is a row matrix times its grid times a column matrix.
Grids are drawn in blocks, each with its own seed: any pair of masks can be made again at any time, and none is kept.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float, Float32, Int

from explainers.lazily import lazily

if TYPE_CHECKING:
    import torch
else:
    torch = lazily("torch")

#: Pairs of masks that are drawn with one seed.
BLOCK = 64


@dataclasses.dataclass(frozen=True)
class PictureMasks:
    """Pairs of masks of pictures of a size, ``(h, w)``; a mask is 1 where the picture is shown, 0 where it is hidden."""

    cells: int
    keep: float
    seed: int
    size: tuple[int, int]

    def drawn(self, pairs: Int[np.ndarray, " t"], device: torch.device) -> Float32[torch.Tensor, "2 t h w"]:
        """Both masks of these pairs, made on the device."""
        grids, shifts = self.grids(pairs)
        nodes = torch.as_tensor(grids, device=device).to(torch.float32)
        down, across = (
            self._weights(axis, torch.as_tensor(shifts[:, axis], device=device)) for axis in (0, 1)
        )
        return torch.matmul(torch.matmul(down, nodes), across.transpose(1, 2))

    def grids(
        self, pairs: Int[np.ndarray, " t"]
    ) -> tuple[Bool[np.ndarray, "2 t g g"], Int[np.ndarray, "t 2"]]:
        """The nodes of both masks of these pairs, and by how many pixels both are shifted."""
        side = self.cells + 2
        grids, shifts = (
            np.empty((2, len(pairs), side, side), dtype=bool),
            np.empty((len(pairs), 2), dtype=np.int64),
        )
        blocks = pairs // BLOCK
        for block in np.unique(blocks):
            rng = np.random.default_rng((self.seed, int(block)))
            height = rng.random((BLOCK, side, side), dtype=np.float32)
            shift = rng.integers(0, [self._cell(0), self._cell(1)], (BLOCK, 2))
            here = np.flatnonzero(blocks == block)
            chosen = pairs[here] % BLOCK
            grids[0, here], grids[1, here] = height[chosen] < self.keep, height[chosen] >= 1 - self.keep
            shifts[here] = shift[chosen]
        return grids, shifts

    def _cell(self, axis: int) -> int:
        """Pixels of a cell along the height (0) or the width (1)."""
        return -(-self.size[axis] // self.cells)

    def _weights(self, axis: int, shifts: Int[torch.Tensor, " t"]) -> Float[torch.Tensor, "t side g"]:
        """What each node weighs in each row (0) or column (1)."""
        pixels = torch.arange(self.size[axis], device=shifts.device)
        places = (pixels + shifts[:, None]).to(torch.float32) / self._cell(axis)
        nodes = torch.arange(self.cells + 2, device=shifts.device)
        return (1 - (places[:, :, None] - nodes).abs()).clamp(min=0)
