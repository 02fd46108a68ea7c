"""`load_model`: a model from a file, by what is in it."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from explainers.errors import UnsupportedModel
from explainers.explanation import Output
from explainers.loading import programs
from explainers.loading.limits import Limits
from explainers.loading.policy import PROGRAMS, admit, check_allowed, refuse
from explainers.loading.recognition import recognize
from explainers.loading.sources import File, Source, read
from explainers.model import Model
from explainers.preparation import Preparation
from explainers.wrapping.declared import agreeing, require_sense

WEIGHTS = ("safetensors", "torch weights")


def load_model(
    source: Source,
    architecture: Mapping[str, Any] | list[Any] | Source | None = None,
    *,
    classes: Sequence[Any] | None = None,
    name: str = "",
    output: Output = "auto",
    preparation: Preparation | None = None,
    allow: Collection[str] = (),
    limits: Limits = Limits(),
) -> Model:
    """A model from a path or from bytes. The format is read from the content, never from the name.

    Opened are ONNX, skops, XGBoost JSON and UBJ, LightGBM text, CatBoost cbm, and safetensors or torch weights with
    a declared `architecture` (a dictionary, a JSON file's path or its bytes; see `explainers.loading.architecture`).
    Nothing in them is executed. `explainers.FORMATS` says of each format what is trusted and why; the model's `trust`
    and `notes` repeat it.

    Args:
        source: a path, or the bytes themselves.
        architecture: the layers, for files that hold weights only.
        classes: names of the outputs, where the file does not say them or says them otherwise.
        name: how messages call the file; by default the path's last part.
        output: what the model returns, where it is not found rightly: ``"probability"``, ``"raw"`` (logits) or
            ``"target"`` (a regression). What is declared wins over what is found; see `Model.wrap`.
        preparation: what becomes of pictures before they reach the model.
        allow: formats that may run the code in the file, by name (``"pickle"``, ``"keras"``, …). Only for your own
            files, or inside a process that has been locked: what is named here can do whatever this process can.
        limits: what the file may ask of this machine.

    Raises:
        UnsupportedModel: another format, or something in it that is not opened; the message says what to do instead.
        InvalidSetting: `allow` names no format that needs to be allowed; `output` declares what the model cannot answer.
        UnreadableFile: no such file, empty, too large, damaged or cut short.
    """
    allowed, named = check_allowed(allow), None if classes is None else tuple(classes)
    require_sense(output, named)
    if not isinstance(source, bytes) and Path(source).is_dir():
        shown = name or Path(source).name
        raise refuse(shown, "SavedModel" if (Path(source) / "saved_model.pb").exists() else "folder")
    file = read(source, name, "model_bytes", limits)
    kind = recognize(file)
    form, notes = admit(file.name, kind, allowed)
    if architecture is not None and kind not in WEIGHTS:
        raise UnsupportedModel(
            f"{file.name!r} is {kind} and brings its own structure. Leave the architecture out."
        )
    model = agreeing(_open(file, kind, architecture, named, output), output)
    digest = model.digest if kind in WEIGHTS else hashlib.sha256(file.content).hexdigest()
    if output != "auto":  # another model to whoever keeps results by digest
        digest = hashlib.sha256(f"{digest} {output}".encode()).hexdigest()
    model = dataclasses.replace(
        model, digest=digest, trust=form.trust, notes=(*model.notes, *notes), declared=output
    )
    return model if preparation is None else model.prepared(preparation)


def _open(file: File, kind: str, architecture: Any, classes: tuple[Any, ...] | None, output: Output) -> Model:
    """Each format's file is imported when one is opened."""
    if kind in WEIGHTS:
        from explainers.loading import weights

        return weights.load(file, architecture, classes, kind, output)
    if kind in ("xgboost json", "xgboost ubj"):
        from explainers.loading import xgboost_files

        return xgboost_files.load(file, classes, ubj=kind == "xgboost ubj")
    if kind == "lightgbm":
        from explainers.loading import lightgbm_text

        return lightgbm_text.load(file, classes)
    if kind == "catboost":
        from explainers.loading import catboost_files

        return catboost_files.load(file, classes)
    if kind == "skops":
        from explainers.loading import skops_files

        return skops_files.load(file, classes)
    if kind in PROGRAMS:
        return programs.load(file, classes, kind, output)
    from explainers.loading import onnx_files

    return onnx_files.load(file, classes, output)
