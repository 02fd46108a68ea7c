"""Parts of the picture taken away: occlusion against captum, LIME against lime."""

from __future__ import annotations

import itertools

import numpy as np

import explainers as ex
from benchmarks.images import peers
from benchmarks.images.cases import SHALLOW, Cases
from benchmarks.images.measuring import Side, Work, cosine, section
from benchmarks.sections import Section

#: Side of the pictures that are covered, and of those divided into segments; samples.
SIDE, SEGMENTED, SAMPLES = 128, 64, 1000


def occlusion(cases: Cases, patience: float) -> Section:
    """A window moved over the picture."""
    case = cases(SHALLOW, 1, SIDE)
    facts = case.explained(ex.Occlusion(space="raw")).diagnostics
    window, stride = facts["window"], facts["stride"]
    settings = {"sliding_window_shapes": (3, window, window), "strides": (3, stride, stride), "baselines": 0}
    one = peers.captum(case, "Occlusion", **settings)
    many = peers.captum(case, "Occlusion", perturbations_per_eval=32, **settings)
    work = Work(
        f"occlusion, window {window}, stride {stride}, {facts['windows']} windows, {case.size}",
        Side("whyboard, Occlusion(space='raw')", lambda: case.values(ex.Occlusion(space="raw"))),
        [
            Side("captum Occlusion, the same windows", lambda: one()[:, :1], 1.5, 3),
            Side("captum Occlusion, perturbations_per_eval=32", lambda: many()[:, :1]),
        ],
        cosine,
    )
    return section("occlusion", "Occlusion", "", work.measured(patience))


def lime(cases: Cases, patience: float) -> Section:
    """LIME on the same segments."""
    case = cases(SHALLOW, 1, SEGMENTED)
    segments = np.asarray(case.explained(ex.Lime(samples=50)).diagnostics["segments"][0])
    runs: dict[str, list[np.ndarray]] = {"mine": [], "theirs": []}
    seeds = {name: itertools.count() for name in runs}

    def mine() -> np.ndarray:
        method = ex.Lime(samples=SAMPLES, space="raw", seed=next(seeds["mine"]))
        runs["mine"].append(np.asarray(case.explained(method).diagnostics["segment_values"]))
        return runs["mine"][-1]

    def theirs() -> np.ndarray:
        runs["theirs"].append(peers.lime(case, segments, SAMPLES, next(seeds["theirs"])))
        return runs["theirs"][-1]

    work = Work(
        f"LIME, {SAMPLES:,} samples, {segments.max() + 1} segments, {case.size}",
        Side("whyboard, Lime(space='raw')", mine, note=lambda: _apart(runs["mine"])),
        [Side("lime.lime_image, our segments given", theirs, 1.3, 3, note=lambda: _apart(runs["theirs"]))],
        cosine,
        least=0,
    )
    about = (
        "Both draw their neighbours; a new seed for each run, so the cosine is that of two draws, to be read beside those between two seeds of one side. "
        "The segmentation is part of our time and not of lime's."
    )
    return section("lime", "LIME", about, work.measured(patience))


def _apart(runs: list[np.ndarray]) -> str:
    """How equal two seeds are."""
    return f"two seeds: cosine {cosine(runs[0], runs[1]):.5f}" if len(runs) > 1 else "one seed"
