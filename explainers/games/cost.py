"""What a game of a table costs before it is played: coalitions, times reference cases, times cases."""

from __future__ import annotations

from collections.abc import Sequence

from explainers.dataset import Dataset
from explainers.sampling.groups import feature_units


def rows_asked(
    data: Dataset, cases: int, budget: int, groups: Sequence[Sequence[str]], background: int
) -> int | None:
    """Rows that the model is asked at most where each case may take `budget` coalitions; ``None`` but for tables.

    The full coalition is the case itself, the empty one the background, which is asked once. Features that equal all reference cases, and a
    tolerance that is reached early, make it fewer. Raises `InvalidSetting` for groups that do not fit the features.
    """
    if data.modality != "table":
        return None
    references = min(background, len(data.rows("train")) or len(data))
    coalitions = min(budget, 1 << len(feature_units(data.schema.names, groups)))
    return (coalitions - 2) * references * cases + references + cases
