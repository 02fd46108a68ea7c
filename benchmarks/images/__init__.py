"""Explanations of pictures beside captum, pytorch-grad-cam, zennit, shap and lime: one run, how equal beside every ratio."""

from __future__ import annotations

import random
import traceback
import warnings
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
model is made beforehand; ours wraps the model and makes everything in each call. Networks have random weights and
settled batch normalisations, pictures are made from seeds. *By processor time*: the same ratio of what the
process used of the processors, which other work on the machine hardly changes. *Cosine*: of a peer's values to ours, or of every side to the reference that the section names;
the least over pictures."""


def measure_all(
    peers: Path | None, only: Sequence[str], patience: float, quick: bool, words: list[str], out: Path
) -> None:
    """Run the sections, print them, and write them down; with `peers` in the environment in that folder."""
    from benchmarks.images.environment import inside, run_inside

    if peers is not None and not inside(peers):
        run_inside(peers, words)
    import numpy as np
    import torch

    from benchmarks.images.cases import Cases
    from benchmarks.machine import Quietness, facts, label
    from benchmarks.report import machine_lines, write
    from benchmarks.trees.cases import THREADS

    torch.set_num_threads(THREADS)
    random.seed(0)
    np.random.seed(0)  # for libraries that draw from the global generator
    before = Quietness.now()
    found, failed = [], []
    for word, make in _sections(Cases(quick), patience):
        if only and not any(part in word for part in only):
            continue
        try:
            with warnings.catch_warnings():  # the libraries warn about their own future
                warnings.simplefilter("ignore")
                section = make()
            found.append(section)
            print(f"## {section.title}\n\n{section.text}\n", flush=True)
        except Exception as error:  # one section that fails must not cost the others' minutes
            traceback.print_exc()
            failed.append(f"{word}: {type(error).__name__}: {error}")
    after = Quietness.now()
    machine = facts(*PACKAGES)
    missed = [line for section in found for line in section.missed]
    note = label(before)
    lines = machine_lines(machine, str(before), str(after))
    if torch.cuda.is_available():
        lines = lines.removesuffix("Not measured on a GPU.")
    parts = [
        "# Explanations of pictures beside the established libraries",
        f"**{note}**" if note else "",
        "**A quick run: small pictures, a shallow network in the place of the deep one.**" if quick else "",
        ""
        if peers
        else "**Without `--peers FOLDER`: sections fail whose peers are not in this environment.**",
        _about(THREADS, patience),
        "## Less than wanted\n\n" + ("\n".join(f"- {line}" for line in missed) or "None of these rows."),
        "## Sections that failed\n\n" + "\n".join(f"- {line}" for line in failed) if failed else "",
        *(f"## {section.title}\n\n{section.text}" for section in found),
        f"## Machine\n\n{lines}",
    ]
    numbers: dict[str, Any] = {section.word: section.rows for section in found}
    write(
        out,
        "\n\n".join(part for part in parts if part),
        {"machine": machine, "label": note, "quick": quick, "missed": missed, "failed": failed, **numbers},
    )


def _about(threads: int, patience: float) -> str:
    from benchmarks.images.measuring import REPEATS

    return ABOUT.format(threads=threads, repeats=REPEATS, patience=patience)


def _sections(cases: Any, patience: float) -> Iterator[tuple[str, Callable[[], Any]]]:
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
        ("cuda", "cuda", "measured"),
    )
    for word, module, function in names:
        yield word, partial(_run, module, function, cases, patience)


def _run(module: str, function: str, cases: Any, patience: float) -> Any:
    import importlib

    return getattr(importlib.import_module(f"benchmarks.images.{module}"), function)(cases, patience)
