"""Scrambled weights: maps that follow the model change, maps that follow the picture do not, and the model stays as it was."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import explainers as ex
from explainers.quality import scrambling
from explainers.quality.random_maps import rank_correlation
from explainers.quality.scrambling import Scrambled, weighted_layers
from tests.cases import (
    annotations_not_executed,
    black_box_pictures,
    cnn_three_classes,
    cnn_two_classes,
    mlp_one_logit,
    network,
    pictures,
)
from tests.explainers.onnx_models import build, export


@dataclass(frozen=True)
class Edges(ex.Explainer):
    """A map that only looks at the picture: how much brighter a pixel is than the one beside it."""

    title: ClassVar[str] = "Edges"
    question: ClassVar[str] = "Where are edges?"
    scope: ClassVar[str] = "case"
    modalities: ClassVar[tuple[str, ...]] = ("image",)
    returns: ClassVar[type[ex.Explanation]] = ex.Attribution
    paper: ClassVar[str] = "none"

    def explain(self, problem, progress):
        X = np.asarray(problem.cases.X, dtype=np.float64)
        output = problem.of_targets(problem.predictions)
        return ex.Attribution(
            names=("picture",), values=np.abs(X - np.roll(X, 1, axis=3)).sum(axis=1, keepdims=True),
            base_value=np.full(output.shape, np.nan), output=output, space=problem.model.space,
            targets=problem.target_labels,
        )  # fmt: skip


def bars(n: int = 64, side: int = 8, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Noise with a bright bar: upright (class 0) or lying (class 1)."""
    rng = np.random.default_rng(seed)
    X = rng.uniform(0, 0.3, (n, 1, side, side)).astype(np.float32)
    y = np.arange(n) % 2
    for i, place in enumerate(rng.integers(1, side - 1, n)):
        X[i, 0, *((slice(None), place) if y[i] == 0 else (place, slice(None)))] += 0.7
    return X, y


@pytest.fixture(scope="module")
def trained() -> tuple[ex.Model, ex.Dataset]:
    """A small network that tells upright from lying bars."""
    X, y = bars()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = nn.Sequential(
            nn.Conv2d(1, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, 8, 3, padding=1), nn.ReLU(inplace=True),
            nn.AdaptiveMaxPool2d(2), nn.Flatten(), nn.Linear(32, 2),
        )  # fmt: skip
        weights = list(module.parameters())
        moved = [torch.zeros_like(w) for w in weights]
        for _ in range(60):
            loss = nn.functional.cross_entropy(module(torch.from_numpy(X)), torch.from_numpy(y))
            for w, m, slope in zip(weights, moved, torch.autograd.grad(loss, weights), strict=True):
                m.mul_(0.9).sub_(0.1 * slope)
                w.data.add_(m)
    model, data = ex.Model.wrap(module, classes=("upright", "lying")), ex.Dataset.from_images(X, y)
    assert (model.predict(X).argmax(axis=1) == y).mean() > 0.9
    return model, data


# --- the verdict ------------------------------------------------------------------------------------------------------


def test_the_gradient_of_a_trained_network_changes(trained):
    found = ex.randomisation_check(*trained, ex.Saliency(), range(6), stages=3)
    assert found.sentence == "The map changes when the weights are scrambled."
    assert found.changes is True
    assert found.similarity[-1] <= found.floor_95 < 0.5
    assert 0 < found.floor_mean < found.floor_95
    assert found.correlations.shape == (3, 3, 6)
    assert found.layers == (("6",), ("2",), ("0",))


def test_a_map_of_edges_does_not_change(trained):
    found = ex.randomisation_check(*trained, Edges(), range(4), stages=3, repeats=2)
    np.testing.assert_allclose(found.correlations, 1.0)
    assert found.among == pytest.approx(1.0)
    assert found.changes is False
    assert found.sentence.startswith("The map hardly changes when the weights are scrambled")
    assert found.floor_95 < 0.5


