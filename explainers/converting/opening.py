"""The one place where a file is opened that runs code; `convert` comes here only after somebody trusted the file."""

from __future__ import annotations

import importlib.util
import io
import os
import pickle
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from explainers.converting.subject import first_line
from explainers.errors import UnreadableFile, UnsupportedModel
from explainers.lazily import lazily
from explainers.loading.sources import File

if TYPE_CHECKING:
    import torch
else:
    torch = lazily("torch")

#: Import name -> what to install, where the two differ.
PACKAGES = {
    "sklearn": "scikit-learn",
    "imblearn": "imbalanced-learn",
    "skimage": "scikit-image",
    "cv2": "opencv-python",
    "PIL": "pillow",
    "yaml": "pyyaml",
}
INSTALL_KERAS = (
    'Keras is not installed here. Install it with its exporter: pip install "keras>=3.15" onnxscript.'
)
MOST_NOTES = 5


def open_trusted(file: File, kind: str) -> tuple[Any, tuple[str, ...]]:
    """The object in a file, and what its libraries warned of (another version, say). **Runs the file's code.**

    Raises `UnsupportedModel` where a library or a class is missing here, `UnreadableFile` where the file is damaged.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            found = OPENERS.get(kind, _pickle)(file)
        except ModuleNotFoundError as error:
            raise _lacks(file, error) from error
        except AttributeError as error:
            raise _no_such_class(file, error) from error
        except UnsupportedModel:
            raise
        except (
            Exception
        ) as error:  # unpickling runs whatever the file asks for, and raises whatever that raises
            raise UnreadableFile(
                f"{file.name!r} cannot be opened: {first_line(error)}. Is it whole, and was it saved with "
                "the versions that are installed here?"
            ) from error
    said = dict.fromkeys((str(w.message).strip().splitlines() or [""])[0][:300] for w in caught)
    return found, tuple(said)[:MOST_NOTES]


def _pickle(file: File) -> Any:
    """joblib reads its own files, plain pickles, and both when compressed."""
    import joblib

    return joblib.load(io.BytesIO(file.content))


def _module(file: File) -> Any:
    """`torch.save(module)` (a zip, or torch's older form); else a module in a plain pickle."""
    try:
        return torch.load(io.BytesIO(file.content), map_location="cpu", weights_only=False)
    except pickle.UnpicklingError as error:
        if "magic number" not in str(error).lower():
            raise
    return _pickle(file)


def _script(file: File) -> Any:
    return torch.jit.load(io.BytesIO(file.content), map_location="cpu")  # type: ignore[no-untyped-call]  # torch's own


def _exported(file: File) -> Any:
    return torch.export.load(io.BytesIO(file.content))


def _keras(file: File) -> Any:
    """Keras tells its formats by the file's ending, so the content is put into a file of the right one."""
    if importlib.util.find_spec("keras") is None:
        raise UnsupportedModel(f"{file.name!r} is a Keras model. {INSTALL_KERAS}")
    if importlib.util.find_spec("tensorflow") is None:
        os.environ.setdefault("KERAS_BACKEND", "torch")
    import keras

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / ("model.keras" if file.content.startswith(b"PK") else "model.h5")
        path.write_bytes(file.content)
        return keras.saving.load_model(path, compile=False, safe_mode=False)


#: By the names of `explainers.loading.policy`; the others are pickles.
OPENERS: dict[str, Callable[[File], Any]] = {
    "torch module": _module,
    "torchscript": _script,
    "pt2": _exported,
    "keras": _keras,
}


def _lacks(file: File, error: ModuleNotFoundError) -> UnsupportedModel:
    package = (error.name or "").split(".")[0]
    if package and importlib.util.find_spec(package) is not None:
        return UnsupportedModel(
            f"{file.name!r} needs {error.name!r}, which the installed {PACKAGES.get(package, package)} does not have. "
            "Install the version that the model was saved with."
        )
    return UnsupportedModel(
        f"{file.name!r} needs the library {package!r}, which is not installed here. Install it: pip install "
        f"{PACKAGES.get(package, package)}. If it is your own module, put its folder on PYTHONPATH."
    )


def _no_such_class(file: File, error: AttributeError) -> UnsupportedModel:
    text = first_line(error)
    if "__main__" in text:
        return UnsupportedModel(
            f"{file.name!r} names a class of the script that saved it and does not hold the class itself ({text}). "
            "Convert it where the class is defined, for torch with torch.onnx.export(module, example, 'model.onnx'); "
            "or move the class into a module of its own, save the model again and put the module's folder on PYTHONPATH."
        )
    return UnsupportedModel(
        f"{file.name!r} does not fit the libraries installed here: {text}. Install the versions that it was saved with."
    )
