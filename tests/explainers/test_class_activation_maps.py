"""The family of Grad-CAM: each formula a second time with plain loops, channels asked one by one, transformers, nothing left behind."""

from __future__ import annotations

import contextlib
import copy
import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import explainers as ex
from explainers import device
from explainers.explainer import Problem
from explainers.gradients.activation.maps import VARIANTS
from explainers.gradients.activation.one_less import OneLess
from explainers.gradients.activation.suffix import behind
from explainers.gradients.layers import map_layer, token_grid
from explainers.gradients.scores import differentiable
from tests.cases import (
    annotations_not_executed,
    cnn_three_classes,
    network,
    pictures,
    planted_patches,
    share_inside,
)

SLOPED = ("grad-cam", "grad-cam++", "x-grad", "hi-res", "layer", "eigen")
EVERY = (*SLOPED, "score", "ablation")


def wrap(module, classes="abc"):
    return ex.Model.wrap(module, classes=classes)


def images(n=3, channels=1, side=8, seed=0):
    return ex.Dataset.from_images(pictures(n, channels, side, seed))


def plain_net():
    return network(
        nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 5, 3), nn.ReLU(), nn.Conv2d(5, 3, 3, padding=1), nn.Tanh(),
        nn.Flatten(), nn.Linear(48, 3), seed=3,
    ).eval()  # fmt: skip


# --- the formulas, with plain loops ---------------------------------------------------------------------------------------


def at_layer(module, layer, picture, column):
    """Features ``(c, h, w)`` and slopes of one picture by a whole backward pass, in float64 numpy."""
    kept = []
    handle = layer.register_forward_hook(
        lambda _m, _a, out: kept.append(out) or out.retain_grad() or out.clone()
    )
    try:
        module(torch.from_numpy(picture)[None].requires_grad_())[0, column].backward()
    finally:
        handle.remove()
        module.zero_grad(set_to_none=True)
    return kept[0].detach()[0].double().numpy(), kept[0].grad[0].double().numpy()


def by_channel(weight):
    def variant(features, slopes):
        return sum(weight(a, g) * a for a, g in zip(features, slopes, strict=True))

    return variant


def plus_plus(a, g):
    total = 0.0
    for place in np.ndindex(a.shape):
        below = 2 * g[place] ** 2 + a.sum() * g[place] ** 3
        alpha = g[place] ** 2 / below if below != 0 else 0.0
        total += alpha * max(g[place], 0)
    return total


def component(features, slopes):
    rows = features.reshape(len(features), -1).T
    rows = rows - rows.mean(axis=0)
    found = rows @ np.linalg.svd(rows, full_matrices=False)[2][0]
    mean = rows.mean(axis=1)
    likeness = found @ mean if np.abs(mean).max() > 1e-5 else found[np.abs(found).argmax()]
    return (found if likeness >= 0 else -found).reshape(features.shape[1:])


PLAIN = {
    "grad-cam": by_channel(lambda a, g: g.mean()),
    "grad-cam++": by_channel(plus_plus),
    "x-grad": by_channel(lambda a, g: (g * a).sum() / a.sum() if a.sum() else 0.0),
    "hi-res": lambda a, g: (g * a).sum(axis=0),
    "layer": lambda a, g: (np.maximum(g, 0) * a).sum(axis=0),
    "eigen": component,
}


@pytest.mark.parametrize(
    "layer", ["1", "3", "4"]
)  # the first has more places than channels, the second is not negative
@pytest.mark.parametrize("variant", SLOPED)
def test_the_formula_with_plain_loops(variant, layer):
    net, data = plain_net(), images()
    result = ex.explain(wrap(net), data, ex.GradCam(layer=layer, variant=variant, relu=False), target="b")
    for picture, found in zip(data.X, result.diagnostics["map"][:, 0], strict=True):
        expected = PLAIN[variant](*at_layer(net, net.get_submodule(layer), picture, 1))
        np.testing.assert_allclose(found, expected, atol=2e-5 * np.abs(expected).max())
    positive = ex.explain(wrap(net), data, ex.GradCam(layer=layer, variant=variant), target="b")
    np.testing.assert_array_equal(positive.diagnostics["map"], np.maximum(result.diagnostics["map"], 0))
    assert positive.values.shape == (3, 1, 8, 8)


