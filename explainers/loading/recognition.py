"""Which model format a file has, by its content alone. Nothing in it is carried out to find that out."""

from __future__ import annotations

import bz2
import io
import lzma
import pickletools
import stat
import zipfile
import zlib
from collections.abc import Callable

from explainers.errors import UnreadableFile
from explainers.loading.policy import refuse
from explainers.loading.sources import File

__all__ = ["recognize", "refuse"]

PEEK = 1 << 16
LEGACY = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # how torch files before torch 1.6 begin


def recognize(file: File) -> str:
    """The format, by the name it has in `explainers.loading.policy.FORMATS`.

    Raises `UnreadableFile` for a web page and for a damaged archive.
    """
    content = file.content
    kind = next((kind for kind, fits in SIGNATURES if fits(content)), "unknown")
    if kind == "html":
        raise UnreadableFile(
            f"{file.name!r} is a web page, not a model; the download probably failed. Download it again."
        )
    if kind == "zip":
        kind = _in_zip(file)
    if kind == "packed":
        kind = _in_packed(content)
    if kind == "pickle":
        kind = _which_pickle(content)
    if kind == "HDF5" and b"model_config" in content:
        return "keras"
    if kind == "torch weights" and _holds_more_than_weights(file):
        return "torch module"
    return kind


def _holds_more_than_weights(file: File) -> bool:
    from explainers.loading import torch_files  # torch, which most files do not need

    return torch_files.foreign_type(file) is not None


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
    ("torch weights", lambda c: c.startswith(LEGACY)),
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
            parts = archive.infolist()
    except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError, UnicodeError) as error:
        known = {b"schema.json": "skops", b"data.pkl": "torch", b".npy": "skops"}
        found = next((title for mark, title in known.items() if mark in file.content), "zip")
        raise UnreadableFile(
            f"{file.name!r} is a damaged {found} file: {error}. Save or upload it again."
        ) from error
    names = [part.filename for part in parts]
    if any(map(_leads_outside, parts)):
        return "slip"
    last = {name.rsplit("/", 1)[-1] for name in names}
    below = {part for name in names for part in name.split("/")[:-1]}
    if "schema.json" in names:
        return "skops"
    if (
        "archive_format" in last
        or "serialized_exported_program.json" in last
        or {"weights", "models"} <= below
    ):
        return "pt2"
    if "data.pkl" in last:
        return "torchscript" if "constants.pkl" in last or "code" in below else "torch weights"
    if "config.json" in names and ("metadata.json" in names or "model.weights.h5" in names):
        return "keras"
    if "saved_model.pb" in last:
        return "SavedModel"
    return (
        "data"
        if names and all(name.endswith((".npy", ".png", ".jpg", ".jpeg", "/")) for name in names)
        else "zip"
    )


def _leads_outside(part: zipfile.ZipInfo) -> bool:
    """Whether unpacking this part by its name, or following it as a link, would touch something else."""
    steps = part.orig_filename.replace("\\", "/").split("/")
    absolute = not steps[0] or steps[0].endswith(":")
    return absolute or ".." in steps or stat.S_ISLNK(part.external_attr >> 16)


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


def _in_packed(content: bytes) -> str:
    inside = _unpacked(content)
    if inside[:2] in (b"X\n", b"A\n", b"B\n", b"RD"):
        return "R"
    # zlib, lz4 and the rest are what joblib writes; a pickle inside is cut after 4,096 bytes, so only its start is read
    pickled = (
        inside[:1] == b"\x80" or (not inside and content[:4] == b"\x04\x22\x4d\x18") or content[:2] == b"ZF"
    )
    return "joblib" if pickled else "packed"


def _which_pickle(content: bytes) -> str:
    sample = content[:PEEK]
    for mark, kind in ((b"dill._dill", "dill"), (b"cloudpickle", "cloudpickle"), (b"joblib", "joblib")):
        if mark in sample:
            return kind
    if b"torch" in sample and b"Module" in content[: 1 << 20]:
        return "torch module"
    return "pickle"
