"""Grad-CAM: the weighted activations of one layer, a backward pass no longer than needed, any kind of convolution."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import explainers as ex
from explainers import device
from tests.cases import cnn_three_classes, cnn_two_classes, network, pictures, planted_patches, share_inside


def wrap(module, classes="ab"):
    return ex.Model.wrap(module, classes=classes)


def slow_twin(module, layer, x, column, relu=True):
    """A whole backward pass, one picture at a time, with plain loops."""
    kept = []
    handle = layer.register_forward_hook(
        lambda _m, _a, out: kept.append(out) or out.retain_grad() or out.clone()
    )
    maps = []
    try:
        for picture in torch.from_numpy(x):
            kept.clear()
            module(picture[None].requires_grad_())[0, column].backward()
            activation, slope = kept[0].detach()[0], kept[0].grad[0]
            total = sum(slope[c].mean() * activation[c] for c in range(len(activation)))
            maps.append(total.clamp(min=0) if relu else total)
    finally:
        handle.remove()
        module.zero_grad(set_to_none=True)
    return torch.stack(maps)[:, None].numpy()


@pytest.mark.parametrize("relu", [True, False])
@pytest.mark.parametrize("layer", [None, "0", "2"])
def test_the_slow_twin_agrees(layer, relu):
    case = cnn_three_classes()
    result = ex.explain(case.model, case.data, ex.GradCam(layer=layer, relu=relu), target="c")
    module = case.model.module
    with device.on_device(module, torch.device("cpu")):
        twin = slow_twin(module, module.get_submodule(layer or "4"), case.data.X, 2, relu)
    np.testing.assert_allclose(result.diagnostics["map"], twin, atol=1e-6)
    large = torch.nn.functional.interpolate(
        torch.from_numpy(twin), size=(8, 8), mode="bilinear", align_corners=False
    )
    np.testing.assert_allclose(result.values, large.numpy(), atol=1e-6)
    assert result.diagnostics["layer"] == (layer or "4")
    assert result.values.min() < 0 or relu


@pytest.mark.parametrize("relu", [True, False])
def test_captum_agrees(relu):
    from captum.attr import LayerGradCam

    case = cnn_three_classes()
    module = case.model.module
    ours = ex.explain(case.model, case.data, ex.GradCam(relu=relu), target="a").diagnostics["map"]
    with device.on_device(module, torch.device("cpu")):
        for p in module.parameters():
            p.requires_grad_(True)
        theirs = LayerGradCam(module, module[4]).attribute(
            torch.from_numpy(case.data.X), target=0, relu_attributions=relu
        )
    np.testing.assert_allclose(ours, theirs.detach().numpy(), atol=1e-6)


def test_the_closed_form_of_one_kernel_and_a_mean():
    net = nn.Sequential(nn.Conv2d(1, 1, 1, bias=False), nn.Flatten(), nn.AvgPool1d(64), nn.Flatten())
    nn.init.constant_(net[0].weight, 3.0)
    x = pictures(3)
    result = ex.explain(ex.Model.wrap(net), ex.Dataset.from_images(x), ex.GradCam())
    np.testing.assert_allclose(result.values, 3 * x / 64, rtol=1e-5)
    np.testing.assert_allclose(result.output, 3 * x.mean(axis=(1, 2, 3)), rtol=1e-5)


def test_an_in_place_activation_does_not_overwrite_the_map():
    layers = [nn.Conv2d(1, 3, 3), nn.Flatten(), nn.Linear(108, 2)]
    found = []
    for in_place in (True, False):
        net = network(layers[0], nn.ReLU(inplace=in_place), layers[1], layers[2], seed=6)
        found.append(ex.explain(wrap(net), ex.Dataset.from_images(pictures(4)), ex.GradCam(relu=False)))
    np.testing.assert_array_equal(found[0].values, found[1].values)
    with torch.no_grad():
        before = net[0](torch.from_numpy(pictures(4)))
    assert (before < 0).any()
    assert (
        found[0].diagnostics["map"] != 0
    ).mean() > 0.99  # places where the ReLU is off still have their activation


class Blocked(torch.autograd.Function):
    """Passes values, refuses gradients."""

    @staticmethod
    def forward(ctx, x):
        return x * 1.0

    @staticmethod
    def backward(ctx, slope):
        raise AssertionError("the backward pass went on below the layer")


class Block(nn.Module):
    def forward(self, x):
        return Blocked.apply(x)


def test_the_backward_pass_ends_at_the_layer():
    net = network(nn.Conv2d(1, 2, 3), Block(), nn.Conv2d(2, 2, 3), nn.Flatten(), nn.Linear(32, 2))
    result = ex.explain(wrap(net), ex.Dataset.from_images(pictures(2)), ex.GradCam())
    assert result.diagnostics["layer"] == "2"
    assert all(p.grad is None for p in net.parameters())
    with pytest.raises(AssertionError, match="below the layer"):
        ex.explain(wrap(net), ex.Dataset.from_images(pictures(2)), ex.GradCam(layer="0"))
    assert all(not m._forward_hooks for m in net.modules())


def test_a_convolution_of_one_place_is_passed_over():
    net = network(
        nn.Conv2d(1, 2, 3), nn.Conv2d(2, 3, 3), nn.AdaptiveAvgPool2d(1), nn.Conv2d(3, 2, 1), nn.Flatten(), seed=1,
    )  # fmt: skip
    result = ex.explain(wrap(net), ex.Dataset.from_images(pictures(2)), ex.GradCam())
    assert result.diagnostics["layer"] == "1"
    assert ex.explain(wrap(net), ex.Dataset.from_images(pictures(2)), ex.GradCam(layer="3")).diagnostics[
        "map"
    ].shape == (2, 1, 1, 1)


def test_the_last_convolution_is_the_last_called():
    class Backwards(nn.Module):
        def __init__(self):
            super().__init__()
            self.late = nn.Conv2d(2, 2, 3)
            self.early = nn.Conv2d(1, 2, 3)

        def forward(self, x):
            return self.late(self.early(x)).mean(dim=(2, 3))

    assert (
        ex.explain(wrap(Backwards()), ex.Dataset.from_images(pictures(2)), ex.GradCam()).diagnostics["layer"]
        == "late"
    )


class Residual(nn.Module):
    """A shortcut; its activation is a function, or one module for both places."""

    def __init__(self, relu):
        super().__init__()
        self.conv1, self.conv2, self.norm = (
            nn.Conv2d(2, 2, 3, 1, 1),
            nn.Conv2d(2, 2, 3, 1, 1),
            nn.BatchNorm2d(2),
        )
        self.relu = relu

    def forward(self, x):
        return self.relu(self.norm(self.conv2(self.relu(self.conv1(x)))) + x)


def in_place(x):
    return torch.relu_(x)


class Joined(nn.Module):
    """Two branches side by side."""

    def __init__(self):
        super().__init__()
        self.left, self.right = (
            nn.Conv2d(1, 2, 1),
            nn.Sequential(nn.Conv2d(1, 3, 3, 1, 1), nn.ReLU(inplace=True)),
        )

    def forward(self, x):
        return torch.cat([self.left(x), self.right(x)], dim=1)


@pytest.mark.parametrize(
    ("body", "layer"),
    [
        ((nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(inplace=True), nn.Dropout(), nn.MaxPool2d(2)), "2"),
        ((nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(inplace=True)), nn.Identity()), "0.1"),
        ((nn.Conv2d(1, 2, 3), Residual(nn.ReLU(inplace=True))), "1"),
        ((nn.Conv2d(1, 2, 3), Residual(torch.relu)), "1"),
        ((nn.Conv2d(1, 2, 3), nn.Sequential(Residual(in_place)), nn.AvgPool2d(2)), "1.0"),
        ((nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Unflatten(1, (72, 1, 1)), nn.ReLU()), "1"),
        ((Joined(),), "0"),
        ((nn.Sequential(nn.Conv2d(1, 2, 3)), nn.MaxPool2d(2)), "0.0"),
    ],
)
def test_the_default_is_where_the_last_maps_are_complete(body, layer):
    size = nn.Sequential(*body)(torch.zeros(1, 1, 8, 8)).numel()
    net = network(*body, nn.Flatten(), nn.Linear(size, 2)).eval()
    data = ex.Dataset.from_images(pictures(2))
    found = ex.explain(wrap(net), data, ex.GradCam(relu=False), target="a")
    assert found.diagnostics["layer"] == layer
    module = net.get_submodule(layer)
    np.testing.assert_allclose(
        found.diagnostics["map"], slow_twin(net, module, data.X, 0, relu=False), atol=1e-6
    )
    named = ex.explain(wrap(net), data, ex.GradCam(layer=layer, relu=False), target="a")
    np.testing.assert_array_equal(named.values, found.values)
    assert named.diagnostics["layer_why"] == "named"
    assert all(not m._forward_hooks for m in net.modules())


@pytest.mark.parametrize(("side", "layer"), [(12, "4"), (4, "1")])
def test_maps_of_two_rows_are_passed_over_for_larger_ones(side, layer):
    parts = [nn.Conv2d(1, 2, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
    parts += [nn.Conv2d(2, 2, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)] if side == 12 else []
    last = [nn.Conv2d(2, 2, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 2)]
    net = network(*parts, *last)
    found = ex.explain(wrap(net), ex.Dataset.from_images(pictures(2, side=side)), ex.GradCam())
    assert found.diagnostics["layer"] == layer
    only = network(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8, 2))
    data = ex.Dataset.from_images(pictures(2, side=4))
    assert ex.explain(wrap(only), data, ex.GradCam()).diagnostics["map"].shape == (2, 1, 2, 2)


class Operator(nn.Module):
    """A convolution as an ONNX graph's node: known by its `op_type`."""

    def __init__(self):
        super().__init__()
        self.op_type = "Conv"
        self.kernel = nn.Parameter(torch.ones(1, 1, 3, 3))

    def forward(self, x):
        return torch.nn.functional.conv2d(x, self.kernel)


