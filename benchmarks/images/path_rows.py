"""Gradients along ways from a baseline: integrated gradients against captum, expected gradients against shap."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import torch

import explainers as ex
from benchmarks.images import peers
from benchmarks.images.cases import SHALLOW, SMALL, Case, Cases
from benchmarks.images.measuring import EQUAL, Side, Work, cosine, section
from benchmarks.images.networks import pictures
from benchmarks.sections import Section

#: Side of the pictures; nodes of the reference; captum's own number; ours, fewest first.
SIDE, MANY, USUAL = 64, 1000, 50
NODES = (4, 6, 8, 10, 12, 16, 20, 24, 32, 36, 40, 50, 64, 80, 100, 150, 200)

#: Expected gradients: side, reference cases, nodes of the reference on each way, shap's own number of samples; ours.
SMALL_SIDE, REFERENCES, ON_EACH, DRAWN = 32, 50, 40, 200
SAMPLES, SEEDS = (32, 50, 64, 80, 100, 150, 200, 300, 400), 3


def integrated(cases: Cases, patience: float) -> Section:
    """Integrated gradients from a picture of zeros."""
    lines = []
    for case in (cases(SMALL, 1, SIDE), cases(SHALLOW, 1, SIDE)):
        for work in _integrated(case):
            lines += work.measured(patience)
    about = (
        f"Cosines are to a sum of {MANY:,} nodes in float64. *For 0.999*: both sides take the fewest nodes (captum) or sections (ours) in {NODES} that reach it, found with "
        "that reference; a reader who has none takes the default settings."
    )
    return section("integrated", "Integrated gradients", about, lines)


def _integrated(case: Case) -> Iterator[Work]:
    """For a cosine of 0.999, and as it comes; what is wanted is wanted against captum's own number of steps where these are enough."""
    reference = _integral(case, torch.zeros_like(case.x), MANY)[..., case.target]
    fewest = _fewest(lambda n: case.values(ex.IntegratedGradients(steps=n)), reference)
    theirs = _fewest(lambda n: peers.captum(case, "IntegratedGradients", n_steps=n)(), reference)
    mine: dict[str, Any] = {"default settings": ex.IntegratedGradients()}
    if fewest:
        mine = {"for 0.999": ex.IntegratedGradients(steps=fewest), **mine}
    enough = theirs is not None and theirs <= USUAL
    for words, method in mine.items():
        counts = words == "for 0.999"
        others = [_captum(case, USUAL, (2, 3) if counts and enough else (0, 0))]
        if theirs and theirs != USUAL:
            others.append(_captum(case, theirs, (2, 3) if counts and not enough else (0, 0)))
        side = Side(
            f"whyboard, IntegratedGradients{_settings(method)}",
            partial(case.values, method),
            note=partial(_said, case, method),
        )
        least = EQUAL if counts else 0
        yield Work(f"integrated gradients, {words}, {case.size}", side, others, cosine, reference, least)


def _fewest(values: Callable[[int], np.ndarray], reference: np.ndarray) -> int | None:
    """Nodes that reach 0.999; ``None`` where none of the numbers tried do."""
    return next((n for n in NODES if cosine(reference, values(n)) >= EQUAL), None)


def _captum(case: Case, steps: int, wanted: tuple[float, float]) -> Side:
    run = peers.captum(case, "IntegratedGradients", n_steps=steps)
    said = "captum's default" if steps == USUAL else "its fewest for 0.999"
    return Side(
        f"captum IntegratedGradients(n_steps={steps})", run, *wanted,
        note=lambda: f"completeness gap {_gap(case, run()):.1e}, {said}",
    )  # fmt: skip


def _settings(method: Any) -> str:
    changed = [
        f"{field.name}={getattr(method, field.name)!r}"
        for field in dataclasses.fields(method)
        if getattr(method, field.name) != field.default
    ]
    return f"({', '.join(changed)})"


def _said(case: Case, method: Any) -> str:
    """Asked only after the runs."""
    facts = case.explained(method).diagnostics
    return (
        f"completeness gap {np.abs(facts['completeness_gap']).max():.1e}, {facts['evaluations']} evaluations"
    )


