"""Error at equal coalitions: ours, shap's and shapiq's estimators on the same rows, each seed with another row."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from benchmarks.blackbox import ours, peers
from benchmarks.blackbox.cases import Case, Cases
from benchmarks.report import ratio, table
from benchmarks.sections import Section

#: Seeds, budgets in coalitions per feature, reference cases.
SEEDS, TIMES, BACKGROUND = 20, (5, 10, 50, 100), 20

#: How many times lower than shap's our error must be.
WANTED = 5.0

WORKS = (("network", 12), ("forest", 12), ("smooth", 14), ("boosted", 20))


def measured(cases: Cases, patience: float) -> Section:
    """Every model, side and budget."""
    found, parts, missed = [], [], []
    for kind, d in WORKS:
        case = cases(kind, d, SEEDS, BACKGROUND)
        rows = list(_sides(case, patience))
        found += rows
        parts.append(f"### {case.name}\n\n{_table(rows)}")
        missed += list(_missed(case, rows))
    text = (
        f"Mean squared difference from the exact values, both scaled so that the largest exact value of the row is 1; mean over {SEEDS} "
        f"seeds, each with another row; in brackets how many times that of KernelShap on the same seeds. Background of {BACKGROUND}. Coalitions count the empty "
        f"and the full one; d is the number of features. Fewer seeds, [how many], where a side took longer than {patience:.0f} s.\n\n"
    )
    return Section("error", "Error at equal coalitions", text + "\n\n".join(parts), found, missed)


def scaled_error(found: np.ndarray, truth: np.ndarray) -> float:
    """Mean squared difference ``(…, d)``, each row in units of its largest exact value."""
    return float((((found - truth) / np.abs(truth).max(axis=-1, keepdims=True)) ** 2).mean())


def errors(case: Case, side: peers.Estimator, budget: int, seeds: int, patience: float) -> list[float]:
    """One for each seed; at least two, and no more than `patience` seconds allow, the first apart: it may compile."""
    found: list[float] = []
    began = 0.0
    for seed in range(seeds):
        if seed > 1 and (time.perf_counter() - began) * seed / (seed - 1) > patience:
            break
        row = seed % len(case.rows)
        found.append(scaled_error(side(case, row, budget, seed), case.truth[row]))
        began = began or time.perf_counter()
    return found


def _sides(case: Case, patience: float) -> Iterator[dict[str, Any]]:
    mine = ours.sides()
    for name, side in {**mine, **peers.shap_sides(), **peers.shapiq_sides()}.items():
        each = {times: errors(case, side, times * case.d, SEEDS, patience) for times in TIMES}
        yield {
            "model": case.name,
            "side": name,
            "ours": name in mine,
            "error": {times: float(np.mean(values)) for times, values in each.items()},
            "each": each,
        }


def times_ours(row: dict[str, Any], headline: dict[str, Any], times: int) -> float:
    """Its error over that of our headline, on the seeds that both have."""
    theirs, mine = row["each"][times], headline["each"][times]
    common = min(len(theirs), len(mine))
    return float(np.mean(theirs[:common]) / max(np.mean(mine[:common]), 1e-300))


def _table(rows: Sequence[dict[str, Any]]) -> str:
    lines = []
    for row in rows:
        cells = [
            f"{row['error'][times]:.1e}"
            + ("" if row is rows[0] else f" ({ratio(times_ours(row, rows[0], times))})")
            + (f" [{len(row['each'][times])}]" if len(row["each"][times]) < SEEDS else "")
            for times in TIMES
        ]
        lines.append([f"**{row['side']}**" if row["ours"] else row["side"], *cells])
    return table(("side", *(f"{times} d" for times in TIMES)), lines)


def _missed(case: Case, rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Against shap's Kernel SHAP without selection, and against the best of all others."""
    others = [row for row in rows if not row["ours"]]
    for times in TIMES:
        against = {row["side"]: times_ours(row, rows[0], times) for row in others}
        kernel = next(found for side, found in against.items() if "l1_reg=0" in side)
        best = min(against, key=lambda side: against[side])
        if kernel < WANTED:
            yield f"{case.name}, {times} d: {ratio(kernel)} × lower than shap's KernelExplainer(l1_reg=0), {WANTED:.0f} wanted"
        if against[best] < 1:
            yield f"{case.name}, {times} d: {best} has {ratio(against[best])} × our error"
