"""CatBoost's cbm. Its content cannot be checked from outside, so it is opened by CatBoost itself."""

from __future__ import annotations

from typing import Any

from explainers.errors import UnreadableFile, UnsupportedModel
from explainers.loading.sources import File
from explainers.model import Model


def load(file: File, classes: tuple[Any, ...] | None) -> Model:
    """A CatBoost model from bytes."""
    try:
        import catboost
    except ImportError as error:
        raise UnsupportedModel(
            'This is a CatBoost model; CatBoost is not installed. Install it: pip install "whyboard[catboost]".'
        ) from error
    if len(file.content) < 8 + int.from_bytes(file.content[4:8], "little"):
        raise UnreadableFile(
            "This CatBoost cbm file is cut short. Save it again: model.save_model('model.cbm')."
        )
    model = catboost.CatBoost()
    try:
        model.load_model(blob=file.content, format="cbm")
        return Model.wrap(model, classes)
    except (catboost.CatBoostError, ValueError, TypeError, KeyError) as error:
        text = str(error).rpartition(": ")[2].strip()[:200] or type(error).__name__
        raise UnreadableFile(f"This CatBoost cbm file is damaged: {text}. Save it again.") from error
