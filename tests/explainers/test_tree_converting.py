"""The tensor form predicts what each library predicts: on split points, beside them, with missing values, for any rows."""

from __future__ import annotations

import subprocess
import sys
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import catboost
import numpy as np
import onnx
import onnxruntime
import pandas as pd
import pytest
from onnx import TensorProto, helper
from sklearn import ensemble, linear_model, tree
from sklearn.dummy import DummyClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import explainers as ex
from explainers.errors import UnsupportedModel
from explainers.trees.converting import convert, refusal
from explainers.trees.converting.rows import preparing
from explainers.trees.converting.scikit_learn_isolation import average_path
from explainers.trees.ensemble import NAN, NEARLY_ZERO, NEVER, ZERO, TreeEnsemble
from explainers.trees.forward import BLOCK, add_trees
from explainers.trees.single_precision import at_most, below
from tests.tree_cases import random_ensemble

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # skl2onnx's own imports
    from skl2onnx import to_onnx

RNG = np.random.default_rng(0)
X = RNG.normal(size=(160, 4)).round(1)
HOLES = np.where(RNG.random(X.shape) < 0.15, np.nan, X)
NUMBER = X[:, 0] + X[:, 1] * X[:, 2] + 0.3 * X[:, 3]
TWO, THREE = NUMBER > 0.2, np.digitize(NUMBER, [-0.6, 0.6])
WEIGHTS = np.where(RNG.random(len(X)) < 0.3, 0.0, RNG.random(len(X)) * 3)
SMALL: dict[str, Any] = {"n_estimators": 4, "max_depth": 3, "random_state": 0}
HIST: dict[str, Any] = {"max_iter": 4, "min_samples_leaf": 3, "random_state": 0}
CAT: dict[str, Any] = {
    "iterations": 4,
    "depth": 3,
    "verbose": 0,
    "allow_writing_files": False,
    "thread_count": 1,
}


class Case(NamedTuple):
    """An unfitted estimator, what it is fitted to, and whether it takes missing values."""

    estimator: Any
    y: Any
    holes: bool = False
    weights: bool = False


