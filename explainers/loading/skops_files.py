"""skops: scikit-learn models as JSON and arrays. Types come from our own list; node tables are checked.

A decision tree's node table is checked twice: its stated size before anything is built (reading it back would
already run past the end), its children and features afterwards.
"""

from __future__ import annotations

import dataclasses
import io
import json
import warnings
import zipfile
from collections.abc import Iterator
from typing import Any

import numpy as np

from explainers.errors import UnreadableFile, UnsupportedModel
from explainers.loading.skops_types import TRUSTED
from explainers.loading.sources import File
from explainers.loading.structure import damaged, tree, within
from explainers.model import Model

FORM = "skops"
BOOSTERS = {
    "xgboost": "model.save_model('model.json')",
    "lightgbm": "model.booster_.save_model('model.txt')",
    "catboost": "model.save_model('model.cbm')",
}
MOST_STEPS = 2_000_000


def load(file: File, classes: tuple[Any, ...] | None) -> Model:
    """A scikit-learn model from a skops archive."""
    import skops.io
    from skops.io.exceptions import UntrustedTypesFoundException

    check_archive(file)
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            found = skops.io.get_untrusted_types(data=file.content)
            _require_trusted(found)
            estimator = skops.io.loads(file.content, trusted=sorted(TRUSTED.intersection(found)))
    except UnsupportedModel:
        raise
    except UntrustedTypesFoundException as error:
        raise UnsupportedModel(f"This skops file holds types that are not opened here: {error}") from error
    except ImportError as error:
        raise UnsupportedModel(
            f"This skops file needs a library or a version that is not here: {error}."
        ) from error
    except Exception as error:  # whatever damaged content provokes in skops, numpy or scikit-learn
        text = (str(error).splitlines() or [""])[0][:200]
        raise UnreadableFile(
            f"This {FORM} file is damaged: {type(error).__name__}: {text}. Save it again."
        ) from error
    check_parts(estimator)
    notes = tuple(
        dict.fromkeys(str(w.message).splitlines()[0] for w in caught if "version" in str(w.message))
    )
    return _wrapped(estimator, classes, notes)


def _wrapped(estimator: Any, classes: tuple[Any, ...] | None, notes: tuple[str, ...]) -> Model:
    if not (hasattr(estimator, "predict") and hasattr(estimator, "get_params")):
        raise UnsupportedModel(
            f"This skops file holds a {type(estimator).__name__}, not a model that predicts."
        )
    try:
        model = Model.wrap(estimator, classes)
    except (AttributeError, TypeError, ValueError) as error:
        raise UnreadableFile(
            f"This {FORM} file is damaged: the model is incomplete ({error}). Save it again."
        ) from error
    return dataclasses.replace(model, notes=(*model.notes, *notes))


def _require_trusted(found: list[str]) -> None:
    """Raise `UnsupportedModel` naming every type that is not on our list."""
    foreign = sorted(set(found) - TRUSTED)
    if not foreign:
        return
    shown = ", ".join(foreign[:8]) + (f" and {len(foreign) - 8} more" if len(foreign) > 8 else "")
    way = next(
        (how for package, how in BOOSTERS.items() if any(name.startswith(f"{package}.") for name in foreign)),
        None,
    )
    advice = (
        f"Save the booster itself: {way}."
        if way
        else "Leave those parts out, or export the model to ONNX (skl2onnx)."
    )
    raise UnsupportedModel(f"This skops file holds types that are not opened here: {shown}. {advice}")


def check_archive(file: File) -> None:
    """Sizes before anything is unpacked, and the node tables of decision trees."""
    try:
        with zipfile.ZipFile(io.BytesIO(file.content)) as archive:
            total = sum(part.file_size for part in archive.infolist())
            file.limits.hold(file.name, "unpacked_bytes", total)
            schema = json.loads(archive.read("schema.json"))
            for part in _states(schema):
                _check_tree_state(part, archive)
    except (
        zipfile.BadZipFile,
        KeyError,
        ValueError,
        RecursionError,
        EOFError,
        OSError,
        NotImplementedError,
    ) as error:
        raise UnreadableFile(f"{file.name!r} is a damaged skops file: {error}. Save it again.") from error


def _states(schema: Any) -> Iterator[dict[str, Any]]:
    """Every part of the schema that stands for a decision tree, at any depth."""
    waiting = [schema]
    for _ in range(MOST_STEPS):
        if not waiting:
            return
        part = waiting.pop()
        if isinstance(part, dict):
            if part.get("__class__") == "Tree" or part.get("__loader__") == "TreeNode":
                yield part
            waiting.extend(part.values())
        elif isinstance(part, list):
            waiting.extend(part)
    damaged(FORM, "its description is too large")


def _check_tree_state(part: dict[str, Any], archive: zipfile.ZipFile) -> None:
    if part.get("__loader__") == "TypeNode":
        return
    what = "a decision tree"
    try:
        content = part["content"]["content"]
        arguments = part["__reduce__"]["args"]["content"]
        count = int(content["node_count"]["content"])
        nodes = _array(content["nodes"], archive)
        values = _array(content["values"], archive)
        classes = _array(arguments[1], archive)
        features, outputs = int(arguments[0]["content"]), int(arguments[2]["content"])
    except (KeyError, TypeError, IndexError, ValueError) as error:
        raise UnreadableFile(
            f"This {FORM} file is damaged: {what} is incomplete ({error}). Save it again."
        ) from error
    if part.get("__loader__") != "TreeNode" or count != len(nodes) or count < 1 or features < 0:
        damaged(FORM, f"{what} states {count} nodes and has {len(nodes)}")
    if classes.shape != (outputs,) or outputs < 1 or classes.min(initial=1) < 1:
        damaged(FORM, f"{what} has no outputs")
    if values.shape != (count, outputs, classes.max()):
        damaged(FORM, f"{what} has values of shape {values.shape}")
    _check_nodes(nodes, features, what)


