"""Random ensembles of trees, and games on them from the definitions: slow and obvious."""

from __future__ import annotations

import itertools
import math

import numpy as np

from explainers.trees.ensemble import NAN, Sets, Tree, TreeEnsemble


def random_tree(rng, depth, columns, output=0, width=None, sets=0, bushy=0.8):
    """A tree whose thresholds are whole numbers and halves, so that rows of whole numbers fall on split points."""
    parts = {
        name: []
        for name in ("feature", "threshold", "left", "right", "missing_left", "value", "cover", "chosen")
    }

    def grow(level, cover):
        here = len(parts["feature"])
        split = level < depth and (level == 0 or rng.random() < bushy)
        set_ = int(rng.integers(sets)) if sets and rng.random() < 0.3 else -1
        # with sets the last column holds categories, the others numbers
        column = columns - 1 if set_ >= 0 else int(rng.integers(columns - (sets > 0)))
        entry = (
            column,
            rng.integers(-5, 6) / 2,
            -1,
            -1,
            rng.random() < 0.5,
            rng.normal(size=width),
            cover,
            set_,
        )
        for name, value in zip(parts, entry, strict=True):
            parts[name].append(value)
        if split:
            share = rng.choice([0.0, 0.25, 0.5, 0.7]) if rng.random() < 0.2 else rng.random()
            parts["left"][here] = grow(level + 1, cover * share)
            parts["right"][here] = grow(level + 1, cover * (1 - share))
        return here

    grow(0, 100.0)
    return Tree(**{name: np.array(values) for name, values in parts.items()}, output=output)


def random_ensemble(
    rng, trees=5, depth=4, columns=5, outputs=1, several=False, sets=0, missing=NAN, bushy=0.8
):
    """Several random trees; with `several` each leaf adds to all outputs."""
    made = [
        random_tree(rng, depth, columns, t % outputs, outputs if several else None, sets, bushy)
        for t in range(trees)
    ]
    answers = Sets.of([rng.random(5) < 0.5 for _ in range(sets)])
    return TreeEnsemble.of(
        made, rng.normal(size=outputs), columns, single=bool(rng.integers(2)), missing=missing, sets=answers
    )


def goes_left(trees, node, row):
    """What one node says of one row."""
    x = row[trees.feature[node]]
    x = float(np.float32(x)) if trees.single else float(x)
    kind = trees.missing[trees.feature[node]]
    if kind == 1 and math.isnan(x):
        x = 0.0
    if math.isnan(x) or (kind == 2 and -1e-35 < x <= 1e-35):
        return bool(trees.missing_left[node])
    if trees.chosen[node] >= 0:
        start, stop = trees.sets.start[trees.chosen[node]], trees.sets.start[trees.chosen[node] + 1]
        members = trees.sets.member[start:stop]
        return bool(members[int(x)] if x > -1 and int(x) < len(members) - 1 else members[-1])
    return x <= trees.threshold[node]


def output_sum(trees, tree, node):
    """What a leaf adds to each output."""
    found = np.zeros(trees.outputs)
    if trees.output[tree] >= 0:
        found[trees.output[tree]] = trees.value[node, 0]
        return found
    return trees.value[node].astype(float)


def raw(trees, row):
    """The sums of one row, by walking each tree."""
    total = trees.base.astype(float)
    for tree, node in enumerate(trees.roots[:-1]):
        while trees.feature[node] >= 0:
            node = trees.left[node] if goes_left(trees, node, row) else trees.right[node]
        total = total + output_sum(trees, tree, node)
    return total


def path_dependent_game(trees, row, player):
    """``value(players)``: where a node asks a player outside, both ways are taken with their training weights."""

    def below(tree, node, inside):
        if trees.feature[node] < 0:
            return output_sum(trees, tree, node)
        left, right = trees.left[node], trees.right[node]
        if player[trees.feature[node]] in inside:
            return below(tree, left if goes_left(trees, node, row) else right, inside)
        if trees.cover[node] == 0:
            return np.zeros(trees.outputs)
        return sum(
            trees.cover[child] / trees.cover[node] * below(tree, child, inside) for child in (left, right)
        )

    return lambda inside: trees.base + sum(below(t, root, inside) for t, root in enumerate(trees.roots[:-1]))


def background_game(trees, row, background, player):
    """``value(players)``: columns of players outside take the values of each reference case in turn."""

    def value(inside):
        rows = np.array(background, dtype=float)
        taken = [c for c in range(trees.columns) if player[c] in inside]
        rows[:, taken] = np.asarray(row)[taken]
        return np.mean([raw(trees, other) for other in rows], axis=0)

    return value


def exact(value, d):
    """Shapley values of a game over all coalitions ``(d, k)``."""
    values = {
        inside: np.asarray(value(set(inside)), dtype=float)
        for size in range(d + 1)
        for inside in itertools.combinations(range(d), size)
    }
    found = []
    for i in range(d):
        rest = [j for j in range(d) if j != i]
        total = 0.0
        for size in range(d):
            weight = math.factorial(size) * math.factorial(d - size - 1) / math.factorial(d)
            for inside in itertools.combinations(rest, size):
                total = total + weight * (values[tuple(sorted((*inside, i)))] - values[inside])
        found.append(total)
    return np.array(found)