def test_all_six_at_once_are_the_single_ones():
    case = cnn_three_classes()
    for target in (None, "c", "all"):
        panel = ex.explain(case.model, case.data, ex.GradCam(variant="all", relu=False), target=target)
        assert panel.names == SLOPED == tuple(VARIANTS)
        assert panel.values.shape[:2] == (6, 6)
        for i, variant in enumerate(SLOPED):
            one = ex.explain(case.model, case.data, ex.GradCam(variant=variant, relu=False), target=target)
            np.testing.assert_allclose(
                panel.values[:, i : i + 1], one.values, atol=1e-6 * np.abs(one.values).max()
            )
            np.testing.assert_allclose(panel.diagnostics["map"][:, [i]], one.diagnostics["map"], atol=1e-5)
            assert one.names == ("picture",)


def rows_seen(layer, run):
    seen = []
    handle = layer.register_forward_hook(lambda _m, a, _o: seen.append(len(a[0])))
    try:
        return run(), seen
    finally:
        handle.remove()


def test_all_six_need_one_forward_and_one_backward_pass():
    net, passes = plain_net(), []
    backward = net[5].register_full_backward_hook(lambda *_: passes.append(1))
    explainer = ex.GradCam(layer="4", variant="all")
    _, seen = rows_seen(net[0], lambda: ex.explain(wrap(net), images(), explainer, target="b"))
    backward.remove()
    assert seen.count(3) == 1
    assert sum(seen) - 3 <= 3  # what `explain` itself asks to know the outputs
    assert passes == [1]


def test_eigen_says_that_it_knows_no_class():
    case = cnn_three_classes()
    every = ex.explain(case.model, case.data, ex.GradCam(variant="eigen", relu=False), target="all")
    for j in (1, 2):
        np.testing.assert_array_equal(every.values[..., j], every.values[..., 0])
    assert any("the same for every output" in note for note in every.diagnostics["notes"])


@pytest.mark.parametrize(("layer", "said"), [("4", 1), ("3", 0)])
def test_formulas_that_expect_no_negative_features_say_so(layer, said):
    result = ex.explain(wrap(plain_net()), images(), ex.GradCam(layer=layer, variant="x-grad"), target="a")
    assert (
        len([note for note in result.diagnostics["notes"] if "Name the activation behind it" in note]) == said
    )


def test_channels_that_are_silent_leave_numbers():
    net = network(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(72, 3))
    nn.init.constant_(net[0].bias, -100.0)
    for variant in (*EVERY, "all"):
        result = ex.explain(wrap(net), images(), ex.GradCam(layer="1", variant=variant), target="a")
        np.testing.assert_array_equal(result.values, 0)


def test_behind_a_global_mean_and_a_linear_layer_the_formulas_meet():
    net = network(
        nn.Conv2d(1, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3), seed=1
    )
    data = images()
    with torch.no_grad():
        features = net[:2](torch.from_numpy(data.X))
        cam = torch.einsum("nchw,c->nhw", features, net[4].weight[2]).numpy() / 36
    for variant in ("grad-cam", "x-grad", "hi-res"):
        result = ex.explain(wrap(net), data, ex.GradCam(layer="1", variant=variant, relu=False), target="c")
        np.testing.assert_allclose(result.diagnostics["map"][:, 0], cam, atol=1e-6)


@pytest.mark.parametrize("variant", EVERY)
def test_the_planted_patch_is_found(variant):
    model, data, inside = planted_patches(20)
    values = ex.explain(model, data, ex.GradCam(layer="fire", variant=variant), target="patch").values
    assert share_inside(values, inside) >= 0.95


