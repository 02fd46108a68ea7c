"""What is not opened: each format is named with the way out, nothing is executed, and damage never ends the process."""

from __future__ import annotations

import bz2
import functools
import gzip
import io
import json
import lzma
import os
import pickle
import random
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path

import joblib
import lightgbm
import numpy as np
import pytest
import safetensors.torch
import skops.io
import torch
import xgboost
from onnx import TensorProto, helper, numpy_helper
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier
from torch import nn

from explainers import ExplainerError, Limits, UnreadableFile, UnsupportedModel, load_dataset, load_model

ROOT = Path(__file__).resolve().parents[2]
MARKER = "whyboard_marker"


class Payload:
    """Opening it makes a file; a stand-in for anything that code could do."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder / MARKER),)


def zipped(**parts: bytes | str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name.replace("__", "/").replace("_dot_", "."), content)
    return buffer.getvalue()


def saved(value: object, **settings) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer, **settings)
    return buffer.getvalue()


def dumped(value: object, **settings) -> bytes:
    buffer = io.BytesIO()
    joblib.dump(value, buffer, **settings)
    return buffer.getvalue()


def pickled(payload: Payload) -> dict[str, bytes]:
    """Files that run code when they are opened by their own libraries."""
    plain = {f"pickle {protocol}": pickle.dumps(payload, protocol) for protocol in range(6)}
    packed = {
        f"joblib {method}": dumped(payload, compress=(method, 3))
        for method in ("zlib", "gzip", "bz2", "xz", "lzma")
    }
    torches = {"torch": saved(payload), "torch legacy": saved(payload, _use_new_zipfile_serialization=False)}
    return {**plain, "joblib": dumped(payload), **packed, **torches}


PAYLOADS = list(pickled(Payload(Path("nowhere"))))


@pytest.mark.parametrize("kind", PAYLOADS)
def test_code_in_a_file_is_refused_and_does_not_run(kind: str, tmp_path: Path) -> None:
    content = pickled(Payload(tmp_path))[kind]
    with pytest.raises(
        UnsupportedModel, match=r"runs whatever code is in it.*(skops\.io\.dump|torch\.onnx\.export)"
    ):
        load_model(content, {"layers": [{"layer": "ReLU"}]} if "torch" in kind else None)
    with pytest.raises(ExplainerError):
        load_dataset(content)
    assert not (tmp_path / MARKER).exists()


def test_the_payload_would_run(tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(Payload(tmp_path)))
    assert (tmp_path / MARKER).exists()


def scripted() -> bytes:
    from torch.jit import ScriptModule  # noqa: F401  # deprecated: only the layout of its file is needed

    return zipped(
        model__data_dot_pkl=b"\x80\x02.",
        model__constants_dot_pkl=b"\x80\x02.",
        model__code____torch___dot_py="",
    )


REFUSED = {
    "module": (saved(nn.Linear(2, 1)), r"pickled torch module.*torch\.onnx\.export.*safetensors"),
    "TorchScript": (scripted(), r"TorchScript, a program.*torch\.onnx\.export"),
    "pt2": (zipped(archive__archive_format="pt2", archive__models__model_dot_json="{}"), r"torch\.export archive \(\.pt2\)"),
    "dill": (b"\x80\x04\x95" + bytes(8) + b"\x8c\ndill._dill.", r"dill file \(a pickle\).*skops\.io\.dump"),
    "cloudpickle": (b"\x80\x05\x95" + bytes(8) + b"\x8c\x17cloudpickle.cloudpickle.", "cloudpickle file"),
    "keras": (zipped(config_dot_json="{}", metadata_dot_json="{}"), r"Keras model.*model\.export\('model\.onnx'"),
    "h5": (b"\x89HDF\r\n\x1a\n" + bytes(40) + b"model_config", r"Keras model.*whyboard convert FILE"),
    "h5 weights": (b"\x89HDF\r\n\x1a\n" + bytes(40), "HDF5 without a Keras model in it.*ONNX"),
    "SavedModel": (zipped(m__saved_model_dot_pb=b""), r"SavedModel, a program.*tf2onnx"),
    "SavedModel file": (b"\x08\x01\x12\x10 saved_model serve", "SavedModel"),
    "PMML": (b'<?xml version="1.0"?>\n<PMML version="4.4"></PMML>', "PMML, which is not read here.*ONNX"),
    "rds": (gzip.compress(b"X\n\0\0\0\3\0\4\3\2"), r"R object \(rds\).*xgb\.save"),
    "gzip": (gzip.compress(b'{"learner": {}}'), "is compressed. Unpack it first"),
    "bz2": (bz2.compress(b"tree"), "is compressed"),
    "xz": (lzma.compress(b"tree"), "is compressed"),
    "zlib": (zlib.compress(b"tree"), "is compressed"),
    "XGBoost binary": (b"binf" + bytes(60), r"old binary format.*save_model\('model\.json'\)"),
    "LightGBM dump": (b'{"name": "tree", "tree_info": []}', r"LightGBM dump.*save_model\('model\.txt'\)"),
    "JSON": (b'{"a": 1}', "JSON, but not an XGBoost model"),
    "architecture": (b'{"layers": []}', "declared architecture without weights"),
    "table": (b"a,b\n1,2\n", "no known model format.*Opened are ONNX, skops"),
    "parquet": (b"PAR1" + bytes(20), "holds data, not a model"),
    "npz": (zipped(x_dot_npy=b"\x93NUMPY"), "holds data, not a model"),
    "picture": (b"\x89PNG\r\n\x1a\n" + bytes(20), "holds data, not a model"),
    "zip": (zipped(readme_dot_txt="hello"), r"zip archive, but not a model"),
    "garbage": (bytes(random.Random(0).randrange(256) for _ in range(400)), "no known model format"),
    "text": (b"hello world, this is no model\n", "no known model format"),
}  # fmt: skip


@pytest.mark.parametrize("kind", REFUSED)
def test_other_formats_are_refused_with_the_way_out(kind: str) -> None:
    content, sentence = REFUSED[kind]
    with pytest.raises(UnsupportedModel, match=f"^'upload' .*{sentence}"):
        load_model(content)


def test_empty_missing_folders_and_web_pages(tmp_path: Path) -> None:
    (tmp_path / "empty.json").touch()
    for source in (b"", tmp_path / "empty.json"):
        with pytest.raises(UnreadableFile, match=r"is empty \(0 bytes\)"):
            load_model(source)
    with pytest.raises(UnreadableFile, match="There is no file"):
        load_model(tmp_path / "none")
    with pytest.raises(UnsupportedModel, match=r"is a folder. Open the model file itself"):
        load_model(tmp_path)
    (tmp_path / "saved_model.pb").touch()
    with pytest.raises(UnsupportedModel, match="SavedModel"):
        load_model(tmp_path)
    with pytest.raises(
        UnreadableFile, match="'credit' is a web page, not a model; the download probably failed"
    ):
        load_model(b"\n<!DOCTYPE html><html></html>", name="credit")


@functools.cache
def models() -> dict[str, bytes]:
    """One small file for each opened format."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(60, 3)), rng.integers(0, 2, 60)
    booster = xgboost.train({"max_depth": 3, "objective": "binary:logistic"}, xgboost.DMatrix(X, y), 3)
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["z"]), helper.make_node("Softmax", ["z"], ["out"])], "g",
        [value("x", TensorProto.FLOAT, ["n", 3])], [value("out", TensorProto.FLOAT, ["n", 2])],
        [numpy_helper.from_array(rng.normal(size=(3, 2)).astype(np.float32), "w")],
    )  # fmt: skip
    onnx = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    tensors = {"0.weight": torch.ones(1, 3), "0.bias": torch.zeros(1)}
    lines = lightgbm.LGBMClassifier(n_estimators=3, num_leaves=5, verbose=-1, min_child_samples=5).fit(X, y)
    return {
        "XGBoost JSON": bytes(booster.save_raw("json")),
        "XGBoost UBJ": bytes(booster.save_raw("ubj")),
        "LightGBM": lines.booster_.model_to_string().encode(),
        "skops": skops.io.dumps(DecisionTreeClassifier(max_depth=3).fit(X, y)),
        "ONNX": onnx.SerializeToString(),
        "safetensors": safetensors.torch.save(tensors),
        "torch": saved(tensors),
    }


