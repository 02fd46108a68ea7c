"""The table of formats, what `allow` opens, and the reader of torch files beside torch's own."""

from __future__ import annotations

import importlib.util
import io
import pickle
import subprocess
import sys
import types
import warnings
import zipfile

import cloudpickle
import joblib
import numpy as np
import pytest
import skops.io
import torch
from sklearn.linear_model import LogisticRegression
from torch import nn

from explainers import FORMATS, InvalidSetting, Limits, UnreadableFile, UnsupportedModel, load_model
from explainers.loading import torch_files
from explainers.loading.policy import PROGRAMS, admit
from explainers.loading.programs import LOADERS
from explainers.loading.recognition import recognize
from explainers.loading.sources import File
from tests.explainers.test_refusals import ARCHITECTURE, ROOT, models, saved, zipped

X = np.random.default_rng(0).normal(size=(30, 3)).astype(np.float32)
NAMES = {
    "XGBoost JSON": "xgboost json", "XGBoost UBJ": "xgboost ubj", "LightGBM": "lightgbm", "skops": "skops",
    "ONNX": "onnx", "safetensors": "safetensors", "torch": "torch weights",
}  # fmt: skip


def form(name: str):
    return next(form for form in FORMATS if form.name == name)


def test_the_table_names_each_format_once_and_says_why_and_what_instead() -> None:
    assert len({form.name for form in FORMATS}) == len(FORMATS)
    letters = {letter: {f.name for f in FORMATS if f.trust == letter} for letter in ("A", "B", "C", "D")}
    assert letters["A"] == {"onnx", "safetensors", "xgboost json", "xgboost ubj", "lightgbm"}
    assert letters["B"] == {"skops", "torch weights", "catboost"}
    assert letters["C"] == {"keras"}
    assert letters["D"] == {"pickle", "joblib", "dill", "cloudpickle", "torch module", "torchscript", "pt2"}
    assert set(PROGRAMS) == letters["C"] | letters["D"] == set(LOADERS)
    for each in FORMATS:
        assert each.why.endswith("."), each.name
        assert (each.way_out == "") == (each.trust in ("A", "B")), each.name
        assert (each.opened != "") == (each.trust in ("C", "D")), each.name
        if each.trust in ("C", "D"):
            assert "On your own machine, whyboard convert FILE" in each.way_out


@pytest.mark.parametrize("kind", NAMES)
def test_an_opened_model_says_what_was_trusted(kind: str) -> None:
    architecture = ARCHITECTURE if kind in ("safetensors", "torch") else None
    model = load_model(models()[kind], architecture)
    assert model.trust == form(NAMES[kind]).trust
    assert model.notes[-1] == form(NAMES[kind]).why
    assert recognize(File("upload", models()[kind])) == NAMES[kind]


def estimator() -> LogisticRegression:
    return LogisticRegression().fit(X, X[:, 0] > 0)


def test_the_content_decides_and_another_ending_is_noted() -> None:
    content = skops.io.dumps(estimator())
    assert load_model(content, name="a.skops").notes == (form("skops").why,)
    assert load_model(content, name="a.version2").notes == (form("skops").why,)
    noted = load_model(content, name="a.PKL").notes
    assert noted == (
        form("skops").why,
        "The file's name ends in .pkl, but it holds skops; its content decided.",
    )


def test_a_program_under_the_name_of_a_safe_format_stays_closed() -> None:
    content = pickle.dumps(estimator())
    assert load_model(content, name="model.pkl", allow=["pickle"]).classes == (False, True)
    assert load_model(content, name="model.bin", allow=["pickle"]).trust == "D"
    for ending, owner in ((".onnx", "onnx"), (".json", "xgboost json"), (".pt", "torch weights")):
        with pytest.raises(
            UnsupportedModel, match=rf"is called \{ending}, as {owner} is, .* 'pickle', which"
        ):
            load_model(content, name=f"model{ending}", allow=["pickle"])
    with pytest.raises(UnsupportedModel, match="is a pickle, which is not opened"):
        load_model(content, name="model.onnx")


def test_allow_takes_the_names_of_the_table_only() -> None:
    for wrong in (["pickel"], ["onnx"], ["zip"], "unknown"):
        with pytest.raises(
            InvalidSetting, match=r"There is no format .* to allow; .* are keras, pickle, joblib"
        ):
            load_model(b"{", allow=wrong)
    with pytest.raises(UnsupportedModel, match="is a pickle, which is not opened"):
        load_model(pickle.dumps(1), allow=[name for name in PROGRAMS if name != "pickle"])
    assert load_model(pickle.dumps(estimator()), allow="pickle").trust == "D"
    with pytest.raises(UnsupportedModel, match="zip archive"):
        admit("upload", "zip", frozenset(PROGRAMS))


