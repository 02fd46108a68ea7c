"""What a worker does with what it holds, asked here without a process."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from torch import nn

import explainers as ex
from dashboard.workers import codec, worker
from dashboard.workers.protocol import Message
from explainers.progress import silent
from tests.cases import network


def held(model: ex.Model, data: ex.Dataset) -> tuple[worker.Held, dict[str, object]]:
    found = worker.Held({model.digest: model}, data={data.digest: data})
    return found, {"digest": model.digest, "classes": model.classes, "labels": model.labels}


def frame(n: int = 12) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    return pd.DataFrame({"a": rng.normal(size=n), "b": rng.normal(size=n) * 1e9, "c": np.arange(n) % 2})


def test_a_network_is_given_the_codes_and_answers_as_for_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    model = ex.Model.wrap(network(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 2)), classes=["no", "yes"])
    data = ex.Dataset.from_frame(frame())
    holds, which = held(model, data)
    edited = data.matrix[::-1] * 1.5
    expected = model.predict(data.with_matrix(edited).X)
    monkeypatch.setattr(ex.Dataset, "with_matrix", None)  # no table is made
    np.testing.assert_array_equal(worker._predict(holds, silent, which, data.digest, edited), expected)


@pytest.mark.parametrize("why", ["names", "categories"])
def test_where_codes_are_not_what_the_model_takes_a_table_is_made(why: str) -> None:
    seen: list[object] = []

    def ask(X: object) -> np.ndarray:
        seen.append(X)
        return np.zeros(len(X))  # type: ignore[arg-type]

    named = ("a", "b", "c") if why == "names" else None
    model = ex.Model(ask, "regression", features=named, module=network(nn.Linear(3, 1)))
    table = frame() if why == "names" else frame().assign(c=["x", "y"] * 6)
    data = ex.Dataset.from_frame(table)
    holds, which = held(model, data)
    worker._predict(holds, silent, which, data.digest, data.matrix)
    assert isinstance(seen[0], pd.DataFrame)
    pd.testing.assert_frame_equal(seen[0], data.X)


class Ear:
    """The other side of a channel: it hears everything and says nothing."""

    def __init__(self) -> None:
        self.heard: list[tuple[int, bool]] = []

    def waits(self, seconds: float) -> bool:
        return False

    def send(self, message: Message) -> None:
        said = codec.unpack(message.body, message.arrays)
        self.heard.append((said["done"], said["partial"] is not None))


def test_a_first_answer_is_told_though_a_report_was_just_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(worker.time, "monotonic", lambda: now[0])
    ear = Ear()
    report = worker._reporter(ear, 1)  # type: ignore[arg-type]
    partial = ex.Importance(names=("a",), values=np.zeros(1), metric="drop")
    report(1, 10)
    report(2, 10)  # too soon after the last
    report(3, 10, partial)
    report(4, 10, partial)  # held, for so many partial results would be too much
    report(5, 10)
    assert ear.heard == [(1, False), (3, True)]
    now[0] += 1.0
    report(6, 10)
    report(10, 10)
    assert ear.heard == [(1, False), (3, True), (6, True), (10, False)]
