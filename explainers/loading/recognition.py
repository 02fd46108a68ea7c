"""Which model format a file has, by its content alone; formats that run code when opened are named and refused."""

from __future__ import annotations

import bz2
import io
import lzma
import pickletools
import zipfile
import zlib
from collections.abc import Callable

from explainers.errors import UnreadableFile, UnsupportedModel
from explainers.loading.sources import File

CODE = "is not opened: opening such a file runs whatever code is in it"
SAVE_SAFELY = (
    "Save the model in a format that holds no code: skops.io.dump(model, 'model.skops') for scikit-learn, "
    "model.save_model('model.json') for XGBoost, booster.save_model('model.txt') for LightGBM, "
    "torch.onnx.export(module, example, 'model.onnx') for torch."
)
TORCH_SAFELY = (
    "Export the module with torch.onnx.export(module, example, 'model.onnx'), or save its weights with "
    "safetensors.torch.save_file(module.state_dict(), 'model.safetensors') and declare the architecture."
)
TO_ONNX = "Convert the model to ONNX"

#: Format -> the sentence that follows the file's name.
REFUSALS = {
    "pickle": f"is a pickle, which {CODE}. {SAVE_SAFELY}",
    "joblib": f"is a joblib file (a pickle), which {CODE}. {SAVE_SAFELY}",
    "dill": f"is a dill file (a pickle), which {CODE}. {SAVE_SAFELY}",
    "cloudpickle": f"is a cloudpickle file (a pickle), which {CODE}. {SAVE_SAFELY}",
    "compressed": f"is a compressed file that holds a pickle (joblib), which {CODE}. {SAVE_SAFELY}",
    "packed": "is compressed. Unpack it first; models are opened as they were saved.",
    "pickled module": f"is a pickled torch module, which {CODE}. {TORCH_SAFELY}",
    "TorchScript": f"is TorchScript, a program, which {CODE}. {TORCH_SAFELY}",
    "torch.export": f"is a torch.export archive (.pt2), which {CODE}. {TORCH_SAFELY}",
    "torch tar": f"is a torch file of before 2018. {TORCH_SAFELY}",
    "Keras": f"is a Keras model, which may hold code and is not opened. {TO_ONNX}: model.export('model.onnx', format='onnx').",
    "HDF5": f"is HDF5, the old Keras format, which may hold code and is not opened. {TO_ONNX}: model.export('model.onnx', format='onnx').",
    "SavedModel": f"is a TensorFlow SavedModel, a program, and is not opened. {TO_ONNX}: python -m tf2onnx.convert --saved-model FOLDER --output model.onnx.",
    "PMML": f"is PMML, which is not read here. {TO_ONNX} (skl2onnx, onnxmltools), or save the model in its library's own format.",
    "R": f"is an R object (rds), which can only be opened in R. Save the booster itself: xgb.save(model, 'model.json') or lgb.save(model, 'model.txt'). {TO_ONNX} otherwise.",
    "XGBoost binary": "is XGBoost's old binary format. Load it in XGBoost and save it again: booster.save_model('model.json').",
    "LightGBM dump": "is a LightGBM dump, from which LightGBM itself cannot predict. Save the model: booster.save_model('model.txt').",
    "JSON": "is JSON, but not an XGBoost model (it has no 'learner'). Save the model: booster.save_model('model.json').",
    "architecture": "is a declared architecture without weights. Open the weights and give this file as architecture.",
    "zip": f"is a zip archive, but not a model that is opened here (skops, torch weights). {SAVE_SAFELY}",
    "data": "holds data, not a model. Open it as the data set.",
    "folder": "is a folder. Open the model file itself.",
    "unknown": "has no known model format. Opened are ONNX, skops, XGBoost JSON and UBJ, LightGBM text, CatBoost cbm, "
    f"safetensors and torch weights with a declared architecture. {SAVE_SAFELY}",
}  # fmt: skip

