"""Exact Shapley values of trees by shap's C extension: against each reference case, or along the trees' own paths."""

from __future__ import annotations

import copy
import warnings
from typing import Any

import numpy as np
from jaxtyping import Float

from explainers.device import chunk_rows, over_chunks, pick
from explainers.errors import UnsupportedModel
from explainers.explanation import Explanation
from explainers.progress import Progress
from explainers.trees.reading import TreeReading


def against_background(
    trees: TreeReading,
    cases: Float[np.ndarray, "m c"],
    background: Float[np.ndarray, "b c"],
    collect: Float[np.ndarray, "c d"],
    outputs: int,
    progress: Progress,
) -> tuple[Float[np.ndarray, "m d k"], Float[np.ndarray, "m d k"]]:
    """Values and their spread over reference cases / sqrt(b), for all outputs.

    The values against a background are the mean of those against each of its cases, so every reference case is
    asked by itself: the same work, and the spread comes with it.
    """
    m, b = len(cases), len(background)
    cases, background = trees.ranks(cases), trees.ranks(background)
    # the extension needs no memory to speak of: a portion is measured by the tree nodes it may visit
    at_once = chunk_rows(trees.nodes, pick("cpu"))
    values = np.empty((m, collect.shape[1], outputs))
    error = np.empty_like(values)
    for start in range(0, m, at_once):
        rows = slice(start, min(start + at_once, m))
        pivot = _values(trees, cases[rows], background[:1], collect, outputs)

        def compute(
            part: slice, rows: slice = rows, pivot: np.ndarray = pivot
        ) -> tuple[np.ndarray, np.ndarray]:
            total, squares = np.zeros_like(pivot), np.zeros_like(pivot)
            for i in range(part.start, part.stop):
                beyond = _values(trees, cases[rows], background[i : i + 1], collect, outputs) - pivot
                total += beyond
                squares += beyond**2
            return total, squares

        parts = over_chunks(
            compute, b, trees.nodes * (rows.stop - rows.start), pick("cpu"), _scaled(progress, rows, m, b)
        )
        mean = np.sum([total for total, _ in parts], axis=0) / b
        squares = np.sum([squares for _, squares in parts], axis=0)
        values[rows] = pivot + mean
        error[rows] = np.sqrt(np.maximum(squares / b - mean**2, 0) / max(b - 1, 1))
    return values, error


def _scaled(progress: Progress, rows: slice, m: int, b: int) -> Progress:
    """Progress over reference cases of some rows, in pairs of case and reference case."""

    def tell(done: int, total: int, partial: Explanation | None = None) -> None:
        del total  # of these rows alone
        progress(rows.start * b + done * (rows.stop - rows.start), m * b, partial)

    return tell


def path_dependent(
    trees: TreeReading,
    cases: Float[np.ndarray, "m c"],
    collect: Float[np.ndarray, "c d"],
    outputs: int,
    progress: Progress,
) -> tuple[Float[np.ndarray, "m d k"], Float[np.ndarray, " k"]]:
    """Values and expected score with the trees' own training counts as reference."""
    own = copy.copy(trees.explainer)

    def compute(part: slice) -> np.ndarray:
        return _aligned(_ask(own, cases[part]), outputs, trees)

    parts = over_chunks(compute, len(cases), trees.nodes, pick("cpu"), progress)
    expected = np.atleast_1d(np.asarray(own.expected_value, dtype=np.float64))
    if len(expected) == 1 and outputs == 2:
        expected = np.array([-expected[0], expected[0]])
    values = np.concatenate(parts) if parts else np.empty((0, collect.shape[0], outputs))
    return np.einsum("mck,cd->mdk", values, collect), expected


def _values(
    trees: TreeReading, cases: np.ndarray, reference: np.ndarray, collect: np.ndarray, outputs: int
) -> Float[np.ndarray, "m d k"]:
    own = copy.copy(trees.ranked[0])  # shallow: the reading is shared, the background is this call's own
    own.data, own.data_missing = reference, np.isnan(reference)
    return np.asarray(np.einsum("mck,cd->mdk", _aligned(_ask(own, cases), outputs, trees), collect))


def _ask(explainer: Any, cases: np.ndarray) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # shap tells LightGBM's users of a changed return type
        return np.asarray(explainer.shap_values(cases, check_additivity=False), dtype=np.float64)


def _aligned(values: np.ndarray, outputs: int, trees: TreeReading) -> Float[np.ndarray, "m c k"]:
    """One axis for outputs; a single margin is that of the second class, and its negative that of the first."""
    values = values[..., None] if values.ndim == 2 else values
    if values.shape[2] == 1 and outputs == 2:
        values = np.concatenate([-values, values], axis=2)
    if values.shape[2] != outputs:
        raise UnsupportedModel(
            f"shap reads {values.shape[2]} outputs in {trees.family}, which has {outputs}. Use KernelShap."
        )
    return values