def test_absolute_maps_of_input_x_gradient_would_say_nothing():
    """Why signs are kept: on pictures with a dark ground the sizes agree whatever the weights are."""
    X = np.zeros((4, 1, 12, 12), dtype=np.float32)
    X[:, :, 3:8, 4:9] = np.random.default_rng(0).uniform(0.5, 1, (4, 1, 5, 5))
    module = network(nn.Conv2d(1, 8, 3, padding=1), nn.Tanh(), nn.Flatten(), nn.Linear(1152, 2), seed=5)
    model, data = ex.Model.wrap(module, classes=("a", "b")), ex.Dataset.from_images(X)
    other = Scrambled(model, data, 0, 0)
    other.scramble(other.layers)
    maps = [ex.explain(m, data, ex.InputXGradient(), target="b").values for m in (model, other.model)]
    sizes = np.mean([rank_correlation(np.abs(a), np.abs(b)) for a, b in zip(*maps, strict=True)])
    signed = np.mean([abs(rank_correlation(a, b)) for a, b in zip(*maps, strict=True)])
    assert sizes > 0.9
    assert signed < 0.6


def test_a_map_that_only_turns_its_sign_round_has_not_changed():
    """One linear layer with one weight: whatever it becomes, the map is plus or minus the picture."""

    class Scale(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.full((1, 1), 2.0))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.sum(dim=(1, 2, 3)) * self.weight[0, 0]

    data = ex.Dataset.from_images(pictures(3))
    found = ex.randomisation_check(
        ex.Model.wrap(Scale()), data, ex.InputXGradient(), range(3), repeats=8, stages=1
    )
    assert {-1, 1} == set(np.sign(found.correlations).ravel())
    np.testing.assert_allclose(found.similarity, 1.0)
    assert found.changes is False


def test_in_between_is_said_too():
    floor = np.linspace(0, 0.2, 40)
    said = {}
    for rho in (0.1, 0.35, 0.7):
        found = ex.Randomisation((("a",),), np.full((1, 2, 3), -rho), floor, 0.0, ("x",) * 3)
        said[rho] = found.changes
        assert found.similarity == pytest.approx([rho])
    assert said == {0.1: True, 0.35: None, 0.7: False}
    assert "in part" in ex.Randomisation((("a",),), np.full((1, 1, 1), 0.35), floor, 0.0, ("x",)).sentence


def test_a_slow_second_implementation_agrees(trained):
    """Every stage again, one row at a time: scramble a new copy that far, explain, correlate."""
    model, data = trained
    found = ex.randomisation_check(model, data, ex.InputXGradient(), [3, 0], stages=2, repeats=2)
    layers = [layer for stage in found.layers for layer in stage]
    assert layers == ["6", "2", "0"]
    for repeat in range(2):
        for stage in range(2):
            copy = Scrambled(model, data, 0, repeat)
            for done in found.layers[: stage + 1]:
                copy.scramble(done)
            for i, row in enumerate((3, 0)):
                maps = [
                    ex.explain(m, data, ex.InputXGradient(), [row], found.targets[i]).values.sum(axis=1)
                    for m in (model, copy.model)
                ]
                expected = np.corrcoef([pd.Series(m.ravel()).rank() for m in maps])[0, 1]
                assert found.correlations[stage, repeat, i] == pytest.approx(expected, abs=1e-3)


def test_the_table_holds_every_correlation():
    correlations = np.random.default_rng(0).normal(size=(2, 3, 4))
    found = ex.Randomisation((("c", "b"), ("a",)), correlations, np.zeros(2), 0.0, ("x",) * 4)
    table = found.to_frame()
    assert len(table) == 24
    one = table[(table["stage"] == 1) & (table["repeat"] == 2) & (table["row"] == 3)]
    assert one["correlation"].item() == correlations[1, 2, 3]
    assert one["layers_scrambled"].item() == 3


def test_each_row_keeps_the_target_of_the_original(trained):
    _, data = trained
    module = network(nn.Conv2d(1, 3, 3), nn.Tanh(), nn.Flatten(), nn.Linear(108, 3), seed=3)
    three = ex.Model.wrap(module, classes="abc")
    found = ex.randomisation_check(three, data, ex.Saliency(), range(8), repeats=1)
    assert found.targets == tuple("abc"[i] for i in three.predict(data.X[:8]).argmax(axis=1))
    assert np.isnan(found.among)
    contrast = ex.randomisation_check(three, data, ex.Saliency(), [0], ex.Contrast("a", "b"), repeats=1)
    assert contrast.targets == (ex.Contrast("a", "b"),)


# --- the copy ---------------------------------------------------------------------------------------------------------


