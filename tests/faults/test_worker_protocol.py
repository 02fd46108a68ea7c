"""Whatever a worker's end of the line does, the asker gets a sentence or the right answer, and a good worker after it."""

from __future__ import annotations

import dataclasses
import fcntl
import gc
import logging
import os
import re
import resource
import signal
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import explainers as ex
from dashboard.compute import Compute
from dashboard.workers import supervisor
from dashboard.workers.pool import Pool
from dashboard.workers.protocol import Channel, Kind, Message, Unheard
from dashboard.workers.remote import Remote
from dashboard.workers.starting import Zygote
from dashboard.workers.terms import Terms
from tests.faults import good_files
from tests.faults.protocol_cases import (
    CASES,
    EXPLAINER,
    FRAME,
    HASTY,
    SECRET,
    TERMS,
    Case,
    Liars,
    late_after_cancel,
)

#: More than a socket holds and less than goes in a memory file.
TABLE = b"a,b\n" + b"1.5,2.5\n" * 100_000
DATA = ex.Dataset.from_frame(FRAME)


def params() -> list:
    return [pytest.param(case, id=case.name, marks=pytest.mark.slow if case.hasty else ()) for case in CASES]


@pytest.fixture(scope="module", autouse=True)
def _warm() -> Iterator[None]:
    """What the liars do in this process, once: its imports take longer than they are given."""
    ex.explain(here(), DATA, EXPLAINER, [1])
    ex.load_dataset(TABLE)
    gc.collect()
    gc.freeze()  # the many collections below need not walk what is imported
    yield
    gc.unfreeze()


@pytest.fixture(autouse=True)
def _brief(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "GRACE", 0.3)


def test_there_are_more_than_24() -> None:
    assert len({case.name for case in CASES}) == len(CASES) >= 24


def here() -> ex.Model:
    return ex.load_model(good_files.skops_forest())


def asker(verb: str, remote: Remote) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """How to ask for it there, in plain values, and the same here."""
    if verb == "load_model":
        return lambda: remote.load_model(good_files.skops_forest).classes, lambda: here().classes
    if verb == "load_dataset":
        return lambda: len(remote.load_dataset(TABLE)), lambda: 100_000
    model = remote.load_model(good_files.skops_forest)
    if verb == "applicable":
        found = {kind.__name__: reason for kind, reason in ex.applicable(here(), DATA)}
        return lambda: remote.applicable(model, DATA), lambda: found
    if verb == "predict":
        return lambda: remote.predict(model, DATA).tolist(), lambda: here().predict(DATA.X).tolist()
    return (
        lambda: explained(remote.explain(model, DATA, EXPLAINER, [1], None, lambda *_: None)),
        lambda: explained(ex.explain(here(), DATA, EXPLAINER, [1])),
    )


def explained(found: Any) -> list[Any]:
    return [found.names, found.values.tolist(), found.targets]


@pytest.mark.parametrize("case", params())
def test_the_asker_is_told_and_served(case: Case, caplog: pytest.LogCaptureFixture) -> None:
    gc.collect()
    before = len(os.listdir("/proc/self/fd"))
    liars = Liars(TERMS, (case.verb, case.fault))
    remote = Remote(Pool(liars, 1))
    there, expected = asker(case.verb.split()[-1], remote)
    liars.terms = HASTY if case.hasty else TERMS
    begun = time.monotonic()
    for sentence in case.expected:
        if not sentence:
            assert there() == expected()
            continue
        with pytest.raises(ex.ExplainerError, match=sentence) as caught:
            there()
        require_presentable(str(caught.value))
    assert time.monotonic() - begun < 25  # before the terms of a case that is not hasty
    liars.terms = TERMS
    assert there() == expected()  # from a good worker, which was taught what it needs
    remote.pool.end()
    liars.join()
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) == before
    assert all(pid in liars.killed for pid in range(1, len(liars.killed) + 1))
    for record in caplog.records:
        assert SECRET not in record.getMessage()
        assert len(record.getMessage()) < 400
        assert record.levelno >= logging.WARNING


def require_presentable(sentence: str) -> None:
    assert SECRET not in sentence
    assert len(sentence) <= 4000
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f\u202a-\u202e]", sentence)
    assert "Traceback" not in sentence


@pytest.mark.parametrize("case", [c for c in CASES if "stopped" in c.expected[0] and not c.hasty][:3])
def test_who_answers_nonsense_is_stopped(case: Case) -> None:
    liars = Liars(TERMS, (case.verb, case.fault))
    remote = Remote(Pool(liars, 1))
    there, _ = asker(case.verb, remote)
    with pytest.raises(ex.ModelFailure, match="was stopped"):
        there()
    assert liars.killed == [1]
    assert remote.pool.pids == []


def test_another_worker_of_the_pool_goes_on() -> None:
    liars = Liars(TERMS, ("predict", lambda line: line.stay()))
    pool = Pool(liars, 2)
    remote = Remote(pool)
    model = remote.load_model(good_files.skops_forest)
    with pool._workers[0].turn:  # the liar is busy with somebody else
        assert remote.predict(model, DATA).shape == (20, 2)
    assert len(pool.pids) == 2
    pool.end()
    liars.join()


