"""Grad-CAM: where the last convolution saw what raises the score.

    α_k = mean_ij ∂S_target / ∂A_k,ij        L = ReLU( Σ_k α_k A_k )

A is the output of a layer, by default the last spatial convolution (`diagnostics["layer"]`; the last that is called with
more than one place in its map). L is as coarse as that layer: ``diagnostics["map"]`` holds it as computed,
``(m, 1, h', w')``, and `values` resized bilinearly to the picture. The graph starts at the layer, so the forward pass before
it keeps nothing and the backward pass ends there. In a network with parallel branches (Inception) the last convolution is
one branch of several: name the layer that joins them.

Selvaraju et al. 2017, arXiv 1610.02391. Cost: one forward pass and the backward pass of the layers after the layer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from jaxtyping import Float, Int

from explainers.device import over_chunks
from explainers.errors import InvalidSetting
from explainers.explainer import Explainer, Need, Problem
from explainers.explanation import Attribution, Explanation
from explainers.gradients.capture import graph_start, last_spatial_layer, named_layer
from explainers.gradients.differentiate import gradients, on
from explainers.gradients.inputs import module_inputs
from explainers.gradients.scores import Score, differentiable, saturation_notes
from explainers.lazily import lazily
from explainers.progress import Progress
from explainers.schema import Modality

if TYPE_CHECKING:
    import torch
else:
    torch = lazily("torch")


@dataclass(frozen=True)
class GradCam(Explainer):
    """One map per picture, ``(m, 1, h, w)``, of where a layer's features speak for the target.

    `relu` keeps what raises the score and drops what lowers it.
    """

    layer: str | None = None
    relu: bool = True
    space: Literal["auto", "raw", "probability"] = "auto"

    title: ClassVar[str] = "Grad-CAM"
    question: ClassVar[str] = "Where in the picture is what speaks for this class?"
    scope: ClassVar[Literal["case", "data"]] = "case"
    needs: ClassVar[frozenset[Need]] = frozenset({"gradients", "layers"})
    modalities: ClassVar[tuple[Modality, ...]] = ("image",)
    returns: ClassVar[type[Explanation]] = Attribution
    paper: ClassVar[str] = "Selvaraju et al.: Grad-CAM, ICCV 2017, arXiv 1610.02391"

    def explain(self, problem: Problem, progress: Progress) -> Attribution:
        """Maps of the target, or of all outputs."""
        inputs = module_inputs(problem.model, problem.cases.X)
        with differentiable(problem, self.space) as score:
            first = torch.tensor(inputs[:1], device=problem.device)
            name = self.layer or last_spatial_layer(score.module, lambda: score(first))
            targets = None if problem.all_outputs else problem.targets
            maps, scores = self._maps(
                score, named_layer(score.module, name), inputs, targets, problem, progress
            )
        output = problem.of_targets(scores)
        return Attribution(
            names=("picture",),
            values=_resized(maps, inputs.shape[2:], all_outputs=problem.all_outputs),
            base_value=np.full(output.shape, np.nan, dtype=output.dtype),
            output=output,
            space=score.space,
            targets=problem.target_labels,
            diagnostics={
                "exact": True,
                "evaluations": len(inputs),
                "layer": name,
                "map": _as_values(maps, all_outputs=problem.all_outputs),
                "notes": saturation_notes(output, score.space),
            },
        )

    def _maps(
        self,
        score: Score,
        layer: torch.nn.Module,
        inputs: np.ndarray,
        targets: Int[np.ndarray, " m"] | None,
        problem: Problem,
        progress: Progress,
    ) -> tuple[Float[np.ndarray, "m e h w"], Float[np.ndarray, "m k"]]:
        """Maps of the target (``e`` = 1) or of all outputs (``e = k``), and all scores."""

        def compute(part: slice) -> tuple[np.ndarray, np.ndarray]:
            with graph_start(layer) as call:
                scores = score(torch.tensor(inputs[part], device=problem.device))
            activation = _spatial(call.output, self.layer)
            slopes = gradients(scores, activation, on(targets, part, problem.device))
            maps = _weighted(activation.detach(), slopes if targets is None else slopes[..., None])
            maps = torch.relu(maps) if self.relu else maps
            return maps.cpu().numpy(), scores.detach().cpu().numpy()

        parts = over_chunks(compute, len(inputs), inputs[:1].nbytes * 48, problem.device, progress)
        maps, scores = zip(*parts, strict=True)
        return np.concatenate(maps), np.concatenate(scores)


def _spatial(activation: torch.Tensor | None, layer: str | None) -> torch.Tensor:
    if activation is None or activation.ndim != 4:
        found = "nothing" if activation is None else f"shape {tuple(activation.shape)}"
        raise InvalidSetting(
            f"The layer {layer!r} must give maps of shape (n, c, h, w); it gave {found}. Leave layer=None for the last convolution."
        )
    return activation


def _weighted(
    activation: Float[torch.Tensor, "n c h w"], slopes: Float[torch.Tensor, "n c h w e"]
) -> Float[torch.Tensor, "n e h w"]:
    return torch.einsum("nchw,nce->nehw", activation, slopes.mean(dim=(2, 3)))


def _resized(maps: Float[np.ndarray, "m e h w"], size: tuple[int, ...], *, all_outputs: bool) -> np.ndarray:
    large = torch.nn.functional.interpolate(
        torch.from_numpy(maps), size=size, mode="bilinear", align_corners=False
    )
    return _as_values(large.numpy(), all_outputs=all_outputs)


def _as_values(maps: Float[np.ndarray, "m e h w"], *, all_outputs: bool) -> np.ndarray:
    """``(m, 1, h, w)``, or ``(m, 1, h, w, k)``."""
    return np.ascontiguousarray(np.moveaxis(maps, 1, -1)[:, None]) if all_outputs else maps
