"""Does the map depend on what the model has learnt? Its weights are scrambled, and the map is drawn again.

    similarity = mean over rows of |ρ(map, map of the scrambled model)|        ρ: Spearman's rank correlation, maps with their signs

A method whose map hardly changes shows the picture (its edges, say), not the model. Layers are scrambled from the top down, each
stage keeping those before it. Maps keep their signs: the sizes alone of input × gradient follow the bright pixels and agree at
0.99 whatever the weights are. The size of ρ is taken after, since a map that only turns its sign round has not changed its shape.

Smooth maps agree by chance more than rough ones. The floor is therefore the same similarity with random maps as rough as the map
itself (`explainers.quality.random_maps`). Maps of differently scrambled networks would be no floor: those of a method that
only looks at the picture agree with each other; their similarity is reported as `among`.

Adebayo and others 2018, "Sanity Checks for Saliency Maps", arXiv 1810.03292; on signs and similarities Sundararajan and Taly 2018, arXiv
1806.04205. A map that changes is no proof that it explains.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, count
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from explainers.dataset import Dataset
from explainers.errors import InvalidSetting, ModelFailure, NotApplicable
from explainers.explainer import Explainer
from explainers.explaining import explain
from explainers.explanation import Attribution
from explainers.model import Model
from explainers.progress import Progress, silent
from explainers.quality.random_maps import pixel_map, random_map, rank_correlation, require_one_map
from explainers.quality.scrambling import Scrambled

#: From this similarity on, and above the floor, a map hardly changes.
ALIKE = 0.5

#: Random maps that the floor is made of.
DRAWS = 40


@dataclass(frozen=True, eq=False, repr=False)
class Randomisation:
    """How much of a map is left when the weights are scrambled.

    Attributes:
        layers: the layers scrambled at each stage, with all those of the stages before; the last stage has scrambled all.
        correlations: of the map with that of the scrambled model, signed, ``(stages, repeats, rows)``.
        similarity: mean size of the correlations at each stage, ``(stages,)``.
        floor: the same with random maps as rough as the map, ``(draws,)``.
        among: mean size of the correlations between the maps of differently scrambled models; NaN for one repeat.
        targets: the target of each row.
    """

    layers: tuple[tuple[str, ...], ...]
    correlations: Float[np.ndarray, "stages repeats rows"]
    floor: Float[np.ndarray, " draws"]
    among: float
    targets: tuple[Any, ...]

    def __repr__(self) -> str:
        return f"Randomisation({self.sentence})"

    @property
    def similarity(self) -> Float[np.ndarray, " stages"]:
        return np.asarray(np.abs(self.correlations).mean(axis=(1, 2)))

    @property
    def floor_mean(self) -> float:
        return float(self.floor.mean())

    @property
    def floor_95(self) -> float:
        """What 95 % of the random maps stay below."""
        return float(np.percentile(self.floor, 95))

    @property
    def changes(self) -> bool | None:
        """Whether the map of the wholly scrambled model is another; ``None``: in part."""
        left = float(self.similarity[-1])
        if left <= self.floor_95:
            return True
        return False if left >= ALIKE else None

    @property
    def sentence(self) -> str:
        """What was found, in words."""
        return {
            True: "The map changes when the weights are scrambled.",
            None: "The map changes in part when the weights are scrambled.",
            False: "The map hardly changes when the weights are scrambled: it shows the picture more than the model.",
        }[self.changes]

    def to_frame(self) -> pd.DataFrame:
        """One row per stage, repeat and row explained: how many layers were scrambled, and the correlation."""
        stage, repeat, row = (index.ravel() for index in np.indices(self.correlations.shape))
        scrambled = np.cumsum([len(part) for part in self.layers])
        return pd.DataFrame(
            {"stage": stage, "layers_scrambled": scrambled[stage], "repeat": repeat, "row": row,
             "correlation": self.correlations.ravel()}
        )  # fmt: skip


def randomisation_check(
    model: Model,
    data: Dataset,
    explainer: Explainer,
    rows: Sequence[int] | np.ndarray | Dataset,
    target: Any = None,
    *,
    stages: int = 5,
    repeats: int = 3,
    seed: int = 0,
    background: Dataset | None = None,
    device: str = "auto",
    progress: Progress | None = None,
) -> Randomisation:
    """Explain some pictures again after scrambling the weights of a copy of the model, from the top down.

    Args:
        model, data, explainer, rows, target, background, device: as in `explain`; without a target each row keeps the class
            that the original predicts. The model itself is never changed.
        stages: in how many portions the layers are scrambled; 1 scrambles all at once.
        repeats: how many differently scrambled copies.
        progress: called between explanations and within them; what it raises stops the computation and passes through.

    Raises:
        NotApplicable: data that are no pictures, an explainer that gives no maps, a model without module or without weights.
        InvalidSetting: all outputs, several maps of a picture, no rows, a setting out of range, or a map that is the same everywhere for every row.
        ModelFailure: the model, or its scrambled copy, raised or answered NaN.

    Cost: ``1 + stages × repeats`` explanations of the rows.
    """
    _require(data, explainer, rows, stages, repeats)
    options: dict[str, Any] = {"background": background, "device": device}
    first = Scrambled(model, data, seed, 0)  # refuses before any work is done
    portions = [
        tuple(part) for part in np.array_split(np.array(first.layers, dtype=object), stages) if len(part)
    ]
    parts = (_part(progress or silent, i, 1 + len(portions) * repeats) for i in count())
    result = explain(model, data, explainer, rows, target, progress=next(parts), **options)
    maps = _of_result(result, data)
    cases = rows if isinstance(rows, Dataset) else data.take(rows)
    found = np.empty((len(portions), repeats, len(maps)))
    last = []
    for repeat in range(repeats):
        copied = first if repeat == 0 else Scrambled(model, data, seed, repeat)
        for stage, layers in enumerate(portions):
            copied.scramble(layers)
            again = _maps(copied.model, data, explainer, cases, result.targets, next(parts), options)
            found[stage, repeat] = [rank_correlation(a, b) for a, b in zip(maps, again, strict=True)]
        last.append(again)
    return Randomisation(tuple(portions), found, _floor(maps, seed), _among(last), result.targets)


def _maps(
    model: Model,
    data: Dataset,
    explainer: Explainer,
    cases: Dataset,
    targets: tuple[Any, ...],
    progress: Progress,
    options: dict[str, Any],
) -> list[np.ndarray]:
    """Maps of each case for its own target: those with the same are explained together."""
    found: list[np.ndarray] = [np.empty(0)] * len(targets)
    groups = list(dict.fromkeys(targets))
    for g, target in enumerate(groups):
        these = [i for i, own in enumerate(targets) if own == target]
        part = _part(progress, g, len(groups))
        try:
            result = explain(model, data, explainer, cases.take(these), target, progress=part, **options)
        except ModelFailure as error:
            raise ModelFailure(f"With scrambled weights: {error}") from error
        for i, values in zip(these, result.values, strict=True):
            found[i] = pixel_map(values)
    return found


def _of_result(result: Attribution, data: Dataset) -> list[np.ndarray]:
    """The maps that the others are compared with."""
    if result.output.ndim != 1:
        raise InvalidSetting("The check compares maps of one target for each row; target='all' has several.")
    require_one_map(result, data)
    maps = [pixel_map(values) for values in result.values]
    if all(np.ptp(values) == 0 for values in maps):
        raise InvalidSetting(
            "The map is the same everywhere, so nothing can be seen to change. Choose another target, space or layer."
        )
    return maps


def _floor(maps: list[np.ndarray], seed: int) -> Float[np.ndarray, " draws"]:
    """The similarity that maps have with random ones as rough as they are."""
    rngs = [np.random.default_rng([seed, 1, draw]) for draw in range(DRAWS)]
    return np.array([np.mean([abs(rank_correlation(m, random_map(m, rng))) for m in maps]) for rng in rngs])


def _among(every: list[list[np.ndarray]]) -> float:
    """How similar the maps of differently scrambled models are to each other."""
    pairs = [
        abs(rank_correlation(a, b))
        for one, other in combinations(every, 2)
        for a, b in zip(one, other, strict=True)
    ]
    return float(np.mean(pairs)) if pairs else float("nan")


def _part(progress: Progress, which: int, parts: int) -> Progress:
    """The progress of one part of several that take about as long."""

    def report(done: int, total: int, partial: object = None) -> None:  # noqa: ARG001  first results are the caller's
        progress(which * total + done, parts * total)

    return report


def _require(
    data: Dataset,
    explainer: Explainer,
    rows: Sequence[int] | np.ndarray | Dataset,
    stages: int,
    repeats: int,
) -> None:
    if data.modality != "image":
        raise NotApplicable(
            f"The check compares maps of pictures; these data are of modality {data.modality!r}."
        )
    if explainer.returns is not Attribution:
        raise NotApplicable(f"{explainer.title} gives no map of a picture that could be compared.")
    if len(rows) == 0:
        raise InvalidSetting("There is no row to explain. Name one at least: rows=[0].")
    for name, value in (("stages", stages), ("repeats", repeats)):
        if not 1 <= value <= 100:
            raise InvalidSetting(f"{name} must be between 1 and 100; got {value!r}.")