def test_the_models_own_weights_modes_and_hooks_are_untouched():
    case = cnn_three_classes()
    module = case.model.module
    before = {name: value.clone() for name, value in module.state_dict().items()}
    modes = [child.training for child in module.modules()]
    state = torch.get_rng_state()
    ex.randomisation_check(case.model, case.data, ex.GradCam(), [0, 1], repeats=1)
    for name, value in module.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert [child.training for child in module.modules()] == modes
    assert all(p.requires_grad for p in module.parameters())
    assert not any(child._forward_hooks for child in module.modules())
    assert torch.equal(torch.get_rng_state(), state)


def test_what_is_scrambled_and_how():
    case = cnn_three_classes()
    copy = Scrambled(case.model, case.data, 0, 0)
    assert copy.layers == ("7", "3", "1", "0")
    copy.scramble(copy.layers[:1])
    own, other = case.model.module.state_dict(), copy.model.module.state_dict()
    changed = {name for name in own if not torch.equal(own[name], other[name])}
    assert changed == {"7.weight", "7.bias"}
    size = [float(state["7.weight"].square().mean().sqrt()) for state in (own, other)]
    assert size[1] == pytest.approx(size[0], rel=0.2)
    assert sorted(own["7.bias"].tolist()) == sorted(other["7.bias"].tolist())
    copy.scramble(copy.layers[1:])
    other = copy.model.module.state_dict()
    for name in ("0.weight", "3.weight"):
        assert np.abs(np.corrcoef(own[name].ravel(), other[name].ravel())[0, 1]) < 0.5
    assert torch.equal(own["1.running_mean"], other["1.running_mean"])


def test_shared_weights_are_scrambled_once():
    shared = nn.Linear(4, 4)
    module = nn.Sequential(nn.Flatten(), shared, nn.ReLU(), nn.Sequential(shared))
    model = ex.Model.wrap(module)
    copy = Scrambled(model, ex.Dataset.from_images(pictures(2, side=2)), 0, 0)
    copy.scramble(copy.layers)
    assert copy.model.module[1].weight is copy.model.module[3][0].weight
    tied = nn.Linear(4, 4, bias=False)
    tied.weight = shared.weight
    both = weighted_layers(nn.Sequential(shared, tied))
    assert list(both) == ["1", "0"]
    assert both["1"][0] is both["0"][0]


@pytest.mark.parametrize("space", ["raw", "probability"])
def test_the_copy_answers_in_the_same_spaces(space):
    for case in (cnn_three_classes(), cnn_two_classes()):
        same = Scrambled(case.model, case.data, 0, 0).model  # not scrambled yet
        np.testing.assert_allclose(same.predict(case.data.X), case.model.predict(case.data.X), atol=1e-6)
        assert (same.classes, same.space, same.abilities) == (
            case.model.classes,
            case.model.space,
            case.model.abilities,
        )
        ours, theirs = (ex.explain(m, case.data, ex.Saliency(space=space), [0]) for m in (same, case.model))
        np.testing.assert_allclose(ours.values, theirs.values, atol=1e-6)
        assert ours.space == theirs.space


def test_an_onnx_network_is_scrambled_in_its_evaluation(tmp_path):
    module, shape = build("residual")
    path = tmp_path / "network.onnx"
    path.write_bytes(export(module, shape, default=False))
    model = ex.load_model(path)
    data = ex.Dataset.from_images(pictures(4, side=9))
    before = {name: value.clone() for name, value in model.module.state_dict().items()}
    predicted = model.predict(data.X)
    found = ex.randomisation_check(model, data, ex.Saliency(), [0, 1], repeats=2, stages=2)
    assert found.changes is True
    assert sum(map(len, found.layers)) > 2
    assert all(torch.equal(value, before[name]) for name, value in model.module.state_dict().items())
    np.testing.assert_array_equal(model.predict(data.X), predicted)


def test_a_black_box_method_is_asked_of_the_copy(trained):
    found = ex.randomisation_check(*trained, ex.Occlusion(window=2), [0, 1], repeats=2, stages=1)
    assert found.similarity[-1] < 0.9
    assert not np.allclose(found.correlations[:, 0], found.correlations[:, 1])


# --- manners ----------------------------------------------------------------------------------------------------------


def test_the_same_seed_has_the_same_answer_and_another_has_another(trained):
    first, again, other = (
        ex.randomisation_check(*trained, ex.Saliency(), [0], repeats=2, stages=1, seed=s) for s in (0, 0, 1)
    )
    np.testing.assert_array_equal(first.correlations, again.correlations)
    np.testing.assert_array_equal(first.floor, again.floor)
    assert (first.correlations != other.correlations).all()


