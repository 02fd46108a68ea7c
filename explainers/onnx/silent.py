"""onnxruntime that speaks to nobody: its builds report to their maker, and keep a device number, unless told not to.

It reads the variable at its first import, so everybody here takes it from this module.
"""

from __future__ import annotations

import os

os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import onnxruntime

__all__ = ["onnxruntime"]
