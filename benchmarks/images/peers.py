"""The other libraries' ways to the values; each is made on a copy of the network, once, and gives a function without arguments."""

from __future__ import annotations

import copy
import functools
from collections.abc import Sequence
from types import MethodType
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.images.cases import Case
from benchmarks.images.environment import allow_torchvision
from benchmarks.images.measuring import Make
from benchmarks.images.networks import Block

#: pytorch-grad-cam's classes for the names of our variants.
CAMS = {
    "grad-cam": "GradCAM",
    "grad-cam++": "GradCAMPlusPlus",
    "x-grad": "XGradCAM",
    "hi-res": "HiResCAM",
    "layer": "LayerCAM",
    "eigen": "EigenCAM",
    "ablation": "AblationCAM",
}


def captum(case: Case, kind: str, **settings: Any) -> Make:
    """``captum.attr``'s class of that name."""
    import captum.attr

    method = getattr(captum.attr, kind)(case.theirs)

    def run() -> np.ndarray:
        found = method.attribute(case.x.clone().requires_grad_(), target=case.target, **settings)
        return np.asarray(found.detach().numpy())

    return run


def cams(case: Case, layer: str, variants: Sequence[str]) -> Make:
    """One map after the other, ``(variants · n, h, w)``; each call has its hooks for itself, as its page shows it."""
    allow_torchvision()
    import pytorch_grad_cam
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    wanted = [ClassifierOutputTarget(case.target) for _ in case.x]

    def run() -> np.ndarray:
        found = []
        for variant in variants:
            # the layer is looked up each time: Ablation-CAM exchanges it and puts it back
            layers = [case.theirs.get_submodule(layer)]
            with getattr(pytorch_grad_cam, CAMS[variant])(case.theirs, layers) as cam:
                found.append(cam(case.x, targets=wanted))
        return np.concatenate(found)

    return run


def zennit(case: Case, *, each: bool) -> Make:
    """``EpsilonPlus``, batch normalisations merged; with `each` it is registered for each call, as its page shows it."""
    allow_torchvision()
    from zennit.attribution import Gradient
    from zennit.canonizers import AttributeCanonizer, SequentialMergeBatchNorm
    from zennit.composites import EpsilonPlus

    def one_hot(scores: torch.Tensor) -> torch.Tensor:
        return scores * nn.functional.one_hot(case.targets, scores.shape[1])

    def made() -> Any:
        canonizers = [SequentialMergeBatchNorm(), AttributeCanonizer(_sums)]
        return Gradient(model=net, composite=EpsilonPlus(canonizers=canonizers))

    def asked(attributor: Any) -> np.ndarray:
        _, relevance = attributor(case.x.clone().requires_grad_(), one_hot)
        return np.asarray(relevance.detach().numpy())

    def registered() -> np.ndarray:
        with made() as attributor:
            return asked(attributor)

    net = copy.deepcopy(case.net)  # the hooks of one must not run for another
    return registered if each else functools.partial(asked, made().__enter__())


def _sums(name: str, module: nn.Module) -> dict[str, Any] | None:  # noqa: ARG001  zennit asks with both
    """What zennit needs to see a residual addition: a module that adds."""
    from zennit.layer import Sum

    if not isinstance(module, Block):
        return None
    return {"forward": MethodType(_added, module), "canonizer_sum": Sum()}


def _added(block: Any, x: torch.Tensor) -> Any:
    both = torch.stack([block.short(x), block.branch(x)], dim=-1)
    return block.relu(block.canonizer_sum(both))


def expected_gradients(case: Case, background: torch.Tensor, samples: int, seed: int) -> Make:
    """``shap.GradientExplainer``, all outputs: ``(n, 3, h, w, k)``."""
    import shap

    explainer = shap.GradientExplainer(case.theirs, background)
    return lambda: np.asarray(explainer.shap_values(case.x, nsamples=samples, rseed=seed))


def lime(case: Case, segments: np.ndarray, samples: int, seed: int) -> np.ndarray:
    """Weights of the segments ``(1, s)`` of the first picture by ``lime.lime_image``; `segments` ``(h, w)`` are given."""
    from lime.lime_image import LimeImageExplainer

    def predicted(images: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            rows = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous().float()
            return np.asarray(case.theirs(rows).numpy())

    explainer = LimeImageExplainer(random_state=seed)
    found = explainer.explain_instance(
        case.x[0].permute(1, 2, 0).numpy(), predicted, labels=(case.target,), top_labels=None,
        num_samples=samples, segmentation_fn=lambda _: segments,
    )  # fmt: skip
    weights = dict(found.local_exp[case.target])
    return np.array([[weights[j] for j in range(len(weights))]])
