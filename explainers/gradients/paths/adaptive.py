"""The integral along straight paths with as many nodes as each case needs.

Fejér's second rule has nodes ``(1 - cos(k pi / (n + 1))) / 2``, k = 1..n: those for n are among those for 2 n + 1, so that a finer look
asks only for the new ones (Fejér 1933; weights after Waldvogel 2006). A case is done once two looks in a row agree and its values add up.
The gradient of a rectifier network jumps along the path: then the error falls like 1 / n with any rule, and half of what the last look
changed is what is still missing.
"""

from __future__ import annotations

import dataclasses
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float, Int

from explainers.device import over_chunks
from explainers.gradients.differentiate import gradients, on, row_bytes
from explainers.gradients.paths.straight import Paths, column
from explainers.gradients.scores import Score
from explainers.lazily import lazily
from explainers.progress import Progress
from explainers.sampling.steps import stretch

if TYPE_CHECKING:
    import torch
else:
    torch = lazily("torch")

#: Nodes at each look; each has those of the one before.
LOOKS = (8, 17, 35, 71, 143)

#: Memory for the sums of the cases that are open at a time: one for each look.
HELD_BYTES = 2**28

#: What float32 leaves of a sum that should be nothing.
ROUNDING = 1e-6


@cache
def fejer(count: int) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """Nodes and weights on ``[0, 1]``, ends excluded."""
    angle = np.arange(1, count + 1) * np.pi / (count + 1)
    odd = np.arange(1, count + 1, 2)
    weights = 2 * np.sin(angle) / (count + 1) * (np.sin(np.outer(angle, odd)) / odd).sum(axis=1)
    return (1 - np.cos(angle)) / 2, weights


@dataclasses.dataclass(eq=False)
class Integral:
    """What is known of each case.

    Attributes:
        values: sums at the finest look of each case, times the way; ``(m, …)`` or ``(m, …, k)``.
        nodes: how many nodes that look has.
        error: norm of what is still missing over the norm of the values, estimated; for all outputs their largest.
        rows: for how many rows gradients were taken in all.
    """

    values: np.ndarray
    nodes: Int[np.ndarray, " m"]
    error: Float[np.ndarray, " m"]
    rows: int


