"""What happens once per process: the workers' parent, the first workspace, and one collection that is never repeated."""

from __future__ import annotations

import contextlib
import gc
import threading
import time

import explainers as ex
from dashboard import private
from dashboard.library import Library
from dashboard.serving import visits
from dashboard.workers import containment
from dashboard.workers.starting import starter

#: Seconds that the first page has the processor to itself.
LATER = 4.0

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
    """Start what workers are forked from and open the first workspace while the browser loads; then try the lock.

    Returns the sentence that says whether the lock holds.
    """
    visits.AT_END.append(private.end)
    starter(library.terms).start()
    for first in list(library.folders)[:1]:
        library.open(first)
    freeze()
    return containment.tested()[1]


def open_ahead(library: Library) -> None:
    """Open the next workspaces of the start page, once the first page has had its turn; one that does not open says so when clicked."""
    time.sleep(LATER)
    for name in list(library.folders)[1 : library.terms.open_ahead]:
        with contextlib.suppress(ex.ExplainerError):
            library.open(name)
