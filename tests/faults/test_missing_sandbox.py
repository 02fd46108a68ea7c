"""A system that lacks a layer of the lock: it says which, counts as incomplete, and applies the others."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.hostile_actions import MISSING

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
@pytest.mark.parametrize("name", MISSING)
def test_what_is_left_still_holds(name: str) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "tests.faults.hostile_actions", name], cwd=ROOT, capture_output=True, text=True, check=True
    )  # fmt: skip
    found, missing = json.loads(run.stdout), MISSING[name]
    assert found["complete"] is missing.complete
    assert missing.said in found["sentence"]
    expected = dict.fromkeys(missing.refused, "refused") | dict.fromkeys(missing.allowed, "allowed")
    assert found["outcomes"] == expected
