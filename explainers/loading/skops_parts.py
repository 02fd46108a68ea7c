"""The objects of a skops file after they are built: what scikit-learn's compiled code follows without looking."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from scipy import sparse

from explainers.errors import UnreadableFile
from explainers.loading.skops_archive import FORM, check_nodes
from explainers.loading.sources import File
from explainers.loading.structure import damaged, finite, tree, within

PLAIN = (str, bytes, int, float, type(None))


def check_parts(estimator: Any, file: File) -> None:
    """Raise `UnreadableFile` unless every part of a loaded object that native code reads is sound."""
    for part in _parts(estimator, file):
        try:
            _check_part(part, file)
        except (AttributeError, TypeError, ValueError, KeyError, IndexError) as error:
            kind = type(part).__name__
            raise UnreadableFile(
                f"This {FORM} file is damaged: {kind} is incomplete ({error}). Save it again."
            ) from error


def _parts(root: Any, file: File) -> Iterator[Any]:
    waiting, seen = [root], set[int]()
    while waiting:
        part = waiting.pop()
        if id(part) in seen or isinstance(part, PLAIN):
            continue
        seen.add(id(part))
        file.limits.hold(file.name, "nodes", len(seen))
        yield part
        if isinstance(part, dict):
            waiting.extend(part.values())
        elif isinstance(part, (list, tuple, set)) or (isinstance(part, np.ndarray) and part.dtype == object):
            waiting.extend(list(part.flat) if isinstance(part, np.ndarray) else part)
        elif type(part).__module__.startswith("sklearn."):
            waiting.extend(getattr(part, "__dict__", {}).values())


def _check_part(part: Any, file: File) -> None:
    kind = type(part).__name__
    if sparse.issparse(part):
        if part.format in ("csr", "csc", "bsr"):
            part.check_format(full_check=True)
        return
    for names, check in CHECKS:
        if kind in names:
            check(part, file)


def _decision_tree(part: Any, file: File) -> None:
    if part.max_depth < check_nodes(part.__getstate__()["nodes"], part.n_features, "a decision tree", file):
        damaged(FORM, "a decision tree is deeper than it states")


def _single_tree(part: Any, _: File) -> None:
    if hasattr(part, "tree_") and part.tree_.n_features != part.n_features_in_:
        damaged(FORM, f"a tree works on {part.tree_.n_features} features, the model on {part.n_features_in_}")


def _forest(part: Any, _: File) -> None:
    """Trees in an ensemble are asked without a further look at the columns."""
    if not hasattr(part, "estimators_"):
        return
    members = np.asarray(part.estimators_, dtype=object)
    for member in members.flat:
        if member.n_features_in_ != part.n_features_in_:
            damaged(
                FORM, f"a tree works on {member.n_features_in_} features, its forest on {part.n_features_in_}"
            )
    if type(part).__name__.startswith("GradientBoosting"):
        if members.ndim != 2 or members.shape[1] != part.n_trees_per_iteration_:
            damaged(FORM, f"its trees of shape {members.shape} do not fit its outputs")
        if any(member.tree_.value.shape[1:] != (1, 1) for member in members.flat):
            damaged(FORM, "a tree has several values in a leaf")


def _histogram_tree(part: Any, file: File) -> None:
    nodes, what = part.nodes, "a histogram tree"
    leaf = nodes["is_leaf"].astype(bool)
    left = np.where(leaf, -1, nodes["left"].astype(np.int64))
    right = np.where(leaf, -1, nodes["right"].astype(np.int64))
    reached, _ = tree(left, right, FORM, what, file)
    inner = np.flatnonzero(~leaf)
    depth = nodes["depth"].astype(np.int64)
    if len(reached) < len(nodes) or depth[0] != 0:
        damaged(FORM, f"{what} has nodes that nothing leads to")
    for children in (left, right):
        if (depth[children[inner]] != depth[inner] + 1).any():
            damaged(FORM, f"{what} states other depths than it has")
    finite(nodes["value"], FORM, f"{what}, values")
    chosen = inner[nodes["is_categorical"][inner].astype(bool)]
    lists = min(len(part.raw_left_cat_bitsets), len(part.binned_left_cat_bitsets))
    within(nodes["bitset_idx"][chosen].astype(np.int64), 0, lists, FORM, f"{what}, category list")
    if chosen.size and part.raw_left_cat_bitsets.shape[1:] != (8,):
        damaged(FORM, f"{what} has category lists of another size")


def _histogram_boosting(part: Any, _: File) -> None:
    if not hasattr(part, "_predictors"):
        return
    features, outputs = min(part._n_features, part.n_features_in_), np.asarray(part._baseline_prediction).size
    categorical = np.asarray(part._bin_mapper.is_categorical_).astype(bool)
    for stage in part._predictors:
        if len(stage) != outputs:
            damaged(FORM, f"a stage has {len(stage)} histogram trees for {outputs} outputs")
        for predictor in stage:
            nodes = predictor.nodes[~predictor.nodes["is_leaf"].astype(bool)]
            split = nodes["feature_idx"].astype(np.int64)
            within(split, 0, features, FORM, "a histogram tree, split feature")
            if (nodes["is_categorical"].astype(bool) & ~categorical[split]).any():
                damaged(FORM, "a histogram tree takes a number for a category")


def _neighbours(part: Any, _: File) -> None:
    kind = type(part).__name__
    data, index, nodes, bounds = (np.asarray(array) for array in part.get_arrays())
    n, d, count = len(data), data.shape[1], len(nodes)
    within(index, 0, n, FORM, f"{kind}, index")
    start, end = nodes["idx_start"], nodes["idx_end"]
    within(start, 0, n + 1, FORM, f"{kind}, idx_start")
    within(end, 0, n + 1, FORM, f"{kind}, idx_end")
    inner = np.flatnonzero(nodes["is_leaf"] == 0)
    stated = part.__getstate__()
    if (
        len(index) != n
        or (start > end).any()
        or (2 * inner + 2 >= count).any()
        or bounds.shape[1:] != (count, d)
        or len(bounds) != (2 if kind == "KDTree" else 1)
        or stated[6] != count
    ):
        damaged(FORM, f"{kind} has arrays that do not fit together")
    _distance(stated[11], d)


def _distance(metric: Any, features: int) -> None:
    weights = np.asarray(metric.__getstate__()[1])
    name = type(metric).__name__
    allowed = {"SEuclidean": (features,), "Minkowski": (0, features)}
    sizes = next((sizes for start, sizes in allowed.items() if name.startswith(start)), None)
    if sizes is not None and weights.size not in sizes:
        damaged(FORM, f"a distance has {weights.size} weights for {features} features")


def _support_vectors(part: Any, _: File) -> None:
    if not hasattr(part, "support_vectors_"):
        return
    count, precomputed = len(part.support_), part.kernel == "precomputed"
    classifier = type(part).__name__.endswith("SVC")
    classes = len(part.classes_) if classifier else 2
    pairs = classes * (classes - 1) // 2
    sizes = np.asarray(part._n_support)
    fits = (
        (precomputed or part.support_vectors_.shape == (count, part.n_features_in_))
        and part._dual_coef_.shape == (classes - 1, count)
        and len(sizes) == classes
        and sizes.min() >= 0
        and (not classifier or sizes.sum() == count)
        and len(part._intercept_) == pairs
        and all(len(found) in (0, pairs) for found in (part._probA, part._probB) if classifier)
    )
    if not fits:
        damaged(FORM, "a support vector machine has arrays of unequal lengths")
    within(np.asarray(part.support_), 0, part.shape_fit_[0], FORM, "a support vector machine, support")


def _spline(part: Any, _: File) -> None:
    knots, coefficients, degree = np.asarray(part.t), np.asarray(part.c), int(part.k)
    pieces = len(knots) - degree - 1
    if (
        degree < 0
        or knots.ndim != 1
        or pieces < degree + 1
        or len(coefficients) < pieces
        or (np.diff(knots) < 0).any()
    ):
        damaged(FORM, "a spline has knots that do not fit its degree")
    finite(knots, FORM, "a spline, knots")


TREES = ("DecisionTree", "ExtraTree")
FORESTS = ("RandomForest", "ExtraTrees", "GradientBoosting")
ENDS = ("Classifier", "Regressor")
#: Names of classes -> what is checked of their objects.
CHECKS: tuple[tuple[tuple[str, ...], Callable[[Any, File], None]], ...] = (
    (("Tree",), _decision_tree),
    (tuple(f"{name}{end}" for name in TREES for end in ENDS), _single_tree),
    ((*(f"{name}{end}" for name in FORESTS for end in ENDS), "RandomTreesEmbedding"), _forest),
    (("TreePredictor",), _histogram_tree),
    (("HistGradientBoostingClassifier", "HistGradientBoostingRegressor"), _histogram_boosting),
    (("KDTree", "BallTree", "KDTree64", "KDTree32", "BallTree64", "BallTree32"), _neighbours),
    (("SVC", "NuSVC", "SVR", "NuSVR", "OneClassSVM"), _support_vectors),
    (("BSpline",), _spline),
)
