"""Class activation maps against pytorch-grad-cam."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import torch

import explainers as ex
from benchmarks.images import peers
from benchmarks.images.cases import DEEP, SHALLOW, Case, Cases
from benchmarks.images.measuring import EQUAL, Side, Work, cosine, section
from benchmarks.sections import Section

#: Side of the pictures; of those whose channels are left out one by one.
SIDE, ABLATED = 224, 112

#: The six that slopes tell, in our order.
SIX = ("grad-cam", "grad-cam++", "x-grad", "hi-res", "layer", "eigen")

ABOUT = (
    "pytorch-grad-cam brings each map to 0..1; so are ours before the comparison. The least cosine over the maps. The sign of an eigenvector is "
    "chance in pytorch-grad-cam, so Eigen-CAM is held against both."
)


def measured(cases: Cases, patience: float) -> Section:
    """Grad-CAM, six maps of one picture, Eigen-CAM."""
    one, several = cases(DEEP, 1, SIDE), cases(DEEP, 4, SIDE)
    works = [
        _work("Grad-CAM", one, ("grad-cam",), (2, 3)),
        _work("Grad-CAM", several, ("grad-cam",), (2, 3)),
        _work("six maps", one, SIX, (8, 12)),
        _work("Eigen-CAM", one, ("eigen",), (10, 20)),
    ]
    lines = [line for work in works for line in work.measured(patience)]
    return section("cam", "Class activation maps", f"{ABOUT} The layer is the last block.", lines)


def ablation(cases: Cases, patience: float) -> Section:
    """Ablation-CAM at three layers."""
    case = cases(SHALLOW, 1, ABLATED)
    last = len(cast("torch.nn.Sequential", case.net[1])) - 1
    layers = {
        f"1.{last}": "the last block: behind it a mean and a dense layer",
        f"1.{last}.branch.2": "the last ReLU within the last block: behind it a convolution and a ReLU",
        f"1.{last}.branch.3": "the last convolution",
    }
    lines = []
    for layer, words in layers.items():
        negative = layer.endswith("3")
        work = _work(
            f"Ablation-CAM, {words}", case, ("ablation",), (50, 200), layer, 0 if negative else EQUAL
        )
        lines += work.measured(patience)
    about = (
        "The map of every channel once more, each left out. pytorch-grad-cam sets it to 0 where the smallest feature is 0, and to that less 10^7 where "
        "features are negative, as behind a convolution alone; ours is always 0, as in the paper, so there the maps differ."
    )
    return section("ablation", "Ablation-CAM", about, lines)


def _work(
    name: str,
    case: Case,
    variants: Sequence[str],
    wanted: tuple[float, float],
    layer: str | None = None,
    least: float = EQUAL,
) -> Work:
    layer = layer or f"1.{len(cast('torch.nn.Sequential', case.net[1])) - 1}"
    method = _method(layer, variants)
    side = Side(
        f"whyboard, GradCam(variant={method.variant!r})",
        lambda: _in_rows(case.values(method)),
        note=lambda: _said(case, method),
    )
    other = Side(f"pytorch-grad-cam, {_named(variants)}", peers.cams(case, layer, variants), *wanted)
    compare = functools.partial(_cosine, case, layer, variants)
    return Work(f"{name}, {case.size}", side, [other], compare, least=least)


def _method(layer: str, variants: Sequence[str], *, relu: bool = True) -> Any:
    variant: Any = "all" if len(variants) > 1 else variants[0]
    return ex.GradCam(layer=layer, relu=relu, variant=variant)


def _named(variants: Sequence[str]) -> str:
    return "six classes in turn" if len(variants) > 1 else peers.CAMS[variants[0]]


def _said(case: Case, method: Any) -> str:
    return str(case.explained(method).diagnostics.get("channels asked", ""))


def _in_rows(maps: np.ndarray) -> np.ndarray:
    """``(n, v, h, w)`` to ``(v · n, h, w)``."""
    return np.concatenate(np.moveaxis(maps, 1, 0))


def _cosine(case: Case, layer: str, variants: Sequence[str], mine: np.ndarray, other: np.ndarray) -> float:
    """The least over the maps; Eigen-CAM, always the last, with the sign that agrees better."""
    found = [cosine(_scaled(a)[None], b[None]) for a, b in zip(mine, other, strict=True)]
    if "eigen" in variants:
        turned = _turned(case, _method(layer, variants, relu=False))
        n = len(case.x)
        for i in range(len(mine) - n, len(mine)):
            found[i] = max(found[i], cosine(_scaled(turned[i])[None], other[i][None]))
    return min(found)


def _turned(case: Case, method: Any) -> np.ndarray:
    """Maps of the other sign, what is below 0 dropped, as large as the picture."""
    coarse = torch.from_numpy(_in_rows(case.explained(method).diagnostics["map"]))
    large = torch.nn.functional.interpolate(
        torch.relu(-coarse)[:, None], size=case.x.shape[2:], mode="bilinear", align_corners=False
    )
    return np.asarray(large[:, 0].numpy())


def _scaled(values: np.ndarray) -> np.ndarray:
    """From 0 to 1."""
    values = values - values.min()
    return np.asarray(values / (1e-7 + values.max()))
