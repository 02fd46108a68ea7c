"""Real worker processes: they answer as `explainers` does here, and whatever becomes of them the asker goes on."""

from __future__ import annotations

import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pandas as pd
import pytest
import skops.io
from sklearn.linear_model import LogisticRegression

import explainers as ex
from dashboard.compute import Compute
from dashboard.workers.pool import Pool
from dashboard.workers.remote import Remote, RemoteModel
from dashboard.workers.starting import Zygote, starter
from dashboard.workers.terms import Terms
from dashboard.workers.worker import describe
from tests.cases import patients


@pytest.fixture(scope="module")
def parent() -> Zygote:
    """The zygote that the prepared workspaces of the tests use too."""
    found = starter(Terms())
    assert isinstance(found, Zygote)
    return found


@pytest.fixture
def remote(parent: Zygote):
    """A pool of one worker."""
    found = Remote(Pool(parent, 1))
    yield found
    found.pool.end()


def case() -> tuple[bytes, ex.Dataset]:
    frame = patients()[["age", "dose", "outcome"]]
    estimator = LogisticRegression().fit(frame[["age", "dose"]], frame["outcome"])
    return skops.io.dumps(estimator), ex.Dataset.from_frame(frame, "outcome")


def _numbers(found: Any) -> tuple[np.ndarray, ...]:
    """The values of an attribution, or the mean curves of an effect."""
    return (found.values,) if isinstance(found, ex.Attribution) else found.mean


def test_a_worker_answers_as_the_package_does_here(remote: Remote) -> None:
    content, data = case()
    there, here = remote.load_model(lambda: content), ex.load_model(content)
    assert isinstance(there, RemoteModel)
    for name, value in describe(here).items():
        assert getattr(there, name) == value, name
    np.testing.assert_array_equal(remote.predict(there, data), here.predict(data.X))
    edited = data.with_matrix(data.matrix[:1] + np.array([[1.0, 0.5]]))
    np.testing.assert_array_equal(remote.predict(there, data, edited), here.predict(edited.X))
    reasons = {kind.__name__: reason for kind, reason in ex.applicable(here, data)}
    assert remote.applicable(there, data) == reasons
    for explainer, rows in (
        (ex.KernelShap(budget=16), [3]),
        (ex.Lime(samples=100), edited),
        (ex.PartialDependence(), None),
    ):
        a: Any = remote.explain(there, data, explainer, rows, None, None)
        b: Any = ex.explain(here, data, explainer, rows)
        for mine, theirs in zip(_numbers(a), _numbers(b), strict=True):
            np.testing.assert_allclose(mine, theirs, rtol=1e-9)
        assert a.provenance["model"] == here.digest
        assert a.provenance["explainer"] == repr(explainer)


def test_other_names_for_the_classes_reach_the_worker(remote: Remote) -> None:
    content, data = case()
    model = remote.load_model(lambda: content).with_classes(["sick", "fine"])
    found = remote.explain(model, data, ex.KernelShap(budget=16), [0], "sick", None)
    assert found.targets == ("sick",)


def test_a_data_file_is_read_in_the_worker(remote: Remote) -> None:
    frame = patients()
    data = remote.load_dataset(frame.to_csv(index=False).encode(), target="outcome", role="part")
    assert (
        data.digest
        == ex.load_dataset(frame.to_csv(index=False).encode(), target="outcome", role="part").digest
    )
    with pytest.raises(ex.UnreadableFile, match="a pickle, which runs code"):
        remote.load_dataset(b"\x80\x04N.")
    with pytest.raises(ex.UnreadableFile, match=r"the limit is 2 \(setting limits.rows\)"):
        remote.load_dataset(frame.to_csv().encode(), limits=ex.Limits(rows=2))


def test_large_messages_pass_the_lock_both_ways(remote: Remote) -> None:
    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(40_000, 6)), columns=list("abcdef"))
    content = frame.to_csv(index=False).encode()
    assert len(content) > 2**20
    data = remote.load_dataset(content)
    np.testing.assert_array_equal(data.matrix, frame.to_numpy())


def test_errors_keep_their_kind_and_their_words(remote: Remote) -> None:
    content, data = case()
    model = remote.load_model(lambda: content)
    with pytest.raises(ex.UnsupportedModel):
        remote.load_model(lambda: b"\x80\x04N.")
    with pytest.raises(ex.InvalidSetting, match="There is no class 'dead'"):
        remote.explain(model, data, ex.KernelShap(budget=16), [0], "dead", None)
    with pytest.raises(ex.NotApplicable, match="Needs gradients"):
        remote.explain(model, data, ex.Saliency(), [0], None, None)
    other = ex.Dataset.from_frame(pd.DataFrame({"height": [1.0, 2.0]}))
    with pytest.raises(ex.SchemaMismatch, match="needs 'age', 'dose'"):
        remote.check(model, other)


