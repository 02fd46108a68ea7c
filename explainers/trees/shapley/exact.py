"""Exact Shapley values of an ensemble's sum: which kernel fits the work, and the work in portions.

Three kernels give the same numbers. *Tables* (`bank`): what small groups of leaves add, for each pattern of bits; made
once, then looked up for each row: many rows. *Walk* (`walk`): every node for each row, path-dependent: few rows, deep
trees. *Pairs* (`pairs`): each row against each reference case: few pairs, deep trees; knows the spread over reference cases.
"""

from __future__ import annotations

import dataclasses
import hashlib
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from jaxtyping import Float, Int

from explainers.device import over_chunks, pick
from explainers.errors import UnsupportedModel
from explainers.progress import Progress, silent
from explainers.trees.ensemble import TreeEnsemble

if TYPE_CHECKING:
    import torch

Kernel = Literal["tables", "walk", "pairs"]

#: Bytes that tables may take; above it another kernel works.
TABLE_BYTES = 512 * 2**20

#: Rows that are looked up before progress is reported.
PORTION_BYTES = 64 * 2**20

#: Seconds, roughly, as measured on one core of 2.5 GHz: for a line of a table; to look a group up for a row; for a node
#: and quadrature node of the walk; for a tree of a pair. They only choose between kernels that give the same numbers.
LINE, LOOKUP, STEP, PAIR = 1.5e-7, 6e-9, 5e-9, 4e-7

#: Halves of the reference cases whose values are compared where pairs would take too long, and how long that is, in seconds.
HALVES, TOO_LONG = 8, 2.0


@dataclasses.dataclass(frozen=True, eq=False)
class Values:
    """Shapley values ``(m, d, k)``, the expected sum ``(k,)``, their spread over reference cases / √b, and the kernel."""

    values: Float[np.ndarray, "m d k"]
    expected: Float[np.ndarray, " k"]
    error: Float[np.ndarray, "m d k"] | None
    kernel: Kernel
    note: str = ""


def path_dependent(
    trees: TreeEnsemble,
    player: Int[np.ndarray, " c"],
    players: int,
    X: Float[np.ndarray, "m c"],
    *,
    kind: Any = np.float32,
    kernel: Kernel | None = None,
    device: torch.device | None = None,
    progress: Progress = silent,
) -> Values:
    """Values with the trees' own training weights as reference (Lundberg et al. 2018).

    `player[c]` is the feature that column `c` belongs to. Tables are kept with the ensemble for the next call.
    """
    if not trees.covered:
        raise UnsupportedModel(
            f"The file of this model ({trees.family}) does not say how much training data went each way, which path-dependent "
            "values need. Name reference cases: TreeShap(background=100)."
        )
    player = np.asarray(player, dtype=np.int64)
    banks = _banks(trees, player, players, kind)
    key = ("path-dependent", player.tobytes(), players, np.dtype(kind))
    if kernel is None:
        kernel = "walk" if banks is None or not _worth_tables(trees, key, banks, player, len(X)) else "tables"
    values = np.zeros((len(X), players, trees.outputs))
    if kernel == "walk":
        from explainers.trees.shapley.walk import walk

        _in_portions(lambda rows: walk(trees, player, trees.questions.codes(X[rows]), values[rows]), X, 0.3, progress)  # fmt: skip
    else:
        tables = _tables(trees, key, banks or [], lambda bank: bank.build(None))
        _look_up(trees, banks, tables, X, values, device, progress)
    return Values(values, trees.kept("expected", lambda: expected_value(trees)), None, kernel)


def _worth_tables(trees: TreeEnsemble, key: Any, banks: list[Any], player: np.ndarray, rows: int) -> bool:
    """Whether tables exist, or walking would by now have taken longer than making them: callers come back for one row more."""
    if key in trees._shelf:
        return True
    from explainers.trees.shapley.walk import most_players

    players = trees.kept(("most", player.tobytes()), lambda: most_players(trees, player))
    walked = trees.kept(("walked", key), lambda: [0.0])
    walked[0] += rows * len(trees.feature) * STEP * (8 + players)
    return bool(walked[0] > _table_seconds(banks, rows))


def against_background(
    trees: TreeEnsemble,
    player: Int[np.ndarray, " c"],
    players: int,
    X: Float[np.ndarray, "m c"],
    background: Float[np.ndarray, "b c"],
    *,
    kind: Any = np.float32,
    kernel: Kernel | None = None,
    errors: bool = True,
    device: torch.device | None = None,
    progress: Progress = silent,
) -> Values:
    """Values against the mean over reference cases, and with `errors` what another draw of these would change.

    From pairs the error is the spread over reference cases / √b; from tables it comes from the values against eight
    random halves of them, because only sums over reference cases are known there.
    """
    player = np.asarray(player, dtype=np.int64)
    banks = _banks(trees, player, players, kind)
    b = len(background)
    digest = hashlib.sha256(np.ascontiguousarray(background).data).digest()
    reference, expected = trees.kept(
        ("reference", digest), lambda: (trees.questions.codes(background), trees.raw(background).mean(axis=0))
    )
    values, error = np.zeros((len(X), players, trees.outputs)), None
    if kernel is None:
        paired = len(X) * b * trees.trees * PAIR
        times = 1 + HALVES * errors
        kernel = "pairs" if banks is None or paired < times * _table_seconds(banks, len(X)) else "tables"
    if kernel == "pairs":
        return _pairs(trees, player, X, reference, values, expected, errors, progress)
    assert banks is not None
    tables = _tables(
        trees, ("background", digest, player.tobytes(), players, np.dtype(kind)), banks,
        lambda bank: bank.build(bank.shares(reference, np.full(b, 1.0 / b))),
    )  # fmt: skip
    _look_up(trees, banks, tables, X, values, device, progress)
    if errors and b > 1:
        error = np.zeros_like(values)
        for weight in _halves(b):
            tables = [bank.build(bank.shares(reference, weight)) for bank in banks]
            half = np.zeros_like(values)
            _look_up(trees, banks, tables, X, half, device, progress)
            error += (half - values) ** 2 / HALVES
        np.sqrt(error, out=error)
    return Values(
        values, expected, error, "tables", f"error from {HALVES} halves" if error is not None else ""
    )


