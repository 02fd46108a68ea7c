"""Explanations of pictures beside captum, pytorch-grad-cam, zennit, shap and lime: one run, how equal beside every ratio."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

PACKAGES = (
    "numpy", "torch", "captum", "grad-cam", "zennit", "shap", "lime", "scikit-image", "torchvision", "opencv-python-headless",
)  # fmt: skip

ABOUT = """\
All sides in one process on the CPU, the same weights and the same pictures, {threads} threads, in turn; the least seconds of up to {repeats} runs after one
that warms up (in brackets how many; a side gets {patience:g} s for them, and one that takes more than twice as long has its first run alone). What a peer makes once for a
model is made beforehand; ours wraps the model in each call and knows of the module what an earlier call has found (the memory of a row, whether sections suit it, which part lies behind a layer). Networks have random weights and
settled batch normalisations, pictures are made from seeds. *By processor time*: the same ratio of what the
process used of the processors, which other work on the machine hardly changes. *Cosine*: of a peer's values to ours, or of every side to the reference that the section names;
the least over pictures."""

QUICK = "**A quick run: small pictures, a shallow network in the place of the deep one.**"
ALONE = "**Without `--peers FOLDER`: sections fail whose peers are not in this environment.**"


def measure_all(
    peers: Path | None,
    only: Sequence[str],
    patience: float,
    quick: bool,
    words: list[str],
    out: Path,
    data: Path | None = None,
) -> None:
    """Run the sections, print them, and write them down; with `peers` in the environment in that folder.

    `data`: a folder of real models with stored answers.
    """
    from benchmarks.images.environment import inside, run_inside

    if peers is not None and not inside(peers):
        run_inside(peers, words)
    from benchmarks.images.cases import Cases
    from benchmarks.sections import run
    from benchmarks.trees.cases import THREADS

    found = run(_sections(Cases(quick), patience, data), only, THREADS)
    about = (QUICK if quick else "", "" if peers else ALONE, _about(THREADS, patience))
    found.write(
        out, "Explanations of pictures beside the established libraries", about, PACKAGES, {"quick": quick}
    )


def _about(threads: int, patience: float) -> str:
    from benchmarks.images.measuring import REPEATS

    return ABOUT.format(threads=threads, repeats=REPEATS, patience=patience)


def _sections(cases: Any, patience: float, data: Path | None) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Each with its word; a module that does not import fails its own sections alone."""
    names = (
        ("gradient", "gradient_rows", "measured"),
        ("relevance", "gradient_rows", "relevance"),
        ("cam", "cam_rows", "measured"),
        ("ablation", "cam_rows", "ablation"),
        ("integrated", "path_rows", "integrated"),
        ("expected", "path_rows", "expected"),
        ("occlusion", "covering_rows", "occlusion"),
        ("lime", "covering_rows", "lime"),
        ("large", "large_rows", "measured"),
        ("cuda", "cuda", "measured"),
    )
    for word, module, function in names:
        yield word, partial(_run, module, function, cases, patience)
    yield "golden", partial(_run, "golden_rows", "measured", data)


def _run(module: str, function: str, *given: Any) -> Any:
    import importlib

    return getattr(importlib.import_module(f"benchmarks.images.{module}"), function)(*given)