# --- channels asked one by one --------------------------------------------------------------------------------------------


class Counted(nn.Conv2d):
    """Knows how many rows it really worked on."""

    rows = 0

    def forward(self, x):
        self.rows += len(x)
        return super().forward(x)


class Residual(nn.Module):
    """A shared in-place ReLU, sums in place, functions between the layers."""

    def __init__(self):
        super().__init__()
        self.stem = Counted(1, 4, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)
        self.first = nn.Conv2d(4, 4, 3, padding=1)
        self.last = nn.Conv2d(4, 4, 3, padding=1)
        self.read = nn.Linear(4, 3)

    def forward(self, x):
        x = self.relu(self.stem(x))
        x = functional.max_pool2d(functional.relu_(self.first(x)) + x, 2)
        out = self.last(x)
        out += x
        return self.read(self.relu(out).mean(dim=(2, 3)))


class Joined(Residual):
    """The last features are put beside earlier ones."""

    def __init__(self):
        super().__init__()
        self.read = nn.Linear(8, 3)

    def forward(self, x):
        x = self.relu(self.stem(x))
        out = torch.cat([x, self.last(x)], dim=1)
        return self.read(self.relu(out).mean(dim=(2, 3)))


class Answer:
    def __init__(self, value):
        self.value = value


class Packs(nn.Module):
    def forward(self, x):
        return Answer(x * 2)


class Packed(Residual):
    """A submodule before the layer answers with an object of its own."""

    def __init__(self):
        super().__init__()
        self.pack = Packs()

    def forward(self, x):
        return self.read(self.relu(self.last(self.pack(self.stem(x)).value)).mean(dim=(2, 3)))


class Twice(Residual):
    """The layer is called two times; the last call counts."""

    def forward(self, x):
        return self.read(self.relu(self.last(self.relu(self.last(self.relu(self.stem(x)))))).mean(dim=(2, 3)))


class CountsRows(Residual):
    """Trusts that all batches are alike: a short cut would mix up pictures."""

    def forward(self, x):
        early = self.relu(self.stem(x))
        late = self.relu(self.last(early))
        return self.read(
            (late.flatten(2).mean(2) + early.reshape(len(late), 4, -1).mean(2)).reshape(len(late), 4)
        )


def one_channel_at_a_time(module, layer, picture, column, axis=1, size=True):
    """Ablation-CAM with a whole pass of a single picture for each channel."""
    kept, off = [], [None]

    def hook(_layer, _arguments, output):
        kept.append(output.clone())
        if len(kept) % hook.calls == 0 and off[0] is not None:
            output = output.clone()
            output.select(axis, off[0]).zero_()
        return output

    handle = layer.register_forward_hook(hook)
    hook.calls = 1
    x = torch.from_numpy(picture)[None]
    try:
        with torch.no_grad():
            own = module(x.clone())[0, column].item()
            features, hook.calls = kept[-1][0], len(kept)
            kept.clear()
            scores = []
            for off[0] in range(features.shape[axis - 1]):
                scores.append(module(x.clone())[0, column].item())
    finally:
        handle.remove()
    return features.double().numpy(), [(own - score) / abs(own) for score in scores]


@pytest.mark.parametrize(
    ("kind", "layer", "way", "cheap"),
    [
        (Residual, "last", "behind the layer", True),
        (Residual, "first", "behind the layer", True),
        (Joined, "last", "behind the layer", True),
        (CountsRows, "last", "behind the layer", True),
        (Twice, "last", "behind the layer", True),
        (Packed, "last", "whole network", False),
    ],
)
def test_ablation_is_what_single_channels_left_out_do(kind, layer, way, cheap):
    net, data = network(kind(), seed=4)[0].eval(), images(2)
    model = wrap(net)
    result = ex.explain(model, data, ex.GradCam(layer=layer, variant="ablation", relu=False), target="b")
    assert (net.stem.rows <= 2 + 2) is cheap  # the calls once, each picture once, one check
    assert (net.stem.rows >= 2 * 5) is not cheap
    for picture, found in zip(data.X, result.diagnostics["map"][:, 0], strict=True):
        features, weights = one_channel_at_a_time(net, net.get_submodule(layer), picture, 1)
        expected = np.einsum("chw,c->hw", features, weights)
        np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())
    assert result.diagnostics["channels asked"] == way
    assert result.diagnostics["evaluations"] == 2 * 5


