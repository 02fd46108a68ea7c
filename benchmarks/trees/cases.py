"""Tables made here or read from a file, and the models fitted to them: each once, when first asked for."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import explainers as ex
from explainers.trees.ensemble import TreeEnsemble
from explainers.trees.reading import read

#: Threads for everybody, through each library's own setting.
THREADS = 2

#: Rows that the models are fitted to, features of the made table, trees, classes of the model of several classes.
FITTED, FEATURES, TREES, CLASSES = 50_000, 20, 100, 7


class Table:
    """Numbers and an outcome of two classes; values are float32 numbers, so that no library rounds a row across a split."""

    def __init__(self, path: Path | None, most: int | None) -> None:
        self.path, self.most = path, most
        self.fitted = max(min(FITTED, most or FITTED), 500)
        if path is None:
            self.X, score = made(self.fitted, 0)
            noise = np.random.default_rng(1).logistic(size=len(score))
            self.y = (score + noise > np.median(score)).astype(int)
            self.score = score
        else:
            frame = pd.read_csv(path).iloc[: self.fitted]
            self.X = frame.iloc[:, :-1].astype(np.float32).astype(np.float64).to_numpy()
            self.y = frame.iloc[:, -1].astype(int).to_numpy()
            self.score = np.nan_to_num(self.X).sum(axis=1)
        self.names = [f"x{j}" for j in range(self.X.shape[1])]
        edges = np.quantile(self.score, np.linspace(0, 1, CLASSES + 1)[1:-1])
        self.several = np.searchsorted(edges, self.score)

    def size(self, wanted: int) -> int:
        """So many rows, or fewer in a trial run."""
        return min(wanted, self.most or wanted)

    def rows(self, n: int) -> np.ndarray:
        """Rows to explain: those that were fitted, and beyond them others like them."""
        if n <= len(self.X):
            return self.X[:n]
        if self.path is None:
            return made(n, 7)[0]
        return self.X[np.random.default_rng(7).integers(len(self.X), size=n)]

    def frame(self, X: np.ndarray) -> pd.DataFrame:
        """Rows under the names of the columns."""
        return pd.DataFrame(X, columns=self.names)

    @cached_property
    def data(self) -> ex.Dataset:
        """The fitted rows as our side knows them."""
        return ex.Dataset.from_frame(self.frame(self.X).assign(outcome=self.y), target="outcome")

    def cases(self, X: np.ndarray) -> ex.Dataset:
        """Rows as a `Dataset` of the same schema."""
        return ex.Dataset.from_frame(self.frame(X), schema=self.data.schema)


def made(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Correlated numbers, and a score with curved and interacting effects of most of them."""
    mixing = np.random.default_rng(0).normal(size=(FEATURES, FEATURES))
    random = np.random.default_rng(seed)
    X = (random.normal(size=(n, FEATURES)) @ (np.eye(FEATURES) + 0.2 * mixing)).astype(np.float32)
    X = X.astype(np.float64)
    score = (
        X[:, 0] + 0.8 * X[:, 1] * X[:, 2] - np.abs(X[:, 3]) + np.sin(2 * X[:, 4]) + X[:, 5] * (X[:, 6] > 0)
    )
    return X, score + 0.3 * X[:, 7:].sum(axis=1) / np.sqrt(FEATURES) + 0.4 * X[:, 8] * X[:, 9]


class Case:
    """One fitted model, and what our side reads of it."""

    def __init__(self, table: Table, name: str, fit: Callable[[Table], Any]) -> None:
        self.table, self.name = table, name
        began = time.perf_counter()
        self.estimator = fit(table)
        self.fitting = time.perf_counter() - began

    def wrapped(self) -> ex.Model:
        """Wrapped afresh: nothing that was made for it before is known."""
        return ex.Model.wrap(self.estimator)

    @cached_property
    def model(self) -> ex.Model:
        """Wrapped once."""
        return self.wrapped()

    @cached_property
    def trees(self) -> TreeEnsemble:
        """The tensor form."""
        return read(self.model).trees

    @property
    def booster(self) -> Any:
        """XGBoost's or LightGBM's own object."""
        own = getattr(self.estimator, "booster_", None)
        return self.estimator.get_booster() if own is None else own

    @property
    def players(self) -> np.ndarray:
        """Each column is its own feature."""
        return np.arange(self.trees.columns)

    def facts(self) -> dict[str, Any]:
        """What a reader must know of the model."""
        trees = self.trees
        return {
            "name": self.name,
            "trees": trees.trees,
            "leaves": trees.leaves / trees.trees,
            "depth": int(trees.depth.max()),
            "fitting": self.fitting,
        }


class Cases:
    """The models by name; each is fitted when it is first asked for."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self.made: dict[str, Case] = {}

    def __getitem__(self, name: str) -> Case:
        if name not in self.made:
            self.made[name] = Case(self.table, name, FITS[name])
        return self.made[name]


def _xgboost(table: Table) -> Any:
    from xgboost import XGBClassifier

    model = XGBClassifier(n_estimators=TREES, max_depth=6, learning_rate=0.1, nthread=THREADS, random_state=0)
    return model.fit(table.frame(table.X), table.y)


def _several(table: Table) -> Any:
    from xgboost import XGBClassifier

    model = XGBClassifier(n_estimators=20, max_depth=6, learning_rate=0.1, nthread=THREADS, random_state=0)
    return model.fit(table.frame(table.X), table.several)


def _lightgbm(table: Table) -> Any:
    from lightgbm import LGBMClassifier

    model = LGBMClassifier(
        n_estimators=TREES, num_leaves=63, max_depth=6, num_threads=THREADS, random_state=0, verbose=-1
    )
    return model.fit(table.frame(table.X), table.y)


def _forest(table: Table, depth: int | None = 6) -> Any:
    from sklearn.ensemble import RandomForestClassifier

    model = RandomForestClassifier(TREES, max_depth=depth, n_jobs=THREADS, random_state=0)
    return model.fit(table.frame(table.X), table.y)


FITS: dict[str, Callable[[Table], Any]] = {
    "XGBoost, depth 6": _xgboost,
    "LightGBM, 63 leaves, depth 6": _lightgbm,
    "random forest, depth 6": _forest,
    "random forest, no depth limit": lambda table: _forest(table, None),
    f"XGBoost, depth 6, {CLASSES} classes": _several,
}
XGBOOST, LIGHTGBM, FOREST, DEEP, SEVERAL = FITS