def test_an_onnx_node_is_a_convolution_too():
    net = nn.Sequential(Operator(), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(36, 1))
    model = ex.Model.wrap(net)
    assert "layers" in model.abilities
    result = ex.explain(model, ex.Dataset.from_images(pictures(2)), ex.GradCam())
    assert result.diagnostics["layer"] == "1"
    assert result.diagnostics["layer_why"] == "the last with the maps of the last convolution, '0'"
    assert result.diagnostics["map"].shape == (2, 1, 6, 6)


def test_both_classes_of_one_sigmoid_have_opposite_maps():
    case = cnn_two_classes()
    healthy, ill = (
        ex.explain(case.model, case.data, ex.GradCam(relu=False), target=t) for t in ("healthy", "ill")
    )
    np.testing.assert_allclose(healthy.values, -ill.values, atol=1e-7)
    assert healthy.space == "probability"
    raw = ex.explain(case.model, case.data, ex.GradCam(relu=False, space="raw"), target="ill")
    slope = (ill.output * (1 - ill.output)).reshape(-1, 1, 1, 1)
    np.testing.assert_allclose(ill.values, raw.values * slope, atol=1e-6)


def test_all_outputs_are_the_single_ones_side_by_side():
    case = cnn_three_classes()
    every = ex.explain(case.model, case.data, ex.GradCam(), target="all")
    assert every.values.shape == (6, 1, 8, 8, 3)
    assert every.diagnostics["map"].shape == (6, 1, 3, 3, 3)
    for j, label in enumerate("abc"):
        one = ex.explain(case.model, case.data, ex.GradCam(), target=label)
        np.testing.assert_allclose(every.values[..., j], one.values, atol=1e-6)