def integrate_adaptively(
    score: Score,
    paths: Paths,
    gain: Float[np.ndarray, "m *k"],
    tolerance: float,
    targets: Int[np.ndarray, " m"] | None,
    device: torch.device,
    progress: Progress,
) -> Integral:
    """∫ ∂score/∂x (b + t (x - b)) dt · (x - b) for each case with one path, to a relative `tolerance`.

    `gain` is what the values must add up to.
    """
    m, most = len(paths.cases), len(paths.cases) * LOOKS[-1]
    case_bytes = len(LOOKS) * 4 * int(np.prod(paths.cases.shape[1:])) * int(np.prod(gain.shape[1:]))
    step = max(1, HELD_BYTES // max(1, case_bytes))
    blocks = []
    for start in range(0, max(m, 1), step):
        part = slice(start, start + step)
        own = paths.baselines if len(paths.baselines) == 1 else paths.baselines[part]
        block = Paths(paths.cases[part], own)
        wanted = None if targets is None else targets[part]
        told = stretch(progress, start * LOOKS[-1], most)
        blocks.append(_of_block(score, block, gain[part], tolerance, wanted, device, told))
    if len(blocks) == 1:
        return blocks[0]
    return Integral(
        np.concatenate([block.values for block in blocks]),
        np.concatenate([block.nodes for block in blocks]),
        np.concatenate([block.error for block in blocks]),
        sum(block.rows for block in blocks),
    )


def _of_block(
    score: Score,
    paths: Paths,
    gain: Float[np.ndarray, "m *k"],
    tolerance: float,
    targets: Int[np.ndarray, " m"] | None,
    device: torch.device,
    progress: Progress,
) -> Integral:
    """The same for as many cases as are held at a time."""
    m, outputs = len(paths.cases), gain.shape[1:]
    shape = (m, *paths.cases.shape[1:], *outputs)
    found = Integral(np.zeros(shape, np.float32), np.zeros(m, np.int64), np.full(m, np.inf), 0)
    sums = np.zeros((len(LOOKS), *shape), np.float32)
    way = paths.cases - paths.baselines[np.arange(m) % len(paths.baselines), 0]
    way = way.reshape(*way.shape, *([1] * len(outputs)))
    most, still, done = m * LOOKS[-1], np.arange(m), 0
    memory = row_bytes(score, paths.cases, m * LOOKS[0], device)
    for look, count in enumerate(LOOKS):
        nodes = np.arange(count) if look == 0 else np.arange(0, count, 2)
        asked = _Look(score, paths, look, nodes, still, targets, device)
        told = stretch(progress, done, most)

        def add(part: slice, asked: _Look = asked, held: np.ndarray = sums[look:]) -> None:
            cases, new = asked.sums(part)
            held[:, cases] += new  # the last step: a portion that is tried again counts once

        over_chunks(add, len(still) * len(nodes), memory, device, told)
        done += len(still) * len(nodes)
        before = found.values[still]
        found.values[still] = sums[look, still] * way[still]
        found.nodes[still] = count
        if look:
            found.error[still] = relative_change(found.values[still], before, len(outputs)) / 2
            still = still[~_settled(found, still, gain, tolerance)]
        if not len(still):
            break
    if done < most:
        progress(most, most)
    found.rows = done
    return found


@dataclasses.dataclass(frozen=True, eq=False)
class _Look:
    """The new nodes of one look for the cases that are still open: row r is node ``r % len(nodes)`` of case ``still[r // len(nodes)]``."""

    score: Score
    paths: Paths
    look: int
    nodes: Int[np.ndarray, " n"]
    still: Int[np.ndarray, " s"]
    targets: Int[np.ndarray, " m"] | None
    device: torch.device

    def sums(self, part: slice) -> tuple[Int[np.ndarray, " c"], np.ndarray]:
        """Cases, and what these rows add to the weighted sums of this look and all later ones."""
        place, node = np.divmod(np.arange(part.start, part.stop), len(self.nodes))
        case = self.still[place]
        distinct, which = np.unique(case, return_inverse=True)
        t, weights = self._weights(node)
        start, end = self.paths.ends(distinct, self.device)
        rows = torch.from_numpy(which).to(self.device)
        x = torch.lerp(start[rows], end[rows], column(t, start.ndim, self.device)).requires_grad_()
        slopes = gradients(self.score(x), x, on(self.targets, case, self.device))
        spread = torch.zeros((len(weights), len(distinct), len(which)), device=self.device)
        spread[:, rows, torch.arange(len(which), device=self.device)] = torch.from_numpy(weights).to(spread)
        return distinct, torch.einsum("lcr,r...->lc...", spread, slopes).cpu().numpy()

    def _weights(self, node: Int[np.ndarray, " r"]) -> tuple[np.ndarray, Float[np.ndarray, "l r"]]:
        """Where on the path these nodes lie, and their weights at this look and later ones."""
        at = self.nodes[node]
        t = fejer(LOOKS[self.look])[0][at]
        later = [fejer(count)[1][(at + 1) * 2**steps - 1] for steps, count in enumerate(LOOKS[self.look :])]
        return t, np.array(later)


def relative_change(now: np.ndarray, before: np.ndarray, outputs: int) -> Float[np.ndarray, " s"]:
    """Norm of the change over the norm of the values; of several outputs the largest."""
    axes = tuple(range(1, now.ndim - outputs))
    change, size = (
        np.sqrt(np.square(values, dtype=np.float64).sum(axis=axes)) for values in (now - before, now)
    )
    ratio = np.divide(change, size, out=np.zeros_like(size), where=size > 0)
    return np.asarray(ratio.reshape(len(now), -1).max(axis=1, initial=0.0))


def _settled(
    found: Integral, still: Int[np.ndarray, " s"], gain: Float[np.ndarray, "m *k"], tolerance: float
) -> Bool[np.ndarray, " s"]:
    """Which cases need no finer look: two looks agree, and the values add up, measured by how much there is to add."""
    values = found.values[still].astype(np.float64)
    axes = tuple(range(1, values.ndim - (gain.ndim - 1)))
    gap, size = np.abs(values.sum(axis=axes) - gain[still]), np.abs(values).sum(axis=axes)
    adds_up = (
        (gap <= tolerance * np.maximum(size, np.abs(gain[still])) + ROUNDING)
        .reshape(len(still), -1)
        .all(axis=1)
    )
    return np.asarray((found.error[still] <= tolerance) & adds_up)
