"""Gradients of scores with respect to the inputs of a module, in portions that fit the device."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int

from explainers.device import over_chunks
from explainers.errors import ModelFailure
from explainers.explainer import Problem
from explainers.gradients.inputs import module_inputs
from explainers.gradients.remembered import Remembered
from explainers.gradients.scores import Score, differentiable
from explainers.gradients.targets import Targets
from explainers.lazily import lazily
from explainers.progress import Progress

if TYPE_CHECKING:
    import torch
else:
    torch = lazily("torch")

#: Up to this many rows the memory of the graph is guessed instead of measured: measuring costs one more row.
FEW_ROWS = 8

#: Memory of a row, for its shape, the device and the score.
_ROWS: Remembered[int] = Remembered()


def gradients(
    scores: Float[torch.Tensor, "n k"], at: torch.Tensor, targets: Int[torch.Tensor, " n"] | None
) -> torch.Tensor:
    """Slope of each row's target ``(n, …)``, or of all outputs ``(n, …, k)``; rows do not depend on each other."""
    slopes = list(each_slope(scores, at, targets))
    return slopes[0] if targets is not None else torch.stack(slopes, dim=-1)


def each_slope(
    scores: Float[torch.Tensor, "n k"], at: torch.Tensor, targets: Int[torch.Tensor, " n"] | None
) -> Iterator[torch.Tensor]:
    """The slope of each row's target, or one after the other those of all outputs, ``(n, …)`` each; one graph serves all."""
    if not scores.requires_grad:
        raise ModelFailure(
            "The output has no gradient here: an operation on the way to it cannot be differentiated."
        )
    if targets is not None:
        yield _slope(of_targets(scores, targets).sum(), at, keep=False)
        return
    k = scores.shape[1]
    for j in range(k):
        yield _slope(scores[:, j].sum(), at, keep=j < k - 1)


def of_targets(
    scores: Float[torch.Tensor, "n k"], targets: Int[torch.Tensor, " n"]
) -> Float[torch.Tensor, " n"]:
    """Of each row the score of its target."""
    return scores.gather(1, targets[:, None])[:, 0]


def _slope(score: torch.Tensor, at: torch.Tensor, keep: bool) -> torch.Tensor:
    (slope,) = torch.autograd.grad(score, at, retain_graph=keep, allow_unused=True)
    return torch.zeros_like(at) if slope is None else slope


def slopes_at_cases(
    problem: Problem, space: str, progress: Progress
) -> tuple[Score, Float[np.ndarray, "m *shape"], np.ndarray, Float[np.ndarray, "m k"]]:
    """The score that was asked for, the module's inputs, the slopes ``(m, …)`` or ``(m, …, k)`` there, and all scores."""
    inputs = module_inputs(problem.model, problem.cases.X)
    with differentiable(problem, space) as score:
        slopes, scores = input_gradients(score, inputs, Targets(problem, score), problem.device, progress)
    return score, inputs, slopes, scores


def input_gradients(
    score: Score,
    inputs: Float[np.ndarray, "m *shape"],
    targets: Targets,
    device: torch.device,
    progress: Progress,
) -> tuple[np.ndarray, Float[np.ndarray, "m k"]]:
    """Gradients ``(m, …)`` or ``(m, …, k)`` at the inputs, and all scores there."""

    def compute(part: slice) -> tuple[np.ndarray, np.ndarray]:
        x = torch.tensor(inputs[part], device=device, requires_grad=True)
        scores = score(x)
        slopes = gradients(scores, x, targets.of(part, scores))
        return slopes.cpu().numpy(), scores.detach().cpu().numpy()

    parts = over_chunks(compute, len(inputs), row_bytes(score, inputs, len(inputs), device), device, progress)
    slopes, scores = zip(*parts, strict=True)
    return np.concatenate(slopes), np.concatenate(scores)


def output_scores(
    score: Score, inputs: Float[np.ndarray, "m *shape"], device: torch.device
) -> Float[np.ndarray, "m k"]:
    """All scores at the inputs, without a graph."""

    def compute(part: slice) -> np.ndarray:
        with torch.no_grad():
            return np.asarray(score(torch.tensor(inputs[part], device=device)).cpu().numpy())

    return np.concatenate(over_chunks(compute, len(inputs), inputs[:1].nbytes * 24, device))


def on(
    targets: Int[np.ndarray, " m"] | None, part: slice | np.ndarray, device: torch.device
) -> Int[torch.Tensor, " n"] | None:
    """The targets of a portion on the device; ``None`` where all outputs are wanted."""
    return None if targets is None else torch.from_numpy(targets[part]).to(device)


def row_bytes(score: Score, inputs: Float[np.ndarray, "m *shape"], count: int, device: torch.device) -> int:
    """Memory of one row in a forward and a backward pass: what autograd keeps for one case, on a GPU twice."""
    if count <= FEW_ROWS:
        return inputs[:1].nbytes * 48
    asked = (inputs.shape[1:], str(device), score.kind)
    return _ROWS.of(score.module, asked, lambda: measured_row_bytes(score, inputs, device))


def measured_row_bytes(score: Score, inputs: Float[np.ndarray, "m *shape"], device: torch.device) -> int:
    """The same from a pass of the first row."""
    kept: dict[int, int] = {}
    weights = {p.untyped_storage().data_ptr() for p in (*score.module.parameters(), *score.module.buffers())}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        score(torch.tensor(inputs[:1], device=device, requires_grad=True))
    graph = sum(size for place, size in kept.items() if place not in weights)
    twice = (
        1 if device.type == "cpu" else 2
    )  # a processor is quickest with some 128 MB of it at a time, and has more
    return twice * graph + 8 * int(inputs[:1].nbytes)
