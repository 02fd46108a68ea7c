"""Large pictures: what each method takes in time and memory, beside the model's own forward and backward pass."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from benchmarks.images.cases import Cases
from benchmarks.images.large_work import METHODS, ORDINARY
from benchmarks.report import short, table
from benchmarks.sections import Section

#: Side of the pictures, and in a quick run.
SIDE, QUICK_SIDE = 4000, 1000

OWN = ("forward", "forward and backward")
CHECKS = (
    *(f"faithfulness, {fill}, 7 evaluations" for fill in ("mean", "blur", "inpaint")),
    "randomisation_check, scrambled once",
    "region_share",
    "Dataset.from_images",
)

#: What is measured with `ex.Preparation` in front, and in grey.
PREPARED = ("Saliency", "GradCam", "LayerRelevancePropagation", "Lime, 4 segments")
GREY = ("SmoothGrad, 4 samples", "Rise, 8 masks", "region_share")

HEADS = ("picture", "work", "time", "processor time", "peak memory", "in pictures")


def measured(cases: Cases, patience: float) -> Section:  # noqa: ARG001  each runs once
    """Few evaluations each, so that what is not the model's own shows."""
    side = QUICK_SIDE if cases.quick else SIDE
    lines = [
        *_asked(side, 3, "full", (*OWN, *METHODS, *CHECKS)),
        *_asked(side, 3, "prepared", (*OWN, *PREPARED)),
        *_asked(side, 1, "full", (*OWN, *GREY)),
    ]
    about = (
        f"One picture of {side} × {side}, its bytes as float32, one run of each kind of work in a process of its own. The network has three convolutions, the first with "
        f"stride 4, or `ex.Preparation(size=({ORDINARY}, {ORDINARY}))` in front. Memory: by how much the process grew at its largest, beyond the data set itself; what "
        "a picture's float32 values take is one picture. `forward` and `forward and backward` are the model alone."
    )
    failed = [f"{line['work']}: {line['failed']}" for line in lines if "failed" in line]
    body = [_cells(line, side) for line in lines]
    return Section("large", "Large pictures", f"{about}\n\n{table(HEADS, body)}", lines, failed)


def _asked(side: int, channels: int, kind: str, names: tuple[str, ...]) -> list[dict[str, Any]]:
    command = [sys.executable, "-m", "benchmarks.images.large_work", str(side), str(channels), kind, *names]
    found = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        for line in child.stdout or ():
            if line.startswith("{"):
                found.append(json.loads(line))
                print("  " + " · ".join(_cells(found[-1], side)), file=sys.stderr, flush=True)
    if child.returncode or len(found) != len(names):
        raise RuntimeError(
            f"{len(found)} of {len(names)} kinds of work answered; the process ended with {child.returncode}."
        )
    return found


def _cells(line: dict[str, Any], side: int) -> list[str]:
    picture = f"{line['channels']} channel{'s' if line['channels'] > 1 else ''}"
    if line["prepared"]:
        picture += f", prepared to {ORDINARY}"
    if "failed" in line:
        return [picture, line["work"], line["failed"], "", "", ""]
    size = 4 * line["channels"] * side**2
    return [
        picture,
        line["work"],
        short(line["seconds"]),
        short(line["processor"]),
        f"{line['peak'] / 2**20:,.0f} MB",
        f"{line['peak'] / size:.1f}",
    ]
