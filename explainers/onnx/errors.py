"""The two ways an ONNX file is turned away: not opened at all, or opened for predictions only."""

from __future__ import annotations

from explainers.errors import UnsupportedModel

PREDICT_ONLY = "predictions still work through onnxruntime; gradient methods do not"


class UnsafeOnnx(UnsupportedModel):
    """The file is damaged or could harm the program that opens it: nothing may open it, onnxruntime included."""


class UnsupportedOnnx(UnsupportedModel):
    """The file is sound but the torch evaluator cannot run it: open it for predictions only."""
