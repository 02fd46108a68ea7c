"""Versions, as they stand in every result's provenance."""

from __future__ import annotations

import functools
import importlib.metadata
import platform

__version__ = "0.1.0"


@functools.cache
def versions() -> dict[str, str]:
    """Versions of what the numbers depend on."""
    found = {"whyboard": __version__, "python": platform.python_version()}
    for name in ("numpy", "torch", "scikit-learn", "shap", "lime", "onnxruntime"):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
