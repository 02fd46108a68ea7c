"""Our estimators for black boxes beside shap, shapiq and lime: errors, times to equal error, and coverage of the intervals."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

PACKAGES = ("numpy", "scikit-learn", "xgboost-cpu", "xgboost", "torch", "shap", "shapiq", "lime", "numba")

ABOUT = (
    "All sides in one process, the same model object and the same rows, two threads for whoever uses them."
)


def measure_all(data: Path | None, only: Sequence[str], patience: float, out: Path) -> None:
    """Run the sections, print them, and write them down."""
    from benchmarks.blackbox.cases import Cases
    from benchmarks.sections import run
    from benchmarks.trees.cases import THREADS

    found = run(_sections(Cases(), data, patience), only, THREADS)
    found.write(out, "Black-box explanations beside the established libraries", (ABOUT,), PACKAGES, {})


def _sections(cases: Any, data: Path | None, patience: float) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Each with its word; imported when it is run."""
    from benchmarks.blackbox import coverage, cuda, error_rows, lime_rows, published, time_rows

    yield "error", partial(error_rows.measured, cases, patience)
    yield "time", partial(time_rows.network, cases, patience)
    yield "slow", partial(time_rows.slow_forest, cases, patience)
    yield "published", partial(published.measured, data, patience)
    yield "coverage", partial(coverage.measured, cases, patience)
    yield "lime", partial(lime_rows.measured, cases, patience)
    yield "cuda", partial(cuda.measured, cases)
