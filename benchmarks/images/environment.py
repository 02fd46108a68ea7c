"""The peers' own environment: made once in a folder, and the whole benchmark runs inside it, both sides in one process.

torchvision, which zennit, quantus and pytorch-grad-cam import, is built for CUDA; beside a torch for the CPU its operators are missing,
and its import stops at the first of them. Nothing here calls one, so their names are declared and that is enough.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
from pathlib import Path

#: Installed without what they ask for: that would bring another torch, or is there already.
PACKAGES = ("captum", "zennit", "grad-cam", "ttach", "opencv-python-headless", "quantus", "torchvision")

#: What torchvision's import looks up before it registers how they behave on tensors without values.
OPERATORS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)

_KEPT: list[object] = []  # declarations live as long as their object


def inside(folder: Path) -> bool:
    """Whether this process runs in the environment in `folder`."""
    return Path(sys.prefix).resolve() == folder.resolve()


def run_inside(folder: Path, words: list[str]) -> None:
    """Replace this process by ``python -m benchmarks`` of the environment in `folder`, made where it is not there yet."""
    python = folder / "bin" / "python"
    if not (folder / "complete").exists():
        _make(folder, python)
    root = str(Path(__file__).parents[2])
    found = os.environ.get("PYTHONPATH")
    path = os.pathsep.join([root, *([found] if found else [])])
    os.execve(python, [str(python), "-m", "benchmarks", *words], {**os.environ, "PYTHONPATH": path})


def _make(folder: Path, python: Path) -> None:
    """An environment that sees the packages of this one, so that torch is the same, and has the peers beside them."""
    print(f"making the peers' environment in {folder}", flush=True)
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    # --system-site-packages would be those below an environment, not those of this one
    (_site(folder) / "benchmarks_parent.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    install = [str(python), "-m", "pip", "install", "--quiet", "--no-deps"]
    subprocess.run([*install, *(_matching(name) for name in PACKAGES)], check=True)
    (folder / "complete").write_text("\n".join(PACKAGES) + "\n")


def _site(folder: Path) -> Path:
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    return folder / "lib" / version / "site-packages"


def _matching(name: str) -> str:
    """torchvision 0.(15 + n) belongs to torch 2.n."""
    import torch

    found = re.match(r"2\.(\d+)\.", torch.__version__)
    return f"torchvision==0.{15 + int(found[1])}.*" if name == "torchvision" and found else name


def allow_torchvision() -> None:
    """Import torchvision, declaring the operators that its own machine code would have brought; raises where that does not help."""
    import torch

    try:
        import torchvision
    except RuntimeError as error:
        if "torchvision::" not in str(error):
            raise
        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[name]
        library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
        for operator in OPERATORS:
            library.define(operator)  # type: ignore[no-untyped-call]
        _KEPT.append(library)
        import torchvision  # noqa: F401
