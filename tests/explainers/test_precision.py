"""Half precision: faster where the device likes it, and the loss is stated."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import explainers as ex
from tests.cases import annotations_not_executed, network


def trained():
    """A small convolutional network and pictures."""
    torch.manual_seed(0)
    module = network(
        torch.nn.Conv2d(1, 8, 3, padding=1), torch.nn.ReLU(), torch.nn.Conv2d(8, 8, 3), torch.nn.ReLU(),
        torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(8, 3),
    )  # fmt: skip
    X = np.random.default_rng(0).normal(size=(4, 1, 10, 10)).astype(np.float32)
    return ex.Model.wrap(module, classes=["a", "b", "c"]), ex.Dataset.from_images(X)


@pytest.mark.parametrize("method", [ex.Saliency(), ex.IntegratedGradients(), ex.GradCam(relu=False)], ids=str)
def test_the_stated_cosine_is_that_to_float32(method):
    model, data = trained()
    full = ex.explain(model, data, method, target="b")
    half = ex.explain(model, data, method, target="b", precision="bfloat16")
    a, b = (result.values[0].ravel().astype(np.float64) for result in (full, half))
    cosine = a @ b / np.linalg.norm(a) / np.linalg.norm(b)
    np.testing.assert_allclose(half.diagnostics["cosine_to_float32"], cosine, atol=1e-6)
    assert 0.98 < cosine < 1 - 1e-9
    assert half.diagnostics["precision"] == "bfloat16"
    assert "precision" not in full.diagnostics
    assert half.values.dtype == full.values.dtype


def test_where_it_says_nothing_it_is_refused():
    model, data = trained()
    with pytest.raises(ex.NotApplicable, match="Occlusion takes no gradients"):
        ex.explain(model, data, ex.Occlusion(), precision="bfloat16")
    wrong = pytest.raises(ex.InvalidSetting, match="'float32' or 'bfloat16'; got 'float16'")
    with annotations_not_executed(), wrong:
        ex.explain(model, data, ex.Saliency(), precision="float16")