SKLEARN = {
    "tree of numbers": Case(tree.DecisionTreeRegressor(max_depth=4, random_state=0), NUMBER, holes=True),
    "tree, two classes": Case(tree.DecisionTreeClassifier(max_depth=4, random_state=0), TWO, holes=True),
    "tree, three classes": Case(tree.DecisionTreeClassifier(random_state=0), THREE, weights=True),
    "median tree": Case(tree.DecisionTreeRegressor(criterion="absolute_error", max_depth=2), NUMBER),
    "single leaf": Case(tree.DecisionTreeClassifier(min_samples_leaf=len(X)), TWO),
    "extra tree": Case(tree.ExtraTreeRegressor(random_state=0), NUMBER, holes=True),
    "extra tree, classes": Case(tree.ExtraTreeClassifier(random_state=0), THREE),
    "forest of numbers": Case(ensemble.RandomForestRegressor(**SMALL), NUMBER, holes=True),
    "forest, two classes": Case(ensemble.RandomForestClassifier(**SMALL), TWO, weights=True),
    "forest, three classes": Case(ensemble.RandomForestClassifier(**SMALL), THREE, holes=True),
    "extra trees": Case(ensemble.ExtraTreesRegressor(**SMALL), NUMBER),
    "extra trees, classes": Case(ensemble.ExtraTreesClassifier(**SMALL), TWO),
    "boosting": Case(ensemble.GradientBoostingRegressor(**SMALL), NUMBER, weights=True),
    "boosting, quantile": Case(ensemble.GradientBoostingRegressor(loss="quantile", **SMALL), NUMBER),
    "boosting, huber": Case(ensemble.GradientBoostingRegressor(loss="huber", **SMALL), NUMBER),
    "boosting from zero": Case(ensemble.GradientBoostingRegressor(init="zero", **SMALL), NUMBER),
    "boosting, two classes": Case(ensemble.GradientBoostingClassifier(**SMALL), TWO),
    "boosting, exponential": Case(ensemble.GradientBoostingClassifier(loss="exponential", **SMALL), TWO),
    "boosting, three classes": Case(ensemble.GradientBoostingClassifier(**SMALL), THREE),
    "boosting, three from zero": Case(ensemble.GradientBoostingClassifier(init="zero", **SMALL), THREE),
    "histograms": Case(ensemble.HistGradientBoostingRegressor(**HIST), NUMBER, holes=True),
    "histograms, poisson": Case(
        ensemble.HistGradientBoostingRegressor(loss="poisson", **HIST), np.abs(NUMBER), holes=True
    ),
    "histograms, gamma": Case(
        ensemble.HistGradientBoostingRegressor(loss="gamma", **HIST), np.abs(NUMBER) + 0.1, weights=True
    ),
    "histograms, two classes": Case(ensemble.HistGradientBoostingClassifier(**HIST), TWO, holes=True),
    "histograms, three classes": Case(ensemble.HistGradientBoostingClassifier(**HIST), THREE, holes=True),
    "histograms, single leaves": Case(
        ensemble.HistGradientBoostingRegressor(max_iter=2, min_samples_leaf=len(X)), NUMBER
    ),
    "isolation": Case(ensemble.IsolationForest(n_estimators=4, random_state=0), None, holes=True),
    "isolation of some columns": Case(
        ensemble.IsolationForest(n_estimators=4, max_features=2, max_samples=30, random_state=0), None
    ),
    "isolation of one row": Case(ensemble.IsolationForest(n_estimators=2, max_samples=1, random_state=0), None),
    "CatBoost": Case(catboost.CatBoostRegressor(**CAT), NUMBER, holes=True),
    "CatBoost, missing last": Case(catboost.CatBoostRegressor(nan_mode="Max", **CAT), NUMBER, holes=True),
    "CatBoost, two classes": Case(catboost.CatBoostClassifier(**CAT), TWO, holes=True),
    "CatBoost, three classes": Case(catboost.CatBoostClassifier(**CAT), THREE, holes=True, weights=True),
    "CatBoost, one against all": Case(
        catboost.CatBoostClassifier(loss_function="MultiClassOneVsAll", **CAT), THREE
    ),
    "CatBoost, poisson": Case(catboost.CatBoostRegressor(loss_function="Poisson", **CAT), np.abs(NUMBER)),
    "CatBoost, by leaf": Case(
        catboost.CatBoostRegressor(grow_policy="Lossguide", max_leaves=6, **CAT), NUMBER, holes=True
    ),
    "CatBoost, by level, three classes": Case(
        catboost.CatBoostClassifier(grow_policy="Depthwise", **CAT), THREE, holes=True
    ),
}  # fmt: skip


def fitted(case: Case) -> Any:
    values = HOLES if case.holes else X
    weights = {"sample_weight": WEIGHTS} if case.weights else {}
    return case.estimator.fit(values, *([] if case.y is None else [case.y]), **weights)


@pytest.fixture(scope="module", params=SKLEARN)
def model(request: pytest.FixtureRequest) -> tuple[Case, Any, TreeEnsemble]:
    case = SKLEARN[request.param]
    estimator = fitted(case)
    return case, estimator, convert(estimator)


def own(estimator: Any, rows: np.ndarray) -> np.ndarray:
    """The library's own prediction, ``(n, k)``."""
    if isinstance(estimator, ensemble.IsolationForest):
        answer = estimator.score_samples(rows)
    else:
        answer = getattr(estimator, "predict_proba", estimator.predict)(rows)
    return np.asarray(answer).reshape(len(rows), -1)


