"""What an answer must look like, whoever sent it: a worker that runs a stranger's model may say anything.

Each check is true for what `explainers` answers, and says nothing about whether an answer is right.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

import explainers as ex
from dashboard.checks import Check

#: What a worker says of a model; never what a page would run, such as its predictor.
_FIELDS = frozenset({"task", "classes", "labels", "space", "family", "features", "notes", "trust", "digest", "inputs", "abilities", "channels"})  # fmt: skip
_SPACES = ("probability", "raw", "target")
_ABILITIES = frozenset(
    {"predict", "gradients", "layers", "attention", "raw", "probability", "trees", "two scales"}
)

#: Characters of the name that pages keep results by.
MOST_DIGEST = 128


def described(found: Any) -> bool:
    """A model's description: every field of the form that pages rely on."""
    if not isinstance(found, Mapping) or not found.keys() <= _FIELDS:
        return False
    texts = [found.get(name) for name in ("task", "space", "family", "trust", "digest")]
    lists = [found.get(name) for name in ("classes", "labels", "notes")]
    if not all(isinstance(text, str) for text in texts) or not all(isinstance(part, tuple) for part in lists):
        return False
    return (
        found["task"] in ("classification", "regression")
        and found["space"] in _SPACES
        and 0 < len(found["digest"]) <= MOST_DIGEST
        and _texts(found["notes"])
        and _named(found)
        and isinstance(found.get("abilities"), frozenset)
        and found["abilities"] <= _ABILITIES
        and _columns(found.get("features"), found.get("inputs"))
        and _layers(found.get("channels"))
    )


def _named(found: Mapping[str, Any]) -> bool:
    """Classes that can be told apart, and as many labels, where there are any."""
    classes, labels = found["classes"], found["labels"]
    plain = all(isinstance(name, (str, int, float)) for name in (*classes, *labels))
    return (
        plain
        and len(labels) in (0, len(classes))
        and len(set(classes)) == len(classes)
        and not (found["task"] == "regression" and classes)
    )


def _columns(features: Any, inputs: Any) -> bool:
    sides = inputs if isinstance(inputs, tuple) else (inputs,)
    counted = all(side is None or (type(side) is int and side >= 0) for side in sides)
    return counted and (features is None or (isinstance(features, tuple) and _texts(features)))


def _layers(found: Any) -> bool:
    """Names and counts, each name once."""
    return (
        isinstance(found, tuple)
        and all(isinstance(layer, tuple) and len(layer) == 2 for layer in found)
        and all(isinstance(name, str) and type(count) is int and count > 0 for name, count in found)
        and len({name for name, _ in found}) == len(found)
    )


def _texts(found: tuple[Any, ...]) -> bool:
    return all(isinstance(text, str) for text in found)


def dataset(found: Any) -> bool:
    """A data set with a case in it that pages can show."""
    return (
        isinstance(found, ex.Dataset)
        and len(found) > 0
        and (found.modality != "table" or len(found.schema.features) > 0)
        and isinstance(found.notes, tuple)
        and _texts(found.notes)
    )


def reasons(found: Any) -> bool:
    """For each explainer ``None`` or a sentence."""
    forms = {kind.__name__ for kind in ex.EXPLAINERS}
    return (
        isinstance(found, dict)
        and found.keys() == forms
        and all(isinstance(text, str | None) for text in found.values())
    )


def predictions(found: Any, n: int, k: int) -> bool:
    """Finite numbers ``(n, k)``; any `k` where it is 0."""
    return (
        isinstance(found, np.ndarray)
        and found.dtype.kind == "f"
        and found.ndim == 2
        and len(found) == n
        and found.shape[1] > 0
        and (not k or found.shape[1] == k)
        and bool(np.isfinite(found).all())
    )


def explained(found: Any, returns: type[ex.Explanation]) -> bool:
    """An explanation of the kind asked for whose parts have the same lengths."""
    if not isinstance(found, returns) or not _texts(found.names):
        return False
    arrays = [
        array
        for field in dataclasses.fields(found)
        for array in _arrays(getattr(found, field.name))
        if field.name not in ("diagnostics", "provenance", "targets")
    ]
    fits = next((check for kind, check in _FITS if isinstance(found, kind)), lambda _: True)
    return all(array.dtype.kind in "biuf" for array in arrays) and bool(fits(found))


def checked(found: Any, check: Check) -> bool:
    """The report asked for, whose curves have the lengths and the numbers that figures need."""
    if check.what == "faithfulness":
        return (
            isinstance(found, ex.Faithfulness)
            and found.space in _SPACES
            and isinstance(found.filled_with, str)
            and isinstance(found.notes, tuple)
            and _texts(found.notes)
            and all(_curve(curve) for curve in (found.deletion, found.insertion))
        )
    return (
        isinstance(found, ex.Randomisation)
        and found.correlations.ndim == 3
        and found.correlations.size > 0
        and found.floor.ndim == 1
        and found.floor.size > 0
        and len(found.layers) == len(found.correlations)
        and all(isinstance(part, tuple) and _texts(part) for part in found.layers)
        and _finite(found.correlations, found.floor)
    )