ARCHITECTURE = {"layers": [{"layer": "Linear", "in_features": 3, "out_features": 1}]}
FORMATS = ("XGBoost JSON", "XGBoost UBJ", "LightGBM", "skops", "ONNX", "safetensors", "torch")

#: Damaged copies of each format; the environment can ask for many more.
FLIPS = int(os.environ.get("WHYBOARD_FLIPS", "40"))

#: Runs in a process of its own: opens every file of a folder, asks those that open, and says so at the end.
OPEN_ALL = f"""
import pathlib, sys, warnings
warnings.simplefilter("ignore")
import numpy as np
from explainers import ExplainerError, load_model
seen = dict(opened=0, refused=0)
for path in sorted(pathlib.Path(sys.argv[1]).iterdir()):
    content = path.read_bytes()
    try:
        model = load_model(content, {ARCHITECTURE!r} if path.name.startswith(("safetensors", "torch")) else None)
        seen["opened"] += 1
        for _ in (0, 1):
            model.predict(np.random.default_rng(0).normal(size=(20, 3)))
    except ExplainerError as error:
        seen["refused"] += 1
        assert str(error).strip(), path
print("finished", seen["opened"], seen["refused"])
"""


def run(folder: Path) -> tuple[int, int]:
    """How many files opened and how many were refused; fails where the process ended in any other way."""
    done = subprocess.run(
        [sys.executable, "-c", OPEN_ALL, str(folder)], cwd=ROOT, capture_output=True, text=True, timeout=240, check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    words = done.stdout.strip().splitlines()[-1].split()
    assert words[0] == "finished"
    return int(words[1]), int(words[2])


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("part", [0.02, 0.3, 0.6, 0.9, 0.99])
def test_a_file_cut_short_is_unreadable_and_named(form: str, part: float) -> None:
    """What the checks catch before a library is asked, so this needs no process of its own."""
    content = models()[form]
    cut = content[: max(16, int(len(content) * part))]
    name = "(zip|torch|skops)" if form in ("skops", "torch") else form.split(" ")[0]
    architecture = ARCHITECTURE if form in ("safetensors", "torch") else None
    with pytest.raises(UnreadableFile, match=f"(?is)(?=.*{name}).*(damaged|cut short)"):
        load_model(content[: len(cut)], architecture)


def flipped(form: str, count: int, rng: random.Random, digits: bool) -> list[bytes]:
    """Copies with some bytes changed: any byte, or digits only (what the libraries' own parsers would believe)."""
    places = [i for i, byte in enumerate(models()[form]) if not digits or chr(byte).isdigit()]
    copies = []
    for _ in range(count):
        content = bytearray(models()[form])
        for place in rng.choices(places, k=rng.choice((1, 1, 3, 15))):
            content[place] = ord(rng.choice("0123456789-")) if digits else rng.randrange(256)
        copies.append(bytes(content))
    return copies


@pytest.mark.slow
def test_flipped_bytes_never_end_the_process(tmp_path: Path) -> None:
    rng = random.Random(0)
    files = {form: flipped(form, FLIPS, rng, digits=False) for form in FORMATS}
    for form in ("XGBoost JSON", "LightGBM"):
        files[form] += flipped(form, FLIPS, rng, digits=True)
    for form, copies in files.items():
        for number, content in enumerate(copies):
            (tmp_path / f"{form} {number}").write_bytes(content)
    opened, refused = run(tmp_path)
    assert opened + refused == FLIPS * (len(FORMATS) + 2)
    assert min(opened, refused) > FLIPS


def xgboost_with(change) -> bytes:
    parsed = json.loads(models()["XGBoost JSON"])
    change(parsed["learner"], parsed["learner"]["gradient_booster"]["model"]["trees"][0])
    return json.dumps(parsed).encode()


def _set(name: str, position: int, value: object):
    def change(_, tree) -> None:
        tree[name][position] = value

    return change


XGBOOST_DAMAGE = {
    "child far away": (_set("left_children", 0, 10**6), "left child points outside"),
    "circle": (_set("left_children", 1, 0), "runs in a circle"),
    "one child": (_set("left_children", 0, -1), "a node with one child"),
    "feature": (_set("split_indices", 0, 99), "split feature points outside"),
    "parent": (_set("parents", 1, 2), "wrong parents"),
    "text": (_set("split_conditions", 0, "x"), "should hold numbers"),
    "short": (lambda _, tree: tree["base_weights"].pop(), "has .* values instead of"),
    "category": (_set("split_type", 0, 1), "categories at the wrong nodes"),
    "nodes": (lambda _, tree: tree["tree_param"].update(num_nodes="999"), "values instead of 999"),
    "trees": (lambda learner, _: learner["gradient_booster"]["model"]["trees"].pop(), "3 trees are announced and 2"),
    "group": (lambda learner, _: learner["gradient_booster"]["model"]["tree_info"].__setitem__(0, 7), "'tree_info' points outside"),
    "rounds": (lambda learner, _: learner["gradient_booster"]["model"]["iteration_indptr"].__setitem__(0, 2), "rounds do not cover"),
    "objective": (lambda learner, _: learner.pop("objective"), "'objective' is missing"),
    "names": (lambda learner, _: learner.update(feature_names=["a"]), "'feature_names' does not name the 3 features"),
    "booster": (lambda learner, _: learner["gradient_booster"].update(name="other"), "booster 'other' is unknown"),
}  # fmt: skip


@pytest.mark.parametrize("kind", XGBOOST_DAMAGE)
def test_damaged_xgboost_trees_are_found_before_xgboost_sees_them(kind: str, monkeypatch) -> None:
    change, sentence = XGBOOST_DAMAGE[kind]
    monkeypatch.setattr(xgboost.Booster, "load_model", lambda *_: pytest.fail("XGBoost was asked"))
    with pytest.raises(UnreadableFile, match=f"XGBoost JSON file is damaged: .*{sentence}"):
        load_model(xgboost_with(change))


def test_a_name_that_occurs_twice_in_json_is_refused() -> None:
    content = models()["XGBoost JSON"].replace(b'"left_children"', b'"left_children":[],"left_children"', 1)
    with pytest.raises(UnreadableFile, match="a name occurs twice"):
        load_model(content)


def lightgbm_line(name: str, change) -> bytes:
    """The file with one line of its first tree changed, and the stated sizes put right."""
    head, first, rest = models()["LightGBM"].decode().partition("\nTree=0\n")
    lines = rest.split("\n")
    at = next(i for i, line in enumerate(lines) if line.startswith(f"{name}="))
    before = len(lines[at])
    lines[at] = f"{name}={change(lines[at].partition('=')[2])}"
    grown = len(lines[at]) - before
    sizes = head.split("tree_sizes=")
    numbers = sizes[1].split(" ")
    numbers[0] = str(int(numbers[0]) + grown)
    return (f"{sizes[0]}tree_sizes={' '.join(numbers)}{first}" + "\n".join(lines)).encode()


LIGHTGBM_DAMAGE = {
    "child": ("left_child", lambda v: "99 " + v.split(" ", 1)[1], "child points outside"),
    "circle": ("left_child", lambda v: "0 " + v.split(" ", 1)[1], "runs in a circle|nothing leads to"),
    "feature": ("split_feature", lambda v: "7 " + v.split(" ", 1)[1], "split feature points outside"),
    "short": ("leaf_value", lambda v: v.split(" ", 1)[1], "values instead of"),
    "leaves": ("num_leaves", lambda _: "900", "values instead of 900"),
    "text": ("threshold", lambda v: "x " + v.split(" ", 1)[1], "should hold numbers"),
    "kind": ("decision_type", lambda v: "1 " + v.split(" ", 1)[1], "category list"),
    "categories": ("num_cat", lambda _: "3", "'cat_boundaries' is missing"),
    "linear": ("is_linear", lambda _: "1", "'leaf_const' is missing"),
}


@pytest.mark.parametrize("kind", LIGHTGBM_DAMAGE)
def test_damaged_lightgbm_trees_are_found_before_lightgbm_sees_them(kind: str, monkeypatch) -> None:
    name, change, sentence = LIGHTGBM_DAMAGE[kind]
    monkeypatch.setattr(lightgbm, "Booster", lambda **_: pytest.fail("LightGBM was asked"))
    with pytest.raises(UnreadableFile, match=f"LightGBM text file is damaged: .*({sentence})"):
        load_model(lightgbm_line(name, change))


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        (b"\n", b"\r\n", "line ends were changed|no known"),
        (b"tree_sizes=", b"tree_sizes=1", "does not have the stated size"),
        (b"objective=binary", b"objective=binxry", "objective 'binxry"),
        (b"max_feature_idx=2", b"max_feature_idx=9", "does not fit the 10 features"),
        (b"num_tree_per_iteration=1", b"num_tree_per_iteration=2", "does not fit 2 outputs"),
        (b"version=v4", b"version=v9", "its version is 'v9'"),
        (b"label_index", b"lobel_index", "its head holds 'lobel_index=0'"),
        (b"sigmoid:1", b"sigmoid:x", "unknown settings"),
        (b"end of parameters", b"end of paramaters", "'end of parameters' is missing"),
        (b"pandas_categorical:null", b"pandas_categorical:[[", "categories at its end"),
        (b"pandas_categorical:[]", b"pandas_categorical:[1]", "categories at its end"),
    ],
)
def test_damaged_lightgbm_files(old: bytes, new: bytes, sentence: str) -> None:
    content = models()["LightGBM"]
    if old not in content:
        content = content[: content.index(b"pandas_categorical:")] + old + b"\n"
    with pytest.raises(UnreadableFile, match=sentence):
        load_model(content.replace(old, new))


