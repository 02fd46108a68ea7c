"""Random ensembles and models made of them: with their trees, and as black boxes that answer the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

import explainers as ex
from explainers.trees.ensemble import Sets, Tree, TreeEnsemble

COLUMNS = 5


def random_tree(random: np.random.Generator, depth: int, output: int, sets: int, leaf_values: int) -> Tree:
    """A tree over small whole numbers, some branches shorter; the last column may be asked for a set."""
    rows: list[list[Any]] = []

    def grow(left_over: int) -> int:
        here = len(rows)
        column, chosen = int(random.integers(COLUMNS)), -1
        if sets and column == COLUMNS - 1 and random.random() < 0.7:
            chosen = int(random.integers(sets))
        rows.append([column, float(random.integers(7)), -1, -1, bool(random.integers(2)), chosen])
        if left_over and random.random() < 0.9:
            rows[here][2] = grow(left_over - 1)
            rows[here][3] = grow(left_over - 1)
        return here

    grow(depth)
    feature, threshold, left, right, missing_left, chosen = (
        np.array(part) for part in zip(*rows, strict=True)
    )
    value = random.normal(size=(len(rows), leaf_values)) if leaf_values > 1 else random.normal(size=len(rows))
    return Tree(feature, threshold, left, right, missing_left, value, np.ones(len(rows)), output, chosen)


def random_ensemble(
    seed: int, link: str = "identity", outputs: int = 1, trees: int = 12, depth: int = 4, joint: bool = False
) -> TreeEnsemble:
    """An ensemble with sets of categories, a single leaf, and for several outputs one or all of them in each tree."""
    random = np.random.default_rng(seed)
    sets = Sets.of([random.random(5) < 0.5 for _ in range(3)])
    made = [
        random_tree(random, 0 if i == 3 else depth, i % outputs, 3, outputs if joint else 1)
        for i in range(trees)
    ]
    if link == "probability":
        made = [
            Tree(t.feature, t.threshold, t.left, t.right, t.missing_left, 1 / (1 + np.exp(-t.value)) / trees, t.cover, 0, t.chosen)
            for t in made
        ]  # fmt: skip
    base = np.zeros(outputs) if link == "probability" else random.normal(size=outputs)
    return TreeEnsemble.of(made, base, COLUMNS, single=False, sets=sets, link=link, slope=0.7)  # type: ignore[arg-type]


def cases(n: int, seed: int = 0, truth: str = "number") -> ex.Dataset:
    """Whole numbers, most of them exactly on thresholds, with missing values and unknown categories."""
    random = np.random.default_rng(seed)
    X = random.integers(-1, 8, size=(n, COLUMNS)).astype(float)
    X[random.random(X.shape) < 0.1] = np.nan
    frame = pd.DataFrame(X, columns=list("abcde"))
    score = np.nan_to_num(X[:, 0]) + np.nan_to_num(X[:, 1]) + random.normal(size=n)
    frame["y"] = score if truth == "number" else np.digitize(score, [4.0] if truth == "two" else [3.0, 6.0])
    return ex.Dataset.from_frame(frame, target="y")


def model_of(ensemble: TreeEnsemble, *, known: bool) -> ex.Model:
    """A model that predicts with an ensemble; `known` tells whether it shows its trees."""

    def values(X: Any) -> np.ndarray:
        return np.asarray(X, dtype=np.float64)

    classes: tuple[int, ...] = ()
    if ensemble.link in ("logistic", "probability"):
        classes = (0, 1)
    elif ensemble.link == "softmax":
        classes = tuple(range(ensemble.outputs))
    model = ex.Model(
        predictor=lambda X: ensemble.predict(values(X)),
        task="classification" if classes else "regression",
        classes=classes,
        space="probability" if classes else "target",
        raw_predictor=(lambda X: ensemble.raw(values(X))) if classes else None,
    )
    model.__dict__["trees"] = ensemble if known else None
    return model