def scripted(module: nn.Module) -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(module), buffer)
    return buffer.getvalue()


def by_joblib(**settings) -> bytes:
    buffer = io.BytesIO()
    joblib.dump(estimator(), buffer, **settings)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("kind", "write"),
    [
        ("pickle", lambda: pickle.dumps(estimator(), 0)),
        ("pickle", lambda: pickle.dumps(estimator())),
        ("joblib", by_joblib),
        ("joblib", lambda: by_joblib(compress=("xz", 3))),
        ("cloudpickle", lambda: cloudpickle.dumps(Scores())),
    ],
)
def test_what_python_wrote_opens_where_it_is_allowed(kind: str, write) -> None:
    content = write()
    with pytest.raises(
        UnsupportedModel, match=r"is not opened: opening such a file runs .*whyboard convert FILE"
    ):
        load_model(content)
    model = load_model(content, allow=[kind])
    assert (model.trust, model.notes[-1]) == ("D", form(kind).opened)
    np.testing.assert_allclose(model.predict(X), estimator().predict_proba(X), atol=1e-9)
    assert len(model.digest) == 64


class Scores:
    """cloudpickle carries it by value: it belongs to no installed module."""

    classes_ = np.array([False, True])

    def predict(self, rows):
        return self.predict_proba(rows).argmax(1)

    def predict_proba(self, rows):
        return estimator().predict_proba(rows)


cloudpickle.register_pickle_by_value(sys.modules[__name__])


@pytest.mark.parametrize("ending", [[], [nn.Softmax(1)]])
@pytest.mark.parametrize("kind", ["torch module", "torch module legacy", "torchscript"])
@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_torch_programs_open_where_they_are_allowed(kind: str, ending: list) -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(3, 2), nn.Dropout(), *ending)
    legacy = "legacy" in kind
    content = (
        scripted(module)
        if kind == "torchscript"
        else saved(module, _use_new_zipfile_serialization=not legacy)
    )
    model = load_model(content, classes=("a", "b"), allow=[kind.removesuffix(" legacy")])
    raw = module.eval()(torch.from_numpy(X)).detach()
    np.testing.assert_allclose(model.predict(X), (raw if ending else raw.softmax(1)).numpy(), atol=1e-6)
    assert (model.trust, "gradients" in model.abilities) == ("D", True)


@pytest.mark.slow
def test_an_exported_program_opens_where_it_is_allowed() -> None:
    module, buffer = nn.Linear(3, 2), io.BytesIO()
    shapes = ({0: torch.export.Dim("rows")},)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.export.save(torch.export.export(module, (torch.ones(4, 3),), dynamic_shapes=shapes), buffer)
        model = load_model(buffer.getvalue(), name="model.pt2", allow=["pt2"])
    np.testing.assert_allclose(model.predict(X), module(torch.from_numpy(X)).detach().numpy(), atol=1e-6)
    assert model.trust == "D"


KERAS = zipped(config_dot_json="{}", metadata_dot_json="{}")

#: Saves a Keras model in both of its forms, opens them, and compares; in a process of its own, since Keras is chosen once.
KERAS_ROUND_TRIP = """
import os, sys, warnings, numpy as np
os.environ["KERAS_BACKEND"] = "torch"
warnings.simplefilter("ignore")
import keras
from explainers import load_model
X = np.random.default_rng(0).normal(size=(30, 3)).astype(np.float32)
dense, given = keras.layers.Dense, keras.layers.Input((3,))
for ending, outputs in (("softmax", 2), ("sigmoid", 1), ("linear", 2)):
    model = keras.Sequential([given, dense(4, "relu"), keras.layers.Dropout(0.5), dense(outputs, ending)])
    for form in ("keras", "h5"):
        path = f"{sys.argv[1]}/model.{form}"
        model.save(path)
        opened = load_model(path, allow=["keras"])
        assert opened.trust == "C" and "gradients" in opened.abilities
        assert opened.classes == (() if ending == "linear" else ("0", "1"))
        np.testing.assert_allclose(opened.predict(X)[:, -outputs:], model(X).detach().numpy(), atol=1e-6)
print("equal")
"""


@pytest.mark.slow
def test_keras_models_open_where_they_are_allowed(tmp_path) -> None:
    """Where Keras is not installed, what must happen is the sentence that says so."""
    if importlib.util.find_spec("keras") is None:
        with pytest.raises(UnsupportedModel, match="Keras is not installed"):
            load_model(KERAS, allow=["keras"])
        return
    command = [sys.executable, "-c", KERAS_ROUND_TRIP, str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)
    assert done.stdout.strip().endswith("equal"), done.stderr[-2000:]


