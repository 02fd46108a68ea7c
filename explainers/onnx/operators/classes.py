"""What the classifiers and regressors of ai.onnx.ml share: how scores become probabilities, and how labels are named."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from explainers.onnx.graph import Data
from explainers.onnx.operators.operator import Attributes

NEARLY_ZERO = 1e-7
ERF_A = 0.147  # of the approximation of the inverse error function that onnxruntime uses
TRANSFORMS = ("NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO", "PROBIT")


def transformed(scores: Tensor, how: str) -> Tensor:
    """The scores of each row (n, k) as the file wants them."""
    if how == "LOGISTIC":
        return torch.sigmoid(scores)
    if how == "SOFTMAX":
        return torch.softmax(scores, -1)
    if how == "PROBIT":
        return math.sqrt(2) * _inverse_error(2 * scores - 1)
    return _softmax_zero(scores) if how == "SOFTMAX_ZERO" else scores


def regressed(scores: Tensor, how: str) -> Tensor:
    """The same for numbers: onnxruntime leaves a single one as it is."""
    return scores if scores.shape[-1] == 1 and how != "PROBIT" else transformed(scores, how)


def _softmax_zero(scores: Tensor) -> Tensor:
    """A softmax in which what is 0 stays 0."""
    top = scores.amax(-1, keepdim=True)
    kept = torch.where(scores.abs() > NEARLY_ZERO, torch.exp(scores - top), scores * torch.exp(-top))
    return kept / kept.sum(-1, keepdim=True)


def _inverse_error(x: Tensor) -> Tensor:
    log = torch.log((1 - x) * (1 + x))
    middle = 2 / (math.pi * ERF_A) + log / 2
    return torch.sign(x) * torch.sqrt(torch.sqrt(middle.square() - log / ERF_A) - middle)


def post_transform(attributes: Attributes) -> str:
    how = attributes.text("post_transform", "NONE")
    if how not in TRANSFORMS:
        attributes.refuse(f"post_transform={how}")
    return how


class Labels:
    """The names of the classes: whole numbers, text, or positions where the file names none."""

    def __init__(self, attributes: Attributes) -> None:
        numbers = attributes.integers("classlabels_int64s") or attributes.integers("classlabels_ints")
        self.text = attributes.texts("classlabels_strings") or []
        self.numbers = numbers or []

    def __len__(self) -> int:
        return len(self.text or self.numbers)

    def of(self, scores: Tensor) -> Data:
        """The name of the largest score in each row."""
        return self.at(scores.detach().argmax(-1))

    def at(self, best: Tensor) -> Data:
        """The names at these positions."""
        if self.text:
            return np.asarray(np.array(self.text, dtype=object)[best.numpy(force=True)])
        return torch.tensor(self.numbers, device=best.device)[best] if self.numbers else best


def both_classes(score: Tensor, how: str, is_share: bool) -> Tensor:
    """(n, 2) from the one score of the second class: a share of 1, or a margin. As onnxruntime does it."""
    if how == "LOGISTIC":
        return torch.sigmoid(torch.cat([-score, score], -1))
    return torch.cat([1 - score if is_share else -score, score], -1)
