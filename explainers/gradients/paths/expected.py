"""Slopes at random places on the ways from reference cases to cases, collected for each case.

On each way lie `n` places, an even number, one in each n-th part of it; over all ways together each place lies in a stratum of its own. Every case has the same
ways and places. Two neighbouring places on one way are a pair, the unit of work: their sum has the variance (c - c')², or less where the slope follows a
trend. From it comes the error of the calculation; from the spread of the ways, that of the reference.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int

from explainers.device import chunk_rows, over_chunks
from explainers.gradients.differentiate import each_slope, on, row_bytes
from explainers.gradients.paths.straight import Collected, Paths
from explainers.gradients.scores import Score
from explainers.lazily import lazily
from explainers.progress import Progress

if TYPE_CHECKING:
    import torch
else:
    torch = lazily("torch")


def strata(references: int, nodes: int, seed: int) -> Float[np.ndarray, "b n"]:
    """Places on ``[0, 1]``: node j of each way in the j-th of n parts, all nodes in strata of their own."""
    rng = np.random.default_rng(seed)
    cell = np.stack([rng.permutation(references) for _ in range(nodes)], axis=1) + references * np.arange(
        nodes
    )
    return (cell + rng.random(cell.shape)) / (references * nodes)


def expect(
    score: Score,
    paths: Paths,
    places: Float[np.ndarray, "b n"],
    targets: Int[np.ndarray, " m"] | None,
    device: torch.device,
    progress: Progress,
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Means of (x - b) · ∂score/∂x (b + t (x - b)), their error from the places, and from the ways where there are several.

    float32 ``(m, …)``, or ``(m, …, k)`` of all outputs, which share one forward pass.
    """
    pairs, outputs = places.shape[1] // 2, 1 if targets is not None else _outputs(score, paths, device)
    shape = (len(paths.cases), outputs, *paths.cases.shape[1:])
    collected = Collected(paths.per_case, np.zeros(shape), np.zeros(shape) if paths.per_case > 1 else None)
    differences = np.zeros(shape, dtype=np.float32)  # of squares nothing cancels

    count = paths.count * pairs
    size = row_bytes(score, paths.cases, 2 * count, device)
    together = (
        chunk_rows(size, device) > 1
    )  # else one place after the other: two large pictures at once help nobody

    def compute(part: slice) -> None:
        path, pair = np.divmod(np.arange(part.start, part.stop), pairs)
        case, reference = np.divmod(path, paths.per_case)
        start, end = paths.ends(path, device)
        way = end.sub_(start)
        chosen = places[reference[None], 2 * pair[None] + np.arange(2)[:, None]].astype(np.float32)
        t = torch.from_numpy(chosen).to(device).reshape(2, -1, *[1] * (way.ndim - 1))

        def contributions(places_now: slice) -> Iterator[torch.Tensor]:
            x = (start + t[places_now] * way).flatten(0, 1).requires_grad_()
            rows = on(targets, np.tile(case, len(t[places_now])), device)
            for slope in each_slope(score(x), x, rows):
                yield slope.reshape(-1, *way.shape) * way

        both: Iterable[tuple[torch.Tensor, torch.Tensor]]
        if together or len(path) > 1:
            both = ((each[0], each[1]) for each in contributions(slice(None)))
        else:
            first = list(contributions(slice(0, 1)))
            both = ((a[0], b[0]) for a, b in zip(first, contributions(slice(1, 2)), strict=True))
        sums, squares = _added(both, path - path[0], case - case[0])
        collected.add(int(path[0]), np.divide(sums, 2 * pairs, out=sums))
        differences[case[0] : case[-1] + 1] += squares

    over_chunks(compute, count, 2 * size, device, progress)
    collected.close()
    error = np.sqrt(differences, out=differences)
    error /= paths.per_case * 2 * pairs
    spread = collected.error()
    found = [collected.mean(), error] + ([] if spread is None else [spread])
    shaped = [_last(values, every=targets is None) for values in found]
    return shaped[0], shaped[1], shaped[2] if spread is not None else None


def _outputs(score: Score, paths: Paths, device: torch.device) -> int:
    with torch.no_grad():
        return int(score(torch.tensor(paths.cases[:1], device=device)).shape[1])


def _added(
    contributions: Iterable[tuple[torch.Tensor, torch.Tensor]],
    way: Int[np.ndarray, " n"],
    case: Int[np.ndarray, " n"],
) -> tuple[np.ndarray, np.ndarray]:
    """Of pairs ``(n, …)`` of each output: sums over the pairs of a way, squared differences over those of a case."""
    sums, squares = [], []
    for first, second in contributions:
        sums.append(_by(way, first + second))
        squares.append(_by(case, first.sub_(second).square_()))
    return _stacked(sums), _stacked(squares)


def _stacked(outputs: list[torch.Tensor]) -> np.ndarray:
    """Rows ``(n, e, …)`` of the outputs ``(n, …)``."""
    return (outputs[0][:, None] if len(outputs) == 1 else torch.stack(outputs, dim=1)).cpu().numpy()


def _by(group: Int[np.ndarray, " n"], values: torch.Tensor) -> torch.Tensor:
    """Sums of the rows of each group; groups are numbered from 0, and ascend."""
    if len(group) == 1:
        return values
    total = values.new_zeros((int(group[-1]) + 1, *values.shape[1:]))
    return total.index_add_(0, torch.from_numpy(group).to(values.device), values)


def _last(values: np.ndarray, *, every: bool) -> np.ndarray:
    """From ``(m, e, …)`` outputs to the last axis, or the only one alone."""
    return np.ascontiguousarray(np.moveaxis(values, 1, -1) if every else values[:, 0], dtype=np.float32)
