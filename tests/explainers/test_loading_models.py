"""A round trip for every format, what the formats say of their outputs, and declared architectures."""

from __future__ import annotations

import functools
import hashlib
import io
import json
import sys

import catboost
import lightgbm
import numpy as np
import onnx
import pandas as pd
import pytest
import safetensors.torch
import skops.io
import torch
import xgboost
from onnx import TensorProto, helper, numpy_helper
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier, RandomForestRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import SVC
from torch import nn

from explainers import Dataset, Model, SchemaMismatch, UnreadableFile, UnsupportedModel, explain, load_model
from explainers.loading.architecture import KNOWN
from explainers.loading.ubjson import decode

N = 60


@functools.cache
def table() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N, 3))
    return X, (X[:, 0] + 0.3 * rng.normal(size=N) > 0).astype(int)


@functools.cache
def wards() -> tuple[pd.DataFrame, np.ndarray]:
    X, y = table()
    ward = np.random.default_rng(1).choice(["east", "north", "west"], N)
    return pd.DataFrame({"age of": X[:, 0], "dose": X[:, 1], "ward": ward}), np.where(y == 1, "ill", "well")


def proba(model: object, X: object) -> np.ndarray:
    return model.predict_proba(X)  # type: ignore[attr-defined]


@functools.cache
def boosted(library: str, outputs: int) -> tuple[bytes, np.ndarray]:
    """A file's bytes and what the library itself predicts for `table`; `outputs` 1 is a regression."""
    X, y = table()
    y = y if outputs == 2 else X[:, 1] if outputs == 1 else np.digitize(X[:, 0], [-0.5, 0.5])
    if library.startswith("xgboost"):
        model = (xgboost.XGBRegressor if outputs == 1 else xgboost.XGBClassifier)(
            n_estimators=4, max_depth=3
        ).fit(X, y)
        content = bytes(model.get_booster().save_raw(library.removeprefix("xgboost ")))
    elif library == "lightgbm":
        kind = lightgbm.LGBMRegressor if outputs == 1 else lightgbm.LGBMClassifier
        model = kind(n_estimators=4, verbose=-1, min_child_samples=5).fit(X, y)
        content = model.booster_.model_to_string().encode()
    else:
        kind = catboost.CatBoostRegressor if outputs == 1 else catboost.CatBoostClassifier
        model = kind(iterations=4, verbose=0, allow_writing_files=False).fit(X, y)
        content = model._serialize_model()
    return content, model.predict(X)[:, None] if outputs == 1 else proba(model, X)


@pytest.mark.parametrize("outputs", [1, 2, 3])
@pytest.mark.parametrize("library", ["xgboost json", "xgboost ubj", "lightgbm", "catboost"])
def test_boosted_trees_predict_what_their_library_predicts(library: str, outputs: int) -> None:
    X, _ = table()
    content, expected = boosted(library, outputs)
    model = load_model(content)
    np.testing.assert_allclose(model.predict(X), expected, atol=1e-6)
    assert model.task == ("regression" if outputs == 1 else "classification")
    assert len(model.classes) == (0 if outputs == 1 else outputs)
    assert model.inputs == 3
    assert "trees" in model.abilities
    if outputs == 2:
        raw = model.raw(X)
        np.testing.assert_allclose(raw[:, 0], -raw[:, 1])
        np.testing.assert_allclose(1 / (1 + np.exp(-raw[:, 1])), expected[:, 1], atol=1e-6)


def test_digest_is_the_files_own(tmp_path) -> None:
    content, _ = boosted("xgboost json", 2)
    path = tmp_path / "any name.pkl"  # the name decides nothing
    path.write_bytes(content)
    assert load_model(path).digest == load_model(str(path)).digest == hashlib.sha256(content).hexdigest()
    assert load_model(content).digest == hashlib.sha256(content).hexdigest()
    assert load_model(content + b" ").digest != load_model(content).digest


def test_classes_name_the_outputs_and_the_old_labels_stay_known() -> None:
    model = load_model(boosted("lightgbm", 2)[0], classes=["well", "ill"])
    assert model.classes == ("well", "ill")
    assert model.output_of("ill", 2) == model.output_of(1, 2) == 1
    with pytest.raises(UnsupportedModel, match="2 classes; 3 names"):
        load_model(boosted("lightgbm", 2)[0], classes=["a", "b", "c"])


