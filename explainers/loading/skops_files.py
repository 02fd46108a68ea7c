"""skops: scikit-learn models as JSON and arrays. Types come from our own list; what native code trusts is checked.

A decision tree's node table is checked before anything is built, since reading it back already runs past the end;
all else in the built object, before anybody asks it for a prediction.
"""

from __future__ import annotations

import dataclasses
import warnings
from typing import Any

from explainers.errors import UnreadableFile, UnsupportedModel
from explainers.loading.skops_archive import FORM, check_archive
from explainers.loading.skops_parts import check_parts
from explainers.loading.skops_types import TRUSTED
from explainers.loading.sources import File
from explainers.model import Model

BOOSTERS = {
    "xgboost": "model.save_model('model.json')",
    "lightgbm": "model.booster_.save_model('model.txt')",
    "catboost": "model.save_model('model.cbm')",
}


def load(file: File, classes: tuple[Any, ...] | None) -> Model:
    """A scikit-learn model from a skops archive."""
    import skops.io
    from skops.io.exceptions import UntrustedTypesFoundException

    check_archive(file)
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            found = skops.io.get_untrusted_types(data=file.content)
            _require_trusted(found)
            estimator = skops.io.loads(file.content, trusted=sorted(TRUSTED.intersection(found)))
    except UnsupportedModel:
        raise
    except UntrustedTypesFoundException as error:
        raise UnsupportedModel(f"This skops file holds types that are not opened here: {error}") from error
    except ImportError as error:
        raise UnsupportedModel(
            f"This skops file needs a library or a version that is not here: {error}."
        ) from error
    except Exception as error:  # whatever damaged content provokes in skops, numpy or scikit-learn
        text = (str(error).splitlines() or [""])[0][:200]
        raise UnreadableFile(
            f"This {FORM} file is damaged: {type(error).__name__}: {text}. Save it again."
        ) from error
    check_parts(estimator, file)
    notes = tuple(
        dict.fromkeys(str(w.message).splitlines()[0] for w in caught if "version" in str(w.message))
    )
    return _wrapped(estimator, classes, notes)


def _wrapped(estimator: Any, classes: tuple[Any, ...] | None, notes: tuple[str, ...]) -> Model:
    if not (hasattr(estimator, "predict") and hasattr(estimator, "get_params")):
        raise UnsupportedModel(
            f"This skops file holds a {type(estimator).__name__}, not a model that predicts."
        )
    try:
        model = Model.wrap(estimator, classes)
    except (AttributeError, TypeError, ValueError) as error:
        raise UnreadableFile(
            f"This {FORM} file is damaged: the model is incomplete ({error}). Save it again."
        ) from error
    return dataclasses.replace(model, notes=(*model.notes, *notes))


def _require_trusted(found: list[str]) -> None:
    """Raise `UnsupportedModel` naming every type that is not on our list."""
    foreign = sorted(set(found) - TRUSTED)
    if not foreign:
        return
    shown = ", ".join(foreign[:8]) + (f" and {len(foreign) - 8} more" if len(foreign) > 8 else "")
    way = next(
        (how for package, how in BOOSTERS.items() if any(name.startswith(f"{package}.") for name in foreign)),
        None,
    )
    advice = (
        f"Save the booster itself: {way}."
        if way
        else "Leave those parts out, or export the model to ONNX (skl2onnx)."
    )
    raise UnsupportedModel(f"This skops file holds types that are not opened here: {shown}. {advice}")
