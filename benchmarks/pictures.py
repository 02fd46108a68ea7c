"""Comparisons on pictures: integrated gradients, saliency, Grad-CAM and occlusion beside captum.

Once at captum's own defaults and once with its batching raised, where it has any to raise.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import nn

import explainers as ex
from benchmarks.comparison import Comparison

PICTURES, SIDE, STEPS, WINDOW, STRIDE = 8, 64, 50, 8, 4


def small_network() -> nn.Sequential:
    """Four convolutions with random weights: what matters here is the work, not the answer."""
    torch.manual_seed(0)
    widths = (3, 16, 32, 32, 64)
    layers: list[nn.Module] = []
    for i, (before, after) in enumerate(itertools.pairwise(widths)):
        layers += [
            nn.Conv2d(before, after, 3, padding=1, stride=1 if i % 2 else 2),
            nn.BatchNorm2d(after),
            nn.ReLU(),
        ]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(widths[-1], 5)).eval()


class Case:
    """A network and pictures, as the two sides want them; the target is the first class."""

    def __init__(self) -> None:
        self.module = small_network().requires_grad_(False)
        pixels = np.random.default_rng(0).random((PICTURES, 3, SIDE, SIDE), dtype=np.float32)
        self.data = ex.Dataset.from_images(pixels)
        self.model = ex.Model.wrap(self.module, classes=list("abcde"))
        self.x = torch.from_numpy(pixels)

    def ours(self, explainer: ex.Explainer) -> np.ndarray:
        """Our values of the first class's raw score."""
        found: Any = ex.explain(self.model, self.data, explainer, target="a", device="cpu")
        return np.asarray(found.values)


def comparisons() -> Iterator[tuple[str, Callable[[], Comparison]]]:
    """Every comparison of pictures with a word to choose it by."""
    case = Case()
    yield "saliency", lambda: saliency(case)
    yield "integrated", lambda: integrated_gradients(case, None)
    yield "integrated-batched", lambda: integrated_gradients(case, 64)
    yield "gradcam", lambda: grad_cam(case)
    yield "occlusion", lambda: occlusion(case, 1)
    yield "occlusion-batched", lambda: occlusion(case, 32)


def _size() -> str:
    return f"{PICTURES} pictures of 3 × {SIDE} × {SIDE}"


def saliency(case: Case) -> Comparison:
    """Signed gradients; captum takes absolute values unless told."""
    from captum.attr import Saliency

    method = Saliency(case.module)

    def peer() -> np.ndarray:
        x = case.x.clone().requires_grad_()
        return np.asarray(method.attribute(x, target=0, abs=False).detach().numpy())

    return Comparison(
        f"Saliency, {_size()}",
        "captum Saliency(abs=False)",
        lambda: case.ours(ex.Saliency(space="raw")),
        peer,
        "exact",
    )


def integrated_gradients(case: Case, batch: int | None) -> Comparison:
    """Gauss-Legendre nodes on both sides; by default captum asks all steps of all pictures at once."""
    from captum.attr import IntegratedGradients

    method = IntegratedGradients(case.module)

    def peer() -> np.ndarray:
        found = method.attribute(case.x, target=0, n_steps=STEPS, internal_batch_size=batch)
        return np.asarray(found.detach().numpy())

    words = (
        "captum IntegratedGradients at its defaults"
        if batch is None
        else f"captum IntegratedGradients(internal_batch_size={batch})"
    )
    mine = ex.IntegratedGradients(steps=STEPS, space="raw")
    return Comparison(
        f"IntegratedGradients, {STEPS} steps, {_size()}",
        words,
        lambda: case.ours(mine),
        peer,
        "the same nodes",
    )


def grad_cam(case: Case) -> Comparison:
    """The last convolution on both sides, ReLU, resized bilinearly to the picture."""
    from captum.attr import LayerAttribution, LayerGradCam

    name = [key for key, layer in case.module.named_modules() if isinstance(layer, nn.Conv2d)][-1]
    method = LayerGradCam(case.module, case.module.get_submodule(name))

    def peer() -> np.ndarray:
        x = case.x.clone().requires_grad_()  # with frozen weights captum has no gradient otherwise
        found = method.attribute(x, target=0, relu_attributions=True)
        return np.asarray(LayerAttribution.interpolate(found, (SIDE, SIDE), "bilinear").detach().numpy())

    mine = ex.GradCam(layer=name, space="raw")
    return Comparison(
        f"GradCam, {_size()}", "captum LayerGradCam, resized", lambda: case.ours(mine), peer, "exact"
    )


def occlusion(case: Case, at_once: int) -> Comparison:
    """The same windows; captum covers one window at a time by default."""
    from captum.attr import Occlusion

    method = Occlusion(case.module)

    def peer() -> np.ndarray:
        with torch.no_grad():
            found = method.attribute(
                case.x,
                target=0,
                sliding_window_shapes=(3, WINDOW, WINDOW),
                strides=(3, STRIDE, STRIDE),
                perturbations_per_eval=at_once,
            )
        return np.asarray(found[:, :1].numpy())

    words = (
        "captum Occlusion at its defaults"
        if at_once == 1
        else f"captum Occlusion(perturbations_per_eval={at_once})"
    )
    mine = ex.Occlusion(window=WINDOW, stride=STRIDE, space="raw")
    return Comparison(
        f"Occlusion, window {WINDOW}, stride {STRIDE}, {_size()}",
        words,
        lambda: case.ours(mine),
        peer,
        "the same windows",
    )
