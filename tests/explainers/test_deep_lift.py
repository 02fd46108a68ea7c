"""DeepLIFT: the rescale rule for every nonlinearity and max pool, and what it says where it has no form."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from onnx_models import export
from torch import nn
from torch.nn import functional

import explainers as ex
from explainers import device
from explainers.onnx import OnnxModule, read_graph
from tests.cases import (
    cnn_three_classes,
    cnn_two_classes,
    gru_sequences,
    network,
    numbers,
    pictures,
    planted_patches,
    share_inside,
)


def wrap(module, classes="ab"):
    return ex.Model.wrap(module, classes=classes)


def images(n=4, channels=1, seed=0):
    return ex.Dataset.from_images(pictures(n, channels=channels, seed=seed) - 0.3)


def assert_complete(result, atol=1e-5):
    inputs = tuple(range(1, result.values.ndim - result.output.ndim + 1))
    difference = result.output - result.base_value
    np.testing.assert_allclose(result.values.sum(axis=inputs), difference, atol=atol)
    np.testing.assert_allclose(result.diagnostics["completeness_gap"], 0, atol=atol)
    assert np.abs(difference).max() > 100 * atol
    assert result.diagnostics["notes"] == ()


def test_a_linear_module_has_weight_times_difference():
    line, data = nn.Linear(3, 2), ex.Dataset.from_frame(numbers(6, 3), target="y")
    X = data.X.to_numpy(dtype=np.float32)
    weight = line.weight[1].detach().numpy()
    for baseline, b in ((0.0, 0.0), (2.0, 2.0), ("mean", X.mean(axis=0)), ("background", X.mean(axis=0))):
        result = ex.explain(ex.Model.wrap(line), data, ex.DeepLift(baseline), target=1)
        np.testing.assert_allclose(result.values, (X - b) * weight, atol=1e-5)
        assert_complete(result)


ACTIVATIONS = [
    nn.ReLU(), nn.ReLU(inplace=True), nn.ReLU6(), nn.LeakyReLU(), nn.PReLU(3), nn.ELU(), nn.SELU(), nn.CELU(), nn.GELU(), nn.SiLU(), nn.Mish(),
    nn.Hardswish(), nn.Softplus(), nn.Sigmoid(), nn.Hardsigmoid(), nn.Tanh(), nn.Hardtanh(), nn.LogSigmoid(), nn.Softsign(), nn.Tanhshrink(),
    nn.Softshrink(), nn.Threshold(0.1, 0.0), nn.SiLU(inplace=True),
]  # fmt: skip


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=str)
def test_every_activation_is_complete(activation):
    net = network(
        nn.Conv2d(1, 3, 3), activation, nn.Conv2d(3, 3, 3), activation, nn.Flatten(), nn.Linear(48, 2), seed=1
    )
    data = ex.Dataset.from_images(8 * (pictures(4) - 0.3))
    assert_complete(ex.explain(wrap(net), data, ex.DeepLift("mean")))


def test_one_unit_has_the_quotient_of_differences():
    for function in (torch.tanh, torch.sigmoid, functional.gelu, torch.exp, lambda x: x.relu()):

        class Unit(nn.Module):
            def __init__(self, function=function):
                super().__init__()
                self.function, self.weight = function, nn.Parameter(torch.tensor([1.0, -2.0, 0.5]))

            def forward(self, x):
                return self.function(x @ self.weight)[:, None]

        data = ex.Dataset.from_frame(numbers(6, 3), target="y")
        result = ex.explain(ex.Model.wrap(Unit()), data, ex.DeepLift(0.3))
        X = torch.tensor(data.X.to_numpy(dtype=np.float64))
        w = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
        z, z0 = X @ w, 0.3 * w.sum()
        twin = (X - 0.3) * w * ((function(z) - function(z0)) / (z - z0))[:, None]
        np.testing.assert_allclose(result.values, twin.numpy(), atol=2e-5)


def test_without_a_difference_the_quotient_is_the_slope():
    """The first input is equal to its baseline, and so are all units behind it: nothing is divided by 0."""
    net = network(nn.Conv2d(1, 2, 1, groups=1), nn.Tanh(), nn.Flatten(), nn.Linear(128, 2), seed=2)
    data = ex.Dataset.from_images(np.where(np.arange(64).reshape(1, 1, 8, 8) < 32, 0.25, pictures(2)))
    result = ex.explain(wrap(net), data, ex.DeepLift(0.25))
    assert np.abs(result.values[:, :, :4]).max() == 0
    assert_complete(result)


def slow_twin(net, x, b, column):
    """Conv, ReLU, max pool, linear by hand: one picture, loops over the windows."""
    with torch.no_grad():
        x, b = torch.from_numpy(x)[None], torch.from_numpy(b)[None]
        ax, ab = net[0](x), net[0](b)
        rx, rb = ax.clamp(min=0), ab.clamp(min=0)
        px, pb = functional.max_pool2d(rx, 2), functional.max_pool2d(rb, 2)
        back = net[4].weight[column].reshape(px.shape)
        multiplier = torch.zeros_like(rx)
        for c in range(px.shape[1]):
            for i in range(px.shape[2]):
                for j in range(px.shape[3]):
                    grew = px[0, c, i, j] >= pb[0, c, i, j]
                    window = (rx if grew else rb)[0, c, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2]
                    at = divmod(int(window.argmax()), 2)
                    u, v = 2 * i + at[0], 2 * j + at[1]
                    change = rx[0, c, u, v] - rb[0, c, u, v]
                    share = (px - pb)[0, c, i, j] / change if change != 0 else 1.0 * grew
                    multiplier[0, c, u, v] += back[0, c, i, j] * share
        change = ax - ab
        multiplier *= torch.where(change == 0, (ax > 0).float(), (rx - rb) / change)
        return (functional.conv_transpose2d(multiplier, net[0].weight) * (x - b))[0].numpy()


@pytest.mark.parametrize("in_place", [False, True])
def test_the_slow_twin_agrees_with_a_max_pool(in_place):
    net = network(
        nn.Conv2d(1, 3, 3), nn.ReLU(inplace=in_place), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(27, 2), seed=3
    )
    data = images()
    result = ex.explain(wrap(net), data, ex.DeepLift("blur"), target="a")
    from explainers.masking import blurred

    baselines = blurred(data.X)
    twin = np.stack([slow_twin(net, x, b, 0) for x, b in zip(data.X, baselines, strict=True)])
    np.testing.assert_allclose(result.values, twin, atol=1e-5)
    assert_complete(result)


POOLS = [
    (nn.MaxPool2d(3, stride=2, padding=1), 3 * 16), (nn.MaxPool2d(3, stride=1), 3 * 36), (nn.AdaptiveMaxPool2d(3), 27),
    (nn.MaxPool2d(2, ceil_mode=True), 3 * 16), (nn.MaxPool2d((2, 4)), 3 * 8),
]  # fmt: skip


@pytest.mark.parametrize(("pool", "size"), POOLS, ids=str)
def test_every_max_pool_is_complete(pool, size):
    net = network(nn.Conv2d(1, 3, 3, padding=1), pool, nn.Tanh(), nn.Flatten(), nn.Linear(size, 2), seed=3)
    assert_complete(ex.explain(wrap(net), images(), ex.DeepLift("mean")))


def test_sequences_with_a_pool_over_time_are_complete():
    class Turned(nn.Module):
        def __init__(self):
            super().__init__()
            self.look, self.read = nn.Conv1d(2, 4, 2), nn.Linear(8, 2)

        def forward(self, x):
            x = functional.max_pool1d(self.look(x.transpose(1, 2)).relu(), 2)
            return self.read(x.flatten(1))

    data = ex.Dataset.from_sequences(np.random.default_rng(0).normal(size=(5, 5, 2)))
    assert_complete(ex.explain(wrap(network(Turned())), data, ex.DeepLift("mean")))


def test_a_residual_sum_and_a_relu_used_twice_are_complete():
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Conv2d(1, 3, 3, padding=1), nn.Conv2d(3, 3, 3, padding=1)
            self.norm, self.relu, self.read = nn.BatchNorm2d(3), nn.ReLU(inplace=True), nn.Linear(3, 2)

        def forward(self, x):
            x = self.relu(self.first(x))
            y = self.norm(self.second(x))
            y += x
            return self.read(self.relu(y).mean(dim=(2, 3)))

    assert_complete(ex.explain(wrap(network(Block(), seed=5)), images(), ex.DeepLift("mean")), atol=3e-6)


def test_onnx_and_channels_last_give_the_same():
    net, data = network(
        nn.Conv2d(1, 3, 3), nn.ReLU6(), nn.MaxPool2d(2), nn.Conv2d(3, 4, 2), nn.LeakyReLU(), nn.Flatten(), nn.Linear(16, 2), seed=6
    ), images()  # fmt: skip
    ours = ex.explain(wrap(net), data, ex.DeepLift("mean"))
    opened = OnnxModule(read_graph(export(net, (1, 8, 8), default=False)))
    np.testing.assert_allclose(
        ex.explain(wrap(opened), data, ex.DeepLift("mean")).values, ours.values, atol=1e-6
    )
    last = wrap(net.to(memory_format=torch.channels_last))
    np.testing.assert_allclose(ex.explain(last, data, ex.DeepLift("mean")).values, ours.values, atol=1e-6)
    assert_complete(ours)


@pytest.mark.filterwarnings("ignore:Setting forward, backward hooks:UserWarning")
@pytest.mark.filterwarnings("ignore:Input Tensor:UserWarning")
def test_captum_agrees():
    from captum.attr import DeepLift

    net, data = network(
        nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Conv2d(3, 4, 3), nn.Sigmoid(), nn.Flatten(), nn.Linear(64, 3), seed=4
    ), images()  # fmt: skip
    every = ex.explain(wrap(net, "abc"), data, ex.DeepLift(0.1), target="all")
    for column in range(3):
        theirs = DeepLift(net).attribute(torch.from_numpy(data.X), baselines=0.1, target=column)
        np.testing.assert_allclose(every.values[..., column], theirs.detach().numpy(), atol=2e-6)
    assert_complete(every)


def test_shap_agrees_on_reference_cases():
    net, data = network(
        nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(108, 5), nn.Tanh(), nn.Linear(5, 2), seed=4
    ), images(7)  # fmt: skip
    background = data.take([3, 4, 5, 6])
    ours = ex.explain(
        wrap(net), data, ex.DeepLift("background"), rows=[0, 1], target="all", background=background
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import shap

        explainer = shap.DeepExplainer(net, torch.tensor(background.X))
        theirs = explainer.shap_values(torch.tensor(data.X[:2]), check_additivity=False)
    np.testing.assert_allclose(ours.values, theirs, atol=2e-6)
    assert_complete(ours)
    assert ours.reference.cases == 4


def test_reference_cases_are_averaged_and_their_spread_is_told(monkeypatch):
    case = cnn_three_classes()
    background = case.data.take([3, 4, 5])
    result = ex.explain(
        case.model, case.data, ex.DeepLift("background"), rows=[0, 1], target="b", background=background
    )
    single = np.stack(
        [
            ex.explain(
                case.model, case.data, ex.DeepLift("background"), rows=[0, 1], target="b", background=case.data.take([i])
            ).values
            for i in (3, 4, 5)
        ]
    )  # fmt: skip
    np.testing.assert_allclose(result.values, single.mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(
        result.background_error, single.std(axis=0, ddof=1) / np.sqrt(3), atol=1e-5 * np.abs(single).max()
    )
    monkeypatch.setattr(device, "CPU_CHUNK_BYTES", 1)
    again = ex.explain(
        case.model, case.data, ex.DeepLift("background"), rows=[0, 1], target="b", background=background
    )
    np.testing.assert_allclose(again.values, result.values, atol=1e-6)


def test_the_last_softmax_or_sigmoid_is_left_out():
    case = cnn_two_classes()
    result = ex.explain(case.model, case.data, ex.DeepLift())
    assert result.space == "raw"
    assert_complete(result, atol=1e-6)
    probability = ex.explain(case.model, case.data, ex.DeepLift(space="probability"))
    assert probability.space == "probability"
    assert_complete(probability, atol=1e-6)
    net = network(nn.Conv2d(1, 2, 3), nn.Tanh(), nn.Flatten(), nn.Linear(72, 3), nn.Softmax(dim=1), seed=7)
    soft = ex.explain(wrap(net, "abc"), images(), ex.DeepLift())
    assert soft.space == "raw"
    assert_complete(soft)
    (note,) = ex.explain(wrap(net, "abc"), images(), ex.DeepLift(space="probability")).diagnostics["notes"]
    assert "no form for softmax" in note


def test_what_has_no_form_is_named_with_what_it_misses():
    case = gru_sequences()
    result = ex.explain(case.model, case.data, ex.DeepLift())
    gap = result.output - result.base_value - result.values.sum(axis=(1, 2))
    np.testing.assert_allclose(result.diagnostics["completeness_gap"], gap, atol=1e-6)
    assert np.abs(gap).max() > 1e-3
    (note,) = result.diagnostics["notes"]
    assert "The values miss more than 1% of the difference" in note
    assert "no form for gru" in note

    class Gate(nn.Module):
        def forward(self, x):
            return (x * torch.sigmoid(x)).sum(dim=1, keepdim=True)

    table = ex.Dataset.from_frame(numbers(6, 3), target="y")
    (note,) = ex.explain(ex.Model.wrap(Gate()), table, ex.DeepLift(0.5)).diagnostics["notes"]
    assert "no form for mul" in note


def test_another_way_for_the_case_than_for_its_baseline_is_refused():
    class Forked(nn.Module):
        def forward(self, x):
            return (torch.relu(x) if x.sum() > 0 else torch.tanh(x)).sum(dim=1, keepdim=True)

    table = ex.Dataset.from_frame(numbers(6, 3).abs(), target="y")
    with pytest.raises(ex.ModelFailure, match="takes another way for a case than for its baseline"):
        ex.explain(ex.Model.wrap(Forked()), table, ex.DeepLift(-1.0))


def test_a_run_that_is_stopped_leaves_slopes_as_they_are():
    def stop(done, total, partial=None):
        raise ex.Cancelled("enough")

    case = cnn_two_classes()
    before = ex.explain(case.model, case.data, ex.Saliency()).values
    with pytest.raises(ex.Cancelled):
        ex.explain(case.model, case.data, ex.DeepLift(), progress=stop)
    np.testing.assert_array_equal(ex.explain(case.model, case.data, ex.Saliency()).values, before)


def test_a_contrast_is_the_difference_of_both():
    case = cnn_three_classes()
    a, b, between = (
        ex.explain(case.model, case.data, ex.DeepLift("mean"), target=target)
        for target in ("a", "b", ex.Contrast("a", "b"))
    )
    np.testing.assert_allclose(between.values, a.values - b.values, atol=1e-6)
    assert_complete(between)


def test_the_strongest_pixel_is_in_the_planted_patch():
    model, data, inside = planted_patches()
    for baseline in (0.0, "mean"):
        values = ex.explain(model, data, ex.DeepLift(baseline), target="patch").values
        assert share_inside(values, inside) >= 0.8
