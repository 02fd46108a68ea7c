"""Time to equal error: the other side at a few budgets, and the least of our budgets that is as exact."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

import explainers as ex
from benchmarks.blackbox import peers
from benchmarks.blackbox.cases import Case, Cases
from benchmarks.blackbox.error_rows import scaled_error
from benchmarks.blackbox.ours import kinds, named
from benchmarks.report import ratio, short, table
from benchmarks.sections import Section

#: Our budgets, smallest first; draws for our error.
BUDGETS = (44, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096)
DRAWS = 5

#: A line is read no further than this many times beyond its points; a run of ours may take so many times the patience.
BEYOND, LONG = 3.0, 5.0


@dataclasses.dataclass(frozen=True)
class Work:
    """One piece of work.

    Attributes:
        word, title: to choose it by, and what it is.
        case: rows to explain; `known` of them have their exact values found.
        known: the first rows, on which errors are taken, and which the other side is run on.
        sides: name, estimator, budgets (the last one counts), how many times faster ours must be.
        slow: the model costs more than fitting trees does, so our proxy of trees takes part.
    """

    word: str
    title: str
    case: Case
    known: int
    sides: Sequence[tuple[str, peers.Estimator, Sequence[int], float]]
    slow: bool = False


def network(cases: Cases, patience: float) -> Section:
    """100 rows of a torch network."""
    case = cases("network", 20, 100, 100)
    kernel = (256, 1024, 2 * case.d + 2048 + 2)
    work = Work(
        "time",
        f"{len(case.rows)} rows, {case.name}, background {len(case.background)}",
        case,
        3,
        [
            ("shap KernelExplainer(l1_reg=0)", partial(peers.shap_kernel, l1_reg=0), kernel, 8.0),
            ("shap KernelExplainer, default", peers.shap_kernel, kernel, 8.0),
            ("shap PermutationExplainer", peers.shap_permutation, (164, 1640, 500), 5.0),
        ],
    )
    return _section(work, "Time to equal error", patience)


def slow_forest(cases: Cases, patience: float) -> Section:
    """A few rows of a slow black box."""
    case = cases("forest", 12, 6, 30, 200, 12)
    work = Work(
        "slow",
        f"{len(case.rows)} rows, {case.name}, background {len(case.background)}",
        case,
        len(case.rows),
        [
            ("shap KernelExplainer(l1_reg=0)", partial(peers.shap_kernel, l1_reg=0), (96, 192, 384), 1.0),
            ("shap KernelExplainer, default", peers.shap_kernel, (96, 192, 384), 1.0),
            ("shap PermutationExplainer", peers.shap_permutation, (100, 200, 500), 1.0),
        ],
        slow=True,
    )
    return _section(work, "A slow black box", patience)


def _section(work: Work, title: str, patience: float) -> Section:
    few = dataclasses.replace(work.case, rows=work.case.rows[: work.known])
    theirs = [point for side in work.sides for point in _their_points(work, few, side, patience)]
    least = min(point["error"] for point in theirs)
    mine = {
        name: list(_our_points(work, few, made, least, patience))
        for name, made in kinds().items()
        if work.slow or "trees" not in name
    }
    rows = [{**point, "work": work.word, "ours": _against(point, mine)} for point in theirs]
    text = "\n\n".join([_about(work), _their_table(rows), _our_table(mine, theirs)])
    numbers = [*rows, {"work": work.word, "points": mine}]
    return Section(work.word, f"{title}: {work.title}", text, numbers, list(_missed(rows)))


def _their_points(work: Work, few: Case, side: Any, patience: float) -> Iterator[dict[str, Any]]:
    name, estimator, budgets, wanted = side
    estimator(few, 0, budgets[0], 0)  # what only the first call costs is nobody's speed
    for budget in budgets:
        errors: list[float] = []
        taken: list[float] = []
        for draw in range(DRAWS * len(few.rows)):
            row, seed = draw % len(few.rows), draw // len(few.rows)
            if row == 0 and draw and sum(taken) * (1 + 1 / max(seed, 1)) > patience:
                break
            began = time.perf_counter()
            found = estimator(few, row, budget, seed)
            taken.append(time.perf_counter() - began)
            errors.append(scaled_error(found, few.truth[row]))
        each = np.reshape(taken, (-1, len(few.rows))).mean(axis=1).min()
        yield {
            "side": name,
            "budget": budget,
            "seconds": float(each) * len(work.case.rows),
            "scaled": len(few.rows) < len(work.case.rows),
            "error": float(np.mean(errors)),
            "draws": len(errors),
            "wanted": wanted,
            "default": budget == (500 if estimator is peers.shap_permutation else 2 * few.d + 2050),
            "counts": budget == budgets[-1],
        }


def _our_points(work: Work, few: Case, made: Any, least: float, patience: float) -> Iterator[dict[str, Any]]:
    """Larger and larger budgets, until the error is the least that anybody reached, or one run takes too long."""
    case = work.case
    for budget in BUDGETS:
        if budget < 2 * case.d + 2:
            continue
        taken: list[float] = []
        error = np.mean([_error(few, made, budget, seed) for seed in range(DRAWS)])
        while len(taken) < 3 and sum(taken) < patience / 2:
            began = time.perf_counter()
            case.explained(_method(made, case, budget, 0), case.rows)
            taken.append(time.perf_counter() - began)
        yield {"budget": budget, "seconds": min(taken), "error": float(error), "runs": len(taken)}
        if error <= least or min(taken) > LONG * patience:
            return


def _error(few: Case, made: Any, budget: int, seed: int) -> float:
    return scaled_error(
        np.asarray(few.explained(_method(made, few, budget, seed), few.rows).values), few.truth
    )


def _method(made: Any, case: Case, budget: int, seed: int) -> ex.Explainer:
    settings: dict[str, Any] = {"background": len(case.background), "budget": budget, "seed": seed}
    kind, fixed = made
    return named(kind, **settings, **fixed)


def _against(point: dict[str, Any], mine: dict[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Of each of our methods the quickest budget whose error is no larger."""
    found = []
    for name, points in mine.items():
        enough = [one for one in points if one["error"] <= point["error"]]
        if enough:
            best = min(enough, key=lambda one: one["seconds"])
            found.append({"method": name, **best, "ratio": point["seconds"] / best["seconds"]})
    return found