@pytest.mark.parametrize("library", ["xgboost", "lightgbm"])
def test_text_is_recoded_by_the_categories_the_model_has_stored(library: str) -> None:
    frame, y = wards()
    categories = frame.assign(ward=frame["ward"].astype("category"))
    if library == "xgboost":
        fitted = xgboost.XGBClassifier(n_estimators=4, enable_categorical=True, max_cat_to_onehot=1).fit(
            categories, y == "ill"
        )
        content = bytes(fitted.get_booster().save_raw("ubj"))
    else:
        fitted = lightgbm.LGBMClassifier(
            n_estimators=4, verbose=-1, min_child_samples=5, min_data_per_group=1
        )
        fitted.fit(categories, y == "ill")
        content = fitted.booster_.model_to_string().encode()
    model = load_model(content)
    data = Dataset.from_frame(frame[["ward", "dose", "age of"]])  # another order, plain text
    assert model.mismatch(data) is None
    np.testing.assert_allclose(model.predict(data.X), proba(fitted, categories), atol=1e-6)
    np.testing.assert_allclose(model.predict(data.take([7]).X), proba(fitted, categories)[[7]], atol=1e-6)


SKLEARN = {
    "logistic": LogisticRegression(),
    "forest": RandomForestClassifier(5, random_state=0),
    "histogram": HistGradientBoostingClassifier(max_iter=4),
    "neighbours": KNeighborsClassifier(algorithm="kd_tree"),
    "support": SVC(),
}


@pytest.mark.parametrize("name", SKLEARN)
def test_skops_round_trip(name: str) -> None:
    X, y = table()
    fitted = SKLEARN[name].fit(X, y)
    content = skops.io.dumps(fitted)
    model = load_model(content)
    score = (
        proba(fitted, X)
        if hasattr(fitted, "predict_proba")
        else np.c_[-fitted.decision_function(X), fitted.decision_function(X)]
    )
    np.testing.assert_allclose(model.predict(X), score, rtol=0, atol=1e-12)
    assert model.classes == (0, 1)
    assert model.digest == load_model(content).digest


def test_skops_pipeline_with_text_and_a_network() -> None:
    frame, y = wards()
    encode = ColumnTransformer(
        [("n", StandardScaler(), ["age of", "dose"]), ("w", OneHotEncoder(), ["ward"])]
    )
    fitted = make_pipeline(
        encode, MLPClassifier((2,), max_iter=3000, alpha=10.0, random_state=0, solver="lbfgs")
    ).fit(frame, y)
    model = load_model(skops.io.dumps(fitted))
    assert model.features == ("age of", "dose", "ward")
    np.testing.assert_allclose(model.predict(Dataset.from_frame(frame).X), proba(fitted, frame))


def test_skops_refuses_other_types_by_name() -> None:
    X, y = table()
    fitted = xgboost.XGBClassifier(n_estimators=1).fit(X, y)
    with pytest.raises(
        UnsupportedModel, match=r"holds types that are not opened here: .*xgboost.*save_model\('model.json'\)"
    ):
        load_model(skops.io.dumps(fitted))
    with pytest.raises(UnsupportedModel, match="holds a StandardScaler, not a model that predicts"):
        load_model(skops.io.dumps(StandardScaler().fit(X)))


def onnx_bytes(nodes: list, inputs: list, outputs: list, constants: list = (), ml: bool = False) -> bytes:
    graph = helper.make_graph(list(nodes), "g", inputs, outputs, list(constants))
    opsets = [helper.make_opsetid("", 17), *([helper.make_opsetid("ai.onnx.ml", 3)] if ml else [])]
    return helper.make_model(
        graph, opset_imports=opsets, ir_version=8, producer_name="test"
    ).SerializeToString()


WEIGHT = np.array([[1.0, -2.0, 0.5], [0.5, 1.0, -1.0], [2.0, 0.0, 1.0]], np.float32)


def linear_onnx(ending: str | None, outputs: int = 3, batch: int | str = "n", name: str = "out") -> bytes:
    """``x @ WEIGHT[:, :outputs]``, and a last operator where one is named."""
    nodes = [helper.make_node("MatMul", ["x", "w"], ["z"])]
    nodes.append(helper.make_node(ending or "Identity", ["z"], [name]))
    value = helper.make_tensor_value_info
    return onnx_bytes(
        nodes,
        [value("x", TensorProto.FLOAT, [batch, 3])],
        [value(name, TensorProto.FLOAT, [batch, outputs])],
        [numpy_helper.from_array(WEIGHT[:, :outputs].copy(), "w")],
    )


