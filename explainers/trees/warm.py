"""Every compiled loop run once on small trees, for each type of codes: afterwards nothing is compiled or read from disk.

For processes that cannot do it themselves: one that may not write files would compile a loop anew, which takes seconds.
The first time ever all this takes minutes; `fill` does it beside other work, in a process of its own, and leaves a note.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import platform
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from explainers.trees.ensemble import Tree, TreeEnsemble

#: The types of codes (see `questions`): few thresholds for each column, more than 254, more than 65,534.
CODES: tuple[Any, ...] = (np.uint8, np.uint16, np.uint32)

#: Columns of the trees; players from which lines are packed; rows that are looked up together, and one by one.
COLUMNS, MANY_PLAYERS, ROWS, FEW_ROWS = 3, 65, 40, 4


def first_steps(codes: Any = np.uint8) -> Iterator[Callable[[], None]]:
    """Predicting, one case against reference cases, its probability, and its curves; short steps."""
    yield partial(_predict, codes)
    yield partial(_one_case, codes)
    yield partial(_curves, codes)


def further_steps() -> Iterator[Callable[[], None]]:
    """The same for more thresholds; many cases, interactions, and what is moved; short steps."""
    for codes in CODES[1:]:
        yield from first_steps(codes)
    for precision in (np.float32, np.float64):
        for codes in CODES:
            yield partial(_tables, codes, precision)
            yield partial(_pair_tables, codes, precision)
    for codes in CODES:
        yield partial(_walks, codes)
        yield partial(_moves, codes)
    yield _ranks


def note() -> Path:
    """The file that says that the machine code of these sources, for this processor and numba, is on disk."""
    folder = Path(os.environ.get("NUMBA_CACHE_DIR") or Path(__file__).with_name("__pycache__"))
    here = Path(__file__).parent
    known = [(str(path.relative_to(here)), path.stat().st_mtime_ns) for path in sorted(here.rglob("*.py"))]
    facts = (importlib.metadata.version("numba"), platform.python_version(), platform.processor(), known)
    return folder / f"filled-{hashlib.sha256(repr(facts).encode()).hexdigest()[:16]}"


def filled() -> bool:
    """Whether each step takes milliseconds; asks neither numba nor the loops."""
    return note().is_file()


def machine_code() -> tuple[Path, ...]:
    """The folders in which the compiled loops of all modules imported so far are kept; none where nothing can be kept."""
    from explainers.trees.codes import fill_codes  # noqa: F401  one that always is
    from explainers.trees.compiling import KEPT

    return tuple(map(Path, sorted(KEPT)))


def fill() -> None:
    """Compile what is not on disk yet, behind all other work; where nothing can be kept, nothing is compiled."""
    kept = machine_code()
    if filled() or not kept or not os.access(kept[0], os.W_OK):
        return
    if hasattr(os, "nice"):
        os.nice(19)
    for step in (*first_steps(), *further_steps()):
        step()
    for older in note().parent.glob("filled-*"):
        older.unlink(missing_ok=True)
    note().touch()


def _trees(codes: Any, depth: int = 3, single: bool = False) -> TreeEnsemble:
    """Two full trees, as if they asked so many thresholds that their codes are of this type."""
    inner = 2**depth - 1
    node = np.arange(2 * inner + 1)
    leaf = node >= inner
    tree = Tree(
        feature=np.where(leaf, 0, node % COLUMNS), threshold=(node % 5).astype(np.float64),
        left=np.where(leaf, -1, 2 * node + 1), right=np.where(leaf, -1, 2 * node + 2), missing_left=node % 2 == 0,
        value=node / 10.0, cover=2.0 ** (depth - np.floor(np.log2(node + 1))),
    )  # fmt: skip
    made = TreeEnsemble.of([tree, tree], 0.0, COLUMNS, single=single, link="logistic")
    questions = made.questions
    questions.dtype, questions.rank = np.dtype(codes), questions.rank.astype(codes)
    return made


def _rows(count: int = ROWS) -> Any:
    return np.random.default_rng(0).integers(0, 6, (count, COLUMNS)) - 0.5


def _players() -> Any:
    return np.arange(COLUMNS, dtype=np.int64)


def _predict(codes: Any) -> None:
    """From values and from codes. Rows may belong to a frame, which does not let them be written.

    Rows of one thread follow each other in memory, those of several do not.
    """
    from explainers.trees.forward import add_trees

    for single in (False, True):
        trees = _trees(codes, single=single)
        for kind in (np.float32, np.float64):
            for writeable in (True, False):
                X = _rows().astype(kind)
                X.setflags(write=writeable)
                trees.raw(X)
                found = trees.questions.codes(X)
        for part in (found, np.ascontiguousarray(np.hstack([found, found]))[:, :ROWS]):
            add_trees(trees, part, np.zeros((ROWS, 1)))


def _one_case(codes: Any) -> None:
    from explainers.trees.shapley.exact import against_background
    from explainers.trees.shapley.probability import probability_values

    trees = _trees(codes)
    against_background(trees, _players(), COLUMNS, _rows(1), _rows(FEW_ROWS), kernel="pairs")
    probability_values(trees, _players(), COLUMNS, _rows(1), _rows(FEW_ROWS), tolerance=0.1, seed=0)


def _curves(codes: Any) -> None:
    from explainers.trees.effects.curves import Runs, curves, reached
    from explainers.trees.effects.linked import Events, linked_moments
    from explainers.trees.effects.paths import Paths

    trees = _trees(codes)
    found = trees.questions.codes(_rows())
    paths = Paths.of(trees, range(COLUMNS))
    runs = Runs.of(trees, paths, [found] * COLUMNS)
    curves(trees, paths, runs, found)
    reached(trees, paths, found)
    linked_moments(trees, paths, runs, Events.of(trees, paths, runs), found, 1)


def _tables(codes: Any, precision: Any) -> None:
    from explainers.trees.shapley.exact import against_background, path_dependent

    trees = _trees(codes)
    for rows, players in ((ROWS, COLUMNS), (FEW_ROWS, COLUMNS), (ROWS, MANY_PLAYERS)):
        against_background(
            trees, _players(), players, _rows(rows), _rows(FEW_ROWS), kind=precision, kernel="tables", errors=False
        )  # fmt: skip
        path_dependent(trees, _players(), players, _rows(rows), kind=precision, kernel="tables")


def _pair_tables(codes: Any, precision: Any) -> None:
    from explainers.trees.interactions.exact import pairs_against_background, path_dependent_pairs

    trees = _trees(codes)
    pairs_against_background(
        trees, _players(), COLUMNS, _rows(), _rows(FEW_ROWS), kind=precision, kernel="tables"
    )
    path_dependent_pairs(trees, _players(), COLUMNS, _rows(), kind=precision, kernel="tables")


def _walks(codes: Any) -> None:
    from explainers.trees.interactions.exact import pairs_against_background, path_dependent_pairs
    from explainers.trees.shapley.exact import path_dependent

    trees = _trees(codes)
    path_dependent(trees, _players(), COLUMNS, _rows(1), kernel="walk")
    path_dependent_pairs(trees, _players(), COLUMNS, _rows(1), kernel="walk")
    pairs_against_background(trees, _players(), COLUMNS, _rows(1), _rows(FEW_ROWS), kernel="pairs")


def _moves(codes: Any) -> None:
    """Small trees have a loop of their own. Rows put in another order do not follow each other in memory any more."""
    from explainers.trees.effects.moved import moved
    from explainers.trees.effects.pairs import add_pairs

    for depth in (3, 9):
        trees = _trees(codes, depth)
        found = trees.questions.codes(_rows())
        for own in (found, np.asfortranarray(found)):
            moved(trees, range(COLUMNS), COLUMNS, own, [found[:, ::-1].copy()])
    sums = [np.zeros(shape) for shape in ((ROWS,), (3, ROWS), (3, ROWS), (3, 3, ROWS))]
    add_pairs(trees, range(COLUMNS), found, np.arange(2), 0, (sums[0], sums[1], sums[2], sums[3]))


def _ranks() -> None:
    from explainers.trees.effects.ranks import RankTally

    rows = np.arange(ROWS)
    tally = RankTally(rows % 2 == 0, np.zeros((1, ROWS)), np.zeros(1), rows / 2.0)
    tally.add(0, None, rows)
