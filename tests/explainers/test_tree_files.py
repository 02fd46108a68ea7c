"""XGBoost's and LightGBM's files through our own tensor form, against what the libraries themselves predict."""

from __future__ import annotations

import functools
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pandas as pd
import pytest
import xgboost

from explainers import Model, ModelFailure, UnreadableFile, UnsupportedModel, load_model
from explainers.trees.converting import lightgbm_trees, xgboost_trees
from explainers.trees.ensemble import TreeEnsemble

N = 240
ROOT = Path(__file__).resolve().parents[2]


@functools.cache
def table() -> np.ndarray:
    """Normal, rounded, a category's code and a count with many zeros; some values missing."""
    rng = np.random.default_rng(0)
    X = np.column_stack([
        rng.normal(size=N), rng.normal(size=N).round(1), rng.integers(0, 7, N), rng.poisson(0.7, N),
    ]).astype(float)  # fmt: skip
    X[rng.random(X.shape) < 0.06] = np.nan
    return X


@functools.cache
def number() -> np.ndarray:
    X = np.nan_to_num(table())
    return X[:, 0] + (X[:, 2] % 3 == 1) + 0.4 * X[:, 3] * X[:, 1] + 0.1 * np.sin(9 * X[:, 1])


def truth(objective: str) -> np.ndarray:
    """A target that the objective can learn."""
    y = number()
    if objective.startswith(("binary", "rank", "reg:logistic", "cross_entropy", "lambdarank")):
        return (y > 0.5).astype(float)
    if objective.startswith("multi"):
        return np.digitize(y, [0.0, 1.0]).astype(float)
    return np.abs(y) + 0.1 if objective not in ("reg:squarederror", "regression") else y


def rows(trees: TreeEnsemble | None) -> np.ndarray:
    """The table, and rows whose values are the split points and the floats before and after them."""
    X = table()
    odd = [X, np.where(np.isnan(X), np.nan, X + 0.3), np.full((1, 4), np.nan), np.zeros((1, 4))]
    odd.append(np.tile(np.array([[-3.0], [-0.5], [0.5], [1.5], [31.0], [32.0], [1e6]]), 4))
    if trees is None:
        return np.concatenate(odd)
    kind = np.float32 if trees.single else np.float64
    for column in range(4):
        split = np.unique(trees.threshold[(trees.feature == column) & (trees.chosen < 0)]).astype(kind)[:60]
        near = np.concatenate([split, *(np.nextafter(split, kind(side)) for side in (-np.inf, np.inf))])
        on = X[np.arange(len(near)) % N].copy()
        on[:, column] = near
        odd.append(on)
    return np.concatenate(odd)