def test_progress_runs_to_the_end_and_a_cancel_passes_through(trained):
    model, data = trained
    before = {name: value.clone() for name, value in model.module.state_dict().items()}
    ticks = []
    ex.randomisation_check(
        model,
        data,
        ex.Saliency(),
        range(4),
        repeats=2,
        stages=2,
        progress=lambda d, t, partial=None: ticks.append(d / t),
    )
    assert ticks == sorted(ticks)
    assert ticks[-1] == 1.0
    assert len(ticks) >= 5

    def stop(done, total, partial=None):
        if done / total > 0.5:
            raise ex.Cancelled

    with pytest.raises(ex.Cancelled):
        ex.randomisation_check(model, data, ex.GradCam(), [0], stages=2, progress=stop)
    assert all(torch.equal(value, before[name]) for name, value in model.module.state_dict().items())
    assert not any(child._forward_hooks for child in model.module.modules())


# --- refusals ---------------------------------------------------------------------------------------------------------


def test_what_does_not_fit_is_refused_in_words(trained):
    model, data = trained
    refusals = [
        ({"rows": []}, ex.InvalidSetting, "There is no row to explain"),
        ({"rows": [999]}, ex.InvalidSetting, r"Rows must lie in 0\.\.63"),
        ({"target": "all"}, ex.InvalidSetting, "target='all' has several"),
        ({"target": "crooked"}, ex.InvalidSetting, "There is no class 'crooked'"),
        ({"stages": 0}, ex.InvalidSetting, "stages must be between 1 and 100; got 0"),
        ({"repeats": 0}, ex.InvalidSetting, "repeats must be between 1 and 100; got 0"),
        (
            {"explainer": ex.GradCam(variant="all")},
            ex.InvalidSetting,
            "holds 6 maps of each picture: grad-cam, ",
        ),
        ({"explainer": ex.Sensitivity()}, ex.NotApplicable, "gives no map of a picture"),
        ({"explainer": ex.TreeShap()}, ex.NotApplicable, "TreeShap: Explains table data"),
    ]
    for more, error, words in refusals:
        with annotations_not_executed(), pytest.raises(error, match=words):
            ex.randomisation_check(model, data, **{"explainer": ex.Saliency(), "rows": [0], **more})


def test_models_without_weights_are_refused():
    case, table = black_box_pictures(), mlp_one_logit()
    with pytest.raises(
        ex.NotApplicable, match=r"scrambled in a torch module; this model \(function bright_middle\) has none"
    ):
        ex.randomisation_check(case.model, case.data, ex.Occlusion(), [0])
    with pytest.raises(ex.NotApplicable, match="maps of pictures; these data are of modality 'table'"):
        ex.randomisation_check(table.model, table.data, ex.Saliency(), [0])
    bare = ex.Model.wrap(nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()))
    with pytest.raises(ex.NotApplicable, match="has no weights that could be scrambled"):
        ex.randomisation_check(bare, case.data, ex.Saliency(), [0])


def test_a_module_that_cannot_be_copied_is_refused():
    module = network(nn.Conv2d(1, 1, 3), nn.Flatten(), nn.Linear(36, 1))
    module.stream = io.TextIOWrapper(io.BytesIO())
    with pytest.raises(ex.NotApplicable, match=r"this module cannot be copied\. TypeError"):
        ex.randomisation_check(ex.Model.wrap(module), ex.Dataset.from_images(pictures()), ex.Saliency(), [0])


def test_a_map_without_any_difference_is_refused():
    flat = ex.Model.wrap(network(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1, 1)))
    with pytest.raises(ex.InvalidSetting, match="The map is the same everywhere"):
        ex.randomisation_check(flat, ex.Dataset.from_images(pictures()), ex.Saliency(), [0])


def test_a_scrambled_model_that_fails_says_that_it_was_scrambled(monkeypatch):
    def broken(parameter, rng):
        with torch.no_grad():
            parameter.fill_(float("nan"))

    monkeypatch.setattr(scrambling, "_scramble", broken)
    case = cnn_two_classes()
    with pytest.raises(ex.ModelFailure, match="With scrambled weights: The model answered NaN"):
        ex.randomisation_check(case.model, case.data, ex.Saliency(), [0])