def beside(form: TreeEnsemble, rows: np.ndarray) -> np.ndarray:
    """Rows exactly on every threshold, and on the numbers before and after it, single and double precision."""
    made = [rows]
    asked = sorted({*zip(form.feature.tolist(), form.threshold.tolist(), strict=True)})
    for column, limit in asked[:: max(1, len(asked) // 40)]:
        if column < 0 or not np.isfinite(limit) or abs(limit) > 1e30:
            continue
        near = [limit]
        for kind in (np.float32, np.float64):
            near += [float(np.nextafter(kind(limit), kind(side))) for side in (-np.inf, np.inf)]
        for value in near:
            row = rows[len(made) % len(rows)].copy()
            row[column] = value
            made.append(row[None])
    return np.concatenate(made)


def test_predictions_are_the_librarys_own(model: tuple[Case, Any, TreeEnsemble]) -> None:
    case, estimator, form = model
    rows = beside(form, HOLES if case.holes else X)
    np.testing.assert_allclose(form.predict(rows), own(estimator, rows), rtol=1e-12, atol=1e-12)


def test_scores_are_the_librarys_own(model: tuple[Case, Any, TreeEnsemble]) -> None:
    case, estimator, form = model
    rows = beside(form, HOLES if case.holes else X)
    if isinstance(estimator, catboost.CatBoost):
        score = estimator.predict(rows, prediction_type="RawFormulaVal")
    elif hasattr(estimator, "decision_function") and not isinstance(estimator, ensemble.IsolationForest):
        score = estimator.decision_function(rows)
    else:
        score = own(estimator, rows) if form.link in ("identity", "probability") else None
        if score is not None and form.outputs == 1:
            score = score[:, -1]
    if score is None:  # poisson, gamma, isolation: the logarithm is the sum
        scale = (
            np.log(own(estimator, rows))
            if form.link == "exp"
            else -np.log2(-own(estimator, rows)) / form.slope
        )
        score = scale
    np.testing.assert_allclose(
        form.raw(rows), np.asarray(score).reshape(len(rows), -1), rtol=1e-11, atol=1e-11
    )


def test_any_number_of_rows(model: tuple[Case, Any, TreeEnsemble]) -> None:
    case, _, form = model
    rows = HOLES if case.holes else X
    every = form.predict(rows)
    for count in (0, 1, BLOCK - 1, BLOCK, BLOCK + 1):
        found = form.predict(rows[:count])
        assert found.shape == (count, every.shape[1])
        np.testing.assert_array_equal(found, every[:count])


def test_values_and_codes_walk_to_the_same_sums(model: tuple[Case, Any, TreeEnsemble]) -> None:
    case, _, form = model
    rows = beside(form, HOLES if case.holes else X)
    by_codes = np.tile(form.base, (len(rows), 1))
    add_trees(form, form.questions.codes(rows), by_codes)
    np.testing.assert_array_equal(form.raw(rows), by_codes)


@pytest.mark.parametrize("missing", [NAN, NEVER, ZERO])
@pytest.mark.parametrize("several", [False, True])
def test_missing_values_of_every_kind(missing: int, several: bool) -> None:
    rng = np.random.default_rng(missing)
    strange = [np.nan, 0.0, -0.0, 1e-36, -1e-36, 1e-34, -1e-34, np.inf, -np.inf, 1.0, -1.5]
    rows = rng.choice(strange, size=(BLOCK + 3, 5))
    for outputs in (1, 3):
        form = random_ensemble(rng, outputs=outputs, several=several, missing=missing)
        by_codes = np.tile(form.base, (len(rows), 1))
        add_trees(form, form.questions.codes(rows), by_codes)
        np.testing.assert_array_equal(form.raw(rows), by_codes)
        np.testing.assert_array_equal(form.raw(rows), [plainly(form, row) for row in rows])
        np.testing.assert_array_equal(form.raw(rows), form.raw(rows.astype(np.float32)))


def plainly(form: TreeEnsemble, row: np.ndarray) -> np.ndarray:
    """One row down each tree, from the definition."""
    row = row.astype(np.float32).astype(np.float64) if form.single else row.copy()
    row[np.isnan(row) & (form.missing == NEVER)] = 0.0
    row[(np.abs(row) <= NEARLY_ZERO) & (form.missing == ZERO)] = np.nan
    total = form.base.copy()
    for number, root in enumerate(form.roots[:-1]):
        node = root
        while form.feature[node] >= 0:
            x = row[form.feature[node]]
            left = form.missing_left[node] if np.isnan(x) else x <= form.threshold[node]
            node = form.left[node] if left else form.right[node]
        if form.output[number] < 0:
            total += form.value[node]
        else:
            total[form.output[number]] += form.value[node, 0]
    return total


def test_one_row_down_each_tree(model: tuple[Case, Any, TreeEnsemble]) -> None:
    case, _, form = model
    rows = beside(form, HOLES if case.holes else X)[-20:]
    np.testing.assert_array_equal(form.raw(rows), [plainly(form, row) for row in rows])


def test_covers_add_up(model: tuple[Case, Any, TreeEnsemble]) -> None:
    _, estimator, form = model
    inner = np.flatnonzero(form.feature >= 0)
    np.testing.assert_allclose(
        form.cover[inner], form.cover[form.left[inner]] + form.cover[form.right[inner]], rtol=1e-9, atol=1e-9
    )
    if isinstance(estimator, tree.BaseDecisionTree):
        np.testing.assert_allclose(form.cover[0], estimator.tree_.weighted_n_node_samples[0])
    assert form.cover[form.roots[:-1]].min() > 0


def test_children_without_weight() -> None:
    estimator = catboost.CatBoostRegressor(**{**CAT, "depth": 6}).fit(X, NUMBER)
    form = convert(estimator)
    assert (form.cover == 0).any()  # a symmetric tree has leaves that no row reached
    np.testing.assert_allclose(form.predict(X)[:, 0], estimator.predict(X), atol=1e-12)


CATEGORIES = pd.DataFrame(
    {
        "n": RNG.normal(size=300).round(1),
        "c": RNG.choice(["a", "b", "c", "d", "e", None], 300),
        "m": np.where(RNG.random(300) < 0.2, np.nan, RNG.normal(size=300)),
        "k": RNG.choice([3, 7, 11], 300),
    }
).astype({"c": "category"})
CATEGORY_SUM = (
    CATEGORIES["n"] + CATEGORIES["c"].isin(["b", "e"]) * 2.0 - (CATEGORIES["k"] == 7) + CATEGORIES["m"].isna()
)


@pytest.mark.parametrize("classes", [0, 2, 3])
def test_categories_known_and_unknown(classes: int) -> None:
    y = CATEGORY_SUM if not classes else np.digitize(CATEGORY_SUM, [0.5, 1.5][: classes - 1])
    kind = ensemble.HistGradientBoostingClassifier if classes else ensemble.HistGradientBoostingRegressor
    estimator = kind(categorical_features=["c", "k"], max_iter=6, min_samples_leaf=3).fit(CATEGORIES, y)
    form = convert(estimator)
    assert len(form.sets.start) > 1
    strange = CATEGORIES.copy()
    strange["c"] = pd.Categorical(np.where(np.arange(300) % 3 == 0, "new", strange["c"].astype(object)))
    strange["k"] = np.where(np.arange(300) % 4 == 0, 5, strange["k"])
    for frame in (CATEGORIES, strange, CATEGORIES[:1], strange[:0]):
        rows = preparing(estimator)(frame) if len(frame) else np.empty((0, 4))
        wanted = own(estimator, frame) if len(frame) else np.empty((0, max(1, classes)))
        np.testing.assert_allclose(form.predict(rows), wanted, atol=1e-12)
    assert np.isnan(preparing(estimator)(strange)[::3, 1]).all()
    np.testing.assert_array_equal(preparing(estimator)(CATEGORIES)[:, 0], CATEGORIES["n"])


def test_rows_come_in_the_estimators_order() -> None:
    frame = pd.DataFrame(X, columns=list("abcd"))
    estimator = tree.DecisionTreeRegressor(max_depth=3).fit(frame, NUMBER)
    np.testing.assert_array_equal(preparing(estimator)(frame[list("dcba")]), X)
    with pytest.raises(UnsupportedModel, match="hold text: b"):
        preparing(estimator)(frame.assign(b="x"))


def test_thresholds_in_single_precision() -> None:
    values = np.float32(RNG.normal(size=200)).astype(np.float64)
    limits = np.concatenate([values, values + 1e-12, values - 1e-12, [1e300, -1e300, np.inf, -np.inf, 0.0]])
    near = np.float32(np.concatenate([values, [0.0, 1e-45, -1e-45, np.inf, -np.inf]]))
    sides = [np.nextafter(near, np.float32(side)) for side in (np.inf, -np.inf)]
    for beside_it in (near, *sides):
        for asked, moved in ((np.less_equal, at_most), (np.less, below)):
            known = limits if moved is at_most else limits[limits > -np.inf]
            wanted = asked(beside_it[:, None].astype(np.float64), known)
            np.testing.assert_array_equal(beside_it[:, None] <= moved(known), wanted)


def test_average_path_is_the_librarys_own() -> None:
    from sklearn.ensemble._iforest import _average_path_length

    rows = np.array([1.0, 2.0, 3.0, 17.0, 256.0])
    np.testing.assert_allclose(average_path(rows), _average_path_length(rows))


ONNX = {
    "forest, two classes": (ensemble.RandomForestClassifier(**SMALL), TWO),
    "forest, three classes": (ensemble.RandomForestClassifier(**SMALL), THREE),
    "forest of numbers": (ensemble.RandomForestRegressor(**SMALL), NUMBER),
    "boosting, two classes": (ensemble.GradientBoostingClassifier(**SMALL), TWO),
    "boosting, three classes": (ensemble.GradientBoostingClassifier(**SMALL), THREE),
    "boosting of numbers": (ensemble.GradientBoostingRegressor(**SMALL), NUMBER),
}


def answers(model: onnx.ModelProto, rows: np.ndarray) -> np.ndarray:
    """onnxruntime's last output."""
    session = onnxruntime.InferenceSession(model.SerializeToString())
    found = session.run(None, {session.get_inputs()[0].name: rows})[-1]
    return np.asarray(found).reshape(len(rows), -1)


@pytest.mark.parametrize("name", ONNX)
@pytest.mark.parametrize("zipped", [False, True])
def test_onnx_files_of_scikit_learn(name: str, zipped: bool) -> None:
    estimator, y = ONNX[name]
    single = X.astype(np.float32)
    estimator.fit(single, y)
    options = {"zipmap": zipped} if hasattr(estimator, "classes_") else {}
    made = to_onnx(
        estimator, single[:1], options={id(estimator): options} if options else None, target_opset=17
    )
    form = convert(made)
    plain = made if not zipped else to_onnx(
        estimator, single[:1], options={id(estimator): {"zipmap": False}} if options else None, target_opset=17
    )  # fmt: skip
    rows = beside(form, X).astype(np.float32)
    np.testing.assert_allclose(form.predict(rows), answers(plain, rows), atol=2e-6)
    assert (form.single, form.columns) == (True, 4)


def onnx_tree(
    mode: str,
    tracks: int = 0,
    dtype: int = TensorProto.FLOAT,
    before: str = "",
    after: str = "",
    **attributes: Any,
) -> onnx.ModelProto:
    """One question of column 1 against 0.5, with the leaves 1 and 2."""
    node = helper.make_node(
        "TreeEnsembleRegressor", ["made" if before else "x"], ["t" if after else "y"], domain="ai.onnx.ml",
        nodes_treeids=[0, 0, 0], nodes_nodeids=[0, 1, 2], nodes_featureids=[1, 0, 0], nodes_values=[0.5, 0.0, 0.0],
        nodes_modes=[mode, "LEAF", "LEAF"], nodes_truenodeids=[1, 0, 0], nodes_falsenodeids=[2, 0, 0],
        nodes_missing_value_tracks_true=[tracks, 0, 0], target_treeids=[0, 0], target_nodeids=[1, 2],
        target_ids=[0, 0], target_weights=[1.0, 2.0], **{"n_targets": 1, **attributes},
    )  # fmt: skip
    nodes = [node]
    if before:
        nodes.insert(0, helper.make_node(before, ["x"], ["made"], **({"to": 1} if before == "Cast" else {})))
    if after:
        nodes.append(helper.make_node(after, ["t"], ["y"]))
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", dtype, [None, 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 1])],
    )  # fmt: skip
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


@pytest.mark.parametrize("mode", ["BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT"])
@pytest.mark.parametrize("tracks", [0, 1])
@pytest.mark.parametrize("dtype", [TensorProto.FLOAT, TensorProto.DOUBLE])
@pytest.mark.parametrize("aggregate", ["SUM", "AVERAGE"])
def test_onnx_comparisons(mode: str, tracks: int, dtype: int, aggregate: str) -> None:
    made = onnx_tree(mode, tracks, dtype, aggregate_function=aggregate, base_values=[0.25])
    kind = np.float32 if dtype == TensorProto.FLOAT else np.float64
    near = [0.5, np.nextafter(kind(0.5), kind(1)), np.nextafter(kind(0.5), kind(0)), np.nan, -3.0, 3.0]
    rows = np.zeros((len(near), 3), dtype=kind)
    rows[:, 1] = near
    np.testing.assert_array_equal(convert(made).predict(rows), answers(made, rows))


def test_onnx_trees_of_opset_5() -> None:
    def floats(name: str, values: list[float]) -> onnx.TensorProto:
        return helper.make_tensor(name, TensorProto.FLOAT, [len(values)], values)

    node = helper.make_node(
        "TreeEnsemble", ["x"], ["y"], domain="ai.onnx.ml", n_targets=1, aggregate_function=1, post_transform=0,
        tree_roots=[0], nodes_modes=helper.make_tensor("m", TensorProto.UINT8, [2], [0, 1]),
        nodes_featureids=[1, 2], nodes_splits=floats("s", [0.5, 1.0]), nodes_truenodeids=[1, 0],
        nodes_trueleafs=[0, 1], nodes_falsenodeids=[2, 1], nodes_falseleafs=[1, 1], leaf_targetids=[0, 0, 0],
        leaf_weights=floats("w", [1.0, 2.0, 4.0]),
    )  # fmt: skip
    graph = helper.make_graph(
        [node], "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 1])],
    )  # fmt: skip
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 5)]
    made = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    rows = np.array(
        [[0, 0.5, 1], [0, 0.5, 0.9], [0, 0.6, 0], [0, np.nan, 0], [0, 0, np.nan]], dtype=np.float32
    )
    np.testing.assert_array_equal(convert(made).predict(rows), answers(made, rows))


