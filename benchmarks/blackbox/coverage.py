"""How often the 95 % intervals contain the exact value, feature by feature; a result, not a speed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from benchmarks.blackbox.cases import Case, Cases
from benchmarks.blackbox.ours import kinds, named
from benchmarks.report import table
from benchmarks.sections import Section

#: Features, rows, reference cases; draws, and the fewest that say anything; what is near zero, as a share of the row's largest value.
D, ROWS, BACKGROUND, SEEDS, FEWEST, NEAR = 16, 10, 10, 100, 10, 0.02

#: Half the width of an interval in standard errors, and the shares that count as 95 %.
WIDTH, LOW, HIGH = 1.96, 0.92, 0.98

#: Where a method stops by itself: half the width its intervals are to have, as shares of the rows' largest values (their median).
TOLERANCES = (0.05, 0.02)

HEADS = (
    "model",
    "method",
    "coalitions",
    "all features",
    "near zero",
    "others",
    "exact in every draw",
    "near zero, without those",
    "others, without those",
    "lowest feature",
    "draws",
    "",
)


def measured(cases: Cases, patience: float) -> Section:
    """Every model with every method and budget."""
    found = [
        _row(case, name, method, patience)
        for case in (cases(kind, D, ROWS, BACKGROUND) for kind in ("network", "forest", "smooth"))
        for name, method in _methods(case)
    ]
    missed = [
        f"coverage of {row['method']} on {row['model']} near {row['coalitions']:,.0f} coalitions: "
        f"{row.get('near_sampled', 1):.1%} near zero, {row.get('others_sampled', 1):.1%} others"
        for row in found
        if row["missed"]
    ]
    text = (
        f"{ROWS} rows, {D} features, background of {BACKGROUND}; each draw is another seed for all rows, and ± is the standard error "
        f"of the share over draws. *Near zero*: the exact value is under {NEAR:.0%} of the row's largest. Wanted: {LOW:.0%} to {HIGH:.0%} of the values that "
        "are not exact in every draw: those lie in any interval (a pair of orders is exact for effects of up to two features).\n\n"
        + table(HEADS, [_cells(row) for row in found])
    )
    return Section("coverage", "Coverage of the 95 % intervals", text, found, missed)


def _methods(case: Case) -> Iterator[tuple[str, Any]]:
    """Name and what makes the method from a seed."""
    unit = float(np.median(np.abs(case.truth).max(axis=1)))
    for name, (method, fixed) in kinds().items():
        if fixed:  # a proxy that is no default: once
            yield name, _make(method, budget=50 * D, **fixed)
            continue
        for times in (10, 50):
            yield name, _make(method, budget=times * D)
        for share in TOLERANCES:
            yield f"{name}, stopped at ± {share:.0%}", _make(method, budget=2**15, tolerance=share * unit)


def _make(method: Any, **settings: Any) -> Any:
    return lambda seed: named(method, seed=seed, background=BACKGROUND, **settings)


def _row(case: Case, name: str, method: Any, patience: float) -> dict[str, Any]:
    truth, inside, off, asked = case.truth, [], [], []
    largest = np.abs(truth).max(axis=1, keepdims=True)
    began = time.perf_counter()
    for seed in range(SEEDS):
        if seed >= FEWEST and (time.perf_counter() - began) * (seed + 1) / seed > patience:
            break
        found = case.explained(method(seed), case.rows)
        error = np.zeros_like(truth) if found.standard_error is None else found.standard_error
        off.append(np.abs(found.values - truth) > 1e-6 * largest)
        inside.append(np.abs(found.values - truth) <= WIDTH * error + 1e-6 * largest)
        asked.append(np.mean(found.diagnostics.get("coalitions", np.nan)))
    hits = np.array(inside)
    near = np.abs(truth) < NEAR * largest
    sampled = np.array(off).any(axis=0)  # a value that is never off lies in any interval
    which = {"near": near, "others": ~near, "near_sampled": near & sampled, "others_sampled": ~near & sampled}
    shares = {key: hits[:, places].mean(axis=1) for key, places in which.items() if places.any()}
    each = hits.mean(axis=(0, 1))
    row: dict[str, Any] = {
        "model": case.name,
        "method": name,
        "coalitions": float(np.mean(asked)),
        "all": float(hits.mean()),
        "lowest": float(each.min()),
        "draws": len(hits),
    }
    row["exact"] = float(1 - sampled.mean())
    for key, share in shares.items():
        row |= {key: float(share.mean()), f"{key}_error": float(share.std(ddof=1) / np.sqrt(len(share)))}
    row["missed"] = any(not LOW <= row[key] <= HIGH for key in shares if key.endswith("sampled"))
    print(" · ".join(_cells(row)), flush=True)
    return row


def _cells(row: dict[str, Any]) -> list[str]:
    return [
        row["model"],
        row["method"],
        f"{row['coalitions']:,.0f}",
        f"{row['all']:.1%}",
        f"{row['near']:.1%} ± {row['near_error']:.1%}",
        f"{row['others']:.1%} ± {row['others_error']:.1%}",
        f"{row['exact']:.0%}",
        *(
            f"{row[key]:.1%} ± {row[f'{key}_error']:.1%}" if key in row else ""
            for key in ("near_sampled", "others_sampled")
        ),
        f"{row['lowest']:.1%}",
        str(row["draws"]),
        "**missed**" if row["missed"] else "",
    ]
