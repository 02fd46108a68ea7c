"""The repository root on the path, two threads for whatever computes, and the time slice of tier 2."""

from __future__ import annotations

import datetime
import gc
import os
import random
import sys
import time
from pathlib import Path
from typing import Any

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "2")
os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # before anything imports onnxruntime
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # spinning threads are tenfold slower on shared cores
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests import checked  # noqa: F401  jaxtyping asks `tests` for it by name

gc.disable()  # until all is imported: what that leaves behind is no garbage

OUTSIDE = "outside this run's time slice"
STARTED = time.monotonic()


def pytest_addoption(parser: pytest.Parser) -> None:
    help = (
        "stop starting tests after so many seconds; the order rotates by the day, browser journeys come first"
    )
    parser.addoption("--slice", type=float, default=None, help=help)


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Tier 2 runs in one process: its servers, browsers and faults want the machine for themselves."""
    if config.option.markexpr != "not slow":
        config.option.numprocesses, config.option.dist, config.option.tx = 0, "no", []


def pytest_sessionstart(session: pytest.Session) -> None:
    """Two threads where tests run; the process that only hands them out need not wait for torch."""
    if session.config.option.dist == "no":
        import torch  # after the number of threads is set

        torch.set_num_threads(2)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With a slice: journeys in order, then all else in an order that another day changes."""
    if config.getoption("--slice") is None:
        return
    journeys = [item for item in items if "journeys" in item.nodeid]
    others = [item for item in items if "journeys" not in item.nodeid]
    files = sorted({item.nodeid.split("::")[0] for item in others})  # whole files: they share a server
    random.Random(datetime.datetime.now(datetime.UTC).toordinal()).shuffle(files)
    others.sort(key=lambda item: files.index(item.nodeid.split("::")[0]))
    items[:] = journeys + others


def pytest_collection_finish() -> None:
    """What was imported stays; without this, each search for garbage in a test would go through all of it."""
    gc.collect()
    gc.freeze()
    gc.enable()


def pytest_runtest_setup(item: pytest.Item) -> None:
    limit = item.config.getoption("--slice")
    if limit is not None and time.monotonic() - STARTED > limit:
        pytest.skip(OUTSIDE)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say how many tests the slice left out, and from which files."""
    left = [report for report in terminalreporter.stats.get("skipped", []) if OUTSIDE in str(report.longrepr)]
    if left:
        files = sorted({report.nodeid.split("::")[0] for report in left})
        terminalreporter.write_line(f"{OUTSIDE}: {len(left)} tests of {', '.join(files)}")
