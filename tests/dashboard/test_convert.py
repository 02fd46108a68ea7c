"""`whyboard convert`: every way that can be gone here predicts as before; what is not trusted is not opened."""

from __future__ import annotations

import dataclasses
import gzip
import io
import itertools
import pickle
import re
import tomllib
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import lightgbm
import numpy as np
import onnx
import onnxruntime
import pandas as pd
import pytest
import torch
import xgboost
from catboost import CatBoostClassifier, CatBoostRegressor
from onnx import TensorProto, helper
from PIL import Image
from sklearn.ensemble import GradientBoostingClassifier, HistGradientBoostingRegressor, RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn
from typer.testing import CliRunner

import explainers as ex
from dashboard import cli, converting
from dashboard.converting.command import folder_for, plain
from dashboard.converting.folder import toml
from dashboard.workspace import OpenWorkspace, open_workspace
from explainers.converting import choosing, keras_models, opening, scikit_learn
from tests.cases import mixed_table_classifier, network, numbers, patients, pictures
from tests.dashboard.in_process import InProcess

COLUMNS = ["x0", "x1", "x2"]
TABLE = numbers(60)
TWO = TABLE.assign(y=np.where(TABLE["y"] > 0, 2, 1))


def opened(folder: Path) -> OpenWorkspace:
    return open_workspace(folder, InProcess())


def run(*words: str | Path, answer: str | None = None) -> tuple[int, str, ex.ExplainerError | None]:
    """Exit code, what was said, and the error that becomes one line outside."""
    result = CliRunner().invoke(cli.app, ["convert", *map(str, words)], input=answer)
    error = result.exception
    if error is not None and not isinstance(error, (SystemExit, ex.ExplainerError)):
        raise error
    return result.exit_code, result.output, error if isinstance(error, ex.ExplainerError) else None


def refused(*words: str | Path) -> str:
    code, _, error = run(*words)
    assert code == 1
    assert error is not None
    return str(error)


def save(path: Path, obj: Any) -> Path:
    path.write_bytes(pickle.dumps(obj))
    return path


def csv(folder: Path, frame: pd.DataFrame) -> Path:
    path = folder / "data.csv"
    frame.to_csv(path, index=False)
    return path


def fitted(estimator: Any, frame: pd.DataFrame = TABLE) -> Any:
    return estimator.fit(frame[COLUMNS], frame["y"])


@dataclasses.dataclass(frozen=True)
class Way:
    """A model, the data, the file that should come of it, and what the object itself answers."""

    make: Callable[[], Any]
    file: str
    frame: pd.DataFrame = dataclasses.field(default_factory=lambda: TABLE)
    answers: Callable[[Any, Any], np.ndarray] = lambda obj, X: obj.predict(X)
    classes: tuple[Any, ...] = ()


def probabilities(obj: Any, X: Any) -> np.ndarray:
    return np.asarray(obj.predict_proba(X))


def booster(obj: Any, X: Any) -> np.ndarray:
    return np.asarray(obj.predict(xgboost.DMatrix(X)))


CAT = {"n_estimators": 4, "depth": 2, "verbose": 0, "allow_writing_files": False, "thread_count": 1}
LGB = {"n_estimators": 4, "verbose": -1, "n_jobs": 1, "min_child_samples": 5}
XGB = {"n_estimators": 4, "n_jobs": 1}
ZERO_ONE = TWO.assign(y=TWO["y"] - 1)
NAMED = TABLE.assign(y=np.where(TABLE["y"] > 0, "ill", "well"))

