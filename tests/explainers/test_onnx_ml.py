"""The ai.onnx.ml operators: files of scikit-learn against onnxruntime, their gradients, and damaged ones."""

from __future__ import annotations

import re
import warnings
from typing import Any

import numpy as np
import onnxruntime
import pandas as pd
import pytest
import torch
from onnx import TensorProto, helper
from onnx_models import file_of
from sklearn import ensemble, linear_model, naive_bayes, neighbors, neural_network, preprocessing, svm
from sklearn.compose import make_column_transformer
from sklearn.decomposition import PCA
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # skl2onnx's own imports
    from skl2onnx import to_onnx
    from skl2onnx.common.data_types import FloatTensorType, StringTensorType

import explainers as ex
from explainers import load_model
from explainers.loading.limits import Limits
from explainers.onnx import UnsafeOnnx, read_graph
from explainers.onnx.graph import as_data
from explainers.onnx.module import GraphModule

RNG = np.random.default_rng(0)
X = RNG.normal(size=(90, 4)).astype(np.float32)
TWO, THREE = (X[:, 0] + X[:, 1] ** 2 > 0.5).astype(int), np.digitize(X[:, 0], [-0.5, 0.5])
NUMBER = X[:, 0] * 2 + X[:, 1]


def scaled(estimator: Any) -> Any:
    return make_pipeline(preprocessing.StandardScaler(), estimator)


SMOOTH: dict[str, tuple[Any, np.ndarray]] = {
    "logistic, two classes": (scaled(linear_model.LogisticRegression()), TWO),
    "logistic, three classes": (scaled(linear_model.LogisticRegression()), THREE),
    "imputed and normalised": (
        make_pipeline(SimpleImputer(), preprocessing.Normalizer(), linear_model.LogisticRegression()),
        THREE,
    ),
    "components": (make_pipeline(PCA(2), linear_model.LogisticRegression()), TWO),
    "network": (
        scaled(neural_network.MLPClassifier((5,), activation="tanh", max_iter=20, random_state=0)),
        THREE,
    ),
    "support vectors": (svm.SVC(probability=True, random_state=0), THREE),
    "naive Bayes": (naive_bayes.GaussianNB(), THREE),
    "linear regression": (scaled(linear_model.Ridge()), NUMBER),
    "support vector regression": (svm.SVR(), NUMBER),
}
STAIRS: dict[str, tuple[Any, np.ndarray]] = {
    "forest, two classes": (ensemble.RandomForestClassifier(4, max_depth=3, random_state=0), TWO),
    "forest, three classes": (ensemble.RandomForestClassifier(4, max_depth=3, random_state=0), THREE),
    "boosting, two classes": (ensemble.GradientBoostingClassifier(n_estimators=4), TWO),
    "boosting, three classes": (ensemble.GradientBoostingClassifier(n_estimators=4), THREE),
    "forest of numbers": (ensemble.RandomForestRegressor(4, max_depth=3, random_state=0), NUMBER),
    "boosting of numbers": (ensemble.GradientBoostingRegressor(n_estimators=4), NUMBER),
    "trees beside a straight line": (
        ensemble.StackingClassifier(
            [("a", ensemble.ExtraTreesClassifier(3)), ("b", linear_model.LogisticRegression())], cv=2
        ),
        TWO,
    ),
}


def exported(estimator: Any, y: np.ndarray, zipmap: bool = True) -> bytes:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # too few iterations, on purpose
        fitted = estimator.fit(X, y)
        options = None if zipmap or not hasattr(fitted, "classes_") else {"zipmap": False}
        return bytes(to_onnx(fitted, X[:2], options=options, target_opset=17).SerializeToString())


def answers(content: bytes, feed: dict[str, np.ndarray]) -> tuple[list[Any], list[Any]]:
    """All outputs, ours and onnxruntime's."""
    values = {name: as_data(value) for name, value in feed.items()}
    ours = [np.asarray(value) for value in GraphModule(read_graph(content)).evaluate(values).values()]
    theirs = onnxruntime.InferenceSession(content).run(None, feed)
    return ours, [np.array([list(r.values()) for r in v]) if isinstance(v, list) else v for v in theirs]


