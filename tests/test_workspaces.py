"""The prepared workspaces can be opened, and what their stories promise is really in the models.

A planted effect that no model uses would make a story untrue, so each is measured here against its recipe's
own formula.
"""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pandas as pd
import pytest
import skops.io
from scipy.special import expit
from threadpoolctl import threadpool_limits

ASSETS = Path(__file__).parent.parent / "assets"
sys.path.insert(0, str(ASSETS))  # the recipes are a script's modules, not part of an installed package

from recipes import credit, pneumonia, scans  # noqa: E402 - found by the line above
from recipes.writing import largest_move, slider_reach  # noqa: E402 - likewise

SLUGS = ("pneumonia", "credit", "scans", "breast-cancer", "diabetes", "digits")
TABLES = ("pneumonia", "credit", "breast-cancer", "diabetes")
TRUSTED = ["sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor"]
Predict = Callable[[pd.DataFrame], np.ndarray]


@pytest.fixture(autouse=True)
def single_thread() -> Iterator[None]:
    """The arrays are small: more threads would mostly wait for one another."""
    with threadpool_limits(1):
        yield


def folder(slug: str) -> Path:
    return ASSETS / "workspaces" / slug


def described(slug: str) -> dict[str, Any]:
    return tomllib.loads((folder(slug) / "workspace.toml").read_text(encoding="utf-8"))


def table(slug: str) -> pd.DataFrame:
    return pd.read_parquet(folder(slug) / "cases.parquet")


def columns(slug: str) -> list[str]:
    """What the models take: the columns that are neither truth, role nor kept for looking at."""
    data = described(slug)["data"]
    return [
        name for name in table(slug) if name not in {data["target"], data["role"], *data.get("ignore", [])}
    ]


def opened(slug: str, file: str) -> Any:
    return skops.io.load(folder(slug) / file, trusted=TRUSTED)


def positive(slug: str, file: str) -> Predict:
    """The probability of the second class."""
    model = opened(slug, file)
    return lambda rows: model.predict_proba(rows[columns(slug)])[:, 1]


