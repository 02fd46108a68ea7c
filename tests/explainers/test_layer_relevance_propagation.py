"""Layer-wise relevance propagation: every rule against plain sums, folding, branches, ONNX, and nothing left behind."""

from __future__ import annotations

import copy
from typing import get_args

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import explainers as ex
from explainers.gradients.relevance.layers import Weights
from explainers.methods.layer_relevance_propagation import Composite
from tests.cases import cnn_three_classes, network, numbers, pictures, planted_patches, share_inside

LRP = ex.LayerRelevancePropagation
COMPOSITES = get_args(Composite)
EPSILON, GAMMA = 0.05, 0.4


def relevance(module, x, composite="zero", target=0, classes=None, **settings):
    """The result for pictures or rows given as arrays."""
    if x.ndim == 2:
        names = [f"x{i}" for i in range(x.shape[1])]
        data = ex.Dataset.from_frame(
            numbers(len(x), x.shape[1])[names].assign(**dict(zip(names, x.T, strict=True)))
        )
    else:
        data = ex.Dataset.from_images(x) if x.ndim == 4 else ex.Dataset.from_sequences(x)
    model = ex.Model.wrap(module.eval(), classes=classes)
    return ex.explain(model, data, LRP(composite, **settings), target=target, device="cpu")


def rows(n=3, d=4, seed=0):
    return np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)


def signed_pictures(n=2, channels=2, side=6, seed=0):
    return np.random.default_rng(seed).normal(size=(n, channels, side, side)).astype(np.float32)


def without_bias(module):
    for part in module.modules():
        if getattr(part, "bias", None) is not None:
            nn.init.zeros_(part.bias)
    return module


def close(found, expected, rtol=1e-4):
    found, expected = np.asarray(found), np.asarray(expected)
    np.testing.assert_allclose(found, expected, rtol=rtol, atol=rtol * np.abs(expected).max())


# --- the slow twin: every layer as a matrix, every rule as sums over inputs and outputs --------------------------------------


def as_matrix(layer, shape):
    """Weights ``(outputs, inputs)`` and bias ``(outputs,)`` of a linear layer, by asking it for each unit vector."""
    size = int(np.prod(shape))
    units = torch.eye(size, dtype=torch.float64).reshape(size, *shape)
    with torch.no_grad():
        bias = layer(torch.zeros(1, *shape, dtype=torch.float64)).reshape(-1)
        weights = layer(units).reshape(size, -1) - bias
    reached = as_reached(layer, shape)
    return weights.T.numpy(), bias.numpy(), reached


def as_reached(layer, shape):
    """How often each output sees each input, whatever the weights (a weight may be 0 by chance)."""
    ones = copy.deepcopy(layer)
    with torch.no_grad():
        ones.weight.fill_(1.0)
        if ones.bias is not None:
            ones.bias.zero_()
    size = int(np.prod(shape))
    with torch.no_grad():
        return ones(torch.eye(size, dtype=torch.float64).reshape(size, *shape)).reshape(size, -1).T.numpy()


def share(rule, x, W, b, R, reached, low, high):
    """The relevance of each input, one output after the other."""
    total = np.zeros_like(x)
    for j in range(len(R)):
        parts = x * W[j]
        z = parts.sum() + b[j]
        up, down = np.maximum(parts, 0), np.minimum(parts, 0)
        if rule in ("zero", "epsilon"):
            eps = 0.0 if rule == "zero" else EPSILON
            total += parts * R[j] / (z + (eps if z >= 0 else -eps))
        elif rule in ("z-plus", "alpha2-beta1"):
            alpha, beta = (1, 0) if rule == "z-plus" else (2, 1)
            total += alpha * up * R[j] / (up.sum() + max(b[j], 0) + 1e-6)
            total -= beta * down * R[j] / (down.sum() + min(b[j], 0) - 1e-6)
        elif rule == "gamma":
            favoured, bias = (up, max(b[j], 0)) if z > 0 else (down, min(b[j], 0))
            total += (parts + GAMMA * favoured) * R[j] / (z + GAMMA * (favoured.sum() + bias))
        elif rule in ("flat", "w2"):
            counts = reached[j] if rule == "flat" else W[j] ** 2
            total += counts * R[j] / counts.sum()
        else:
            box = parts - low * np.maximum(W[j], 0) - high * np.minimum(W[j], 0)
            total += box * R[j] / (box.sum() + 1e-6)
    return total


