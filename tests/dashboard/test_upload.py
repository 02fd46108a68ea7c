"""Opening one's own: what fits becomes a workspace, what does not is named, and nothing gets further than the checklist."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import skops.io
import torch
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

import explainers as ex
from dashboard.opening.assembling import Check, assemble
from dashboard.opening.columns import preview
from dashboard.panels import CASE_TABLE
from dashboard.selection import Selection
from dashboard.view import View
from tests.cases import patients
from tests.dashboard.in_process import compute

FEATURES = ["age", "dose"]


def table(n: int = 60) -> pd.DataFrame:
    """Two numbers and an outcome of 0 and 1."""
    frame = patients(n)[["age", "dose", "outcome", "part"]].rename(columns={"part": "role"})
    return frame.assign(outcome=(frame["outcome"] == "ill").astype(int))


def skops_model(frame: pd.DataFrame, features: list[str] = FEATURES, target: str = "outcome") -> ex.Model:
    estimator = LogisticRegression(max_iter=300).fit(frame[features], frame[target])
    return ex.load_model(skops.io.dumps(estimator), name="model.skops")


def csv(frame: pd.DataFrame) -> ex.Dataset:
    """As it is read from a dropped file."""
    return ex.load_dataset(frame.to_csv(index=False).encode(), name="cases.csv")


def uses(rows: pd.DataFrame) -> dict[str, str]:
    return dict(zip(rows["column"], rows["use"], strict=True))


def failed(checks: list[Check]) -> list[str]:
    return [check.text for check in checks if not check.holds]


def xgboost_model(frame: pd.DataFrame) -> ex.Model:
    xgboost = pytest.importorskip("xgboost")
    estimator = xgboost.XGBClassifier(n_estimators=5, max_depth=2).fit(frame[FEATURES], frame["outcome"])
    return ex.load_model(bytes(estimator.get_booster().save_raw("json")), name="model.json")


def lightgbm_model(frame: pd.DataFrame, features: list[str] = FEATURES) -> ex.Model:
    lightgbm = pytest.importorskip("lightgbm")
    data = lightgbm.Dataset(frame[features], frame["outcome"])
    booster = lightgbm.train(
        {"objective": "binary", "verbose": -1, "num_leaves": 4, "min_data_in_leaf": 3}, data, 5
    )
    return ex.load_model(booster.model_to_string().encode(), name="model.txt")


def onnx_model(frame: pd.DataFrame) -> ex.Model:
    """``sigmoid(age / 100 + dose - 2.5)`` as a graph of two inputs."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    weights = numpy_helper.from_array(np.array([[0.01], [1.0]], np.float32), "w")
    bias = numpy_helper.from_array(np.array([-2.5], np.float32), "b")
    nodes = [helper.make_node("Gemm", ["x", "w", "b"], ["s"]), helper.make_node("Sigmoid", ["s"], ["p"])]
    given, answer = (
        helper.make_tensor_value_info(n, TensorProto.FLOAT, ["n", k]) for n, k in (("x", 2), ("p", 1))
    )
    graph = helper.make_graph(nodes, "g", [given], [answer], [weights, bias])
    file = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return ex.load_model(onnx.ModelProto.SerializeToString(file), name="model.onnx", classes=("0", "1"))


@pytest.mark.parametrize(
    "make", [skops_model, xgboost_model, lightgbm_model, onnx_model], ids=lambda make: make.__name__
)
def test_a_model_and_its_table_become_a_workspace_that_opens(make: Any) -> None:
    frame = table()
    model, data = make(frame), csv(frame)
    rows = preview(model, data)
    if model.features is None:  # it does not say which columns are its own
        rows.loc[rows["column"] == "outcome", "use"] = "true outcome"
    assert uses(rows) == {
        "age": "feature",
        "dose": "feature",
        "outcome": "true outcome",
        "role": "train/test role",
    }
    workspace, checks = assemble(model, data, rows, tuple(map(str, model.classes)), "cases.csv")
    assert failed(checks) == []
    assert workspace is not None
    assert workspace.private
    assert workspace.data.schema.names == ("age", "dose")
    assert len(workspace.rows) == 15
    np.testing.assert_array_equal(workspace.data.y, frame["outcome"])
    view = View(workspace, Selection(row=int(workspace.rows[0])), compute())
    assert 0 < view.score < 1
    for panel in CASE_TABLE.panels:
        assert panel.blocks(view), panel.name