def _curve(found: Any) -> bool:
    if not isinstance(found, ex.Curve) or found.shares.ndim != 1 or found.random.ndim != 2:
        return False
    s = len(found.shares)
    return (
        s > 1
        and len(found.random) > 0
        and found.scores.shape == (s,)
        and found.random.shape[1] == s
        and _finite(found.shares, found.scores, found.random)
    )


def _finite(*arrays: np.ndarray) -> bool:
    return all(array.dtype.kind == "f" and bool(np.isfinite(array).all()) for array in arrays)


def _arrays(value: Any) -> list[np.ndarray]:
    if isinstance(value, tuple):
        return [array for part in value for array in _arrays(part)]
    return [value] if isinstance(value, np.ndarray) else []


def _attribution(found: ex.Attribution) -> bool:
    if isinstance(found.values, tuple):
        return _of_words(found)
    m = found.base_value.shape[:1]
    errors = (found.standard_error, found.background_error)
    return (
        found.values.ndim >= 2
        and found.values.shape[:1] == found.output.shape[:1] == m
        and found.base_value.ndim in (1, 2)
        and all(
            error is None or (isinstance(error, np.ndarray) and error.shape == found.values.shape)
            for error in errors
        )
        and bool(np.isfinite(found.values).all())
    )


def _of_words(found: ex.Attribution) -> bool:
    """One array for each text, with a value (for each output) for each of its words."""
    k = found.base_value.shape[1:]
    tokens = found.diagnostics.get("tokens")
    if not isinstance(tokens, tuple) or not all(isinstance(text, tuple) and _texts(text) for text in tokens):
        return False
    shapes = [(len(text), *k) for text in tokens]
    parts = [
        part for part in (found.values, found.standard_error, found.background_error) if part is not None
    ]
    return (
        found.base_value.ndim in (1, 2)
        and found.base_value.shape == found.output.shape == (len(tokens), *k)
        and all(isinstance(part, tuple) and _shapes(part) == shapes for part in parts)
        and all(bool(np.isfinite(text).all()) for text in found.values)
    )


def _shapes(part: tuple[Any, ...]) -> list[tuple[int, ...] | None]:
    return [text.shape if isinstance(text, np.ndarray) else None for text in part]


def _pair_attribution(found: ex.PairAttribution) -> bool:
    m, d = len(found.base_value), len(found.names)
    return (
        found.base_value.ndim in (1, 2)
        and found.output.shape == found.base_value.shape
        and found.values.shape == (m, d, d, *found.base_value.shape[1:])
        and bool(np.isfinite(found.values).all())
    )


def _importance(found: ex.Importance) -> bool:
    errors = (found.standard_error, found.background_error)
    shapes = [found.values.shape, *(error.shape for error in errors if error is not None)]
    return all(shape == (len(found.names),) for shape in shapes)


def _interaction(found: ex.Interaction) -> bool:
    square = (len(found.names), len(found.names))
    return found.values.shape == found.strength.shape == square and bool(np.isfinite(found.values).all())


def _effect(found: ex.Effect) -> bool:
    parts = (found.grids, found.mean, found.curves, found.standard_error)
    if any(len(part) != len(found.names) or len(_arrays(part)) != len(part) for part in parts):
        return False
    sets = zip(*parts, strict=True)
    return all(
        grid.ndim == 1 and grid.shape == mean.shape == error.shape and curves.shape[1:] == grid.shape
        for grid, mean, curves, error in sets
    )


def _counterfactuals(found: ex.Counterfactuals) -> bool:
    if found.changed.ndim != 3 or found.found.dtype.kind not in "iu":
        return False
    m, q, d = found.changed.shape
    return (
        d == len(found.names)
        and found.original.shape == (m, d)
        and found.found.shape == found.before.shape == (m,)
        and found.output.shape == found.distance.shape == (m, q)
        and bool(((found.found >= 0) & (found.found <= q)).all())
    )


def _visualizations(found: ex.Visualizations) -> bool:
    pictures, examples = found.pictures, found.examples
    if pictures.ndim != 5 or examples.ndim != 2 or examples.dtype.kind not in "iu":
        return False
    k, s = pictures.shape[:2]
    return (
        k == len(found.names) == len(found.targets) == len(examples)
        and s > 0
        and found.activation.shape == found.start.shape == found.history.shape[:2] == (k, s)
        and found.history.ndim == 3
        and found.example_activation.shape == examples.shape
        and bool((examples >= 0).all())
        and all(
            bool(np.isfinite(part).all())
            for part in (pictures, found.activation, found.start, found.example_activation)
        )
    )


_FITS: tuple[tuple[type, Callable[[Any], bool]], ...] = (
    (ex.Attribution, _attribution),
    (ex.PairAttribution, _pair_attribution),
    (ex.Importance, _importance),
    (ex.Interaction, _interaction),
    (ex.Effect, _effect),
    (ex.Counterfactuals, _counterfactuals),
    (ex.Visualizations, _visualizations),
)
