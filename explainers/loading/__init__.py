"""Files become models and data: one file per format, chosen by content, never by name; nothing is unpickled."""

from __future__ import annotations

from explainers.loading.datasets import load_dataset, load_frame
from explainers.loading.guessing import align, guess_role, guess_target
from explainers.loading.models import load_model

__all__ = ["align", "guess_role", "guess_target", "load_dataset", "load_frame", "load_model"]