def test_what_is_shown_of_each_column() -> None:
    frame = patients().rename(columns={"part": "split"})
    shown = preview(None, csv(frame)).set_index("column")
    assert shown["kind"].to_dict() == {
        "age": "integer", "dose": "number", "ward": "category", "smoker": "boolean", "outcome": "category", "split": "category",
    }  # fmt: skip
    assert shown.loc["age", "example"] == str(frame["age"][0])
    assert shown.loc["split", "use"] == "train/test role"
    assert shown.loc["outcome", "use"] == "feature"  # without a model nobody knows


def test_a_category_and_a_pipeline_travel_through() -> None:
    frame = patients(60)
    columns = make_column_transformer((OneHotEncoder(sparse_output=False), ["ward"]), remainder="passthrough")
    features = ["age", "dose", "ward", "smoker"]
    estimator = make_pipeline(columns, LogisticRegression(max_iter=1000)).fit(
        frame[features], frame["outcome"]
    )
    model = ex.load_model(skops.io.dumps(estimator), name="model.skops")
    data = csv(frame)
    workspace, checks = assemble(model, data, preview(model, data), ("ill", "well"), "cases.csv")
    assert failed(checks) == []
    assert workspace is not None
    np.testing.assert_allclose(
        workspace.models[0].model.predict(workspace.data.X), estimator.predict_proba(frame[features])
    )


def test_blanks_in_the_names_are_no_obstacle_where_the_format_stores_none() -> None:
    frame = table().rename(columns={"age": "age at entry", "dose": "dose given"})
    model, data = lightgbm_model(frame, ["age at entry", "dose given"]), csv(frame)
    assert uses(preview(model, data))["age at entry"] == "feature"
    workspace, checks = assemble(model, data, preview(model, data), (), "cases.csv")
    assert failed(checks) == []
    assert workspace is not None


def test_a_model_that_does_not_fit_names_what_is_missing_and_what_is_too_much() -> None:
    model = skops_model(table())
    other = table().rename(columns={"dose": "amount"})
    data = csv(other)
    workspace, checks = assemble(model, data, preview(model, data), (), "cases.csv")
    assert workspace is None
    (text,) = failed(checks)
    assert "'dose'" in text
    rows = preview(model, data)
    rows.loc[rows["column"] == "amount", "use"] = "feature"
    (text,) = failed(assemble(model, data, rows, (), "cases.csv")[1])
    assert "'dose'" in text
    assert "'amount'" in text


def test_a_column_too_many_is_ignored_and_kept_to_look_at() -> None:
    frame = table().assign(note="x")
    model, data = skops_model(frame), csv(frame)
    assert uses(preview(model, data))["note"] == "ignore"
    workspace, checks = assemble(model, data, preview(model, data), (), "cases.csv")
    assert failed(checks) == []
    assert workspace is not None
    assert workspace.data.schema.names == ("age", "dose")


def test_unknown_labels_of_the_target_are_named_with_the_classes() -> None:
    frame = table()
    model, data = skops_model(frame), csv(frame.assign(outcome=["maybe", "never"] * 30))
    rows = preview(model, data)
    assert uses(rows)["outcome"] == "ignore"  # not offered as the truth
    rows.loc[rows["column"] == "outcome", "use"] = "true outcome"
    workspace, checks = assemble(model, data, rows, (), "cases.csv")
    assert workspace is None
    (text,) = failed(checks)
    assert "'maybe'" in text
    assert "classes are 0, 1" in text


