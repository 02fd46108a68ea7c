"""The repository root on the path, and two threads for whatever computes: nothing else."""

from __future__ import annotations

import os
import sys
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "2")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch  # after the number of threads is set

torch.set_num_threads(2)