@pytest.mark.parametrize(
    ("kind", "way"), [(Residual, "kept"), (Joined, "repeated"), (CountsRows, "repeated"), (Packed, "whole")]
)
def test_the_cheapest_way_that_agrees_is_taken(kind, way):
    data = images(1)
    model = wrap(network(kind(), seed=4)[0])
    x = torch.from_numpy(data.X)
    with differentiable(Problem(model, data, data, "b", None, torch.device("cpu")), "auto") as score:
        assert behind(score, map_layer(score, "last", x), x)[0].way == way


class Fickle(Joined):
    """Takes another way for bright pictures, and forgives a submodule that fails."""

    def __init__(self):
        super().__init__()
        self.fails = nn.Linear(1, 1)

    def forward(self, x):
        early = self.relu(self.stem(x))
        with contextlib.suppress(RuntimeError):
            self.fails(early)
        late = self.last(early)
        other = early if x.mean() > 1 else late
        return self.read(self.relu(torch.cat([late, other], dim=1)).mean(dim=(2, 3)))


def test_a_picture_that_goes_another_way_is_asked_of_the_whole_network():
    net = network(Fickle(), seed=4)[0].eval()
    X = pictures(3)
    X[1] += 1
    explainer = ex.GradCam(layer="last", variant="ablation", relu=False)
    result = ex.explain(wrap(net), ex.Dataset.from_images(X), explainer, target="b")
    assert result.diagnostics["channels asked"] == "whole network"
    for picture, found in zip(X, result.diagnostics["map"][:, 0], strict=True):
        features, weights = one_channel_at_a_time(net, net.last, picture, 1)
        np.testing.assert_allclose(found, np.einsum("chw,c->hw", features, weights), rtol=1e-3, atol=1e-6)


def test_the_way_found_for_another_picture_is_not_trusted_blindly():
    net = network(Fickle(), seed=4)[0].eval()
    X = pictures(3)
    X[1] += 1
    model, data, explainer = (
        wrap(net),
        ex.Dataset.from_images(X),
        ex.GradCam("last", variant="ablation", relu=False),
    )
    ways = []
    for row, picture in enumerate(
        X
    ):  # one after the other: the second goes another way than what is remembered of the first
        result = ex.explain(model, data, explainer, rows=[row], target="b")
        ways.append(result.diagnostics["channels asked"])
        features, weights = one_channel_at_a_time(net, net.last, picture, 1)
        wanted = np.einsum("chw,c->hw", features, weights)
        np.testing.assert_allclose(result.diagnostics["map"][0, 0], wanted, rtol=1e-3, atol=1e-6)
    assert ways == ["behind the layer", "whole network", "behind the layer"]


class LeavesEarly(nn.Module):
    """Bright pictures go through the last convolution twice."""

    def __init__(self):
        super().__init__()
        self.first, self.last, self.read = (
            nn.Conv2d(1, 4, 3, padding=1),
            nn.Conv2d(4, 4, 3, padding=1),
            nn.Linear(4, 3),
        )

    def forward(self, x):
        h = torch.relu(self.last(torch.relu(self.first(x))))
        if bool(x.mean() > 0.6):
            h = torch.relu(self.last(h))
        return self.read(h.amax((2, 3)))


