"""Kernel SHAP: Shapley values of any model, by asking it about coalitions of features.

Features outside a coalition S take the values of reference cases, v(S) = mean over b of f(x_S, b_rest); a
feature's value is its mean marginal contribution over all orders, found as the weighted least-squares fit of an
additive function to v (Lundberg and Lee 2017). All coalitions are asked where they fit the budget: then the
values are exact. Otherwise pairs of complements are drawn without replacement (`explainers.sampling.coalitions`)
and the fit is solved in closed form, once for all rows and outputs (`explainers.sampling.shapley_regression`).

Cost: (coalitions - 2) x background + 1 model rows for each case, and the background once.
"""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any, ClassVar, Literal

import numpy as np

from explainers.errors import InvalidSetting
from explainers.explainer import Explainer, Problem, resolve_space
from explainers.explanation import Attribution, Explanation
from explainers.progress import Progress
from explainers.sampling.kernel_estimate import KernelEstimate
from explainers.sampling.masking import BackgroundGame
from explainers.settings import Range


@dataclasses.dataclass(frozen=True)
class KernelShap(Explainer):
    """What each feature adds to this prediction, compared with reference cases; for any model."""

    background: Annotated[int, Range(1, 10_000)] = 100
    budget: Annotated[int, Range(4, 65_536)] = 1024
    seed: Annotated[int, Range(0, 2**31 - 1)] = 0
    space: Literal["auto", "raw", "probability"] = "auto"

    title: ClassVar[str] = "SHAP for any model (Kernel SHAP)"
    question: ClassVar[str] = (
        "How much does each feature add to this prediction, compared with the reference cases?"
    )
    scope: ClassVar[Literal["case", "data"]] = "case"
    returns: ClassVar[type[Explanation]] = Attribution
    paper: ClassVar[str] = (
        "Lundberg and Lee, A unified approach to interpreting model predictions, NeurIPS 2017"
    )

    def explain(self, problem: Problem, progress: Progress) -> Attribution:
        """Exact where all coalitions fit the budget, else sampled with a standard error for each value."""
        d = len(problem.data.schema.names)
        enough = min(2**d, 2 * d + 2)
        if self.budget < enough:
            raise InvalidSetting(
                f"KernelShap(budget={self.budget}) is too small for {d} features; set budget to {enough} or more."
            )
        space = resolve_space(self.space, problem.model)
        background = problem.reference_cases(self.background, self.seed)
        game = BackgroundGame(
            problem.model, problem.data, space, problem.cases.matrix, background.matrix, _wanted(problem)
        )
        output, empty = game.alone()
        run = KernelEstimate(game, empty, output)
        asked = run.over_rows(self.budget, self.seed, progress)

        def plain(values: np.ndarray) -> np.ndarray:
            return values if problem.all_outputs else values[..., 0]

        return Attribution(
            names=problem.data.schema.names,
            values=plain(run.values),
            base_value=plain(run.base),
            output=plain(run.full),
            space=space,
            targets=problem.target_labels,
            standard_error=None if asked["exact"] else plain(run.error),
            background_error=plain(run.spread) if len(background) > 1 else None,
            reference=problem.reference(background, space),
            diagnostics={**asked, "background": len(background), "seed": self.seed},
        )


def _wanted(problem: Problem) -> Any:
    """From ``(t, b, k)`` the target's output of each case, ``(t, b, 1)``, or all of them."""
    if problem.all_outputs:
        return lambda _, scores: scores
    targets = problem.targets
    return lambda which, scores: np.take_along_axis(scores, targets[which][:, None, None], axis=2)
