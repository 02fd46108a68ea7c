"""Exact Shapley values of trees by shap's C extension: against each reference case, or along the trees' own paths."""

from __future__ import annotations

import copy
import warnings
from typing import Any

import numpy as np
from jaxtyping import Float

from explainers.device import over_chunks, pick
from explainers.errors import UnsupportedModel
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

    Against a background the values are the mean of those against each of its cases. Exchanging a case and its
    reference case turns the signs of its values, so one walk of all reference cases against the case gives them all.
    """
    m, b = len(cases), len(background)
    cases, background = trees.ranks(cases), trees.ranks(background)
    values = np.empty((m, collect.shape[1], outputs))
    error = np.empty_like(values)

    def compute(part: slice) -> None:
        for i in range(part.start, part.stop):
            each = -_values(trees, background, cases[i : i + 1], collect, outputs)
            values[i] = each.mean(axis=0)
            error[i] = each.std(axis=0, ddof=min(1, b - 1)) / np.sqrt(b)

    # the extension needs no memory to speak of: a portion is measured by the tree nodes it may visit
    over_chunks(compute, m, trees.nodes * b, pick("cpu"), progress, seconds=0.3)
    return values, error


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