def rules_of(composite):
    """(first, convolution, dense)"""
    named = {
        "epsilon-plus": (None, "z-plus", "epsilon"),
        "epsilon-plus-flat": ("flat", "z-plus", "epsilon"),
        "epsilon-plus-w2": ("w2", "z-plus", "epsilon"),
        "epsilon-alpha2-beta1": (None, "alpha2-beta1", "epsilon"),
        "epsilon-alpha2-beta1-flat": ("flat", "alpha2-beta1", "epsilon"),
        "epsilon-gamma-box": ("box", "gamma", "epsilon"),
    }
    return named.get(composite, (None, composite, composite))


def slow_twin(net, picture, column, composite, low, high):
    """The relevance of one picture, in float64; layers in a row: convolutions, linear, ReLU, max pooling, flatten."""
    first, convolution, dense = rules_of(composite)
    net = copy.deepcopy(net).double().eval()
    values = [torch.from_numpy(picture[None]).double()]
    with torch.no_grad():
        for layer in net:
            values.append(layer(values[-1]))
    R = np.zeros(values[-1].numel())
    R[column] = values[-1].reshape(-1)[column].item()
    linear = [layer for layer in net if hasattr(layer, "weight")]
    for layer, x in zip(reversed(net), reversed(values[:-1]), strict=True):
        if layer in linear:
            W, b, reached = as_matrix(layer, x.shape[1:])
            rule = convolution if isinstance(layer, nn.Conv2d) else dense
            rule = first if first and layer is linear[0] else rule
            R = share(rule, x.reshape(-1).numpy(), W, b, R, reached, low, high)
        elif isinstance(layer, nn.MaxPool2d):
            _, places = functional.max_pool2d(x, layer.kernel_size, return_indices=True)
            wide = np.zeros(x.shape[1:]).reshape(x.shape[1], -1)
            for channel, at in enumerate(places.reshape(x.shape[1], -1)):
                wide[channel, at.numpy()] += R.reshape(x.shape[1], -1)[channel]
            R = wide.reshape(-1)
    return R.reshape(picture.shape)


