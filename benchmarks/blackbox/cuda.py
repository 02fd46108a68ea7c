"""On a CUDA device: absolute times, nothing beside them."""

from __future__ import annotations

import time
from typing import Any

import torch

import explainers as ex
from benchmarks.blackbox.cases import Cases
from benchmarks.blackbox.ours import named
from benchmarks.report import short, table
from benchmarks.sections import Section

BUDGETS = (128, 512, 2048)


def measured(cases: Cases) -> Section:
    """The network of 100 rows on the device; says where there is none."""
    title = "On a CUDA device"
    if not torch.cuda.is_available():
        return Section("cuda", title, "Not measured on a GPU.", [], [])
    case = cases("network", 20, 100, 100)
    rows, found = case.dataset(case.rows), []
    for kind in ("KernelShap", "PermutationShap", "Lime"):
        method: Any = getattr(ex, kind, None)
        for budget in BUDGETS if method else ():
            made = named(method, budget=budget, samples=budget, background=100)
            taken = []
            for _ in range(4):  # the first one warms up
                torch.cuda.synchronize()
                began = time.perf_counter()
                ex.explain(case.model, case.data, made, rows=rows, device="cuda", background=case.reference)
                torch.cuda.synchronize()
                taken.append(time.perf_counter() - began)
            found.append({"method": kind, "budget": budget, "seconds": min(taken[1:])})
    lines = [[str(row["method"]), f"{row['budget']:,}", short(float(row["seconds"]))] for row in found]
    text = f"{torch.cuda.get_device_name()}, {len(case.rows)} rows, {case.name}, background 100\n\n" + table(
        ("method", "coalitions or samples", "time"), lines
    )
    return Section("cuda", title, text, found, [])