def agree(content: bytes, feed: dict[str, np.ndarray]) -> None:
    ours, theirs = answers(content, feed)
    for found, wanted in zip(ours, theirs, strict=True):
        assert found.shape == wanted.shape
        if wanted.dtype.kind == "f":
            np.testing.assert_allclose(found, wanted, atol=1e-5, rtol=1e-5)
        else:
            assert found.tolist() == wanted.tolist()


@pytest.mark.parametrize("name", [*SMOOTH, *STAIRS])
def test_files_of_scikit_learn_are_computed_as_onnxruntime_does(name: str) -> None:
    agree(exported(*{**SMOOTH, **STAIRS}[name]), {"X": X[:20]})


def test_the_nearest_neighbours_are_found_in_a_scan() -> None:
    agree(exported(neighbors.KNeighborsClassifier(3), THREE), {"X": X[:20]})


@pytest.mark.parametrize("zipmap", [True, False])
@pytest.mark.parametrize("name", SMOOTH)
def test_smooth_models_have_gradients(name: str, zipmap: bool) -> None:
    estimator, y = SMOOTH[name]
    model = load_model(exported(estimator, y, zipmap))
    assert model.module is not None, model.notes
    x = torch.tensor(X[:3], dtype=torch.float32, requires_grad=True)
    answer = model.module(x)
    np.testing.assert_allclose(answer.detach().reshape(3, -1), model.predict(X[:3]).reshape(3, -1), atol=1e-5)
    (slope,) = torch.autograd.grad(answer[:, -1].sum(), x)
    for j in range(4):  # against differences of what onnxruntime answers
        step = np.zeros(4, dtype=np.float32)
        step[j] = 0.02
        rise = model.predict(X[:3] + step)[:, -1] - model.predict(X[:3] - step)[:, -1]
        np.testing.assert_allclose(slope[:, j], rise / 0.04, atol=5e-3, rtol=2e-2)


@pytest.mark.parametrize("name", STAIRS)
def test_trees_predict_and_say_why_they_have_no_gradient(name: str) -> None:
    model = load_model(exported(*STAIRS[name]))
    assert model.module is None
    assert any("is a staircase, whose gradient is 0" in note for note in model.notes)


def test_an_encoder_says_that_it_has_no_gradient() -> None:
    node = helper.make_node("Binarizer", ["x"], ["y"], domain="ai.onnx.ml", threshold=0.5)
    model = load_model(file_of(node))
    assert model.module is None
    assert any(
        "no gradient with respect to the input (it passes through Binarizer)" in n for n in model.notes
    )


def test_integrated_gradients_of_a_file_of_scikit_learn_add_up() -> None:
    model = load_model(exported(*SMOOTH["logistic, two classes"]))
    frame = pd.DataFrame(X[:12], columns=list("abcd")).astype(float)
    result = ex.explain(model, ex.Dataset.from_frame(frame), ex.IntegratedGradients(steps=128))
    assert np.abs(result.values).max() > 0.05
    np.testing.assert_allclose(result.values.sum(axis=1) + result.base_value, result.output, atol=2e-3)


def mixed() -> tuple[bytes, dict[str, np.ndarray]]:
    """Two columns of numbers, one of text: scaled, one-hot, logistic."""
    frame = pd.DataFrame(
        {"age": X[:, 0], "dose": X[:, 1], "ward": np.array(["north", "south", "east"])[THREE]}
    )
    prepare = make_column_transformer(
        (preprocessing.StandardScaler(), ["age", "dose"]),
        (preprocessing.OneHotEncoder(handle_unknown="ignore", sparse_output=False), ["ward"]),
    )
    fitted = make_pipeline(prepare, linear_model.LogisticRegression()).fit(
        frame, np.where(TWO == 1, "yes", "no")
    )
    types = [
        ("age", FloatTensorType([None, 1])),
        ("dose", FloatTensorType([None, 1])),
        ("ward", StringTensorType([None, 1])),
    ]
    content = to_onnx(fitted, initial_types=types, target_opset=17).SerializeToString()
    feed: dict[str, np.ndarray] = {name: frame[[name]].to_numpy() for name in ("age", "dose")}
    ward = frame[["ward"]].to_numpy(dtype=object).copy()
    ward[0] = "elsewhere"
    return bytes(content), {**feed, "ward": ward}