def _at(points: Sequence[dict[str, Any]], error: float) -> float:
    """Seconds on the line of log time over log error at `error`; NaN far from its points, or where more time does not help."""
    x, y = (np.log10([max(point[key], 1e-300) for point in points]) for key in ("error", "seconds"))
    near = x.min() - np.log10(BEYOND) <= np.log10(max(error, 1e-300)) <= x.max() + np.log10(BEYOND)
    if not near or np.ptp(x) < np.log10(BEYOND):
        return float("nan")
    slope, height = np.polyfit(x, y, 1)
    return float(10 ** (height + slope * np.log10(error))) if slope < 0 else float("nan")


def _about(work: Work) -> str:
    known, rows = work.known, len(work.case.rows)
    scaled = (
        f"; the other side's time is that of {known} rows times {rows / known:.0f} (scaled)"
        if known < rows
        else ""
    )
    return (
        f"Errors are taken on the first {known} rows, whose values are known exactly, over up to {DRAWS} seeds{scaled}. "
        "*Ours*: the quickest of our budgets whose error is equal or lower, all rows in one call."
    )


def _their_table(rows: Sequence[dict[str, Any]]) -> str:
    heads = ("side", "coalitions", "time", "error", "ours", "coalitions", "time", "error", "theirs / ours")
    lines = []
    for row in rows:
        said = [
            row["side"],
            f"{row['budget']:,}" + (" (default)" if row["default"] else ""),
            short(row["seconds"]) + (" (scaled)" if row["scaled"] else ""),
            f"{row['error']:.1e}",
        ]
        ours = [_our_cells(one) for one in row["ours"]] or [["none of ours reached it", "", "", "", ""]]
        lines += [said + cells for cells in ours]
    return table(heads, lines)


def _our_cells(one: dict[str, Any]) -> list[str]:
    return [one["method"], f"{one['budget']:,}", short(one["seconds"]), f"{one['error']:.1e}", ratio(one["ratio"])]  # fmt: skip


def _our_table(mine: dict[str, list[dict[str, Any]]], theirs: Sequence[dict[str, Any]]) -> str:
    """Every budget of ours, beside the time the other side's line gives for the same error."""
    names = list(dict.fromkeys(point["side"] for point in theirs))
    lines = [[point for point in theirs if point["side"] == name] for name in names]
    body = []
    for method, points in mine.items():
        for one in points:
            each = [_at(line, one["error"]) for line in lines]
            cells = [
                "" if np.isnan(there) else f"{short(there)} ({ratio(there / one['seconds'])})"
                for there in each
            ]
            body.append([method, f"{one['budget']:,}", short(one["seconds"]), f"{one['error']:.1e}", *cells])
    heads = ("ours", "coalitions", "time", "error", *(f"{name}, its line there (ratio)" for name in names))
    return (
        "The line through the other side's points (log time over log error), read at each of our errors; empty where it is further than "
        f"{BEYOND:.0f} times from the points, or where its error hardly falls with time:\n\n"
        + table(heads, body)
    )


def _missed(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    for row in rows:
        best = row["ours"][0]["ratio"] if row["ours"] and row["ours"][0]["method"] == "KernelShap" else 0.0
        if row["counts"] and best < row["wanted"]:
            yield f"{row['side']}, {row['work']}: {ratio(best)} × (KernelShap), {row['wanted']:.0f} wanted"