def small_cnn(seed=0):
    return network(
        nn.Conv2d(2, 3, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(3, 4, 2, stride=1, bias=False), nn.ReLU(),
        nn.Flatten(), nn.Linear(16, 5), nn.ReLU(), nn.Linear(5, 3), seed=seed,
    )  # fmt: skip


@pytest.mark.parametrize("composite", COMPOSITES)
def test_the_slow_twin_agrees(composite):
    net, x = small_cnn(seed=4), signed_pictures()
    low, high = (np.repeat(f(x, axis=(0, 2, 3)).astype(float), 36) for f in (np.min, np.max))
    result = relevance(net, x, composite, target=1, epsilon=EPSILON, gamma=GAMMA)
    twin = np.stack([slow_twin(net, picture, 1, composite, low, high) for picture in x])
    assert np.abs(twin).max() > 0
    close(result.values, twin, rtol=1e-3)
    close(result.diagnostics["conservation_gap"], result.output - twin.sum(axis=(1, 2, 3)), rtol=2e-3)


@pytest.mark.parametrize("composite", ["zero", "epsilon", "gamma", "z-plus", "alpha2-beta1"])
def test_one_layer_of_each_kind_agrees_where_nothing_follows(composite):
    """Without a ReLU behind them, outputs below 0 carry relevance too."""
    wide = np.zeros(1)
    for layer, x in (
        (nn.Linear(4, 3), rows()),
        (nn.Sequential(nn.Conv2d(2, 3, 6, padding=0), nn.Flatten()), signed_pictures()),
    ):
        layer = network(*(layer if isinstance(layer, nn.Sequential) else [layer]), seed=3)
        for column in range(3):
            result = relevance(layer, x, composite, column, epsilon=EPSILON, gamma=GAMMA)
            twin = np.stack([slow_twin(layer, case, column, composite, wide, wide) for case in x])
            close(result.values, twin, rtol=1e-3)
            assert (result.output < 0).any() or column


# --- closed forms and conservation ---------------------------------------------------------------------------------------------


def test_a_linear_module_gives_input_times_weight():
    line, x = network(nn.Linear(4, 2), seed=1), rows()
    result = relevance(line, x, "zero", target=1)
    close(result.values, x * line[0].weight[1].detach().numpy())
    close(result.diagnostics["conservation_gap"], np.full(3, line[0].bias[1].item()))
    assert result.space == "target"
    assert result.reference is None
    assert np.isnan(result.base_value).all()


def test_one_convolution_and_a_mean():
    net = nn.Sequential(nn.Conv2d(1, 1, 1, bias=False), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    nn.init.constant_(net[0].weight, 3.0)
    x = pictures(3)
    for composite in ("zero", "epsilon-plus", "gamma"):
        close(relevance(net, x, composite).values, 3 * x / 64)


@pytest.mark.parametrize("composite", ["zero", "epsilon", "epsilon-plus", "epsilon-plus-flat", "gamma"])
def test_without_biases_nothing_is_lost(composite):
    net = without_bias(small_cnn(seed=2))
    every = relevance(net, np.abs(signed_pictures(4)), composite, target="all")
    assert every.diagnostics["conservation_gap"].shape == (4, 3)
    close(every.values.sum(axis=(1, 2, 3)), every.output, rtol=2e-3)


def test_a_larger_epsilon_keeps_more_back():
    net, x = without_bias(small_cnn(seed=2)), signed_pictures(4)
    gaps = [
        np.abs(relevance(net, x, "epsilon", epsilon=e).diagnostics["conservation_gap"]).sum()
        for e in (1e-6, 0.1, 1.0)
    ]
    assert gaps[0] < 1e-3 < gaps[1] < gaps[2]


def test_all_outputs_are_the_single_ones_side_by_side_and_a_contrast_their_difference():
    case = cnn_three_classes()
    every = ex.explain(case.model, case.data, LRP(), target="all")
    for j, label in enumerate("abc"):
        one = ex.explain(case.model, case.data, LRP(), target=label)
        np.testing.assert_allclose(every.values[..., j], one.values, atol=1e-6)
    contrast = ex.explain(case.model, case.data, LRP(), target=ex.Contrast("a", "b"))
    close(contrast.values, every.values[..., 0] - every.values[..., 1], rtol=1e-3)
    close(contrast.output, every.output[:, 0] - every.output[:, 1])


def test_the_first_of_two_classes_is_the_negative_of_the_second():
    net = network(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 1), seed=4)
    found = [relevance(net, rows(), target=t, classes=("no", "yes")) for t in ("no", "yes")]
    np.testing.assert_allclose(found[0].values, -found[1].values, atol=1e-7)
    assert found[1].space == "raw"


@pytest.mark.parametrize("last", [nn.Softmax(dim=1), nn.Sigmoid()])
def test_relevance_begins_before_a_last_softmax_or_sigmoid(last):
    outputs, classes = (3, "abc") if isinstance(last, nn.Softmax) else (1, "ab")
    bare = network(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, outputs), seed=5)
    full = nn.Sequential(*bare, last)
    found = [relevance(net, rows(), "epsilon", "b", classes=classes) for net in (bare, full)]
    np.testing.assert_allclose(found[0].values, found[1].values, atol=1e-7)
    assert found[0].space == found[1].space == "raw"
    assert found[1].diagnostics["notes"] == ()


# --- batch normalisation, branches, spellings ------------------------------------------------------------------------------------


def normalisation(kind, channels, seed=6):
    rng = torch.Generator().manual_seed(seed)
    layer = kind(channels)
    with torch.no_grad():
        layer.running_mean.copy_(torch.randn(channels, generator=rng))
        layer.running_var.copy_(torch.rand(channels, generator=rng) + 0.3)
        layer.weight.copy_(torch.randn(channels, generator=rng))
        layer.bias.copy_(torch.randn(channels, generator=rng))
    return layer.eval()


def merged(layer, norm):
    """The layer with the normalisation in its weights, channel by channel."""
    found = copy.deepcopy(layer)
    if found.bias is None:
        found.bias = nn.Parameter(torch.zeros(norm.num_features))
    with torch.no_grad():
        for c in range(norm.num_features):
            scale = norm.weight[c] / torch.sqrt(norm.running_var[c] + norm.eps)
            place = (slice(None), c) if isinstance(layer, nn.ConvTranspose2d) else c
            found.weight[place] *= scale
            found.bias[c] = (found.bias[c] - norm.running_mean[c]) * scale + norm.bias[c]
    return found


