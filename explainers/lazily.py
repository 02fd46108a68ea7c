"""Large libraries that are imported when they are first used: whoever only describes methods and draws results needs none."""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import Any


class _Later(ModuleType):
    """Stands in a module's place; the first attribute asked for imports it."""

    def __getattr__(self, name: str) -> Any:
        value = getattr(importlib.import_module(self.__name__), name)
        self.__dict__[name] = value
        return value


def lazily(name: str) -> Any:
    """The module of this name, imported at its first use. Safe between threads: the import system takes care of it."""
    return _Later(name)
