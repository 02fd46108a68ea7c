"""Gradients collected along straight paths from baselines to cases.

Path `p` leads from baseline ``p % b`` to case ``p // b``; on each path lie `steps` Gauss-Legendre nodes. All nodes of all
paths are one list of rows, so that a portion may be larger than a path or a part of one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int

from explainers.device import over_chunks
from explainers.gradients.differentiate import gradients, on, row_bytes
from explainers.gradients.scores import Score
from explainers.lazily import lazily
from explainers.progress import Progress

if TYPE_CHECKING:
    import torch
else:
    torch = lazily("torch")


def gauss_legendre(steps: int) -> tuple[Float[np.ndarray, " s"], Float[np.ndarray, " s"]]:
    """Nodes and weights on ``[0, 1]``: exact for polynomials of degree ``2 · steps - 1``."""
    nodes, weights = np.polynomial.legendre.leggauss(steps)
    return (nodes + 1) / 2, weights / 2


@dataclass
class Paths:
    """Cases ``(m, …)``, and baselines ``(1, b, …)`` that all cases share or ``(m, 1, …)`` of their own."""

    cases: Float[np.ndarray, "m *shape"]
    baselines: Float[np.ndarray, "c b *shape"]

    @property
    def per_case(self) -> int:
        """How many paths lead to each case."""
        return int(self.baselines.shape[1])

    @property
    def count(self) -> int:
        """How many paths there are."""
        return len(self.cases) * self.per_case

    def ends(self, path: np.ndarray, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
        """Baseline and case of each path; each case is sent to the device once."""
        case, reference = np.divmod(path, self.per_case)
        if len(path) == 1:
            only = self.baselines[case[0] % len(self.baselines), reference[0]], self.cases[case[0]]
            return torch.tensor(only[0], device=device)[None], torch.tensor(only[1], device=device)[None]
        start = self.baselines[case % len(self.baselines), reference]
        sent = torch.tensor(self.cases[case[0] : case[-1] + 1], device=device)
        return torch.from_numpy(start).to(device), sent[torch.from_numpy(case - case[0]).to(device)]


@dataclass
class Collected:
    """Sum over the paths of each case, and sum of squares; paths arrive in order, the last one perhaps in parts."""

    per_case: int
    total: np.ndarray
    squares: np.ndarray | None
    open: int = -1
    part: np.ndarray = field(default_factory=lambda: np.zeros(()))

    def add(self, first: int, contributions: np.ndarray) -> None:
        """Contributions of the paths ``first, first + 1, …``."""
        for path, contribution in enumerate(contributions, start=first):
            if path != self.open:
                self.close()
                # the only path of a case is added up in place
                own = np.zeros(contribution.shape) if self.per_case > 1 else self.total[path]
                self.open, self.part = path, own
            self.part += contribution

    def close(self) -> None:
        """The open path is complete."""
        if self.open < 0:
            return
        if self.per_case > 1:
            case = self.open // self.per_case
            self.total[case] += self.part
            if self.squares is not None:
                self.squares[case] += np.square(self.part, out=self.part)
        self.open, self.part = -1, np.zeros(())

    def mean(self) -> np.ndarray:
        """Mean over the paths of each case."""
        return self.total / self.per_case if self.per_case > 1 else self.total

    def error(self) -> np.ndarray | None:
        """Standard error of that mean over the paths; ``None`` for a single one."""
        if self.squares is None:
            return None
        found = self.mean()
        np.square(found, out=found)
        np.subtract(self.squares / self.per_case, found, out=found)  # the variance, but for its factor
        np.maximum(found, 0, out=found)
        found /= self.per_case - 1
        return np.asarray(np.sqrt(found, out=found))


def integrate(
    score: Score,
    paths: Paths,
    steps: int,
    targets: Int[np.ndarray, " m"] | None,
    outputs: int,
    device: torch.device,
    progress: Progress,
) -> Collected:
    """∫ ∂score/∂x (b + t (x - b)) dt · (x - b) for each path, collected for each case."""
    nodes, weights = gauss_legendre(steps)
    shape = paths.cases.shape if targets is not None else (*paths.cases.shape, outputs)
    collected = Collected(paths.per_case, np.zeros(shape), np.zeros(shape) if paths.per_case > 1 else None)

    def compute(part: slice) -> None:
        path, node = np.divmod(np.arange(part.start, part.stop), steps)
        distinct, which = np.unique(path, return_inverse=True)
        start, end = paths.ends(distinct, device)
        rows = torch.from_numpy(which).to(device)
        t, weight = (column(values[node], paths.cases.ndim, device) for values in (nodes, weights))
        x = torch.lerp(start[rows], end[rows], t).requires_grad_()
        slopes = gradients(score(x), x, on(targets, path // paths.per_case, device))
        wide = slopes.ndim > x.ndim
        slopes = slopes * (weight[..., None] if wide else weight)
        sums = torch.zeros((len(distinct), *slopes.shape[1:]), device=device).index_add_(0, rows, slopes)
        way = end - start
        collected.add(int(distinct[0]), (sums * (way[..., None] if wide else way)).cpu().numpy())

    rows = paths.count * steps
    over_chunks(compute, rows, row_bytes(score, paths.cases, rows, device), device, progress)
    collected.close()
    return collected


def column(values: np.ndarray, ndim: int, device: torch.device) -> torch.Tensor:
    """One number per row, float32, shaped to multiply rows of `ndim` dimensions."""
    return torch.from_numpy(values.astype(np.float32)).to(device).reshape(-1, *([1] * (ndim - 1)))
