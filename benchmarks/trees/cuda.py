"""On a CUDA device: absolute times and rows per second, XGBoost on the same device beside it."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch

import explainers as ex
from benchmarks.report import short, table
from benchmarks.trees.cases import XGBOOST, Cases
from benchmarks.trees.shapley_rows import MANY


def measured(cases: Cases, repeats: int) -> str:
    """Markdown; says where there is no such device."""
    if not torch.cuda.is_available():
        return "Not measured on a GPU."
    case = cases[XGBOOST]
    X = case.table.rows(case.table.size(MANY))
    rows, background = case.table.cases(X), case.table.cases(case.table.X[-100:])
    lines = []
    for name, count in (("path-dependent", 0), ("background of 100", 100)):
        method = ex.TreeShap(background=count)
        more: dict[str, Any] = {"background": background} if count else {}
        call = partial(ex.explain, case.model, case.table.data, method, rows=rows, device="cuda", **more)
        seconds, result = _median(call, repeats)
        kernel = result.diagnostics.get("kernel", "")
        lines.append([f"whyboard, {name} ({kernel})", short(seconds), f"{len(X) / seconds:,.0f}"])
    lines.append(_xgboost(case.booster.copy(), X, repeats, case.table.names))
    return f"{torch.cuda.get_device_name()}, {len(X):,} rows\n\n{table(('side', 'time', 'rows per second'), lines)}"


def _xgboost(booster: Any, X: Any, repeats: int, names: list[str]) -> list[str]:
    import xgboost

    try:
        booster.set_param({"device": "cuda"})
        matrix = xgboost.DMatrix(X, feature_names=names)
        seconds, _ = _median(lambda: booster.predict(matrix, pred_contribs=True), repeats)
    except xgboost.core.XGBoostError as error:
        return ["XGBoost pred_contribs, device='cuda'", str(error).splitlines()[0][:80], ""]
    return ["XGBoost pred_contribs, device='cuda'", short(seconds), f"{len(X) / seconds:,.0f}"]


def _median(call: Callable[[], Any], repeats: int) -> tuple[float, Any]:
    result, taken = call(), []
    for _ in range(repeats):
        torch.cuda.synchronize()
        began = time.perf_counter()
        result = call()
        torch.cuda.synchronize()
        taken.append(time.perf_counter() - began)
    return statistics.median(taken), result