def softmax(z: np.ndarray) -> np.ndarray:
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


@pytest.mark.parametrize(
    ("ending", "classes", "task", "count"),
    [
        (None, None, "regression", 0),
        ("Softmax", None, "classification", 3),
        ("LogSoftmax", None, "classification", 3),
        (None, ["a", "b", "c"], "classification", 3),
    ],
)
def test_onnx_outputs_are_told_apart(ending, classes, task, count) -> None:
    X = table()[0].astype(np.float32)
    model = load_model(linear_onnx(ending), classes=classes)
    z = X @ WEIGHT
    assert (model.task, len(model.classes), model.inputs) == (task, count, 3)
    np.testing.assert_allclose(model.predict(X), softmax(z) if count else z, atol=1e-5)
    assert model.module is not None
    assert model.notes[:-1] == ()  # nothing but what was trusted


def test_onnx_sigmoid_is_the_second_class() -> None:
    X = table()[0].astype(np.float32)
    expected = 1 / (1 + np.exp(-(X @ WEIGHT[:, 0])))
    for content, classes in ((linear_onnx("Sigmoid", 1), None), (linear_onnx(None, 1), ["no", "yes"])):
        model = load_model(content, classes=classes)
        np.testing.assert_allclose(model.predict(X)[:, 1], expected, atol=1e-6)
        assert len(model.classes) == 2
    np.testing.assert_allclose(model.raw(X)[:, 1], X @ WEIGHT[:, 0], atol=1e-5)


@pytest.mark.parametrize("batch", [1, 7])
def test_onnx_of_a_fixed_batch_predicts_any_number_of_rows(batch: int) -> None:
    X = table()[0].astype(np.float32)
    model = load_model(linear_onnx(None, batch=batch))
    np.testing.assert_allclose(model.predict(X), X @ WEIGHT, atol=1e-5)
    np.testing.assert_allclose(model.predict(X[:3]), X[:3] @ WEIGHT, atol=1e-5)


@pytest.mark.parametrize("zipmap", [True, False])
def test_onnx_classifiers_of_scikit_learn_answer_labels_and_probabilities(zipmap: bool) -> None:
    X, y = table()
    fitted = LogisticRegression().fit(X, np.where(y == 1, "yes", "no"))
    value = helper.make_tensor_value_info
    classifier = helper.make_node(
        "LinearClassifier", ["x"], ["label", "probabilities"], domain="ai.onnx.ml",
        coefficients=np.r_[-fitted.coef_[0], fitted.coef_[0]].tolist(),
        intercepts=[-fitted.intercept_[0], fitted.intercept_[0]],
        classlabels_strings=["no", "yes"], post_transform="LOGISTIC", multi_class=0,
    )  # fmt: skip
    outputs = [value("label", TensorProto.STRING, ["n"])]
    nodes = [classifier]
    if zipmap:
        nodes.append(
            helper.make_node(
                "ZipMap", ["probabilities"], ["maps"], domain="ai.onnx.ml", classlabels_strings=["no", "yes"]
            )
        )
        pairs = helper.make_map_type_proto(
            TensorProto.STRING, helper.make_tensor_type_proto(TensorProto.FLOAT, [])
        )
        outputs.append(helper.make_value_info("maps", helper.make_sequence_type_proto(pairs)))
    else:
        outputs.append(value("probabilities", TensorProto.FLOAT, ["n", 2]))
    content = onnx_bytes(nodes, [value("x", TensorProto.FLOAT, ["n", 3])], outputs, ml=True)
    model = load_model(content)
    assert model.classes == ("no", "yes")
    np.testing.assert_allclose(model.predict(X), proba(fitted, X), atol=1e-5)
    assert model.module is not None
    answer = model.module(torch.as_tensor(np.asarray(X), dtype=torch.float32))
    np.testing.assert_allclose(answer, proba(fitted, X), atol=1e-5)


