"""What happens once per process: heavy imports, the first workspace, and one collection that is never repeated."""

from __future__ import annotations

import gc
import threading
import time

from dashboard.library import Library

#: Seconds that the first page has the processor to itself before further libraries are imported.
LATER = 5.0

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


def warm(library: Library) -> None:
    """Open the first workspace while the browser loads; then, once that page has had its turn, what later clicks need."""
    first = next(iter(library.folders), None)
    if first is not None:
        library.open(first)
    freeze()
    time.sleep(LATER)
    import shap.explainers  # noqa: F401  # the switch to log-odds and regressions use it

    gc.freeze()
