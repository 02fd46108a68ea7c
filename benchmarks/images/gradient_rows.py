"""One backward pass: saliency and guided backpropagation against captum, relevance against zennit."""

from __future__ import annotations

import explainers as ex
from benchmarks.images import peers
from benchmarks.images.cases import DEEP, Case, Cases
from benchmarks.images.measuring import Side, Work, cosine, section
from benchmarks.sections import Section

#: Pictures of the rows, and their side.
COUNTS, SIDE = (1, 4), 224


def measured(cases: Cases, patience: float) -> Section:
    """Saliency and guided backpropagation."""
    lines = []
    for count in COUNTS:
        case = cases(DEEP, count, SIDE)
        for work in (_plain(case), _guided(case)):
            lines += work.measured(patience)
    return section("gradient", "Saliency and guided backpropagation", "", lines)


def _plain(case: Case) -> Work:
    return Work(
        f"saliency, {case.size}",
        Side("whyboard, Saliency", lambda: case.values(ex.Saliency())),
        [Side("captum Saliency(abs=False)", peers.captum(case, "Saliency", abs=False), 0.95, 1.3)],
        cosine,
    )


def _guided(case: Case) -> Work:
    return Work(
        f"guided backpropagation, {case.size}",
        Side("whyboard, GuidedBackprop", lambda: case.values(ex.GuidedBackprop())),
        [Side("captum GuidedBackprop", peers.captum(case, "GuidedBackprop"), 0.95, 1.3)],
        cosine,
    )


def relevance(cases: Cases, patience: float) -> Section:
    """Layer-wise relevance propagation, epsilon-plus."""
    lines = []
    for count in COUNTS:
        case = cases(DEEP, count, SIDE)
        lines += _relevance(case).measured(patience)
    about = (
        "ε in the dense layer, z⁺ in convolutions, batch normalisations folded, residual additions shared in proportion. zennit's hooks and "
        "merged weights are made beforehand in the first of its lines, in each call in the second; ours are made in each call."
    )
    return section("relevance", "Layer-wise relevance propagation", about, lines)


def _relevance(case: Case) -> Work:
    method = ex.LayerRelevancePropagation(composite="epsilon-plus")
    return Work(
        f"relevance, epsilon-plus, {case.size}",
        Side("whyboard, LayerRelevancePropagation", lambda: case.values(method)),
        [
            Side("zennit EpsilonPlus, registered beforehand", peers.zennit(case, each=False), 0.95, 1.3),
            Side("zennit EpsilonPlus, registered in each call", peers.zennit(case, each=True)),
        ],
        cosine,
    )
