"""Results on paper: markdown to read, JSON to compare with the next run."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, 90th percentile, least and how many."""
    found = np.asarray(values, dtype=np.float64)
    return {
        "median": float(np.median(found)),
        "p90": float(np.quantile(found, 0.9)),
        "min": float(found.min()),
        "count": len(found),
    }


def milliseconds(seconds: float) -> str:
    """Up to ten seconds in ms, since that is what people compare."""
    return f"{1000 * seconds:,.0f} ms" if seconds < 10 else f"{seconds:,.1f} s"


def short(seconds: float) -> str:
    """Below ten milliseconds with more places."""
    return f"{1000 * seconds:.2f} ms" if seconds < 0.01 else milliseconds(seconds)


def ratio(value: float) -> str:
    """Two figures, or whole numbers from a hundred."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.2g}" if value < 1 else f"{value:.1f}"


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A markdown table."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def machine_lines(facts: dict[str, Any], before: str, after: str) -> str:
    """The machine in a few lines of markdown."""
    versions = ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
    return (
        f"{facts['date']} · {facts['cores']} cores, {facts['processor']}, {facts['memory']}, {facts['system']} · "
        f"OMP_NUM_THREADS {facts['threads']}\n\n{versions}\n\n"
        f"Before the start: {before}. After the end: {after} (the load then holds the run itself). "
        "Not measured on a GPU."
    )


def write(out: Path, text: str, numbers: dict[str, Any]) -> None:
    """`out` as markdown, and beside it the same name with ``.json``."""
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(text + "\n", encoding="utf-8")
    out.with_suffix(".json").write_text(json.dumps(numbers, indent=1) + "\n", encoding="utf-8")
    print(text)
    print(f"\nwritten: {out} and {out.with_suffix('.json').name}")
