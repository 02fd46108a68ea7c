"""What our machine code costs: compiled once for an installation, loaded in every process."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from typing import Any

import numpy as np


def first_calls() -> float:
    """Seconds of one call of each kernel on next to nothing; in a new process that is loading, or compiling."""
    began = time.perf_counter()
    from explainers.trees.ensemble import Tree, TreeEnsemble
    from explainers.trees.shapley.exact import against_background, path_dependent

    none = np.array([-1, -1])
    one = Tree(
        feature=np.array([0, *none]),
        threshold=np.zeros(3),
        left=np.array([1, *none]),
        right=np.array([2, *none]),
        missing_left=np.zeros(3, dtype=bool),
        value=np.array([0.0, 1.0, 2.0]),
        cover=np.array([2.0, 1.0, 1.0]),
    )
    trees = TreeEnsemble.of([one], np.zeros(1), 1, single=False)
    path: tuple[Any, ...] = ("tables", "walk")
    against: tuple[Any, ...] = ("tables", "pairs")
    rows, player = np.zeros((8, 1)), np.zeros(1, dtype=np.int64)
    for kind in (np.float32, np.float64):
        for kernel in path:
            path_dependent(trees, player, 1, rows, kind=kind, kernel=kernel)
        for kernel in against:
            against_background(trees, player, 1, rows, rows, kind=kind, kernel=kernel)
    trees.raw(rows)
    return time.perf_counter() - began


def compiling() -> tuple[float, float]:
    """Seconds of the first calls in a new process: where nothing was compiled before, and where it was."""
    with tempfile.TemporaryDirectory() as kept:
        return _in_new_process(kept), _in_new_process(kept)


def _in_new_process(kept: str) -> float:
    done = subprocess.run(
        [sys.executable, "-c", "from benchmarks.trees.machine_code import first_calls; print(first_calls())"],
        env={**os.environ, "NUMBA_CACHE_DIR": kept},
        capture_output=True,
        text=True,
        check=True,
    )
    return float(done.stdout.splitlines()[-1])
