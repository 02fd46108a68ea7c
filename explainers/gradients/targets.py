"""Which output of each case is explained, where the pass that explains it is also the first to tell the predicted class."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int

from explainers.explainer import Problem
from explainers.gradients.scores import Score
from explainers.lazily import lazily

if TYPE_CHECKING:
    import torch
else:
    torch = lazily("torch")


def decide(problem: Problem, score: Score, scores: Float[np.ndarray, "m k"]) -> None:
    """Read the predicted classes off the scores of all cases, where they tell them and nobody else did before."""
    if score.decides:
        problem.decide(scores.argmax(axis=1))


class Targets:
    """The targets of a problem, portion by portion, in order; predicted classes are read off the scores of each portion."""

    def __init__(self, problem: Problem, score: Score) -> None:
        self._problem = problem
        read_off = problem.undecided and score.decides
        self._predicted = np.empty(len(problem.cases), np.int64) if read_off else None

    def of(self, part: slice, scores: Float[torch.Tensor, "n k"]) -> Int[torch.Tensor, " n"] | None:
        """The target of each case of a portion, where its scores are; ``None`` where all outputs are wanted."""
        if self._predicted is None:
            known = self._problem.targets_or_all
            return None if known is None else torch.from_numpy(known[part]).to(scores.device)
        found = scores.detach().argmax(dim=1)
        self._predicted[part] = found.cpu().numpy()
        if part.stop == len(self._predicted):
            self._problem.decide(self._predicted)
        return found
