"""Integrated gradients in sections: the mean slope of each nonlinearity between neighbouring places of the way."""

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import explainers as ex
from explainers import device
from explainers.gradients.paths import growing
from explainers.gradients.rules.secants import Secants
from tests.cases import cnn_three_classes, network, numbers, pictures


def rectified(seed=3):
    layers = (nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 2))
    data = ex.Dataset.from_frame(numbers(12, 6).drop(columns="y"))
    return ex.Model.wrap(network(*layers, seed=seed)), data


def pooled(pool, *, inplace=False):
    layers = (
        nn.Conv2d(1, 6, 3, padding=1),
        nn.ReLU(inplace),
        pool,
        nn.Conv2d(6, 6, 3),
        nn.ReLU(inplace),
        nn.Flatten(),
    )
    module = network(*layers, nn.Linear(24, 3), seed=2)
    return ex.Model.wrap(module, classes="abc"), ex.Dataset.from_images(pictures(4))


def missing(found, truth):
    size = lambda values: np.linalg.norm(values.reshape(len(values), -1), axis=1)  # noqa: E731
    return size(found - truth) / size(truth)


def slow_sections(module, x, base, column, steps):
    """Matrix by matrix: a product of weights and of secants between the two ends of each section, by hand."""
    total = np.zeros(len(x))
    weights = [
        (p.weight.detach().numpy(), p.bias.detach().numpy()) for p in module if isinstance(p, nn.Linear)
    ]
    for i in range(steps):
        ends = [base + share * (x - base) for share in (i / steps, (i + 1) / steps)]
        slope = np.eye(len(x))
        for at, (weight, bias) in enumerate(weights):
            ends = [weight @ end + bias for end in ends]
            slope = weight @ slope
            if at < len(weights) - 1:
                before, after = ends
                ends = [np.maximum(end, 0) for end in ends]
                slope = ((ends[1] - ends[0]) / (after - before))[:, None] * slope
        total += slope[column] / steps
    return total * (x - base)


@pytest.mark.parametrize("steps", [1, 5])
def test_the_product_of_weights_and_secants_by_hand(steps):
    model, data = rectified()
    method = ex.IntegratedGradients(steps=steps, baseline=-0.4)
    found = ex.explain(model, data, method, target=1)
    assert found.diagnostics["rule"] == "sections"
    for row in range(4):
        twin = slow_sections(model.module, data.X.to_numpy()[row], np.full(6, -0.4), 1, steps)
        np.testing.assert_allclose(found.values[row], twin, atol=1e-5)


def test_one_section_is_the_rescale_rule():
    model, data = rectified()
    one = ex.explain(model, data, ex.IntegratedGradients(steps=1))
    np.testing.assert_allclose(one.values, ex.explain(model, data, ex.DeepLift()).values, atol=1e-5)


@pytest.mark.parametrize(
    "pool", [nn.MaxPool2d(2), nn.MaxPool2d(3, stride=2, padding=1), nn.AdaptiveMaxPool2d(4)]
)
@pytest.mark.parametrize("inplace", [False, True])
def test_sections_add_up_and_come_to_the_integral(pool, inplace):
    model, data = pooled(pool, inplace=inplace)
    truth = ex.explain(model, data, ex.IntegratedGradients(steps=400, rule="nodes"), target="b").values
    off = []
    for steps in (4, 16, 64):
        found = ex.explain(model, data, ex.IntegratedGradients(steps=steps), target="b")
        assert found.diagnostics["rule"] == "sections"
        assert np.abs(found.diagnostics["completeness_gap"]).max() < 1e-5
        off.append(missing(found.values, truth).mean())
    assert off[0] > 2 * off[1] > 4 * off[2]
    nodes = ex.explain(model, data, ex.IntegratedGradients(steps=16, rule="nodes"), target="b").values
    assert off[1] < missing(nodes, truth).mean()


def test_a_window_is_led_first_by_one_place_and_then_by_another():
    x = torch.tensor(
        [[[[4.0, 1.0]]], [[[2.0, 3.0]]]], requires_grad=True
    )  # they meet three quarters of the way
    with Secants(2) as met:
        y = nn.functional.max_pool2d(x, (1, 2))
    (slope,) = torch.autograd.grad(y[1].sum(), x)
    assert met.kinked
    np.testing.assert_allclose(slope[1, 0, 0], [0.75, 0.25])
    assert float((slope[1] * (x[1] - x[0]).detach()).sum()) == pytest.approx(3 - 4)