TORCH_LEGACY = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
PEEK = 1 << 16


def refuse(name: str, kind: str) -> UnsupportedModel:
    """The error for a format that is not opened."""
    return UnsupportedModel(f"{name!r} {REFUSALS[kind]}")


def recognize(file: File) -> str:
    """The format: ``xgboost json``, ``xgboost ubj``, ``lightgbm``, ``catboost``, ``skops``, ``onnx``,
    ``safetensors`` or ``torch``.

    Raises `UnsupportedModel` for every other format, saying what to do instead, and `UnreadableFile` for a web page.
    """
    content = file.content
    kind = next((kind for kind, fits in SIGNATURES if fits(content)), "unknown")
    if kind == "zip":
        kind = _in_zip(file)
    if kind == "packed" and _packed_pickle(content):
        kind = "compressed"
    if kind == "packed" and _unpacked(content)[:2] in (b"X\n", b"A\n", b"B\n", b"RD"):
        kind = "R"
    if kind == "pickle":
        kind = _which_pickle(content)
    if kind == "html":
        raise UnreadableFile(
            f"{file.name!r} is a web page, not a model; the download probably failed. Download it again."
        )
    if kind in REFUSALS:
        raise refuse(file.name, kind)
    return kind


def _is_html(content: bytes) -> bool:
    start = content[:512].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    return start.startswith((b"<!doctype html", b"<html", b"<head", b"<body"))


def _is_pmml(content: bytes) -> bool:
    return (
        content[:512].lstrip(b"\xef\xbb\xbf \t\r\n").startswith((b"<?xml", b"<PMML"))
        and b"<PMML" in content[:4096]
    )


def _is_safetensors(content: bytes) -> bool:
    return content[8:9] == b"{" and content[6:8] == b"\0\0" and content[9:10] in b'"} \n'


def _is_onnx(content: bytes) -> bool:
    """An ONNX file begins with its IR version, 3 or later, and then another field of the model."""
    first = content[:1] == b"\x08" and 3 <= content[1] <= 32 if len(content) > 2 else False
    return first and content[2] in (0x12, 0x1A, 0x22, 0x28, 0x32, 0x3A, 0x42, 0x72)


def _is_pickle(content: bytes) -> bool:
    if content[:1] == b"\x80" and content[1:2] in (b"\2", b"\3", b"\4", b"\5"):
        return True
    return content[:1] in b"(c]}FIKMNSUVX" and is_text_pickle(content)


def is_text_pickle(content: bytes) -> bool:
    """Pickle protocols 0 and 1 have no signature: read the instructions, without carrying any out."""
    try:
        last = [code.name for code, _, _ in pickletools.genops(io.BytesIO(content[: 1 << 20]))]
    except Exception:  # pickletools raises whatever the bytes provoke
        return (
            content[:2] in (b"c_", b"cc", b"cb", b"co", b"cp", b"(l", b"(d", b"(i") and b"\n" in content[:80]
        )
    return last[-1:] == ["STOP"]


