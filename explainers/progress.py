"""Progress is the cancel: methods report between chunks, and whatever the report raises stops them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from explainers.explanation import Explanation


@runtime_checkable
class Progress(Protocol):
    """Called as ``progress(done, total, partial)`` between chunks of work.

    ``partial`` is a first, coarser result of the same kind as the final one, or ``None``. An exception raised
    here passes through the method unchanged; the method leaves no hook and no changed mode behind.
    """

    def __call__(self, done: int, total: int, partial: Explanation | None = None) -> None: ...


def silent(done: int, total: int, partial: object = None) -> None:
    """The progress of a caller who does not want to know."""
