"""What can be asked of a map to see whether it may be believed; asked of whoever holds the model, like an explanation."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

import explainers as ex

#: What taken-away pixels show, and how people call it.
FILLS = {"mean": "mean colour", "blur": "blurred", "inpaint": "in-painted"}

#: Portions of pixels, and random maps beside the map; stages of scrambling, and scrambled copies.
STEPS, RANDOMS, STAGES, REPEATS = 20, 20, 5, 3

#: Pictures that a model is asked to see whether the score follows a map, at most; explanations to see whether the map follows the weights.
PICTURES, EXPLANATIONS = 2 * (STEPS - 1) * (RANDOMS + 1) + 3, 1 + STAGES * REPEATS

Report = ex.Faithfulness | ex.Randomisation


@dataclasses.dataclass(frozen=True)
class Check:
    """A question about the map of one picture.

    Attributes:
        what: whether the score follows the map, or the map the weights.
        explainer, row, target: which map.
        fill: what taken-away pixels show, of `FILLS`.
    """

    what: Literal["faithfulness", "randomisation"]
    explainer: ex.Explainer
    row: int
    target: Any
    fill: str = "mean"


def measured(
    model: ex.Model, data: ex.Dataset, check: Check, result: ex.Attribution | None, progress: ex.Progress
) -> Report:
    """The answer; `result` is the map, which faithfulness is about. Raises `ExplainerError`."""
    if check.what == "randomisation":
        return ex.randomisation_check(
            model,
            data,
            check.explainer,
            [check.row],
            check.target,
            stages=STAGES,
            repeats=REPEATS,
            progress=progress,
        )
    if result is None or check.fill not in FILLS:
        raise ex.InvalidSetting(
            f"Faithfulness needs a map and a fill of {', '.join(FILLS)}; got {check.fill!r}."
        )
    fill: Any = check.fill
    return ex.faithfulness(
        model, data, result, check.row, fill, steps=STEPS, randoms=RANDOMS, progress=progress
    )
