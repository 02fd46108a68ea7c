"""On a CUDA device: absolute times and pictures per second of every method, nothing beside them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import torch

import explainers as ex
from benchmarks.images.cases import DEEP, Case, Cases
from benchmarks.report import short, table
from benchmarks.sections import Section

#: Pictures of the rows, and their side; runs after the first.
COUNTS, SIDE, REPEATS = (1, 32), 224, 3


def measured(cases: Cases, patience: float) -> Section:
    """Every method on the device; says where there is none."""
    title = "On a CUDA device"
    if not torch.cuda.is_available():
        return Section("cuda", title, "Not measured on a GPU.", [], [])
    found = []
    for count in COUNTS:
        case = cases(DEEP, count, SIDE)
        for name, method in _methods():
            found.append({"method": name, "size": case.size, **_timed(case, method, patience)})
    heads = ("method", "work", "time", "pictures per second")
    lines = [
        [str(one["method"]), str(one["size"]), one["failed"] or short(one["seconds"]), _rate(one)]
        for one in found
    ]
    about = f"{torch.cuda.get_device_name()}. What a call of `explain` takes, pictures and values carried both ways."
    return Section("cuda", title, f"{about}\n\n{table(heads, lines)}", found, [])


def _methods() -> Iterator[tuple[str, Any]]:
    """By name: one that is not there yet is left out."""
    settings: dict[str, list[dict[str, Any]]] = {
        "Saliency": [{}],
        "InputXGradient": [{}],
        "GuidedBackprop": [{}],
        "GradCam": [{}, {"variant": "all"}, {"variant": "ablation"}, {"variant": "score"}],
        "IntegratedGradients": [{}],
        "SmoothGrad": [{}],
        "DeepLift": [{}],
        "LayerRelevancePropagation": [{}],
        "Occlusion": [{}],
        "Rise": [{}],
        "Lime": [{}],
    }
    for name, each in settings.items():
        for given in each if hasattr(ex, name) else ():
            said = ", ".join(f"{key}={value!r}" for key, value in given.items())
            yield f"{name}({said})", getattr(ex, name)(**given)


def _timed(case: Case, method: Any, patience: float) -> dict[str, Any]:
    """The least seconds after a run that warms up, which counts where it is long; a method that fails costs the others nothing."""
    taken: list[float] = []
    try:
        while len(taken) <= REPEATS and sum(taken[1:]) < patience and sum(taken[:1]) < 3 * patience:
            torch.cuda.synchronize()
            began = time.perf_counter()
            case.explained(method, device="cuda")
            torch.cuda.synchronize()
            taken.append(time.perf_counter() - began)
    except Exception as error:
        return {"failed": f"{type(error).__name__}: {error}"[:120], "seconds": None, "pictures": len(case.x)}
    return {"failed": "", "seconds": min(taken[1:] or taken), "pictures": len(case.x)}


def _rate(one: dict[str, Any]) -> str:
    return "" if one["failed"] else f"{one['pictures'] / one['seconds']:,.1f}"