def test_a_late_answer_to_what_was_taken_back_is_not_taken_for_the_next() -> None:
    class Stop(Exception):
        pass

    def stop(done: int, total: int, partial: object = None) -> None:
        if done:
            raise Stop

    liars = Liars(TERMS, ("predict", late_after_cancel))
    pool = Pool(liars, 1)
    remote = Remote(pool)
    model = remote.load_model(good_files.skops_forest)
    remote._hold(DATA)
    asked = {"digest": model.digest, "classes": model.classes, "labels": model.labels}
    with pytest.raises(Stop):
        pool.ask("predict", {"model": asked, "data": DATA.digest, "cases": None}, 5.0, stop)
    np.testing.assert_array_equal(remote.predict(model, DATA), here().predict(DATA.X))
    assert liars.killed == []  # it ended its work in time
    pool.end()
    liars.join()


def test_a_worker_that_dies_twice_is_replaced_twice() -> None:
    liars = Liars(TERMS, ("predict", lambda line: None), ("predict", lambda line: None), status=-11)
    remote = Remote(Pool(liars, 1))
    model = remote.load_model(good_files.skops_forest)
    for _ in range(2):
        with pytest.raises(ex.ModelFailure, match=r"crashed while predicting \(signal SIGSEGV\)"):
            remote.predict(model, DATA)
    np.testing.assert_array_equal(remote.predict(model, DATA), here().predict(DATA.X))
    assert liars.killed == [1, 2]
    remote.pool.end()
    liars.join()


def test_a_lesson_that_failed_is_taught_again() -> None:
    """A new process that cannot take what it should hold now is asked to take it before the next question."""
    liars = Liars(
        TERMS,
        ("predict", lambda line: None),
        ("hold", lambda line: (line.fail(["SchemaMismatch", "Not now."]), line.stay())),
    )
    remote = Remote(Pool(liars, 1))
    model = remote.load_model(good_files.skops_forest)
    with pytest.raises(ex.ModelFailure, match="closed its connection"):
        remote.predict(model, DATA)
    with pytest.raises(ex.SchemaMismatch, match="Not now"):
        remote.predict(model, DATA)
    (worker,) = remote.pool._workers
    process = worker._process
    assert process is not None
    assert f"data {DATA.digest}" not in process.taught
    worker.end()  # it is silent from now on; the third one takes the data
    np.testing.assert_array_equal(remote.predict(model, DATA), here().predict(DATA.X))
    remote.pool.end()
    liars.join()


def test_a_worker_that_ran_out_of_memory_is_replaced() -> None:
    """What filled it may still be held: the next question gets a new process."""
    liars = Liars(TERMS, ("predict", lambda line: (line.fail(["OutOfMemory", "Full."]), line.stay())))
    remote = Remote(Pool(liars, 1))
    model = remote.load_model(good_files.skops_forest)
    with pytest.raises(ex.OutOfMemory, match="Full"):
        remote.predict(model, DATA)
    assert liars.killed == [1]
    np.testing.assert_array_equal(remote.predict(model, DATA), here().predict(DATA.X))
    remote.pool.end()
    liars.join()


def test_what_fails_is_shown_and_what_does_not_is_answered() -> None:
    """Through the store that pages ask: one failed question, the others are answered."""
    liars = Liars(TERMS, ("explain", lambda line: None))
    remote = Remote(Pool(liars, 1))
    model, compute = remote.load_model(good_files.skops_forest), Compute(remote)
    with pytest.raises(ex.ExplainerError, match="closed its connection while explaining"):
        compute.ask(model, DATA, EXPLAINER, [0])
    assert compute.predictions(model, DATA).shape == (20, 2)
    assert compute.ask(model, DATA, EXPLAINER, [1]).values.shape == (1, 3)
    remote.pool.end()
    liars.join()


def test_what_is_sent_to_somebody_deaf_ends() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, pytest.raises(Unheard):
        Channel(ours).send(Message(Kind.REQUEST, 1, "x" * 2**20), 0.05)


def test_a_server_with_many_descriptors_hears_its_workers() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 4096)), hard))
    ours, theirs = socket.socketpair()
    try:
        with ours, theirs, socket.socket(fileno=fcntl.fcntl(ours, fcntl.F_DUPFD, 1500)) as high:
            assert high.fileno() >= 1500
            Channel(theirs).send(Message(Kind.RESULT, 1, "there"))
            found = Channel(high).receive(1.0)
            assert found is not None
            assert found.body == "there"
            assert not Channel(high).waits(0.0)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_workers_that_nobody_refers_to_are_ended_while_their_starter_is_busy() -> None:
    """The collector may come by in the midst of an order to the starter, in the same thread."""
    zygote = Zygote(TERMS)
    ours, theirs = socket.socketpair()
    with zygote._turn:  # an order is on its way
        supervisor._left_behind(zygote, 1, Channel(ours))  # returns
        assert theirs.recv(1) == b""
        zygote.kill = lambda pid: None  # type: ignore[method-assign]
    theirs.close()


def ended(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as account:
            return account.read().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


@pytest.mark.slow
def test_the_parent_of_all_workers_dies_between_two_questions() -> None:
    zygote = Zygote(dataclasses.replace(Terms(), threads=1))
    remote = Remote(Pool(zygote, 1))
    model = remote.load_model(good_files.skops_forest)
    before = remote.predict(model, DATA)
    (pid,) = remote.pool.pids
    with open(f"/proc/{pid}/stat") as account:
        parent = int(account.read().rpartition(")")[2].split()[1])
    os.kill(parent, signal.SIGKILL)
    deadline = time.monotonic() + 20
    while not ended(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert ended(pid)  # its workers end with it
    with pytest.raises(ex.ModelFailure, match=r"process that starts workers ended; your data and selection"):
        remote.predict(model, DATA)
    np.testing.assert_array_equal(remote.predict(model, DATA), before)
    remote.pool.end()
