"""Input × gradient: the product of the slope and the input, and when it adds up."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import explainers as ex
from tests.cases import cnn_three_classes, gru_sequences, mlp_one_logit, network, numbers, pictures


def table(n=6, d=3):
    return ex.Dataset.from_frame(numbers(n, d), target="y")


def test_a_linear_module_has_weight_times_input():
    line, data = nn.Linear(3, 2), table()
    result = ex.explain(ex.Model.wrap(line), data, ex.InputXGradient(), target=1)
    X = data.X.to_numpy(dtype=np.float32)
    np.testing.assert_array_equal(result.values, X * line.weight[1].detach().numpy())
    np.testing.assert_allclose(result.values.sum(axis=1), result.output - line.bias[1].item(), atol=1e-6)
    assert np.isnan(result.base_value).all()


def test_finite_differences_times_input_agree():
    case, step = mlp_one_logit(), 1e-3
    result = ex.explain(case.model, case.data, ex.InputXGradient("probability"), rows=[0, 1], target="yes")
    for j, name in enumerate(case.data.schema.names):
        low, high = (case.data.X.iloc[:2].copy() for _ in range(2))
        low[name] -= step
        high[name] += step
        slope = (case.model.predict(high) - case.model.predict(low))[:, 1] / (2 * step)
        np.testing.assert_allclose(result.values[:, j], case.data.X[name][:2] * slope, atol=1e-3)


def test_a_network_of_in_place_relus_without_biases_adds_up_to_its_score():
    net = network(
        nn.Conv2d(1, 3, 3, bias=False),
        nn.ReLU(inplace=True),
        nn.Flatten(),
        nn.Linear(108, 2, bias=False),
        seed=1,
    )
    result = ex.explain(
        ex.Model.wrap(net, classes="ab"), ex.Dataset.from_images(pictures(4)), ex.InputXGradient()
    )
    np.testing.assert_allclose(result.values.sum(axis=(1, 2, 3)), result.output, rtol=1e-5, atol=1e-6)
    assert np.abs(result.output).min() > 1e-4


@pytest.mark.filterwarnings("ignore:Input Tensor:UserWarning")
def test_captum_agrees():
    from captum.attr import InputXGradient

    from explainers.device import on_device

    case = cnn_three_classes()
    every = ex.explain(case.model, case.data, ex.InputXGradient(), target="all")
    assert every.values.shape == (*case.data.X.shape, 3)
    for target, label in enumerate("abc"):
        ours = ex.explain(case.model, case.data, ex.InputXGradient(), target=label).values
        with on_device(case.model.module, torch.device("cpu")) as module:
            theirs = InputXGradient(module).attribute(torch.from_numpy(case.data.X), target=target)
        np.testing.assert_allclose(ours, theirs.detach().numpy(), atol=1e-6)
        np.testing.assert_allclose(every.values[..., target], ours, atol=1e-6)


def test_sequences_and_a_contrast():
    case = gru_sequences()
    up, down, between = (
        ex.explain(case.model, case.data, ex.InputXGradient(), target=target).values
        for target in ("up", "down", ex.Contrast("up", "down"))
    )
    assert up.shape == (6, 5, 2)
    np.testing.assert_allclose(between, up - down, atol=1e-6)
