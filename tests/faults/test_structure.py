"""The checks that all formats share, against slow and obvious twins."""

from __future__ import annotations

import json
import random

import numpy as np
import pytest

from explainers import Limits, UnreadableFile
from explainers.loading.sources import File
from explainers.loading.structure import json_depth, tree


def random_tree(leaves: int, rng: random.Random) -> tuple[np.ndarray, np.ndarray]:
    """Children of a random binary tree, its nodes in any order behind the root."""
    left, right, open_ = [-1], [-1], [0]
    for _ in range(leaves - 1):
        node = open_.pop(rng.randrange(len(open_)))
        left[node], right[node] = len(left), len(left) + 1
        open_ += [len(left), len(left) + 1]
        left += [-1, -1]
        right += [-1, -1]
    return np.array(left), np.array(right)


def walked(left: np.ndarray, right: np.ndarray) -> dict[int, int]:
    """Each node that is reached, and how deep it is."""
    depths, waiting = {0: 0}, [0]
    while waiting:
        node = waiting.pop()
        for child in (left[node], right[node]):
            if child >= 0:
                depths[int(child)] = depths[node] + 1
                waiting.append(int(child))
    return depths


@pytest.mark.parametrize("leaves", [1, 2, 3, 17, 200])
def test_a_tree_is_reached_as_by_walking(leaves: int) -> None:
    left, right = random_tree(leaves, random.Random(leaves))
    left, right = np.append(left, -1), np.append(right, -1)  # and a node that nothing leads to
    reached, depth = tree(left, right, "form", "tree", File("a", b"."))
    known = walked(left, right)
    assert reached.tolist() == sorted(known)
    assert depth == max(known.values())


@pytest.mark.parametrize(
    ("left", "right", "sentence"),
    [
        ([1, -1, -1], [1, -1, -1], "two ways lead to one node"),
        ([1, 0, -1], [2, 2, -1], "runs in a circle"),
        ([0, -1], [1, -1], "runs in a circle"),
        ([1, -1], [-1, -1], "a node with one child"),
        ([5, -1, -1], [2, -1, -1], "left child points outside"),
        ([], [], "has no nodes"),
    ],
)
def test_what_is_no_tree_is_damage(left: list[int], right: list[int], sentence: str) -> None:
    with pytest.raises(UnreadableFile, match=f"This form file is damaged: tree.*{sentence}"):
        tree(np.array(left, dtype=np.int64), np.array(right, dtype=np.int64), "form", "tree", File("a", b"."))


def test_a_circle_that_nothing_leads_to_is_not_reached() -> None:
    left, right = np.array([-1, 1, -1]), np.array([-1, 2, -1])
    assert tree(left, right, "form", "tree", File("a", b"."))[0].tolist() == [0]


def test_a_chain_meets_the_bound_of_its_depth() -> None:
    levels = 1_000
    inner = np.arange(0, 2 * levels, 2)
    left, right = np.full(2 * levels + 1, -1), np.full(2 * levels + 1, -1)
    left[inner], right[inner] = inner + 1, inner + 2
    assert tree(left, right, "form", "tree", File("a", b".", Limits(tree_depth=levels)))[1] == levels
    with pytest.raises(UnreadableFile, match=r"1,000 levels in one tree; .*setting limits.tree_depth"):
        tree(left, right, "form", "tree", File("a", b".", Limits(tree_depth=levels - 1)))


def depth_of(value: object) -> int:
    inside = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inside is None else 1 + max(map(depth_of, inside), default=0)


@pytest.mark.parametrize(
    "value",
    [
        1,
        [],
        {},
        [[[]]],
        {"a": [{"b": "]]}}"}]},
        ['"[[[', "\\", '\\"{{{'],
        {'a"]}': [["\\\\"]]},
        [[1], [[2]], "x" * 3],
    ],
)
def test_depth_of_json_is_what_parsing_finds(value: object) -> None:
    assert json_depth(json.dumps(value).encode()) == depth_of(value)


def test_depth_of_json_that_never_ends() -> None:
    assert json_depth(b"[" * 3_000_000) == 3_000_000
    assert json_depth(b'["[[[[') == 1