def test_what_a_program_raises_is_named_by_its_kind_only() -> None:
    class Secret:
        def __reduce__(self):
            return int, ("patient 4711",)

    with pytest.raises(
        UnsupportedModel, match=r"could not be opened as pickle: it raised ValueError\."
    ) as caught:
        load_model(pickle.dumps(Secret()), allow=["pickle"])
    assert "4711" not in str(caught.value)
    with pytest.raises(UnsupportedModel, match="needs 'no_such_library', which is not installed here"):
        load_model(b"cno_such_library\nModel\n.", allow=["pickle"])
    with pytest.raises(UnsupportedModel, match="Cannot wrap dict"):
        load_model(pickle.dumps({}), allow=["pickle"])
    with pytest.raises(UnsupportedModel, match="holds a dict, not a torch module"):
        load_model(saved({"a": torch.Generator}), allow=["torch module"])


@pytest.mark.parametrize(
    ("module", "sentence"),
    [
        (None, r"Keras is not installed. Install it: pip install \"whyboard\[keras\]\""),
        (
            types.SimpleNamespace(__version__="3.14.1"),
            "Keras 3.14.1 is installed, whose safe mode has known holes",
        ),
        (
            types.SimpleNamespace(
                __version__="3.15.0", backend=types.SimpleNamespace(backend=lambda: "tensorflow")
            ),
            "Keras runs on tensorflow here and is needed on torch. Set KERAS_BACKEND=torch",
        ),
    ],
)
def test_keras_is_asked_for_by_version_and_backend(module, sentence: str, monkeypatch) -> None:
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    monkeypatch.setitem(sys.modules, "keras", module)
    with pytest.raises(UnsupportedModel, match=sentence):
        load_model(KERAS, allow=["keras"])


@pytest.mark.parametrize(("library", "content"), [("dill", b"\x80\x02cdill._dill\n."), ("cloudpickle", b"\x80\x02ccloudpickle\n.")])  # fmt: skip
def test_a_missing_library_of_pickles_is_named(library: str, content: bytes, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(
        UnsupportedModel, match=f"{library} is not installed. Install it: pip install {library}"
    ):
        load_model(content, allow=[library])


# --- the reader of torch files ---------------------------------------------------------------------------------------


def read(content: bytes) -> dict[str, torch.Tensor]:
    found, tensor = torch_files.read(File("upload", content))
    found = found.get("state_dict", found)
    return {name: tensor(view) for name, view in found.items() if isinstance(view, torch_files.View)}


def every_kind_of_tensor() -> dict[str, torch.Tensor]:
    wide = torch.arange(24.0).reshape(4, 6)
    plain = {str(dtype): torch.arange(6).to(dtype).reshape(2, 3) for dtype in torch_files.DTYPES.values()}
    views = {"row": wide[1], "turned": wide.T, "part": wide[1:3, ::2], "whole": wide, "again": wide}
    odd = {"none": torch.empty(0, 3), "one": torch.tensor(2.5), "grad": nn.Parameter(torch.ones(2)), "nan": torch.tensor([torch.nan])}  # fmt: skip
    return {**plain, **views, **odd}


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("nested", [False, True])
def test_tensors_are_those_that_torch_reads(legacy: bool, nested: bool) -> None:
    tensors = every_kind_of_tensor()
    whole = {"state_dict": tensors, "epoch": 3, "rate": 0.1, "past": [1, (2, 3, 4, 5), None, True]}
    content = saved(whole if nested else tensors, _use_new_zipfile_serialization=not legacy)
    expected = torch.load(io.BytesIO(content), weights_only=True)
    expected = expected["state_dict"] if nested else expected
    found = read(content)
    assert list(found) == list(tensors)
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor.detach(), rtol=0, atol=0, equal_nan=True)
        assert found[name].stride() == tensor.stride()


@pytest.mark.parametrize("legacy", [False, True])
def test_state_dicts_and_checkpoints_of_real_modules(legacy: bool) -> None:
    module = nn.Sequential(
        nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.LSTM(4, 5), nn.TransformerEncoderLayer(4, 2)
    )
    steps = torch.optim.Adam(module.parameters())
    module[0](torch.ones(1, 1, 5, 5)).sum().backward()
    steps.step()
    for whole in (module.state_dict(), {"state_dict": module.state_dict(), "optimizer": steps.state_dict()}):
        content = saved(whole, _use_new_zipfile_serialization=not legacy)
        assert recognize(File("upload", content)) == "torch weights"
        found = read(content)
        assert found.keys() == module.state_dict().keys()
        for name, tensor in module.state_dict().items():
            torch.testing.assert_close(found[name], tensor, rtol=0, atol=0)


def packed(pickled: bytes, numbers: bytes = bytes(12), **more: bytes) -> bytes:
    parts = {"archive/data.pkl": pickled, "archive/data/0": numbers}
    return zipped(**{name.replace("/", "__"): content for name, content in {**parts, **more}.items()})


