"""The table of the tree engine, as markdown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.report import ratio, short, table

HEADS = (
    "side", "time", "theirs / ours", "max difference (of)", "per second", "leaf-rows/s", "peak memory", "cold", "note",
)  # fmt: skip

ABOUT = """\
All sides in one process, the same model object and the same rows, two threads each through each library's own setting
({threads}). Every side runs once to warm up, then all in turn; medians, the number of runs in brackets. The repeats of a
side get at most {patience:.0f} s, so slow ones have fewer. *Scaled*: the whole would take longer than {long:.0f} s, so it ran once on two smaller
sizes, and the time is the straight line through them. *theirs / ours*: one ratio for each of our lines, in their order. *Max
difference* is the largest absolute difference from a float64 reference, in brackets the largest value of that, behind it
on how many units. *Peak memory* is by how
much the process grew at most during one run beyond what was there before (the kernel's highest mark of resident memory,
reset before; memory given back first), on so many units as ran. *Cold* is what is made once for a model, not part of the
time: our conversion and kept tables, the other library's explainer and reading of the model. Values of tables are float32,
references float64. Every value is a float32 number, so that no library rounds a row across a split."""


def row_text(row: dict[str, Any]) -> str:
    """One row with all its sides."""
    lines = [_line(side, row["unit"]) for side in row["sides"]]
    note = f"\n\n{row['note']}." if row["note"] else ""
    return f"### {row['title']}\n\n{table(HEADS, lines)}{note}"


def _line(side: dict[str, Any], unit: str) -> list[str]:
    notes = [side["said"]]
    if side["apart"] and side["leaf_rows"]:
        notes.append(f"{side['apart']:,} {unit} differ by more than 1e-4")
    if side["scaled"]:
        notes.append(f"scaled: {side['scaled']}")
    return [
        f"**{side['name']}**" if side["ours"] else side["name"],
        short(side["seconds"]) + (" (scaled)" if side["scaled"] else f" ({side['runs']})"),
        " / ".join(ratio(each) for each in side["ratios"]),
        f"{side['difference']:.0e} ({side['largest']:.2g}), {side['compared']:,}",
        f"{side['per_second']:,.0f} {unit}",
        f"{side['leaf_rows']:.1e}" if side["leaf_rows"] else "",
        _memory(side["peak"]) + (f" ({side['peak_units']:,} {unit})" if side["scaled"] else ""),
        "" if side["ours"] and not side["headline"] else short(side["cold"]),
        "; ".join(note for note in notes if note),
    ]


def _memory(peak: int | None) -> str:
    return "not known" if peak is None else f"{peak / 2**20:,.0f} MiB"


def summary(rows: Sequence[dict[str, Any]]) -> str:
    """One line for each row and peer: the ratio to the headline side."""
    lines = [
        [row["title"], side["name"], ratio(side["ratios"][0]), "scaled" if side["scaled"] else ""]
        for row in rows
        for side in row["sides"]
        if not side["ours"]
    ]
    return table(("work", "against", "theirs / ours", ""), lines)


def models_text(models: Sequence[dict[str, Any]]) -> str:
    """The models that were fitted."""
    lines = [
        [m["name"], f"{m['trees']:,}", f"{m['leaves']:,.1f}", str(m["depth"]), short(m["fitting"])]
        for m in models
    ]
    return table(("model", "trees", "leaves per tree", "depth", "fitting"), lines)


def losses(rows: Sequence[dict[str, Any]]) -> str:
    """Where the headline side is slower."""
    lost = [
        f"{row['title']} against {side['name']} ({ratio(side['ratios'][0])})"
        for row in rows
        for side in row["sides"]
        if side["ratios"] and side["ratios"][0] < 1
    ]
    return f"Slower than the other side: {'; '.join(lost) or 'none of these rows'}."
