"""Integrated gradients: closed forms, completeness, every baseline, and paths cut anywhere."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import explainers as ex
from explainers import device
from explainers.gradients.paths import adaptive
from explainers.gradients.paths.adaptive import LOOKS, fejer
from explainers.gradients.paths.straight import gauss_legendre
from explainers.masking import blurred
from tests.cases import (
    annotations_not_executed,
    cnn_three_classes,
    gru_sequences,
    mlp_one_logit,
    network,
    numbers,
    pictures,
)


def table(n=6, d=3, seed=0):
    return ex.Dataset.from_frame(numbers(n, d, seed), target="y")


class Product(nn.Module):
    """x0 · x1 · x1, and x2 not at all."""

    def forward(self, x):
        return x[:, :1] * x[:, 1:2] ** 2


def test_a_linear_module_gives_weight_times_distance():
    line = nn.Linear(3, 1)
    data = table()
    result = ex.explain(ex.Model.wrap(line), data, ex.IntegratedGradients(steps=1, baseline=0.5))
    expected = line.weight.detach().numpy() * (data.X.to_numpy(np.float32) - np.float32(0.5))
    np.testing.assert_allclose(result.values, expected, rtol=1e-5)
    np.testing.assert_allclose(
        result.base_value, line(torch.full((6, 3), 0.5)).detach().numpy()[:, 0], rtol=1e-5
    )
    np.testing.assert_allclose(result.diagnostics["completeness_gap"], 0, atol=1e-6)


def test_a_product_is_shared_by_degree_with_two_nodes_and_a_dummy_gets_nothing():
    data = table()
    values = ex.explain(ex.Model.wrap(Product()), data, ex.IntegratedGradients(steps=2)).values
    x = data.X.to_numpy()
    score = x[:, 0] * x[:, 1] ** 2
    np.testing.assert_allclose(values[:, 0], score / 3, rtol=1e-5)
    np.testing.assert_allclose(values[:, 1], score * 2 / 3, rtol=1e-5)
    np.testing.assert_array_equal(values[:, 2], 0)


def test_nodes_and_weights_integrate_polynomials():
    nodes, weights = gauss_legendre(4)
    for degree in range(8):
        assert weights @ nodes**degree == pytest.approx(1 / (degree + 1), abs=1e-14)


def slow_twin(module, x, base, column, steps=400):
    """The midpoint rule, one node at a time."""
    total = np.zeros(x.shape)
    for i in range(steps):
        at = torch.from_numpy(base + (i + 0.5) / steps * (x - base)).float()[None].requires_grad_()
        module(at)[0, column].backward()
        total += at.grad[0].numpy() / steps
    return total * (x - base)


def test_the_midpoint_rule_agrees():
    module = network(nn.Linear(3, 6), nn.Tanh(), nn.Linear(6, 2), seed=5)
    data = table(3)
    result = ex.explain(ex.Model.wrap(module, classes="ab"), data, ex.IntegratedGradients(baseline=-0.3))
    for row in range(3):
        twin = slow_twin(module, data.X.to_numpy()[row], np.full(3, -0.3), 1)
        np.testing.assert_allclose(result.values[row], twin, atol=2e-5)


@pytest.mark.parametrize("space", ["raw", "probability"])
@pytest.mark.parametrize("target", ["no", "yes", "all"])
def test_completeness(space, target):
    case = mlp_one_logit()
    result = ex.explain(case.model, case.data, ex.IntegratedGradients(space=space), target=target)
    np.testing.assert_allclose(result.values.sum(axis=1), result.output - result.base_value, atol=1e-5)
    assert np.abs(result.diagnostics["completeness_gap"]).max() < 1e-5
    predicted = case.model.scores(case.data.X, space)
    np.testing.assert_allclose(
        result.output, predicted if target == "all" else predicted[:, ["no", "yes"].index(target)], atol=1e-6
    )


def test_the_gap_is_what_is_missing_and_shrinks_with_steps():
    case = cnn_three_classes()
    gaps = []
    for steps in (1, 3, 100):
        result = ex.explain(case.model, case.data, ex.IntegratedGradients(steps=steps, rule="nodes"))
        gap = result.diagnostics["completeness_gap"]
        np.testing.assert_allclose(
            gap, result.output - result.base_value - result.values.sum(axis=(1, 2, 3)), atol=1e-5
        )
        gaps.append(np.abs(gap).max())
    assert gaps[0] > 2 * gaps[1] > 4 * gaps[2]


@pytest.mark.parametrize("baseline", [0.0, 0.25])
def test_captum_agrees(baseline):
    from captum.attr import IntegratedGradients

    case = cnn_three_classes()
    module = case.model.module
    ours = ex.explain(
        case.model, case.data, ex.IntegratedGradients(steps=12, rule="nodes", baseline=baseline), target="c"
    )
    with device.on_device(module, torch.device("cpu")):
        theirs, gap = IntegratedGradients(module).attribute(
            torch.from_numpy(case.data.X),
            baselines=baseline,
            target=2,
            n_steps=12,
            method="gausslegendre",
            return_convergence_delta=True,
        )
    np.testing.assert_allclose(ours.values, theirs.numpy(), atol=1e-6)
    np.testing.assert_allclose(ours.diagnostics["completeness_gap"], -gap.detach().numpy(), atol=1e-5)


def singles(model, data, background, explainer):
    """The same with one reference case at a time, ``(b, m, …)``."""
    parts = [
        ex.explain(model, data, explainer, background=background.take([i])) for i in range(len(background))
    ]
    return np.stack([p.values for p in parts]), np.stack([p.base_value for p in parts])


@pytest.mark.parametrize("chunk", [64 * 2**20, 1500, 1])
def test_a_background_is_averaged_and_its_spread_reported(monkeypatch, chunk):
    case = mlp_one_logit()
    data, background = case.data.take(range(9)), case.data.take(range(20, 25))
    explainer = ex.IntegratedGradients(steps=7, baseline="background")
    each, bases = singles(case.model, data, background, explainer)
    monkeypatch.setattr(device, "CPU_CHUNK_BYTES", chunk)
    result = ex.explain(case.model, data, explainer, background=background)
    np.testing.assert_allclose(result.values, each.mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(result.background_error, each.std(axis=0, ddof=1) / np.sqrt(5), atol=1e-6)
    np.testing.assert_allclose(result.base_value, bases.mean(axis=0), atol=1e-6)
    assert (result.reference.cases, result.reference.space) == (5, "raw")
    assert result.diagnostics["evaluations"] == 9 * 5 * 7 + 9 + 5


def test_without_a_background_training_rows_are_drawn():
    frame = numbers(30).assign(part=["train"] * 10 + ["test"] * 20)
    data = ex.Dataset.from_frame(frame, target="y", role="part")
    model = ex.Model.wrap(nn.Linear(3, 1))
    explainer = ex.IntegratedGradients(steps=1, baseline="background", background=4, seed=3)
    result = ex.explain(model, data, explainer)
    assert (result.reference.cases, result.reference.role) == (4, "train")
    again = ex.explain(model, data, explainer, background=data.take(data.sample(4, 3)))
    np.testing.assert_array_equal(result.values, again.values)
    assert ex.explain(model, data, explainer, background=data.take([2])).background_error is None


def test_the_mean_is_over_training_rows():
    frame = numbers(30).assign(part=["train"] * 10 + ["test"] * 20)
    data = ex.Dataset.from_frame(frame, target="y", role="part")
    line = nn.Linear(3, 1)
    result = ex.explain(ex.Model.wrap(line), data, ex.IntegratedGradients(steps=1, baseline="mean"))
    x = data.X.to_numpy()
    np.testing.assert_allclose(
        result.values, line.weight.detach().numpy() * (x - x[:10].mean(axis=0)), atol=1e-5
    )
    assert result.reference.note == "the mean of 10 training cases"
    assert result.background_error is None


def test_a_blur_is_each_pictures_own():
    case = cnn_three_classes()
    result = ex.explain(case.model, case.data, ex.IntegratedGradients(baseline="blur"), target="a")
    np.testing.assert_allclose(result.base_value, case.model.raw(blurred(case.data.X))[:, 0], atol=1e-6)
    assert np.abs(result.diagnostics["completeness_gap"]).max() < 1e-3


def test_the_blur_is_a_gaussian_that_keeps_uniform_pictures():
    flat = np.full((1, 2, 9, 12), 0.4, dtype=np.float32)
    np.testing.assert_allclose(blurred(flat), flat, rtol=1e-6)
    point = np.zeros((1, 1, 33, 33), dtype=np.float32)
    point[0, 0, 16, 16] = 1
    spread = blurred(point)[0, 0]
    sigma = 33 / 8
    distance = np.arange(33) - 16
    gauss = np.exp(-(distance**2) / (2 * sigma**2)) * (np.abs(distance) <= round(3 * sigma))
    np.testing.assert_allclose(spread, np.outer(gauss, gauss) / gauss.sum() ** 2, atol=1e-7)


def test_sequences_and_all_outputs():
    case = gru_sequences()
    result = ex.explain(case.model, case.data, ex.IntegratedGradients(), target="all")
    assert result.values.shape == (6, 5, 2, 2)
    np.testing.assert_allclose(result.values.sum(axis=(1, 2)), result.output - result.base_value, atol=1e-5)


def test_progress_counts_every_node(monkeypatch):
    monkeypatch.setattr(device, "CPU_CHUNK_BYTES", 2000)
    seen = []
    ex.explain(
        ex.Model.wrap(nn.Linear(3, 1)),
        table(),
        ex.IntegratedGradients(steps=10),
        progress=lambda done, total, partial=None: seen.append((done, total)),
    )
    assert len(seen) > 2
    assert seen[-1] == (60, 60)


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"steps": 0}, r"steps=….*between 1 and 1000; got 0"),
        ({"steps": 2.5}, "whole number"),
        ({"baseline": "black"}, "must be one of 'mean', 'blur', 'background'; got 'black'"),
        ({"baseline": float("nan")}, "between"),
        ({"background": 0}, "between 1 and 10000"),
    ],
)
def test_refused_settings(settings, match):
    with annotations_not_executed(), pytest.raises(ex.InvalidSetting, match=match):
        ex.IntegratedGradients(**settings)


def test_a_table_cannot_be_blurred():
    with pytest.raises(
        ex.InvalidSetting, match="baseline='blur' needs pictures; these data are of modality 'table'"
    ):
        ex.explain(ex.Model.wrap(nn.Linear(3, 1)), table(), ex.IntegratedGradients(baseline="blur"))


def test_pictures_with_a_number_keep_their_shape():
    data = ex.Dataset.from_images(pictures(3))
    result = ex.explain(
        ex.Model.wrap(nn.Sequential(nn.Flatten(), nn.Linear(64, 1))), data, ex.IntegratedGradients(baseline=1)
    )
    assert result.values.shape == (3, 1, 8, 8)
    assert result.reference.note == "every input at 1"


# --- as many nodes as a case needs ---


def rectified():
    """A network whose gradient jumps along the path, and tables of it."""
    torch.manual_seed(3)
    layers = (
        torch.nn.Linear(6, 32),
        torch.nn.ReLU(),
        torch.nn.Linear(32, 32),
        torch.nn.ReLU(),
        torch.nn.Linear(32, 2),
    )
    data = ex.Dataset.from_frame(numbers(12, 6).drop(columns="y"))
    return ex.Model.wrap(network(*layers)), data


@pytest.mark.parametrize("count", LOOKS)
def test_fejer_s_rule_is_exact_for_polynomials_and_has_the_nodes_of_the_look_before(count):
    nodes, weights = fejer(count)
    for degree in range(count):
        np.testing.assert_allclose(weights @ nodes**degree, 1 / (degree + 1), rtol=1e-10)
    assert (weights > 0).all()
    if count != LOOKS[0]:
        np.testing.assert_allclose(nodes[1::2], fejer((count - 1) // 2)[0], atol=1e-14)


@pytest.mark.parametrize("tolerance", [0.2, 0.045, 0.01])
def test_what_is_missing_is_less_than_was_asked_for(tolerance):
    model, data = rectified()
    found = ex.explain(model, data, ex.IntegratedGradients(rule="nodes", tolerance=tolerance))
    truth = ex.explain(model, data, ex.IntegratedGradients(rule="nodes", steps=1000)).values
    nodes, stated = found.diagnostics["steps"], found.diagnostics["relative_error"]
    missing = np.linalg.norm(found.values - truth, axis=1) / np.linalg.norm(truth, axis=1)
    settled = nodes < LOOKS[-1]
    assert settled.any()
    assert (stated[settled] <= tolerance).all()
    assert missing[settled].mean() <= tolerance  # each is an estimate from two looks: on the average it holds
    assert (missing[settled] <= 2.5 * tolerance).all()
    gap = found.diagnostics["completeness_gap"]
    size = np.maximum(np.abs(found.values).sum(axis=1), np.abs(found.output - found.base_value))
    assert (np.abs(gap) <= tolerance * size)[settled].all()
    if tolerance == 0.2:
        assert set(nodes.tolist()) <= {17, 35}


def test_a_finer_look_asks_only_for_new_nodes(monkeypatch):
    model, data = rectified()
    asked = []
    before = model.module.forward
    monkeypatch.setattr(model.module, "forward", lambda x: asked.append(len(x)) or before(x))
    found = ex.explain(model, data, ex.IntegratedGradients(rule="nodes", tolerance=0.02), target=1)
    nodes = int(found.diagnostics["steps"].sum())
    assert len(set(found.diagnostics["steps"].tolist())) > 1
    assert (
        sum(asked) - nodes <= len(data) + 1 + 2
    )  # the cases, the baseline, and one row to see how much memory it takes
    assert found.diagnostics["evaluations"] == nodes + len(data) + 1


def test_all_outputs_and_one_row_say_the_same():
    model, data = rectified()
    every = ex.explain(model, data, ex.IntegratedGradients(rule="nodes", tolerance=0.02), target="all")
    for output in range(2):
        fixed = ex.explain(
            model, data, ex.IntegratedGradients(rule="nodes", steps=1000), target=output
        ).values
        off = np.linalg.norm(every.values[..., output] - fixed, axis=1) / np.linalg.norm(fixed, axis=1)
        assert off.max() < 0.03
    one = ex.explain(model, data, ex.IntegratedGradients(rule="nodes"), rows=[5], target=0)
    many = ex.explain(model, data, ex.IntegratedGradients(rule="nodes"), target=0)
    np.testing.assert_allclose(one.values[0], many.values[5], atol=1e-6)
    assert one.diagnostics["steps"][0] == many.diagnostics["steps"][5]


def test_a_looking_progress_ends_at_the_whole_and_may_stop():
    model, data = rectified()
    ticks = []
    ex.explain(
        model,
        data,
        ex.IntegratedGradients(rule="nodes"),
        progress=lambda done, total, _=None: ticks.append((done, total)),
    )
    assert ticks[-1] == (len(data) * LOOKS[-1],) * 2
    assert ticks == sorted(ticks)

    def stop(*_):
        raise ex.Cancelled

    with pytest.raises(ex.Cancelled):
        ex.explain(model, data, ex.IntegratedGradients(rule="nodes"), progress=stop)


@pytest.mark.parametrize("target", [1, "all"])
def test_cases_in_blocks_have_the_same_values(monkeypatch, target):
    model, data = rectified()
    method = ex.IntegratedGradients(rule="nodes", baseline="mean", tolerance=0.02)
    whole = ex.explain(model, data, method, target=target)
    monkeypatch.setattr(adaptive, "HELD_BYTES", 5 * 4 * 6 * 2 * 5)
    ticks = []
    blocks = ex.explain(
        model, data, method, target=target, progress=lambda done, total, _=None: ticks.append((done, total))
    )
    np.testing.assert_allclose(blocks.values, whole.values, atol=1e-6)
    np.testing.assert_array_equal(blocks.diagnostics["steps"], whole.diagnostics["steps"])
    assert ticks == sorted(ticks)
    assert ticks[-1] == (len(data) * LOOKS[-1],) * 2


def test_a_case_at_its_baseline_has_nothing_to_add():
    model, _ = rectified()
    data = ex.Dataset.from_frame(pd.DataFrame(np.zeros((2, 6)), columns=[f"x{i}" for i in range(6)]))
    found = ex.explain(model, data, ex.IntegratedGradients(rule="nodes"))
    assert (found.values == 0).all()
    assert (found.diagnostics["steps"] == LOOKS[1]).all()