WAYS = {
    "linear": Way(lambda: fitted(LinearRegression()), "model.skops"),
    "forest": Way(lambda: fitted(RandomForestClassifier(4, max_depth=3, random_state=0), NAMED), "model.skops", NAMED, probabilities, ("ill", "well")),
    "boosting": Way(lambda: fitted(GradientBoostingClassifier(n_estimators=4), TWO), "model.skops", TWO, probabilities, (1, 2)),
    "histogram": Way(lambda: fitted(HistGradientBoostingRegressor(max_iter=4)), "model.skops"),
    "pipeline": Way(lambda: fitted(make_pipeline(StandardScaler(), LogisticRegression()), NAMED), "model.skops", NAMED, probabilities, ("ill", "well")),
    "search": Way(lambda: fitted(GridSearchCV(LogisticRegression(), {"C": [0.1, 1.0]}, cv=2), NAMED), "model.skops", NAMED, probabilities, ("ill", "well")),
    "xgboost": Way(lambda: fitted(xgboost.XGBClassifier(**XGB), ZERO_ONE), "model.ubj", ZERO_ONE, probabilities, ("0", "1")),
    "xgboost regression": Way(lambda: fitted(xgboost.XGBRegressor(**XGB)), "model.ubj"),
    "xgboost booster": Way(lambda: fitted(xgboost.XGBRegressor(**XGB)).get_booster(), "model.ubj", answers=booster),
    "lightgbm": Way(lambda: fitted(lightgbm.LGBMClassifier(**LGB), NAMED), "model.txt", NAMED, probabilities, ("ill", "well")),
    "lightgbm, classes 1 and 2": Way(lambda: fitted(lightgbm.LGBMClassifier(**LGB), TWO), "model.txt", TWO, probabilities, (1, 2)),
    "lightgbm booster": Way(lambda: fitted(lightgbm.LGBMRegressor(**LGB)).booster_, "model.txt"),
    "catboost": Way(lambda: fitted(CatBoostClassifier(**CAT), NAMED), "model.cbm", NAMED, probabilities, ("ill", "well")),
    "catboost regression": Way(lambda: fitted(CatBoostRegressor(**CAT)), "model.cbm"),
}  # fmt: skip


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_each_way_predicts_as_before_and_opens_as_a_workspace(way: Way, tmp_path: Path) -> None:
    obj = way.make()
    file, data = save(tmp_path / "risk.pkl", obj), csv(tmp_path, way.frame)
    code, said, error = run(file, "--trust", "--data", data, "--target", "y")
    assert code == 0, (said, error)
    folder = tmp_path / "risk"
    assert {path.name for path in folder.iterdir()} == {way.file, "cases.csv", "workspace.toml"}
    # XGBoost adds its leaves up in single precision, the reader of its file in double
    most = r"(0|\d\.?\d*e-0[789])" if way.file == "model.ubj" else "0"
    assert re.search(rf"on 60 cases of data.csv the predictions differ by at most {most} \(tolerance", said)
    assert f"whyboard serve {folder}" in said
    workspace = opened(folder)
    model = workspace.models[0].model
    assert workspace.about.title == "risk"
    assert model.classes == way.classes
    expected = np.asarray(way.answers(obj, TABLE[COLUMNS])).reshape(60, -1)
    np.testing.assert_allclose(model.predict(workspace.data.X), expected, rtol=0, atol=1e-6)
    assert workspace.data.y is not None
    assert (model.truth(workspace.data.y) >= 0).all() or model.task == "regression"


def test_roles_and_columns_that_the_model_does_not_know_are_noted_in_the_workspace(tmp_path: Path) -> None:
    case = mixed_table_classifier()
    frame = patients()
    data = csv(tmp_path, frame.assign(**{'no "feature"\\': 1})[[*frame.columns[::-1], 'no "feature"\\']])
    file = save(tmp_path / "model.pkl", case.model.estimator)
    assert run(file, "--trust", "--data", data, "--out", tmp_path / "made")[0] == 0
    described = tomllib.loads((tmp_path / "made" / "workspace.toml").read_text(encoding="utf-8"))["data"]
    assert described == {
        "file": "cases.csv",
        "target": "outcome",
        "role": "part",
        "ignore": ['no "feature"\\'],
    } or (described["ignore"] == ["part", 'no "feature"\\'])
    workspace = opened(tmp_path / "made")
    np.testing.assert_array_equal(
        workspace.models[0].model.predict(workspace.data.X), case.model.predict(case.data.X)
    )