@pytest.mark.parametrize(
    "function", [nn.ReLU(), nn.LeakyReLU(0.2), nn.ReLU6(), nn.Hardtanh(), nn.Sequential(nn.GELU(), nn.ReLU())]
)
def test_a_secant_is_the_mean_slope(function):
    x = torch.linspace(-7, 7, 9)[:, None].requires_grad_()
    with Secants(9):
        y = function(x)
    (slope,) = torch.autograd.grad(y.sum(), x)
    change = (y[1:] - y[:-1]) / (x[1:] - x[:-1])
    np.testing.assert_allclose(slope[1:].numpy(), change.detach().numpy(), atol=1e-6)


@pytest.mark.parametrize("last", [nn.Softmax(dim=1), nn.LogSoftmax(dim=1)])
def test_a_softmax_at_the_end_has_its_mean_slope(last):
    layers = (nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 3))
    module = nn.Sequential(*network(*layers, seed=3), last)
    model = ex.Model.wrap(
        module, classes="abc", output="probability" if isinstance(last, nn.Softmax) else "raw"
    )
    data = rectified()[1]
    found = ex.explain(model, data, ex.IntegratedGradients(), target="b")
    assert found.diagnostics["rule"] == "sections"
    assert np.abs(found.diagnostics["completeness_gap"]).max() < 1e-4
    truth = ex.explain(model, data, ex.IntegratedGradients(steps=400, rule="nodes"), target="b").values
    assert missing(found.values, truth).mean() < 0.045


@pytest.mark.parametrize("tolerance", [0.1, 0.01])
def test_what_is_missing_is_about_what_is_stated(tolerance):
    for model, data in (rectified(), rectified(8), pooled(nn.MaxPool2d(2))):
        found = ex.explain(model, data, ex.IntegratedGradients(tolerance=tolerance))
        truth = ex.explain(model, data, ex.IntegratedGradients(steps=400, rule="nodes")).values
        sections, stated = found.diagnostics["steps"], found.diagnostics["relative_error"]
        off, settled = missing(found.values, truth), sections < growing.MOST
        assert settled.any()
        assert (stated[settled] <= tolerance).all()
        assert off[settled].mean() <= tolerance
        assert off[settled].max() <= 4 * tolerance  # each is an estimate from two looks
        assert found.diagnostics["evaluations"] >= sections.sum() + 3 * len(data)


@pytest.mark.parametrize("target", [1, "all"])
def test_portions_and_neighbours_change_nothing(monkeypatch, target):
    model, data = rectified()
    method = ex.IntegratedGradients(baseline="mean", tolerance=0.004)
    whole = ex.explain(model, data, method, target=target)
    one = ex.explain(model, data, method, rows=[5], target=target)
    np.testing.assert_allclose(one.values[0], whole.values[5], atol=1e-6)
    monkeypatch.setattr(device, "CPU_CHUNK_BYTES", 5_000)  # a few rows: portions end within a case
    ticks = []
    parts = ex.explain(
        model, data, method, target=target, progress=lambda done, total, _=None: ticks.append((done, total))
    )
    np.testing.assert_allclose(parts.values, whole.values, atol=1e-6)
    np.testing.assert_array_equal(parts.diagnostics["steps"], whole.diagnostics["steps"])
    assert len(set(whole.diagnostics["steps"].tolist())) > 1
    assert ticks == sorted(ticks)
    assert ticks[-1] == (len(data) * 2 * growing.MOST,) * 2
    assert len(ticks) > 10


def test_reference_cases_are_averaged_in_sections():
    model, data = rectified()
    background = data.take(range(4))
    found = ex.explain(
        model, data, ex.IntegratedGradients(baseline="background"), background=background, rows=[5, 6]
    )
    assert found.diagnostics["rule"] == "sections"
    assert np.abs(found.diagnostics["completeness_gap"]).max() < 1e-5
    alone = [
        ex.explain(
            model,
            data,
            ex.IntegratedGradients(baseline="background", steps=16),
            background=data.take([i]),
            rows=[5, 6],
        )
        for i in range(4)
    ]
    np.testing.assert_allclose(found.values, np.mean([one.values for one in alone], axis=0), atol=1e-6)


