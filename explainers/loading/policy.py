"""Which formats are opened, and why: the one table of them.

- **A** is opened: its structure is checked and nothing in it is executed.
- **B** is opened with a list of allowed types that stands in whyboard's own code, never in the file.
- **C** and **D** run, or may run, what the file says. They are opened only where `load_model(allow=…)` names them,
  which a server does only inside a locked process, and only if its operator asked for it.
- The rest is refused with the way out.

What a file is, is decided by its content (`explainers.loading.recognition`). Its name can only close a door: a
program under the name of a safe format is refused even where programs are allowed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from pathlib import PurePath
from typing import Literal

from explainers.errors import InvalidSetting, UnsupportedModel
from explainers.schema import _listed

Trust = Literal["A", "B", "C", "D", "refused"]


@dataclasses.dataclass(frozen=True)
class Format:
    """One format of model files and what is thought of it.

    Attributes:
        name: as the settings and `load_model(allow=…)` write it.
        trust: ``"A"``, ``"B"``, ``"C"``, ``"D"`` or ``"refused"``.
        why: a sentence: what is trusted when it is opened, or, following the file's name, why it is not.
        way_out: what to do with such a file instead; empty where it is always opened.
        endings: how the names of such files end; others raise a doubt, never decide.
        opened: for C and D, the sentence about a file that was opened because the operator allows it.
    """

    name: str
    trust: Trust
    why: str
    way_out: str = ""
    endings: tuple[str, ...] = ()
    opened: str = ""


SAVE_SAFELY = (
    "Save the model in a format that holds no code: skops.io.dump(model, 'model.skops') for scikit-learn, "
    "model.save_model('model.json') for XGBoost, booster.save_model('model.txt') for LightGBM, "
    "torch.onnx.export(module, example, 'model.onnx') for torch."
)
CONVERT = "On your own machine, whyboard convert FILE turns it into a format that holds no code"
PICKLES_SAFELY = f"{CONVERT}. Or do it yourself. {SAVE_SAFELY}"
TORCH_SAFELY = (
    f"{CONVERT}; so does torch.onnx.export(module, example, 'model.onnx'), or save its weights with "
    "safetensors.torch.save_file(module.state_dict(), 'model.safetensors') and declare the architecture."
)
KERAS_SAFELY = f"{CONVERT}; so does model.export('model.onnx', format='onnx')."
TO_ONNX = "Convert the model to ONNX"
CODE = "is not opened: opening such a file runs whatever code is in it"
CHECKED = "its structure was checked before it was read, and nothing in it was executed"
PICKLED = (".pkl", ".pickle", ".p", ".sav", ".joblib", ".dill", ".gz", ".z", ".bz2", ".xz", ".lzma", ".lz4")
TORCH = (".pt", ".pth", ".ckpt")


def _program(name: str, title: str, way_out: str, endings: tuple[str, ...]) -> Format:
    """A format of class D: opening it means running it."""
    opened = f"This is {title}. It was opened because this format was allowed; opening it ran the code in it."
    return Format(name, "D", f"is {title}, which {CODE}.", way_out, endings, opened)


def _refused(name: str, why: str, way_out: str) -> Format:
    return Format(name, "refused", why, way_out)


FORMATS = (
    Format("onnx", "A", f"ONNX: {CHECKED}; only operators of a fixed list are carried out.", endings=(".onnx",)),
    Format("safetensors", "A", f"safetensors: {CHECKED}; the layers come from a declared list, not from code.", endings=(".safetensors",)),
    Format("xgboost json", "A", f"XGBoost JSON: {CHECKED}.", endings=(".json", ".model", ".xgb")),
    Format("xgboost ubj", "A", f"XGBoost UBJ: {CHECKED}.", endings=(".ubj", ".model", ".xgb")),
    Format("lightgbm", "A", f"LightGBM text: {CHECKED}.", endings=(".txt", ".model", ".lgb")),
    Format("skops", "B", "skops: opened with whyboard's own list of trusted types; types outside that list are refused.", endings=(".skops",)),
    Format("torch weights", "B", "torch weights: only tensors were read, by whyboard's own reader; the layers come from a declared list, not from code.", endings=TORCH),
    Format("catboost", "B", "CatBoost: the file holds no code, but only CatBoost itself can read it, and its inside was not checked.", endings=(".cbm",)),
    Format("keras", "C", "is a Keras model, which may hold code and is not opened.", KERAS_SAFELY, (".keras", ".h5", ".hdf5"),
           "This is a Keras model. It was opened in Keras' safe mode because this format was allowed; such files have got around that mode before."),
    _program("pickle", "a pickle", PICKLES_SAFELY, PICKLED),
    _program("joblib", "a joblib file (a pickle)", PICKLES_SAFELY, PICKLED),
    _program("dill", "a dill file (a pickle)", PICKLES_SAFELY, PICKLED),
    _program("cloudpickle", "a cloudpickle file (a pickle)", PICKLES_SAFELY, PICKLED),
    _program("torch module", "a pickled torch module or a checkpoint with other objects than tensors", TORCH_SAFELY, (*TORCH, *PICKLED)),
    _program("torchscript", "TorchScript, a program", TORCH_SAFELY, (*TORCH, ".ts", ".jit", ".torchscript")),
    _program("pt2", "a torch.export archive (.pt2)", TORCH_SAFELY, (*TORCH, ".pt2")),
    _refused("packed", "is compressed.", "Unpack it first; models are opened as they were saved."),
    _refused("HDF5", "is HDF5 without a Keras model in it: weights alone, or data.", f"{TO_ONNX}, or open the whole model."),
    _refused("SavedModel", "is a TensorFlow SavedModel, a program, and is not opened.", f"{TO_ONNX}: python -m tf2onnx.convert --saved-model FOLDER --output model.onnx."),
    _refused("PMML", "is PMML, which is not read here.", f"{TO_ONNX} (skl2onnx, onnxmltools), or save the model in its library's own format."),
    _refused("R", "is an R object (rds), which can only be opened in R.", f"Save the booster itself: xgb.save(model, 'model.json') or lgb.save(model, 'model.txt'). {TO_ONNX} otherwise."),
    _refused("XGBoost binary", "is XGBoost's old binary format.", "Load it in XGBoost and save it again: booster.save_model('model.json')."),
    _refused("LightGBM dump", "is a LightGBM dump, from which LightGBM itself cannot predict.", "Save the model: booster.save_model('model.txt')."),
    _refused("JSON", "is JSON, but not an XGBoost model (it has no 'learner').", "Save the model: booster.save_model('model.json')."),
    _refused("architecture", "is a declared architecture without weights.", "Open the weights and give this file as architecture."),
    _refused("zip", "is a zip archive, but not a model that is opened here (skops, torch weights).", SAVE_SAFELY),
    _refused("slip", "is an archive with names that lead outside of it, which no library writes.", "Do not unpack it; save the model again, or ask whoever sent it."),
    _refused("data", "holds data, not a model.", "Open it as the data set."),
    _refused("folder", "is a folder.", "Open the model file itself."),
    _refused("unknown", "has no known model format.", "Opened are ONNX, skops, XGBoost JSON and UBJ, LightGBM text, CatBoost cbm, "
             f"safetensors and torch weights with a declared architecture. {SAVE_SAFELY}"),
)  # fmt: skip

_BY_NAME = {form.name: form for form in FORMATS}
_SAFE_ENDINGS = {ending: form for form in reversed(FORMATS) if form.trust in "AB" for ending in form.endings}
_ENDINGS = frozenset(ending for form in FORMATS for ending in form.endings)

#: What an operator can allow.
PROGRAMS = tuple(form.name for form in FORMATS if form.trust in ("C", "D"))


def refuse(name: str, kind: str) -> UnsupportedModel:
    """The error for a file of a format that is not opened."""
    form = _BY_NAME[kind]
    return UnsupportedModel(f"{name!r} {form.why} {form.way_out}")


def check_allowed(allow: Collection[str]) -> frozenset[str]:
    """The names of formats that may run code here; raises `InvalidSetting` for a name that is none."""
    wanted = frozenset((allow,) if isinstance(allow, str) else allow)
    strange = sorted(wanted - set(PROGRAMS))
    if strange:
        raise InvalidSetting(
            f"There is no format {_listed(strange)} to allow; formats that need to be allowed are {', '.join(PROGRAMS)}."
        )
    return wanted


def admit(name: str, kind: str, allowed: frozenset[str]) -> tuple[Format, tuple[str, ...]]:
    """The format of a file that may be opened, and what to say about it; raises `UnsupportedModel` for one that may not.

    `name` is the file's; only its ending is looked at.
    """
    form = _BY_NAME[kind]
    ending = PurePath(name).suffix.lower()
    doubtful = ending in _ENDINGS and ending not in form.endings
    if form.trust not in ("A", "B") and kind not in allowed:
        raise refuse(name, kind)
    if form.trust not in ("A", "B") and doubtful and ending in _SAFE_ENDINGS:
        raise UnsupportedModel(
            f"{name!r} is called {ending}, as {_SAFE_ENDINGS[ending].name} is, but it is a file of the kind "
            f"{kind!r}, which runs code when opened. It is not opened under that name. {form.way_out}"
        )
    notes: tuple[str, ...] = (form.opened or form.why,)
    if doubtful:
        notes += (f"The file's name ends in {ending}, but it holds {kind}; its content decided.",)
    return form, notes
