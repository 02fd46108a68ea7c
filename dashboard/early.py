"""Long answers in parts, so that the first is soon there: some cases after others, or a look at few rows before the whole.

What comes meanwhile is noted like the coarser results that explainers send of themselves, shown like them, and kept when the work is
stopped. Its diagnostics say in ``cases_known`` how many cases it knows, and of how many.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

import explainers as ex

#: Cases of the first part, and at most of a later one.
FEWEST, MOST = 4, 20

#: Standard errors in half a 95 % interval.
NORMAL = 1.959964

#: Steps of progress for each case.
STEPS = 1000

#: Rows that a first look is taken at, at least, and how many of each class there must be to score a model.
LOOKED_AT, OF_EACH = 30, 5

#: Ask for an explanation of the same model, data and output: ``explain(explainer, rows, progress)``.
Explain = Callable[[ex.Explainer, Any, ex.Progress], ex.Explanation]

#: How a long answer is found; a partial result goes to the progress with its provenance.
Early = Callable[[Explain, ex.Progress], ex.Explanation]


def case_by_case(explainer: ex.Explainer, rows: Sequence[int], seed: int = 0) -> Early:
    """Explain some cases after others, in random order, so that those known are a sample of all.

    It is for explainers that explain every case by itself: put together, the parts are what one call gives.
    """
    every, whole = np.asarray(rows), STEPS * len(rows)
    order = np.random.default_rng(seed).permutation(len(every))

    def run(explain: Explain, progress: ex.Progress) -> ex.Explanation:
        parts: list[ex.Attribution] = []

        def known(places: np.ndarray, found: list[ex.Attribution]) -> ex.Attribution:
            return _together(found, every, order[: places[-1] + 1])

        for places in _portions(len(every)):

            def tell(done: int, total: int, partial: Any = None, places: np.ndarray = places) -> None:
                shown = None if partial is None else known(places, [*parts, partial])
                progress(STEPS * int(places[0]) + STEPS * len(places) * done // max(total, 1), whole, shown)

            part = explain(explainer, every[order[places]].tolist(), tell)
            assert isinstance(part, ex.Attribution)
            parts.append(part)
            stop = int(places[-1]) + 1
            progress(STEPS * stop, whole, known(places, parts) if stop < len(every) else None)
        return _together(parts, every, order)

    return run


def _portions(count: int) -> Iterator[np.ndarray]:
    """Places in the order: few at first, then as many again as there are, but never so many that nothing is seen for long."""
    start = 0
    while start < count:
        stop = min(count, start + min(MOST, max(FEWEST, start)))
        yield np.arange(start, stop)
        start = stop


def _together(parts: list[ex.Attribution], rows: np.ndarray, places: np.ndarray) -> ex.Attribution:
    """Attributions of the cases at these places of `rows`, in the order of the rows."""
    order = np.argsort(places)

    def joined(name: str) -> Any:
        found = [getattr(part, name) for part in parts]
        if all(values is None for values in found):
            return None
        filled = [np.zeros_like(p.values) if f is None else f for p, f in zip(parts, found, strict=True)]
        return np.concatenate(filled)[order]  # the exact ones among others have no error

    targets = [label for part in parts for label in part.targets]
    arrays = {
        name: joined(name)
        for name in ("values", "base_value", "output", "standard_error", "background_error")
    }
    return dataclasses.replace(
        parts[0],
        **arrays,
        targets=tuple(targets[i] for i in order),
        diagnostics=_facts(parts, len(rows)),
        provenance={**parts[0].provenance, "rows": rows[places][order].tolist()},
    )


def of_few(cases: int) -> float:
    """How much wider an interval is that a spread of so few cases gives: Student's t over the normal, by its series."""
    z, free = NORMAL, max(cases - 1, 1)
    terms = z + (z**3 + z) / (4 * free) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * free**2)
    return terms / z


def _facts(parts: list[ex.Attribution], wanted: int) -> dict[str, Any]:
    """The diagnostics of one call for all these cases."""
    facts: dict[str, Any] = {}
    for part in parts:
        facts |= part.diagnostics
    each = [part.diagnostics for part in parts]
    for name, over in (("exact", all), ("coalitions", max), ("evaluations", sum), ("seconds", sum)):
        said = [known[name] for known in each if name in known]
        if len(said) == len(each):
            facts[name] = over(said)
        else:
            facts.pop(name, None)  # of a part alone it would be wrong
    known = sum(len(part.values) for part in parts)
    return facts | ({"cases_known": (known, wanted)} if known < wanted else {})


def looked_at(rows: np.ndarray, truth: np.ndarray | None, most: int, seed: int = 0) -> tuple[int, ...]:
    """A random sample of rows to look at first, sorted: as many as may be, but enough of each class; or none.

    Args:
        truth: the class of each row; ``None`` where there are no classes.
        most: as many rows as the time allows.
    """
    drawn = np.random.default_rng(seed).permutation(rows)
    size = max(LOOKED_AT, most)
    if truth is not None:
        first = [np.flatnonzero(truth[drawn] == label)[:OF_EACH] for label in np.unique(truth[rows])]
        size = max(size, *(int(places[-1]) + 1 for places in first))
    return tuple(np.sort(drawn[:size]).tolist()) if 2 * size <= len(rows) else ()
