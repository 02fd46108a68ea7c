"""What a game of a table costs before it is played: coalitions, times reference cases, times cases."""

from __future__ import annotations

from collections.abc import Sequence

from explainers.dataset import Dataset
from explainers.sampling.groups import feature_units


def rows_asked(
    data: Dataset,
    cases: int,
    budget: int,
    groups: Sequence[Sequence[str]],
    background: int,
    of_picture: int | None = None,
) -> int | None:
    """Rows that the model is asked at most where each case of a table may take `budget` coalitions, and a picture `of_picture`.

    ``None`` for others.

    The full coalition is the case itself, the empty one the background, which is asked once. Features that equal all reference cases, and a
    tolerance that is reached early, make it fewer. Raises `InvalidSetting` for groups that do not fit the features.
    """
    if data.modality != "table":
        return of_picture and cases * of_picture if data.modality == "image" else None
    references = min(background, len(data.rows("train")) or len(data))
    coalitions = min(budget, 1 << len(feature_units(data.schema.names, groups)))
    return (coalitions - 2) * references * cases + references + cases