def test_a_killed_worker_is_replaced_and_taught_again(remote: Remote) -> None:
    content, data = case()
    model = remote.load_model(lambda: content)
    before = remote.predict(model, data)
    (pid,) = remote.pool.pids
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(ex.ModelFailure, match=r"crashed while predicting \(signal SIGKILL\).*still here"):
        remote.predict(model, data)
    np.testing.assert_array_equal(remote.predict(model, data), before)
    assert remote.pool.pids != [pid]


class Stop(Exception):
    """What a page raises when its visitor went on."""


def test_what_progress_raises_stops_the_worker_by_a_word(remote: Remote) -> None:
    content, data = case()
    model = remote.load_model(lambda: content)
    seen: list[int] = []

    def stop(done: int, total: int, partial: object = None) -> None:
        seen.append(done)
        raise Stop

    with pytest.raises(Stop):
        remote.explain(model, data, ex.Lime(samples=100_000), range(40), None, stop)
    (pid,) = remote.pool.pids
    assert remote.predict(model, data).shape == (40, 2)
    assert remote.pool.pids == [pid]  # told in time, it was not killed
    assert len(seen) == 1


def test_progress_arrives_while_it_computes(remote: Remote) -> None:
    content, data = case()
    model = remote.load_model(lambda: content)
    seen: list[tuple[int, int]] = []
    remote.explain(model, data, ex.Lime(samples=300_000), range(10), None, lambda *at: seen.append(at[:2]))
    done = [at[0] for at in seen if at[1] > 1]
    assert done == sorted(done)
    assert done[-1] > 0


def test_one_visitor_waits_for_another_and_both_are_answered(parent: Zygote) -> None:
    content, data = case()
    remote = Remote(Pool(parent, 2))
    model = remote.load_model(lambda: content)
    compute = Compute(remote)
    with ThreadPoolExecutor(6) as pool:
        rows = [[i] for i in range(6)]
        found = list(pool.map(lambda r: compute.ask(model, data, ex.KernelShap(budget=16), r), rows))
    assert [result.values.shape for result in found] == [(1, 2)] * 6
    assert 1 <= len(remote.pool.pids) <= 2
    remote.pool.end()


def test_nobody_refers_to_a_worker_and_it_ends(parent: Zygote) -> None:
    content, data = case()
    remote = Remote(Pool(parent, 1))
    model = remote.load_model(lambda: content)
    remote.predict(model, data)
    (pid,) = remote.pool.pids
    del remote, model
    import gc

    gc.collect()
    deadline = time.monotonic() + 5
    while os.path.exists(f"/proc/{pid}") and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not os.path.exists(f"/proc/{pid}")


def test_workers_that_nobody_asks_retire(remote: Remote) -> None:
    content, data = case()
    model = remote.load_model(lambda: content)
    remote.predict(model, data)
    remote.pool.retire(3600.0)
    assert len(remote.pool.pids) == 1
    remote.pool.retire(0.0)
    assert remote.pool.pids == []
    assert remote.predict(model, data).shape == (40, 2)


def test_uploads_are_bounded_and_said_so() -> None:
    from dashboard.compute import Passing

    parent = starter(Terms())

    class Crowded:  # a starter of its own: what other tests have open does not count here
        terms = Terms(at_most=1)
        fork, kill, status, start = parent.fork, parent.kill, parent.status, parent.start

    crowded = Crowded()
    first, second = (Remote(Pool(crowded, 1, private=True)) for _ in range(2))
    content, _ = case()
    first.load_model(lambda: content)
    with pytest.raises(Passing, match=r"1 visitors have .* \(setting workers.at_most\)"):
        second.load_model(lambda: content)
    first.pool.end()
    assert second.load_model(lambda: content).task == "classification"
    second.pool.end()


def test_the_zygote_forks_safely(parent: Zygote, remote: Remote) -> None:
    remote.load_dataset(b"a\n1\n2\n")
    assert parent.threads <= 2  # onnxruntime keeps one that nobody waits for


def test_this_process_never_held_the_model(remote: Remote) -> None:
    content, _ = case()
    model = remote.load_model(lambda: content)
    assert (model.estimator, model.module) == (None, None)
    with pytest.raises(ex.ModelFailure, match="lives in a worker"):
        model.predict([[1.0, 2.0]])


def test_two_threads_on_one_worker_take_turns(remote: Remote) -> None:
    content, data = case()
    model = remote.load_model(lambda: content)
    barrier = threading.Barrier(4)

    def ask(i: int) -> np.ndarray:
        barrier.wait(5)
        return remote.predict(model, data, data.take([i]))

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(ask, range(4)))
    np.testing.assert_allclose(np.vstack(found), remote.predict(model, data)[:4], rtol=1e-12)
