"""What it costs that models live in locked processes of their own: the same calls there and here, in turn."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from benchmarks.machine import Quietness, facts, label
from benchmarks.report import machine_lines, table, write
from benchmarks.workers import calls, processes

THREADS = 2


def measure(repeats: int, out: Path) -> None:
    """Run everything, print the tables, and write them down. The zygote is begun here, so that its warm-up is timed."""
    torch.set_num_threads(THREADS)
    before = Quietness.now()
    parent, warming = processes.warmed(THREADS)
    found: dict[str, Any] = {"warming": warming}
    parts: tuple[tuple[str, Callable[[], Any]], ...] = (
        ("starts", lambda: processes.starts(parent, max(3, repeats // 5))),
        ("memory", lambda: processes.memory(parent, int(warming["zygote"]))),
        ("calls", lambda: calls.compared(parent, repeats)),
        ("explanations", lambda: calls.explained(parent, max(5, repeats // 3))),
        ("large", lambda: calls.large(parent, max(3, repeats // 10))),
    )
    for name, part in parts:
        print(f"{name} …", flush=True)
        found[name] = part()
    after = Quietness.now()
    machine = facts("torch", "numpy", "pandas", "onnx", "onnxruntime", "safetensors")
    numbers = {
        "machine": machine,
        "before": dataclasses.asdict(before),
        "after": dataclasses.asdict(after),
        "label": label(before),
        **found,
    }
    write(
        out, f"{_text(numbers)}\n\n## Machine\n\n{machine_lines(machine, str(before), str(after))}", numbers
    )


def _text(numbers: dict[str, Any]) -> str:
    note = f"**{numbers['label']}**\n\n" if numbers["label"] else ""
    return (
        f"# What a process of its own costs\n\n{note}"
        "The same call through a locked worker (there) and in this process (here), in turn, after a warm-up; medians. "
        "Processor time is that of this process and the worker together: other work on the machine changes the clock's time "
        f"much more than it. A table of {calls.ROWS:,} × {calls.COLUMNS} numbers; a network of {calls.NETWORK}; "
        f"{THREADS} threads on both sides.\n\n"
        f"{table(calls.HEADS, calls.rows(numbers['calls']))}\n\n{calls.verdict(numbers['calls'])}\n\n"
        "## Explanations\n\nReports of progress included; Lime's sample is remembered on both sides.\n\n"
        f"{table(calls.HEADS, calls.rows(numbers['explanations']))}\n\n"
        f"## Large answers\n\n{table(calls.HEADS, calls.rows(numbers['large']))}\n\n"
        "Pictures in an npz are sent, read and sent back; here they are only read. From a mebibyte on, arrays travel in a memory file.\n\n"
        f"## A fresh worker, from the bytes of an upload to its first prediction\n\n"
        f"{table(processes.STEP_HEADS, processes.step_rows(numbers['starts']))}\n\n{processes.STEPS_NOTE}\n\n"
        f"## Memory and warm-up\n\n"
        f"{table(processes.MEMORY_HEADS, processes.memory_rows(numbers['memory'], numbers['warming']))}\n\n"
        f"{processes.MEMORY_NOTE}"
    )
