"""A skops archive before skops sees it: names and sizes of its parts, its description, and tables of tree nodes.

skops keeps each object that has an ``__id__`` and gives the same object for every later part with that number, whatever
that part says of itself. So in a decision tree a number may stand for one content only: what is checked is what is built.
"""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from collections.abc import Hashable, Iterator
from typing import Any

import numpy as np

from explainers.errors import UnreadableFile
from explainers.loading.arrays import read_array
from explainers.loading.sources import File, opened_zip, unpacked
from explainers.loading.structure import damaged, json_depth, tree, within

FORM = "skops"
DAMAGE = (
    zipfile.BadZipFile, zlib.error, KeyError, ValueError, RuntimeError, EOFError, OSError, NotImplementedError, TypeError,
)  # fmt: skip


def check_archive(file: File) -> None:
    """Sizes before anything is unpacked, then every array's head, and the node tables of decision trees."""
    try:
        with opened_zip(file) as (archive, parts):
            if any("/" in part.filename or "\\" in part.orig_filename for part in parts):
                damaged(FORM, "a part of it is named like a place outside")
            description = archive.read("schema.json")
            file.limits.hold(file.name, "json_depth", json_depth(description))
            schema = json.loads(description)
            for part in parts:
                if part.filename.endswith(".npy"):
                    _read(archive, part)
            _check_trees(schema, archive, file)
    except DAMAGE as error:
        text = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise UnreadableFile(f"{file.name!r} is a damaged skops file: {text}. Save it again.") from error


def _read(archive: zipfile.ZipFile, part: zipfile.ZipInfo) -> np.ndarray:
    content = unpacked(archive, part)
    return read_array(io.BytesIO(content), len(content))


def _check_trees(schema: Any, archive: zipfile.ZipFile, file: File) -> None:
    """Every part of the description that stands for a decision tree, at any depth."""
    numbered: dict[Hashable, list[dict[str, Any]]] = {}
    trees, prepared = [], []
    for part in _described(schema, file):
        if "__id__" in part:
            numbered.setdefault(part["__id__"], []).append(part)
        loader, name = part.get("__loader__"), part.get("__class__")
        if loader == "CachedNode":
            damaged(FORM, "a part of it only refers to another")
        if loader == "PartialNode":
            prepared.append(part["content"]["func"])
        if (name == "Tree" or loader == "TreeNode") and loader != "TypeNode":
            trees.append(part)
    alone = _Alone(numbered, {id(part) for part in trees})
    for part in prepared:
        if alone.check(part).get("__class__") != "check_array" or part.get("__loader__") != "FunctionNode":
            damaged(FORM, "it prepares a call of a function that models do not prepare")
    for part in trees:
        _check_tree_state(part, archive, alone, file)


def _described(schema: Any, file: File) -> Iterator[dict[str, Any]]:
    waiting, steps = [schema], 0
    while waiting:
        part = waiting.pop()
        steps += 1
        file.limits.hold(file.name, "nodes", steps)
        if isinstance(part, dict):
            yield part
        inside = part.values() if isinstance(part, dict) else part
        waiting.extend(value for value in inside if isinstance(value, (dict, list)))


class _Alone:
    """Whether a part of a tree is what skops gives for its number: no other part has it, or only equal ones."""

    def __init__(self, numbered: dict[Hashable, list[dict[str, Any]]], trees: set[int]) -> None:
        self.numbered, self.trees = numbered, trees
        self.first: dict[Hashable, Any] = {}

    def check_tree(self, part: dict[str, Any]) -> None:
        """One tree may be saved twice, with fresh numbers inside: then each is checked."""
        if any(id(other) not in self.trees for other in self.numbered.get(part.get("__id__"), ())):
            damaged(FORM, "two different parts have one number")

    def check(self, part: dict[str, Any]) -> dict[str, Any]:
        number = part.get("__id__")
        if number not in self.first:
            others = self.numbered.get(number, [part])
            self.first[number] = part if number is None or all(other == part for other in others) else None
        if number is not None and self.first[number] != part:
            damaged(FORM, "two different parts have one number")
        return part


def _check_tree_state(part: dict[str, Any], archive: zipfile.ZipFile, alone: _Alone, file: File) -> None:
    what = "a decision tree"
    try:
        if part["__loader__"] != "TreeNode":
            raise ValueError("it is of another kind")
        alone.check_tree(part)
        content = _of(alone.check(part["content"]), "DictNode")
        arguments = _of(alone.check(part["__reduce__"]["args"]), "TupleNode")
        count = int(_of(alone.check(content["node_count"]), "JsonNode"))
        nodes = _array(alone.check(content["nodes"]), archive)
        values = _array(alone.check(content["values"]), archive)
        classes = _array(alone.check(arguments[1]), archive)
        features, outputs = (int(_of(alone.check(arguments[i]), "JsonNode")) for i in (0, 2))
    except (KeyError, TypeError, IndexError, ValueError) as error:
        raise UnreadableFile(
            f"This {FORM} file is damaged: {what} is incomplete ({error}). Save it again."
        ) from error
    if count != len(nodes) or count < 1 or features < 0:
        damaged(FORM, f"{what} states {count} nodes and has {len(nodes)}")
    if classes.shape != (outputs,) or outputs < 1 or classes.min(initial=1) < 1:
        damaged(FORM, f"{what} has no outputs")
    if values.shape != (count, outputs, classes.max()):
        damaged(FORM, f"{what} has values of shape {values.shape}")
    check_nodes(nodes, features, what, file)


def _of(state: dict[str, Any], loader: str) -> Any:
    """What a part of the description holds, where it is of the plain kind that skops writes."""
    if state["__loader__"] != loader:
        raise ValueError(f"a {loader} is missing")
    return state["content"]


def _array(state: dict[str, Any], archive: zipfile.ZipFile) -> np.ndarray:
    """An array of the archive; only the plain form is read, so that a reference cannot stand for another."""
    if state["__loader__"] != "NdArrayNode" or state["type"] != "numpy":
        raise ValueError("an array is missing")
    return _read(archive, archive.getinfo(state["file"]))


def check_nodes(nodes: np.ndarray, features: int, what: str, file: File) -> int:
    """The node table of a decision tree; how deep it is. Only -1 marks a leaf: -2 is a place before the table."""
    left, right = nodes["left_child"].astype(np.int64), nodes["right_child"].astype(np.int64)
    reached, depth = tree(left, right, FORM, what, file)
    if len(reached) < len(nodes):
        damaged(FORM, f"{what} has nodes that nothing leads to")
    inner = np.flatnonzero(left >= 0)
    within(nodes["feature"][inner].astype(np.int64), 0, features, FORM, f"{what}, split feature")
    if np.isnan(nodes["threshold"][inner]).any():
        damaged(FORM, f"{what} has a threshold that is NaN")
    return depth
