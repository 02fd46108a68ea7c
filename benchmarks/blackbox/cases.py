"""Models whose exact Shapley values are known, with the rows that are explained: each made once, when first asked for."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import pandas as pd

import explainers as ex
from benchmarks.blackbox.exact import by_enumeration, coalition_table, of_network
from benchmarks.trees.cases import THREADS, made

#: Rows that models are fitted to; rows explained where accuracy is measured; reference cases.
FITTED, ROWS, BACKGROUND = 4_000, 20, 100

#: Features up to which the value of every coalition is computed beforehand, so that the other side's calls cost nothing.
LISTED = 14

Predict = Callable[[np.ndarray], np.ndarray]


@dataclasses.dataclass(eq=False)
class Case:
    """One model, and everything that both sides need of it.

    Attributes:
        name: what it is, in words.
        model: as our side knows it.
        predict: the same model as another library calls it, ``(n, d)`` to ``(n,)``.
        X: rows it was fitted to.
        rows: rows to explain ``(m, d)``.
        background: reference cases ``(b, d)``.
        exact: finds the exact values of some rows, ``(m, d)`` to ``(m, d)``; by enumeration where not given.
    """

    name: str
    model: ex.Model
    predict: Predict
    X: np.ndarray
    rows: np.ndarray
    background: np.ndarray
    exact: Callable[[Case], np.ndarray] | None = None

    @property
    def d(self) -> int:
        """How many features."""
        return int(self.X.shape[1])

    @cached_property
    def data(self) -> ex.Dataset:
        """The fitted rows as our side knows them."""
        return ex.Dataset.from_frame(_frame(self.X))

    @cached_property
    def reference(self) -> ex.Dataset:
        """The reference cases as a `Dataset`."""
        return self.dataset(self.background)

    def dataset(self, X: np.ndarray) -> ex.Dataset:
        """Rows under the schema of the fitted ones."""
        return ex.Dataset.from_frame(_frame(X), schema=self.data.schema)

    def explained(self, method: ex.Explainer, X: np.ndarray) -> Any:
        """The whole of our call."""
        return ex.explain(self.model, self.data, method, rows=self.dataset(X), background=self.reference)

    @cached_property
    def table(self) -> np.ndarray:
        """Value of every coalition of every row, ``(m, 2^d)``; bit j of the column says whether feature j is in."""
        return coalition_table(self.predict, self.rows, self.background)

    @cached_property
    def truth(self) -> np.ndarray:
        """Exact values ``(m, d)`` of the rows."""
        return self.exact(self) if self.exact else by_enumeration(self.table)

    def game(self, row: int) -> Predict:
        """From coalitions ``(n, d)`` of one row to their values: looked up where all are known, else asked."""
        if self.d <= LISTED:
            values, bits = self.table[row], 1 << np.arange(self.d)
            return lambda masks: values[np.atleast_2d(masks) @ bits]
        return lambda masks: self._asked(self.rows[row], np.atleast_2d(masks).astype(bool))

    def _asked(self, x: np.ndarray, masks: np.ndarray) -> np.ndarray:
        mixed = np.where(masks[:, None, :], x, self.background)
        return np.asarray(self.predict(mixed.reshape(-1, self.d)).reshape(len(masks), -1).mean(axis=1))


def network(d: int, rows: int = ROWS, background: int = BACKGROUND) -> Case:
    """A torch network with hidden layers of 32 and 16."""
    import torch

    from explainers.wrapping.torch_module import forward

    X, y = _table(d)
    torch.manual_seed(0)
    layers = torch.nn
    module = layers.Sequential(
        layers.Linear(d, 32), layers.ReLU(), layers.Linear(32, 16), layers.ReLU(), layers.Linear(16, 1)
    )
    inputs, wanted = torch.tensor(X, dtype=torch.float32), torch.tensor(y, dtype=torch.float32)
    optimiser = torch.optim.Adam(module.parameters(), lr=0.01)
    for _ in range(300):
        optimiser.zero_grad()
        torch.nn.functional.mse_loss(module(inputs)[:, 0], wanted).backward()  # type: ignore[no-untyped-call]
        optimiser.step()

    def predict(rows: np.ndarray) -> np.ndarray:
        return np.asarray(forward(module, rows), dtype=np.float64).ravel()

    exact = None if d <= 16 else lambda case: of_network(module, case.rows, case.background)
    return _case(f"torch network, {d} features", ex.Model.wrap(module), predict, X, rows, background, exact)


def boosted(d: int, rows: int = ROWS, background: int = BACKGROUND) -> Case:
    """XGBoost, 100 trees of depth 4."""
    from xgboost import XGBRegressor

    X, y = _table(d)
    model = XGBRegressor(n_estimators=100, max_depth=4, nthread=THREADS, random_state=0).fit(_frame(X), y)
    booster = model.get_booster()
    return _case(
        f"XGBoost, 100 trees of depth 4, {d} features",
        ex.Model.wrap(model),
        lambda rows: np.asarray(booster.inplace_predict(rows, validate_features=False), dtype=np.float64),
        X,
        rows,
        background,
        by_trees,
    )


def forest(
    d: int, rows: int = ROWS, background: int = BACKGROUND, trees: int = 30, depth: int | None = 8
) -> Case:
    """scikit-learn's random forest."""
    from sklearn.ensemble import RandomForestRegressor

    X, y = _table(d)
    model = RandomForestRegressor(trees, max_depth=depth, random_state=0).fit(X, y)
    name = f"scikit-learn forest, {trees} trees, {d} features"
    return _case(name, ex.Model.wrap(model), model.predict, X, rows, background, by_trees)