@pytest.mark.parametrize("together", [True, False])
def test_a_picture_that_calls_the_layer_another_number_of_times_has_a_way_of_its_own(together):
    torch.manual_seed(0)
    net = LeavesEarly().eval()
    X = pictures(3)
    X[0] += 0.5
    X[1] *= 0.5
    data, explainer = ex.Dataset.from_images(X), ex.GradCam("last", variant="ablation", relu=False)
    alone = [
        ex.explain(wrap(copy.deepcopy(net)), data, explainer, rows=[row], target="b").values[0]
        for row in range(3)
    ]
    model = wrap(net)
    parts = [[0, 1, 2]] if together else [[0], [1], [2]]
    found = np.concatenate(
        [ex.explain(model, data, explainer, rows=rows, target="b").values for rows in parts]
    )
    assert np.abs(alone[1]).max() > 0
    np.testing.assert_allclose(found, alone, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize(
    ("kind", "least"), [(torch.float16, 0.99), (torch.bfloat16, 0.95), (torch.float64, 0.99999)]
)
@pytest.mark.parametrize("variant", ["grad-cam", "eigen", "all", "score", "ablation"])
def test_modules_in_other_number_types_have_nearly_the_same_maps(variant, kind, least):
    net = network(
        nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 3, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 3), seed=5
    )  # fmt: skip
    data, explainer = images(), ex.GradCam("1", variant=variant, relu=False)
    exact = ex.explain(wrap(net), data, explainer, target="a").values.ravel()
    found = ex.explain(wrap(copy.deepcopy(net).to(kind)), data, explainer, target="a").values.ravel()
    assert exact @ found / np.linalg.norm(exact) / np.linalg.norm(found) > least


def test_the_second_time_the_whole_network_is_asked_once():
    net = network(
        nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 3, 2), nn.ReLU(), nn.Flatten(), nn.Linear(75, 3), seed=5
    )
    model, data, explainer = wrap(net), images(), ex.GradCam(layer="1", variant="ablation")
    first, passes = net[0].forward, []
    net[0].forward = lambda x: [passes.append(1), first(x)][1]  # kept values do not come here
    maps, counts = [], []
    for _ in range(2):
        passes.clear()
        maps.append(ex.explain(model, data, explainer, rows=[0], target="a").values)
        counts.append(len(passes))
    np.testing.assert_array_equal(*maps)
    assert counts == [2, 1]


def test_an_affine_rest_needs_no_pass_per_channel():
    net = network(
        nn.Conv2d(1, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3), seed=5
    )
    data = images()
    explainer = ex.GradCam(layer="1", variant="ablation", relu=False)
    result = ex.explain(wrap(net), data, explainer, target="a")
    assert result.diagnostics["channels asked"] == "closed form"
    assert result.diagnostics["evaluations"] == 3
    for picture, found in zip(data.X, result.diagnostics["map"][:, 0], strict=True):
        features, weights = one_channel_at_a_time(net, net[1], picture, 0)
        np.testing.assert_allclose(found, np.einsum("chw,c->hw", features, weights), rtol=1e-4, atol=1e-6)
    # the same layer before a ReLU is not affine, and probabilities never are
    for other in (
        ex.GradCam(layer="0", variant="ablation"),
        ex.GradCam("1", space="probability", variant="ablation"),
    ):
        again = ex.explain(wrap(net), data, other, target="a")
        assert again.diagnostics["channels asked"] == "behind the layer"


def test_an_affine_rest_for_all_outputs():
    net = network(
        nn.Conv2d(1, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3), seed=5
    )
    every = ex.explain(wrap(net), images(), ex.GradCam(layer="1", variant="ablation"), target="all")
    for j, label in enumerate("abc"):
        one = ex.explain(wrap(net), images(), ex.GradCam(layer="1", variant="ablation"), target=label)
        np.testing.assert_allclose(every.values[..., j], one.values, rtol=1e-5, atol=1e-6)


