"""Grad-CAM and its family: where a layer saw what raises the score.

    L = ReLU( Σ_k w_k A_k )        Grad-CAM: w_k = mean_ij ∂S_target / ∂A_k,ij

A is the output of a layer, by default the one where the maps of the last convolution are complete: behind its bias and activation, the sum with a
shortcut, the joined branches (`explainers.gradients.default_layer`; of a vision transformer the last normalisation of all tokens
before the last attention). ``diagnostics["layer"]`` names it, ``diagnostics["layer_why"]`` says why it is that one. L is as
coarse as that layer: ``diagnostics["map"]`` holds it as computed, ``(m, 1, h', w')``, and `values` resized bilinearly to the
picture. The graph starts at the layer, so the forward pass before it keeps nothing and the backward pass ends there.

The variants differ in the weights. Their formulas and papers stand in `explainers.gradients.activation.maps` (from slopes; all
six cost one forward and one backward pass together: ``variant="all"``), in `score_cam` beside it (one evaluation for each
channel) and in `ablation` (the part behind the layer for each channel, or no more than the slopes where that part is affine). ``"eigen"`` knows no target: its map is that of the picture, the same for every output.

Selvaraju et al. 2017, arXiv 1610.02391. Cost: one forward pass and the backward pass of the layers after the layer.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from jaxtyping import Float

from explainers.device import over_chunks
from explainers.explainer import Explainer, Need, Problem
from explainers.explanation import Attribution, Explanation
from explainers.gradients.activation.ablation import ablation_maps
from explainers.gradients.activation.maps import VARIANTS, activation_maps
from explainers.gradients.activation.score_cam import score_cam_maps
from explainers.gradients.inputs import module_inputs
from explainers.gradients.layers import MapLayer, map_layer
from explainers.gradients.result import attribution
from explainers.gradients.scores import Score, differentiable
from explainers.gradients.targets import Targets
from explainers.lazily import lazily
from explainers.progress import Progress
from explainers.schema import Modality
from explainers.settings import ScoreSpace

if TYPE_CHECKING:
    import torch
else:
    torch = lazily("torch")

#: Variants whose formulas divide by sums of features, which their papers take behind a ReLU.
NOT_NEGATIVE = ("grad-cam++", "x-grad")


@dataclass(frozen=True)
class GradCam(Explainer):
    """One map per picture, ``(m, 1, h, w)``, of where a layer's features speak for the target.

    `relu` keeps what raises the score and drops what lowers it. `variant` chooses how channels are weighed; ``"all"`` gives the
    six that slopes tell as six channels ``(m, 6, h, w)``, which `names` name.
    """

    layer: str | None = None
    relu: bool = True
    space: ScoreSpace = "auto"
    variant: Literal[
        "grad-cam", "grad-cam++", "x-grad", "hi-res", "layer", "eigen", "score", "ablation", "all"
    ] = "grad-cam"

    title: ClassVar[str] = "Grad-CAM"
    question: ClassVar[str] = "Where in the picture is what speaks for this class?"
    scope: ClassVar[Literal["case", "data"]] = "case"
    needs: ClassVar[frozenset[Need]] = frozenset({"gradients", "layers"})
    modalities: ClassVar[tuple[Modality, ...]] = ("image",)
    returns: ClassVar[type[Explanation]] = Attribution
    contrasts: ClassVar[bool] = True
    paper: ClassVar[str] = "Selvaraju et al.: Grad-CAM, ICCV 2017, arXiv 1610.02391"

    def explain(self, problem: Problem, progress: Progress) -> Attribution:
        """Maps of the target, or of all outputs."""
        inputs = module_inputs(problem.model, problem.cases.X)
        with differentiable(problem, self.space) as score:
            layer = map_layer(score, self.layer, torch.tensor(inputs[:1], device=problem.device))
            if self.variant in ("score", "ablation"):
                compute = score_cam_maps if self.variant == "score" else ablation_maps
                found = compute(score, layer, inputs, problem.targets_or_all, problem.device, progress)
                maps, scores, known = found.maps[:, None], found.scores, _asked(found.evaluations, found.way)
            else:
                targets = Targets(problem, score)
                maps, scores, known = self._from_slopes(
                    score, layer, inputs, targets, problem.device, progress
                )
        maps = np.maximum(maps, 0) if self.relu else maps
        return attribution(
            problem,
            score,
            _as_values(_resized(maps, inputs.shape[2:]), all_outputs=problem.all_outputs),
            scores,
            {
                "exact": True,
                **known,
                "layer": layer.name,
                "layer_why": layer.why,
                "variant": self.variant,
                "map": _as_values(maps, all_outputs=problem.all_outputs),
            },
            names=tuple(VARIANTS) if self.variant == "all" else ("picture",),
        )

    def _from_slopes(
        self,
        score: Score,
        layer: MapLayer,
        inputs: Float[np.ndarray, "m c h w"],
        targets: Targets,
        device: torch.device,
        progress: Progress,
    ) -> tuple[Float[np.ndarray, "m v e i j"], Float[np.ndarray, "m k"], dict[str, Any]]:
        """Maps of the variants, all scores, and what is worth knowing."""
        variants = tuple(VARIANTS) if self.variant == "all" else (self.variant,)

        def compute(part: slice) -> tuple[np.ndarray, np.ndarray, bool]:
            x = torch.tensor(inputs[part], device=device)
            maps, scores, negative = activation_maps(score, layer, x, partial(targets.of, part), variants)
            return maps.float().cpu().numpy(), scores.cpu().numpy(), negative

        parts = over_chunks(compute, len(inputs), inputs[:1].nbytes * 48, device, progress)
        maps, scores, negative = zip(*parts, strict=True)
        known = {"evaluations": len(inputs), "notes": _notes(variants, layer.name, any(negative))}
        return np.concatenate(maps), np.concatenate(scores), known


def _asked(evaluations: int, way: str) -> dict[str, Any]:
    return {"evaluations": evaluations, "channels asked": way}


def _notes(variants: tuple[str, ...], layer: str, negative: bool) -> tuple[str, ...]:
    notes = []
    divided = [name for name in NOT_NEGATIVE if name in variants]
    if divided and negative:
        notes.append(
            f"{' and '.join(divided)} expect features that are not negative; {layer!r} gives negative ones. "
            "Name the activation behind it."
        )
    if "eigen" in variants:
        notes.append(
            "eigen shows what the layer's features vary in most; its map is the same for every output."
        )
    return tuple(notes)


def _resized(maps: Float[np.ndarray, "m v e i j"], size: tuple[int, ...]) -> Float[np.ndarray, "m v e h w"]:
    large = torch.nn.functional.interpolate(
        torch.from_numpy(maps).flatten(1, 2), size=size, mode="bilinear", align_corners=False
    )
    return np.asarray(large.reshape(*maps.shape[:3], *size).numpy())


def _as_values(maps: Float[np.ndarray, "m v e h w"], *, all_outputs: bool) -> np.ndarray:
    """``(m, v, h, w)``, or ``(m, v, h, w, k)``."""
    return np.ascontiguousarray(np.moveaxis(maps, 2, -1)) if all_outputs else maps[:, :, 0]
