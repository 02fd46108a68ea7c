"""What was found out about a module and costs a pass to find out again; a module that is gone is forgotten with all of it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Generic, TypeVar
from weakref import WeakKeyDictionary, ref

from explainers.lazily import lazily

if TYPE_CHECKING:
    import torch
else:
    torch = lazily("torch")

T = TypeVar("T")

#: Answers of one kind that are kept for a module: for the shapes that one looks at in turn.
KEPT = 4


class Remembered(Generic[T]):
    """Answers of one kind, for modules as long as they have the children that they had then."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._found: WeakKeyDictionary[torch.nn.Module, dict[Hashable, T]] = WeakKeyDictionary()

    def of(self, module: torch.nn.Module, asked: Hashable, find: Callable[[], T]) -> T:
        """What is known of a module for all that the answer depends on (`asked`); else what `find` finds."""
        # a reference to what is gone equals no other: an id would be given to the next
        children = tuple((name, ref(child)) for name, child in module.named_modules())
        key = (children, asked)
        with self._lock:
            found = self._found.setdefault(module, {})
            if key in found:
                return found[key]
        answer = find()  # two at the same time find the same
        with self._lock:
            while len(found) >= KEPT:
                del found[next(iter(found))]
            found[key] = answer
        return answer
