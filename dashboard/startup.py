"""What happens once per process: heavy imports, the first workspace, and one collection that is never repeated."""

from __future__ import annotations

import gc
import threading

from dashboard.library import Library

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
    """Import what explanations need and open the first workspace, so that the first page does not wait for it."""
    import shap.explainers  # noqa: F401  imported here so that the first click does not pay for it
    import sklearn.ensemble  # noqa: F401

    first = next(iter(library.folders), None)
    if first is not None:
        library.open(first)
    freeze()
