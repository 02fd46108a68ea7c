"""Tables looked up on another device, where many rows at a time are worth the way there: torch, no loop of our own.

The same tables and the same patterns of bits as in `lookup`: every condition of every group is compared for all rows at
once, the bits of a group become the number of a line, and the lines of a row are summed by `embedding_bag`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from explainers.lazily import lazily
from explainers.trees.shapley.bank import Bank

if TYPE_CHECKING:
    import torch
else:
    torch = lazily("torch")

#: Bytes of comparisons that are held at a time.
TILE_BYTES = 2**30


class DeviceBank:
    """A bank's conditions and one of its tables on a device."""

    def __init__(self, bank: Bank, table: Any, device: torch.device) -> None:
        groups, chosen = bank.groups, bank.chosen
        bits = _ranges(groups.bit[chosen], groups.bit[chosen + 1])
        conditions = _ranges(groups.condition[bits], groups.condition[bits + 1])
        counts = np.diff(groups.condition)[bits]
        sizes = np.diff(groups.bit)[chosen]
        place = np.arange(len(bits)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        nodes = groups.node[conditions]
        questions = bank.trees.questions

        def there(values: np.ndarray, kind: Any = np.int64) -> torch.Tensor:
            return torch.from_numpy(np.ascontiguousarray(values, dtype=kind)).to(device)

        self._device, self._players = device, bank.players
        self._column = there(questions.column[nodes])
        self._rank = there(questions.rank[nodes].astype(np.int64), np.int32)
        self._right = there(groups.right[conditions], bool)
        self._bit_of = there(np.repeat(np.arange(len(bits)), counts))
        self._wanted = there(counts, np.int32)
        self._mark = there(1 << place, np.int32)
        self._group_of = there(np.repeat(np.arange(len(chosen)), sizes))
        self._line = there(bank.line[:-1])
        self._table = torch.from_numpy(_spread(bank, table)).to(device)
        self._row_bytes = 6 * len(conditions) + 8 * len(bits) + 16 * len(chosen)

    def look_up(self, codes: Any, sums: Float[np.ndarray, "m d"]) -> None:
        """Add to `sums` what the tables say of the rows of `codes` ``(p, m)``."""
        tile = max(1, TILE_BYTES // max(1, self._row_bytes))
        for start in range(0, len(sums), tile):
            stop = min(start + tile, len(sums))
            part = torch.from_numpy(codes[:, start:stop].astype(np.int32)).to(self._device)
            sums[start:stop] += self._sums(part).cpu().numpy()[:, : self._players]

    def _sums(self, codes: torch.Tensor) -> torch.Tensor:
        rows = codes.shape[1]
        if len(self._line) == 0:
            return torch.zeros((rows, self._table.shape[1]), dtype=self._table.dtype, device=self._device)
        holds = (codes[self._column] > self._rank[:, None]) == self._right[:, None]
        held = torch.zeros((len(self._wanted), rows), dtype=torch.int32, device=self._device)
        held.index_add_(0, self._bit_of, holds.to(torch.int32))
        marks = torch.where(held == self._wanted[:, None], self._mark[:, None], 0)
        pattern = torch.zeros((len(self._line), rows), dtype=torch.int32, device=self._device)
        pattern.index_add_(0, self._group_of, marks.to(torch.int32))
        lines = (pattern + self._line[:, None]).T.contiguous()
        return torch.nn.functional.embedding_bag(lines, self._table, mode="sum")


def _ranges(start: np.ndarray, stop: np.ndarray) -> np.ndarray:
    """``start[0] .. stop[0]-1, start[1] .. stop[1]-1, …``."""
    sizes = stop - start
    return np.repeat(start - (np.cumsum(sizes) - sizes), sizes) + np.arange(int(sizes.sum()))


def _spread(bank: Bank, table: Any) -> Any:
    """Lines with a place for every player; packed ones are written out."""
    if bank.width:
        return table
    out = np.zeros((len(table), bank.players), dtype=table.dtype)
    _, first, player = bank._own
    for i, group in enumerate(bank.chosen):
        lines = slice(int(bank.line[i]), int(bank.line[i + 1]))
        own = player[first[group] : first[group + 1]]
        out[lines, own] = table[lines, : len(own)]
    return out
