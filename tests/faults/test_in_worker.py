"""The files of all tables through one locked worker: the same sentences, no marker, and the others are answered."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dashboard.workers.pool import Pool
from dashboard.workers.remote import Remote
from tests.faults import good_files
from tests.faults.in_worker import OPENS, Trial, remote, trials


@pytest.mark.slow
@pytest.mark.parametrize("trial", list(trials()), ids=lambda trial: f"{trial.group}: {trial.name}")
def test_it_is_refused_or_opened_there_as_here(trial: Trial, tmp_path: Path) -> None:
    import tests.faults.in_worker as there

    found = there.tried(trial, tmp_path / "marker")
    assert list(tmp_path.iterdir()) == []
    if trial.either:
        assert found == OPENS or "Traceback" not in found
    elif trial.expected == OPENS:
        assert found == OPENS
    else:
        assert re.search(f"(?s){trial.expected}", found), found
    assert len(remote().load_dataset(good_files.csv())) == 80  # alive, or replaced


@pytest.mark.slow
def test_somebody_elses_worker_answers_meanwhile() -> None:
    other = Remote(Pool(remote().pool.parent, 1))
    assert len(other.load_dataset(good_files.csv())) == 80
    assert set(other.pool.pids).isdisjoint(remote().pool.pids)
    other.pool.end()