def described(
    storage: bytes = b"X\4\0\0\0cpu0K\3", key: bytes = b"X\1\0\0\x000", view: bytes = b"K\0K\3\x85K\1\x85"
) -> bytes:
    """A state dict of one tensor, by hand: three float32 numbers."""
    identity = b"(X\7\0\0\0storagectorch\nFloatStorage\n" + key + storage + b"tQ"
    return b"\x80\x02}X\1\0\0\0actorch._utils\n_rebuild_tensor_v2\n(" + identity + view + b"\x89}tRs."


def test_the_file_made_by_hand_is_sound() -> None:
    assert read(packed(described()))["a"].tolist() == [0, 0, 0]


def refused(content: bytes, **bounds: int) -> str:
    with pytest.raises((UnreadableFile, UnsupportedModel)) as caught:
        load_model(content, ARCHITECTURE, limits=Limits(**bounds))
    return str(caught.value)


@pytest.mark.parametrize(
    ("pickled", "sentence"),
    [
        (described(view=b"K\0K\4\x85K\1\x85"), "claims more numbers than it holds"),
        (described(view=b"K\1K\3\x85K\1\x85"), "claims more numbers than it holds"),
        (described(view=b"K\0K\2\x85K\3\x85"), "claims more numbers than it holds"),
        (described(view=b"K\0J\xff\xff\xff\xff\x85K\1\x85"), "a tensor of an impossible shape"),
        (described(view=b"K\0K\3\x85)"), "a tensor without its numbers"),
        (described(view=b"K\0(" + b"K\1" * 17 + b"t(" + b"K\1" * 17 + b"t"), "a tensor without its numbers"),
        (described(storage=b"X\4\0\0\0cpu0K\4"), "4 numbers are announced and 12 bytes are there"),
        (described(storage=b"X\4\0\0\0cpu0J\xff\xff\xff\xff"), "numbers that are described twice"),
        (described(storage=b"X\4\0\0\0cpu0K\3}"), "a damaged torch file"),
        (described(key=b")"), "numbers of an unknown kind"),
        (described(key=b"X\x04\0\0\0../x"), "no item named"),
        (b"\x80\x02})\x85K\1s.", "a key that is neither text nor a number"),
        (b"\x80\x02K\1s.", "an instruction without its values"),
        (b"\x80\x02K\1K\1K\1s.", "values without their container"),
        (b"\x80\x02K\1K\1a.", "values without their container"),
        (b"\x80\x02K\1}b.", "values without their container"),
        (b"\x80\x02}u.", "an instruction without its values"),
        (b"\x80\x02h\5.", "is a damaged torch file: 5"),
        (b"\x80\x02.", "an instruction without its values"),
        (b"\x80\x02}", "is a damaged torch file"),
        (b"\x80\x02K\1)R.", "a call of something that is no function"),
        (b"\x80\x02ccollections\nOrderedDict\n}R.", "a call of something that is no function"),
        (b"\x80\x02ccollections\nOrderedDict\n)\x85R.", "is a damaged torch file"),
        (b"\x80\x02).", "a torch file without a state dict"),
        (b"\x80\x02}.", "a torch file without a state dict"),
        (b"\x80\x02cbuiltins\neval\n.", "a pickled torch module or a checkpoint"),
        (b"\x80\x04\x8c\2os\x8c\5mkdir\x93.", "a pickled torch module or a checkpoint"),
        (b"\x80\x02(ios\nmkdir\n.", "a pickled torch module or a checkpoint"),
        (b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n)\x81.", "a pickled torch module or a checkpoint"),
    ],
)  # fmt: skip
def test_what_is_no_state_dict_is_refused_instruction_by_instruction(pickled: bytes, sentence: str) -> None:
    assert sentence in refused(packed(pickled))


def test_archives_that_torch_does_not_write_are_refused() -> None:
    assert "big-endian" in refused(packed(described(), **{"archive/byteorder": b"big"}))
    assert "nodes" in refused(packed(described()), nodes=5) or "too long" in refused(
        packed(described()), nodes=5
    )
    assert "setting limits.tensor_bytes" in refused(packed(described()), tensor_bytes=11)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", described())
        archive.writestr("archive/data/0", bytes(12))
    assert "it is compressed, and torch does not compress its files" in refused(buffer.getvalue())


def test_containers_inside_each_other_take_no_time() -> None:
    """A pickle of a few bytes that would be 2 ** 60 numbers if anybody walked it."""
    doubled = b"".join(b"q%ch%c\x86" % (i, i) for i in range(60))
    assert "without a state dict" in refused(packed(b"\x80\x02)" + doubled + b"."))
    assert "neither text nor a number" in refused(packed(b"\x80\x02})" + doubled + b"K\1s."))
    assert "numbers of an unknown kind" in refused(packed(described(key=b")" + doubled)))
