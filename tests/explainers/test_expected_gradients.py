"""Expected gradients: exact where the slope is constant, equal to a full grid within its error, and never rescaled."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from torch import nn

import explainers as ex
from explainers import device
from explainers.gradients.paths.expected import strata
from tests.cases import cnn_three_classes, gru_sequences, mlp_one_logit, network, numbers, pictures


def table(n=40, d=3):
    return ex.Dataset.from_frame(numbers(n, d), target="y")


def test_a_linear_module_is_exact_and_knows_it():
    line, data = nn.Linear(3, 2), table()
    result = ex.explain(
        ex.Model.wrap(line), data, ex.ExpectedGradients(background=40), rows=[0, 1, 2], target=1
    )
    X = data.X.to_numpy(dtype=np.float32)
    expected = (X[:3] - X.mean(axis=0)) * line.weight[1].detach().numpy()
    np.testing.assert_allclose(result.values, expected, atol=1e-6)
    np.testing.assert_allclose(result.standard_error, 0, atol=1e-7)
    spread = np.abs(line.weight[1].detach().numpy()) * X.std(axis=0, ddof=1) / np.sqrt(40)
    np.testing.assert_allclose(result.background_error, np.broadcast_to(spread, (3, 3)), rtol=1e-3)
    np.testing.assert_allclose(result.diagnostics["completeness_gap"], 0, atol=1e-5)
    np.testing.assert_allclose(result.values.sum(axis=1), result.output - result.base_value, atol=1e-5)
    assert result.reference.cases == 40
    assert result.diagnostics["samples"] == 160  # four for each reference case


@pytest.mark.parametrize(("references", "nodes"), [(1, 2), (5, 4), (100, 2)])
def test_places_lie_in_strata_of_their_own(references, nodes):
    places = strata(references, nodes, 3)
    assert places.shape == (references, nodes)
    np.testing.assert_array_equal(
        np.sort((places * references * nodes).astype(int).ravel()), np.arange(references * nodes)
    )
    np.testing.assert_array_equal(
        (places * nodes).astype(int), np.broadcast_to(np.arange(nodes), places.shape)
    )


def slow_twin(module, x, background, places, column):
    """Each sample by itself: the mean, and both errors."""
    samples = np.empty((*places.shape, *x.shape))
    for b in range(len(background)):
        for j in range(places.shape[1]):
            start, end = torch.from_numpy(background[b]), torch.from_numpy(x)
            at = (start + np.float32(places[b, j]) * (end - start)).requires_grad_()
            (slope,) = torch.autograd.grad(module(at[None])[0, column], at)
            samples[b, j] = ((end - start) * slope).numpy()
    pairs = samples.reshape(len(background), -1, 2, *x.shape)
    error = np.sqrt(((pairs[:, :, 0] - pairs[:, :, 1]) ** 2).sum(axis=(0, 1))) / places.size
    ways = samples.mean(axis=1)
    return ways.mean(axis=0), error, ways.std(axis=0, ddof=1) / np.sqrt(len(ways))


@pytest.mark.parametrize("chunk", [None, 1, 2**16])
def test_the_slow_twin_agrees_in_any_portions(chunk, monkeypatch):
    case = cnn_three_classes()
    background = case.data.take([2, 3, 4, 5])
    if chunk:
        monkeypatch.setattr(device, "CPU_CHUNK_BYTES", chunk)
    result = ex.explain(
        case.model,
        case.data,
        ex.ExpectedGradients(samples=17),
        rows=[0, 1],
        target="all",
        background=background,
    )
    assert result.values.shape == (2, 3, 8, 8, 3)
    places = strata(4, 4, 0)
    with device.on_device(case.model.module, torch.device("cpu")) as module:
        for i in range(2):
            for column in range(3):
                twin = slow_twin(module, case.data.X[i], background.X, places, column)
                found = (result.values, result.standard_error, result.background_error)
                for ours, theirs in zip(found, twin, strict=True):
                    np.testing.assert_allclose(ours[i, ..., column], theirs, atol=1e-5 * np.abs(theirs).max())


def test_one_target_is_its_column_of_all_and_alone_is_the_same():
    case = cnn_three_classes()
    explainer = ex.ExpectedGradients(samples=12)
    every = ex.explain(case.model, case.data, explainer, target="all")
    one = ex.explain(case.model, case.data, explainer, target="b")
    alone = ex.explain(case.model, case.data, explainer, target="b", rows=[3])
    np.testing.assert_allclose(every.values[..., 1], one.values, atol=1e-6)
    np.testing.assert_allclose(every.standard_error[..., 1], one.standard_error, atol=1e-6)
    np.testing.assert_allclose(alone.values[0], one.values[3], atol=1e-6)


def test_a_full_grid_lies_within_the_error_and_more_samples_come_nearer():
    case = mlp_one_logit()
    background = case.data.take(range(10, 30))
    grid = ex.explain(
        case.model,
        case.data,
        ex.IntegratedGradients(steps=50, baseline="background"),
        rows=range(5),
        background=background,
    )
    distance = {}
    for samples in (40, 320):
        z, gaps = [], []
        for seed in range(16):
            found = ex.explain(
                case.model,
                case.data,
                ex.ExpectedGradients(samples, seed=seed),
                rows=range(5),
                background=background,
            )
            z.append((found.values - grid.values) / found.standard_error)
            gaps.append(np.abs(found.values - grid.values).mean())
        distance[samples] = np.mean(gaps)
        assert np.sqrt(np.mean(np.square(z))) < 1.2  # the error is not told too small
        assert np.abs(np.mean(z, axis=0)).max() < 1.2  # and there is no bias
    assert distance[320] < distance[40] / 3
    np.testing.assert_allclose(grid.base_value, found.base_value, atol=1e-6)


def test_shap_agrees_within_the_intervals():
    net = network(nn.Conv2d(1, 2, 3), nn.Tanh(), nn.Flatten(), nn.Linear(72, 2), seed=2)
    data = ex.Dataset.from_images(3 * pictures(14))
    background = data.take(range(4, 14))
    ours = ex.explain(
        ex.Model.wrap(net, classes="ab"),
        data,
        ex.ExpectedGradients(400),
        rows=[0, 1],
        target="all",
        background=background,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import shap

        explainer = shap.GradientExplainer(net, torch.tensor(background.X))
        theirs, spread = explainer.shap_values(
            torch.tensor(data.X[:2]), nsamples=300, rseed=0, return_variances=True
        )
    variance = np.moveaxis(np.asarray(spread), 0, -1) / np.sqrt(300)  # shap gives variance / sqrt(n)
    z = (ours.values - theirs) / np.sqrt(ours.standard_error**2 + variance)
    assert 0.5 < z.std() < 1.3
    assert np.abs(z).max() < 5.5


def test_more_reference_cases_than_samples_are_thinned_out():
    result = ex.explain(
        ex.Model.wrap(network(nn.Linear(3, 1))), table(), ex.ExpectedGradients(10, background=40), rows=[0]
    )
    assert result.reference.cases == 5
    assert result.diagnostics["samples"] == 10
    np.testing.assert_allclose(result.diagnostics["completeness_gap"], 0, atol=1e-5)


def test_one_reference_case_has_no_spread():
    data = table()
    result = ex.explain(
        ex.Model.wrap(network(nn.Linear(3, 1))),
        data,
        ex.ExpectedGradients(),
        rows=[0],
        background=data.take([3]),
    )
    assert result.background_error is None
    assert result.diagnostics["samples"] == 200


def test_sequences_a_contrast_and_an_in_place_relu():
    case = gru_sequences()
    assert ex.explain(case.model, case.data, ex.ExpectedGradients(20)).values.shape == (6, 5, 2)
    three = cnn_three_classes()
    a, b, between = (
        ex.explain(three.model, three.data, ex.ExpectedGradients(20), target=target).values
        for target in ("a", "b", ex.Contrast("a", "b"))
    )
    np.testing.assert_allclose(between, a - b, atol=1e-6)
    found = []
    for in_place in (False, True):
        net = network(nn.ReLU(inplace=in_place), nn.Flatten(), nn.Linear(64, 1), seed=1)
        data = ex.Dataset.from_images(pictures(6) - 0.5)
        found.append(ex.explain(ex.Model.wrap(net), data, ex.ExpectedGradients(20)).values)
    np.testing.assert_array_equal(*found)
