"""Groups of features: those asked for by name, and those that the data suggest because they rise and fall together.

Correlated features share their importance in ways that differ from method to method; a group has one clear value.
Similarity is |Spearman's rank correlation|; groups come from average-linkage clustering (Newson 2002 on rank
statistics; scikit-learn's guide "Permutation importance with multicollinear features" uses the same pair).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float

from explainers.dataset import Dataset
from explainers.errors import InvalidSetting
from explainers.lazily import lazily
from explainers.schema import _listed

hierarchy, distances = (lazily(f"scipy.{name}") for name in ("cluster.hierarchy", "spatial.distance"))

Groups = tuple[tuple[str, ...], ...]

#: Rows that correlations are computed from.
MOST_ROWS = 2000


def feature_units(names: tuple[str, ...], groups: Sequence[Sequence[str]]) -> Groups:
    """Every feature once, alone or in its group, in the order of `names`.

    Raises `InvalidSetting` for an empty group, an unknown feature, and a feature named twice.
    """
    home: dict[str, tuple[str, ...]] = {}
    for group in groups:
        if not group:
            raise InvalidSetting("A group of features is empty; name its features, or leave the group out.")
        unknown = [name for name in group if name not in names]
        if unknown:
            raise InvalidSetting(
                f"There is no feature {_listed(unknown)} to put into a group; there are {_listed(names)}."
            )
        members = tuple(sorted(group, key=names.index))
        for name in members:
            if name in home:
                raise InvalidSetting(
                    f"The feature {name!r} stands in two groups, or twice in one; name it once."
                )
            home[name] = members
    return tuple(dict.fromkeys(home.get(name, (name,)) for name in names))


def unit_name(members: Sequence[str]) -> str:
    """How a group is called: ``weight + height``."""
    return " + ".join(members)


def correlated_groups(data: Dataset, threshold: float = 0.8, seed: int = 0) -> Groups:
    """Groups of at least two features whose average |rank correlation| reaches `threshold`, in schema order.

    Numbers and features with two categories take part; more categories have no order and stay alone. Missing values
    count as the middle rank. At most 2,000 rows (a seeded sample) are looked at. Raises `InvalidSetting` for a
    threshold outside 0..1 and for data that are no table.
    """
    if not 0.0 < threshold <= 1.0:
        raise InvalidSetting(
            f"correlated_groups(threshold=…) must be above 0 and at most 1; got {threshold!r}."
        )
    rows = np.arange(len(data))
    if len(rows) > MOST_ROWS:
        rows = np.sort(np.random.default_rng(seed).choice(len(rows), size=MOST_ROWS, replace=False))
    columns, ranks = _centred_ranks(data, rows)
    if len(columns) < 2:
        return ()
    labels = _clusters(np.abs(ranks.T @ ranks), threshold)
    clusters = [
        [data.schema.names[j] for j, of in zip(columns, labels, strict=True) if of == label]
        for label in dict.fromkeys(labels)
    ]
    return tuple(tuple(cluster) for cluster in clusters if len(cluster) > 1)


def _centred_ranks(data: Dataset, rows: np.ndarray) -> tuple[list[int], Float[np.ndarray, "n f"]]:
    """Positions of the features that vary and have an order, and their ranks, centred and of length one."""
    kept: list[int] = []
    ranks: list[np.ndarray] = []
    for j, feature in enumerate(data.schema.features):
        if feature.categorical and len(feature.categories) > 2:
            continue
        column = data.matrix[rows, j]
        known = ~np.isnan(column)
        rank = np.zeros(len(rows))
        if known.any():
            rank[known] = pd.Series(column[known]).rank()  # scipy.stats takes a second to import
            rank[known] -= rank[known].mean()
        length = float(np.linalg.norm(rank))
        if length > 0:
            kept.append(j)
            ranks.append(rank / length)
    return kept, np.column_stack(ranks) if ranks else np.empty((len(rows), 0))


def _clusters(similarity: Float[np.ndarray, "f f"], threshold: float) -> list[int]:
    distance = np.clip(1.0 - similarity, 0.0, 1.0)
    np.fill_diagonal(distance, 0.0)
    tree = hierarchy.linkage(
        distances.squareform((distance + distance.T) / 2, checks=False), method="average"
    )
    # a hair wider than the cut, so that a copy of a column (distance 1e-16) is grouped at threshold 1
    return [int(label) for label in hierarchy.fcluster(tree, t=1.0 - threshold + 1e-9, criterion="distance")]
