"""The store and the only asker: bounded, shared, once for equal requests; what fails is kept, what is stopped is not."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import explainers as ex
from dashboard.compute import Failure, Passing, Store
from tests.dashboard.hand_made import eight, probability
from tests.dashboard.in_process import compute as compute_here

HUNDRED = np.zeros(100, dtype=np.uint8)


def test_the_least_recently_used_goes_first() -> None:
    store = Store(limit=300)
    for key in "abc":
        store.put(key, HUNDRED)
    assert store.get("a") is HUNDRED
    store.put("d", HUNDRED)
    assert [key for key in "abcd" if store.get(key) is not None] == ["a", "c", "d"]


def test_a_value_that_is_replaced_is_counted_once() -> None:
    store = Store(limit=300)
    for _ in range(20):
        store.put("a", HUNDRED)
    store.put("b", HUNDRED)
    store.put("c", HUNDRED)
    assert all(store.get(key) is not None for key in "abc")
    store.put("a", np.zeros(200, dtype=np.uint8))
    assert store.get("b") is None
    assert store.get("c") is not None


def test_one_value_larger_than_the_limit_is_kept_alone() -> None:
    store = Store(limit=50)
    store.put("small", np.zeros(10, dtype=np.uint8))
    store.put("large", HUNDRED)
    assert store.get("large") is HUNDRED
    assert store.get("small") is None


def test_arrays_inside_results_are_counted() -> None:
    store = Store(limit=10_000)
    result = ex.Attribution(
        names=("a",),
        values=np.zeros((2000, 1)),
        base_value=np.zeros(2000),
        output=np.zeros(2000),
        space="target",
        targets=(0,),
    )
    store.put("first", result)
    store.put("second", {"of": [np.zeros(500)]})
    assert store.get("first") is None
    assert store.get("second") is not None


def test_many_threads_leave_the_count_true() -> None:
    store = Store(limit=2000)

    def work(seed: int) -> None:
        rng = np.random.default_rng(seed)
        for _ in range(300):
            key = int(rng.integers(40))
            store.put(key, np.zeros(int(rng.integers(1, 200)), dtype=np.uint8))
            store.get(int(rng.integers(40)))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    held = [value.nbytes for key in range(40) if (value := store.get(key)) is not None]
    assert sum(held) == store._bytes
    assert 1000 < sum(held) <= 2000


def test_equal_requests_of_many_visitors_are_computed_once() -> None:
    compute, calls, start = compute_here(), [], threading.Barrier(6)

    def make() -> str:
        calls.append(threading.get_ident())
        threading.Event().wait(0.05)
        return "answer"

    def visit(_: int) -> str:
        start.wait()
        return compute.kept("key", make)

    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(visit, range(6))) == ["answer"] * 6
    assert len(calls) == 1


def counting() -> tuple[ex.Model, list[int]]:
    """A model that notes how many rows it was asked."""
    asked: list[int] = []

    def predict(X: object) -> np.ndarray:
        asked.append(len(X))
        return X["share"].to_numpy(float)

    return probability(predict), asked


def test_an_equal_explainer_asks_the_model_no_more() -> None:
    (model, asked), data, compute = counting(), eight().data, compute_here()
    first = compute.ask(model, data, ex.KernelShap(budget=64), [2], "yes")
    before = sum(asked)
    assert before > 0
    assert compute.ask(model, data, ex.KernelShap(budget=64), [2], "yes") is first
    assert compute.known(model, data, ex.KernelShap(budget=64), [2], "yes") is first
    assert sum(asked) == before
    assert compute.known(model, data, ex.KernelShap(budget=64), [3], "yes") is None
    other = compute.ask(model, data, ex.KernelShap(budget=64), [3], "yes")
    assert sum(asked) > before
    assert not np.array_equal(other.values, first.values)


def test_a_job_computes_what_ask_finds() -> None:
    (model, _), data, compute = counting(), eight().data, compute_here()
    job = compute.job("Reasons", model, data, ex.KernelShap(budget=64), [1], "yes")
    assert compute.known(model, data, ex.KernelShap(budget=64), [1], "yes") is None
    ticks: list[tuple[int, int]] = []
    result = job.run(lambda done, total, partial=None: ticks.append((done, total)))
    assert ticks
    assert compute.known(model, data, ex.KernelShap(budget=64), [1], "yes") is result
    assert compute.store.get(job.key) is result


def test_predictions_are_kept_by_model_and_data() -> None:
    (model, asked), data, compute = counting(), eight().data, compute_here()
    np.testing.assert_array_equal(compute.predictions(model, data)[:, 1], np.arange(1, 9) / 10)
    compute.predictions(model, data)
    assert asked == [8]
    compute.predict(model, data, data.take([0]))
    compute.predict(model, data, data.take([0]))
    assert asked == [8, 1, 1]


def failing(error: BaseException) -> tuple[Callable[[], None], list[int]]:
    calls: list[int] = []

    def make() -> None:
        calls.append(1)
        raise error

    return make, calls


def test_a_refusal_is_kept_and_said_again() -> None:
    compute = compute_here()
    make, calls = failing(ex.NotApplicable("This needs gradients."))
    for _ in range(2):
        with pytest.raises(ex.ExplainerError, match=r"This needs gradients\."):
            compute.kept("key", make)
    assert len(calls) == 1
    assert compute.store.get("key") == Failure("This needs gradients.")


def test_an_unexpected_error_is_said_without_the_values_in_it(caplog: pytest.LogCaptureFixture) -> None:
    compute = compute_here()
    make, calls = failing(RuntimeError("patient 4711 has 38.5"))
    with caplog.at_level(logging.ERROR, logger="whyboard"):
        for _ in range(2):
            with pytest.raises(ex.ExplainerError, match="unexpected RuntimeError") as said:
                compute.kept("key", make)
    assert len(calls) == 1
    assert "4711" not in str(said.value)
    assert "RuntimeError" in caplog.text
    assert "raise error" in caplog.text  # the trace is there to work with
    assert "4711" not in caplog.text


def test_what_is_cancelled_is_not_kept_and_the_turn_is_free() -> None:
    compute = compute_here()
    make, calls = failing(ex.Cancelled())
    for _ in range(2):
        with pytest.raises(ex.Cancelled):
            compute.kept("key", make)
    assert len(calls) == 2
    assert compute.store.get("key") is None
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(compute.kept, "key", lambda: "later").result(5) == "later"


class StopRun(BaseException):
    """As Streamlit stops a run."""


def test_a_stopped_run_passes_through_a_computation() -> None:
    (model, _), data, compute = counting(), eight().data, compute_here()

    def stop(done: int, total: int, partial: object = None) -> None:
        raise StopRun

    with pytest.raises(StopRun):
        compute.ask(model, data, ex.KernelShap(budget=64), [0], "yes", stop)
    assert compute.known(model, data, ex.KernelShap(budget=64), [0], "yes") is None
    with ThreadPoolExecutor(1) as pool:  # from another thread: the turn was given back
        assert (
            pool.submit(compute.ask, model, data, ex.KernelShap(budget=64), [0], "yes").result(20) is not None
        )


def test_whoever_waits_for_another_computation_may_stop() -> None:
    compute, begun, end = compute_here(), threading.Event(), threading.Event()

    def make() -> int:
        begun.set()
        assert end.wait(20)
        return 1

    def stop(done: int, total: int, partial: object = None) -> None:
        raise StopRun

    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(compute.kept, "key", make)
        assert begun.wait(20)
        assert compute.kept("other", lambda: 2) == 2  # another key does not wait
        with pytest.raises(StopRun):
            compute.kept("key", lambda: 3, stop)
        end.set()
        assert first.result(20) == 1


def test_a_failure_that_passes_is_not_kept() -> None:
    compute = compute_here()

    def busy() -> int:
        raise Passing("no worker is free")

    with pytest.raises(ex.ExplainerError, match="no worker is free"):
        compute.kept("key", busy)
    assert compute.kept("key", lambda: 2) == 2