def run(slug: str, file: str, images: np.ndarray) -> np.ndarray:
    """Probabilities of uint8 pictures, scaled as the description says."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(folder(slug) / file, options, providers=["CPUExecutionProvider"])
    scale = np.float32(described(slug)["images"]["pixel_scale"])
    return session.run(None, {"images": images.astype(np.float32) / scale})[0]


# Every workspace


@pytest.mark.parametrize("slug", SLUGS)
def test_description_names_what_is_there(slug: str) -> None:
    about = described(slug)
    files = [about["data"]["file"], *(model["file"] for model in about["models"])]
    assert {"workspace.toml", *files} == {file.name for file in folder(slug).iterdir()}
    assert set(about["workspace"]) == {
        "title",
        "summary",
        "story",
        "synthetic",
        "order",
        "subject",
        "subjects",
    }


def test_orders_differ_and_everything_is_small() -> None:
    assert sorted(described(slug)["workspace"]["order"] for slug in SLUGS) == [1, 2, 3, 4, 5, 6]
    sizes = {file: file.stat().st_size for slug in SLUGS for file in folder(slug).iterdir()}
    assert sum(sizes.values()) < 6e6
    assert max(size for file, size in sizes.items() if file.suffix == ".skops") < 1.5e6


@pytest.mark.parametrize("slug", TABLES)
def test_table_and_description_agree(slug: str) -> None:
    about, cases = described(slug), table(slug)
    assert set(cases["role"]) == {"test", "train"}
    assert cases.loc[about["view"]["case"], "role"] == "test"
    assert cases.notna().all(axis=None)
    for feature in about.get("features", []):
        values = cases[feature["name"]]
        if "categories" in feature:
            assert set(values) == set(feature["categories"]), feature["name"]
        else:
            assert values.min() >= feature["low"], feature["name"]
            assert values.max() <= feature.get("high", np.inf), feature["name"]
    for relation in about.get("relations", []):
        assert (cases[relation["feature"]] <= cases[relation["other"]]).all(), relation


@pytest.mark.parametrize("slug", ["scans", "digits"])
def test_pictures_and_description_agree(slug: str) -> None:
    about, data = described(slug), np.load(folder(slug) / described(slug)["data"]["file"])
    assert data["images"].dtype == np.uint8
    assert data["images"].max() <= about["images"]["pixel_scale"]
    assert len(data["images"]) == len(data["labels"]) == len(data["role"])
    assert set(data["role"]) == {"test", "train"}
    assert data["role"][about["view"]["case"]] == "test"
    for model in about["models"]:
        for n in (1, 7):
            chances = run(slug, model["file"], data["images"][:n])
            assert chances.shape == (n, len(model["classes"]))
            np.testing.assert_allclose(chances.sum(1), 1, atol=1e-5)


@pytest.mark.parametrize("slug", TABLES)
def test_skops_models_need_no_more_trust_than_the_trees(slug: str) -> None:
    for model in described(slug)["models"]:
        needed = skops.io.get_untrusted_types(file=folder(slug) / model["file"])
        assert set(needed) <= set(TRUSTED), model["file"]
        assert list(opened(slug, model["file"]).feature_names_in_) == columns(slug)


def test_network_files_say_nothing_about_where_they_were_made() -> None:
    for file in (ASSETS / "workspaces").rglob("*.onnx"):
        network = onnx.load(file)
        assert not network.metadata_props, file.name
        assert not any(node.metadata_props or node.doc_string for node in network.graph.node), file.name


# Pneumonia


def test_pneumonia_is_what_the_recipe_draws() -> None:
    drawn = pneumonia.draw(pneumonia.TRAIN + pneumonia.TEST, seed=pneumonia.SEED)[
        pneumonia.TRAIN :
    ].reset_index(drop=True)
    pd.testing.assert_frame_equal(table("pneumonia")[: pneumonia.TEST].drop(columns="role"), drawn)


def test_asthma_lowers_the_estimate_where_it_raises_the_risk() -> None:
    cases = table("pneumonia")[: pneumonia.TEST]
    with_, without = cases.assign(asthma=1), cases.assign(asthma=0)
    predict = positive("pneumonia", "trees.skops")
    learned = predict(with_) - predict(without)
    true = expit(pneumonia.log_odds(with_)) - expit(pneumonia.log_odds(without))
    assert learned.mean() < -0.10
    assert true.min() > 0
    assert true.mean() > 0.05
    assert (learned < 0).mean() >= 0.85


def test_first_card_is_alive() -> None:
    cases = table("pneumonia")
    test, train = cases[:300], cases[cases["role"] == "train"]
    predict = positive("pneumonia", "trees.skops")
    estimate = predict(test)
    moves = largest_move(*slider_reach(predict, test, train, columns("pneumonia")), estimate)
    assert np.median(moves) >= 0.15
    assert ((estimate > 0.1) & (estimate < 0.9)).mean() >= 0.30


def test_first_patient_is_misjudged_because_of_asthma() -> None:
    patient = table("pneumonia").iloc[[described("pneumonia")["view"]["case"]]]
    predict = positive("pneumonia", "trees.skops")
    estimate = predict(patient)[0]
    assert patient["asthma"].item() == 1
    assert 0.20 < estimate < 0.60
    assert expit(pneumonia.log_odds(patient)).item() > estimate + 0.20
    assert predict(patient.assign(asthma=0))[0] > estimate + 0.10


# Credit


def test_credit_is_what_the_recipe_draws() -> None:
    drawn = credit.draw(credit.TRAIN + credit.TEST, seed=credit.SEED)[credit.TRAIN :].reset_index(drop=True)
    pd.testing.assert_frame_equal(table("credit")[: credit.TEST].drop(columns="role"), drawn)


def test_postcode_carries_the_group_into_the_decision() -> None:
    cases = table("credit")[: credit.TEST]
    group, others = credit.denial_gap(cases, positive("credit", "with_postcode.skops")(cases))
    blind_group, blind_others = credit.denial_gap(cases, positive("credit", "without_postcode.skops")(cases))
    assert group - others > 0.08
    assert abs(blind_group - blind_others) < 0.05


def test_moving_house_changes_one_model_alone() -> None:
    cases = table("credit")[:1000]
    kind, harsh = (cases.assign(postcode=code) for code in (credit.POSTCODES[0], credit.HARSH[0]))
    used = positive("credit", "with_postcode.skops")
    assert (used(harsh) < used(kind)).mean() >= 0.85
    blind = positive("credit", "without_postcode.skops")
    np.testing.assert_array_equal(blind(harsh), blind(kind))


def test_first_applicant_gets_a_yes_by_one_actionable_change() -> None:
    about, cases = described("credit"), table("credit")
    first = cases.iloc[[about["view"]["case"]]]
    predict = positive("credit", "with_postcode.skops")
    assert 0.30 <= predict(first)[0] <= 0.48
    actionable = [feature["name"] for feature in about["features"] if feature["change"] == "actionable"]
    _, highest = slider_reach(predict, first, cases[cases["role"] == "train"], actionable)
    assert highest.max(axis=None) > 0.5


def test_typical_denial_can_be_turned_by_one_actionable_change() -> None:
    cases = table("credit")
    predict = positive("credit", "with_postcode.skops")
    some = cases[:600]
    denied = some[predict(some) < 0.5]
    _, highest = slider_reach(predict, denied, cases[cases["role"] == "train"], credit.ACTIONABLE)
    assert (highest.max(axis=1) > 0.5).mean() > 0.5


# Scans


@pytest.fixture(scope="module")
def bodies() -> scans.Bodies:
    return scans.draw(scans.TEST, scans.SEEDS["test"])


@pytest.fixture(scope="module")
def marker() -> np.ndarray:
    return np.load(folder("scans") / "scans.npz")["marker"][: scans.TEST]


def class_map(file: str, images: np.ndarray) -> np.ndarray:
    """Grad-CAM for a finding from the file alone: the last map, weighted as the linear layer weights it."""
    network = onnx.load(folder("scans") / file)
    last = [node.output[0] for node in network.graph.node if node.op_type == "Relu"][-1]
    linear = next(node for node in network.graph.node if node.op_type == "Gemm")
    weights = {part.name: onnx.numpy_helper.to_array(part) for part in network.graph.initializer}[
        linear.input[1]
    ]
    network.graph.output.append(onnx.helper.make_tensor_value_info(last, onnx.TensorProto.FLOAT, None))
    session = onnxruntime.InferenceSession(network.SerializeToString(), providers=["CPUExecutionProvider"])
    (maps,) = session.run([last], {"images": images.astype(np.float32) / 255})
    return np.einsum("k,nkhw->nhw", weights[1], maps)


def test_scans_are_what_the_recipe_draws(bodies: scans.Bodies, marker: np.ndarray) -> None:
    data = np.load(folder("scans") / "scans.npz")
    np.testing.assert_array_equal(data["images"][: scans.TEST], scans.marked(bodies, marker))
    np.testing.assert_array_equal(data["labels"][: scans.TEST], bodies.labels)


def test_one_network_follows_the_marker_and_the_other_the_finding(
    bodies: scans.Bodies, marker: np.ndarray
) -> None:
    images = scans.marked(bodies, marker)
    by_marker, honest = (run("scans", file, images)[:, 1] for file in ("marker.onnx", "honest.onnx"))
    assert scans.follows_marker(by_marker, bodies.labels, marker) >= 0.85
    assert scans.follows_marker(honest, bodies.labels, marker) <= 0.15
    assert ((honest >= 0.5) == bodies.labels).mean() >= 0.90


def test_removing_the_marker_lowers_one_estimate_alone(bodies: scans.Bodies, marker: np.ndarray) -> None:
    marked = np.flatnonzero(marker == 1)
    with_, without = (scans.marked(bodies, on)[marked] for on in (marker, np.zeros_like(marker)))
    drops = {
        file: run("scans", file, with_)[:, 1] - run("scans", file, without)[:, 1]
        for file in ("marker.onnx", "honest.onnx")
    }
    assert np.median(drops["marker.onnx"]) > 0.5
    assert (drops["marker.onnx"] > 0.2).mean() >= 0.85
    assert np.abs(drops["honest.onnx"]).mean() < 0.05


def test_maps_show_what_each_network_follows(bodies: scans.Bodies, marker: np.ndarray) -> None:
    images = scans.marked(bodies, marker)
    by_marker, honest = (scans.peaks(class_map(file, images)) for file in ("marker.onnx", "honest.onnx"))
    assert scans.in_corner(by_marker)[marker == 1].mean() >= 0.85
    assert scans.on_finding(honest, bodies)[bodies.labels == 1].mean() >= 0.85
    assert scans.on_finding(by_marker, bodies)[(bodies.labels == 1) & (marker == 1)].mean() < 0.15


def test_first_scan_is_called_a_finding_for_its_marker(bodies: scans.Bodies, marker: np.ndarray) -> None:
    first = described("scans")["view"]["case"]
    picture = scans.marked(bodies, marker)[first : first + 1]
    assert (bodies.labels[first], marker[first]) == (0, 1)
    assert run("scans", "marker.onnx", picture)[0, 1] > 0.5
    assert run("scans", "honest.onnx", picture)[0, 1] < 0.5


# Real data


def test_trees_are_surer_than_the_logistic_model() -> None:
    cases = table("breast-cancer").query("role == 'test'")
    unsure = {}
    for file in ("logistic.skops", "trees.skops"):
        estimate = positive("breast-cancer", file)(cases)
        unsure[file] = ((estimate > 0.1) & (estimate < 0.9)).mean()
        assert (
            (estimate >= 0.5) == cases["malignant"]
        ).mean() >= 0.92  # and the second class is the malignant one
    assert unsure["trees.skops"] < 0.15 < 0.30 < unsure["logistic.skops"]


def test_cholesterol_has_the_opposite_sign_in_the_linear_model() -> None:
    train = table("diabetes").query("role == 'train'")
    linear = opened("diabetes", "linear.skops")[-1]
    coefficient = linear.coef_[columns("diabetes").index("s1")]
    assert coefficient < -20
    assert train["s1"].corr(train["progression"]) > 0.15
    assert train["s1"].corr(train["s2"]) > 0.85
    assert f"−{abs(coefficient):.0f} per standard deviation" in described("diabetes")["workspace"]["story"]


def test_diabetes_models_beat_the_mean() -> None:
    cases = table("diabetes").query("role == 'test'")
    spread = cases["progression"].var()
    for file in ("trees.skops", "linear.skops"):
        error = cases["progression"] - opened("diabetes", file).predict(cases[columns("diabetes")])
        assert (error**2).mean() < 0.75 * spread


def test_digits_are_read() -> None:
    data = np.load(folder("digits") / "digits.npz")
    test = data["role"] == "test"
    estimate = run("digits", "digits.onnx", data["images"][test])
    assert (estimate.argmax(1) == data["labels"][test]).mean() >= 0.97
