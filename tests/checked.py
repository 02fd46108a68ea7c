"""The type checker of annotations: beartype, asked once about a function that each call of another defines anew.

jaxtyping decorates such an inner function whenever its outer one runs; that took half of the time of many tests.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from beartype import beartype

#: What beartype made of a function: by its module, qualified name, code, and annotations as they are written.
_made: dict[tuple[Any, ...], Callable[..., Any]] = {}


def once(function: Callable[..., Any]) -> Callable[..., Any]:
    """``beartype(function)``. What jaxtyping hands over has a signature and no body, so any one is as good as another.

    With default values it is made anew: they may differ, and must not be kept alive here.
    """
    if function.__closure__ or function.__defaults__ or function.__kwdefaults__:
        return beartype(function)
    written = ((name, repr(annotation)) for name, annotation in function.__annotations__.items())
    key = (function.__module__, function.__qualname__, function.__code__, *written)
    if key not in _made:
        _made[key] = beartype(function)
    return _made[key]
