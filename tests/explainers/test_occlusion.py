"""Occlusion: what covering a patch costs, exactly, for any model of pictures."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import explainers as ex
from explainers import device
from explainers.masking import blurred
from tests.cases import (
    black_box_pictures,
    cnn_three_classes,
    cnn_two_classes,
    gru_sequences,
    pictures,
    planted_patches,
    share_inside,
)


def curved(X):
    """Three outputs, not linear in the pixels, float64."""
    weights = np.random.default_rng(1).normal(size=(int(np.prod(X.shape[1:])), 3))
    return np.tanh(X.reshape(len(X), -1).astype(np.float64) @ weights) ** 3


def plain_loops(predict, X, window, stride, fill):
    """One window after the other, one picture at a time; `fill` like one picture."""
    n, _, h, w = X.shape
    out = []
    for i in range(n):
        full = predict(X[i : i + 1])[0]
        total, count = np.zeros((h, w, len(full))), np.zeros((h, w, 1))
        top = 0
        while True:
            left = 0
            while True:
                picture = X[i].copy()
                picture[:, top : top + window, left : left + window] = fill[
                    :, top : top + window, left : left + window
                ]
                total[top : top + window, left : left + window] += full - predict(picture[None])[0]
                count[top : top + window, left : left + window] += 1
                if left + window >= w:
                    break
                left += stride
            if top + window >= h:
                break
            top += stride
        out.append((total / count)[None])
    return np.stack(out)


@pytest.mark.parametrize(
    ("side", "window", "stride"), [(8, 3, 2), (8, 2, 2), (7, 4, 3), (5, 1, 1), (6, 9, 9), (6, 4, 4)]
)
def test_plain_loops_agree_exactly(side, window, stride):
    X = pictures(2, channels=3, side=side)
    data = ex.Dataset.from_images(X)

    def one_by_one(X):  # a matrix product of another size rounds otherwise
        return np.concatenate([curved(x[None]) for x in X])

    result = ex.explain(
        ex.Model.wrap(one_by_one), data, ex.Occlusion(window, stride, baseline=0.25), target="all"
    )
    twin = plain_loops(one_by_one, X, window, stride, np.full(X.shape[1:], 0.25, dtype=np.float32))
    np.testing.assert_array_equal(result.values, twin)
    assert result.values.shape == (2, 1, side, side, 3)


def test_wide_pictures_are_walked_in_both_directions():
    X = np.random.default_rng(0).random((2, 1, 5, 11)).astype(np.float32)
    result = ex.explain(ex.Model.wrap(curved), ex.Dataset.from_images(X), ex.Occlusion(3, 2), target=1)
    np.testing.assert_allclose(
        result.values, plain_loops(curved, X, 3, 2, np.zeros(X.shape[1:]))[..., 1], atol=1e-12
    )


def test_a_linear_model_loses_what_the_patch_held():
    weights = np.random.default_rng(2).normal(size=(1, 8, 8))
    model = ex.Model.wrap(lambda X: (X * weights).sum(axis=(1, 2, 3)))
    data = ex.Dataset.from_images(pictures(3))
    values = ex.explain(model, data, ex.Occlusion(window=2, stride=2, baseline=0.5)).values
    held = ((data.X - 0.5) * weights).reshape(3, 1, 4, 2, 4, 2).sum(axis=(3, 5))
    np.testing.assert_allclose(values, held.repeat(2, axis=2).repeat(2, axis=3), atol=1e-6)


@pytest.mark.parametrize(("window", "stride"), [(3, 2), (4, 3), (2, 2)])
def test_captum_agrees(window, stride):
    from captum.attr import Occlusion

    case = cnn_three_classes()
    ours = ex.explain(
        case.model, case.data, ex.Occlusion(window, stride, baseline=0.1, space="raw"), target="b"
    ).values
    module = case.model.module
    with device.on_device(module, torch.device("cpu")), torch.no_grad():
        theirs = Occlusion(module).attribute(
            torch.from_numpy(case.data.X),
            sliding_window_shapes=(3, window, window),
            strides=(3, stride, stride),
            target=1,
            baselines=0.1,
        )
    np.testing.assert_allclose(ours, theirs.numpy()[:, :1], atol=1e-5)


def test_the_default_window_is_an_eighth_and_half_of_it():
    asked = []

    def count(X):
        asked.append(len(X))
        return X.mean(axis=(1, 2, 3))

    data = ex.Dataset.from_images(np.ones((2, 1, 40, 32), dtype=np.float32))
    facts = ex.explain(ex.Model.wrap(count), data, ex.Occlusion()).diagnostics
    assert (facts["window"], facts["stride"], facts["windows"]) == (4, 2, 19 * 15)
    assert sum(asked) == facts["evaluations"] == 2 * (19 * 15 + 1)
    small = ex.explain(
        ex.Model.wrap(count), ex.Dataset.from_images(pictures(1, side=5)), ex.Occlusion()
    ).diagnostics
    assert (small["window"], small["stride"], small["windows"]) == (1, 1, 25)


def test_the_baseline_is_the_mean_of_training_pictures_or_a_blur():
    X = pictures(6)
    data = ex.Dataset.from_images(X, role=["train"] * 4 + ["test"] * 2)
    model = ex.Model.wrap(curved)
    for baseline, fills in (("mean", [X[:4].mean(axis=0)] * 2), ("blur", blurred(X[4:]))):
        result = ex.explain(model, data, ex.Occlusion(4, 2, baseline=baseline), rows=[4, 5], target=0)
        for i, fill in enumerate(fills):
            twin = plain_loops(curved, X[4 + i : 5 + i], 4, 2, fill)[..., 0]
            np.testing.assert_allclose(result.values[i : i + 1], twin, atol=1e-6)
    assert result.reference.note == "the picture itself, blurred"


def test_the_space_is_what_predict_returns_unless_asked():
    case = cnn_three_classes()
    auto = ex.explain(case.model, case.data, ex.Occlusion(), target="a")
    raw = ex.explain(case.model, case.data, ex.Occlusion(space="raw"), target="a")
    assert (auto.space, raw.space) == ("probability", "raw")
    np.testing.assert_allclose(auto.output, case.model.predict(case.data.X)[:, 0], atol=1e-7)
    np.testing.assert_allclose(raw.output, case.model.raw(case.data.X)[:, 0], atol=1e-6)
    assert np.isnan(auto.base_value).all()


def test_two_classes_lose_opposite_amounts():
    case = cnn_two_classes()
    healthy, ill = (ex.explain(case.model, case.data, ex.Occlusion(), target=t) for t in ("healthy", "ill"))
    np.testing.assert_allclose(healthy.values, -ill.values, atol=1e-7)


def test_the_planted_patch_is_found():
    model, data, inside = planted_patches()
    values = ex.explain(model, data, ex.Occlusion(window=2, stride=1, space="raw"), target="patch").values
    assert share_inside(values, inside) >= 0.95


def test_the_middle_that_a_black_box_looks_at():
    case = black_box_pictures()
    values = ex.explain(case.model, case.data, ex.Occlusion(window=1)).values
    middle = np.zeros((8, 8))
    middle[2:6, 2:6] = 1 / 16
    np.testing.assert_allclose(values[:, 0], case.data.X[:, 0] * middle, atol=1e-8)


REFUSALS = [
    (
        ex.Occlusion(window=2, stride=3),
        ex.InvalidSetting,
        r"stride=3\) leaves pixels out that no window of 2 covers",
    ),
    (ex.Occlusion(stride=2), ex.InvalidSetting, "choose at most 1"),
    (ex.Occlusion(space="raw"), ex.InvalidSetting, "no raw score"),
]


@pytest.mark.parametrize(("explainer", "error", "match"), REFUSALS)
def test_refusals(explainer, error, match):
    case = black_box_pictures()
    with pytest.raises(error, match=match):
        ex.explain(case.model, case.data, explainer)


def test_only_pictures_are_covered():
    case = gru_sequences()
    with pytest.raises(ex.NotApplicable, match="Explains image data; these are of modality sequence"):
        ex.explain(case.model, case.data, ex.Occlusion())
    with pytest.raises(ex.InvalidSetting, match="between 1 and 4096; got 0"):
        ex.Occlusion(window=0)


def test_a_model_that_fails_on_a_covered_picture_is_told_so():
    module = nn.Flatten()
    model = ex.Model.wrap(lambda X: 1 / X.min(axis=(1, 2, 3)))
    with np.errstate(divide="ignore"), pytest.raises(ex.ModelFailure, match="NaN or infinity for"):
        ex.explain(model, ex.Dataset.from_images(pictures(2) + 1), ex.Occlusion())
    assert module.training


def test_a_module_is_asked_like_any_other_function():
    case = cnn_three_classes()
    explainer = ex.Occlusion(window=3, stride=2, baseline="blur")
    module = ex.explain(case.model, case.data, explainer, target="all")
    plain = ex.explain(ex.Model.wrap(case.model.predict), case.data, explainer, target="all")
    np.testing.assert_allclose(module.values, plain.values, atol=1e-6)
    twin = plain_loops(case.model.predict, case.data.X[:1], 3, 2, blurred(case.data.X[:1])[0])
    np.testing.assert_allclose(module.values[:1], twin, atol=1e-6)


def test_windows_that_change_nothing_are_not_asked():
    asked = []

    def count(X):
        asked.append(len(X))
        return curved(X)

    X = pictures(3)
    X[0, :, :, 4:] = 0.25
    X[1] = 0.25
    data, explainer = ex.Dataset.from_images(X), ex.Occlusion(window=4, stride=4, baseline=0.25)
    result = ex.explain(ex.Model.wrap(count), data, explainer, target=0)
    assert sum(asked) == result.diagnostics["evaluations"] == 3 + 2 + 0 + 4
    twin = plain_loops(curved, X, 4, 4, np.full(X.shape[1:], 0.25, dtype=np.float32))[..., 0]
    np.testing.assert_allclose(result.values, twin, atol=1e-12)
    assert (result.values[0, 0, :, 4:] == 0).all()
    assert (result.values[1] == 0).all()
    assert ex.cost(ex.Model.wrap(count), data, explainer) == 3 * 5
    ticks = []
    ex.explain(
        ex.Model.wrap(count), data, explainer, rows=[1], target=0, progress=lambda *at: ticks.append(at)
    )
    assert ticks[-1][0] == ticks[-1][1] > 0
