"""Feature visualisation: pictures against closed forms of linear models, planted patterns, and what must be refused."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import nn

import explainers as ex
from explainers.gradients.ascent.climb import Adam, similarity, turned, variation
from explainers.gradients.ascent.picture_space import PictureSpace, softened
from tests.cases import (
    annotations_not_executed,
    cnn_three_classes,
    cnn_two_classes,
    network,
    pictures,
    planted_patches,
)

STILL = {"total_variation": 0, "l2": 0, "jitter": 0.0, "zoom": 0.0, "rotation": 0.0}


def run(model, data, rows=None, target=None, progress=None, **settings):
    explainer = ex.FeatureVisualization(**settings)
    return ex.explain(model, data, explainer, rows, target, device="cpu", progress=progress)


def linear(seed: int = 0, shape: tuple[int, ...] = (2, 4, 5), outputs: int = 3):
    """Scores that are weighted sums of pixels, their weights ``(k, c, h, w)``, and pictures with a range for each channel."""
    module = network(nn.Flatten(), nn.Linear(int(np.prod(shape)), outputs), seed=seed)
    weights = module[1].weight.detach().numpy().reshape(outputs, *shape)
    X = np.random.default_rng(seed).uniform([[[0]], [[-2]]], [[[1]], [[5]]], (30, *shape)).astype(np.float32)
    return ex.Model.wrap(module, classes=tuple("abcdef"[:outputs])), ex.Dataset.from_images(X), weights


# --- closed forms -----------------------------------------------------------------------------------------------------


def test_of_a_linear_model_every_pixel_goes_to_the_end_that_its_weight_says():
    model, data, weights = linear()
    result = run(model, data, target="all", parameterisation="pixels", steps=30, **STILL)
    low, high = data.X.min(axis=(0, 2, 3))[:, None, None], data.X.max(axis=(0, 2, 3))[:, None, None]
    np.testing.assert_allclose(result.pictures[:, 0], np.where(weights > 0, high, low), atol=1e-5)
    best = model.raw(result.pictures[:, 0])
    np.testing.assert_allclose(result.activation[:, 0], np.diag(best), rtol=1e-5)
    assert result.names == result.targets == ("a", "b", "c")
    assert result.space == "raw"


@pytest.mark.parametrize("parameterisation", ["pixels", "fourier"])
def test_of_a_linear_model_a_square_penalty_has_its_optimum_in_closed_form(parameterisation):
    """The slope w (high - low) / σ of each pixel meets that of the penalty, 2 l2 (u - mean) / pixels."""
    model, data, weights = linear(seed=3)
    low, high = data.X.min(axis=(0, 2, 3))[:, None, None], data.X.max(axis=(0, 2, 3))[:, None, None]
    slope = weights[1] * (high - low) / model.raw(data.X)[:, 1].std()
    colour = ((data.X.mean(axis=0) - low) / (high - low)).mean(axis=(1, 2), keepdims=True)
    wanted = np.clip(colour + slope * slope.size / (2 * 40.0), 0, 1)
    assert 0.1 < ((wanted > 0) & (wanted < 1)).mean() < 1
    more = {**STILL, "l2": 40.0, "rate": 0.1}
    result = run(model, data, target="b", parameterisation=parameterisation, steps=80, **more)
    inside = (wanted > 0.05) & (wanted < 0.95)  # coefficients reach the ends only in the long run
    found = (result.pictures[0, 0] - low) / (high - low)
    np.testing.assert_allclose(found[inside], wanted[inside], atol=0.02)
    if parameterisation == "pixels":
        np.testing.assert_allclose(found, wanted, atol=0.02)


def test_a_contrast_of_a_linear_model_follows_the_difference_of_weights():
    model, data, weights = linear(seed=1)
    target = ex.Contrast("a", "c")
    result = run(model, data, target=target, parameterisation="pixels", steps=30, **STILL)
    low, high = data.X.min(axis=(0, 2, 3))[:, None, None], data.X.max(axis=(0, 2, 3))[:, None, None]
    np.testing.assert_allclose(result.pictures[0, 0], np.where(weights[0] > weights[2], high, low), atol=1e-5)
    assert result.targets == (target,)


def test_a_place_in_a_channel_drives_its_window_and_nothing_else():
    net = network(
        nn.Conv2d(1, 3, 3, bias=False), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(108, 2), seed=5
    )
    kernel = net[0].weight.detach().numpy()[2, 0]
    data = ex.Dataset.from_images(pictures(8))
    result = run(
        ex.Model.wrap(net, classes=("a", "b")), data, layer="0", channel=2, position=(1, 4), steps=30,
        parameterisation="pixels", start="mean", **STILL,
    )  # fmt: skip
    picture, start = result.pictures[0, 0, 0], data.X.mean(axis=0)[0]
    np.testing.assert_allclose(picture[1:4, 4:7], np.where(kernel > 0, data.X.max(), data.X.min()), atol=1e-5)
    outside = np.ones((8, 8), dtype=bool)
    outside[1:4, 4:7] = False
    np.testing.assert_allclose(picture[outside], start[outside], atol=0.03)
    # before the ReLU that works in place: its lowest response is negative
    np.testing.assert_allclose(result.activation[0, 0], (picture[1:4, 4:7] * kernel).sum(), rtol=1e-5)
    assert result.names == ("channel 2 at (1, 4)",)
    assert result.space == "activation"
    assert result.diagnostics["layer"] == "0"


def test_all_channels_of_a_layer_at_once_are_what_each_is_alone():
    case = cnn_three_classes()
    together = run(case.model, case.data, layer="3", steps=5, samples=2)
    assert together.names == tuple(f"channel {j}" for j in range(4))
    alone = run(case.model, case.data, channel=1, steps=5, samples=2)
    np.testing.assert_allclose(together.pictures[1], alone.pictures[0], atol=1e-5)
    np.testing.assert_allclose(together.history[1], alone.history[0], atol=1e-5)
    maps = case.model.module[:4].eval()(torch.tensor(alone.pictures[0])).detach().numpy()
    case.model.module.train()[1].eval()
    np.testing.assert_allclose(alone.activation[0], maps[:, 1].mean(axis=(1, 2)), atol=1e-5)


def test_a_feature_of_a_dense_layer_is_a_channel():
    model, data, weights = linear(outputs=4)
    result = run(model, data, layer="1", channel=3, parameterisation="pixels", steps=30, **STILL)
    np.testing.assert_allclose(
        result.pictures[0, 0] > data.X.mean(axis=(0, 2, 3))[:, None, None], weights[3] > 0
    )


# --- planted truth ----------------------------------------------------------------------------------------------------

PATTERN = np.array([[1, -1, 1, -1], [1, 1, -1, -1], [-1, 1, 1, 1], [-1, -1, 1, -1]], dtype=np.float32)


class Finder(nn.Module):
    """The second class is there as far as the pattern is somewhere in the picture."""

    def __init__(self) -> None:
        super().__init__()
        self.look = nn.Conv2d(1, 1, 4)
        self.fire = nn.Softplus()
        with torch.no_grad():
            self.look.weight.copy_(torch.tensor(PATTERN)[None, None])
            self.look.bias.fill_(-1.0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found = self.fire(self.look(x)).amax(dim=(1, 2, 3))
        return torch.stack([-found, found], dim=1)


def best_match(picture: np.ndarray) -> float:
    """The highest correlation of the pattern with any patch of ``(h, w)``."""
    places = itertools.product(range(picture.shape[0] - 3), range(picture.shape[1] - 3))
    return max(np.corrcoef(picture[i : i + 4, j : j + 4].ravel(), PATTERN.ravel())[0, 1] for i, j in places)


@pytest.mark.parametrize(
    "settings", [{}, {"parameterisation": "pixels"}, {"blur": 0.05, "start": "mean"}], ids=str
)
def test_the_picture_of_a_class_shows_the_planted_pattern(settings):
    model = ex.Model.wrap(Finder(), classes=("none", "pattern"))
    data = ex.Dataset.from_images(pictures(30, side=12))
    result = run(model, data, steps=40, **settings)
    assert best_match(result.pictures[0, 0, 0]) > 0.7
    assert result.activation[0, 0] > result.example_activation[0, 0]
    assert result.activation[0, 0] > model.raw(pictures(200, side=12, seed=9))[:, 1].max()
    assert result.diagnostics["notes"] == ()


@pytest.mark.parametrize("settings", [{}, {"layer": "3", "channel": 2}], ids=str)
def test_the_response_rises_above_random_pictures(settings):
    case = cnn_three_classes()
    result = run(case.model, case.data, target=None if settings else "b", steps=20, **settings)
    assert (result.activation > result.start).all()
    if not settings:
        low, high = case.data.X.min(axis=(0, 2, 3)), case.data.X.max(axis=(0, 2, 3))
        drawn = low[:, None, None] + (high - low)[:, None, None] * pictures(200, channels=3, seed=8)
        assert result.activation[0, 0] > case.model.raw(drawn)[:, 1].max()


def test_the_real_pictures_beside_are_those_of_the_highest_response():
    case = cnn_three_classes()
    result = run(case.model, case.data, target="all", steps=1, examples=3)
    raw = case.model.raw(case.data.X)
    np.testing.assert_array_equal(result.examples, np.argsort(-raw, axis=0)[:3].T)
    np.testing.assert_allclose(result.example_activation, -np.sort(-raw, axis=0)[:3].T, rtol=1e-5)
    few = run(case.model, case.data, target="a", steps=1, candidates=2, seed=4)
    assert few.examples.shape == (1, 2)
    assert few.diagnostics["searched"] == 2
    assert any("A real picture drives 'a'" in note for note in run(case.model, case.data, target="a", steps=1, rate=1e-6).diagnostics["notes"])  # fmt: skip


def test_without_a_target_the_predicted_classes_are_shown():
    case = cnn_three_classes()
    predicted = sorted(set(case.model.predict(case.data.X).argmax(axis=1)))
    result = run(case.model, case.data, steps=1)
    assert result.targets == tuple(case.model.classes[j] for j in predicted)


# --- the parts --------------------------------------------------------------------------------------------------------


def test_the_mean_picture_is_where_the_mean_start_begins():
    X = np.random.default_rng(0).uniform(0.2, 0.8, (20, 3, 6, 5)).astype(np.float32)
    X[0, :, 0, 0], X[1, :, 0, 0] = -1.0, 3.0
    for kind in ("pixels", "fourier"):
        space = PictureSpace.of(X, kind, torch.device("cpu"))
        shown = space.values(space.shares(space.first("mean", 2, 0))).numpy()
        np.testing.assert_allclose(shown, np.broadcast_to(X.mean(axis=0), shown.shape), atol=0.15)
        assert not np.array_equal(shown[0], shown[1])
    share = (space.mean.clamp(0.02, 0.98))[None]
    np.testing.assert_allclose(space.shares(space._written(space.mean)[None]), share, atol=1e-5)


def test_penalties_follow_their_formulas():
    u = torch.rand(4, 2, 5, 6, generator=torch.Generator().manual_seed(0))
    plain = []
    for picture in u.numpy():
        lengths = []
        for c, i, j in np.ndindex(picture.shape):
            down = picture[c, i + 1, j] - picture[c, i, j] if i < 4 else 0.0
            across = picture[c, i, j + 1] - picture[c, i, j] if j < 5 else 0.0
            lengths.append(np.sqrt(down**2 + across**2 + 1e-4) - 1e-2)
        plain.append(np.mean(lengths))
    np.testing.assert_allclose(variation(u), plain, rtol=1e-4)
    flat = u.numpy().reshape(2, 2, -1)
    cosine = [(a @ b) / np.linalg.norm(a) / np.linalg.norm(b) for a, b in flat]
    np.testing.assert_allclose(similarity(u, 2), np.repeat(cosine, 2), rtol=1e-5)


def test_moves_keep_what_they_should():
    u = torch.tensor(pictures(1, side=9))
    np.testing.assert_allclose(turned(u, 1.0, 0.0), u, atol=1e-6)
    quarter = turned(u, 1.0, np.pi / 2)
    assert min(np.abs(quarter[0, 0].numpy() - np.rot90(u[0, 0].numpy(), k)).max() for k in (1, 3)) < 1e-5
    wide = torch.zeros(1, 1, 6, 12)
    wide[0, 0, 2:4, 5:7] = 1.0  # a square in the middle stays one in pixels that are square
    np.testing.assert_allclose(turned(wide, 1.0, np.pi / 2)[..., 3:9], wide[..., 3:9], atol=1e-5)
    larger = turned(wide, 2.0, 0.0)
    assert float(larger.sum()) == pytest.approx(16, rel=0.1)
    np.testing.assert_allclose(softened(u, 1.5).mean(), u.mean(), rtol=1e-5)
    assert softened(u, 1.5).std() < 0.5 * u.std()


def test_steps_do_not_depend_on_the_size_of_the_response():
    slope = torch.randn(2, 7, generator=torch.Generator().manual_seed(2))
    small, large = (Adam(slope, 0.1, 4) for _ in range(2))
    for _ in range(3):
        np.testing.assert_allclose(small.step(slope * 1e-9), large.step(slope * 1e6), rtol=1e-4)
    assert not Adam(slope, 0.1, 4).step(torch.zeros(2, 7)).any()


def test_diversity_makes_pictures_less_alike():
    case = cnn_three_classes()
    alike = []
    for weight in (0.0, 100.0):
        result = run(case.model, case.data, target="a", steps=20, samples=3, diversity=weight)
        away = torch.tensor(result.pictures[0] - case.data.X.mean(axis=0))
        alike.append(float(similarity(away, 3).mean()))
    assert alike[1] < alike[0] - 0.1


# --- the same again, stopped, shown on the way ------------------------------------------------------------------------


def test_a_seed_decides_everything():
    case = cnn_two_classes()
    first, again, other = (run(case.model, case.data, steps=4, samples=2, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.pictures, again.pictures)
    np.testing.assert_array_equal(first.history, again.history)
    assert np.abs(first.pictures - other.pictures).max() > 1e-4
    assert np.abs(first.pictures[0, 0] - first.pictures[0, 1]).max() > 1e-4


class Enough(Exception):
    """What a caller raises to stop."""


@pytest.mark.parametrize("settings", [{}, {"layer": "3"}], ids=str)
def test_a_cancel_leaves_module_and_hooks_as_they_were(settings):
    case = cnn_three_classes()
    before = {key: value.clone() for key, value in case.model.module.state_dict().items()}
    modes = [part.training for part in case.model.module.modules()]
    seen = []

    def stop(done, total, partial=None):
        seen.append((done, total))
        if len(seen) == 4:
            raise Enough

    with pytest.raises(Enough):
        run(case.model, case.data, progress=stop, steps=9, **settings)
    assert seen[-1][0] < seen[-1][1]
    assert [part.training for part in case.model.module.modules()] == modes
    assert not any(part._forward_hooks for part in case.model.module.modules())
    assert all(torch.equal(value, before[key]) for key, value in case.model.module.state_dict().items())
    assert all(p.requires_grad and p.grad is None for p in case.model.module.parameters())


def test_pictures_so_far_are_shown_and_can_be_sent():
    from dashboard.workers import answers, codec

    case = cnn_three_classes()
    shown = []

    def look(done, total, partial=None):
        assert 0 < done <= total
        shown.extend([] if partial is None else [partial])

    result = run(case.model, case.data, progress=look, steps=10, samples=2, target="all")
    assert len(shown) >= 4
    shares = [partial.diagnostics["share of steps"] for partial in shown]
    assert shares == sorted(shares)
    assert 0 < shares[0] < 1
    assert np.isnan(shown[0].history[0, 0, -1])
    for found in (shown[0], result):
        back = codec.unpack(*codec.pack(found))
        assert answers.explained(back, ex.Visualizations)
        np.testing.assert_array_equal(back.pictures, found.pictures)
    wrong = {"pictures": result.pictures[0], "examples": -1 - result.examples, "start": result.start[:1]}
    for name, value in wrong.items():
        broken = ex.Visualizations(**{**vars(result), name: value})
        assert not answers.explained(broken, ex.Visualizations), name
    table = result.to_frame()
    assert list(table["kind"].value_counts()[["made", "real"]]) == [6, 12]


def test_an_onnx_file_has_the_pictures_of_the_network_it_came_from():
    from onnx_models import export

    from explainers.onnx import OnnxModule, read_graph

    net = network(nn.Conv2d(1, 2, 3), nn.Tanh(), nn.Flatten(), nn.Linear(72, 2), seed=4).eval()
    twin = OnnxModule(read_graph(export(net, (1, 8, 8), default=False)))
    data = ex.Dataset.from_images(pictures())
    made = [
        run(ex.Model.wrap(module, classes=("a", "b"), output="raw"), data, steps=5).pictures
        for module in (net, twin)
    ]
    np.testing.assert_allclose(made[0], made[1], atol=1e-4)


def test_layers_are_listed_with_their_channels_also_of_a_file():
    from onnx_models import export

    from explainers.gradients.ascent.units import channel_layers
    from explainers.onnx import OnnxModule, read_graph

    attention = nn.MultiheadAttention(4, 1)  # holds a dense layer that is never called
    layers = (nn.Conv2d(1, 2, 3), nn.Tanh(), nn.Flatten(), nn.Linear(72, 5), nn.Linear(5, 3))
    net = network(*layers, seed=4).eval()
    assert channel_layers(net) == (("0", 2), ("3", 5), ("4", 3))
    assert channel_layers(nn.ModuleDict({"a": attention})) == ()
    twin = OnnxModule(read_graph(export(net, (1, 8, 8), default=False)))
    assert [count for _, count in channel_layers(twin)] == [2, 5, 3]
    data = ex.Dataset.from_images(pictures())
    for name, count in channel_layers(twin):
        result = run(ex.Model.wrap(twin, classes=tuple("abc"), output="raw"), data, layer=name, steps=1)
        assert len(result.names) == count


# --- refused, or said -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"layer": "3", "channel": 4}, "layer '3' has no channel 4; it has the channels 0..3"),
        ({"layer": "3", "channel": 0, "position": (3, 0)}, r"\(3, 0\) lies outside the map .* rows 0..2 and columns 0..2"),
        ({"layer": "7", "channel": 0, "position": (0, 1)}, "rows 0..0 and columns 0..0"),
        ({"layer": "third"}, "no layer 'third'; the convolutions are '0', '3'"),
        ({"position": (0, 0)}, "name the channel or its layer too"),
        ({"channel": 0, "target": "a"}, "A channel has no target; got target='a'"),
        ({"rows": []}, "no cases to explain"),
        ({"space": "probability", "target": "d"}, "no class 'd'"),
    ],
)  # fmt: skip
def test_what_is_refused(settings, sentence):
    case = cnn_three_classes()
    with pytest.raises(ex.InvalidSetting, match=sentence):
        run(case.model, case.data, **settings)
    assert not any(part._forward_hooks for part in case.model.module.modules())


@pytest.mark.parametrize("place", [(1,), (1, 2, 3), "12", (0.5, 1), [1, 2]], ids=repr)
def test_a_position_is_two_whole_numbers(place):
    with annotations_not_executed(), pytest.raises(ex.InvalidSetting, match="two whole numbers; got"):
        ex.FeatureVisualization(channel=0, position=place)


def test_pictures_are_those_of_the_data_also_behind_a_preparation():
    model, data, weights = linear(seed=2)
    behind = model.prepared(ex.Preparation(scale=3.0, mean=(1.0, 2.0), std=(0.5, 2.0)))
    result = run(behind, data, target="b", parameterisation="pixels", steps=30, **STILL)
    low, high = data.X.min(axis=(0, 2, 3))[:, None, None], data.X.max(axis=(0, 2, 3))[:, None, None]
    np.testing.assert_allclose(result.pictures[0, 0], np.where(weights[1] > 0, high, low), atol=1e-5)
    np.testing.assert_allclose(result.activation[0], behind.raw(result.pictures[0])[:, 1], rtol=1e-4)


def test_memory_that_runs_out_makes_portions_smaller(monkeypatch):
    case = cnn_three_classes()
    expected = run(case.model, case.data, layer="3", steps=3)
    step, sizes = Adam.step, []

    def tight(self, slope):
        sizes.append(len(slope))
        if len(slope) > most:
            raise MemoryError
        return step(self, slope)

    monkeypatch.setattr(Adam, "step", tight)
    most = 2
    found = run(case.model, case.data, layer="3", steps=3)
    assert sizes == [4] + [2] * 6
    np.testing.assert_allclose(found.pictures, expected.pictures, atol=1e-5)
    most = 0
    with pytest.raises(ex.OutOfMemory, match="Use fewer samples"):
        run(case.model, case.data, layer="3", steps=3)


def test_a_layer_that_gives_nan_is_refused():
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.look = nn.Conv2d(1, 1, 3)
            self.log = nn.LogSigmoid()

        def forward(self, x):
            return torch.nan_to_num(self.log(self.look(x) * torch.nan)).mean(dim=(1, 2, 3))

    model, data = ex.Model.wrap(network(Odd(), seed=1)), ex.Dataset.from_images(pictures())
    with pytest.raises(ex.ModelFailure, match=r"layer '0\.log' gave NaN or infinity"):
        run(model, data, layer="0.log", steps=2)


def test_an_answer_without_a_gradient_is_refused():
    class Cut(nn.Module):
        def forward(self, x):
            return x.detach().mean(dim=(1, 2, 3))

    with pytest.raises(ex.ModelFailure, match="no gradient"):
        run(ex.Model.wrap(Cut()), ex.Dataset.from_images(pictures()), steps=2)


def test_a_start_without_a_slope_is_said():
    model, data, _ = planted_patches(10)
    result = run(model, data, steps=3, **STILL)
    assert any("gives no slope for 'patch'" in note for note in result.diagnostics["notes"])
    np.testing.assert_array_equal(result.activation, result.start)