def test_the_planted_patch_is_found():
    model, data, inside = planted_patches()
    values = ex.explain(model, data, ex.GradCam(), target="patch").values
    assert share_inside(values, inside) >= 0.95


@pytest.mark.parametrize(
    ("layer", "match"),
    [
        ("features.9", r"no layer 'features.9'; the convolutions are '0', '3'"),
        ("5", r"must give maps of shape \(n, c, h, w\), or tokens .* it gave shape \(6, 36\)"),
    ],
)
def test_refused_layers(layer, match):
    case = cnn_three_classes()
    with pytest.raises(ex.InvalidSetting, match=match):
        ex.explain(case.model, case.data, ex.GradCam(layer=layer))
    assert all(not m._forward_hooks for m in case.model.module.modules())


def test_an_empty_name_is_no_name():
    case = cnn_three_classes()
    assert ex.explain(case.model, case.data, ex.GradCam(layer="")).diagnostics["layer"] == "4"


def test_a_layer_that_the_output_does_not_use():
    class Aside(nn.Module):
        def __init__(self):
            super().__init__()
            self.used = nn.Conv2d(1, 2, 3)
            self.aside = nn.Conv2d(1, 2, 3)
            self.never = nn.Conv2d(1, 2, 3)

        def forward(self, x):
            self.aside(x)
            return self.used(x).mean(dim=(2, 3))

    for layer, match in (("aside", "cannot be differentiated"), ("never", "it gave nothing")):
        with pytest.raises(ex.ExplainerError, match=match):
            ex.explain(wrap(Aside()), ex.Dataset.from_images(pictures(2)), ex.GradCam(layer=layer))