def test_score_cam_with_plain_loops():
    net, data = plain_net(), images(2)
    result = ex.explain(wrap(net), data, ex.GradCam(layer="3", variant="score", relu=False), target="b")
    for picture, found in zip(data.X, result.diagnostics["map"][:, 0], strict=True):
        x = torch.from_numpy(picture)[None]
        with torch.no_grad():
            features = net[:4](x)[0]
            empty = net(torch.zeros_like(x))[0, 1].item()
            gains = []
            for channel in features:
                large = functional.interpolate(
                    channel[None, None], size=(8, 8), mode="bilinear", align_corners=False
                )
                flat = large.max() == large.min()
                mask = (
                    torch.zeros_like(large) if flat else (large - large.min()) / (large.max() - large.min())
                )
                gains.append(net(x * mask)[0, 1].item() - empty)
        weights = [math.exp(gain) / sum(map(math.exp, gains)) for gain in gains]
        np.testing.assert_allclose(
            found, np.einsum("chw,c->hw", features.numpy(), weights), rtol=1e-4, atol=1e-6
        )
    assert result.diagnostics["evaluations"] == 2 * 6


@pytest.mark.parametrize("variant", ["score", "ablation", "grad-cam++"])
def test_all_outputs_are_the_single_ones_side_by_side(variant):
    model, data = wrap(network(Residual(), seed=4)), images(2)
    every = ex.explain(model, data, ex.GradCam(variant=variant), target="all")
    assert every.values.shape == (2, 1, 8, 8, 3)
    for j, label in enumerate("abc"):
        one = ex.explain(model, data, ex.GradCam(variant=variant), target=label)
        np.testing.assert_allclose(every.values[..., j], one.values, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(every.output[:, j], one.output, rtol=1e-6)


@pytest.mark.parametrize("variant", ["score", "ablation", "all"])
def test_portions_and_company_do_not_matter(variant, monkeypatch):
    model, data = wrap(network(Residual(), seed=4)), images(3)
    expected = ex.explain(model, data, ex.GradCam(variant=variant, relu=False), target="b").values
    alone = ex.explain(model, data, ex.GradCam(variant=variant, relu=False), rows=[2], target="b").values
    monkeypatch.setattr(device, "CPU_CHUNK_BYTES", 1)
    ticks = []
    again = ex.explain(
        model,
        data,
        ex.GradCam(variant=variant, relu=False),
        target="b",
        progress=lambda *tick: ticks.append(tick[:2]),
    ).values
    for found, wanted in ((again, expected), (alone, expected[[2]])):
        np.testing.assert_allclose(found, wanted, atol=1e-5 * np.abs(expected).max())
    assert ticks == [(i + 1, len(ticks)) for i in range(len(ticks))]
    assert len(ticks) == (3 if variant == "all" else 3 * 4)


def test_an_in_place_activation_changes_nothing():
    layers = [nn.Conv2d(1, 3, 3), nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(64, 3)]
    for variant in (*EVERY, "all"):
        found = []
        for in_place in (True, False):
            relu = nn.ReLU(inplace=in_place)
            net = network(layers[0], relu, layers[1], relu, layers[2], layers[3], seed=6)
            result = ex.explain(
                wrap(net), images(2), ex.GradCam(layer="2", variant=variant, relu=False), target="b"
            )
            found.append(result.values)
        np.testing.assert_allclose(found[0], found[1], rtol=1e-6, atol=1e-7)


def test_channels_last_changes_nothing():
    for variant in (*EVERY, "all"):
        found = []
        for layout in (torch.contiguous_format, torch.channels_last):
            net = network(Residual(), seed=4).to(memory_format=layout)
            found.append(ex.explain(wrap(net), images(2), ex.GradCam(variant=variant), target="b").values)
        np.testing.assert_allclose(found[0], found[1], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("variant", ["hi-res", "ablation"])
def test_a_contrast_is_the_difference_of_what_is_weighed(variant):
    model, data = wrap(network(Residual(), seed=4)), images(2)
    found = [
        ex.explain(model, data, ex.GradCam(variant=variant, relu=False), target=target)
        for target in (ex.Contrast("a", "c"), "a", "c")
    ]
    sizes = [np.abs(r.output).reshape(2, 1, 1, 1) if variant == "ablation" else 1.0 for r in found]
    both, one, other = (r.values * size for r, size in zip(found, sizes, strict=True))
    np.testing.assert_allclose(both, one - other, atol=1e-4 * np.abs(one).max())


# --- nothing is left behind -----------------------------------------------------------------------------------------------


def state(module):
    return [
        (len(m._forward_hooks), len(m._forward_pre_hooks), "forward" in m.__dict__, m.training)
        for m in module.modules()
    ] + [(p.requires_grad, p.grad is None, p.detach().clone().numpy().tobytes()) for p in module.parameters()]


class Stop(Exception):
    pass


@pytest.mark.parametrize("variant", ["all", "score", "ablation"])
def test_hooks_and_modes_are_put_back_after_success_cancel_and_error(variant, monkeypatch):
    net = network(Residual(), seed=4)[0].train()
    net.relu.eval()
    net.special = "own"
    model, before = wrap(net), state(net)
    explainer = ex.GradCam(variant=variant)
    with annotations_not_executed():
        ex.explain(model, images(2), explainer, target="b")
        assert state(net) == before

        def stop(done, total, partial=None):
            raise Stop(done)

        monkeypatch.setattr(device, "CPU_CHUNK_BYTES", 1)
        with pytest.raises(Stop):
            ex.explain(model, images(2), explainer, target="b", progress=stop)
        assert state(net) == before
        calls = []

        def broken(x):
            calls.append(len(x))
            if len(calls) > 2:
                raise RuntimeError("the last layer is broken")
            return nn.Linear.forward(net.read, x)

        net.read.forward = broken
        spoilt = state(net)
        with pytest.raises(ex.ModelFailure, match="the last layer is broken"):
            ex.explain(model, images(5), explainer, target="b")
        assert state(net) == spoilt
        assert net.read.forward is broken


def test_another_network_in_the_same_module_has_another_default_layer():
    net = network(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Conv2d(2, 2, 3), nn.Flatten(), nn.Linear(32, 3))
    assert ex.explain(wrap(net), images(2), ex.GradCam(), target="a").diagnostics["layer"] == "2"
    net[1] = nn.Conv2d(2, 2, 1)
    net[2] = nn.AvgPool2d(3, stride=1)
    assert ex.explain(wrap(net), images(2), ex.GradCam(), target="a").diagnostics["layer"] == "1"


# --- tokens ---------------------------------------------------------------------------------------------------------------


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, 2, batch_first=True)
        self.widen = nn.Linear(width, width)

    def forward(self, x):
        y = self.norm1(x)
        x = x + self.attention(y, y, y, need_weights=False)[0]
        return x + functional.gelu(self.widen(self.norm2(x)))


class Transformer(nn.Module):
    """Patches, a class token, two blocks, and a score read from the class token."""

    def __init__(self, block=Block):
        super().__init__()
        self.patches = nn.Conv2d(1, 6, 2, stride=2)
        self.first = nn.Parameter(torch.full((1, 1, 6), 0.3))
        self.blocks = nn.Sequential(block(6), block(6))
        self.norm = nn.LayerNorm(6)
        self.read = nn.Linear(6, 3)

    def forward(self, x):
        tokens = self.patches(x).flatten(2).mT
        tokens = torch.cat([self.first.expand(len(tokens), -1, -1), tokens], dim=1)
        return self.read(self.norm(self.blocks(tokens))[:, 0])


def built_in(width):
    return nn.TransformerEncoderLayer(width, 2, 12, 0.0, batch_first=True, norm_first=True)


@pytest.mark.parametrize(("block", "kind"), [(Block, "norm1"), (built_in, "norm1")])
def test_a_transformer_is_read_before_its_last_attention(block, kind):
    net, data = network(Transformer(block), seed=9)[0].eval(), images(2)
    result = ex.explain(wrap(net), data, ex.GradCam(relu=False, variant="all"), target="b")
    assert result.diagnostics["layer"] == f"blocks.1.{kind}"
    assert result.diagnostics["map"].shape == (2, 6, 4, 4)
    layer = net.get_submodule(f"blocks.1.{kind}")
    for picture, found in zip(data.X, result.diagnostics["map"], strict=True):
        tokens, slopes = (part[1:].T.reshape(6, 4, 4) for part in at_layer(net, layer, picture, 1))
        for i, variant in enumerate(SLOPED):
            expected = PLAIN[variant](tokens, slopes)
            np.testing.assert_allclose(
                found[i], expected, atol=1e-4 * np.abs(expected).max(), err_msg=variant
            )


@pytest.mark.parametrize("block", [Block, built_in])
def test_the_channels_of_tokens_are_left_out_one_by_one(block):
    net, data = network(Transformer(block), seed=9)[0].eval(), images(2)
    result = ex.explain(wrap(net), data, ex.GradCam(relu=False, variant="ablation"), target="b")
    layer = net.get_submodule(result.diagnostics["layer"])
    for picture, found in zip(data.X, result.diagnostics["map"][:, 0], strict=True):
        tokens, weights = one_channel_at_a_time(net, layer, picture, 1, axis=2)
        expected = (tokens[1:] @ np.array(weights)).reshape(4, 4)
        np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())
    assert result.diagnostics["channels asked"] == "behind the layer"