def test_text_and_numbers_together() -> None:
    content, feed = mixed()
    agree(content, feed)
    model = load_model(content)
    assert model.features == ("age", "dose", "ward")
    assert model.classes == ("no", "yes")
    frame = pd.DataFrame({name: value[:, 0] for name, value in feed.items()})
    assert model.predict(frame).shape == (90, 2)
    assert any("one of real numbers for each column" in note for note in model.notes)


def test_columns_of_numbers_side_by_side_have_gradients() -> None:
    types = [(name, FloatTensorType([None, 1])) for name in "abcd"]
    frame = pd.DataFrame(X, columns=list("abcd"))
    fitted = make_pipeline(
        make_column_transformer((preprocessing.StandardScaler(), list("abcd"))), linear_model.Ridge()
    ).fit(frame, NUMBER)
    model = load_model(to_onnx(fitted, initial_types=types, target_opset=17).SerializeToString())
    assert model.module is not None, model.notes
    torch.testing.assert_close(
        model.module(torch.tensor(X)).double(), torch.tensor(fitted.predict(frame)).double().reshape(-1, 1), atol=1e-4, rtol=1e-4
    )  # fmt: skip


STRING, FLOAT, INT = TensorProto.STRING, TensorProto.FLOAT, TensorProto.INT64
WORDS = np.array([["a", "b"], ["c", "zz"]], dtype=object)
ENCODERS: dict[str, tuple[dict[str, Any], int, np.ndarray, int]] = {
    "OneHotEncoder": ({"cats_strings": ["a", "b", "c"]}, STRING, WORDS, FLOAT),
    "LabelEncoder": ({"keys_strings": ["a", "b"], "values_int64s": [4, 5]}, STRING, WORDS, INT),
    "LabelEncoder of numbers": (
        {"keys_int64s": [1, 2], "values_strings": ["p", "q"]}, INT, np.array([[1, 2], [3, 1]]), STRING,
    ),
    "CategoryMapper": ({"cats_strings": ["a", "b"], "cats_int64s": [7, 8]}, STRING, WORDS, INT),
    "Normalizer": ({"norm": "MAX"}, FLOAT, X[:2, :2], FLOAT),
    "Imputer": (
        {"imputed_value_floats": [1.0, 2.0], "replaced_value_float": float("nan")},
        FLOAT, np.array([[np.nan, 1], [2, np.nan]], np.float32), FLOAT,
    ),
    "Binarizer": ({"threshold": 0.1}, FLOAT, X[:2, :2], FLOAT),
    "FeatureVectorizer": ({"inputdimensions": [3]}, FLOAT, X[:2, :2], FLOAT),
}  # fmt: skip


@pytest.mark.parametrize("name", ENCODERS)
def test_encoders_are_computed_as_onnxruntime_does(name: str) -> None:
    attributes, kind, values, output = ENCODERS[name]
    node = helper.make_node(name.split()[0], ["x"], ["y"], domain="ai.onnx.ml", **attributes)
    sides = ["n", "m", "k"] if name == "OneHotEncoder" else ["n", "m"]
    ends = [
        helper.make_tensor_value_info(n, t, s) for n, t, s in (("x", kind, ["b", 2]), ("y", output, sides))
    ]
    graph = helper.make_graph([node], "g", ends[:1], ends[1:])
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    agree(helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString(), {"x": values})


# Damaged trees


def trees(**changes: Any) -> bytes:
    lists: dict[str, Any] = {
        "nodes_treeids": [0, 0, 0], "nodes_nodeids": [0, 1, 2], "nodes_featureids": [1, 0, 0],
        "nodes_modes": ["BRANCH_LEQ", "LEAF", "LEAF"], "nodes_values": [0.5, 0.0, 0.0],
        "nodes_truenodeids": [1, 0, 0], "nodes_falsenodeids": [2, 0, 0],
        "target_treeids": [0, 0], "target_nodeids": [1, 2], "target_ids": [0, 0], "target_weights": [1.0, 2.0],
        "n_targets": 1,
    }  # fmt: skip
    return file_of(
        helper.make_node("TreeEnsembleRegressor", ["x"], ["y"], domain="ai.onnx.ml", **(lists | changes))
    )


