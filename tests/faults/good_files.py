"""One small sound file of each format, from seeds: what the fault cases and the fuzzing damage."""

from __future__ import annotations

import functools
import io
import re
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

COLUMNS = 3
ARCHITECTURE = {
    "layers": [
        {"layer": "Linear", "in_features": COLUMNS, "out_features": 4, "weights": "body"},
        {"layer": "ReLU"},
        {"layer": "Linear", "in_features": 4, "out_features": 2, "weights": "head"},
        {"layer": "Softmax"},
    ]
}
PLACE = re.compile(rb"[0-9]{11,}|[0-9a-f]{8}-[0-9a-f-]{27}")
BUILD: dict[str, Callable[[], bytes]] = {}


def good(build: Callable[[], bytes]) -> Callable[[], bytes]:
    """Register a builder under its name; it runs once."""
    BUILD[build.__name__] = functools.cache(build)
    return BUILD[build.__name__]


@functools.cache
def table(n: int = 80) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, COLUMNS)).round(3)
    return X, np.digitize(X[:, 0] * X[:, 1] + 0.1 * X[:, 2], [0.0])


@functools.cache
def wards() -> pd.DataFrame:
    """The table with a third column of categories."""
    X, y = table()
    rng = np.random.default_rng(1)
    ward = np.where(y == 1, rng.choice(["west", "yard"], len(X)), rng.choice(["east", "north"], len(X)))
    ward[::5] = rng.choice(["east", "north", "west", "yard"], len(X))[::5]
    return pd.DataFrame({"age": X[:, 0], "dose": X[:, 1], "ward": pd.Categorical(ward)})


def xgboost_booster(categories: bool = False, **settings: Any) -> Any:
    import xgboost

    X, y = table()
    matrix = xgboost.DMatrix(wards(), y, enable_categorical=True) if categories else xgboost.DMatrix(X, y)
    told = {"max_depth": 3, "objective": "binary:logistic", "nthread": 1, "max_cat_to_onehot": 1, **settings}
    return xgboost.train(told, matrix, 3)


@good
def xgboost_json() -> bytes:
    return bytes(xgboost_booster(categories=True).save_raw("json"))


@good
def xgboost_ubj() -> bytes:
    return bytes(xgboost_booster(categories=True).save_raw("ubj"))


def lightgbm_booster(categories: bool = True, **settings: Any) -> Any:
    import lightgbm

    X, y = table()
    told = {"objective": "binary", "num_leaves": 6, "min_data_in_leaf": 5, "min_data_per_group": 2, "cat_smooth": 1,
            "max_cat_to_onehot": 1, "verbose": -1, "num_threads": 1, "deterministic": True}  # fmt: skip
    data = lightgbm.Dataset(wards() if categories else X, y)
    return lightgbm.train({**told, **settings}, data, 3)


@good
def lightgbm_text() -> bytes:
    return bytes(lightgbm_booster().model_to_string().encode())


@good
def catboost_cbm() -> bytes:
    import catboost

    X, y = table()
    model = catboost.CatBoostClassifier(
        iterations=3, depth=3, verbose=0, allow_writing_files=False, thread_count=1, random_seed=0
    )
    told = model.fit(X, y).get_metadata()
    told["model_guid"], told["train_finish_time"] = "0", "1970-01-01T00:00:00Z"
    return bytes(model._serialize_model())


def saved_skops(model: Any) -> bytes:
    """A skops archive whose numbers are counted up: skops takes places in memory, others in each run."""
    import skops.io

    parts = parts_of(skops.io.dumps(model))
    numbers: dict[bytes, bytes] = {}

    def counted(found: re.Match[bytes]) -> bytes:
        return numbers.setdefault(found[0], b"%d" % (1000 + len(numbers)))

    parts["schema.json"] = PLACE.sub(counted, parts["schema.json"])
    names = {name: PLACE.sub(counted, name.encode()).decode() for name in parts}
    return zipped({names[name]: parts[name] for name in sorted(parts, key=lambda name: names[name])})


@good
def skops_forest() -> bytes:
    from sklearn.ensemble import RandomForestClassifier

    X, y = table()
    return saved_skops(RandomForestClassifier(2, max_depth=3, random_state=0).fit(X, y))


@good
def skops_histogram() -> bytes:
    from sklearn.ensemble import HistGradientBoostingClassifier

    model = HistGradientBoostingClassifier(
        random_state=0, max_iter=2, max_leaf_nodes=5, min_samples_leaf=5, categorical_features=[2]
    )
    codes = np.column_stack([table()[0][:, :2], wards()["ward"].cat.codes])
    return saved_skops(model.fit(codes, table()[1]))


@good
def skops_neighbours() -> bytes:
    from sklearn.neighbors import KNeighborsClassifier

    return saved_skops(KNeighborsClassifier(3, algorithm="kd_tree", leaf_size=5).fit(*table()))


@good
def skops_vectors() -> bytes:
    from sklearn.svm import SVC

    return saved_skops(SVC(kernel="rbf").fit(*table()))


@good
def onnx_network() -> bytes:
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(0)
    value = helper.make_tensor_value_info
    weights = {"w": (COLUMNS, 4), "b": (4,), "v": (4, 2), "c": (2,)}
    nodes = [
        helper.make_node("Gemm", ["x", "w", "b"], ["h"], alpha=1.0, beta=1.0),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("Gemm", ["r", "v", "c"], ["z"]),
        helper.make_node("Softmax", ["z"], ["probabilities"], axis=1),
    ]
    graph = helper.make_graph(
        nodes, "network", [value("x", TensorProto.FLOAT, ["n", COLUMNS])],
        [value("probabilities", TensorProto.FLOAT, ["n", 2])],
        [numpy_helper.from_array(rng.normal(size=shape).astype(np.float32), name) for name, shape in weights.items()],
    )  # fmt: skip
    return bytes(
        helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8
        ).SerializeToString()
    )


def tensors() -> dict[str, Any]:
    import torch

    made = torch.Generator().manual_seed(0)
    shapes = {"body.weight": (4, COLUMNS), "body.bias": (4,), "head.weight": (2, 4), "head.bias": (2,)}
    return {name: torch.randn(shape, generator=made) for name, shape in shapes.items()}


@good
def safetensors() -> bytes:
    import safetensors.torch

    return bytes(safetensors.torch.save(tensors()))


@good
def torch_weights() -> bytes:
    import torch

    buffer = io.BytesIO()
    torch.save(tensors(), buffer)
    return buffer.getvalue()


@functools.cache
def frame() -> pd.DataFrame:
    X, y = table()
    return wards().assign(count=np.arange(len(X)), smoker=X[:, 2] > 0, ill=np.where(y == 1, "yes", "no"))


@good
def csv() -> bytes:
    return bytes(frame().to_csv(index=False).encode())


@good
def parquet() -> bytes:
    buffer = io.BytesIO()
    frame().to_parquet(buffer)
    return buffer.getvalue()


def png(side: int = 12, seed: int = 0) -> bytes:
    from PIL import Image

    pixels = np.random.default_rng(seed).integers(0, 255, (side, side, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


@good
def pictures_zip() -> bytes:
    return zipped({f"{'ab'[seed % 2]}/{seed}.png": png(seed=seed) for seed in range(4)})


def zipped(parts: dict[str, bytes], packed: bool = False) -> bytes:
    """A zip archive of these members, the same bytes each time."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in parts.items():
            archive.writestr(
                zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED
            )
    return buffer.getvalue()


def parts_of(content: bytes) -> dict[str, bytes]:
    """The members of a zip archive."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}
