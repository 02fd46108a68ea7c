"""Edited cases are asked in portions that suit the model's speed."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import explainers as ex


@pytest.fixture
def asked(monkeypatch):
    """Rows per call, of a model that takes a stated time per row on a clock of its own."""
    calls = []
    clock = [0.0]
    monkeypatch.setattr("explainers.device.time.perf_counter", lambda: clock[0])

    def explain(seconds_per_row):
        def model(X):
            calls.append(len(X))
            clock[0] += seconds_per_row * len(X)
            return X[:, 0]

        data = ex.Dataset.from_frame(
            pd.DataFrame(np.random.default_rng(0).normal(size=(200, 5)), columns=list("abcde"))
        )
        ex.explain(ex.Model.wrap(model), data, ex.PartialDependence())
        return calls[1:]

    return explain


def test_a_slow_model_gets_small_portions(asked):
    portions = asked(0.001)
    assert sum(portions) == 200 * 100
    assert set(portions[:-1]) <= {249, 250}  # from the first: one case, asked before, has told how slow it is


def test_a_fast_model_gets_everything_at_once_after_the_first(asked):
    assert asked(1e-7) == [2048, 8 * 2048, 200 * 100 - 9 * 2048]
