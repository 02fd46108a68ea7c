"""Class activation maps from one forward pass and one backward pass that ends at the layer.

A are the layer's features, g = ∂S/∂A their slopes; sums Σ_ij run over the places of one channel k.

    grad-cam     Σ_k A_k · mean_ij(g_k)
    grad-cam++   Σ_k A_k · Σ_ij α_k relu(g_k),     α = g² / (2 g² + Σ_ij(A_k) g³)
    x-grad       Σ_k A_k · Σ_ij(g_k A_k) / Σ_ij(A_k)
    hi-res       Σ_k A_k g_k
    layer        Σ_k A_k relu(g_k)
    eigen        the first principal component of A (its rows are places, its columns channels): no slopes

Selvaraju et al. 2017 (arXiv 1610.02391), Chattopadhay et al. 2018 (1710.11063), Fu et al. 2020 (2008.02312), Draelos and
Carin 2020 (2011.08891), Jiang et al. 2021 (LayerCAM, IEEE TIP 30), Muhammad and Yeasin 2020 (2008.00299).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from jaxtyping import Float, Int

from explainers.gradients.capture import graph_start
from explainers.gradients.differentiate import gradients
from explainers.gradients.layers import MapLayer
from explainers.gradients.scores import Score
from explainers.lazily import lazily

if TYPE_CHECKING:
    import torch
else:
    torch = lazily("torch")


def activation_maps(
    score: Score,
    layer: MapLayer,
    x: Float[torch.Tensor, "n channels height width"],
    targets: Callable[[torch.Tensor], Int[torch.Tensor, " n"] | None],
    variants: Sequence[str],
) -> tuple[Float[torch.Tensor, "n v e h w"], Float[torch.Tensor, "n k"], bool]:
    """Maps of any number of variants at once: of the target (``e`` = 1) or of all outputs (``e = k``); `targets` tells from the scores which.

    Returns them with all scores and whether any feature is negative, which grad-cam++ and x-grad do not foresee.
    """
    sloped = set(variants) != {"eigen"}
    with torch.set_grad_enabled(sloped), graph_start(layer.module) as call:
        scores = score(x)
    output = layer.checked(call.output, len(x))
    features = _single(layer.maps(output.detach()))
    chosen = targets(scores)
    slopes = features.new_zeros(()).expand(*features.shape, 1 if chosen is not None else scores.shape[1])
    if sloped:
        found = gradients(scores, output, chosen)
        slopes = _single(layer.maps(found if chosen is None else found[..., None], beyond=1))
    maps = torch.stack([VARIANTS[name](features, slopes) for name in variants], dim=1)
    return maps, scores.detach(), bool((features < 0).any())


def _single(values: torch.Tensor) -> torch.Tensor:
    """Half precision as float32: sums need the digits, and eigenvectors there are none of."""
    return values.float() if values.element_size() < 4 else values


def weighed(
    features: Float[torch.Tensor, "n c h w"], weights: Float[torch.Tensor, "n c e"]
) -> Float[torch.Tensor, "n e h w"]:
    """Σ_k w_k A_k; of a module in half precision the weights may be more exact."""
    return torch.einsum("nchw,nce->nehw", features.to(weights.dtype), weights)


def grad_cam(
    features: Float[torch.Tensor, "n c h w"], slopes: Float[torch.Tensor, "n c h w e"]
) -> Float[torch.Tensor, "n e h w"]:
    """Channels by their mean slope."""
    return weighed(features, slopes.mean(dim=(2, 3)))


def grad_cam_plus_plus(
    features: Float[torch.Tensor, "n c h w"], slopes: Float[torch.Tensor, "n c h w e"]
) -> Float[torch.Tensor, "n e h w"]:
    """Channels by their raising slopes, each place weighed; the common factor exp(S) of the paper is left out."""
    # α = 1 / (2 + Σ A g) wherever g is not 0: the g² that cancels would underflow
    divisor = 2 + features.sum(dim=(2, 3))[..., None, None, None] * slopes
    share = torch.where((slopes > 0) & (divisor != 0), slopes / divisor, 0)
    return weighed(features, share.sum(dim=(2, 3)))


def x_grad(
    features: Float[torch.Tensor, "n c h w"], slopes: Float[torch.Tensor, "n c h w e"]
) -> Float[torch.Tensor, "n e h w"]:
    """Channels by their slope where they are active; a channel whose features sum to 0 has none."""
    total = features.sum(dim=(2, 3))[..., None]
    product = torch.einsum("nchw,nchwe->nce", features, slopes)
    return weighed(features, torch.where(total == 0, 0, product / total))


def hi_res(
    features: Float[torch.Tensor, "n c h w"], slopes: Float[torch.Tensor, "n c h w e"]
) -> Float[torch.Tensor, "n e h w"]:
    """Each place by its own slopes."""
    return torch.einsum("nchw,nchwe->nehw", features, slopes)


def layer_cam(
    features: Float[torch.Tensor, "n c h w"], slopes: Float[torch.Tensor, "n c h w e"]
) -> Float[torch.Tensor, "n e h w"]:
    """Each place by its own raising slopes."""
    return torch.einsum("nchw,nchwe->nehw", features, torch.relu(slopes))


def eigen_cam(
    features: Float[torch.Tensor, "n c h w"], slopes: Float[torch.Tensor, "n c h w e"]
) -> Float[torch.Tensor, "n e h w"]:
    """What the features vary in most, for every output the same; its sign makes it grow with the mean feature."""
    n, c, h, w = features.shape
    rows = features.reshape(n, c, h * w).mT
    rows = rows - rows.mean(dim=1, keepdim=True)
    if h * w <= c:
        vectors, values = _largest(rows @ rows.mT)
        component = vectors * values[:, None].clamp(min=0).sqrt()
    else:
        vectors, _ = _largest(rows.mT @ rows)
        component = (rows @ vectors[..., None])[..., 0]
    component = component * _turn(component, rows)[:, None]
    return component.reshape(n, 1, h, w).expand(n, slopes.shape[-1], h, w)


def _turn(
    component: Float[torch.Tensor, "n p"], rows: Float[torch.Tensor, "n p c"]
) -> Float[torch.Tensor, " n"]:
    """1 or -1, so that a component grows with the mean feature; where that says nothing, so that its peak is positive."""
    along = (component * rows.mean(dim=2)).sum(dim=1)
    typical = rows.square().mean(dim=2).sum(dim=1).sqrt() * component.norm(dim=1)
    peak = component.gather(1, component.abs().argmax(dim=1, keepdim=True))[:, 0]
    # behind a LayerNorm the mean feature is 0 everywhere but for rounding
    return torch.where(torch.where(along.abs() > 1e-4 * typical, along, peak) < 0, -1.0, 1.0)


def _largest(
    gram: Float[torch.Tensor, "n s s"],
) -> tuple[Float[torch.Tensor, "n s"], Float[torch.Tensor, " n"]]:
    """The eigenvector of the largest eigenvalue, and that; Apple's device has no such solver."""
    values, vectors = torch.linalg.eigh(gram.cpu() if gram.device.type == "mps" else gram)
    return vectors[..., -1].to(gram.device), values[:, -1].to(gram.device)


#: What one forward and one backward pass give, in the order of a panel of all.
VARIANTS: Mapping[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "grad-cam": grad_cam,
    "grad-cam++": grad_cam_plus_plus,
    "x-grad": x_grad,
    "hi-res": hi_res,
    "layer": layer_cam,
    "eigen": eigen_cam,
}
