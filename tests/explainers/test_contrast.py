"""Why this and not that: every explainer that can explains the difference of two scores."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from sklearn.ensemble import RandomForestClassifier

import explainers as ex
from explainers.registry import EXPLAINERS
from tests.cases import network, numbers

LINEAR = (ex.ExactShap, ex.KernelShap, ex.PermutationShap, ex.Saliency, ex.IntegratedGradients)


def three_classes(last=()):
    """A small network with three classes on four numbers."""
    module = network(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3), *last)
    data = ex.Dataset.from_frame(numbers(30, 4).drop(columns="y"))
    return ex.Model.wrap(module, classes=["a", "b", "c"]), data


def pictures():
    """A small convolutional network with three classes."""
    module = network(
        torch.nn.Conv2d(1, 4, 3, padding=1), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(4 * 36, 3)
    )
    X = np.random.default_rng(0).normal(size=(5, 1, 6, 6)).astype(np.float32)
    return ex.Model.wrap(module, classes=["a", "b", "c"]), ex.Dataset.from_images(X)


def both(model, data, method, rows=(0, 1, 2)):
    """The values of a contrast, and those of all outputs."""
    rows = list(rows)
    return (
        ex.explain(model, data, method, rows=rows, target=ex.Contrast("a", "c")),
        ex.explain(model, data, method, rows=rows, target="all"),
    )


@pytest.mark.parametrize("kind", LINEAR, ids=lambda kind: kind.__name__)
def test_values_of_a_table_are_the_difference_of_both(kind):
    found, every = both(*three_classes(), kind())
    np.testing.assert_allclose(found.values, every.values[..., 0] - every.values[..., 2], atol=2e-5)
    np.testing.assert_allclose(found.output, every.output[:, 0] - every.output[:, 2], atol=1e-5)
    np.testing.assert_allclose(
        found.base_value, every.base_value[..., 0] - every.base_value[..., 2], atol=1e-5
    )
    assert found.targets == (ex.Contrast("a", "c"),) * 3
    assert str(found.targets[0]) == "a and not c"


@pytest.mark.parametrize(
    "kind", [ex.Saliency, ex.IntegratedGradients, ex.Occlusion], ids=lambda k: k.__name__
)
def test_maps_of_pictures_are_the_difference_of_both(kind):
    found, every = both(*pictures(), kind())
    np.testing.assert_allclose(found.values, every.values[..., 0] - every.values[..., 2], atol=2e-5)


def test_grad_cam_weighs_with_the_slope_of_the_difference():
    found, every = both(*pictures(), ex.GradCam(relu=False))
    np.testing.assert_allclose(found.values, every.values[..., 0] - every.values[..., 2], atol=2e-5)
    cut, _ = both(*pictures(), ex.GradCam())
    np.testing.assert_allclose(cut.diagnostics["map"], np.maximum(found.diagnostics["map"], 0), atol=1e-6)


@pytest.mark.parametrize(
    "method", [ex.TreeShap(), ex.TreeShap(background=0), ex.TreeShapInteractions()], ids=str
)
def test_trees_of_three_classes(method):
    data = ex.Dataset.from_frame(numbers(60, 4).drop(columns="y"))
    label = np.array(["a", "b", "c"])[np.digitize(data.matrix[:, 0] + data.matrix[:, 1], [-0.5, 0.5])]
    forest = RandomForestClassifier(5, max_depth=3, random_state=0).fit(data.X, label)
    found, every = both(ex.Model.wrap(forest), data, method)
    np.testing.assert_allclose(found.values, every.values[..., 0] - every.values[..., 2], atol=1e-6)
    if getattr(every, "background_error", None) is not None:
        most = every.background_error[..., 0] + every.background_error[..., 2]
        np.testing.assert_allclose(found.background_error, most, atol=1e-6)


def test_the_predicted_class_may_be_meant():
    model, data = three_classes()
    predicted = model.predict(data.X).argmax(axis=1)
    common = int(np.bincount(predicted).argmax())
    against = ("c", "a", "a")[common]
    rows = np.flatnonzero(predicted == common)[:3]
    contrast = ex.Contrast(None, against)
    found = ex.explain(model, data, ex.Saliency(), rows=rows, target=contrast)
    every = ex.explain(model, data, ex.Saliency(), rows=rows, target="all")
    other = "abc".index(against)
    np.testing.assert_allclose(found.values, every.values[..., common] - every.values[..., other], atol=1e-5)
    with pytest.raises(ex.InvalidSetting, match="from itself: it is what is explained of 3 of 3 cases"):
        ex.explain(model, data, ex.Saliency(), rows=rows, target=ex.Contrast(None, "abc"[common]))


def test_what_is_refused():
    model, data = three_classes()
    with pytest.raises(ex.InvalidSetting, match="no class 'd'"):
        ex.explain(model, data, ex.Saliency(), rows=[0], target=ex.Contrast("a", "d"))
    with pytest.raises(ex.NotApplicable, match=r"not a contrast of two; these can: .*KernelShap"):
        ex.explain(model, data, ex.PartialDependence(), target=ex.Contrast("a", "b"))


def test_a_request_knows_a_contrast_from_its_sides():
    model, data = three_classes()
    keys = {ex.Request.of(model, data, ex.Saliency(), [0], target) for target in ("a", ex.Contrast("a", "b"))}
    assert ex.Request.of(model, data, ex.Saliency(), [0], ex.Contrast("a", "b")) in keys
    assert len(keys) == 2


def test_methods_of_gradients_all_can():
    unable = {kind.__name__ for kind in EXPLAINERS if "gradients" in kind.needs and not kind.contrasts}
    assert unable <= {"FeatureVisualization"}
    assert all(dataclasses.is_dataclass(kind) for kind in EXPLAINERS)