def test_onnx_with_one_input_for_each_column_takes_them_by_name() -> None:
    value = helper.make_tensor_value_info
    nodes = [helper.make_node("Sub", ["age", "dose"], ["out"])]
    inputs = [value("age", TensorProto.FLOAT, ["n", 1]), value("dose", TensorProto.FLOAT, ["n", 1])]
    model = load_model(onnx_bytes(nodes, inputs, [value("out", TensorProto.FLOAT, ["n", 1])]))
    frame = pd.DataFrame({"dose": [1.0, 2.0], "age": [5.0, 9.0]})
    assert model.features == ("age", "dose")
    assert model.predict(frame).ravel().tolist() == [4.0, 7.0]
    with pytest.raises(SchemaMismatch, match=r"needs 'age'.*does not know: 'years'"):
        model.check(Dataset.from_frame(frame.rename(columns={"age": "years"})))


def test_onnx_pictures_keep_their_shape_and_others_are_named() -> None:
    value = helper.make_tensor_value_info
    nodes = [helper.make_node("GlobalAveragePool", ["x"], ["out"])]
    shape = ["n", 2, 4, 4]
    content = onnx_bytes(
        nodes, [value("x", TensorProto.FLOAT, shape)], [value("out", TensorProto.FLOAT, ["n", 2, 1, 1])]
    )
    model = load_model(content)
    images = np.random.default_rng(0).random((5, 2, 4, 4)).astype(np.float32)
    assert model.inputs == (2, 4, 4)
    np.testing.assert_allclose(model.predict(images), images.mean((2, 3)), atol=1e-6)
    with pytest.raises(SchemaMismatch, match=r"takes cases of shape 2 × 4 × 4; these data have 1 × 4 × 4"):
        model.check(Dataset.from_images(images[:, 0]))
    with pytest.raises(SchemaMismatch, match="these data are a table"):
        model.check(Dataset.from_frame(pd.DataFrame({"a": [1.0]})))


def test_onnx_columns_are_counted() -> None:
    model = load_model(linear_onnx(None))
    frame = pd.DataFrame(table()[0], columns=["a", "b", "c"])
    model.check(Dataset.from_frame(frame))
    with pytest.raises(SchemaMismatch, match=r"takes 3 columns; these data have 4: .*'d'.*leave 1 out"):
        model.check(Dataset.from_frame(frame.assign(d=1.0)))
    with pytest.raises(SchemaMismatch, match=r"2: 'a', 'b'. 1 are missing"):
        model.check(Dataset.from_frame(frame[["a", "b"]]))
    text = Dataset.from_frame(frame.assign(c="x"))
    with pytest.raises(UnsupportedModel, match="takes numbers; these data hold text"):
        model.check(text)


def test_unsafe_onnx_is_refused() -> None:
    content = onnx.ModelProto.FromString(linear_onnx(None))
    content.graph.node[1].domain = "com.example"
    content.opset_import.append(helper.make_opsetid("com.example", 1))
    with pytest.raises(UnsupportedModel, match="operators outside the ONNX standard"):
        load_model(content.SerializeToString())
    labels = [helper.make_node("ArgMax", ["x"], ["out"], axis=1)]
    value = helper.make_tensor_value_info
    answer = onnx_bytes(
        labels, [value("x", TensorProto.FLOAT, ["n", 3])], [value("out", TensorProto.INT64, ["n", 1])]
    )
    with pytest.raises(UnsupportedModel, match="answers labels only"):
        load_model(answer)


@functools.cache
def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 2, 3, padding="same"), nn.BatchNorm2d(2), nn.ReLU(), nn.AdaptiveAvgPool2d((2, 2)), nn.Flatten(),
        nn.Linear(8, 3),
    ).eval()  # fmt: skip


LAYERS = [
    {"layer": "Conv2d", "in_channels": 1, "out_channels": 2, "kernel_size": 3, "padding": "same"},
    {"layer": "BatchNorm2d", "num_features": 2},
    {"layer": "ReLU"},
    {"layer": "AdaptiveAvgPool2d", "output_size": [2, 2]},
    {"layer": "Flatten"},
    {"layer": "Linear", "in_features": 8, "out_features": 3},
]


