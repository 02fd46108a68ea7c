"""Checks that keep damaged files away from native code: the libraries follow indices without looking."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NoReturn

import numpy as np

from explainers.errors import UnreadableFile
from explainers.loading.sources import File

NOT_MARKS = bytes(set(range(256)) - set(b'[]{}"'))
TEXTS = re.compile(rb'"[^"]*"?')
PIECE = 1 << 20
SINGLE = float(np.finfo(np.float32).max)


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


def finite(values: np.ndarray, form: str, what: str, most: float = np.inf) -> None:
    """No NaN, no infinity, nothing that becomes infinite in the library's own type."""
    if values.size and not (np.isfinite(values) & (np.abs(values) <= most)).all():
        damaged(form, f"{what} holds NaN, infinity or a number that is too large")


def within(values: np.ndarray, low: int, high: int, form: str, what: str) -> None:
    """Every value in ``low..high-1``."""
    if values.size and (values.min() < low or values.max() >= high):
        damaged(form, f"{what} points outside ({values.min()}..{values.max()}, allowed {low}..{high - 1})")


def tree(left: np.ndarray, right: np.ndarray, form: str, what: str, file: File) -> tuple[np.ndarray, int]:
    """The nodes reached from the root of a binary tree in arrays, ``(r,)`` in order, and its depth; -1 marks a leaf.

    Raises `UnreadableFile` for children out of range, half leaves, nodes with two parents, cycles and too many levels.
    A tree like a chain takes no longer: each node finds its root by jumps of 1, 2, 4, … parents.
    """
    count = len(left)
    if count == 0:
        damaged(form, f"{what} has no nodes")
    within(left, -1, count, form, f"{what}, left child")
    within(right, -1, count, form, f"{what}, right child")
    if ((left == -1) != (right == -1)).any():
        damaged(form, f"{what} has a node with one child")
    inner = np.flatnonzero(left >= 0)
    children = np.concatenate([left[inner], right[inner]])
    parents = np.bincount(children, minlength=count)
    if parents[0] or parents.max() > 1:
        damaged(form, f"{what} runs in a circle, or two ways lead to one node")
    above = np.arange(count)
    above[children] = np.concatenate([inner, inner])
    depth = (above != np.arange(count)).astype(np.int64)
    for _ in range(count.bit_length()):
        depth, above = depth + depth[above], above[above]
    reached = np.flatnonzero(above == 0)
    deepest = int(depth[reached].max())
    file.limits.hold(file.name, "tree_depth", deepest)
    return reached, deepest


def json_depth(content: bytes) -> int:
    """How deep lists and objects stand inside each other, without parsing anything."""
    plain = content.replace(rb"\\", b"").replace(rb"\"", b"")
    marks = TEXTS.sub(b"", plain.translate(None, NOT_MARKS))
    depth = deepest = 0
    for start in range(0, len(marks), PIECE):
        steps = np.frombuffer(marks[start : start + PIECE], np.uint8)
        depths = depth + np.cumsum(np.where((steps == ord("[")) | (steps == ord("{")), 1, -1))
        deepest, depth = max(deepest, int(depths.max())), int(depths[-1])
    return deepest


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
