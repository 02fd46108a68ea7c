"""Score-CAM: channels by the score of the picture seen through them.

    w = softmax_k( S(x · H_k) - S(0) ),      H_k = channel k, enlarged to the picture and brought to 0..1

The softmax makes the score of the empty picture drop out, so that it is not asked.

Wang et al. 2020, arXiv 1910.01279.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int

from explainers.device import over_chunks
from explainers.gradients.activation.channel_maps import Asked, ChannelMaps, one_by_one
from explainers.gradients.activation.suffix import Behind, Picture
from explainers.gradients.layers import MapLayer
from explainers.gradients.scores import Score
from explainers.lazily import lazily
from explainers.progress import Progress

if TYPE_CHECKING:
    import torch
else:
    torch = lazily("torch")


def score_cam_maps(
    score: Score,
    layer: MapLayer,
    inputs: Float[np.ndarray, "m c h w"],
    targets: Int[np.ndarray, " m"] | None,
    device: torch.device,
    progress: Progress,
) -> ChannelMaps:
    """Score-CAM of the target, or of all outputs."""
    asked = Asked(score, layer, inputs, targets, device)
    part = Behind.nothing_kept(score, layer)

    def weights(picture: Picture, i: int, report: Progress) -> Float[torch.Tensor, "c e"]:
        assert picture.output is not None
        scores = _through_masks(score, picture.x, layer.maps(picture.output), report)
        return torch.softmax(asked.wanted(scores, i), dim=0)

    return ChannelMaps(*one_by_one(asked, part, weights, progress), "whole network")


def _through_masks(
    score: Score,
    x: Float[torch.Tensor, "1 c h w"],
    features: Float[torch.Tensor, "1 k i j"],
    progress: Progress,
) -> Float[torch.Tensor, "k e"]:
    """Scores of the picture seen through each channel."""

    def compute(channels: slice) -> torch.Tensor:
        large = torch.nn.functional.interpolate(
            features[:, channels], size=x.shape[2:], mode="bilinear", align_corners=False
        )[0]
        low, high = large.amin(dim=(1, 2), keepdim=True), large.amax(dim=(1, 2), keepdim=True)
        # a channel that is the same everywhere shows nothing
        masks = torch.where(high > low, (large - low) / (high - low), 0)
        with torch.no_grad():
            return score(x * masks[:, None])

    return torch.cat(over_chunks(compute, features.shape[1], x.nbytes * 24, x.device, progress))
