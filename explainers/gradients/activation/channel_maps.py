"""Maps of channels that are weighed one picture after the other, by asking the network about each channel."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int

from explainers.gradients.activation.maps import weighed
from explainers.gradients.activation.suffix import Behind, Picture
from explainers.gradients.differentiate import of_targets, on
from explainers.gradients.layers import MapLayer
from explainers.gradients.scores import Score
from explainers.lazily import lazily
from explainers.progress import Progress

if TYPE_CHECKING:
    import torch
else:
    torch = lazily("torch")


@dataclass(frozen=True)
class ChannelMaps:
    """Maps ``(m, e, h, w)``, all scores ``(m, k)``, how many rows were asked, and which way the channels were."""

    maps: np.ndarray
    scores: np.ndarray
    evaluations: int
    way: str


@dataclass(frozen=True)
class Asked:
    """Pictures and their targets, and where to compute."""

    score: Score
    layer: MapLayer
    inputs: Float[np.ndarray, "m c h w"]
    targets: Int[np.ndarray, " m"] | None
    device: torch.device

    def picture(self, i: int) -> Float[torch.Tensor, "1 c h w"]:
        """Picture `i` on the device."""
        return torch.tensor(self.inputs[i : i + 1], device=self.device)

    def wanted(self, scores: Float[torch.Tensor, "n k"], i: int) -> Float[torch.Tensor, "n e"]:
        """Of scores of picture `i`: those of its target, or all."""
        if self.targets is None:
            return scores
        targets = on(self.targets, slice(i, i + 1), self.device)
        assert targets is not None
        return of_targets(scores, targets.expand(len(scores)))[:, None]


def one_by_one(
    asked: Asked,
    part: Behind,
    weights: Callable[[Picture, int, Progress], torch.Tensor],
    progress: Progress,
    first: Picture | None = None,
) -> tuple[np.ndarray, np.ndarray, int]:
    """Maps of one picture after the other, all scores, and how many rows were asked; the `first` may have been seen."""
    maps, scores, rows = [], [], 0
    for i in range(len(asked.inputs)):
        picture = first if i == 0 and first is not None else part.seen(asked.picture(i))
        assert picture.output is not None
        assert picture.scores is not None
        features = asked.layer.maps(picture.output)
        found = weights(picture, i, _share_of(progress, i, len(asked.inputs)))
        maps.append(weighed(features, found[None]).cpu().numpy())
        scores.append(picture.scores.cpu().numpy())
        rows += 1 + len(found)
    return np.concatenate(maps), np.concatenate(scores), rows


def _share_of(progress: Progress, i: int, count: int) -> Progress:
    def report(done: int, total: int, partial: object = None) -> None:  # noqa: ARG001  a picture alone is no result
        progress(i * total + done, count * total)

    return report