@pytest.mark.parametrize(
    "composite", ["epsilon-plus-w2", "epsilon-alpha2-beta1", "epsilon-gamma-box", "zero"]
)
def test_a_batch_normalisation_is_part_of_the_layer_before_it(composite):
    convolution = network(nn.Conv2d(2, 3, 3, padding="same", bias=False), seed=7)[0]
    flipped = network(nn.ConvTranspose2d(3, 4, 2, stride=2), seed=7)[0]
    line = network(nn.Linear(4 * 144, 5), seed=7)[0]
    norms = [
        normalisation(nn.BatchNorm2d, 3),
        normalisation(nn.BatchNorm2d, 4),
        normalisation(nn.BatchNorm1d, 5),
    ]
    layers = list(zip((convolution, flipped, line), norms, strict=True))
    head = network(nn.Linear(5, 2), seed=7)

    def net(pairs):
        (a, b, c) = pairs
        return nn.Sequential(*a, nn.ReLU(), *b, nn.ReLU(), nn.Flatten(), *c, nn.ReLU(), head)

    apart = relevance(net(layers), signed_pictures(), composite)
    together = relevance(net([(merged(*pair),) for pair in layers]), signed_pictures(), composite)
    close(apart.output, together.output)
    close(apart.values, together.values, rtol=1e-3)


def test_a_batch_normalisation_that_stands_alone_is_a_linear_layer():
    norm = normalisation(nn.BatchNorm2d, 2)
    head = network(nn.Linear(72, 2), seed=8)
    x = signed_pictures()
    result = relevance(nn.Sequential(norm, nn.Flatten(), head), x)
    scale = (norm.weight / torch.sqrt(norm.running_var + norm.eps)).detach().numpy()[:, None, None]
    close(result.values, x * scale * head[0].weight[0].detach().numpy().reshape(2, 6, 6), rtol=1e-3)


class Residual(nn.Module):
    """relu(conv(x) + x), added in one of several spellings."""

    def __init__(self, spelling):
        super().__init__()
        self.look = network(nn.Conv2d(2, 2, 3, padding=1, bias=False), seed=9)[0]
        self.norm = normalisation(nn.BatchNorm2d, 2)
        self.read = network(nn.Linear(72, 2), seed=9)[0]
        self.spelling = spelling

    def forward(self, x):
        found = self.norm(self.look(x))
        if self.spelling == "in place":
            found += x
            functional.relu_(found)
        elif self.spelling == "method":
            found = found.add_(x).relu()
        elif self.spelling == "stacked":
            found = functional.relu(torch.stack([found, x]).sum(dim=0))
        else:
            found = torch.relu(torch.add(found, x))
        return self.read(found.flatten(1))


@pytest.mark.parametrize("composite", ["epsilon-plus", "epsilon-gamma-box", "zero"])
def test_branches_share_in_proportion(composite):
    x = signed_pictures()
    found = [
        relevance(Residual(s), x, composite, epsilon=EPSILON)
        for s in ("plain", "in place", "method", "stacked")
    ]
    for other in found[1:]:
        close(other.values, found[0].values)
    if composite == "zero":
        module = Residual("plain")
        branch, weight = module.look, module.read.weight[0].detach().numpy().reshape(1, 2, 6, 6)
        W, b, _ = as_matrix(merged(branch, module.norm).double(), (2, 6, 6))
        for case, values in zip(x, found[0].values, strict=True):
            flat = case.reshape(-1)
            z = W @ flat + b
            R = np.maximum(z + flat, 0) * weight.reshape(-1)
            into = z / (z + flat) * R
            close(values.reshape(-1), flat / (z + flat) * R + flat * (W.T @ (into / z)), rtol=1e-3)


class Spelled(nn.Module):
    """One network as layers, as functions, and with in-place functions; one ReLU is used twice."""

    def __init__(self, how):
        super().__init__()
        self.how = how
        self.look = network(nn.Conv2d(2, 3, 3), seed=10)[0]
        self.read, self.last = network(nn.Linear(12, 4), nn.Linear(4, 2), seed=10)
        self.relu, self.pool = nn.ReLU(inplace=how == "in place"), nn.MaxPool2d(2)

    def forward(self, x):
        if self.how == "functions":
            x = functional.max_pool2d(functional.conv2d(x, self.look.weight, self.look.bias).clamp(min=0), 2)
            x = torch.addmm(self.read.bias, x.view(len(x), -1), self.read.weight.t()).relu()
            return x @ self.last.weight.mT + self.last.bias
        x = self.pool(self.relu(self.look(x)))
        return self.last(self.relu(self.read(x.flatten(1))))


