"""Our explainers beside shap, lime, scikit-learn and captum: equal settings, two threads each, agreement beside every ratio."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks import pictures, tables
from benchmarks.comparison import Comparison
from benchmarks.machine import Quietness, facts, label
from benchmarks.report import machine_lines, milliseconds, table, write

THREADS = 2


def measure_all(data: Path | None, repeats: int, only: Sequence[str], out: Path) -> None:
    """Run the rows, print the table, and write it down."""
    torch.set_num_threads(THREADS)
    before = Quietness.now()
    rows = []
    for word, make in _comparisons(data):
        if only and not any(part in word for part in only):
            continue
        rows.append(make().run(repeats))
        print(f"{word}: {rows[-1]['ratio']:.2f} times", flush=True)
    after = Quietness.now()
    machine = facts("torch", "numpy", "scikit-learn", "shap", "lime", "captum")
    text = _text(rows, "data made by the script" if data is None else data.name, label(before))
    text += f"\n\n## Machine\n\n{machine_lines(machine, str(before), str(after))}"
    write(out, text, {"machine": machine, "label": label(before), "rows": rows})


def _comparisons(data: Path | None) -> Iterator[tuple[str, Callable[[], Comparison]]]:
    yield from tables.comparisons(data)
    yield from pictures.comparisons()


def _text(rows: Sequence[dict[str, Any]], source: str, note: str) -> str:
    heads = (
        "ours",
        "beside",
        "ours",
        "theirs",
        "theirs / ours",
        "max difference (of)",
        "correlation",
        "note",
    )
    return (
        "# Our explainers beside the established libraries\n\n"
        f"{f'**{note}**' + chr(10) * 2 if note else ''}"
        f"{source}; a boosted classifier, and a small network with random weights. Equal settings, both sides in this process with "
        f"{THREADS} threads, timed in turn after one warm-up, medians. Where the ratio is below one we are slower.\n\n"
        f"{table(heads, [_row(row) for row in rows])}\n\n{_losses(rows)}"
    )


def _row(row: dict[str, Any]) -> list[str]:
    return [
        row["name"],
        row["peer"],
        milliseconds(row["ours"]),
        milliseconds(row["theirs"]),
        f"{row['ratio']:.2f}",
        f"{row['difference']:.1e} ({row['largest']:.2g})",
        f"{row['correlation']:.4f}",
        row["note"],
    ]


def _losses(rows: Sequence[dict[str, Any]]) -> str:
    lost = [f"{row['name'].partition(',')[0]} against {row['peer']}" for row in rows if row["ratio"] < 1]
    return (
        f"Slower than the other side: {'; '.join(lost)}."
        if lost
        else "Slower than the other side: none of these rows."
    )