def _array(state: dict[str, Any], archive: zipfile.ZipFile) -> np.ndarray:
    """An array of the archive; only the plain form is read, so that a reference cannot stand for another."""
    if state["__loader__"] != "NdArrayNode" or state["type"] != "numpy":
        raise ValueError("an array is missing")
    return np.asarray(np.load(io.BytesIO(archive.read(state["file"])), allow_pickle=False))


def _check_nodes(nodes: np.ndarray, features: int, what: str) -> None:
    left, right = nodes["left_child"].astype(np.int64), nodes["right_child"].astype(np.int64)
    left, right = np.where(left < 0, -1, left), np.where(right < 0, -1, right)
    reached = tree(left, right, FORM, what)
    inner = reached[left[reached] >= 0]
    within(nodes["feature"][inner].astype(np.int64), 0, features, FORM, f"{what}, split feature")


def check_parts(estimator: Any) -> None:
    """What native code follows without looking, in the loaded object: histogram trees, neighbour trees, SVMs."""
    for part in _parts(estimator):
        try:
            _check_part(part)
        except (AttributeError, TypeError, ValueError, KeyError, IndexError) as error:
            kind = type(part).__name__
            raise UnreadableFile(
                f"This {FORM} file is damaged: {kind} is incomplete ({error}). Save it again."
            ) from error


def _parts(root: Any) -> Iterator[Any]:
    waiting, seen = [root], set[int]()
    while waiting and len(seen) < MOST_STEPS:
        part = waiting.pop()
        if id(part) in seen or isinstance(part, (str, bytes, int, float, type(None))):
            continue
        seen.add(id(part))
        yield part
        if isinstance(part, dict):
            waiting.extend(part.values())
        elif isinstance(part, (list, tuple, set)) or (isinstance(part, np.ndarray) and part.dtype == object):
            waiting.extend(list(part.flat) if isinstance(part, np.ndarray) else part)
        elif type(part).__module__.startswith("sklearn."):
            waiting.extend(getattr(part, "__dict__", {}).values())


def _check_part(part: Any) -> None:
    kind = type(part).__name__
    if kind == "TreePredictor":
        _check_histogram_tree(part)
    elif kind in ("HistGradientBoostingClassifier", "HistGradientBoostingRegressor"):
        _check_histogram_features(part)
    elif kind in ("KDTree", "BallTree"):
        data, index, nodes, _bounds = (np.asarray(array) for array in part.get_arrays())
        within(index, 0, len(data), FORM, f"{kind}, index")
        for name in ("idx_start", "idx_end"):
            within(nodes[name], 0, len(data) + 1, FORM, f"{kind}, {name}")
    elif kind in ("SVC", "NuSVC", "SVR", "NuSVR"):
        _check_support_vectors(part)
    elif kind.startswith(("DecisionTree", "ExtraTree")) and hasattr(part, "tree_"):
        _check_tree_width(part)


def _check_tree_width(part: Any) -> None:
    if part.tree_.n_features != part.n_features_in_:
        damaged(FORM, f"a tree works on {part.tree_.n_features} features, the model on {part.n_features_in_}")


def _check_histogram_tree(part: Any) -> None:
    nodes = part.nodes
    leaf = nodes["is_leaf"].astype(bool)
    left = np.where(leaf, -1, nodes["left"].astype(np.int64))
    right = np.where(leaf, -1, nodes["right"].astype(np.int64))
    reached = tree(left, right, FORM, "a histogram tree")
    inner = reached[~leaf[reached]]
    if (nodes["is_categorical"][inner].astype(bool)).any():
        chosen = inner[nodes["is_categorical"][inner].astype(bool)]
        lists = min(len(part.raw_left_cat_bitsets), len(part.binned_left_cat_bitsets))
        within(
            nodes["bitset_idx"][chosen].astype(np.int64), 0, lists, FORM, "a histogram tree, category list"
        )
        if part.raw_left_cat_bitsets.shape[1:] != (8,):
            damaged(FORM, "a histogram tree has category lists of another size")


def _check_histogram_features(part: Any) -> None:
    for stage in part._predictors:
        for predictor in stage:
            nodes = predictor.nodes
            inner = nodes["feature_idx"][~nodes["is_leaf"].astype(bool)].astype(np.int64)
            within(inner, 0, part._n_features, FORM, "a histogram tree, split feature")


def _check_support_vectors(part: Any) -> None:
    if not hasattr(part, "support_vectors_"):
        return
    count = len(part.support_)
    vectors, weights = part.support_vectors_, part._dual_coef_
    sizes = np.asarray(part._n_support)
    fits = vectors.shape[0] == count == weights.shape[1] and sizes.min() >= 0
    classifier = type(part).__name__.endswith("C")
    if not fits or (
        classifier
        and (
            sizes.sum() != count
            or weights.shape[0] != len(part.classes_) - 1
            or len(sizes) != len(part.classes_)
        )
    ):
        damaged(FORM, "a support vector machine has arrays of unequal lengths")
