"""`apart` tells what became of a call, and outlives it."""

from __future__ import annotations

import pytest

from tests.faults import apart_cases
from tests.faults.apart import apart


@pytest.mark.slow
def test_a_crash_is_an_answer_and_the_next_call_works() -> None:
    assert apart(apart_cases.crash).ended == "SIGSEGV"
    assert apart(apart_cases.leave).ended == "exit 3"
    assert apart(apart_cases.spin, seconds=1).ended in ("SIGXCPU", "timeout")
    assert apart(apart_cases.swell, megabytes=1024).error == "MemoryError"
    assert apart(apart_cases.answer, b"\0\xff").value == {"length": 2}


@pytest.mark.slow
def test_an_error_is_told_apart_by_its_family() -> None:
    refused, stumbled = apart(apart_cases.refuse), apart(apart_cases.stumble)
    assert (refused.error, refused.expected) == ("UnreadableFile", True)
    assert "is empty" in refused.message
    assert (stumbled.error, stumbled.expected) == ("KeyError", False)


@pytest.mark.slow
def test_growth_is_what_was_taken() -> None:
    assert 99 < apart(apart_cases.grow).grown < 140
    assert apart(apart_cases.answer, b"").grown < 20