def xgb(objective: str = "reg:squarederror", rounds: int = 6, **settings: Any) -> xgboost.Booster:
    data = xgboost.DMatrix(table(), truth(objective), feature_types=settings.pop("types", None), enable_categorical=True)  # fmt: skip
    if objective == "survival:aft":
        for side in ("lower", "upper"):
            data.set_float_info(f"label_{side}_bound", truth(objective))
    if objective.startswith("rank"):
        data.set_group([40] * (N // 40))
    if objective.startswith("multi"):
        settings["num_class"] = 3
    if settings.get("booster") != "gblinear":
        settings.setdefault("max_depth", 4)
    return xgboost.train({"objective": objective, "nthread": 1, **settings}, data, rounds)


def lgb(objective: str = "regression", rounds: int = 6, **settings: Any) -> lightgbm.Booster:
    told = {"objective": objective, "num_leaves": 15, "min_data_in_leaf": 3, "min_data_per_group": 2, "cat_smooth": 1,
            "max_cat_to_onehot": 1, "verbose": -1, "num_threads": 1, "min_data_in_bin": 1, **settings}  # fmt: skip
    if objective.startswith("multiclass"):
        told["num_class"] = 3
    group = [40] * (N // 40) if objective == "lambdarank" else None
    categories = told.pop("categories", [])
    data = lightgbm.Dataset(
        table(), truth(objective), group=group, categorical_feature=categories, params=told
    )
    return lightgbm.train(told, data, rounds)


def two(answer: np.ndarray) -> np.ndarray:
    """A library's answer for two classes or a regression, in the model's layout."""
    return answer.reshape(len(answer), -1)


CATEGORIES = ["q", "q", "c", "q"]
XGBOOST: dict[str, Callable[[], xgboost.Booster]] = {
    **{objective: functools.partial(xgb, objective) for objective in (
        "reg:squarederror", "reg:squaredlogerror", "reg:logistic", "reg:pseudohubererror", "reg:absoluteerror",
        "reg:gamma", "reg:tweedie", "count:poisson", "survival:cox", "survival:aft", "binary:logistic",
        "binary:logitraw", "multi:softprob", "rank:pairwise", "rank:ndcg", "rank:map",
    )},
    "base score of the second kind": lambda: xgb("binary:logistic", base_score=0.2),
    "quantiles": lambda: xgb("reg:quantileerror", quantile_alpha=[0.2, 0.7]),
    "dart": lambda: xgb("binary:logistic", booster="dart", rate_drop=0.5, one_drop=1),
    "forest": lambda: xgb("multi:softprob", num_parallel_tree=3, subsample=0.7),
    "by loss": lambda: xgb(grow_policy="lossguide", max_leaves=20, max_depth=0),
    "pruned": lambda: xgb(gamma=1.5, tree_method="exact"),
    "monotone": lambda: xgb(monotone_constraints="(1,0,0,-1)"),
    "single leaves": lambda: xgb(gamma=1e9),
    "no rounds": lambda: xgb(rounds=0),
    "categories": lambda: xgb(types=CATEGORIES, max_cat_to_onehot=1),
    "one category against all": lambda: xgb("multi:softprob", types=CATEGORIES, max_cat_to_onehot=99),
    "linear": lambda: xgb(booster="gblinear", updater="coord_descent"),
    "linear classes": lambda: xgb("multi:softprob", booster="gblinear", updater="coord_descent"),
}  # fmt: skip
LIGHTGBM: dict[str, Callable[[], lightgbm.Booster]] = {
    **{objective: functools.partial(lgb, objective) for objective in (
        "regression", "regression_l1", "huber", "fair", "poisson", "quantile", "mape", "gamma", "tweedie", "binary",
        "multiclass", "multiclassova", "cross_entropy", "cross_entropy_lambda", "lambdarank",
    )},
    "another slope": lambda: lgb("binary", sigmoid=2.5),
    "one against all, another slope": lambda: lgb("multiclassova", sigmoid=0.5),
    "root": lambda: lgb(reg_sqrt=True),
    "forest": lambda: lgb("binary", boosting="rf", bagging_freq=1, bagging_fraction=0.6),
    "forest of numbers": lambda: lgb(boosting="rf", bagging_freq=1, bagging_fraction=0.6),
    "forest of classes": lambda: lgb("multiclass", boosting="rf", bagging_freq=1, bagging_fraction=0.6),
    "dart": lambda: lgb("binary", boosting="dart", drop_rate=0.5),
    "goss": lambda: lgb(data_sample_strategy="goss"),
    "zero is missing": lambda: lgb(zero_as_missing=True),
    "zero is missing, categories": lambda: lgb(zero_as_missing=True, categories=[2]),
    "nothing is missing": lambda: lgb(use_missing=False),
    "nothing is missing, categories": lambda: lgb(use_missing=False, categories=[2]),
    "categories": lambda: lgb(categories=[2, 3]),
    "categories of classes": lambda: lgb("multiclass", categories=[2]),
    "monotone": lambda: lgb(monotone_constraints=[1, 0, 0, -1]),
    "single leaves": lambda: lgb("binary", min_gain_to_split=1e9),
    "linear leaves": lambda: lgb(linear_tree=True, boost_from_average=False),
    "extra": lambda: lgb(extra_trees=True, path_smooth=2.0),
}  # fmt: skip


@pytest.mark.parametrize("kind", XGBOOST)
def test_xgboost_files_predict_what_the_library_predicts(kind: str) -> None:
    """Its sums are single precision, ours double: 6 trees of values around 1 differ by a few 1e-7."""
    booster = XGBOOST[kind]()
    model = load_model(bytes(booster.save_raw("json")))
    X = rows(model.estimator)
    types = CATEGORIES if "categor" in kind else None
    matrix = xgboost.DMatrix(X, feature_types=types, enable_categorical=True)
    margin, expected = two(booster.predict(matrix, output_margin=True)), two(booster.predict(matrix))
    answered = model.predict(X)
    if kind == "binary:logitraw":
        expected = 1 / (1 + np.exp(-margin.astype(float)))
    np.testing.assert_allclose(answered[:, -expected.shape[1] :], expected, rtol=3e-6, atol=2e-6)
    assert answered.shape[1] == (2 if model.classes and len(model.classes) == 2 else expected.shape[1])
    if model.classes:
        np.testing.assert_allclose(model.raw(X)[:, -margin.shape[1] :], margin, rtol=3e-6, atol=2e-6)
    if model.estimator is not None:
        np.testing.assert_allclose(
            model.estimator.raw(model.predictor.columns.matrix(X)), margin, rtol=3e-6, atol=2e-6
        )
    for few in (X[:0], X[:1]):
        np.testing.assert_allclose(
            load_model(bytes(booster.save_raw("ubj"))).predict(few), answered[: len(few)], rtol=1e-6
        )


@pytest.mark.parametrize("kind", LIGHTGBM)
def test_lightgbm_files_predict_what_the_library_predicts(kind: str) -> None:
    booster = LIGHTGBM[kind]()
    model = load_model(booster.model_to_string().encode())
    X = rows(model.estimator)
    expected, raw = two(booster.predict(X)), two(booster.predict(X, raw_score=True))
    answered = model.predict(X)
    np.testing.assert_allclose(answered[:, -expected.shape[1] :], expected, rtol=1e-12, atol=1e-13)
    assert answered.shape[1] == (2 if model.classes and len(model.classes) == 2 else expected.shape[1])
    if "forest" in kind:  # the library's raw score is the sum before it is averaged
        raw = raw / 6
    if model.classes:
        np.testing.assert_allclose(model.raw(X)[:, -raw.shape[1] :], raw, rtol=1e-12, atol=1e-13)
    if model.estimator is not None:
        np.testing.assert_allclose(model.estimator.raw(X), raw, rtol=1e-12, atol=1e-13)
    else:
        assert "tree methods cannot explain" in model.notes[0]
        assert "trees" not in model.abilities
    for few in (X[:0], X[:1]):
        np.testing.assert_allclose(model.predict(few), answered[: len(few)], rtol=1e-14)


def test_a_vector_of_base_scores_starts_each_class() -> None:
    booster = xgb("multi:softprob")
    told = json.loads(booster.save_raw("json"))["learner"]["learner_model_param"]["base_score"]
    start = load_model(bytes(booster.save_raw("json"))).estimator.base
    assert start.shape == (3,)
    assert len(set(start)) == 3
    np.testing.assert_allclose(start, json.loads(told), rtol=1e-6)


@pytest.mark.parametrize("boosting", ["gbtree", "dart"])
def test_trees_after_xgboosts_best_round_do_not_count(boosting: str) -> None:
    booster = xgb("multi:softprob", rounds=8, booster=boosting, num_parallel_tree=2, subsample=0.8)
    booster.set_attr(best_iteration="2")
    model = load_model(bytes(booster.save_raw("ubj")))
    expected = booster.predict(xgboost.DMatrix(table()), iteration_range=(0, 3))
    np.testing.assert_allclose(model.predict(table()), expected, atol=2e-6)
    assert model.estimator.trees == 3 * 3 * 2
    held = json.loads(booster.save_raw("json"))
    del held["learner"]["gradient_booster"].get("gbtree", held["learner"]["gradient_booster"])["model"]["iteration_indptr"]  # fmt: skip
    assert xgboost_trees.of_parsed(held).trees == 3 * 3 * 2  # as before version 2


def test_trees_after_lightgbms_best_round_do_not_count() -> None:
    booster = lgb("binary", rounds=8)
    booster.best_iteration = 3
    model = load_model(booster.model_to_string().encode())
    np.testing.assert_allclose(model.predict(table())[:, 1], booster.predict(table()), rtol=1e-12)
    assert model.estimator.trees == lightgbm_trees.of_booster(booster).trees == 3


def wards() -> pd.DataFrame:
    rng = np.random.default_rng(3)
    return pd.DataFrame({
        "ward": pd.Categorical(rng.choice(["south", "east", "west", "north"], N), categories=["west", "south", "north", "east"]),
        "age": table()[:, 0],
        "plan": pd.Categorical(rng.choice([30, 10, 20], N)),
    })  # fmt: skip


def ward_models() -> dict[str, tuple[Model, Callable[[pd.DataFrame], np.ndarray]]]:
    frame = wards()
    y = (frame["ward"] == "south") * 2.0 + (frame["plan"] == 20) + np.nan_to_num(frame["age"]) * 0.3
    boosted = xgboost.train(
        {"max_cat_to_onehot": 1, "nthread": 1}, xgboost.DMatrix(frame, y, enable_categorical=True), 5
    )
    told = {"verbose": -1, "min_data_in_leaf": 5, "min_data_per_group": 2, "cat_smooth": 1, "num_threads": 1}
    light = lightgbm.train(told, lightgbm.Dataset(frame, y), 5)
    return {
        "xgboost": (load_model(bytes(boosted.save_raw("json"))),
                    lambda X: boosted.predict(xgboost.DMatrix(X, enable_categorical=True))),
        "lightgbm": (load_model(light.model_to_string().encode()), lambda X: light.predict(X)),
    }  # fmt: skip


@pytest.fixture(scope="module")
def by_ward() -> dict[str, tuple[Model, Callable[[pd.DataFrame], np.ndarray]]]:
    return ward_models()


@pytest.mark.parametrize("library", ["xgboost", "lightgbm"])
def test_categories_of_a_frame_are_those_of_training(library: str, by_ward: Any) -> None:
    model, ask = by_ward[library]
    frame = wards()
    expected = ask(frame)
    assert np.unique(expected).size > 20

    def equal(X: pd.DataFrame, y: np.ndarray) -> None:
        np.testing.assert_allclose(model.predict(X)[:, 0], y, rtol=3e-6)

    equal(frame, expected)
    few = frame[3:6].assign(ward=frame["ward"][3:6].astype(str).astype("category"))  # codes of their own
    equal(few, expected[3:6])
    np.testing.assert_allclose(ask(few), expected[3:6])
    equal(frame.assign(ward=frame["ward"].astype(str), plan=frame["plan"].astype(int))[["plan", "ward", "age"]], expected)  # fmt: skip
    gone = frame.assign(ward=frame["ward"].where(np.arange(N) % 2 == 0))
    equal(gone, ask(gone))
    codes = np.column_stack([frame["ward"].cat.codes, frame["age"], frame["plan"].cat.codes]).astype(float)
    equal(codes, expected)  # an array holds codes
    with pytest.raises(ModelFailure, match=r"'ward' holds numbers; the model was trained on .*'west'"):
        model.predict(frame.assign(ward=1.0))
    with pytest.raises(ModelFailure, match=r"'age' holds 'old'; this .* trained on numbers there"):
        model.predict(frame.assign(age="old"))


def test_a_category_that_is_new_is_refused_for_xgboost_and_missing_for_lightgbm(by_ward: Any) -> None:
    """XGBoost looks for the next name in the alphabet, so that it refuses only names after its last."""
    frame = wards()
    new = frame.assign(ward=pd.Categorical(["zoo", *frame["ward"][1:]]))
    model, ask = by_ward["xgboost"]
    with pytest.raises(xgboost.core.XGBoostError, match="category not in the training set"):
        ask(new)
    with pytest.raises(ModelFailure, match="'ward' holds 'zoo', which XGBoost has not seen"):
        model.predict(new)
    with pytest.raises(ModelFailure, match="'ward' holds 'moon', which XGBoost has not seen"):
        model.predict(new.assign(ward=new["ward"].cat.rename_categories({"zoo": "moon"})))
    model, ask = by_ward["lightgbm"]
    np.testing.assert_allclose(model.predict(new)[:, 0], ask(new), rtol=1e-12)
    missing = frame.assign(ward=frame["ward"].where(np.arange(N) > 0))
    np.testing.assert_allclose(model.predict(new), model.predict(missing))


def test_xgboost_cuts_letters_off_its_categories_and_they_are_found_again() -> None:
    """It stores as many bytes as there are letters: here the last name but one letter, which its length makes good."""
    frame = wards()
    frame["ward"] = frame["ward"].cat.rename_categories({"south": "süd", "west": "weiß"})
    y = (frame["ward"] == "süd") * 2.0 + (frame["ward"] == "east")
    booster = xgboost.train({"nthread": 1}, xgboost.DMatrix(frame, y, enable_categorical=True), 3)
    expected = booster.predict(xgboost.DMatrix(frame, enable_categorical=True))
    model = load_model(bytes(booster.save_raw("json")))
    assert list(model.predictor.columns.categories[0]) == ["weiß", "süd", "north", "ea\0\0"]
    for X in (frame, frame.assign(ward=frame["ward"].astype(str))):
        np.testing.assert_allclose(model.predict(X)[:, 0], expected, rtol=3e-6)
    with pytest.raises(ModelFailure, match="has not seen"):
        model.predict(frame.assign(ward="sü"))


def test_xgboost_refuses_infinity_and_so_do_we() -> None:
    X = table().copy()
    X[5, 1] = 1e39
    booster = xgb()
    with pytest.raises(xgboost.core.XGBoostError, match="inf"):
        booster.predict(xgboost.DMatrix(X))
    with pytest.raises(ModelFailure, match="column 1 holds infinity"):
        load_model(bytes(booster.save_raw("json"))).predict(X)


def test_texts_need_the_names_of_the_categories() -> None:
    held = json.loads(xgb(types=CATEGORIES, max_cat_to_onehot=1).save_raw("json"))
    held["learner"]["gradient_booster"]["model"].pop("cats", None)
    model = load_model(json.dumps(held).encode())
    frame = pd.DataFrame(table()).astype({2: object})
    frame[2] = "east"
    with pytest.raises(ModelFailure, match="does not say which categories its codes stand for"):
        model.predict(frame)


def test_categories_that_are_named_twice_are_damage() -> None:
    frame = wards()
    matrix = xgboost.DMatrix(frame, number(), enable_categorical=True)
    held = json.loads(xgboost.train({"nthread": 1}, matrix, 1).save_raw("json"))
    for change, sentence in (([10, 10, 20], "name one twice"), (None, "not UTF-8")):
        stored = json.loads(json.dumps(held))
        encodings = stored["learner"]["gradient_booster"]["model"]["cats"]["enc"]
        if change:
            encodings[2]["values"] = change
        else:
            encodings[0]["values"][0] = -1
        with pytest.raises(UnreadableFile, match=f"stored categories .*{sentence}"):
            load_model(json.dumps(stored).encode())


def test_covers_are_the_librarys_own() -> None:
    booster = xgb()
    trees = xgboost_trees.of_booster(booster)
    inner = trees.feature >= 0
    np.testing.assert_allclose(
        trees.cover[inner], trees.cover[trees.left[inner]] + trees.cover[trees.right[inner]], rtol=1e-5
    )
    np.testing.assert_allclose(trees.cover[trees.roots[:-1]], N)
    light = lgb()
    trees = lightgbm_trees.of_booster(light)
    assert (trees.cover[trees.roots[:-1]] == N).all()
    without = "\n".join(line for line in light.model_to_string().split("\n") if not line.startswith(("leaf_c", "internal_c", "leaf_w", "internal_w")))  # fmt: skip
    bare = lightgbm_trees.of_text(without)
    assert (bare.cover[bare.feature < 0] == 1).all()
    assert bare.cover[bare.roots[:-1]].tolist() == [15.0] * 6  # the leaves


def test_what_tree_methods_cannot_explain_is_said() -> None:
    with pytest.raises(UnsupportedModel, match="hold straight lines"):
        lightgbm_trees.of_booster(LIGHTGBM["linear leaves"]())
    with pytest.raises(UnsupportedModel, match="predicts the square"):
        lightgbm_trees.of_booster(LIGHTGBM["root"]())
    with pytest.raises(UnsupportedModel, match=r"linear .gblinear. and has no trees"):
        xgboost_trees.of_booster(XGBOOST["linear"]())
    with pytest.raises(UnsupportedModel, match=r"labels only .binary:hinge"):
        load_model(bytes(xgb("binary:hinge").save_raw("json")))


def test_zero_may_not_be_missing_in_some_trees_only() -> None:
    """A row without the value and a zero would need two defaults in one column."""
    text = lgb(zero_as_missing=True, rounds=2).model_to_string()
    first = text.index("decision_type=")
    mixed = text[:first] + text[first:].replace("decision_type=6", "decision_type=10", 1).replace("decision_type=4", "decision_type=8", 1)  # fmt: skip
    assert mixed != text
    with pytest.raises(UnsupportedModel, match="one setting of zero_as_missing"):
        lightgbm_trees.of_text(mixed)


def test_nodes_without_missing_values_beside_nodes_with_them() -> None:
    """Training went on with other settings: NaN is 0 for some trees and missing for others."""
    text = lgb(rounds=3).model_to_string()
    head, *blocks = text.split("decision_type=")
    kinds, rest = blocks[1].split("\n", 1)
    blocks[1] = " ".join(str(int(kind) & 3) for kind in kinds.split()) + "\n" + rest
    mixed = "decision_type=".join([head, *blocks])
    sizes = [len(part) for part in mixed[mixed.index("Tree=0") : mixed.index("end of trees")].split("Tree=")][
        1:
    ]
    mixed = "\n".join(
        f"tree_sizes={' '.join(str(size + 5) for size in sizes)}" if line.startswith("tree_sizes") else line
        for line in mixed.split("\n")
    )
    model = load_model(mixed.encode())
    X = rows(model.estimator)
    expected = lightgbm.Booster(model_str=mixed).predict(X)
    np.testing.assert_allclose(model.predict(X)[:, 0], expected, rtol=1e-12)
    assert (expected != lightgbm.Booster(model_str=text).predict(X)).any()


WITHOUT = """
import sys
sys.modules["xgboost"] = sys.modules["lightgbm"] = None
import numpy as np
from explainers import load_model
X = np.load(sys.argv[1])
for name in sys.argv[2:]:
    np.save(name + ".npy", load_model(name).predict(X))
"""


def test_files_open_where_the_libraries_are_not_installed(tmp_path: Path) -> None:
    boosters = {"b.json": xgb("multi:softprob"), "b.ubj": xgb("multi:softprob"), "b.txt": lgb("multiclass")}
    for name, booster in boosters.items():
        booster.save_model(tmp_path / name)
    np.save(tmp_path / "X.npy", table())
    subprocess.run(
        [sys.executable, "-c", WITHOUT, "X.npy", *boosters], cwd=tmp_path, check=True, timeout=120,
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
    )  # fmt: skip
    for name, booster in boosters.items():
        X = xgboost.DMatrix(table()) if isinstance(booster, xgboost.Booster) else table()
        np.testing.assert_allclose(np.load(tmp_path / f"{name}.npy"), booster.predict(X), atol=2e-6)
