"""Keras models (.keras and the older HDF5), in safe mode and on torch. Files that get around the safe mode have
been found again and again: call this only inside a locked process.
"""

from __future__ import annotations

import io
import os
from typing import Any

from explainers.errors import UnsupportedModel
from explainers.explanation import Output
from explainers.loading.sources import File
from explainers.model import Model

OLDEST = (3, 15)


def load(file: File, classes: tuple[Any, ...] | None, output: Output = "auto") -> Model:
    """A Keras model, which with Keras on torch is a torch module, wrapped. May run code in the file."""
    _check_keras(file.name)
    # Keras' public loader takes paths only, and a locked process can write no file; these are what it calls itself.
    if file.content.startswith(b"PK"):
        from keras.src.saving.saving_lib import _load_model_from_fileobj

        model = _load_model_from_fileobj(
            io.BytesIO(file.content), custom_objects=None, compile=False, safe_mode=True
        )
    else:
        import h5py
        from keras.src.legacy.saving.legacy_h5_format import load_model_from_hdf5

        with h5py.File(io.BytesIO(file.content), "r") as archive:
            model = load_model_from_hdf5(archive, compile=False, safe_mode=True)
    ending = getattr(getattr(model.layers[-1], "activation", None), "__name__", "")
    ends = ending in ("softmax", "sigmoid") and output == "auto"
    if classes is None and (ends or output in ("probability", "raw")):
        classes = tuple(str(i) for i in range(max(2, model.output_shape[-1])))
    model.eval()
    return Model.wrap(model, classes, output="probability" if ends else output)


def _check_keras(name: str) -> None:
    """Raise `UnsupportedModel` where Keras is missing, too old, or not on torch."""
    os.environ.setdefault("KERAS_BACKEND", "torch")
    try:
        import keras
    except ImportError as error:
        raise UnsupportedModel(
            f'{name!r} is a Keras model; Keras is not installed. Install it: pip install "whyboard[keras]".'
        ) from error
    if tuple(int(part) for part in keras.__version__.split(".")[:2]) < OLDEST:
        raise UnsupportedModel(
            f"{name!r} is a Keras model; Keras {keras.__version__} is installed, whose safe mode has known holes. "
            'Install 3.15 or later: pip install -U "whyboard[keras]".'
        )
    if keras.backend.backend() != "torch":
        raise UnsupportedModel(
            f"{name!r} is a Keras model; Keras runs on {keras.backend.backend()} here and is needed on torch. "
            "Set KERAS_BACKEND=torch."
        )