@pytest.mark.parametrize(
    ("name", "pack"),
    [
        ("model.joblib", lambda obj: _joblib(obj, 0)),
        ("model.joblib.gz", lambda obj: _joblib(obj, ("gzip", 3))),
        ("model.z", lambda obj: _joblib(obj, ("zlib", 3))),
        ("model.xz", lambda obj: _joblib(obj, ("xz", 3))),
        ("model.pkl.gz", lambda obj: gzip.compress(pickle.dumps(obj))),
        ("model.p", lambda obj: pickle.dumps(obj, protocol=2)),
        ("model.onnx", lambda obj: pickle.dumps(obj)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_every_packing_of_a_pickle(name: str, pack: Callable[[Any], bytes], tmp_path: Path) -> None:
    model = fitted(LinearRegression())
    (tmp_path / name).write_bytes(pack(model))
    done = ex.convert(tmp_path / name, trust=True)
    np.testing.assert_array_equal(done.model.predict(TABLE[COLUMNS])[:, 0], model.predict(TABLE[COLUMNS]))
    assert done.form == "skops"


def _joblib(obj: Any, compress: Any) -> bytes:
    buffer = io.BytesIO()
    joblib.dump(obj, buffer, compress=compress)
    return buffer.getvalue()


@pytest.mark.parametrize("holder", [lambda m: {"model": m, "cut": 0.3}, lambda m: ("v1", m), lambda m: [m]])
def test_the_only_model_of_a_holder_is_taken_and_that_is_said(
    holder: Callable[[Any], Any], tmp_path: Path
) -> None:
    done = ex.convert(save(tmp_path / "m.pkl", holder(fitted(LinearRegression()))), trust=True)
    assert any("is taken: LinearRegression" in note for note in done.notes)


def test_what_prepared_the_columns_beside_the_model_is_named(tmp_path: Path) -> None:
    holder = {"scaler": StandardScaler().fit(TABLE[COLUMNS]), "model": fitted(LinearRegression())}
    done = ex.convert(save(tmp_path / "m.pkl", holder), trust=True)
    assert any("Left out: 'scaler'" in note for note in done.notes)


def test_of_a_search_the_best_is_taken_and_that_is_said(tmp_path: Path) -> None:
    search = fitted(GridSearchCV(LogisticRegression(), {"C": [0.1]}, cv=2), NAMED)
    done = ex.convert(save(tmp_path / "m.pkl", search), trust=True)
    assert "Of the GridSearchCV its best_estimator_ is taken: LogisticRegression." in done.notes


HOLDERS = {
    "nothing": ({}, "no models"),
    "two": ({"a": LinearRegression(), "b": LogisticRegression()}, "2 models ('a: LinearRegression', 'b: Log"),
    "text": ("hello", "holds a str, not a model"),
    "class": (LinearRegression, "not a model"),
    "unfitted": (LinearRegression(), "is not fitted"),
    "unfitted search": (GridSearchCV(LogisticRegression(), {"C": [1.0]}), "without a best_estimator_"),
    "scaler": (StandardScaler().fit(TABLE[COLUMNS]), "not a model that predicts"),
}


@pytest.mark.parametrize(("held", "words"), HOLDERS.values(), ids=HOLDERS)
def test_what_is_no_model_is_refused_and_nothing_is_left_behind(
    held: Any, words: str, tmp_path: Path
) -> None:
    assert words in refused(save(tmp_path / "m.pkl", held), "--trust")
    assert [path.name for path in tmp_path.iterdir()] == ["m.pkl"]


# ---- trust


class Marks:
    """Makes a marker file when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.marker,)


@pytest.mark.parametrize(("answer", "opens"), [("n\n", False), ("\n", False), ("y\n", True), (None, False)])
def test_nothing_is_opened_unless_somebody_says_so(
    answer: str | None, opens: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    marker = tmp_path / "marker"
    file = save(tmp_path / "m.pkl", Marks(marker))
    monkeypatch.setattr(cli, "_at_a_terminal", lambda: answer is not None)
    code, said, error = run(file, answer=answer)
    assert code == 1
    assert marker.exists() == opens
    assert "m.pkl is a pickle. Opening it runs whatever code its author put into it" in said
    assert ("Nothing was opened" in said) == (not opens)
    assert (error is not None) == opens
    assert not (tmp_path / "m").exists()


def test_in_python_too_it_must_be_said(tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    file = save(tmp_path / "m.pkl", Marks(marker))
    assert ex.runs_code(file) == "a pickle"
    with pytest.raises(ex.UnsupportedModel, match="trust=True"):
        ex.convert(file)
    assert not marker.exists()


def test_a_name_cannot_speak_to_the_terminal(tmp_path: Path) -> None:
    file = save(tmp_path / "a\x1b[2J\n\u202eb.pkl", fitted(LinearRegression()))
    code, said, _ = run(file)
    assert code == 1
    assert "\x1b" not in said
    assert "\u202e" not in said
    assert plain("a\x1bb\nc") == "a\ufffdb\ufffdc"
    assert run(file, "--trust", "--data", csv(tmp_path, TABLE), "--out", tmp_path / "made")[0] == 0
    assert opened(tmp_path / "made").about.title == file.stem


# ---- what is missing here, or of another version

BROKEN = {
    "library": (b"cno_such_library.deep\nThing\n.", ex.UnsupportedModel, "pip install no_such_library"),
    "other name": (b"cimblearn.over\nThing\n.", ex.UnsupportedModel, "pip install imbalanced-learn"),
    "module": (b"csklearn.gone\nThing\n.", ex.UnsupportedModel, "the installed scikit-learn does not have"),
    "script": (b"c__main__\nNoSuchNet\n.", ex.UnsupportedModel, "a class of the script that saved it"),
    "class": (b"csklearn.linear_model\nGone\n.", ex.UnsupportedModel, "the versions that it was saved with"),
    "cut short": (pickle.dumps(fitted(LinearRegression()))[:-30], ex.UnreadableFile, "cannot be opened"),
}


@pytest.mark.parametrize(("content", "kind", "words"), BROKEN.values(), ids=BROKEN)
def test_what_is_missing_is_named_with_what_to_do(
    content: bytes, kind: type[Exception], words: str, tmp_path: Path
) -> None:
    (tmp_path / "m.pkl").write_bytes(content)
    with pytest.raises(kind, match=words):
        ex.convert(tmp_path / "m.pkl", trust=True)


def test_another_version_of_the_library_is_shown(tmp_path: Path) -> None:
    import sklearn

    version = sklearn.__version__.encode()
    content = pickle.dumps(fitted(LinearRegression()))
    assert content.count(version) == 1
    (tmp_path / "m.pkl").write_bytes(content.replace(version, b"0" + version[1:]))
    code, said, _ = run(tmp_path / "m.pkl", "--trust")
    assert code == 0
    assert "note: Trying to unpickle estimator LinearRegression from version 0" in said


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """``without("keras")``: as where that library is not installed."""

    def hide(library: str) -> None:
        find = opening.importlib.util.find_spec
        monkeypatch.setattr(
            "importlib.util.find_spec", lambda name, *rest: None if name == library else find(name, *rest)
        )

    return hide


def test_keras_is_asked_for_with_its_exporter(tmp_path: Path, without: Callable[[str], None]) -> None:
    without("keras")
    with zipfile.ZipFile(tmp_path / "m.keras", "w") as archive:
        archive.writestr("config.json", "{}")
        archive.writestr("metadata.json", "{}")
    assert "pip install" in refused(tmp_path / "m.keras", "--trust")


# ---- the comparison


def test_a_model_that_predicts_otherwise_afterwards_is_an_error_and_no_folder_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = fitted(LinearRegression(), TABLE.assign(y=TABLE["y"] + 0.5))
    write = scikit_learn._skops
    monkeypatch.setattr(scikit_learn, "_skops", lambda _: write(other))
    file = save(tmp_path / "m.pkl", fitted(LinearRegression()))
    said = refused(file, "--trust", "--data", csv(tmp_path, TABLE))
    assert "by up to 0.5 (allowed is " in said
    assert "on 100.0% of 60 cases" in said
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data.csv", "m.pkl"]


def test_without_data_rows_are_made_up_and_that_is_said(tmp_path: Path) -> None:
    code, said, _ = run(save(tmp_path / "m.pkl", fitted(LinearRegression())), "--trust")
    assert code == 0
    assert "on 200 made-up cases of random numbers (no data were given) the predictions differ" in said
    assert "--data FILE" in said
    assert [path.name for path in (tmp_path / "m").iterdir()] == ["model.skops"]


def test_where_rows_cannot_be_made_up_data_are_asked_for(tmp_path: Path) -> None:
    file = save(tmp_path / "m.pkl", mixed_table_classifier().model.estimator)
    assert "Name the data" in refused(file, "--trust")


def test_data_that_do_not_fit_are_refused_by_their_columns(tmp_path: Path) -> None:
    file = save(tmp_path / "m.pkl", fitted(LinearRegression()))
    assert "'x2'" in refused(file, "--trust", "--data", csv(tmp_path, TABLE.drop(columns="x2")))


# ---- what needs no conversion, and the folder


def test_a_safe_file_becomes_a_workspace_without_being_asked_for_trust(tmp_path: Path) -> None:
    file = tmp_path / "boost.json"
    fitted(xgboost.XGBRegressor(**XGB)).get_booster().save_model(file)
    code, said, _ = run(file, "--data", csv(tmp_path, TABLE), "--target", "y")
    assert code == 0
    assert "'boost.json' is xgboost json, which holds no code" in said
    assert (tmp_path / "boost" / "model.json").read_bytes() == file.read_bytes()
    assert opened(tmp_path / "boost").data.schema.target == "y"
    assert "drop it on the start page" in refused(file, "--out", tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_weights_bring_their_layers_along(tmp_path: Path) -> None:
    torch.save(network(nn.Linear(3, 1)).state_dict(), tmp_path / "w.pt")
    layers = tmp_path / "net.json"
    layers.write_text(
        '{"layers": [{"layer": "Linear", "in_features": 3, "out_features": 1, "weights": "0"}]}'
    )
    data = csv(tmp_path, TABLE)
    code, *_ = run(tmp_path / "w.pt", "--data", data, "--target", "y", "--architecture", layers)
    assert code == 0
    assert opened(tmp_path / "w").models[0].model.inputs == 3


@pytest.mark.parametrize("content", [b"\x93NUMPY\x01\x00", b"%PDF-1.7", b"binf"])
def test_what_is_no_model_file_is_refused_before_any_question(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "m.pkl").write_bytes(content)
    code, said, error = run(tmp_path / "m.pkl")
    assert (code, said) == (1, "")
    assert isinstance(error, ex.UnsupportedModel)


def test_a_folder_is_never_overwritten_unless_told_and_keeps_what_else_is_in_it(tmp_path: Path) -> None:
    file, data = save(tmp_path / "m.pkl", fitted(LinearRegression())), csv(tmp_path, TABLE)
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "notes.txt").write_text("mine")
    assert "exists already" in refused(file, "--trust", "--data", data)
    assert [path.name for path in (tmp_path / "m").iterdir()] == ["notes.txt"]
    assert run(file, "--trust", "--data", data, "--force")[0] == 0
    assert (tmp_path / "m" / "notes.txt").read_text() == "mine"
    assert len(opened(tmp_path / "m").data) == 60
    taken = tmp_path / "file"
    taken.write_text("mine")
    assert "exists already" in refused(file, "--trust", "--force", "--out", taken)
    assert taken.read_text() == "mine"


def test_the_folder_is_called_like_the_file() -> None:
    assert folder_for(Path("a/risk.v2.pkl.gz")) == Path("a/risk.v2")
    assert folder_for(Path("a/risk")) == Path("a/risk-workspace")
    assert folder_for(Path("a/.pkl")) == Path("a/.pkl-workspace")


def test_any_text_survives_the_description() -> None:
    every = "".join(map(chr, range(0x3000))) + "\ufffd\U0001f600"
    texts = ['"""', "'''", "\\", "[x]", "# no comment", ""]
    table = {"a": every, "b": texts, "c": True, "d": 3, "e": 0.5, "f": [1, 2]}
    assert tomllib.loads(toml({"one": table, "many": [table, {}]})) == {"one": table, "many": [table, {}]}
    assert tomllib.loads(toml({"one": {"a": "file\udcff"}})) == {"one": {"a": "file?"}}


# ---- ONNX


@pytest.mark.slow
def test_what_skops_does_not_take_goes_to_onnx_by_column(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: Any) -> bytes:
        raise ex.UnsupportedModel("This skops file holds types that are not opened here: some.Type.")

    monkeypatch.setattr(scikit_learn, "_skops", refuse)
    case = mixed_table_classifier()
    for position, (estimator, frame, target) in enumerate(
        [
            (case.model.estimator, patients(), "outcome"),
            (fitted(LogisticRegression(), NAMED), NAMED[["x2", "x1", "x0", "y"]], "y"),
            (LinearRegression().fit(TABLE[COLUMNS].to_numpy(), TABLE["y"]), TABLE, "y"),
        ]
    ):
        file, out = save(tmp_path / "m.pkl", estimator), tmp_path / str(position)
        code, said, _ = run(file, "--trust", "--data", csv(tmp_path, frame), "--target", target, "--out", out)
        assert code == 0
        assert "some.Type. It was exported to ONNX instead." in said
        workspace = opened(out)
        model = workspace.models[0].model
        assert model.family.startswith("ONNX")
        wanted = ex.Model.wrap(estimator).predict(workspace.data.X)
        np.testing.assert_allclose(model.predict(workspace.data.X), wanted, atol=1e-5)


def test_where_there_is_no_second_way_the_types_are_named(
    tmp_path: Path, without: Callable[[str], None]
) -> None:
    ends_in_booster = fitted(make_pipeline(StandardScaler(), xgboost.XGBRegressor(**XGB)))
    said = refused(save(tmp_path / "m.pkl", ends_in_booster), "--trust")
    assert "xgboost.sklearn.XGBRegressor" in said
    assert "pipeline[-1]" in said
    without("skl2onnx")
    said = refused(save(tmp_path / "m.pkl", fitted(Strange())), "--trust")
    assert "Strange" in said
    assert "pip install skl2onnx" in said


class Strange(LinearRegression):
    """An estimator of one's own."""


def modules() -> dict[str, tuple[nn.Module, str]]:
    cnn = (nn.Conv2d(1, 2, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Dropout(0.5))
    return {
        "regression": (network(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1)), ""),
        "logits": (network(nn.Linear(3, 2)), "no,yes"),
        "one logit": (network(nn.Linear(3, 1)), "no,yes"),
        "softmax": (network(nn.Linear(3, 2), nn.Softmax(1)), "no,yes"),
        "pictures": (network(*cnn, nn.Linear(128, 3)).train(), "a,b,c"),
    }


def torch_data(name: str, folder: Path) -> tuple[Path, list[str]]:
    if name != "pictures":
        labels = np.where(TABLE["y"] > 0, "yes", "no")
        return csv(folder, TABLE if name == "regression" else TABLE.assign(y=labels)), ["--target", "y"]
    for i, image in enumerate(pictures()):
        (folder / "pics" / "abc"[i % 3]).mkdir(parents=True, exist_ok=True)
        Image.fromarray((image[0] * 255).astype(np.uint8)).save(folder / "pics" / "abc"[i % 3] / f"{i}.png")
    return folder / "pics", []


def logits(module: nn.Module, X: Any) -> np.ndarray:
    values = np.asarray(X, dtype=np.float32)
    with torch.no_grad():
        return module.eval()(torch.from_numpy(values)).numpy()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "form"),
    [*itertools.product(modules(), ("module", "script", "program")), ("regression", "pickle")],
)
def test_torch_becomes_onnx_and_predicts_as_before(name: str, form: str, tmp_path: Path) -> None:
    module, classes = modules()[name]
    data, words = torch_data(name, tmp_path)
    given = torch.zeros((4, 1, 8, 8) if name == "pictures" else (4, 3))
    file = tmp_path / "net.bin"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own: scripts are deprecated
        if form == "module":
            torch.save(module, file)
        elif form == "pickle":
            save(file, module)
        elif form == "script":
            torch.jit.trace(module.eval(), given).save(str(file))
        else:
            torch.export.save(torch.export.export(module.eval(), (given,)), file.with_suffix(".pt2"))
            file = file.with_suffix(".pt2")
    out = tmp_path / "made"
    if classes:
        words = [*words, "--classes", classes]
    code, said, error = run(file, "--trust", "--data", data, "--out", out, *words)
    assert code == 0, (said, error)
    workspace = opened(out)
    model = workspace.models[0].model
    assert model.classes == tuple(filter(None, classes.split(",")))
    raw = logits(module, workspace.data.X)
    if name == "one logit":
        raw = np.hstack([-raw, raw])
        np.testing.assert_allclose(model.raw(workspace.data.X), raw, atol=1e-5)
    elif name in ("logits", "pictures"):
        np.testing.assert_allclose(model.raw(workspace.data.X), raw, atol=1e-5)
    else:
        np.testing.assert_allclose(model.predict(workspace.data.X), raw, atol=1e-5)
    if name == "pictures":
        assert {path.name for path in out.iterdir()} == {"model.onnx", "cases.zip", "workspace.toml"}


class Pair(nn.Module):
    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return x, x


def test_what_torch_cannot_export_is_said(tmp_path: Path, without: Callable[[str], None]) -> None:
    torch.save(network(nn.Linear(3, 1)), tmp_path / "m.pt")
    assert "needs an example input" in refused(tmp_path / "m.pt", "--trust")
    wide = csv(tmp_path, TABLE.assign(more=1.0))
    assert "cannot take cases of shape (4,)" in refused(
        tmp_path / "m.pt", "--trust", "--data", wide, "--target", "y"
    )
    text = csv(tmp_path, TABLE.assign(more="a"))
    assert "hold text" in refused(tmp_path / "m.pt", "--trust", "--data", text, "--target", "y")
    torch.save(Pair(), tmp_path / "p.pt")
    assert "answers a tuple" in refused(tmp_path / "p.pt", "--trust", "--data", csv(tmp_path, TABLE))
    without("onnxscript")
    assert "pip install onnxscript" in refused(tmp_path / "p.pt", "--trust", "--data", csv(tmp_path, TABLE))


@pytest.mark.parametrize(
    ("turn", "shape", "taken", "back"),
    [
        (keras_models.with_channels_first, ["n", 2, 3, 1], ["n", 1, 2, 3], lambda X: X.transpose(0, 2, 3, 1)),
        (keras_models.with_one_channel, ["n", 2, 3], ["n", 1, 2, 3], lambda X: X[:, 0]),
    ],
)
def test_pictures_are_turned_before_the_input(
    turn: Callable[[bytes], bytes], shape: list[Any], taken: list[Any], back: Callable[[Any], Any]
) -> None:
    graph = helper.make_graph(
        [helper.make_node("Flatten", ["pictures"], ["flat"])],
        "flat",
        [helper.make_tensor_value_info("pictures", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("flat", TensorProto.FLOAT, ["n", 6])],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    content = turn(made.SerializeToString())
    onnx.checker.check_model(onnx.ModelProto.FromString(content), full_check=True)
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    (entry,) = session.get_inputs()
    assert entry.shape == taken
    X = np.random.default_rng(0).random((4, *taken[1:])).astype(np.float32)
    np.testing.assert_array_equal(session.run(None, {entry.name: X})[0], back(X).reshape(4, 6))


def test_libraries_are_told_by_their_classes() -> None:
    found = [
        choosing.library_of(obj) for obj in (Strange(), nn.Linear(1, 1), xgboost.XGBRegressor(), object())
    ]
    assert found == ["sklearn", "torch", "xgboost", ""]
    assert converting.warning("a", "b").startswith("a is b. ")
