"""One kind of work on one large picture after the other, each in a process of its own: ``python -m benchmarks.images.large_work SIDE CHANNELS full|prepared WORK …``.

Each prints a line of JSON: seconds of the clock and of the processors, and by how much the process grew at its largest.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

import explainers as ex

CLASSES = ("a", "b", "c")

#: What an ordinary network takes.
ORDINARY = 224

Work = Callable[[], Any]


def network(stride: int, channels: int) -> nn.Sequential:
    """Three convolutions and a mean over all places: it takes any size."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(channels, 8, 7, stride, 3), nn.ReLU(), nn.Conv2d(8, 16, 3, 2, 1), nn.ReLU(),
        nn.Conv2d(16, 16, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, len(CLASSES)),
    ).eval()  # fmt: skip


def pixels(side: int, channels: int) -> np.ndarray:
    """One picture of bytes ``(1, c, side, side)``: patches of colour, and noise."""
    random = np.random.default_rng(0)
    patch = -(-side // 40)
    found = random.integers(0, 200, (1, channels, 40, 40), dtype=np.uint8).repeat(patch, 2).repeat(patch, 3)
    found = found[:, :, :side, :side]
    return found + random.integers(0, 30, found.shape, dtype=np.uint8)


class Picture:
    """A picture, and a network for the full size or one with `ex.Preparation` in front of it."""

    def __init__(self, side: int, channels: int, *, prepared: bool) -> None:
        self.side, self.channels = side, channels
        self.data = ex.Dataset.from_images(pixels(side, channels))
        self.model = ex.Model.wrap(network(1 if prepared else 4, channels), classes=CLASSES, output="raw")
        if prepared:
            self.model = self.model.prepared(ex.Preparation(size=(ORDINARY, ORDINARY)))

    def explained(self, method: ex.Explainer) -> Any:
        """Its result for the first class."""
        return ex.explain(self.model, self.data, method, rows=[0], target=CLASSES[0], device="cpu")

    def forward(self) -> Any:
        """What the model itself takes."""
        with torch.no_grad():
            return self.module(torch.from_numpy(self.data.X))

    def backward(self) -> Any:
        """The same with the slope of one score."""
        x = torch.from_numpy(self.data.X).clone().requires_grad_()
        return torch.autograd.grad(self.module(x)[0, 0], x)

    @property
    def module(self) -> nn.Module:
        assert self.model.module is not None
        return self.model.module

    def faithfulness(self, fill: Any) -> Work:
        """Two curves of three points, and those of one random map."""
        result = self.explained(ex.GradCam())
        return lambda: ex.faithfulness(
            self.model, self.data, result, 0, fill, steps=2, randoms=1, device="cpu"
        )

    def randomisation(self) -> Any:
        """All weights scrambled once."""
        return ex.randomisation_check(
            self.model, self.data, ex.Saliency(), [0], CLASSES[0], stages=1, repeats=1, device="cpu"
        )

    def region(self) -> Work:
        """A rectangle of a twelfth of each side."""
        values = (
            np.random.default_rng(0).normal(size=(self.channels, self.side, self.side)).astype(np.float32)
        )
        mask = np.zeros((self.side, self.side), dtype=bool)
        mask[self.side // 4 : self.side // 3, self.side // 4 : self.side // 3] = True
        return lambda: ex.region_share(values, mask)

    def opened(self) -> Work:
        """A data set of bytes."""
        raw = pixels(self.side, self.channels)
        return lambda: ex.Dataset.from_images(raw)


METHODS: dict[str, ex.Explainer] = {
    "Saliency": ex.Saliency(),
    "InputXGradient": ex.InputXGradient(),
    "SmoothGrad, 4 samples": ex.SmoothGrad(samples=4),
    "IntegratedGradients, blurred baseline": ex.IntegratedGradients(steps=4, baseline="blur"),
    "ExpectedGradients, 4 samples": ex.ExpectedGradients(samples=4, background=2),
    "DeepLift": ex.DeepLift(),
    "GuidedBackprop": ex.GuidedBackprop(),
    "GradCam": ex.GradCam(),
    "GradCam, six maps": ex.GradCam(variant="all"),
    "GradCam, ablation": ex.GradCam(variant="ablation"),
    "LayerRelevancePropagation": ex.LayerRelevancePropagation(),
    "Occlusion, 4 windows": ex.Occlusion(window=2000, stride=2000, baseline="blur"),
    "Rise, 8 masks": ex.Rise(masks=8),
    "Lime, 4 segments": ex.Lime(segments=4, samples=50),
}


def works(picture: Picture) -> dict[str, Callable[[], Work]]:
    """What makes each kind of work ready."""
    found: dict[str, Callable[[], Work]] = {
        "forward": lambda: picture.forward,
        "forward and backward": lambda: picture.backward,
    }
    for name, method in METHODS.items():
        found[name] = lambda method=method: lambda: picture.explained(method)  # type: ignore[misc]
    for fill in ("mean", "blur", "inpaint"):
        found[f"faithfulness, {fill}, 7 evaluations"] = lambda fill=fill: picture.faithfulness(fill)  # type: ignore[misc]
    return {
        **found,
        "randomisation_check, scrambled once": lambda: picture.randomisation,
        "region_share": picture.region,
        "Dataset.from_images": picture.opened,
    }


def measured(run: Work) -> dict[str, float]:
    """Seconds, and by how many bytes the process grew at its largest."""
    gc.collect()
    with open("/proc/self/clear_refs", "w") as reset:
        reset.write("5")  # the largest size begins anew
    before, began, used = _kibibytes("VmRSS"), time.perf_counter(), time.process_time()
    kept = run()
    taken = {"seconds": time.perf_counter() - began, "processor": time.process_time() - used}
    del kept
    return {**taken, "peak": 1024.0 * (_kibibytes("VmHWM") - before)}


def _kibibytes(key: str) -> int:
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith(f"{key}:"))


def line(name: str, side: int, channels: int, *, prepared: bool) -> dict[str, Any]:
    """What one kind of work took, or why it failed."""
    torch.set_num_threads(2)
    told: dict[str, Any] = {"work": name, "channels": channels, "prepared": prepared}
    try:
        picture = Picture(side, channels, prepared=prepared)
        return {**told, **measured(works(picture)[name]())}
    except Exception as error:  # the other kinds of work go on
        return {**told, "failed": f"{type(error).__name__}: {error}"[:200]}


def main(side: int, channels: int, prepared: bool, names: list[str]) -> None:
    """A child for each: what is imported is shared, and no memory that one has used counts for the next."""
    from skimage.segmentation import slic

    assert slic
    for name in names:
        sys.stdout.flush()
        child = os.fork()
        if child:
            os.waitpid(child, 0)
            continue
        try:
            print(json.dumps(line(name, side, channels, prepared=prepared)), flush=True)
        finally:
            os._exit(0)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == "prepared", sys.argv[4:])
