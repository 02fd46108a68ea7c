"""Checks that keep damaged files away from native code: the libraries follow indices without looking."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

import numpy as np

from explainers.errors import UnreadableFile


def damaged(form: str, what: str) -> NoReturn:
    """Raise `UnreadableFile` for a file of a known format."""
    raise UnreadableFile(f"This {form} file is damaged: {what}. Save it again from the library that made it.")


def whole(values: Any, form: str, what: str, size: int | None = None) -> np.ndarray:
    """An array of whole numbers ``(size,)``; anything else is damage."""
    found = numbers(values, form, what, size)
    if found.size and not (np.isfinite(found).all() and (found == np.round(found)).all()):
        damaged(form, f"{what} should hold whole numbers")
    if found.size and np.abs(found).max() > 2**62:
        damaged(form, f"{what} holds numbers that are too large")
    return found.astype(np.int64)


def numbers(values: Any, form: str, what: str, size: int | None = None) -> np.ndarray:
    """A float64 array ``(size,)``; anything else is damage."""
    if not isinstance(values, (list, np.ndarray)):
        damaged(form, f"{what} is missing")
    try:
        found = np.asarray(values, dtype=np.float64)
    except (ValueError, TypeError, OverflowError):
        damaged(form, f"{what} should hold numbers")
    if found.ndim != 1 or (size is not None and len(found) != size):
        damaged(form, f"{what} has {found.size} values instead of {size}")
    return found


def within(values: np.ndarray, low: int, high: int, form: str, what: str) -> None:
    """Every value in ``low..high-1``."""
    if values.size and (values.min() < low or values.max() >= high):
        damaged(form, f"{what} points outside ({values.min()}..{values.max()}, allowed {low}..{high - 1})")


def tree(left: np.ndarray, right: np.ndarray, form: str, what: str) -> np.ndarray:
    """The nodes reached from the root, ``(r,)``, of a binary tree in arrays; -1 marks a leaf.

    Raises `UnreadableFile` for children out of range, half leaves and cycles.
    """
    count = len(left)
    if count == 0:
        damaged(form, f"{what} has no nodes")
    within(left, -1, count, form, f"{what}, left child")
    within(right, -1, count, form, f"{what}, right child")
    if ((left == -1) != (right == -1)).any():
        damaged(form, f"{what} has a node with one child")
    level = np.zeros(1, dtype=np.int64)
    reached = [level]
    total = 1
    while level.size:
        inner = level[left[level] >= 0]
        level = np.concatenate([left[inner], right[inner]])
        total += level.size
        if total > count:
            damaged(form, f"{what} runs in a circle")
        reached.append(level)
    return np.concatenate(reached)


def entry(holder: Any, name: str, form: str, kind: type | tuple[type, ...] = dict) -> Any:
    """A named part of a parsed file, of the kind expected."""
    if not isinstance(holder, Mapping) or name not in holder:
        damaged(form, f"{name!r} is missing")
    if not isinstance(holder[name], kind) or isinstance(holder[name], bool):
        damaged(form, f"{name!r} is of the wrong kind")
    return holder[name]


def number(holder: Any, name: str, form: str, low: int, high: int) -> int:
    """A whole number that a file holds as text or as a number."""
    value = entry(holder, name, form, (str, int))
    try:
        found = int(value)
    except ValueError:
        damaged(form, f"{name!r} is not a number")
    if not low <= found <= high:
        damaged(form, f"{name!r} is {found}, allowed are {low}..{high}")
    return found
