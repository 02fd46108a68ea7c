"""Our tree engine beside XGBoost, LightGBM, shap, Woodelf and scikit-learn: one run, agreement beside every ratio."""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

PACKAGES = (
    "numpy", "numba", "scikit-learn", "xgboost-cpu", "xgboost", "lightgbm", "shap", "woodelf_explainer", "torch",
)  # fmt: skip

THREADS_SAID = "nthread of XGBoost, num_threads of LightGBM, n_jobs of forests, OMP_NUM_THREADS for ours; shap's C code has one thread, Woodelf's numpy one"


def measure_all(
    data: Path | None, repeats: int, only: Sequence[str], most: int | None, patience: float, out: Path
) -> None:
    """Run the rows, print them, and write them down."""
    import torch

    from benchmarks.machine import Quietness, facts, label
    from benchmarks.report import machine_lines, write
    from benchmarks.trees import cuda, effects_rows, probability_rows, shapley_rows
    from benchmarks.trees.cases import THREADS, Cases, Table
    from benchmarks.trees.machine_code import compiling, first_calls
    from benchmarks.trees.writing import models_text, row_text

    torch.set_num_threads(THREADS)
    before = Quietness.now()
    wanted = not only or any(part in "compiling" for part in only)
    compiled, loaded = compiling() if wanted else (float("nan"), float("nan"))
    first_calls()
    cases = Cases(Table(data, most))
    found: list[dict[str, Any]] = []
    failed: list[str] = []
    for word, make in chain(*(kind.rows(cases) for kind in (shapley_rows, effects_rows, probability_rows))):
        if only and not any(part in word for part in only):
            continue
        try:
            row = make()
            if row is not None:
                found.append(row.run(repeats, patience))
                print(f"{row_text(found[-1])}\n", flush=True)
        except Exception as error:  # one row that fails must not cost the others' quarter of an hour
            traceback.print_exc()
            failed.append(f"{word}: {type(error).__name__}: {error}")
    on_cuda = cuda.measured(cases, repeats)
    after = Quietness.now()
    models = [case.facts() for case in cases.made.values()]
    machine = facts(*PACKAGES)
    parts = [
        _head(cases.table, label(before), patience),
        models_text(models),
        f"Our machine code: compiled in {compiled:.1f} s once for an installation, loaded in {loaded:.1f} s in a new process."
        if wanted
        else "",
        _rows_text(found),
        "## Rows that failed\n\n" + "\n".join(f"- {line}" for line in failed) if failed else "",
        f"## On a CUDA device\n\n{on_cuda}",
        f"## Machine\n\n{machine_lines(machine, str(before), str(after))}",
    ]
    numbers = {"machine": machine, "label": label(before), "compiling": [compiled, loaded]}
    write(
        out,
        "\n\n".join(part for part in parts if part),
        {**numbers, "models": models, "rows": found, "cuda": on_cuda},
    )


def _head(table: Any, note: str, patience: float) -> str:
    from benchmarks.trees.measuring import LONG
    from benchmarks.trees.writing import ABOUT

    source = "data made by the script" if table.path is None else table.path.name
    about = ABOUT.format(threads=THREADS_SAID, patience=patience, long=LONG)
    loud = f"**{note}**\n\n" if note else ""
    return (
        f"# Our tree engine beside the established libraries\n\n{loud}{source}, models fitted to {len(table.X):,} rows of "
        f"{table.X.shape[1]} numbers.\n\n{about}"
    )


def _rows_text(rows: Sequence[dict[str, Any]]) -> str:
    from benchmarks.trees.writing import losses, row_text, summary

    return "\n\n".join(["## Ratios", summary(rows), losses(rows), "## Rows", *map(row_text, rows)])
