"""The integral along straight paths in sections, for networks whose slopes jump.

The gradient of a rectifier network is a product of steps, each of which jumps somewhere on the path, so sums over nodes converge like 1 / n whatever their
weights. Within a section each nonlinearity is given its secant (`explainers.gradients.rules.secants`): that is the mean of its slope over the section, wherever in it the jump
lies, as long as what goes into it moves evenly. What is left is that jumps of several layers in one section belong together; that falls
faster, and the sections' sums add up to the difference of the scores with any number of them. One section alone is DeepLIFT's rescale rule.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int

from explainers.device import over_chunks
from explainers.gradients.differentiate import gradients, measured_row_bytes, on
from explainers.gradients.paths.adaptive import ROUNDING
from explainers.gradients.paths.straight import Collected, Paths, column
from explainers.gradients.remembered import Remembered
from explainers.gradients.scores import Score
from explainers.lazily import lazily
from explainers.progress import Progress

if TYPE_CHECKING:
    import torch

    from explainers.gradients.rules.secants import Secants
else:
    torch = lazily("torch")

#: Share of the difference that sections may miss by rounding; more, and a step of the module is not what it seems.
UNEXPLAINED = 1e-4

#: Memory of a row of modules that sections suit.
_SUITED: Remembered[int] = Remembered()

#: Takes places in the list of paths that was asked for, and what their sections (perhaps not all of them) contribute.
Add = Callable[[Int[np.ndarray, " p"], np.ndarray], None]


class Unsuited(Exception):
    """A step without a secant, or none whose slope jumps."""


def _require_suited(met: Secants) -> None:
    if met.missed or not met.kinked:
        raise Unsuited


@dataclass(frozen=True, eq=False)
class Sections:
    """Contributions of paths, each cut into a number of equal sections."""

    score: Score
    paths: Paths
    targets: Int[np.ndarray, " m"] | None
    device: torch.device

    def suit(self) -> int | None:
        """Memory of a row, where the module has slopes that jump and every step a secant: one row tells, the first time."""
        asked = (self.paths.cases.shape[1:], str(self.device), self.score.kind)
        try:
            return _SUITED.of(self.score.module, asked, self._tried)
        except Unsuited:
            return None

    def _tried(self) -> int:
        from explainers.gradients.rules.secants import Secants

        with Secants(1) as met:
            memory = measured_row_bytes(self.score, self.paths.cases, self.device)
        _require_suited(met)
        return memory

    def contribute(
        self,
        path: Int[np.ndarray, " p"],
        counts: Int[np.ndarray, " p"],
        add: Add,
        memory: int,
        progress: Progress,
    ) -> int:
        """Give `add` what these paths contribute, in so many sections each; the paths ascend. Returns how many rows that took.

        Raises `Unsuited` where a case goes another way through the module.
        """
        ends = np.cumsum(counts)

        def compute(part: slice) -> int:
            first, last = np.searchsorted(ends, [part.start, part.stop - 1], side="right")
            places = np.arange(first, last + 1)
            begun = ends[places] - counts[places]
            low = np.maximum(part.start - begun, 0)
            high = np.minimum(part.stop, ends[places]) - begun
            add(places, self._of_portion(path[places], counts[places], low, high))
            return int(part.stop - part.start) + len(
                places
            )  # each path has a row where its first section begins

        rows = over_chunks(compute, int(ends[-1]), memory, self.device, progress)
        return sum(rows)

    def _of_portion(
        self,
        path: Int[np.ndarray, " p"],
        counts: Int[np.ndarray, " p"],
        low: Int[np.ndarray, " p"],
        high: Int[np.ndarray, " p"],
    ) -> Float[np.ndarray, "p ..."]:
        """Contributions of the sections `low` to `high` of each path: the rows of one are the ends of its sections, in order."""
        from explainers.gradients.rules.secants import Secants

        rows = high - low + 1
        which = np.repeat(np.arange(len(path)), rows)
        begins = np.cumsum(rows) - rows
        at = np.arange(len(which)) - begins[which] + low[which]
        start, end = self.paths.ends(path, self.device)
        place = torch.from_numpy(which).to(self.device)
        t = column(at / counts[which], start.ndim, self.device)
        # of one path nothing is copied row by row: its pictures may be large
        sides = (start, end) if len(path) == 1 else (start[place], end[place])
        x = torch.lerp(*sides, t).requires_grad_()
        with Secants(len(x)) as met:
            scores = self.score(x)
        _require_suited(met)  # it was another case that told
        targets = on(self.targets, path[which] // self.paths.per_case, self.device)
        slopes = gradients(scores, x, targets).contiguous()  # that of a sum is one number, expanded
        slopes[torch.from_numpy(begins).to(self.device)] = 0  # where a path begins no section ends
        sums = torch.zeros((len(path), *slopes.shape[1:]), device=self.device).index_add_(0, place, slopes)
        way = end.sub_(start).div_(column(counts, start.ndim, self.device))
        return np.asarray(sums.mul_(way[..., None] if sums.ndim > way.ndim else way).cpu().numpy())


def average_in_sections(
    sections: Sections, steps: int, outputs: int, memory: int, progress: Progress
) -> tuple[Collected, int]:
    """The integral of every path, so many sections each, collected for each case; and how many rows that took."""
    paths = sections.paths
    shape = paths.cases.shape if sections.targets is not None else (*paths.cases.shape, outputs)
    collected = Collected(paths.per_case, np.zeros(shape), np.zeros(shape) if paths.per_case > 1 else None)

    def add(places: Int[np.ndarray, " p"], parts: np.ndarray) -> None:
        collected.add(int(places[0]), parts)

    rows = sections.contribute(np.arange(paths.count), np.full(paths.count, steps), add, memory, progress)
    collected.close()
    return collected, rows


def adds_up(values: np.ndarray, gain: Float[np.ndarray, "m *k"]) -> bool:
    """Whether the values of all cases add up to what there is to gain, but for rounding."""
    axes = tuple(range(1, values.ndim - (gain.ndim - 1)))
    gap = np.abs(values.sum(axis=axes, dtype=np.float64) - gain)
    size = np.maximum(np.abs(values).sum(axis=axes, dtype=np.float64), np.abs(gain))
    return bool((gap <= UNEXPLAINED * size + ROUNDING).all())
