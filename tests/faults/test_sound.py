"""What the checks must let through: every kind of booster and ensemble that the libraries save, and archives told apart."""

from __future__ import annotations

import io
import warnings
import zipfile
from typing import Any

import lightgbm
import numpy as np
import pytest
import skops.io
import xgboost
from sklearn import ensemble, neighbors, svm

from explainers import ExplainerError, load_model
from tests.faults import good_files

X = good_files.table()[0]
NUMBER = X[:, 1] - X[:, 2]
TWO = (NUMBER > 0).astype(int)
THREE = np.digitize(NUMBER, [-0.5, 0.5])

XGBOOST: dict[str, tuple[dict[str, Any], np.ndarray]] = {
    "forest": ({"num_parallel_tree": 3, "objective": "multi:softprob", "num_class": 3}, THREE),
    "two targets": ({}, np.c_[NUMBER, -NUMBER]),
    "quantiles": ({"objective": "reg:quantileerror", "quantile_alpha": [0.1, 0.5]}, NUMBER),
    "linear": ({"booster": "gblinear", "updater": "coord_descent", "objective": "multi:softprob", "num_class": 3}, THREE),
    "dart": ({"booster": "dart", "rate_drop": 0.5}, NUMBER),
    "by loss": ({"grow_policy": "lossguide", "max_leaves": 9, "max_depth": 0, "gamma": 1.0}, NUMBER),
    "pruned": ({"tree_method": "exact", "gamma": 3.0}, NUMBER),
    "ranking": ({"objective": "rank:ndcg"}, TWO),
    "survival": ({"objective": "survival:cox"}, np.abs(NUMBER) + 0.1),
    "margins": ({"objective": "binary:logitraw"}, TWO),
}  # fmt: skip
LIGHTGBM: dict[str, tuple[dict[str, Any], np.ndarray]] = {
    "forest": ({"boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.5}, NUMBER),
    "dart": ({"boosting": "dart"}, NUMBER),
    "linear leaves": ({"linear_tree": True}, NUMBER),
    "one against all": ({"objective": "multiclassova", "num_class": 3}, THREE),
    "quantile": ({"objective": "quantile", "alpha": 0.3}, NUMBER),
    "root": ({"objective": "regression", "reg_sqrt": True}, NUMBER),
    "monotone": ({"monotone_constraints": [1, 0, -1]}, NUMBER),
    "no splits": ({"min_gain_to_split": 1e9}, NUMBER),
}
SKOPS = {
    "forest": ensemble.RandomForestRegressor(3, random_state=0),
    "gradient boosting": ensemble.GradientBoostingClassifier(n_estimators=3),
    "bagging": ensemble.BaggingClassifier(n_estimators=3, max_features=2, random_state=0),
    "isolation": ensemble.IsolationForest(n_estimators=3, random_state=0),
    "ball tree": neighbors.KNeighborsRegressor(algorithm="ball_tree", metric="minkowski", p=3),
    "precomputed": svm.SVC(kernel="precomputed"),
    "regression": svm.NuSVR(),
    "outliers": svm.OneClassSVM(),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", XGBOOST)
@pytest.mark.parametrize("form", ["json", "ubj"])
def test_xgboost_of_every_kind(kind: str, form: str) -> None:
    settings, y = XGBOOST[kind]
    booster = xgboost.train({"nthread": 1, **settings}, xgboost.DMatrix(X, y), 3)
    expected = booster.predict(xgboost.DMatrix(X), output_margin=True).reshape(len(X), -1)
    model = load_model(bytes(booster.save_raw(form)))
    answered = model.raw(X) if "raw" in model.abilities else model.predict(X)
    if settings.get("objective") in (None, "reg:quantileerror", "rank:ndcg", "multi:softprob"):
        np.testing.assert_allclose(answered, expected, atol=1e-5)
    assert np.isfinite(answered).all()


@pytest.mark.slow
@pytest.mark.parametrize("kind", LIGHTGBM)
def test_lightgbm_of_every_kind(kind: str) -> None:
    settings, y = LIGHTGBM[kind]
    told = {"verbose": -1, "num_threads": 1, "min_data_in_leaf": 5, **settings}
    booster = lightgbm.train(told, lightgbm.Dataset(X, y), 3)
    answered = load_model(booster.model_to_string().encode()).predict(X)
    np.testing.assert_allclose(answered, booster.predict(X).reshape(len(X), -1), atol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("kind", SKOPS)
def test_skops_of_every_kind(kind: str) -> None:
    columns = X @ X.T if kind == "precomputed" else X
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fitted = SKOPS[kind].fit(columns, TWO)
        answered = load_model(skops.io.dumps(fitted)).predict(columns)
    assert len(answered) == len(X)
    assert np.isfinite(answered).all()


def _archive(name: str) -> bytes:
    return good_files.zipped({"schema.json": b"{}", name: b"x"})


def _twice() -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr("schema.json", b"{}")
            archive.writestr("schema.json", b"[]")
    return buffer.getvalue()


def _encrypted() -> bytes:
    content = bytearray(_archive("a.bin"))
    for mark, at in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        content[content.rfind(mark) + at] |= 1
    return bytes(content)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (_archive("../a.bin"), "named like a place outside|names that lead outside"),
        (_archive("a\\b.bin"), "named like a place outside"),
        (_twice(), "holds two files of the same name"),
        (_encrypted(), "is encrypted or packed in an unusual way"),
    ],
)
def test_a_skops_archive_holds_plain_parts(content: bytes, sentence: str) -> None:
    with pytest.raises(ExplainerError, match=sentence):
        load_model(content)
