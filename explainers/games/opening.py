"""The game that fits the data: features of tables, segments of pictures, words of texts."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from explainers.dataset import Dataset
from explainers.device import on_device
from explainers.errors import InvalidSetting
from explainers.explainer import Problem
from explainers.games.features import FeatureGame
from explainers.games.game import Game
from explainers.games.segmentation import Segments
from explainers.games.segments import Fill, SegmentGame
from explainers.games.tokens import TokenGame, Words


def game_of(
    problem: Problem,
    space: str,
    *,
    background: Dataset | None = None,
    groups: Sequence[Sequence[str]] = (),
    segments: Segments = "superpixels",
    about: int = 50,
    baseline: Fill = "segment",
    all_play: bool = False,
    words: Words = "distinct",
    mask: str | None = None,
) -> Game:
    """The game of a problem; what is not of its modality is left aside.

    Args:
        problem: what is explained.
        space: the scale of the answers.
        background, groups: of tables; see `FeatureGame.of`.
        segments, about, baseline, all_play: of pictures; see `SegmentGame.of`.
        words, mask: of texts; see `TokenGame.of`.

    Raises:
        InvalidSetting: a table without a background, or sequences, which have no players yet.
    """
    modality = problem.data.modality
    if modality == "table":
        if background is None:
            raise InvalidSetting("Absent features take the values of reference cases; give a background.")
        return FeatureGame.of(problem, space, background, groups)
    if modality == "image":
        return SegmentGame.of(problem, space, segments, about, baseline, all_play=all_play)
    if modality == "text":
        return TokenGame.of(problem, space, words, mask)
    raise InvalidSetting(
        "Coalitions are of features, segments or words; sequences have none of them. Give the steps as columns of a table."
    )


def placed(problem: Problem) -> contextlib.AbstractContextManager[object]:
    """A torch module answers where it lies: on the device of the problem while this lasts; other models as they are."""
    module = problem.model.module
    return contextlib.nullcontext() if module is None else on_device(module, problem.device)
