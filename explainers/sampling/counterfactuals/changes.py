"""What may be changed in a case, and to which values: the rules that counterfactuals obey.

A *move* is a set of features that change together, with the values they may take:

- an immutable feature never moves; a measured one only with an actionable one it `moves_with`, or where allowed;
- features joined by `moves_with` (directly or in a chain) move all together, to values seen together in one row of
  the data, or not at all; one immutable member locks them all;
- ``a at_most b`` holds in every suggestion that touches a or b;
- numbers stay within the observed range and within `Feature.low` and `Feature.high`, and are written with as many
  decimals as the data; a value that is present never becomes missing;
- `direction` compares codes, so for a category it follows the order of its categories.

The distance of a change is the sum over changed features of |difference| / median absolute deviation, and 1 for a
category or for a value that was missing.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Bool, Float

from explainers.dataset import Dataset
from explainers.sampling.grids import decimals_of, observed, quantile_grid, spread_of
from explainers.schema import Feature, Schema

#: Values tried per feature at first, and joint values tried for features that move together.
VALUES, JOINT_VALUES = 25, 100


@dataclasses.dataclass(frozen=True, eq=False)
class Move:
    """Features that change together, and the values they may take, one row each."""

    columns: tuple[int, ...]
    values: np.ndarray
    decimals: int | None = None  # of a single number, which can be moved in small steps


@dataclasses.dataclass(frozen=True, eq=False)
class Changes:
    """The moves that data and schema permit, and why the other features are locked."""

    schema: Schema
    moves: tuple[Move, ...]
    locked: dict[str, str]
    scale: np.ndarray
    low: np.ndarray
    high: np.ndarray

    @classmethod
    def of(cls, data: Dataset, allow_measured: bool, seed: int) -> Changes:
        """Read off the data what is possible."""
        codes, features = observed(data, seed), data.schema.features
        low, high = _bounds(codes, features)
        scale = np.array([1.0 if f.categorical else spread_of(codes[:, j]) for j, f in enumerate(features)])
        moves: list[Move] = []
        locked: dict[str, str] = {}
        for columns in _linked(data.schema):
            reason = _lock(data.schema, columns, allow_measured)
            move = None if reason else _move(columns, codes, features, low, high, scale, seed)
            if move is not None and len(move.values) > 1:
                moves.append(move)
            else:
                locked |= {
                    features[j].name: reason or "no second value within its limits in the data"
                    for j in columns
                }
        return cls(data.schema, tuple(moves), locked, scale, low, high)

    def values_for(self, move: Move, case: Float[np.ndarray, " d"]) -> Float[np.ndarray, "c w"]:
        """The values of a move that differ from the case in every feature and respect the directions."""
        now = case[list(move.columns)]
        keep = (move.values != now).all(axis=1)
        for place, column in enumerate(move.columns):
            direction = self.schema.features[column].direction
            if direction == "increase":
                keep &= move.values[:, place] > now[place]
            elif direction == "decrease":
                keep &= move.values[:, place] < now[place]
        return np.asarray(move.values[keep])

    def allowed(
        self, rows: Float[np.ndarray, "n d"], case: Float[np.ndarray, " d"]
    ) -> Bool[np.ndarray, " n"]:
        """Which changed rows respect every ``at_most`` between features that they touch."""
        fine = np.ones(len(rows), dtype=bool)
        for relation in self.schema.relations:
            if relation.kind == "at_most":
                a, b = self.schema.position(relation.feature), self.schema.position(relation.other)
                untouched = (rows[:, a] == case[a]) & (rows[:, b] == case[b])
                fine &= ~(rows[:, a] > rows[:, b]) | untouched
        return fine

    def distance(
        self, rows: Float[np.ndarray, "n d"], case: Float[np.ndarray, " d"]
    ) -> Float[np.ndarray, " n"]:
        """How far changed rows are from the case."""
        return np.asarray(np.where(changed(rows, case), self._steps(rows, case), 0.0).sum(axis=1))

    def _steps(self, rows: np.ndarray, case: np.ndarray) -> np.ndarray:
        categorical = np.array([f.categorical for f in self.schema.features], dtype=bool)
        steps = np.abs(rows - case) / self.scale
        return np.where(categorical | np.isnan(case), 1.0, steps)


def changed(rows: Float[np.ndarray, "n d"], case: Float[np.ndarray, " d"]) -> Bool[np.ndarray, "n d"]:
    """Which features of each row differ from the case; missing equals missing."""
    return np.asarray((rows != case) & ~(np.isnan(rows) & np.isnan(case)))


def _linked(schema: Schema) -> list[tuple[int, ...]]:
    """Features in sets that move together, in schema order."""
    home = list(range(len(schema.features)))
    for relation in schema.relations:
        if relation.kind == "moves_with":
            a, b = home[schema.position(relation.feature)], home[schema.position(relation.other)]
            home = [min(a, b) if h in (a, b) else h for h in home]
    return [tuple(j for j, h in enumerate(home) if h == first) for first in sorted(set(home))]


def _lock(schema: Schema, columns: tuple[int, ...], allow_measured: bool) -> str | None:
    """Why these features may not move."""
    features = [schema.features[j] for j in columns]
    for feature in features:
        if feature.change == "immutable":
            return "immutable" if len(features) == 1 else f"moves with {feature.title}, which is immutable"
    if allow_measured or any(feature.change == "actionable" for feature in features):
        return None
    return "measured"


def _bounds(codes: np.ndarray, features: tuple[Feature, ...]) -> tuple[np.ndarray, np.ndarray]:
    """The observed range, cut to what is declared possible."""
    low, high = np.full(len(features), -np.inf), np.full(len(features), np.inf)
    for j, feature in enumerate(features):
        known = codes[~np.isnan(codes[:, j]), j]
        if len(known) and not feature.categorical:
            low[j] = known.min() if feature.low is None else max(known.min(), feature.low)
            high[j] = known.max() if feature.high is None else min(known.max(), feature.high)
    return low, high


def _move(
    columns: tuple[int, ...], codes: np.ndarray, features: tuple[Feature, ...],
    low: np.ndarray, high: np.ndarray, scale: np.ndarray, seed: int,
) -> Move:  # fmt: skip
    within = codes[:, list(columns)]
    within = within[~np.isnan(within).any(axis=1)]
    within = within[((within >= low[list(columns)]) & (within <= high[list(columns)])).all(axis=1)]
    if len(columns) > 1:
        return Move(columns, _some(np.unique(within, axis=0), seed))
    j, column = columns[0], within[:, 0]
    if features[j].categorical:
        return Move(columns, np.arange(len(features[j].categories), dtype=np.float64)[:, None])
    if len(column) == 0:
        return Move(columns, within)
    decimals = 0 if features[j].kind == "integer" else decimals_of(column, scale[j])
    ends = [column.min(), column.max()]
    values = np.unique(np.round(np.concatenate([quantile_grid(column, VALUES), ends]), decimals))
    values = values[(values >= low[j]) & (values <= high[j])]
    return Move(columns, values[:, None], decimals)


def _some(joint: np.ndarray, seed: int) -> np.ndarray:
    if len(joint) <= JOINT_VALUES:
        return joint
    return joint[np.sort(np.random.default_rng(seed).choice(len(joint), JOINT_VALUES, replace=False))]