@pytest.mark.parametrize("composite", ["epsilon-plus", "epsilon-gamma-box", "alpha2-beta1"])
def test_layers_and_functions_are_the_same(composite):
    found = [
        relevance(Spelled(how), signed_pictures(), composite) for how in ("layers", "functions", "in place")
    ]
    for other in found[1:]:
        close(other.values, found[0].values)
        assert other.diagnostics["notes"] == ()


def test_a_box_goes_through_what_is_done_to_the_inputs_first():
    class Prepared(nn.Module):
        def __init__(self, net):
            super().__init__()
            self.net = net

        def forward(self, x):
            return self.net((0.3 - x) / 0.2)

    net, x = small_cnn(seed=11), pictures(3, 2, 6)
    close(
        relevance(Prepared(net), x, "epsilon-gamma-box").values,
        relevance(net, (np.float32(0.3) - x) / np.float32(0.2), "epsilon-gamma-box").values
        * (-x / 0.2 / ((0.3 - x) / 0.2)),
        rtol=2e-3,
    )


def test_sequences_go_through_convolutions_over_time():
    class Listens(nn.Module):
        def __init__(self):
            super().__init__()
            self.hear, self.read = network(
                nn.Conv1d(2, 3, 2, bias=False), nn.Linear(3, 2, bias=False), seed=12
            )

        def forward(self, x):
            return self.read(torch.relu(self.hear(x.transpose(1, 2))).mean(dim=2))

    x = np.random.default_rng(0).normal(size=(4, 5, 2))
    result = relevance(Listens(), x, "zero")
    assert result.values.shape == (4, 5, 2)
    slopes = ex.explain(ex.Model.wrap(Listens()), ex.Dataset.from_sequences(x), ex.InputXGradient(), target=0)
    close(result.values, slopes.values, rtol=1e-3)


# --- other operations ---------------------------------------------------------------------------------------------------------------


class Of(nn.Module):
    """A function of a linear layer without bias, and a sum."""

    def __init__(self, function):
        super().__init__()
        self.line = network(nn.Linear(4, 4, bias=False), seed=13)[0]
        self.function = function

    def forward(self, x):
        return self.function(self.line(x)).sum(dim=1, keepdim=True)


KEEPING = {
    "gate": lambda x: x * torch.sigmoid(x),
    "normalised": lambda x: functional.layer_norm(x, (4,)) + x,
    "by hand": lambda x: (x - x.mean(1, keepdim=True)) / x.std(1, keepdim=True) + x,
    "doubled": lambda x: x + x,
    "joined": lambda x: torch.cat([x.tanh(), x.flip(1).exp()], dim=1),
    "attended": lambda x: (x[:, :, None] @ x[:, None, :]).flatten(1),
    "weighed": lambda x: torch.softmax(x.detach(), 1) * x,
    "written": lambda x: torch.zeros_like(x).copy_(x).unsqueeze_(1).squeeze(1),
}


@pytest.mark.parametrize("name", KEEPING)
def test_relevance_is_kept_by(name):
    result = relevance(Of(KEEPING[name]), rows(6))
    close(result.values.sum(axis=1), result.output, rtol=2e-3)
    assert result.diagnostics["notes"] == ()


def test_operations_without_a_rule_are_named():
    result = relevance(Of(lambda x: torch.softmax(x, 1) * torch.atan2(x, x + 3)), rows())
    (note,) = result.diagnostics["notes"]
    assert "no rule" in note
    assert "atan2, softmax" in note
    assert np.isfinite(result.values).all()


def test_without_a_rule_it_is_input_times_slope():
    net = Of(lambda x: torch.special.entr(x.abs() + 1))
    x = rows(2)
    result = relevance(net, x)
    hidden = (torch.from_numpy(x) @ net.line.weight.T).detach()
    size = (hidden.abs() + 1).requires_grad_()
    (slope,) = torch.autograd.grad(torch.special.entr(size).sum(), size)
    into = (size * slope).detach() * hidden.abs() / size.detach()
    expected = torch.from_numpy(x) * ((into / hidden) @ net.line.weight.detach())
    close(result.values, expected.numpy(), rtol=1e-3)
    assert "entr" in str(result.diagnostics["notes"])


def test_relevance_that_is_not_a_number_is_refused():
    net = nn.Sequential(nn.ReLU(), Of(torch.special.entr))
    nn.init.zeros_(net[1].line.weight)
    with pytest.raises(ex.NotApplicable, match=r"3 of 3 cases is not a number; there is no rule for .*entr"):
        relevance(net, rows())