def test_one_class_alone_in_the_data_is_fine() -> None:
    frame = table()
    model, data = skops_model(frame), csv(frame.assign(outcome=1))
    workspace, checks = assemble(model, data, preview(model, data), ("well", "ill"), "cases.csv")
    assert failed(checks) == []
    assert workspace is not None
    view = View(workspace, Selection(row=int(workspace.rows[0])), compute())
    assert (view.truth == 1).all()
    assert view.class_name == "ill"
    for panel in CASE_TABLE.panels:
        assert panel.blocks(view), panel.name


def test_without_an_outcome_it_opens_and_says_so() -> None:
    frame = table()
    model, data = skops_model(frame), csv(frame[FEATURES])
    workspace, checks = assemble(model, data, preview(model, data), (), "cases.csv")
    assert workspace is not None
    assert workspace.data.y is None
    assert any("No true outcome" in check.title for check in checks)


@pytest.mark.slow
def test_five_thousand_columns() -> None:
    rng = np.random.default_rng(0)
    names = [f"gene {i}" for i in range(5000)]
    frame = pd.DataFrame(rng.normal(size=(12, 5000)).round(2), columns=names)
    frame["outcome"] = [0, 1] * 6
    model = skops_model(frame, names)
    data = csv(frame)
    rows = preview(model, data)
    assert (rows["use"] == "feature").sum() == 5000
    workspace, checks = assemble(model, data, rows, (), "genes.csv")
    assert failed(checks) == []
    assert workspace is not None
    assert workspace.data.matrix.shape == (12, 5000)


def test_columns_of_the_same_name_are_refused_by_name() -> None:
    with pytest.raises(ex.ExplainerError, match="age"):
        ex.load_dataset(b"age,dose,age\n1,2,3\n4,5,6\n", name="cases.csv")


@pytest.mark.parametrize("use", ["true outcome", "train/test role"])
def test_only_one_column_can_be_the_outcome_or_the_role(use: str) -> None:
    frame = table()
    model, data = skops_model(frame), csv(frame)
    rows = preview(model, data)
    rows.loc[rows["column"].isin(["outcome", "role"]), "use"] = use
    workspace, checks = assemble(model, data, rows, (), "cases.csv")
    assert workspace is None
    assert failed(checks) == [f"Only one column can be the {use}; you chose 'outcome', 'role'."]


def test_a_wrong_role_column_says_what_roles_are() -> None:
    frame = table()
    model, data = skops_model(frame), csv(frame.drop(columns="role").assign(ward=["east", "west"] * 30))
    rows = preview(model, data)
    rows.loc[rows["column"] == "ward", "use"] = "train/test role"
    workspace, checks = assemble(model, data, rows, (), "cases.csv")
    assert workspace is None
    (text,) = failed(checks)
    assert "train, calibrate, test" in text
    assert "'east'" in text


@pytest.mark.parametrize(
    ("role", "browsed", "unknown"), [("test", 60, False), ("train", 60, False), (None, 60, True)]
)
def test_one_role_for_all_rows(role: str | None, browsed: int, unknown: bool) -> None:
    frame = table().drop(columns="role")
    model, data = skops_model(frame), csv(frame)
    workspace, checks = assemble(model, data, preview(model, data), (), "cases.csv", role)
    assert failed(checks) == []
    assert workspace is not None
    assert len(workspace.rows) == browsed
    assert workspace.unknown_roles is unknown
    assert set(workspace.data.role) == {role or "unknown"}


def test_corrected_kinds_units_and_change_reach_the_schema() -> None:
    frame = table()
    model, data = skops_model(frame), csv(frame)
    rows = preview(model, data)
    rows.loc[rows["column"] == "age", ["unit", "change"]] = ["years", "immutable"]
    rows.loc[rows["column"] == "dose", "kind"] = "category"
    workspace, checks = assemble(model, data, rows, (), "cases.csv")
    assert failed(checks) == []
    assert workspace is not None
    age, dose = (workspace.data.schema.feature(name) for name in FEATURES)
    assert (age.unit, age.change) == ("years", "immutable")
    assert dose.kind == "category"
    assert dose.categories == tuple(sorted(frame["dose"].unique()))


