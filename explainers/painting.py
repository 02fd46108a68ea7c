"""Pictures of which parts are covered: made where the model computes, many at a time, and asked there.

Portions are as large as what the model makes of them on its way allows: on a processor a layer's input and output should stay in the
cache, or its convolutions take up to twice as long.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Int

from explainers.device import over_chunks, pick
from explainers.explainer import Problem
from explainers.lazily import lazily
from explainers.masking import replacement
from explainers.progress import Progress
from explainers.wrapping.torch_module import takes_tensors

if TYPE_CHECKING:
    import torch
else:
    torch = lazily("torch")

#: How long a portion of predictions may take before progress is reported.
PORTION_SECONDS = 1.0

#: What a row takes, in inputs and outputs of the largest layer: a portion on a processor (64 MB) then has some 16 MB of those.
LAYERS = 4

#: What a row takes at most: four or five at a time, at least, share what a convolution does to its weights.
MOST = 13_000_000

#: The same in pictures, where layers cannot be seen.
PICTURES = 24


@dataclasses.dataclass(frozen=True, eq=False)
class Canvas:
    """The cases of a problem, and what is shown where they are covered.

    Attributes:
        problem, space: what was asked.
        pictures: the cases.
        fill: what covered pixels show, one picture for all cases or one each.
        words: the same in words.
        full: the scores of the cases as they are.
        row_bytes: memory that one changed picture takes on its way through the model.
    """

    problem: Problem
    space: str
    pictures: Float[torch.Tensor, "m c h w"]
    fill: Float[torch.Tensor, "f c h w"]
    words: str
    full: Float[np.ndarray, "m k"]
    row_bytes: int

    @classmethod
    def of(cls, problem: Problem, space: str, baseline: float | int | str) -> Canvas:
        """The canvas of a problem whose module lies where it computes (`explainers.games.opening.placed`)."""
        cases = np.asarray(problem.cases.X, dtype=np.float32)
        fill, words = replacement(baseline, cases, problem.data, problem.data.X)
        full, row_bytes = _asked(problem, space, cases)
        device = problem.device if takes_tensors(problem.model) else pick("cpu")
        return cls(
            problem,
            space,
            _on(cases, device),
            _on(fill, device),
            words,
            full,
            row_bytes,
        )

    @property
    def device(self) -> torch.device:
        """Where pictures are made: where the model's module is, or in main memory."""
        return self.pictures.device

    def of_cases(self, which: Int[torch.Tensor, " t"]) -> tuple[torch.Tensor, torch.Tensor]:
        """The pictures ``(t, c, h, w)`` of the cases at these positions, and their fill, ``(t, …)`` or one for all."""
        return self.pictures[which], self.fill if len(self.fill) == 1 else self.fill[which]

    def scores(self, changed: Float[torch.Tensor, "t c h w"]) -> Float[np.ndarray, "t k"]:
        """What the model says of changed pictures."""
        plain = takes_tensors(self.problem.model)
        return self.problem.model.scores(changed if plain else changed.numpy(), self.space)

    def portions(
        self, compute: Callable[[slice], Any], count: int, progress: Progress, each: int = 1
    ) -> list[Any]:
        """``compute(slice)`` over `count` pieces of work of `each` changed pictures, as many at a time as is fast."""
        return over_chunks(
            compute, count, each * self.row_bytes, self.device, progress, seconds=PORTION_SECONDS
        )


def _on(array: np.ndarray, device: torch.device) -> torch.Tensor:
    """The same memory where that is allowed: nothing writes into it."""
    return (
        torch.as_tensor(array, device=device) if array.flags.writeable else torch.tensor(array, device=device)
    )


def _asked(problem: Problem, space: str, cases: np.ndarray) -> tuple[np.ndarray, int]:
    """The scores of the cases, and what one of them takes on its way."""
    with _largest_layer(problem.model.module if takes_tensors(problem.model) else None) as sizes:
        full = problem.predictions if space == problem.model.space else problem.model.scores(cases, space)
    row_bytes = cases[:1].nbytes
    return full, max(4 * row_bytes, min(LAYERS * max(sizes), MOST)) if sizes else PICTURES * row_bytes


@contextlib.contextmanager
def _largest_layer(module: torch.nn.Module | None) -> Iterator[list[int]]:
    """What goes into and comes out of each layer while this lasts, in bytes for a row; a compiled module shows none."""
    sizes: list[int] = []
    rows = [1]

    def begin(_: torch.nn.Module, inputs: tuple[Any, ...]) -> None:
        rows[0] = max(1, len(inputs[0]))

    def note(_: torch.nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        both = (part for part in (*inputs, output) if isinstance(part, torch.Tensor))
        sizes.append(sum(part.nbytes for part in both) // rows[0])

    hooks = []
    if module is not None and not isinstance(module, torch.jit.ScriptModule):
        layers = [child for child in module.modules() if not list(child.children())]
        open_to_see = (layer for layer in layers if not isinstance(layer, torch.jit.ScriptModule))
        hooks = [module.register_forward_pre_hook(begin)]
        hooks += [layer.register_forward_hook(note) for layer in open_to_see]
    try:
        yield sizes
    finally:
        for hook in hooks:
            hook.remove()