def smooth(d: int, rows: int = ROWS, background: int = BACKGROUND) -> Case:
    """A written function with curved and interacting effects; its last features hardly matter."""

    def function(X: np.ndarray) -> np.ndarray:
        x = np.asarray(X, dtype=np.float64).T
        found = x[0] + 0.8 * x[1] * x[2] + np.sin(2 * x[3]) + x[4] * np.exp(-(x[5] ** 2))
        found = found + np.tanh(x[6] + x[7] * x[8]) + 0.5 * np.maximum(x[9], 0) * x[0]
        return np.asarray(found + 0.01 * x[10:].sum(axis=0) + 0.01 * x[10] * x[1])

    X, _ = _table(d)
    return _case(
        f"smooth function, {d} features", ex.Model.wrap(function), function, X, rows, background, None
    )


def by_trees(case: Case) -> np.ndarray:
    """The tree engine against the same background, without sampling."""
    method = ex.TreeShap(background=len(case.background))
    return np.asarray(case.explained(method, case.rows).values, dtype=np.float64)


def _case(
    name: str,
    model: ex.Model,
    predict: Predict,
    X: np.ndarray,
    rows: int,
    background: int,
    exact: Callable[[Case], np.ndarray] | None,
) -> Case:
    return Case(name, model, predict, X, X[:rows], X[-background:], exact)


def _table(d: int) -> tuple[np.ndarray, np.ndarray]:
    """Correlated numbers; the outcome depends on ten of them strongly and hardly on the others."""
    X, score = made(FITTED, 0)
    return X[:, :d], score + 0.3 * np.random.default_rng(1).normal(size=len(score))


def _frame(X: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame(X, columns=[f"x{j}" for j in range(X.shape[1])])


class Cases:
    """The cases by name; each is made when it is first asked for."""

    MAKERS: ClassVar[dict[str, Callable[..., Case]]] = {
        "network": network,
        "boosted": boosted,
        "forest": forest,
        "smooth": smooth,
    }

    def __init__(self) -> None:
        self._made: dict[tuple[Any, ...], Case] = {}

    def __call__(self, kind: str, *sizes: Any) -> Case:
        """`kind` of `MAKERS`, and what its function takes."""
        key = (kind, *sizes)
        if key not in self._made:
            self._made[key] = self.MAKERS[kind](*sizes)
        return self._made[key]
