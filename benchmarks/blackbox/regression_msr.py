"""Regression-adjusted Monte Carlo, plainly: boosted trees on the coalitions, their exact values, and the residual's.

What Witter, Liu and Musco (Regression-adjusted Monte Carlo estimators for Shapley values and probabilistic values, 2025) call
RegressionMSR; written here because shapiq 1.4.1 does not have it. Trees are fitted on four fifths of the coalitions and
corrected on the fifth: phi_j = phi_j(trees) + mean over S of (+p(|S| - 1) or -p(|S|)) / q(S) (v(S) - trees(S)), with
p(s) = 1 / (d C(d - 1, s)); pairs are drawn with sizes uniform in 1 .. d - 1.
"""

from __future__ import annotations

import math

import numpy as np

from benchmarks.blackbox.cases import Case

FOLDS = 5


def regression_msr(case: Case, row: int, budget: int, seed: int) -> np.ndarray:
    """Values ``(d,)`` of the row at a position."""
    import shap
    from xgboost import XGBRegressor

    game, d = case.game(row), case.d
    rng = np.random.default_rng(seed)
    size = rng.integers(1, d, size=(budget - 2) // 2)
    masks = rng.random((len(size), d)).argsort(axis=1) < size[:, None]
    ends = np.array([np.zeros(d, dtype=bool), np.ones(d, dtype=bool)])
    outer, worth = game(ends), game(np.concatenate([masks, ~masks]))
    fold = np.tile(np.arange(len(size)) % FOLDS, 2)
    masks = np.concatenate([masks, ~masks])
    weights = _weights(masks)
    found = np.zeros(d)
    for one in range(FOLDS):
        inside = fold == one
        trees = XGBRegressor(n_estimators=100, max_depth=4, learning_rate=0.1, nthread=1)
        trees.fit(np.concatenate([masks[~inside], ends]), np.concatenate([worth[~inside], outer]))
        explainer = shap.TreeExplainer(trees, np.zeros((1, d)))
        left = worth[inside] - trees.predict(masks[inside])
        alone = (outer - trees.predict(ends)) / d
        found += explainer.shap_values(np.ones((1, d)), check_additivity=False)[0]
        found += (weights[inside] * left[:, None]).mean(axis=0) + alone[1] - alone[0]
    return found / FOLDS


def _weights(masks: np.ndarray) -> np.ndarray:
    """What a coalition's value counts for each feature, over the chance to draw it: ``(n, d)``."""
    d = masks.shape[1]
    chance = np.array([1.0] + [(d - 1) * math.comb(d, s) for s in range(1, d)])
    p = np.array([1 / (d * math.comb(d - 1, s)) for s in range(d)])
    size = masks.sum(axis=1)
    scale = chance[size][:, None]
    return np.asarray(np.where(masks, p[size - 1][:, None], -p[size][:, None]) * scale)
