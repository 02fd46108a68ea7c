"""Which object of a file is the model: itself, what a search found best, or the only model in a dictionary or a list."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from explainers.errors import UnsupportedModel
from explainers.lazily import lazily
from explainers.schema import _listed

if TYPE_CHECKING:
    import torch
else:
    torch = lazily("torch")

LIBRARIES = ("xgboost", "lightgbm", "catboost", "keras", "torch", "sklearn")


def library_of(obj: Any) -> str:
    """The library whose model an object is (also of a class derived from it); ``"sklearn"`` for what has its methods."""
    packages = {base.__module__.split(".")[0] for base in type(obj).__mro__}
    found = next((name for name in LIBRARIES if name in packages), "")
    return found or ("sklearn" if hasattr(obj, "predict") else "")


def the_model(obj: Any, name: str) -> tuple[Any, tuple[str, ...]]:
    """The model and what was taken or left out, in sentences; raises `UnsupportedModel` for none or several."""
    notes: tuple[str, ...] = ()
    if isinstance(obj, (dict, list, tuple)):
        obj, notes = _only_one(obj, name)
    if hasattr(obj, "best_estimator_"):
        notes = (*notes, f"Of the {_kind(obj)} its best_estimator_ is taken: {_kind(obj.best_estimator_)}.")
        obj = obj.best_estimator_
    elif hasattr(obj, "param_grid") or hasattr(obj, "param_distributions"):
        raise UnsupportedModel(
            f"{name!r} holds a {_kind(obj)} without a best_estimator_. Fit it with refit=True and save it again."
        )
    if not _is_model(obj):
        raise UnsupportedModel(
            f"{name!r} holds a {_kind(obj)}, not a model that predicts. Save the fitted model itself."
        )
    return obj, notes


def _only_one(holder: Any, name: str) -> tuple[Any, tuple[str, ...]]:
    parts = dict(_parts(holder))
    models = {key: part for key, part in parts.items() if _is_model(part)}
    if len(models) != 1:
        found = _listed(f"{key}: {_kind(part)}" for key, part in (models or parts).items())
        raise UnsupportedModel(
            f"{name!r} holds a {_kind(holder)} with {len(models) or 'no'} models ({found}). Save the one model by itself."
        )
    ((key, model),) = models.items()
    notes = [f"Of the {_kind(holder)} the model {key!r} is taken: {_kind(model)}."]
    prepares = [k for k, part in parts.items() if hasattr(part, "transform") and k != key]
    if prepares:
        notes.append(
            f"Left out: {_listed(prepares)}. The model is given the columns as they stand in the data; where they must "
            "be prepared first, save a pipeline of both."
        )
    return model, tuple(notes)


def _parts(holder: Any) -> Iterator[tuple[str, Any]]:
    pairs = holder.items() if isinstance(holder, dict) else enumerate(holder)
    return ((str(key)[:60], part) for key, part in pairs)


def _is_model(part: Any) -> bool:
    if isinstance(part, type):
        return False
    return isinstance(part, (torch.nn.Module, torch.export.ExportedProgram)) or hasattr(part, "predict")


def _kind(part: Any) -> str:
    return type(part).__name__