def test_a_module_without_convolutions_is_told_so():
    model = ex.Model.wrap(nn.Sequential(nn.Flatten(), nn.Linear(64, 1)))
    with pytest.raises(ex.NotApplicable, match="Needs a convolutional layer; this model"):
        ex.explain(model, ex.Dataset.from_images(pictures(2)), ex.GradCam())


def onnx_file(net: nn.Sequential) -> bytes:
    """Conv, Relu, Conv, Relu, global mean, Gemm, Softmax, with the weights of the network."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    weights = {name: value.numpy() for name, value in net.state_dict().items()}
    nodes = [
        helper.make_node("Conv", ["x", "0.weight", "0.bias"], ["a"]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Conv", ["b", "2.weight", "2.bias"], ["c"], name="last look"),
        helper.make_node("Relu", ["c"], ["d"]),
        helper.make_node("GlobalAveragePool", ["d"], ["e"]),
        helper.make_node("Flatten", ["e"], ["f"]),
        helper.make_node("Gemm", ["f", "6.weight", "6.bias"], ["g"], transB=1),
        helper.make_node("Softmax", ["g"], ["y"], axis=1),
    ]
    ends = [
        helper.make_tensor_value_info(n, TensorProto.FLOAT, s)
        for n, s in (("x", ["n", 1, 8, 8]), ("y", ["n", 3]))
    ]
    held = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, "net", ends[:1], ends[1:], initializer=held)
    return onnx.ModelProto.SerializeToString(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    )


def test_an_onnx_file_is_explained_like_the_network_it_came_from():
    from explainers.onnx import OnnxModule, read_graph

    net = network(
        nn.Conv2d(1, 3, 3), nn.ReLU(inplace=True), nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(1),
        nn.Flatten(), nn.Linear(4, 3), nn.Softmax(dim=1), seed=8,
    )  # fmt: skip
    data = ex.Dataset.from_images(pictures(4))
    twins = [wrap(module, "abc") for module in (net, OnnxModule(read_graph(onnx_file(net))))]
    for explainer in (
        ex.GradCam(),
        ex.GradCam(space="raw", relu=False),
        ex.GradCam(variant="all"),
        ex.GradCam(variant="score"),
        ex.GradCam(variant="ablation"),
        ex.Saliency("raw"),
        ex.IntegratedGradients(),
    ):
        torch_result, onnx_result = (ex.explain(model, data, explainer) for model in twins)
        np.testing.assert_allclose(onnx_result.values, torch_result.values, atol=1e-6)
        np.testing.assert_allclose(onnx_result.output, torch_result.output, atol=1e-6)
        assert (
            onnx_result.space
            == torch_result.space
            == (getattr(explainer, "space", "auto").replace("auto", "probability"))
        )
    assert ex.explain(twins[1], data, ex.GradCam()).diagnostics["layer"] == "last_look"
