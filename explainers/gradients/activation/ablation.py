"""Ablation-CAM: channels by what the score loses without them.

    w_k = (S - S_k) / |S|,      S_k = the score with channel k at 0

The paper divides by S; its absolute value keeps the sign of what a channel does where a score is negative. Where everything
behind the layer is affine (a global mean and a linear layer), ``S - S_k = Σ_ij A_k ∂S/∂A_k`` exactly, and one backward pass
tells all channels; elsewhere the part behind the layer is asked once for each channel, its first convolution (where one follows at once) for all
together (`one_less`).

Desai and Ramaswamy: Ablation-CAM, WACV 2020.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int

from explainers.device import over_chunks
from explainers.errors import ModelFailure
from explainers.gradients.activation.channel_maps import Asked, ChannelMaps, one_by_one
from explainers.gradients.activation.maps import weighed
from explainers.gradients.activation.suffix import Behind, Picture, agree, behind
from explainers.gradients.capture import graph_start
from explainers.gradients.differentiate import gradients, of_targets, on
from explainers.gradients.layers import MapLayer, channel_axis
from explainers.gradients.scores import Score
from explainers.lazily import lazily
from explainers.progress import Progress
from explainers.sampling.steps import stretch

if TYPE_CHECKING:
    import torch
else:
    torch = lazily("torch")


def ablation_maps(
    score: Score,
    layer: MapLayer,
    inputs: Float[np.ndarray, "m c h w"],
    targets: Int[np.ndarray, " m"] | None,
    device: torch.device,
    progress: Progress,
) -> ChannelMaps:
    """Ablation-CAM of the target, or of all outputs."""
    asked = Asked(score, layer, inputs, targets, device)
    part, first = behind(score, layer, asked.picture(0))
    if _affine(part, first):
        return _closed_form(asked, part, first, progress)

    def weights(picture: Picture, i: int, report: Progress) -> Float[torch.Tensor, "c e"]:
        assert picture.scores is not None
        own = asked.wanted(picture.scores, i)
        lost = own - asked.wanted(_without_channels(part, picture, report), i)
        return lost / _size(own)

    found = one_by_one(asked, part, weights, progress, first)
    ways = {"kept": "behind the layer", "repeated": "behind the layer", "whole": "whole network"}
    return ChannelMaps(*found, ways[part.way])


def _size(scores: torch.Tensor) -> torch.Tensor:
    return torch.where(scores == 0, 1, scores.abs())


def _without_channels(part: Behind, picture: Picture, progress: Progress) -> Float[torch.Tensor, "c k"]:
    """Scores of a picture with each channel of the layer at 0 in turn."""
    from explainers.gradients.activation.one_less import OneLess

    output = picture.output
    assert output is not None
    axis = channel_axis(output)

    def compute(channels: slice) -> torch.Tensor:
        count = channels.stop - channels.start
        changed = output.expand(count + 1, *output.shape[1:]).clone()
        index = torch.arange(count, device=output.device)
        # row 0 stays as it is: its scores must be those of the picture
        left_out = index + channels.start
        changed[1:].movedim(axis, 1)[index, left_out] = 0
        with OneLess(changed, left_out) if axis == 1 else contextlib.nullcontext():
            return _checked_scores(part, picture, changed)[1:]

    rows = output[:1].nbytes * 8 if part.way != "whole" else max(picture.x.nbytes * 24, output[:1].nbytes * 8)
    return torch.cat(over_chunks(compute, output.shape[axis], rows, output.device, progress))


def _checked_scores(part: Behind, picture: Picture, changed: torch.Tensor) -> Float[torch.Tensor, "b k"]:
    """Scores of changed features whose first row is the picture's own; of the whole network where the short way fails."""
    assert picture.scores is not None
    with torch.no_grad():
        try:
            scores = part(picture, changed)
        except ModelFailure:
            if part.way == "whole":
                raise
        else:
            if part.way == "whole" or agree(scores[:1], picture.scores):
                return scores
        part.way = "whole"
        return part(picture, changed)


def _affine(part: Behind, picture: Picture) -> bool:
    """Whether the slopes at the layer are the same wherever its output lies: near, far, turned in sign, and at 0."""
    output = picture.output
    assert output is not None
    generator = torch.Generator().manual_seed(0)
    signs = torch.randint(0, 2, (3, *output.shape[1:]), generator=generator).to(output) * 2 - 1
    far = torch.tensor([1.0, 10.0, 0.1]).to(output).reshape(-1, *[1] * (output.ndim - 1))
    spread = output.abs() + output.abs().mean()
    probes = torch.cat([output, torch.zeros_like(output), spread * signs * far]).requires_grad_()
    try:
        scores = part(picture, probes)
        mixture = torch.randn(scores.shape[1], generator=generator).to(scores)
        first = torch.zeros(len(probes), dtype=torch.int64, device=probes.device)
        slopes = gradients((scores @ mixture)[:, None], probes, first)
    except ModelFailure:  # no number far away, or no slope
        return False
    size = slopes[0].abs().max()
    return bool(size > 0) and bool((slopes - slopes[:1]).abs().max() <= 1e-4 * size)


def _closed_form(asked: Asked, part: Behind, first: Picture, progress: Progress) -> ChannelMaps:
    """What each channel adds, told by the slopes at the layer, where the rest of the network is affine: the first picture has been seen."""
    assert first.output is not None
    assert first.scores is not None
    at = first.output.detach().requires_grad_()
    found = [(_by_slopes(asked, part(first, at), at, slice(0, 1)), first.scores.cpu().numpy())]
    count = len(asked.inputs)
    progress(1, count)

    def compute(rows: slice) -> tuple[np.ndarray, np.ndarray]:
        here = slice(rows.start + 1, rows.stop + 1)
        with graph_start(asked.layer.module) as call:
            scores = asked.score(torch.tensor(asked.inputs[here], device=asked.device))
        output = asked.layer.checked(call.output, here.stop - here.start)
        return _by_slopes(asked, scores, output, here), scores.detach().cpu().numpy()

    found += over_chunks(
        compute, count - 1, asked.inputs[:1].nbytes * 48, asked.device, stretch(progress, 1, count)
    )
    maps, scores = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return ChannelMaps(maps, scores, count, "closed form")


def _by_slopes(
    asked: Asked, scores: Float[torch.Tensor, "n k"], output: torch.Tensor, part: slice
) -> Float[np.ndarray, "n e h w"]:
    targets = on(asked.targets, part, asked.device)
    slopes = gradients(scores, output, targets)
    slopes = slopes if targets is None else slopes[..., None]
    output, scores = output.detach(), scores.detach()
    own = scores if targets is None else of_targets(scores, targets)[:, None]
    lost = (output[..., None] * slopes).movedim(channel_axis(output), 1).flatten(2, -2).sum(dim=2)
    found = weighed(asked.layer.maps(output), lost / _size(own)[:, None])
    return np.asarray(found.cpu().numpy())
