"""What happens once per process: the workers' parent, the first workspace, and one collection that is never repeated."""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import subprocess
import sys
import threading
import time

import explainers as ex
from dashboard import private
from dashboard.library import Library
from dashboard.serving import visits
from dashboard.serving.tiles import SHELF
from dashboard.workers import containment
from dashboard.workers.starting import starter, variables_of_workers

#: Seconds that the first page has the processor to itself, then that the zygote has for the rest of its warm-up.
LATER = (4.0, 8.0)

#: What the first page imports, in the order of `app.py`, and its first figure; all else is imported with these.
PAGE = (
    "dashboard.frame", "dashboard.page", "dashboard.session", "dashboard.start", "plotly.graph_objects", "plotly.tools",
    "plotly.offline", "scipy.cluster.hierarchy", "scipy.spatial.distance",
)  # fmt: skip

_frozen = threading.Event()


def freeze() -> None:
    """Collect once, then take everything imported so far out of the collector's sight; later calls do nothing.

    A full collection walks every object; with torch, scikit-learn and Streamlit imported that is a quarter of a
    second. Frozen objects are never walked again.
    """
    if not _frozen.is_set():
        _frozen.set()
        gc.collect()
        gc.freeze()


def warm(library: Library) -> str:
    """Start what workers are forked from; while it warms up, import the page and try the lock; open the first workspace.

    Returns the sentence that says whether the lock holds.
    """
    visits.AT_END += [private.end, SHELF.forget]
    starter(library.terms).start()
    for module in PAGE:
        importlib.import_module(module)
    freeze()
    said = containment.tested()[1]
    for first in list(library.folders)[:1]:
        library.open(first)
    return said


def open_ahead(library: Library) -> None:
    """Open the workspaces that follow on the start page, once the first page has had its turn: the next, later the others.

    One that does not open says so when it is clicked.
    """
    following = list(library.folders)[1 : library.terms.open_ahead]
    for seconds, names in zip(LATER, (following[:1], following[1:]), strict=True):
        time.sleep(seconds)
        for name in names:
            with contextlib.suppress(ex.ExplainerError):
                library.open(name)
    _compile_ahead(library.terms.threads)


def _compile_ahead(threads: int) -> None:
    """Once after an installation: all loops over trees are compiled by a process that gives way to every other.

    Workers find them on disk as soon as they are there; until then they compile for themselves what they need.
    """
    if not ex.tree_loops.filled():
        variables = variables_of_workers(one_thread=True, threads=threads)
        command = [sys.executable, "-P", "-c", "from explainers.trees import warm; warm.fill()"]
        process = subprocess.Popen(command, env=variables, stdin=subprocess.DEVNULL)
        atexit.register(process.kill)