#: In this order; the first that fits decides.
SIGNATURES: tuple[tuple[str, Callable[[bytes], bool]], ...] = (
    ("catboost", lambda c: c.startswith(b"CBM1")),
    ("zip", lambda c: c.startswith((b"PK\3\4", b"PK\5\6"))),
    ("torch", lambda c: c.startswith(TORCH_LEGACY)),
    ("pickle", lambda c: c[:1] == b"\x80" and _is_pickle(c)),
    ("HDF5", lambda c: c.startswith(b"\x89HDF\r\n")),
    ("packed", lambda c: c.startswith((b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0", b"]\0\0", b"\x04\x22\x4d\x18", b"\x28\xb5\x2f\xfd", b"ZF")) or (c[:1] == b"\x78" and c[1:2] in (b"\x01", b"\x5e", b"\x9c", b"\xda"))),
    ("data", lambda c: c.startswith((b"PAR1", b"ARROW1", b"FEA1", b"\x93NUMPY", b"\x89PNG", b"\xff\xd8\xff", b"RIFF", b"BM", b"II*\0", b"MM\0*"))),
    ("XGBoost binary", lambda c: c.startswith((b"binf", b"bs64"))),
    ("html", _is_html),
    ("PMML", _is_pmml),
    ("SavedModel", lambda c: (c.startswith(b"\x08\x01\x12") and b"saved_model" in c[:PEEK] + c[-PEEK:]) or (c.startswith(b"\x08\x01\x12") and b"serve" in c)),
    ("safetensors", _is_safetensors),
    ("xgboost ubj", lambda c: c[:1] == b"{" and c[1:2] in (b"L", b"l", b"I", b"i", b"U")),
    ("xgboost json", lambda c: c[:64].lstrip(b"\xef\xbb\xbf \t\r\n").startswith((b"{", b"["))),
    ("lightgbm", lambda c: c.startswith((b"tree\n", b"tree\r\n"))),
    ("onnx", _is_onnx),
    ("R", lambda c: c.startswith((b"X\n\0\0\0", b"A\n2\n", b"A\n3\n", b"RDX", b"RDA"))),
    ("pickle", _is_pickle),
)  # fmt: skip


def _in_zip(file: File) -> str:
    try:
        with zipfile.ZipFile(io.BytesIO(file.content)) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError, UnicodeError) as error:
        known = {b"schema.json": "skops", b"data.pkl": "torch", b".npy": "skops"}
        found = next((title for mark, title in known.items() if mark in file.content), "zip")
        raise UnreadableFile(
            f"{file.name!r} is a damaged {found} file: {error}. Save or upload it again."
        ) from error
    last = {name.rsplit("/", 1)[-1] for name in names}
    below = {part for name in names for part in name.split("/")[:-1]}
    if "schema.json" in names:
        return "skops"
    if (
        "archive_format" in last
        or "serialized_exported_program.json" in last
        or {"weights", "models"} <= below
    ):
        return "torch.export"
    if "data.pkl" in last:
        return "TorchScript" if "constants.pkl" in last or "code" in below else "torch"
    if "config.json" in names and ("metadata.json" in names or "model.weights.h5" in names):
        return "Keras"
    if "saved_model.pb" in last:
        return "SavedModel"
    return (
        "data"
        if names and all(name.endswith((".npy", ".png", ".jpg", ".jpeg", "/")) for name in names)
        else "zip"
    )


def _unpacked(content: bytes) -> bytes:
    """The first bytes of what a compressed file holds; empty where this cannot be told."""
    try:
        if content[:2] == b"\x1f\x8b" or content[:1] == b"\x78":
            return zlib.decompressobj(wbits=47).decompress(content[:PEEK], 4096)
        if content[:3] == b"BZh":
            return bz2.BZ2Decompressor().decompress(content[: 1 << 20], 4096)
        if content[:1] in b"\xfd]":
            return lzma.LZMADecompressor().decompress(content[:PEEK], 4096)
    except (zlib.error, OSError, lzma.LZMAError, EOFError):
        pass
    return b""


def _packed_pickle(content: bytes) -> bool:
    inside = _unpacked(content)
    # zlib, lz4 and the rest are what joblib writes; a pickle inside is cut after 4,096 bytes, so only its start is read
    return (
        inside[:1] == b"\x80" or (not inside and content[:4] == b"\x04\x22\x4d\x18") or content[:2] == b"ZF"
    )


def _which_pickle(content: bytes) -> str:
    sample = content[:PEEK]
    if content[2:].startswith(TORCH_LEGACY[2:]):
        return "torch"
    for mark, kind in ((b"dill._dill", "dill"), (b"cloudpickle", "cloudpickle"), (b"joblib", "joblib")):
        if mark in sample:
            return kind
    if b"torch" in sample and b"Module" in content[: 1 << 20]:
        return "pickled module"
    return "pickle"