def skops_with(change) -> bytes:
    """The decision tree with a changed description, or changed nodes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(models()["skops"])) as old, zipfile.ZipFile(buffer, "w") as new:
        schema = json.loads(old.read("schema.json"))
        tree = schema["content"]["content"]["tree_"]
        file = tree["content"]["content"]["nodes"]["file"]
        nodes = np.load(io.BytesIO(old.read(file)))
        change(tree, nodes)
        for name in old.namelist():
            content = old.read(name)
            if name == file:
                array = io.BytesIO()
                np.save(array, nodes)
                content = array.getvalue()
            new.writestr(name, json.dumps(schema) if name == "schema.json" else content)
    return buffer.getvalue()


def _node(field: str, position: int, value: int):
    def change(_, nodes) -> None:
        nodes[field][position] = value

    return change


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (_node("left_child", 0, 10**9), "left child points outside"),
        (_node("left_child", 1, 0), "runs in a circle"),
        (_node("feature", 0, 50), "split feature points outside"),
        (
            lambda tree, _: tree["content"]["content"]["node_count"].update(content="4000"),
            "states 4000 nodes",
        ),
        (lambda tree, _: tree.update(__loader__="ObjectNode"), "states .* nodes|is incomplete"),
        (
            lambda tree, _: tree["content"]["content"]["nodes"].update(__loader__="CachedNode"),
            "only refers to another",
        ),
        (lambda tree, _: tree["content"]["content"].pop("values"), "is incomplete"),
    ],
)
def test_damaged_decision_trees_are_found_before_they_are_built(change, sentence: str, monkeypatch) -> None:
    monkeypatch.setattr(skops.io, "loads", lambda *_, **__: pytest.fail("skops was asked"))
    with pytest.raises(UnreadableFile, match=f"skops file is damaged: .*({sentence})"):
        load_model(skops_with(change))


def test_damaged_histogram_trees_neighbours_and_support_vectors_are_found() -> None:
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(60, 3)), rng.integers(0, 2, 60)
    histogram = HistGradientBoostingClassifier(max_iter=2, min_samples_leaf=5).fit(X, y)
    histogram._predictors[0][0].nodes["left"][0] = 10**6
    with pytest.raises(UnreadableFile, match="histogram tree, left child points outside"):
        load_model(skops.io.dumps(histogram))
    histogram._predictors[0][0].nodes["left"][0] = 1
    histogram._predictors[0][0].nodes["feature_idx"][0] = 77
    with pytest.raises(UnreadableFile, match="histogram tree, split feature points outside"):
        load_model(skops.io.dumps(histogram))
    support = SVC().fit(X, y)
    support._dual_coef_ = support._dual_coef_[:, :-1]
    with pytest.raises(UnreadableFile, match="arrays of unequal lengths"):
        load_model(skops.io.dumps(support))
    neighbours = KNeighborsClassifier(algorithm="kd_tree").fit(X, y)
    np.asarray(neighbours._tree.get_arrays()[1])[0] = 10**6
    with pytest.raises(UnreadableFile, match="KDTree, index points outside"):
        load_model(skops.io.dumps(neighbours))


def test_bombs_are_measured_before_they_are_unpacked() -> None:
    with pytest.raises(UnreadableFile, match=r"bytes when unpacked; the limit is 1,000"):
        load_model(models()["skops"], limits=Limits(unpacked_bytes=1000))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(50_000_000))
    with pytest.raises(UnreadableFile, match="torch does not compress its files"):
        load_model(buffer.getvalue(), ARCHITECTURE)
    deep = b'{"learner":' + b"[" * 100_000
    with pytest.raises(UnreadableFile, match=r"setting limits\.json_depth"):
        load_model(deep)