def weights(kind: str, tensors: dict | None = None) -> bytes:
    tensors = dict(network().state_dict()) if tensors is None else tensors
    if kind == "safetensors":
        return safetensors.torch.save({k: v.contiguous() for k, v in tensors.items()})
    buffer = io.BytesIO()
    torch.save(tensors, buffer, _use_new_zipfile_serialization=kind == "torch")
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["safetensors", "torch", "torch legacy"])
@pytest.mark.parametrize("classes", [None, ("a", "b", "c")])
def test_weights_with_a_declared_architecture(kind: str, classes, tmp_path) -> None:
    images = torch.rand((5, 1, 6, 6), generator=torch.Generator().manual_seed(0))
    path = tmp_path / "architecture.json"
    path.write_text(json.dumps({"layers": LAYERS, "input": [1, 6, 6], "classes": classes}))
    model = load_model(weights(kind), path)
    expected = network()(images).detach()
    expected = expected.softmax(1) if classes else expected
    np.testing.assert_allclose(model.predict(images.numpy()), expected.numpy(), atol=1e-6)
    assert model.classes == (classes or ())
    assert model.inputs == (1, 6, 6)
    assert {"gradients", "layers"} <= model.abilities
    assert model.digest == load_model(weights(kind), path.read_bytes()).digest
    assert model.digest != load_model(weights(kind), {"layers": LAYERS}).digest


def test_prefixes_find_the_tensors_of_a_named_module() -> None:
    torch.manual_seed(0)
    tensors = {"body.fc.weight": torch.randn(2, 3), "body.fc.bias": torch.zeros(2)}
    plan = [
        {"layer": "Linear", "in_features": 3, "out_features": 2, "weights": "body.fc"},
        {"layer": "Softmax"},
    ]
    model = load_model(weights("safetensors", tensors), plan)
    X = table()[0].astype(np.float32)
    np.testing.assert_allclose(model.predict(X), softmax(X @ tensors["body.fc.weight"].numpy().T), atol=1e-6)
    assert (model.classes, model.inputs) == (("0", "1"), 3)


def changed(position: int, **settings) -> list:
    return [{**layer, **settings} if i == position else layer for i, layer in enumerate(LAYERS)]


@pytest.mark.parametrize(
    ("architecture", "sentence"),
    [
        (None, "holds weights only .*Declare the layers"),
        ({"layers": []}, "architecture is not valid: layers: List should have at least 1 item"),
        ({"layers": [{"layer": "Lambda"}]}, "layer 0 is 'Lambda'; known layers are"),
        ({"layers": [{"layer": "system"}]}, "layer 0 is 'system'"),
        ({"layers": ["Linear"]}, "layer 0 is None"),
        ({"layers": LAYERS, "code": "x"}, "code: Extra inputs are not permitted"),
        (
            {"layers": changed(5, out_features=0)},
            r"layer 5 \(Linear\): out_features: Input should be greater",
        ),
        ({"layers": changed(5, colour="red")}, r"layer 5 \(Linear\): colour: Extra inputs"),
        ({"layers": changed(0, groups=3)}, r"layer 0 \(Conv2d\): .*divisible by groups"),
        ({"layers": LAYERS[:5]}, "In the file but not declared: '5.bias', '5.weight'"),
        (
            {"layers": [*LAYERS, {"layer": "Linear", "in_features": 3, "out_features": 1}]},
            "Missing in the file: '6.weight', '6.bias'",
        ),
        ({"layers": changed(5, in_features=9)}, r"5.weight is \(3, 8\) in the file and \(3, 9\) declared"),
        (
            {"layers": changed(3, output_size=3), "input": [1, 6, 6]},
            r"layer 5 \(Linear\) cannot take \(18,\)",
        ),
        ({"layers": LAYERS, "classes": ["a", "b"]}, "3 classes; 2 names were given"),
        (b"{not json", "not valid JSON"),
    ],
)
def test_architectures_are_refused_with_the_layer_named(architecture, sentence: str) -> None:
    with pytest.raises((UnsupportedModel, UnreadableFile), match=sentence):
        load_model(weights("safetensors"), architecture)


def test_weights_that_are_no_numbers_are_refused() -> None:
    plan = [{"layer": "Linear", "in_features": 2, "out_features": 1, "bias": False}]
    with pytest.raises(UnsupportedModel, match=r"'0.weight' holds torch.int64"):
        load_model(weights("safetensors", {"0.weight": torch.ones(1, 2, dtype=torch.int64)}), plan)
    with pytest.raises(UnreadableFile, match=r"'0.weight' holds NaN or infinity"):
        load_model(weights("safetensors", {"0.weight": torch.tensor([[1.0, torch.nan]])}), plan)
    giant = torch.empty(1).expand(1 << 20, 1 << 20)
    with pytest.raises(UnreadableFile, match="claims more numbers than it holds"):
        load_model(weights("torch", {"0.weight": giant}), plan)
    with pytest.raises(UnsupportedModel, match="torch file without a state dict"):
        load_model(weights("torch", [torch.ones(1)]), plan)


