"""Several stretches of work under one progress."""

from __future__ import annotations

from explainers.explanation import Explanation
from explainers.progress import Progress


def stretch(progress: Progress, start: int, whole: int) -> Progress:
    """The progress of a stretch of work that begins at `start` of `whole` steps."""

    def tell(done: int, total: int, partial: Explanation | None = None) -> None:
        del total  # of the stretch alone
        progress(start + done, whole, partial)

    return tell
