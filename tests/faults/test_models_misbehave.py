"""Models that misbehave, in real locked workers: a sentence or an answer, in bounded time, and the others go on."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest

import explainers as ex
from dashboard.workers.pool import Pool
from dashboard.workers.remote import Remote
from dashboard.workers.starting import Zygote, starter
from dashboard.workers.terms import Terms
from tests.faults import good_files
from tests.faults.model_cases import CASES, SECRET, Case

PARENT = Terms(memory_gib=1.0, formats=("pickle",), threads=1)
DATA = ex.Dataset.from_frame(pd.DataFrame(good_files.table(20)[0], columns=["a", "b", "c"]))
TRUTH = 1 / (1 + np.exp(-DATA.matrix[:, 0]))


class Hasty:
    """The same parent, on terms with less time to predict."""

    def __init__(self, parent: Zygote, seconds: float) -> None:
        self.terms: Any = Terms(memory_gib=1.0, formats=("pickle",), threads=1, predict_seconds=seconds)
        self.fork, self.kill, self.status, self.start = parent.fork, parent.kill, parent.status, parent.start


@pytest.fixture(scope="module")
def parent() -> Zygote:
    found = starter(PARENT)
    assert isinstance(found, Zygote)
    return found


@pytest.fixture(scope="module")
def neighbour(parent: Zygote) -> Iterator[tuple[Remote, ex.Model]]:
    """Somebody else's worker, with a good model."""
    remote = Remote(Pool(parent, 1))
    yield remote, remote.load_model(good_files.skops_forest)
    remote.pool.end()


def test_there_are_more_than_24() -> None:
    assert len({case.name for case in CASES}) == len(CASES) >= 24


def ask_twice(remote: Remote, model: ex.Model) -> None:
    """What spoils its line is found out at the next question at the latest."""
    for _ in range(2):
        remote.predict(model, DATA)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_it_is_told_or_answered_and_the_others_go_on(
    case: Case, parent: Zygote, neighbour: tuple[Remote, ex.Model], caplog: pytest.LogCaptureFixture
) -> None:
    terms = Hasty(parent, 1.0 if case.hasty else 60.0)
    remote = Remote(Pool(terms, 1))
    model = remote.load_model(case.build, allow=("pickle",))
    remote._hold(DATA)
    begun = time.monotonic()
    if case.expected:
        with pytest.raises(ex.ExplainerError, match=case.expected) as caught:
            ask_twice(remote, model)
        assert SECRET not in str(caught.value)
        assert len(str(caught.value)) < 400
    else:
        found = [remote.predict(model, DATA) for _ in range(2)]
        assert all(answer.shape == (20, 2) and np.isfinite(answer).all() for answer in found)
        assert np.allclose(found[0], np.column_stack([1 - TRUTH, TRUTH])) is case.true
        assert not case.true or np.array_equal(*found)
    assert time.monotonic() - begun < 60
    terms.terms = PARENT
    others, theirs = neighbour
    pids = others.pool.pids
    assert others.predict(theirs, DATA).shape == (20, 2)
    assert others.pool.pids == (pids or others.pool.pids)
    good = remote.load_model(good_files.skops_forest)
    np.testing.assert_array_equal(remote.predict(good, DATA), others.predict(theirs, DATA))
    remote.pool.end()
    assert SECRET not in caplog.text


@pytest.mark.slow
def test_one_that_takes_fewer_columns_without_a_word_is_asked_with_its_own() -> None:
    """It says that it takes two columns: the data have three, and that is told before it is asked."""
    case = Case("fewer columns", whole="class Model(Base):\n    n_features_in_ = 2\n")
    remote = Remote(Pool(starter(PARENT), 1))
    model = remote.load_model(case.build, allow=("pickle",))
    with pytest.raises(ex.SchemaMismatch, match="takes 2 columns; these data have 3"):
        remote.check(model, DATA)
    remote.pool.end()
