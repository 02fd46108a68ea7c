"""Methods that differentiate read predicted classes off their own pass: the model is asked nothing beside it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import explainers as ex
from explainers import device
from tests.cases import cnn_three_classes, mlp_one_logit, vision_transformer

METHODS = [
    ex.Saliency(),
    ex.InputXGradient(),
    ex.SmoothGrad(samples=4),
    ex.IntegratedGradients(steps=4),
    ex.ExpectedGradients(samples=6, background=3),
    ex.DeepLift(),
    ex.GuidedBackprop(),
    ex.GuidedBackprop(combine="grad-cam"),
    ex.GradCam(),
    ex.GradCam(variant="all"),
    ex.LayerRelevancePropagation(),
]


@pytest.fixture
def silent_model(monkeypatch):
    """Three classes, each of which is predicted for a picture; its predictor is not to be asked."""
    case = cnn_three_classes()
    data = ex.Dataset.from_images(np.random.default_rng(0).normal(0, 3, (4, 3, 8, 8)).astype(np.float32))
    decided = case.model.predict(data.X).argmax(axis=1)
    assert set(decided) == {0, 1, 2}
    wrapped = ex.Model.wrap(case.model.module, classes=case.model.classes)

    def refuse(*_, **__):
        pytest.fail("the model was asked for predictions")

    monkeypatch.setattr(type(wrapped), "predict", refuse)
    return wrapped, data, [case.model.classes[place] for place in decided]


@pytest.mark.parametrize("portion", [1, 1000])
@pytest.mark.parametrize("method", METHODS, ids=repr)
def test_the_predicted_class_is_that_of_the_pass_itself(silent_model, method, portion, monkeypatch):
    model, data, decided = silent_model
    monkeypatch.setattr(device, "chunk_rows", lambda *_: portion)
    found = ex.explain(model, data, method, device="cpu")
    assert list(found.targets) == decided
    for row, name in enumerate(decided):
        alone = ex.explain(model, data, method, rows=[row], target=name, device="cpu")
        np.testing.assert_allclose(found.output[row], alone.output[0], rtol=1e-4, atol=1e-5)
        if not isinstance(method, ex.SmoothGrad | ex.ExpectedGradients):  # those draw for all rows together
            np.testing.assert_allclose(found.values[row], alone.values[0], rtol=1e-3, atol=1e-5)


def test_attention_reads_it_too(monkeypatch):
    case = vision_transformer()
    decided = case.model.predict(case.data.X).argmax(axis=1)
    model = ex.Model.wrap(case.model.module, classes=case.model.classes)
    calls = []
    monkeypatch.setattr(type(model), "predict", lambda *_: calls.append(1))
    found = ex.explain(model, case.data, ex.AttentionRollout(variant="gradient"), device="cpu")
    assert list(found.targets) == [model.classes[place] for place in decided]
    assert calls == []


def test_in_half_precision_the_class_is_that_of_full_precision():
    case = cnn_three_classes()
    problem = ex.Problem(case.model, case.data, case.data, None, None, torch.device("cpu"), half=True)
    assert not problem.undecided
    problem.decide(np.full(len(case.data), 2))
    np.testing.assert_array_equal(problem.targets, case.model.predict(case.data.X).argmax(axis=1))


@pytest.mark.parametrize("target", ["a", "all", ex.Contrast(None, "b")], ids=str)
def test_a_target_that_is_named_is_not_decided(target):
    case = cnn_three_classes()
    assert not ex.Problem(case.model, case.data, case.data, target, None, torch.device("cpu")).undecided


def saturated():
    """Three sigmoids that are all 1: the first class is predicted, and the scores before them tell others apart."""
    module = nn.Sequential(nn.Linear(2, 3), nn.Sigmoid())
    with torch.no_grad():
        module[0].weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 2.0]]))
        module[0].bias.fill_(60)
    frame = pd.DataFrame({"x": [1.0, -2.0, 0.5], "y": [0.2, 3.0, 4.0]})
    return ex.Model.wrap(module, classes=("a", "b", "c")), ex.Dataset.from_frame(frame)


@pytest.mark.parametrize(
    "method",
    [ex.Saliency(space="raw"), ex.IntegratedGradients(space="raw"), ex.LayerRelevancePropagation(), ex.DeepLift(), ex.Saliency()],
    ids=repr,
)  # fmt: skip
def test_where_probabilities_are_one_the_class_is_that_of_the_model(method):
    model, data = saturated()
    assert (model.predict(data.X) == 1).all()
    assert set(ex.explain(model, data, method, device="cpu").targets) == {"a"}


@pytest.mark.parametrize("target", [None, "b"])
@pytest.mark.parametrize(
    "method", [ex.Saliency(), ex.IntegratedGradients(), ex.LayerRelevancePropagation()], ids=repr
)
def test_declared_probabilities_are_checked_on_the_way(method, target):
    module = nn.Linear(2, 3)
    with torch.no_grad():
        module.weight.mul_(50)
    model = ex.Model.wrap(module, classes=("a", "b", "c"), output="probability")
    data = ex.Dataset.from_frame(pd.DataFrame({"x": [1.0, -2.0], "y": [0.2, 3.0]}))
    with pytest.raises(ex.ModelFailure, match="Probabilities are declared, but the model answered"):
        ex.explain(model, data, method, target=target, device="cpu")


def test_of_two_classes_the_positive_one_needs_no_decision():
    case = mlp_one_logit()
    assert not ex.Problem(case.model, case.data, case.data, None, None, torch.device("cpu")).undecided
