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
from explainers.trees.effects.moments import Moments
from explainers.trees.effects.view import TreeView

if TYPE_CHECKING:
    from explainers.trees.effects.curves import Runs

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
    computed, linked and averaged. Probabilities of a boosted classifier are averaged without writing the curves down,
    their last step in single precision, within 2e-7 of the mean; the single curves are those of double precision.
    """
    from explainers.trees.effects.curves import Runs
    from explainers.trees.effects.paths import Paths

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
    few = len(rows) < m
    counting = view.linear and few and bool((targets == targets[0]).all())
    linking = view.boosted and few
    tally = _RowCurves(view, unit_of, runs, targets, rows)
    chosen = rows if counting or linking else np.arange(m)
    work = _Steps(progress, len(chosen) + (m if counting or linking else 0))
    tally.run(cases, chosen, work)
    found = tally.result("tree profiles, every case")
    if counting:
        mean = _counted(view, unit_of, runs, cases, work, int(targets[0]))
        kernel = "tree pattern counts over all cases; tree profiles for single curves"
        return dataclasses.replace(found, mean=_by_grid(runs, mean), kernel=kernel)
    if linking:
        moments = _linked(view, unit_of, runs, cases, targets, work)
        return dataclasses.replace(
            found,
            mean=_by_grid(runs, moments.mean),
            standard_error=_by_grid(runs, moments.standard_error(m)),
            kernel="tree profiles, every case; for the mean linked in single precision",
        )
    return found


def _by_grid(runs: Runs, found: np.ndarray) -> list[np.ndarray]:
    """What was found at all places, grid by grid."""
    return [found[a : b - 1] for a, b in zip(runs.start[:-1], runs.start[1:], strict=True)]


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
        self.moments = Moments.none(int(runs.start[-1]))
        self.kept = np.empty((len(rows), len(self.moments.mean)))

    def run(self, cases: np.ndarray, chosen: np.ndarray, work: _Steps) -> None:
        from explainers.trees.effects.curves import curves
        from explainers.trees.effects.paths import Paths

        trees, filled = self.view.trees, 0
        paths = Paths.of(trees, self.unit_of)
        wanted = np.zeros(len(cases), dtype=bool)
        wanted[self.rows] = True

        def portion(part: slice) -> None:
            nonlocal filled
            rows = chosen[part]
            sums = curves(trees, paths, self.runs, self.view.codes(cases[rows]))
            found = self.view.wanted(sums, self.targets[rows])
            self.moments = self.moments + Moments.of(found)
            keep = found[:, wanted[rows]]
            self.kept[filled : filled + keep.shape[1]] = keep.T
            filled += keep.shape[1]

        work.over(portion, len(chosen), 8 * 3 * self.kept.shape[1] * trees.outputs)

    def result(self, kernel: str) -> Curves:
        spans = [slice(a, b - 1) for a, b in zip(self.runs.start[:-1], self.runs.start[1:], strict=True)]
        return Curves(
            [np.ascontiguousarray(self.kept[:, span]) for span in spans],
            _by_grid(self.runs, self.moments.mean),
            _by_grid(self.runs, self.moments.standard_error(len(self.targets))),
            self.rows,
            kernel,
        )


def _counted(
    view: TreeView, unit_of: list[int], runs: Runs, cases: np.ndarray, work: _Steps, target: int
) -> Float[np.ndarray, " g"]:  # fmt: skip
    from explainers.trees.effects.curves import mean_curves, reached
    from explainers.trees.effects.paths import Paths

    paths = Paths.of(view.trees, unit_of)
    by_part, by_leaf = np.zeros(len(paths.unit), np.int64), np.zeros(len(paths.leaf), np.int64)

    def portion(part: slice) -> None:
        parts, leaves = reached(view.trees, paths, view.codes(cases[part]))
        np.add(by_part, parts, out=by_part)
        np.add(by_leaf, leaves, out=by_leaf)

    work.over(portion, len(cases), 8 * 4 * (cases.shape[1] + view.trees.columns))
    sums = mean_curves(view.trees, paths, runs, (by_part, by_leaf), len(cases))
    return np.asarray(view.wanted(sums.T[None], np.full(len(sums), target))[0])


def _linked(
    view: TreeView, unit_of: list[int], runs: Runs, cases: np.ndarray, targets: np.ndarray, work: _Steps
) -> Moments:  # fmt: skip
    from explainers.trees.effects.linked import Events, linked_moments
    from explainers.trees.effects.paths import Paths

    paths = Paths.of(view.trees, unit_of)
    events = Events.of(view.trees, paths, runs)
    found = Moments.none(int(runs.start[-1]))

    def portion(part: slice) -> None:
        nonlocal found
        codes, wanted = view.codes(cases[part]), targets[part]
        for target in np.unique(wanted):
            some = codes[:, wanted == target]
            found = found + linked_moments(view.trees, paths, runs, events, some, int(target))

    work.over(portion, len(cases), 8 * 4 * (cases.shape[1] + view.trees.columns))
    return found


def tree_moves(
    view: TreeView,
    codes: Any,
    donors: Sequence[Any] | np.ndarray,
    units: Sequence[Sequence[int]],
    into: tuple[Float[np.ndarray, "k n"], Float[np.ndarray, "u r k n"]] | None = None,
    at: int = 0,
) -> tuple[Float[np.ndarray, "k n"], Float[np.ndarray, "u r k n"]]:
    """The sums of each case, and what changes when one unit's features take the values that a donor has in that row.

    Cases and donors are given by their codes ``(p, m)`` in the trees, see `TreeView.codes`. The answers are put into `into`
    from the case `at` on, where it is given.
    """
    from explainers.trees.effects.moved import moved

    return moved(view.trees, view.units(units), len(units), codes, donors, into, at)


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
        key = key * (end - root) + node - root  # two trees of 2³¹ nodes would fit
    return np.argsort(key, kind="stable")


def tree_pairs(
    view: TreeView, cases: Float[np.ndarray, "m d"], columns: Sequence[int], target: int, progress: Progress = silent
) -> tuple[
    Float[np.ndarray, " m"], Float[np.ndarray, "f m"], Float[np.ndarray, "f m"], Float[np.ndarray, "f f m"]
]:  # fmt: skip
    """One output of the cases, and the partial dependences of features and pairs at them; up to constants.

    See `explainers.trees.effects.pairs.pair_dependence`; only for outputs that are sums of leaves.
    """
    from explainers.trees.effects.pairs import add_pairs

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
