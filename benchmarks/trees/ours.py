"""Our sides: the whole of `explain`, and the kernel below it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import explainers as ex
from benchmarks.trees.cases import Case
from benchmarks.trees.measuring import Run, Side
from explainers.trees.reading import read
from explainers.trees.shapley.exact import Values, against_background, path_dependent


def explained(
    case: Case,
    method: ex.Explainer,
    X: np.ndarray,
    *,
    name: str = "",
    take: Callable[[Any], np.ndarray] = lambda result: np.asarray(result.values),
    first: int | None = None,
    **more: Any,
) -> Side:
    """The whole of ``explain(model, data, method, rows)``; the rows are a `Dataset` beforehand.

    Prepared are the conversion, and for path-dependent values the tables, since both are kept with the model.
    """
    kernel: list[str] = []

    def prepare() -> Run:
        data, sets = case.table.data, {len(X): case.table.cases(X)}
        model = ready(case, tables=isinstance(method, ex.TreeShap) and method.background == 0)

        def run(n: int) -> np.ndarray:
            if n not in sets:
                sets[n] = case.table.cases(X[:n])
            result = ex.explain(model, data, method, rows=sets[n], **more)
            kernel[:] = [str(result.diagnostics.get("kernel", ""))]
            return take(result)

        return run

    return Side(
        name or f"whyboard, {type(method).__name__}",
        prepare,
        len(X),
        first or len(X),
        lambda: _kernel(*kernel),
    )


def tree_kernel(
    case: Case, X: np.ndarray, *, name: str = "the kernel alone", first: int | None = None
) -> Side:
    """Path-dependent values without the layer above: no data set, no checks, no result."""
    kernel: list[str] = []

    def prepare() -> Run:
        def run(n: int) -> np.ndarray:
            found = path_dependent(case.trees, case.players, X.shape[1], X[:n])
            kernel[:] = [found.kernel]
            return last(found)

        run(1)
        return run

    return Side(f"whyboard, {name}", prepare, len(X), first or len(X), lambda: _kernel(*kernel))


def background_kernel(case: Case, X: np.ndarray, background: np.ndarray, errors: bool) -> Side:
    """Values against reference cases without the layer above, with or without the errors."""
    kernel: list[str] = []

    def prepare() -> Run:
        def run(n: int) -> np.ndarray:
            found = against_background(case.trees, case.players, X.shape[1], X[:n], background, errors=errors)
            kernel[:] = [found.kernel + (f", {found.note}" if found.note else "")]
            return last(found)

        return run

    words = "the kernel alone" if errors else "the kernel alone, values without errors"
    return Side(f"whyboard, {words}", prepare, len(X), len(X), lambda: _kernel(*kernel))


def exact(
    case: Case, X: np.ndarray, background: np.ndarray | None = None, kernel: Any = None
) -> Callable[[], np.ndarray]:
    """The float64 reference: our kernel in double precision, all rows."""
    more: dict[str, Any] = {"kind": np.float64, "kernel": kernel}

    def compute() -> np.ndarray:
        if background is None:
            found = path_dependent(case.trees, case.players, X.shape[1], X, **more)
        else:
            found = against_background(
                case.trees, case.players, X.shape[1], X, background, errors=False, **more
            )
        return last(found)

    return compute


def last(found: Values) -> np.ndarray:
    """Values of the only output, or of the second class; all of them where there are several."""
    return found.values[:, :, 0] if found.values.shape[2] == 1 else found.values


def ready(case: Case, tables: bool) -> ex.Model:
    """The model wrapped afresh and converted, with the path-dependent tables where its trees are shallow enough for them."""
    model = case.wrapped()
    trees = read(model).trees
    if tables and trees.depth.max() <= 8:
        path_dependent(trees, case.players, trees.columns, np.zeros((1, trees.columns)), kernel="tables")
    return model


def _kernel(found: str = "") -> str:
    return f"kernel: {found}" if found else ""
