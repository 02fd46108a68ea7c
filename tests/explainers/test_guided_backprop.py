"""Guided backpropagation: every way to write a ReLU, what has none, and Guided Grad-CAM."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from onnx_models import export
from torch import nn
from torch.nn import functional

import explainers as ex
from explainers.onnx import OnnxModule, read_graph
from tests.cases import cnn_three_classes, network, numbers, pictures, planted_patches, share_inside


def wrap(module, classes="ab"):
    return ex.Model.wrap(module, classes=classes)


def images(n=4, channels=1):
    return ex.Dataset.from_images(pictures(n, channels=channels) - 0.3)


class Written(nn.Module):
    """Two convolutions; the ReLU after each is written in the way that is asked for."""

    def __init__(self, relu):
        super().__init__()
        self.first, self.second, self.read = nn.Conv2d(1, 3, 3), nn.Conv2d(3, 4, 3), nn.Linear(64, 2)
        self.relu = relu

    def forward(self, x):
        x = self.relu(self.first(x))
        return self.read(self.relu(self.second(x)).flatten(1))


def in_place(x):
    functional.relu_(x)
    return x


def method_in_place(x):
    x.relu_()
    return x


WRITTEN = {
    "module used twice": nn.ReLU(),
    "in-place module": nn.ReLU(inplace=True),
    "functional": functional.relu,
    "torch": torch.relu,
    "method": lambda x: x.relu(),
    "functional in place": in_place,
    "method in place": method_in_place,
    "in place by position": lambda x: functional.relu(x, True),
    "clamp": lambda x: x.clamp(min=0),
    "maximum": lambda x: torch.maximum(x, torch.zeros(())),
    "by name": lambda x: torch.relu(input=x),
}


def written(relu):
    net = Written(relu)
    source = network(nn.Conv2d(1, 3, 3), nn.Conv2d(3, 4, 3), nn.Linear(64, 2), seed=4)
    for own, other in zip((net.first, net.second, net.read), source, strict=True):
        own.load_state_dict(other.state_dict())
    return net


def slow_twin(net, x, column):
    """The backward pass by hand, one picture at a time."""
    maps = []
    with torch.no_grad():
        for picture in torch.from_numpy(x):
            a = net.first(picture[None])
            b = net.second(a.clamp(min=0))
            slope = net.read.weight[column].reshape(b.shape)
            slope = torch.where((b > 0) & (slope > 0), slope, 0)
            slope = functional.conv_transpose2d(slope, net.second.weight)
            slope = torch.where((a > 0) & (slope > 0), slope, 0)
            maps.append(functional.conv_transpose2d(slope, net.first.weight)[0])
    return torch.stack(maps).numpy()


@pytest.mark.parametrize("name", WRITTEN)
def test_a_relu_is_guided_however_it_is_written(name):
    data = images()
    net = written(WRITTEN[name])
    result = ex.explain(wrap(net), data, ex.GuidedBackprop(), target="a")
    np.testing.assert_allclose(result.values, slow_twin(written(nn.ReLU()), data.X, 0), atol=1e-6)
    plain = ex.explain(wrap(net), data, ex.Saliency(), target="a")
    assert np.abs(result.values - plain.values).max() > 1e-3
    np.testing.assert_array_equal(result.output, plain.output)


def test_onnx_is_guided_as_torch_is():
    net, data = written(nn.ReLU()), images()
    opened = OnnxModule(read_graph(export(net, (1, 8, 8), default=False)))
    ours, torch_result = (ex.explain(wrap(m), data, ex.GuidedBackprop(), target="b") for m in (opened, net))
    np.testing.assert_allclose(ours.values, torch_result.values, atol=1e-6)


def test_relu6_of_torch_and_of_onnx_has_an_upper_end():
    net, data = written(nn.ReLU6()), ex.Dataset.from_images(30 * pictures(4))
    opened = OnnxModule(read_graph(export(net, (1, 8, 8), default=False)))
    found = [ex.explain(wrap(m), data, ex.GuidedBackprop(), target="b").values for m in (opened, net)]
    np.testing.assert_allclose(found[0], found[1], atol=1e-5)
    assert np.abs(found[1] - slow_twin(net, data.X, 1)).max() > 1e-3  # a plain ReLU has none


@pytest.mark.filterwarnings("ignore:Setting backward hooks:UserWarning")
@pytest.mark.filterwarnings("ignore:Input Tensor:UserWarning")
def test_captum_agrees():
    from captum.attr import GuidedBackprop

    net, data = network(
        nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(27, 8), nn.ReLU(),
        nn.Linear(8, 2), seed=4,
    ).eval(), images()  # fmt: skip
    every = ex.explain(wrap(net), data, ex.GuidedBackprop(), target="all")
    for column, label in enumerate("ab"):
        theirs = GuidedBackprop(net).attribute(torch.from_numpy(data.X), target=column)
        ours = ex.explain(wrap(net), data, ex.GuidedBackprop(), target=label)
        np.testing.assert_allclose(ours.values, theirs.detach().numpy(), atol=1e-6)
        np.testing.assert_allclose(every.values[..., column], ours.values, atol=1e-6)


def test_without_a_relu_it_is_the_plain_gradient_and_says_so():
    net, data = network(nn.Conv2d(1, 3, 3), nn.GELU(), nn.Flatten(), nn.Linear(108, 2)), images()
    result = ex.explain(wrap(net), data, ex.GuidedBackprop())
    np.testing.assert_array_equal(result.values, ex.explain(wrap(net), data, ex.Saliency()).values)
    assert any("There is no ReLU in this network" in note for note in result.diagnostics["notes"])
    mixed = network(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.SiLU(), nn.Flatten(), nn.Linear(108, 2))
    notes = ex.explain(wrap(mixed), data, ex.GuidedBackprop()).diagnostics["notes"]
    assert any("Only ReLUs are guided; silu kept" in note for note in notes)


def test_the_caution_always_stands_beside_it():
    for combine in ("none", "grad-cam"):
        result = ex.explain(wrap(written(nn.ReLU())), images(), ex.GuidedBackprop(combine))
        assert result.diagnostics["notes"][0].startswith("Guided backpropagation shows edges of the picture")


@pytest.mark.parametrize("target", ["b", "all"])
def test_guided_grad_cam_is_the_product_of_both(target):
    case = cnn_three_classes()
    net = network(
        nn.Conv2d(3, 4, 3),
        nn.ReLU(inplace=True),
        nn.Conv2d(4, 4, 3),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(64, 3),
        seed=2,
    )
    model, ticks = wrap(net, "abc"), []
    result = ex.explain(
        model, case.data, ex.GuidedBackprop("grad-cam"), target=target,
        progress=lambda done, total, partial=None: ticks.append((done, total)),
    )  # fmt: skip
    guided = ex.explain(model, case.data, ex.GuidedBackprop(), target=target)
    cam = ex.explain(model, case.data, ex.GradCam(), target=target)
    np.testing.assert_allclose(result.values, guided.values * cam.values, atol=1e-7)
    assert result.diagnostics["layer"] == cam.diagnostics["layer"] == "2"
    assert ticks[-1] == (12, 12)
    named = ex.explain(model, case.data, ex.GuidedBackprop("grad-cam", layer="0"), target=target)
    assert np.abs(named.values - result.values).max() > 0


@pytest.mark.filterwarnings("ignore:Setting backward hooks:UserWarning")
@pytest.mark.filterwarnings("ignore:Input Tensor:UserWarning")
def test_captum_agrees_on_guided_grad_cam():
    from captum.attr import GuidedGradCam

    net, data = (
        network(
            nn.Conv2d(1, 3, 3),
            nn.ReLU(),
            nn.Conv2d(3, 4, 3),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(64, 2),
            seed=4,
        ),
        images(),
    )
    theirs = GuidedGradCam(net, net[2]).attribute(
        torch.from_numpy(data.X), target=0, interpolate_mode="bilinear"
    )
    ours = ex.explain(wrap(net), data, ex.GuidedBackprop("grad-cam"), target="a")
    np.testing.assert_allclose(ours.values, theirs.detach().numpy(), atol=1e-6)


def test_the_product_needs_a_layer():
    model = wrap(nn.Sequential(nn.Flatten(), nn.Linear(64, 2)))
    ex.explain(model, images(), ex.GuidedBackprop())
    with pytest.raises(ex.InvalidSetting, match="needs a convolutional layer and this model has none"):
        ex.explain(model, images(), ex.GuidedBackprop("grad-cam"))


def test_tables_are_refused():
    data = ex.Dataset.from_frame(numbers(4, 3), target="y")
    assert "Explains image data" in ex.why_not(ex.GuidedBackprop, ex.Model.wrap(nn.Linear(3, 1)), data)


def test_a_run_that_fails_or_is_stopped_leaves_the_next_plain():
    class Broken(nn.Module):
        def forward(self, x):
            return torch.relu(x).flatten(1)[:, :2] / torch.zeros(1)

    def stop(done, total, partial=None):
        raise ex.Cancelled("enough")

    net, data = written(nn.ReLU()), images()
    before = ex.explain(wrap(net), data, ex.Saliency()).values
    with pytest.raises(ex.ModelFailure):
        ex.explain(
            ex.Model(lambda X: X[:, 0, 0, :2], "regression", module=Broken()),
            data,
            ex.GuidedBackprop(),
            target=0,
        )
    with pytest.raises(ex.Cancelled):
        ex.explain(wrap(net), data, ex.GuidedBackprop(), progress=stop)
    np.testing.assert_array_equal(ex.explain(wrap(net), data, ex.Saliency()).values, before)
    x = torch.tensor([-1.0, 1.0], requires_grad=True)
    (slope,) = torch.autograd.grad(-torch.relu(x).sum(), x)
    np.testing.assert_array_equal(slope.numpy(), [0.0, -1.0])


def test_the_strongest_pixel_is_in_the_planted_patch():
    model, data, inside = planted_patches()
    assert share_inside(ex.explain(model, data, ex.GuidedBackprop(), target="patch").values, inside) >= 0.95
    combined = ex.explain(model, data, ex.GuidedBackprop("grad-cam"), target="patch").values
    assert share_inside(combined, inside) >= 0.95