def onnx_twin(module, shape):
    from onnx_models import export

    from explainers.onnx import OnnxModule, read_graph

    return OnnxModule(read_graph(export(module.eval(), shape, default=False)))


class Assembled(nn.Module):
    """A residual net with a stem that pools the mean, as exporters write it down in parts."""

    def __init__(self):
        super().__init__()
        self.stem = network(nn.Conv2d(2, 4, 3, padding=1), seed=14)[0]
        self.mean = nn.AvgPool2d(2)
        self.look = network(nn.Conv2d(4, 4, 3, padding=1), seed=15)[0]
        self.norm = normalisation(nn.BatchNorm2d, 4)
        self.read = network(nn.Linear(8, 3), seed=14)[0]

    def forward(self, x):
        x = self.mean(torch.relu(self.stem(x)))
        x = torch.relu(self.norm(functional.relu(x + self.look(x))))
        return self.read(torch.cat([x.mean((2, 3)), x.amax((2, 3))], dim=1))


@pytest.mark.parametrize("composite", ["epsilon-plus", "epsilon-gamma-box", "alpha2-beta1", "zero"])
def test_an_onnx_file_is_explained_like_the_network_it_came_from(composite):
    net = Assembled().eval()
    twin, x = onnx_twin(net, (2, 6, 6)), signed_pictures()
    a, b = (relevance(module, x, composite, target=2) for module in (net, twin))
    close(b.output, a.output)
    close(b.values, a.values, rtol=1e-3)
    assert b.diagnostics["notes"] == ()


# --- nothing left behind, planted truth ------------------------------------------------------------------------------------------------


def test_the_forward_pass_and_the_module_are_unchanged():
    case = cnn_three_classes()
    module = case.model.module
    before = {name: value.clone() for name, value in module.state_dict().items()}
    modes = [part.training for part in module.modules()]
    for composite in COMPOSITES:
        result = ex.explain(case.model, case.data, LRP(composite), target="all")
        np.testing.assert_allclose(result.output, case.model.raw(case.data.X), atol=1e-6)
    assert all(torch.equal(before[name], value) for name, value in module.state_dict().items())
    assert [part.training for part in module.modules()] == modes
    assert all(p.requires_grad and p.grad is None for p in module.parameters())
    assert torch._C._len_torch_function_stack() == 0


class Breaks(nn.Module):
    def __init__(self):
        super().__init__()
        self.line = nn.Linear(4, 1)

    def forward(self, x):
        if x.requires_grad:
            raise RuntimeError("broken in the middle")
        return self.line(x)


def test_an_error_and_a_cancel_leave_nothing_behind():
    module = Breaks().train()
    data = ex.Dataset.from_frame(numbers(6, 4).drop(columns="y"))
    with pytest.raises(ex.ModelFailure, match="broken in the middle"):
        ex.explain(ex.Model.wrap(module), data, LRP(), target=0)

    def stop(done, total, partial=None):
        raise ex.Cancelled

    line = nn.Linear(4, 1).train()
    with pytest.raises(ex.Cancelled):
        ex.explain(ex.Model.wrap(line), data, LRP(), target=0, progress=stop)
    for left in (module, line):
        assert left.training
        assert all(p.requires_grad and p.grad is None for p in left.parameters())
    assert torch._C._len_torch_function_stack() == 0


def test_changed_weights_are_made_once_for_those_that_last():
    lasting, passing = torch.ones(2, 3), torch.ones(2, 3)
    weights, calls = Weights([lasting]), []

    def make():
        calls.append(1)
        return torch.zeros(2, 3)

    first = weights.made("part", (lasting,), make)
    assert weights.made("part", (lasting.view(2, 3),), make) is first
    weights.made("of what was made", (first,), make)
    weights.made("of what was made", (first,), make)
    assert len(calls) == 2
    weights.made("part", (lasting.mT,), make)
    weights.made("other", (lasting,), make)
    assert len(calls) == 4
    assert weights.made("part", (passing,), make) is not weights.made("part", (passing,), make)


@pytest.mark.parametrize(
    "composite", ["epsilon-plus", "epsilon-alpha2-beta1", "epsilon-gamma-box", "epsilon"]
)
def test_the_most_relevant_pixel_is_in_the_planted_patch(composite):
    model, data, inside = planted_patches()
    values = ex.explain(model, data, LRP(composite), target="patch").values
    assert share_inside(values, inside) >= 0.8
