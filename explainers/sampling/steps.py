"""Several stretches of work under one progress, and results shown on the way."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from explainers.explanation import Explanation
from explainers.progress import Progress, silent

R = TypeVar("R", bound=Explanation)


def stretch(progress: Progress, start: int, whole: int) -> Progress:
    """The progress of a stretch of work that begins at `start` of `whole` steps."""

    def tell(done: int, total: int, partial: Explanation | None = None) -> None:
        del total  # of the stretch alone
        progress(start + done, whole, partial)

    return tell


def unseen() -> None:
    """What is called where nobody looks at coarser results."""


def in_rounds(
    run: Callable[[Progress, Callable[[], None]], None], progress: Progress, result: Callable[[], R]
) -> R:
    """The result after ``run(progress, shown)``, which calls `shown` where a coarser one may go out with the next report."""
    if progress is silent:
        run(progress, unseen)
        return result()
    pending: list[R] = []

    def tell(done: int, total: int, partial: Explanation | None = None) -> None:
        del partial  # made here
        progress(done, total, pending.pop() if pending else None)

    run(tell, lambda: pending.append(result()))
    return result()
