"""Answers of a worker, changed at random but well-formed: what a stranger's model could make its process say."""

from __future__ import annotations

import collections
import copy
import json
import random
from collections.abc import Callable
from typing import Any

import numpy as np

import explainers as ex
from dashboard.workers import answers, codec
from dashboard.workers.protocol import ProtocolError
from tests.dashboard.in_process import InProcess

#: What a place in the JSON may hold instead of what belongs there.
STRANGE: tuple[Any, ...] = (
    None, True, -1, 0, 10**400, 1e308, float("nan"), float("inf"), "", "\0", "a" * 5000, "<b>![x](http://x/y)</b>", "\ud800",
    {"tuple": []}, {"list": [1]}, {"dict": []}, {"array": 0}, {"array": 99}, {"set": []}, {"bytes": {"array": 0}},
    {"date": "2020-01-01"}, {"time": "2020-01-01T00:00:00", "pandas": True}, {"objects": ["a", None]},
)  # fmt: skip

#: What an array with sides may become.
OTHER: tuple[Callable[[np.ndarray], np.ndarray], ...] = (
    lambda a: a[:-1], lambda a: a[:0], lambda a: np.concatenate([a, a]), lambda a: a[..., :-1], lambda a: a.reshape(-1),
    lambda a: a[None], lambda a: np.ascontiguousarray(a.T), lambda a: a[..., None], lambda _: np.zeros(()),
    lambda a: np.full(a.shape, np.nan), lambda a: np.full(a.shape, np.inf), lambda a: np.full(a.shape, -1e308),
    lambda a: np.full(a.shape, 1e9), lambda a: np.zeros(a.shape, np.int8), lambda a: np.full(a.shape, 2**63, np.uint64),
    lambda a: np.zeros(a.shape, bool), lambda a: np.full(a.shape, "x"), lambda a: np.zeros(a.shape, "M8[ns]"),
    lambda a: np.zeros(a.shape, ">f8"), lambda a: np.zeros(a.shape, np.float16),
)  # fmt: skip


def forged(value: Any, chance: random.Random) -> Any:
    """The value with one to four changes, as it would arrive; raises `ProtocolError` where it would be refused."""
    body, arrays = codec.pack(value)
    outer, held = {"body": json.loads(json.dumps(body))}, list(arrays)
    for _ in range(chance.choice((1, 1, 2, 4))):
        sided = [j for j, array in enumerate(held) if array.ndim]
        if sided and chance.random() < 0.5:
            j = chance.choice(sided)
            held[j] = chance.choice(OTHER)(held[j])
        else:
            _change(outer, chance)
    return codec.unpack(outer["body"], tuple(held))


def _change(outer: dict[str, Any], chance: random.Random) -> None:
    """Something else in one place, or one place fewer or twice."""
    inside, key = chance.choice(_places(outer))
    how = chance.random()
    if how < 0.6 or not isinstance(inside, list):
        inside[key] = copy.deepcopy(chance.choice(STRANGE))
    elif how < 0.8:
        del inside[key]
    else:
        inside.insert(key, copy.deepcopy(inside[key]))


def _places(tree: Any) -> list[tuple[Any, Any]]:
    if not isinstance(tree, dict | list):
        return []
    keys = list(tree) if isinstance(tree, dict) else range(len(tree))
    return [(tree, key) for key in keys] + [place for key in keys for place in _places(tree[key])]


class Forger(InProcess):
    """Computes once for each request, and forges each time; the checks are those of the web process."""

    def __init__(self) -> None:
        self.chance = random.Random(0)
        self.told: collections.Counter[str] = collections.Counter()
        self._true: dict[Any, Any] = {}

    def explain(self, model: ex.Model, data: ex.Dataset, explainer: ex.Explainer, rows: Any, target: Any, progress: ex.Progress | None) -> Any:  # fmt: skip
        key = ex.Request.of(model, data, explainer, rows, target)
        if key not in self._true:
            self._true[key] = super().explain(model, data, explainer, rows, target, progress)
        try:
            found = forged(self._true[key], self.chance)
            if not answers.explained(found, type(explainer).returns):
                raise ProtocolError
        except ProtocolError:
            self.told["refused"] += 1
            raise ex.ModelFailure("The model's process answered nonsense.") from None
        self.told["let through"] += 1
        return found