def _gap(case: Case, values: np.ndarray) -> float:
    with torch.no_grad():
        ends = case.net(case.x)[:, case.target] - case.net(torch.zeros_like(case.x))[:, case.target]
    return float(np.abs(ends.numpy() - values.sum(axis=(1, 2, 3))).max())


def _integral(case: Case, start: torch.Tensor, nodes: int) -> np.ndarray:
    """Plainly, in float64, for all outputs: ``(n, 3, h, w, k)``; the target alone where there are many nodes."""
    net, found = copy.deepcopy(case.net).double(), []
    at, weight = np.polynomial.legendre.leggauss(nodes)
    wanted = range(10) if nodes < MANY else (case.target,)
    for picture, before in zip(
        case.x.double(), start.double().expand(len(case.x), *start.shape[1:]), strict=True
    ):
        total = torch.zeros(*picture.shape, 10, dtype=torch.float64)
        for part in np.array_split(np.arange(nodes), -(-nodes // 25)):
            t = torch.from_numpy((at[part] + 1) / 2).reshape(-1, 1, 1, 1)
            x = (before + t * (picture - before)).requires_grad_()
            scores = net(x)
            for k in wanted:
                (slope,) = torch.autograd.grad(scores[:, k].sum(), x, retain_graph=True)
                total[..., k] += torch.einsum("n,nchw->chw", torch.from_numpy(weight[part] / 2), slope)
        found.append((total * (picture - before)[..., None]).numpy())
    return np.stack(found)


def expected(cases: Cases, patience: float) -> Section:
    """Expected gradients of ten outputs."""
    case = cases(SMALL, 1, SMALL_SIDE)
    background = pictures(REFERENCES, case.x.shape[-1], seed=7)
    known = ex.Dataset.from_images(background.numpy())
    reference = np.mean([_integral(case, one[None], ON_EACH) for one in background], axis=0)

    def ours(samples: int, seed: int) -> np.ndarray:
        method = ex.ExpectedGradients(samples=samples, background=REFERENCES, seed=seed)
        return case.values(method, "all", background=known)

    def usual(seed: int) -> np.ndarray:
        return peers.expected_gradients(case, background, DRAWN, seed)()

    theirs = _average(reference, usual)
    reached = {DRAWN: _average(reference, partial(ours, DRAWN))}
    enough = SAMPLES[-1]
    for enough in SAMPLES:
        reached[enough] = _average(reference, partial(ours, enough))
        if reached[enough] >= theirs:
            break
    shap = peers.expected_gradients(case, background, DRAWN, 0)
    lines: list[dict[str, Any]] = []
    for words, samples, wanted in (("as exact as shap", enough, (5, 20)), ("as many samples", DRAWN, (0, 0))):
        mine = Side(
            f"whyboard, ExpectedGradients(samples={samples})", partial(ours, samples, 0),
            note=partial("{:.5f} over the seeds".format, reached[samples]),
        )  # fmt: skip
        other = Side(
            f"shap GradientExplainer, nsamples={DRAWN}", shap, *wanted,
            note=partial("{:.5f} over the seeds".format, theirs),
        )  # fmt: skip
        title = f"expected gradients, {words}, 10 outputs, {case.size}"
        lines += Work(title, mine, [other], _by_output, reference, 0).measured(patience)
    about = (
        f"Both draw; cosines (the least over the outputs) are to the whole sum over {REFERENCES} reference cases and {ON_EACH} nodes for each in float64. "
        f"Ours in the first row takes the fewest samples in {SAMPLES} that are as exact, on average over {SEEDS} seeds."
    )
    return section("expected", "Expected gradients", about, lines)


def _average(reference: np.ndarray, values: Callable[[int], np.ndarray]) -> float:
    """The mean cosine over some seeds."""
    return float(np.mean([_by_output(reference, values(seed)) for seed in range(SEEDS)]))


def _by_output(mine: np.ndarray, other: np.ndarray) -> float:
    """The least over pictures and outputs."""
    return min(cosine(mine[..., k], other[..., k]) for k in range(mine.shape[-1]))
