"""Our estimators for black boxes beside shap, shapiq and lime: errors, times to equal error, and coverage of the intervals."""

from __future__ import annotations

import random
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

PACKAGES = ("numpy", "scikit-learn", "xgboost-cpu", "xgboost", "torch", "shap", "shapiq", "lime", "numba")


def measure_all(data: Path | None, only: Sequence[str], patience: float, out: Path) -> None:
    """Run the sections, print them, and write them down."""
    import numpy as np
    import torch

    from benchmarks.blackbox.cases import Cases
    from benchmarks.machine import Quietness, facts, label
    from benchmarks.report import machine_lines, write
    from benchmarks.trees.cases import THREADS

    torch.set_num_threads(THREADS)
    random.seed(0)
    np.random.seed(0)  # for libraries that draw from the global generator
    before = Quietness.now()
    found, failed = [], []
    for word, make in _sections(Cases(), data, patience):
        if only and not any(part in word for part in only):
            continue
        try:
            with warnings.catch_warnings():  # the libraries warn about their own future
                warnings.simplefilter("ignore")
                section = make()
            found.append(section)
            print(f"## {section.title}\n\n{section.text}\n", flush=True)
        except Exception as error:  # one section that fails must not cost the others' minutes
            traceback.print_exc()
            failed.append(f"{word}: {type(error).__name__}: {error}")
    after = Quietness.now()
    machine = facts(*PACKAGES)
    missed = [line for section in found for line in section.missed]
    note = label(before)
    parts = [
        "# Black-box explanations beside the established libraries",
        f"**{note}**" if note else "",
        "All sides in one process, the same model object and the same rows, two threads for whoever uses them.",
        "## Less than wanted\n\n" + ("\n".join(f"- {line}" for line in missed) or "None of these rows."),
        "## Sections that failed\n\n" + "\n".join(f"- {line}" for line in failed) if failed else "",
        *(f"## {section.title}\n\n{section.text}" for section in found),
        f"## Machine\n\n{machine_lines(machine, str(before), str(after))}",
    ]
    numbers: dict[str, Any] = {section.word: section.rows for section in found}
    write(
        out,
        "\n\n".join(part for part in parts if part),
        {"machine": machine, "label": note, "missed": missed, "failed": failed, **numbers},
    )


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