DAMAGED: dict[str, tuple[dict[str, Any], str]] = {
    "no such child": ({"nodes_truenodeids": [7, 0, 0]}, "a way to a node that there is not"),
    "negative child": ({"nodes_falsenodeids": [-1, 0, 0]}, "a way to a node that there is not"),
    "own child": ({"nodes_truenodeids": [0, 0, 0]}, "in a circle"),
    "circle": (
        {"nodes_modes": ["BRANCH_LEQ", "BRANCH_LEQ", "LEAF"], "nodes_truenodeids": [1, 1, 0], "nodes_falsenodeids": [2, 2, 0]},
        "in a circle",
    ),
    "two of one number": ({"nodes_nodeids": [0, 1, 1]}, "two nodes of one number"),
    "short list": ({"nodes_values": [0.5]}, "different lengths"),
    "no such comparison": ({"nodes_modes": ["BRANCH_NEAR", "LEAF", "LEAF"]}, "a comparison that there is not"),
    "negative column": ({"nodes_featureids": [-1, 0, 0]}, "a negative column"),
    "column outside": ({"nodes_featureids": [4, 0, 0]}, "asks for column 4 of data of shape (2, 4)"),
    "no such target": ({"target_ids": [0, 5]}, "a class or target that there is not"),
    "giant number of targets": ({"n_targets": 1 << 40}, "over the limit"),
    "no such leaf": ({"target_nodeids": [1, 9]}, "a way to a node that there is not"),
    "base values": ({"base_values": [1.0, 2.0]}, "2 base values"),
}  # fmt: skip


@pytest.mark.parametrize("case", DAMAGED)
def test_damaged_trees_are_refused_before_onnxruntime_sees_them(case: str) -> None:
    changes, message = DAMAGED[case]
    assert load_model(trees()).predict(np.eye(4)[:2]).ravel().tolist() == [1, 2]
    with pytest.raises(UnsafeOnnx, match=re.escape(message)):
        load_model(trees(**changes))


def chain(depth: int) -> dict[str, Any]:
    n = 2 * depth + 1
    inner = range(depth)
    return {
        "nodes_treeids": [0] * n, "nodes_nodeids": list(range(n)), "nodes_featureids": [0] * n,
        "nodes_modes": ["BRANCH_LEQ"] * depth + ["LEAF"] * (depth + 1), "nodes_values": [0.0] * n,
        "nodes_truenodeids": [i + 1 for i in inner] + [0] * (depth + 1),
        "nodes_falsenodeids": [depth + 1 + i for i in inner] + [0] * (depth + 1),
        "target_treeids": [0], "target_nodeids": [depth], "target_ids": [0], "target_weights": [1.0],
    }  # fmt: skip


def test_a_tree_too_deep_or_too_large_is_refused() -> None:
    assert read_graph(trees(**chain(30)), Limits(tree_depth=30)).nodes
    with pytest.raises(UnsafeOnnx, match=r"over 29 levels.*limits\.tree_depth"):
        read_graph(trees(**chain(30)), Limits(tree_depth=29))
    with pytest.raises(UnsafeOnnx, match=r"61 tree nodes; the limit is 60 \(setting limits\.nodes\)"):
        read_graph(trees(**chain(30)), Limits(nodes=60))
    with pytest.raises(UnsafeOnnx, match=r"limits\.tree_depth"):  # onnxruntime overflows its stack on it
        read_graph(trees(**chain(5_000)))


def test_coefficients_that_do_not_fit_are_refused() -> None:
    node = helper.make_node(
        "LinearRegressor", ["x"], ["y"], domain="ai.onnx.ml", coefficients=[1.0] * 3, targets=2
    )
    with pytest.raises(UnsafeOnnx, match="3 coefficients, which do not fit"):
        load_model(file_of(node))
