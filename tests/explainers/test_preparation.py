"""What becomes of pictures before they reach a model: each step by hand, the same in numpy and torch, and explained in pixels."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import explainers as ex
from dashboard.workers import codec
from tests.cases import annotations_not_executed, network


def pictures(n=3, c=3, h=6, w=8):
    """Pictures with values from 0 to 1."""
    return np.random.default_rng(0).random((n, c, h, w)).astype(np.float32)


def by_hand(preparation, X):
    """Every step pixel by pixel."""
    n, c, h, w = X.shape
    rows, columns = preparation.size or (h, w)
    out = np.zeros((n, c, rows, columns))
    for y in range(rows):
        for x in range(columns):
            at = (
                min(max((y + 0.5) * h / rows - 0.5, 0), h - 1),
                min(max((x + 0.5) * w / columns - 0.5, 0), w - 1),
            )
            top, left = int(at[0]), int(at[1])
            down, right = min(top + 1, h - 1), min(left + 1, w - 1)
            a, b = at[0] - top, at[1] - left
            out[:, :, y, x] = (1 - a) * ((1 - b) * X[:, :, top, left] + b * X[:, :, top, right]) + a * (
                (1 - b) * X[:, :, down, left] + b * X[:, :, down, right]
            )
    if preparation.order == "reversed":
        out = out[:, ::-1].copy()
    for channel in range(c):
        mean = preparation.mean[channel % len(preparation.mean)] if preparation.mean else 0
        std = preparation.std[channel % len(preparation.std)] if preparation.std else 1
        out[:, channel] = (out[:, channel] * preparation.scale - mean) / std
    return np.moveaxis(out, 1, 3) if preparation.layout == "channels last" else out


CASES = [
    ex.Preparation(mean=(0.5,), std=(0.25,)),
    ex.Preparation(mean=(0.4, 0.5, 0.6), std=(0.1, 0.2, 0.3), order="reversed"),
    ex.Preparation(scale=255.0, mean=(103.9, 116.8, 123.7), order="reversed"),
    ex.Preparation(size=(4, 4)),
    ex.Preparation(size=(9, 5), layout="channels last"),
]


@pytest.mark.parametrize("preparation", CASES, ids=str)
def test_numpy_and_torch_do_the_steps_as_by_hand(preparation):
    X = pictures()
    np.testing.assert_allclose(preparation.array(X), by_hand(preparation, X), atol=2e-5)
    np.testing.assert_allclose(
        preparation.tensor(torch.from_numpy(X)).numpy(), by_hand(preparation, X), atol=2e-5
    )


def convolution():
    """A small network on pictures of any size."""
    torch.manual_seed(0)
    layers = torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()
    return network(*layers, torch.nn.Linear(4, 2))


def test_a_prepared_module_is_explained_in_the_pixels_that_people_see():
    module, X = convolution(), pictures()
    preparation = ex.Preparation(size=(12, 12), mean=(0.4, 0.5, 0.6), std=(0.1, 0.2, 0.3), order="reversed")
    model = ex.Model.wrap(module, classes=["a", "b"]).prepared(preparation)
    data = ex.Dataset.from_images(X)
    logits = module(torch.from_numpy(preparation.array(X)))
    np.testing.assert_allclose(model.predict(X), torch.softmax(logits, 1).detach().numpy(), atol=1e-5)
    np.testing.assert_allclose(model.raw(X), logits.detach().numpy(), atol=1e-5)
    found = ex.explain(model, data, ex.Saliency(space="raw"), target="b")
    x = torch.from_numpy(X.copy()).requires_grad_()
    module(preparation.tensor(x))[:, 1].sum().backward()
    assert found.values.shape == X.shape
    np.testing.assert_allclose(found.values, x.grad.numpy(), atol=1e-5)
    mapped = ex.explain(model, data, ex.GradCam(), target="b")
    assert mapped.diagnostics["layer"] == "model.1"  # the ReLU behind the convolution
    assert mapped.values.shape == (3, 1, 6, 8)
    assert model.preparation == preparation
    assert model.digest != ex.Model.wrap(module).digest


def test_a_callable_is_given_prepared_arrays():
    seen = []

    def model(X):
        seen.append(X)
        return X.mean(axis=(1, 2, 3))

    preparation = ex.Preparation(layout="channels last", scale=255.0)
    found = ex.Model.wrap(model).prepared(preparation).predict(pictures())
    assert seen[0].shape == (3, 6, 8, 3)
    np.testing.assert_allclose(found[:, 0], pictures().mean(axis=(1, 2, 3)) * 255, rtol=1e-5)


def test_no_preparation_is_no_change():
    model = ex.Model.wrap(convolution())
    assert model.prepared(ex.Preparation()) is model


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"std": (0.0,)}, "above 0"),
        ({"std": (-1.0,)}, "above 0"),
        ({"scale": float("nan")}, "must be a finite number"),
        ({"scale": "255"}, "scale='255' must be a finite number"),
        ({"mean": ("a",)}, "must be a finite number"),
        ({"mean": None}, "mean=None must be a finite number"),
        ({"size": (0, 4)}, "cannot have the size"),
        ({"size": 32}, "cannot have the size 32"),
        ({"size": (16.5, 16)}, "cannot have the size"),
        ({"order": "bgr"}, "order='bgr' is unknown; it is 'as stored' or 'reversed'"),
        ({"layout": "NHWC"}, "layout='NHWC' is unknown"),
    ],
)
def test_what_it_refuses(wrong, message):
    with annotations_not_executed(), pytest.raises(ex.InvalidSetting, match=message):
        ex.Preparation(**wrong)


def test_single_numbers_lists_and_arrays_are_numbers():
    wanted = ex.Preparation(size=(4, 4), mean=(0.5,), std=(0.25, 0.5, 1.0))
    with annotations_not_executed():
        assert ex.Preparation(size=[4, 4], mean=0.5, std=np.array([0.25, 0.5, 1.0])) == wanted


def test_means_must_fit_the_channels():
    model = ex.Model.wrap(convolution()).prepared(ex.Preparation(mean=(0.1, 0.2)))
    with pytest.raises(ex.InvalidSetting, match="mean has 2 numbers, the pictures have 3 channels"):
        model.predict(pictures())
    with pytest.raises(ex.InvalidSetting, match="prepared already"):
        model.prepared(ex.Preparation(scale=2.0))


def test_it_travels_to_a_worker():
    preparation = CASES[1]
    body, arrays = codec.pack(preparation)
    assert codec.unpack(body, arrays) == preparation
