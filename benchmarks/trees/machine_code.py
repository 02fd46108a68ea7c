"""What our machine code costs: compiled once for an installation, loaded in every process."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile

_FIRST_CALL = """
import time
import numpy as np
from explainers.trees.ensemble import Tree, TreeEnsemble
from explainers.trees.shapley import against_background, path_dependent
one = Tree(feature=np.array([0, -1, -1]), threshold=np.zeros(3), left=np.array([1, -1, -1]), right=np.array([2, -1, -1]),
           missing_left=np.zeros(3, bool), value=np.array([[0.0], [1.0], [2.0]]), cover=np.array([2.0, 1.0, 1.0]),
           chosen=np.full(3, -1))
trees, X, player = TreeEnsemble.of([one], np.zeros(1), 1, single=False), np.zeros((8, 1)), np.zeros(1, np.int64)
began = time.perf_counter()
for kernel in ("tables", "walk"):
    path_dependent(trees, player, 1, X, kernel=kernel)
for kernel in ("tables", "pairs"):
    against_background(trees, player, 1, X, X, kernel=kernel)
trees.raw(X)
print(time.perf_counter() - began)
"""


def compiling() -> tuple[float, float]:
    """Seconds of the first calls of all kernels: where nothing was compiled before, and where it was."""
    with tempfile.TemporaryDirectory() as kept:
        return _first_call(kept), _first_call(kept)


def _first_call(kept: str) -> float:
    done = subprocess.run(
        [sys.executable, "-c", _FIRST_CALL],
        env={**os.environ, "NUMBA_CACHE_DIR": kept},
        capture_output=True,
        text=True,
        check=True,
    )
    return float(done.stdout.splitlines()[-1])