@pytest.mark.parametrize("name", sorted(KNOWN))
def test_every_layer_of_the_allow_list_is_a_layer_of_torch(name: str) -> None:
    assert issubclass(getattr(nn, name), nn.Module)


def test_an_architecture_belongs_to_weights_only() -> None:
    with pytest.raises(UnsupportedModel, match=r"brings its own structure. Leave the architecture out"):
        load_model(boosted("lightgbm", 1)[0], {"layers": LAYERS})


def test_a_missing_library_is_named_with_its_extra(monkeypatch) -> None:
    content = boosted("catboost", 1)[0]
    monkeypatch.setitem(sys.modules, "catboost", None)
    with pytest.raises(
        UnsupportedModel, match=r'not installed. Install it: pip install "whyboard\[catboost\]"'
    ):
        load_model(content)


@pytest.mark.parametrize("library", ["xgboost json", "xgboost ubj", "lightgbm"])
def test_these_files_are_read_without_their_library(library: str, monkeypatch) -> None:
    content, expected = boosted(library, 2)
    monkeypatch.setitem(sys.modules, library.split(" ")[0], None)
    np.testing.assert_allclose(load_model(content).predict(table()[0]), expected, atol=1e-6)


def test_xgboost_with_vector_leaves_is_refused_by_name() -> None:
    X, y = table()
    fitted = xgboost.XGBRegressor(n_estimators=1, multi_strategy="multi_output_tree", tree_method="hist").fit(
        X, np.c_[y, y]
    )
    with pytest.raises(UnsupportedModel, match=r"several values in a leaf. Train it with multi_strategy="):
        load_model(bytes(fitted.get_booster().save_raw("json")))


def test_pruned_linear_and_dart_boosters_pass_the_check() -> None:
    X, _ = table()
    settings = [
        {"gamma": 3.0, "tree_method": "exact"},
        {"booster": "dart"},
        {"booster": "gblinear", "updater": "coord_descent"},
    ]
    for setting in settings:
        booster = xgboost.train(setting, xgboost.DMatrix(X, X[:, 1]), 3)
        for form in ("json", "ubj"):
            model = load_model(bytes(booster.save_raw(form)))
            np.testing.assert_allclose(model.predict(X)[:, 0], booster.predict(xgboost.DMatrix(X)), atol=1e-6)
    assert "trees" not in model.abilities  # gblinear


def test_ubj_holds_the_same_as_json() -> None:
    def plain(value):
        if isinstance(value, dict):
            return {key: plain(part) for key, part in value.items()}
        return [plain(part) for part in value] if isinstance(value, (list, np.ndarray)) else value

    X, y = table()
    booster = xgboost.train({"max_depth": 2, "objective": "binary:logistic"}, xgboost.DMatrix(X, y), 2)
    from_json, from_ubj = json.loads(booster.save_raw("json")), plain(decode(bytes(booster.save_raw("ubj"))))
    trees = [model["learner"]["gradient_booster"]["model"]["trees"] for model in (from_json, from_ubj)]
    for one, other in zip(*trees, strict=True):
        assert one["left_children"] == other["left_children"]
        np.testing.assert_allclose(one["split_conditions"], other["split_conditions"], rtol=1e-6)
    assert from_json["learner"]["objective"] == from_ubj["learner"]["objective"]
    assert decode(b"{i\x01ai\x05i\x01b[$U#i\x02\x01\x02}")["a"] == 5


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"{i\x01a",
        b"[$d#L\x7f\xff\xff\xff\xff\xff\xff\xff",
        b"{i\x01aTi\x01aF}",
        b"Q",
        b"TT",
        b"[#i\xff",
    ],
)
def test_broken_ubj_is_an_error_and_not_a_crash(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"early|twice|unknown mark|follow|negative|length"):
        decode(content)


@pytest.mark.parametrize("fitted", [LinearRegression(), RandomForestRegressor(3, random_state=0)])
def test_a_loaded_model_can_be_explained(fitted) -> None:
    from explainers import PartialDependence

    X, _ = table()
    frame = pd.DataFrame(X, columns=list("abc"))
    model = load_model(skops.io.dumps(fitted.fit(frame, X[:, 0])))
    result = explain(model, Dataset.from_frame(frame), PartialDependence(), rows=[0, 1])
    assert result.provenance["model"] == model.digest
    assert Model.wrap(fitted).digest.startswith("object:")