def test_all_outputs_of_a_transformer():
    model = wrap(network(Transformer(), seed=9))
    every = ex.explain(model, images(2), ex.GradCam(), target="all")
    for j, label in enumerate("abc"):
        one = ex.explain(model, images(2), ex.GradCam(), target=label)
        np.testing.assert_allclose(every.values[..., j], one.values, atol=1e-6)


@pytest.mark.parametrize(
    ("tokens", "size", "grid"),
    [
        (197, (224, 224), (14, 14)),
        (196, (224, 224), (14, 14)),
        (198, (224, 224), None),
        (8, (16, 32), (2, 4)),
        (9, (16, 32), (2, 4)),
        (32, (64, 16), None),
        (36, (96, 24), (12, 3)),
        (1, (8, 8), None),
        (2, (8, 8), None),
    ],
)
def test_tokens_lie_on_a_grid_in_the_pictures_proportions(tokens, size, grid):
    assert token_grid(tokens, size) == grid


@pytest.mark.parametrize(
    ("after", "together"),
    [
        (nn.Conv2d(5, 4, 3, padding=1), True),
        (nn.Conv2d(5, 4, (3, 2), stride=2, padding=(1, 0), dilation=(1, 2), bias=False), True),
        (nn.Conv2d(5, 5, 3, groups=5), False),
        (nn.Conv2d(5, 4, 3, padding="same"), False),
        (nn.Sequential(nn.ReLU(inplace=True), nn.Conv2d(5, 4, 3)), False),
    ],
    ids=["plain", "strided", "grouped", "same", "in place before"],
)
def test_a_convolution_behind_the_layer_is_asked_for_all_channels_together(monkeypatch, after, together):
    net = network(
        nn.Conv2d(1, 5, 3), after, nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.LazyLinear(3), seed=7
    )
    data = images(2)
    with torch.no_grad():
        net(torch.from_numpy(data.X))
    convolved, seen = OneLess._convolved, []
    monkeypatch.setattr(OneLess, "_convolved", lambda *a: seen.append(convolved(*a)) or seen[-1])
    found = ex.explain(wrap(net), data, ex.GradCam(layer="0", variant="ablation", relu=False), target="b")
    assert found.diagnostics["channels asked"] == "behind the layer"
    assert any(one is not None for one in seen) is together
    for picture, own in zip(data.X, found.diagnostics["map"][:, 0], strict=True):
        features, weights = one_channel_at_a_time(net, net[0], picture, 1)
        expected = np.einsum("chw,c->hw", features, weights)
        np.testing.assert_allclose(own, expected, atol=1e-4 * np.abs(expected).max())