class Unforeseen(nn.Module):
    """A kink of its own making beside a ReLU: no list of names has it."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(6, 16), nn.Linear(16, 2)

    def forward(self, x):
        x = torch.relu(self.first(x))
        return self.last(torch.where(x > 0.5, 3 * x - 1, x))


def test_a_step_nobody_foresaw_is_noticed_because_the_sections_do_not_add_up():
    torch.manual_seed(0)
    model, data = ex.Model.wrap(Unforeseen()), rectified()[1]
    for method in (ex.IntegratedGradients(), ex.IntegratedGradients(steps=40)):
        found = ex.explain(model, data, method, target=0)
        assert found.diagnostics["rule"] == "nodes"
        truth = ex.explain(model, data, ex.IntegratedGradients(steps=400, rule="nodes"), target=0).values
        assert missing(found.values, truth).mean() < 0.05


class Gated(nn.Module):
    """Rows are folded into another axis before the nonlinearity."""

    def forward(self, x):
        return torch.relu(x.reshape(-1, 1) - 0.1).reshape(len(x), -1).sum(dim=1, keepdim=True)


class Summed(nn.Module):
    """The slope of a sum is one number, expanded over the inputs."""

    def forward(self, x):
        return torch.relu(x.sum(dim=1, keepdim=True) - 0.3)


def test_the_inputs_summed_share_equally():
    data = ex.Dataset.from_frame(pd.DataFrame({"a": [1.0, 2.0], "b": [1.0, 0.0]}))
    found = ex.explain(ex.Model.wrap(Summed()), data, ex.IntegratedGradients())
    assert found.diagnostics["rule"] == "sections"
    np.testing.assert_allclose(found.values, [[0.85, 0.85], [1.7, 0.0]], atol=1e-6)


@pytest.mark.parametrize("module", [nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 1)), Gated()])
def test_smooth_networks_and_rows_that_are_not_the_batch_s_keep_nodes(module):
    found = ex.explain(ex.Model.wrap(module), rectified()[1], ex.IntegratedGradients())
    assert found.diagnostics["rule"] == "nodes"
    np.testing.assert_allclose(found.values.sum(axis=1), found.output - found.base_value, atol=0.2)


def test_a_case_at_its_baseline_has_nothing_to_add():
    model, _ = rectified()
    data = ex.Dataset.from_frame(pd.DataFrame(np.zeros((2, 6)), columns=[f"x{i}" for i in range(6)]))
    found = ex.explain(model, data, ex.IntegratedGradients())
    assert (found.values == 0).all()
    assert (found.diagnostics["steps"] == growing.SECOND).all()


def test_nothing_stays_behind_after_a_cancel():
    case = cnn_three_classes()

    def stop(*_):
        raise ex.Cancelled

    before = ex.explain(case.model, case.data, ex.Saliency()).values
    with pytest.raises(ex.Cancelled):
        ex.explain(case.model, case.data, ex.IntegratedGradients(), progress=stop)
    np.testing.assert_array_equal(ex.explain(case.model, case.data, ex.Saliency()).values, before)


def test_what_does_not_settle_says_so():
    model, data = rectified()
    found = ex.explain(model, data, ex.IntegratedGradients(tolerance=1e-4))
    (note,) = found.diagnostics["notes"]
    open_ = int((found.diagnostics["relative_error"] > 1e-4).sum())
    assert open_ > 0
    assert note.startswith(f"{open_} of 12 cases did not settle within 160 sections")
    assert not ex.explain(model, data, ex.IntegratedGradients()).diagnostics["notes"]


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_a_module_of_other_numbers_is_given_its_own(dtype):
    model, data = rectified()
    other = ex.Model.wrap(
        network(
            *[
                type(part)(*([part.in_features, part.out_features] if isinstance(part, nn.Linear) else []))
                for part in model.module
            ],
            seed=3,
        ).to(dtype)
    )
    for method in (ex.IntegratedGradients(), ex.Saliency()):
        found, plain = (ex.explain(one, data, method, target=1).values for one in (other, model))
        off = missing(found, plain).mean()
        assert off < (1e-2 if dtype == torch.float64 else 0.2)
