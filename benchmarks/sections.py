"""A report in sections: each is run by itself, and all that were are printed and written down."""

from __future__ import annotations

import dataclasses
import random
import traceback
import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.machine import Quietness, facts, label
from benchmarks.report import machine_lines, write


@dataclasses.dataclass(frozen=True)
class Section:
    """One part of the report.

    Attributes:
        word: to choose it by.
        title: what it answers.
        text: markdown.
        rows: the same as numbers.
        missed: what is worse than wanted, a line each.
    """

    word: str
    title: str
    text: str
    rows: list[dict[str, Any]]
    missed: list[str]


@dataclasses.dataclass(frozen=True)
class Run:
    """Sections that were run, lines about those that failed, and the machine before and after."""

    found: list[Section]
    failed: list[str]
    before: Quietness
    after: Quietness

    def write(
        self, out: Path, title: str, about: Sequence[str], packages: Sequence[str], more: dict[str, Any]
    ) -> None:
        """Print and write down; `about` are paragraphs under the title (empty ones are left out), `more` further numbers."""
        note, machine = label(self.before), facts(*packages)
        missed = [line for section in self.found for line in section.missed]
        parts = [
            f"# {title}",
            f"**{note}**" if note else "",
            *about,
            "## Less than wanted\n\n" + (_listed(missed) or "None of these rows."),
            "## Sections that failed\n\n" + _listed(self.failed) if self.failed else "",
            *map(_written, self.found),
            f"## Machine\n\n{self._machine(machine)}",
        ]
        numbers = {"machine": machine, "label": note, **more, "missed": missed, "failed": self.failed}
        numbers |= {section.word: section.rows for section in self.found}
        write(out, "\n\n".join(part for part in parts if part), numbers)

    def _machine(self, machine: dict[str, Any]) -> str:
        """The machine; of a GPU a section of its own speaks where there is one."""
        import torch

        lines = machine_lines(machine, str(self.before), str(self.after))
        return lines.removesuffix("Not measured on a GPU.") if torch.cuda.is_available() else lines


def run(sections: Iterable[tuple[str, Callable[[], Section]]], only: Sequence[str], threads: int) -> Run:
    """Those whose word holds one of `only` (all, where it is empty), with so many threads, from the same random numbers."""
    import numpy as np
    import torch

    torch.set_num_threads(threads)
    random.seed(0)
    np.random.seed(0)  # for libraries that draw from the global generator
    before = Quietness.now()
    found: list[Section] = []
    failed: list[str] = []
    for word, make in sections:
        if only and not any(part in word for part in only):
            continue
        try:
            with warnings.catch_warnings():  # the libraries warn about their own future
                warnings.simplefilter("ignore")
                section = make()
        except Exception as error:  # one section that fails must not cost the others' minutes
            traceback.print_exc()
            failed.append(f"{word}: {type(error).__name__}: {error}")
            continue
        found.append(section)
        print(f"{_written(section)}\n", flush=True)
    return Run(found, failed, before, Quietness.now())


def _written(section: Section) -> str:
    return f"## {section.title}\n\n{section.text}"


def _listed(lines: Sequence[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)