def test_onnx_values_are_cast_first() -> None:
    made = onnx_tree("BRANCH_LT", dtype=TensorProto.DOUBLE, before="Cast")
    rows = np.zeros((3, 3))
    rows[:, 1] = [0.5, 0.5 - 1e-12, 0.4]
    assert convert(made).single
    np.testing.assert_array_equal(convert(made).predict(rows), answers(made, rows))


def two_classes(ids: list[int], weights: list[float], how: str, base: list[float]) -> onnx.ModelProto:
    """One question whose leaves give to the classes `ids` of the first leaf, then of the second."""
    places = [1] * (len(ids) // 2) + [2] * (len(ids) // 2)
    node = helper.make_node(
        "TreeEnsembleClassifier", ["x"], ["label", "y"], domain="ai.onnx.ml", nodes_treeids=[0, 0, 0],
        nodes_nodeids=[0, 1, 2], nodes_featureids=[1, 0, 0], nodes_values=[0.5, 0.0, 0.0],
        nodes_modes=["BRANCH_LEQ", "LEAF", "LEAF"], nodes_truenodeids=[1, 0, 0], nodes_falsenodeids=[2, 0, 0],
        class_treeids=[0] * len(ids), class_nodeids=places, class_ids=ids, class_weights=weights,
        classlabels_int64s=[0, 1], post_transform=how, **({"base_values": base} if base else {}),
    )  # fmt: skip
    outputs = [("label", TensorProto.INT64, [None]), ("y", TensorProto.FLOAT, [None, 2])]
    graph = helper.make_graph(
        [node], "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 3])],
        [helper.make_tensor_value_info(*output) for output in outputs],
    )  # fmt: skip
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


@pytest.mark.parametrize(
    ("ids", "weights", "how", "base", "link"),
    [
        ([0, 0], [0.2, 0.7], "NONE", [], "probability"),
        ([0, 0], [-0.2, 0.7], "NONE", [], "identity"),
        ([0, 0], [-0.2, 0.7], "LOGISTIC", [], "logistic"),
        ([0, 0], [-0.2, 0.7], "LOGISTIC", [0.3], "logistic"),
        ([0, 1, 0, 1], [0.2, 0.8, 0.7, 0.3], "NONE", [], "probability"),
        ([0, 1, 0, 1], [0.2, -0.8, 0.7, 0.3], "SOFTMAX", [], "logistic"),
        ([0, 1, 0, 1], [0.2, 0.9, 0.7, 0.3], "NONE", [], None),
        ([0, 1, 0, 1], [0.2, -0.8, 0.7, 0.3], "LOGISTIC", [], None),
        ([0, 0], [-0.2, 0.7], "SOFTMAX", [], None),
    ],
)
def test_onnx_ways_to_write_two_classes(
    ids: list[int], weights: list[float], how: str, base: list[float], link: str | None
) -> None:
    made = two_classes(ids, weights, how, base)
    if link is None:
        with pytest.raises(UnsupportedModel, match="has no sum of trees"):
            convert(made)
        return
    form = convert(made)
    rows = np.array([[0, 0, 0], [0, 0.5, 0], [0, 2, 0]], dtype=np.float32)
    assert (form.link, form.outputs) == (link, 1)
    np.testing.assert_allclose(form.predict(rows)[:, -1], answers(made, rows)[:, 1], atol=1e-6)


def unfitted(estimator: Any) -> Callable[[], Any]:
    return lambda: estimator


def categorical_catboost(one_hot: int) -> Any:
    frame = CATEGORIES[["n"]].assign(c=CATEGORIES["c"].astype(object).fillna("none").astype(str))
    estimator = catboost.CatBoostRegressor(cat_features=["c"], one_hot_max_size=one_hot, **CAT)
    return estimator.fit(frame, CATEGORY_SUM)


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "a straight line": (lambda: linear_model.Ridge().fit(X, NUMBER), "no sum of trees|not a sum of trees"),
    "a function": (lambda: np.sin, "has no trees that can be read"),
    "not fitted": (unfitted(ensemble.RandomForestClassifier()), "is not fitted"),
    "CatBoost, not fitted": (unfitted(catboost.CatBoostClassifier()), "is not fitted"),
    "two targets": (
        lambda: ensemble.RandomForestRegressor(2).fit(X, np.column_stack([NUMBER, NUMBER])),
        "predicts 2 targets at once",
    ),
    "one class": (lambda: tree.DecisionTreeClassifier().fit(X, np.zeros(len(X))), "one class only"),
    "bagging": (lambda: ensemble.BaggingRegressor(n_estimators=2).fit(X, NUMBER), "not a sum of trees"),
    "from another model": (
        lambda: ensemble.GradientBoostingRegressor(init=linear_model.Ridge(), **SMALL).fit(X, NUMBER),
        "starts from the prediction of another model .Ridge.",
    ),
    "from chance": (
        lambda: ensemble.GradientBoostingClassifier(init=DummyClassifier(strategy="stratified"), **SMALL).fit(X, TWO),
        "starts from the prediction of another model",
    ),
    "CatBoost, statistics": (lambda: categorical_catboost(1), "statistics of the target for each category"),
    "CatBoost, one-hot": (lambda: categorical_catboost(20), "single categories"),
    "CatBoost, several": (
        lambda: catboost.CatBoostRegressor(loss_function="MultiRMSE", **CAT).fit(X, np.column_stack([NUMBER, NUMBER])),
        "several numbers at once",
    ),
    "ONNX, equality": (lambda: onnx_tree("BRANCH_EQ"), "BRANCH_EQ"),
    "ONNX, the least": (lambda: onnx_tree("BRANCH_LEQ", aggregate_function="MIN"), "takes the MIN"),
    "ONNX, more after": (lambda: onnx_tree("BRANCH_LEQ", after="Relu"), "does more than ask trees: Relu"),
    "ONNX, more before": (lambda: onnx_tree("BRANCH_LEQ", before="Neg"), "does more than ask trees: Neg"),
    "ONNX, probit": (lambda: onnx_tree("BRANCH_LEQ", post_transform="PROBIT"), "PROBIT"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refusals_say_why(name: str) -> None:
    make, sentence = REFUSED[name]
    obj = make()
    with pytest.raises(UnsupportedModel, match=sentence) as raised:
        convert(obj)
    assert refusal(obj) == str(raised.value)
    assert str(raised.value).endswith(".")


def test_other_columns_are_refused() -> None:
    form = convert(tree.DecisionTreeRegressor(max_depth=2).fit(X, NUMBER))
    with pytest.raises(UnsupportedModel, match="was trained on 4 columns; these rows have 3"):
        form.raw(X[:, :3])


def test_models_hold_their_trees() -> None:
    boosting = ensemble.HistGradientBoostingRegressor(**HIST).fit(X, NUMBER)
    pipeline = make_pipeline(StandardScaler(), ensemble.RandomForestClassifier(**SMALL)).fit(X, TWO)
    model = ex.Model.wrap(boosting)
    assert model.trees is model.trees
    assert model.trees is not None
    assert model.trees.trees == 4
    np.testing.assert_allclose(model.trees.predict(X)[:, 0], boosting.predict(X), atol=1e-12)
    last = ex.Model.wrap(pipeline).trees
    assert last is not None
    np.testing.assert_allclose(
        last.predict(pipeline[:-1].transform(X)), pipeline.predict_proba(X), atol=1e-12
    )
    assert ex.Model.wrap(linear_model.Ridge().fit(X, NUMBER)).trees is None
    assert ex.Model.wrap(lambda rows: np.zeros(len(rows))).trees is None
    assert refusal(boosting) is None


def test_nothing_is_imported_before_it_is_needed() -> None:
    told = "import explainers, explainers.trees.converting, sys; print(sorted({'numba', 'torch', 'scipy', 'catboost', 'sklearn'} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