def test_a_number_with_too_many_values_is_no_category() -> None:
    frame = table(300)
    model, data = skops_model(frame), csv(frame.assign(dose=np.arange(300) / 7))
    rows = preview(model, data)
    rows.loc[rows["column"] == "dose", "kind"] = "category"
    workspace, checks = assemble(model, data, rows, (), "cases.csv")
    assert workspace is None
    assert "300 different values" in failed(checks)[0]


def test_names_of_the_classes_are_those_given() -> None:
    frame = table()
    model, data = skops_model(frame), csv(frame)
    workspace, _ = assemble(model, data, preview(model, data), ("well", "ill"), "cases.csv")
    assert workspace is not None
    assert workspace.models[0].model.classes == ("well", "ill")
    view = View(workspace, Selection(), compute())
    np.testing.assert_array_equal(view.truth, frame["outcome"])


def test_the_same_upload_has_the_same_place_and_another_model_another() -> None:
    frame = table()
    estimators = [LogisticRegression(C=c).fit(frame[FEATURES], frame["outcome"]) for c in (1.0, 0.1)]
    files = [skops.io.dumps(estimator) for estimator in estimators]

    def key(file: bytes) -> str:
        model, data = ex.load_model(file, name="model.skops"), csv(frame)
        workspace, _ = assemble(model, data, preview(model, data), (), "cases.csv")
        assert workspace is not None
        return workspace.key

    assert key(files[0]) == key(files[0])
    assert key(files[1]) != key(files[0])


def test_pictures_and_a_model_of_tables_do_not_fit() -> None:
    file = io.BytesIO()
    np.savez(file, images=np.zeros((4, 8, 8), np.uint8), labels=np.array([0, 1, 0, 1]))
    data = ex.load_dataset(file.getvalue(), name="pictures.npz")
    workspace, checks = assemble(skops_model(table()), data, None, (), "pictures.npz")
    assert workspace is None
    assert failed(checks)


def test_pictures_open_with_a_network_for_them() -> None:
    from dashboard.library import assets

    folder: Path = assets() / "digits"
    model = ex.load_model((folder / "digits.onnx").read_bytes(), name="digits.onnx")
    data = ex.load_dataset((folder / "digits.npz").read_bytes(), name="digits.npz")
    workspace, checks = assemble(model, data, None, (), "digits.npz")
    assert failed(checks) == []
    assert workspace is not None
    assert workspace.data.modality == "image"


def test_what_mends_an_upload_of_pictures_is_named_as_the_form_names_it() -> None:
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 3, 8), torch.nn.Flatten())
    scores = dataclasses.replace(ex.Model.wrap(net), inputs=(3, 8, 8))
    labels = np.array(["red", "blue", "green"])

    def told(model: ex.Model, side: int = 8) -> str:
        data = ex.Dataset.from_images(np.zeros((3, side, side, 3), np.uint8), labels)
        _, checks = assemble(model, data, None, (), "pictures.npz")
        return " ".join(check.text for check in checks if not check.holds)

    assert "holds 'blue', 'green', 'red', and the model seems to answer numbers" in told(scores)
    assert told(scores).endswith("chosen above, under “What does it return?”.")
    classifier = dataclasses.replace(ex.Model.wrap(net, classes=("0", "1", "2")), inputs=(3, 8, 8))
    assert told(classifier).endswith(
        "Names of the classes are given above, in the order of the model's outputs."
    )
    assert "“Size”" not in told(classifier) + told(scores)
    assert "Write 8 × 8 into “Size” above" in told(classifier.with_classes(("red", "blue", "green")), side=16)
