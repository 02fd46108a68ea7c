"""Formats that are programs. Every loader here runs, or may run, what the file says.

They must only be called for files of one's own, or inside a process that has been locked: no loader here protects
anybody, whatever it checks. `load_model` asks for them only where its `allow` names the format.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from explainers.errors import ExplainerError, UnsupportedModel
from explainers.explanation import Output
from explainers.loading.sources import File
from explainers.model import Model

#: Format -> module of this folder.
LOADERS = {
    "keras": "keras_files",
    "pickle": "pickles",
    "joblib": "joblib_files",
    "dill": "dill_files",
    "cloudpickle": "cloudpickles",
    "torch module": "torch_modules",
    "torchscript": "torchscript_files",
    "pt2": "exported_programs",
}


def load(file: File, classes: tuple[Any, ...] | None, kind: str, output: Output = "auto") -> Model:
    """The model that a program makes when it is run; raises `UnsupportedModel` where it fails or makes something else."""
    loader: Callable[[File, tuple[Any, ...] | None, Output], Model] = importlib.import_module(
        f"{__name__}.{LOADERS[kind]}"
    ).load
    try:
        return loader(file, classes, output)
    except ExplainerError:
        raise
    except ImportError as error:
        raise UnsupportedModel(
            f"{file.name!r} needs {error.name or 'a library'!r}, which is not installed here, or another version of it."
        ) from error
    except Exception as error:  # whatever the program in the file provokes
        raise UnsupportedModel(
            f"{file.name!r} could not be opened as {kind}: it raised {type(error).__name__}. It may be damaged, made "
            "with other versions of its libraries, or it tried something that is not allowed here."
        ) from error
