"""From attributions of many cases to one number per feature."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from explainers.errors import InvalidSetting
from explainers.explanation import Attribution, Importance
from explainers.sampling.groups import feature_units, unit_name


def mean_absolute(attribution: Attribution, groups: Sequence[Sequence[str]] = ()) -> Importance:
    """Mean over cases of |value| per feature, or of |sum of the values| per group: what the model uses.

    The standard error is ``sd / √m``, what other cases would change (NaN for one case); the background error is the mean
    of the cases' own, added up in a group: an upper bound, for one draw of reference cases serves all. With all
    outputs explained the outputs are added up. Raises `InvalidSetting` for values that are no table.
    """
    values = attribution.values
    if (
        not isinstance(values, np.ndarray)
        or values.ndim not in (2, 3)
        or values.shape[1] != len(attribution.names)
    ):
        raise InvalidSetting(
            "Only attributions of tables have one number per feature; these are of images, texts or sequences."
        )
    if len(values) == 0:
        raise InvalidSetting("There are no cases to average over.")
    units = feature_units(attribution.names, groups)
    columns = [[attribution.names.index(name) for name in unit] for unit in units]
    size = np.column_stack(
        [_over_outputs(np.abs(values[:, members].sum(axis=1))) for members in columns]
    ).astype(np.float64)
    m = len(size)
    return Importance(
        names=tuple(unit_name(unit) for unit in units),
        values=size.mean(axis=0),
        metric=f"mean |SHAP value| ({_scale(attribution.space)})",
        standard_error=size.std(axis=0, ddof=1) / np.sqrt(m) if m > 1 else np.full(size.shape[1], np.nan),
        background_error=_background_error(attribution.background_error, columns),
        reference=attribution.reference,
        groups=units if groups else (),
        diagnostics={**attribution.diagnostics, "cases": m},
        provenance=attribution.provenance,
    )


def _over_outputs(size: np.ndarray) -> np.ndarray:
    return size if size.ndim == 1 else size.sum(axis=1)


def _background_error(error: np.ndarray | None, columns: list[list[int]]) -> np.ndarray | None:
    if error is None:
        return None
    return np.array(
        [np.abs(error[:, members]).sum(axis=1).mean(axis=0).sum() for members in columns], dtype=np.float64
    )


def _scale(space: str) -> str:
    return {"raw": "raw score", "target": "target units"}.get(space, space)
