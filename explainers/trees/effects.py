"""Effects and importance from one pass over the trees, instead of a prediction for each value and each feature.

The methods call these where the model is made of trees, and ask the model itself otherwise; both give the same numbers.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Int

from explainers.device import over_chunks, pick
from explainers.progress import Progress, silent
from explainers.trees.effects_view import TreeView

if TYPE_CHECKING:
    from explainers.trees.effects_curves import Runs

#: Trees by whose leaves cases are ordered before their features are moved.
SORTING_TREES = 2

#: Seconds that one portion should take: progress (and so cancelling) stays prompt.
PORTION_SECONDS = 0.25


@dataclasses.dataclass(frozen=True, eq=False)
class Curves:
    """Curves over the grids of some features.

    Attributes:
        kept: single curves of the rows `rows`, ``(r, g)`` for each feature.
        mean, standard_error: over all cases, ``(g,)`` for each feature.
        rows: which cases have a single curve.
        kernel: how it was computed.
    """

    kept: list[np.ndarray]
    mean: list[np.ndarray]
    standard_error: list[np.ndarray]
    rows: Int[np.ndarray, " r"]
    kernel: str


def tree_curves(
    view: TreeView,
    cases: Float[np.ndarray, "m d"],
    columns: Sequence[int],
    grids: Sequence[np.ndarray],
    targets: Int[np.ndarray, " m"],
    keep: int,
    progress: Progress = silent,
) -> Curves:
    """Mean and single curves of features ``columns`` over their grids.

    Where the output is a sum of leaves, one pass that counts rows gives the mean over all; else each row's curve is
    computed, linked and averaged.
    """
    from explainers.trees.effects_curves import Runs
    from explainers.trees.effects_paths import Paths

    m = len(cases)
    rows = kept_rows(m, keep)
    unit_of = view.units([[j] for j in columns])
    paths = Paths.of(view.trees, unit_of) if columns else None
    if paths is None:
        return Curves([], [], [], rows, "none")
    edited = np.repeat(cases[:1], sum(map(len, grids)), axis=0)
    edited[np.arange(len(edited)), np.repeat(columns, list(map(len, grids)))] = np.concatenate(grids)
    ends = np.cumsum(list(map(len, grids)))
    runs = Runs.of(view.trees, paths, np.split(view.codes(edited), ends[:-1], axis=1))
    counting = view.linear and len(rows) < m and bool((targets == targets[0]).all())
    tally = _RowCurves(view, unit_of, runs, targets, rows)
    chosen = rows if counting else np.arange(m)
    work = _Steps(progress, len(chosen) + (m if counting else 0))
    tally.run(cases, chosen, work)
    if not counting:
        return tally.result("tree profiles, every case")
    mean = _counted(view, unit_of, runs, cases, work, int(targets[0]))
    found = tally.result("tree pattern counts over all cases; tree profiles for single curves")
    return dataclasses.replace(
        found, mean=[mean[a : b - 1] for a, b in zip(runs.start[:-1], runs.start[1:], strict=True)]
    )


def kept_rows(m: int, keep: int) -> Int[np.ndarray, " r"]:
    """Evenly spaced positions of the cases whose single curves are kept."""
    return np.arange(m) if m <= keep else np.unique(np.linspace(0, m - 1, keep).round().astype(np.int64))


class _Steps:
    """Progress of several loops as one."""

    def __init__(self, progress: Progress, total: int) -> None:
        self.progress, self.total, self.done = progress, total, 0

    def over(self, compute: Callable[[slice], None], count: int, row_bytes: int) -> None:
        before = self.done

        def report(done: int, total: int, partial: object = None) -> None:  # noqa: ARG001  one of several loops
            self.done = before + done
            self.progress(self.done, self.total)

        over_chunks(compute, count, row_bytes, pick("cpu"), report, PORTION_SECONDS)


class _RowCurves:
    """Curves of single rows, portion by portion: their mean, their spread, and those that are kept."""

    def __init__(self, view: TreeView, unit_of: list[int], runs: Runs, targets: np.ndarray, rows: np.ndarray) -> None:  # fmt: skip
        self.view, self.unit_of, self.runs, self.targets, self.rows = view, unit_of, runs, targets, rows
        places = int(runs.start[-1])
        self.count, self.mean, self.squares = 0, np.zeros(places), np.zeros(places)
        self.kept = np.empty((len(rows), places))

    def run(self, cases: np.ndarray, chosen: np.ndarray, work: _Steps) -> None:
        from explainers.trees.effects_curves import curves
        from explainers.trees.effects_paths import Paths

        trees, filled = self.view.trees, 0
        paths = Paths.of(trees, self.unit_of)
        wanted = np.zeros(len(cases), dtype=bool)
        wanted[self.rows] = True

        def portion(part: slice) -> None:
            nonlocal filled
            rows = chosen[part]
            sums = curves(trees, paths, self.runs, self.view.codes(cases[rows]))
            found = self.view.wanted(sums, self.targets[rows])
            self._take(found)
            keep = found[:, wanted[rows]]
            self.kept[filled : filled + keep.shape[1]] = keep.T
            filled += keep.shape[1]

        work.over(portion, len(chosen), 8 * 3 * len(self.mean) * trees.outputs)

    def _take(self, found: np.ndarray) -> None:
        """Mean and squared deviations of two sets from those of each (Chan, Golub and LeVeque 1979)."""
        n, here = found.shape[1], found.mean(axis=1)
        moved, total = here - self.mean, self.count + found.shape[1]
        self.squares += ((found - here[:, None]) ** 2).sum(axis=1) + moved**2 * self.count * n / total
        self.mean = self.mean + moved * n / total
        self.count = total

    def result(self, kernel: str) -> Curves:
        m, total = self.count, len(self.targets)
        spread = np.sqrt(self.squares / (m - 1) / total) if m > 1 else np.full(len(self.mean), np.nan)
        spans = [slice(a, b - 1) for a, b in zip(self.runs.start[:-1], self.runs.start[1:], strict=True)]
        return Curves(
            [np.ascontiguousarray(self.kept[:, span]) for span in spans],
            [self.mean[span] for span in spans],
            [spread[span] for span in spans],
            self.rows,
            kernel,
        )


def _counted(
    view: TreeView, unit_of: list[int], runs: Runs, cases: np.ndarray, work: _Steps, target: int
) -> Float[np.ndarray, " g"]:  # fmt: skip
    from explainers.trees.effects_curves import mean_curves, reached
    from explainers.trees.effects_paths import Paths

    paths = Paths.of(view.trees, unit_of)
    by_part, by_leaf = np.zeros(len(paths.unit), np.int64), np.zeros(len(paths.leaf), np.int64)

    def portion(part: slice) -> None:
        parts, leaves = reached(view.trees, paths, view.codes(cases[part]))
        np.add(by_part, parts, out=by_part)
        np.add(by_leaf, leaves, out=by_leaf)

    work.over(portion, len(cases), 8 * 4 * (cases.shape[1] + view.trees.columns))
    sums = mean_curves(view.trees, paths, runs, (by_part, by_leaf), len(cases))
    return np.asarray(view.wanted(sums.T[None], np.full(len(sums), target))[0])


def tree_moves(
    view: TreeView, codes: Any, donors: Sequence[Any], units: Sequence[Sequence[int]]
) -> tuple[Float[np.ndarray, "k m"], Float[np.ndarray, "u r k m"]]:
    """The sums of each case, and what changes when one unit's features take the values that a donor has in that row.

    Cases and donors are given by their codes ``(p, m)`` in the trees, see `TreeView.codes`.
    """
    from explainers.trees.effects_moved import moved

    return moved(view.trees, view.units(units), len(units), codes, donors)


def alike_first(view: TreeView, codes: Any) -> Int[np.ndarray, " m"]:
    """An order of the cases with those next to each other that some trees send to one leaf: blocks of such cases are asked less."""
    trees, m = view.trees, codes.shape[1]
    key, rows = np.zeros(m, dtype=np.int64), np.arange(m)
    for root, end in list(zip(trees.roots[:-1], trees.roots[1:], strict=True))[:SORTING_TREES]:
        node = np.full(m, root)
        for _ in range(int(trees.depth[root:end].max())):
            left = codes[trees.questions.column[node], rows] <= trees.questions.rank[node]
            node = np.where(
                trees.feature[node] < 0, node, np.where(left, trees.left[node], trees.right[node])
            )
        key = np.unique(key * (end - root) + node - root, return_inverse=True)[1].reshape(-1)
    return np.argsort(key, kind="stable")


def tree_predictions(view: TreeView, codes: Any) -> Float[np.ndarray, "m o"]:
    """All outputs of the cases, from the same sums that moved cases have, so that equal cases are equal to the last bit."""
    return view.scored(tree_moves(view, codes, [], [])[0].T)


def tree_pairs(
    view: TreeView, cases: Float[np.ndarray, "m d"], columns: Sequence[int], target: int, progress: Progress = silent
) -> tuple[
    Float[np.ndarray, " m"], Float[np.ndarray, "f m"], Float[np.ndarray, "f m"], Float[np.ndarray, "f f m"]
]:  # fmt: skip
    """One output of the cases, and the partial dependences of features and pairs at them; up to constants.

    See `explainers.trees.effects_pairs.pair_dependence`; only for outputs that are sums of leaves.
    """
    from explainers.trees.effects_pairs import add_pairs

    trees, codes, m, d = view.trees, view.codes(cases), len(cases), len(columns)
    unit_of = view.units([[j] for j in columns])
    own, alone, without, joint = (np.zeros(shape) for shape in ((m,), (d, m), (d, m), (d, d, m)))
    column = 0 if trees.outputs == 1 else target
    adding = np.flatnonzero((trees.output == column) | (trees.output < 0))

    def portion(part: slice) -> None:
        add_pairs(trees, unit_of, codes, adding[part], column, (own, alone, without, joint))

    _Steps(progress, len(adding)).over(portion, len(adding), 1)
    sign = -1.0 if trees.outputs == 1 and view.outputs == 2 and target == 0 else 1.0
    return sign * own, sign * alone, sign * (without + own), sign * joint