def expected_value(trees: TreeEnsemble) -> Float[np.ndarray, " k"]:
    """The mean of the sum over the training weight that reached each leaf."""
    found = trees.base.copy()
    share = np.ones(len(trees.feature))
    above = trees.cover[np.maximum(trees.parent, 0)]
    ratio = np.divide(trees.cover, above, out=np.zeros(len(share)), where=above > 0)
    for depth in range(1, int(trees.depth.max(initial=0)) + 1):
        here = trees.depth == depth
        share[here] = share[trees.parent[here]] * ratio[here]
    tree_of = np.repeat(np.arange(trees.trees), np.diff(trees.roots))
    leaf = trees.feature < 0
    added = trees.value[leaf] * share[leaf, None]
    output = trees.output[tree_of[leaf]]
    if added.shape[1] > 1 or trees.outputs == 1:
        return np.asarray(found + added.sum(axis=0))
    return np.asarray(found + np.bincount(output, added[:, 0], minlength=trees.outputs))


def _banks(trees: TreeEnsemble, player: np.ndarray, players: int, kind: Any) -> list[Any] | None:
    """Room for the tables of all outputs; ``None`` where they would be too large."""

    def made() -> Any:
        from explainers.trees.shapley.bank import Bank
        from explainers.trees.shapley.patterns import MOST_BITS, groups_of

        if trees.leaves > TABLE_BYTES // 64:
            return None
        groups = groups_of(trees, player)
        if groups.bits.max(initial=0) > MOST_BITS:
            return None
        banks = [Bank(trees, groups, output, players, kind) for output in range(trees.outputs)]
        return banks if sum(bank.bytes for bank in banks) <= TABLE_BYTES else None

    return trees.kept(("banks", player.tobytes(), players, np.dtype(kind)), made)  # type: ignore[no-any-return]


def _tables(trees: TreeEnsemble, key: Any, banks: list[Any], build: Any) -> list[Any]:
    """The tables of all outputs, kept for the next call; older ones go where all would take more than `TABLE_BYTES`."""
    shelf = trees._shelf
    if key not in shelf:
        older = [name for name in shelf if name[0] in ("path-dependent", "background")]
        room = TABLE_BYTES - sum(bank.bytes for bank in banks)
        while older and sum(table.nbytes for name in older for table in shelf[name]) > room:
            shelf.pop(older.pop(0))
    found: list[Any] = trees.kept(key, lambda: [build(bank) for bank in banks])
    return found


def _table_seconds(banks: list[Any], rows: int) -> float:
    return sum(float(bank.line[-1]) * LINE + rows * len(bank.chosen) * LOOKUP for bank in banks)


def _look_up(
    trees: TreeEnsemble, banks: Any, tables: Any, X: np.ndarray, values: np.ndarray, device: torch.device | None,
    progress: Progress,
) -> None:  # fmt: skip
    """On another device than the processor the lines are summed by torch."""
    away: list[Any] = []
    if device is not None and device.type != "cpu":
        from explainers.trees.shapley.on_device import DeviceBank

        away = [DeviceBank(bank, table, device) for bank, table in zip(banks, tables, strict=True)]

    def part(rows: slice) -> None:
        codes = trees.questions.codes(X[rows])
        for output, (bank, table) in enumerate(zip(banks, tables, strict=True)):
            sums = np.zeros(values[rows].shape[:2])
            if away:
                away[output].look_up(codes, sums)
            else:
                bank.look_up(table, codes, sums)
            values[rows, :, output] += sums

    _in_portions(part, X, None, progress)


def _pairs(
    trees: TreeEnsemble, player: np.ndarray, X: np.ndarray, reference: Any, values: np.ndarray,
    expected: np.ndarray, errors: bool, progress: Progress,
) -> Values:  # fmt: skip
    from explainers.trees.shapley.pairs import against_each

    b = reference.shape[1]
    spread = np.zeros_like(values)

    def part(rows: slice) -> None:
        against_each(trees, player, trees.questions.codes(X[rows]), reference, values[rows], spread[rows])

    _in_portions(part, X, 0.3, progress)
    error = np.sqrt(spread / max(1, b - 1) / b) if errors and b > 1 else None
    return Values(values, expected, error, "pairs")


def _halves(b: int) -> Any:
    """Weights of random halves of the reference cases; scaled so that their spread is that of the mean."""
    rng = np.random.default_rng(b)
    for _ in range(HALVES):
        order = rng.permutation(b)
        weight = np.zeros(b)
        weight[order[: b // 2]] = 1.0 / max(1, b // 2)
        yield weight


def _in_portions(part: Any, X: np.ndarray, seconds: float | None, progress: Progress) -> None:
    over_chunks(part, len(X), 16 * X.shape[1] + 64, pick("cpu"), progress, seconds)
