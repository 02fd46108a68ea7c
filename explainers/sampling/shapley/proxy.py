"""A tree model of the coalition values as control variate: its Shapley values are exact, and only what it misses is estimated.

A small boosted ensemble learns v(S) less its linear part from the masks that were asked; Shapley values are linear in the game, so

    phi(v) = phi(g) + phi(v - g),

the first exactly from the trees and the second by the same regression as before, with smaller residuals. Each pair of coalitions is
predicted by an ensemble that never saw it (cross-fitting), so residuals, and with them the error, are not flattered. Related: Witter, Liu and Musco,
"Regression-adjusted Monte Carlo estimators for Shapley values", NeurIPS 2025.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float

from explainers.lazily import lazily
from explainers.sampling.shapley.regression import ShapleyRegression

ensemble = lazily("sklearn.ensemble")

#: Parts that each ensemble leaves out in turn, and the fewest pairs worth it.
FOLDS, LEAST_PAIRS = 5, 30


def corrected(
    fit: ShapleyRegression,
    differences: Float[np.ndarray, "p k"],
    sums: Float[np.ndarray, "p k"],
    plain: Float[np.ndarray, "d k"],
    seed: int,
) -> tuple[Float[np.ndarray, "d k"], Float[np.ndarray, "d k"]]:
    """Values and their error, from ``v(S) - v(S')`` and ``v(S) + v(S')`` of the pairs; the plain ones where trees help nothing.

    `plain` are the values without this correction.
    """
    values, error = plain.copy(), fit.standard_error(differences, plain)
    for output in range(differences.shape[1] if len(differences) >= LEAST_PAIRS else 0):
        linear = plain[:, output]
        own, known, left_out = _cross_fitted(fit, differences[:, output], sums[:, output], linear, seed)
        rest, rest_error = fit.estimated(known, left_out, -own.sum())
        if np.square(rest_error).sum() < np.square(error[:, output]).sum():
            values[:, output], error[:, output] = linear + own + rest, rest_error
    return values, error


def _cross_fitted(
    fit: ShapleyRegression, differences: np.ndarray, sums: np.ndarray, linear: np.ndarray, seed: int
) -> tuple[Float[np.ndarray, " d"], Float[np.ndarray, " p"], Float[np.ndarray, " p"]]:
    """Mean Shapley values of the ensembles, and residuals of each pair: of the ensembles that saw it, and of the one that did not."""
    masks = fit.coalitions.first
    p, d = masks.shape
    upper, lower = (sums + differences) / 2 - masks @ linear, (sums - differences) / 2 - ~masks @ linear
    fold = np.random.default_rng(seed).permutation(p) % FOLDS
    own, known, left_out = np.zeros(d), np.zeros(p), np.zeros(p)
    for number in range(FOLDS):
        away = fold == number
        learnt = _learn(masks[~away], upper[~away], lower[~away], seed)
        left = upper - lower - _answers(learnt, masks) + _answers(learnt, ~masks)
        left_out[away] = left[away]
        known[~away] += left[~away] / (FOLDS - 1)
        own += _exact(learnt, d) / FOLDS
    return own, known, left_out


def _learn(masks: Bool[np.ndarray, "q d"], upper: np.ndarray, lower: np.ndarray, seed: int) -> object:
    learner = ensemble.HistGradientBoostingRegressor(
        max_iter=60, max_leaf_nodes=8, min_samples_leaf=5, early_stopping=False, random_state=seed
    )
    return learner.fit(np.concatenate([masks, ~masks]).astype(np.float64), np.concatenate([upper, lower]))


def _answers(learnt: object, masks: Bool[np.ndarray, "q d"]) -> Float[np.ndarray, " q"]:
    return np.asarray(learnt.predict(masks.astype(np.float64)))  # type: ignore[attr-defined]


def _exact(learnt: object, d: int) -> Float[np.ndarray, " d"]:
    """Shapley values of the ensemble between all players absent and all present."""
    from explainers.trees.converting import convert
    from explainers.trees.shapley.exact import against_background

    found = against_background(
        convert(learnt), np.arange(d), d, np.ones((1, d)), np.zeros((1, d)), kind=np.float64
    )
    return np.asarray(found.values[0, :, 0])
