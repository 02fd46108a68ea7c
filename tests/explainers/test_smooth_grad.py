"""SmoothGrad: closed forms of a line and a parabola, errors that hold, and noise that depends on nothing but seed and pair."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import explainers as ex
from explainers import device
from explainers.gradients.paths.noise import PairSums, noise_of
from explainers.methods.smooth_grad import _rounds
from tests.cases import cnn_three_classes, network, numbers, pictures

VARIANTS = ("mean", "squared", "variance")


class Parabola(nn.Module):
    """Σ x²: the slope at x is 2x."""

    def forward(self, x):
        return (x**2).flatten(1).sum(dim=1, keepdim=True)


def images(n=4, seed=0):
    return ex.Dataset.from_images(pictures(n, seed=seed))


def test_a_line_has_its_slope_without_error():
    line = network(nn.Flatten(), nn.Linear(64, 1), seed=1)
    slope = line[1].weight.detach().numpy().reshape(1, 1, 8, 8)
    expected = {"mean": slope, "squared": slope**2, "variance": 0 * slope}
    for variant in VARIANTS:
        result = ex.explain(ex.Model.wrap(line), images(), ex.SmoothGrad(variant, samples=8))
        np.testing.assert_allclose(result.values - expected[variant], 0, atol=1e-7)
        np.testing.assert_allclose(result.standard_error, 0, atol=1e-7)


def test_a_parabola_has_its_closed_forms():
    data = images()
    width = np.ptp(data.X.reshape(4, -1), axis=1).reshape(-1, 1, 1, 1)
    sigma = 0.2 * width
    expected = {
        "mean": 2 * data.X,
        "squared": 4 * data.X**2 + 4 * sigma**2,
        "variance": 4 * sigma**2 + 0 * data.X,
    }
    for variant in VARIANTS:
        result = ex.explain(
            ex.Model.wrap(Parabola()), data, ex.SmoothGrad(variant, samples=400, noise=0.2, seed=3)
        )
        if variant == "mean":  # the noise of a pair cancels
            np.testing.assert_allclose(result.values, expected[variant], atol=1e-5)
            continue
        z = (result.values - expected[variant]) / result.standard_error
        assert 0.7 < z.std() < 1.3
        assert np.abs(z).max() < 6


def slow_twin(module, x, scale, samples, seed, column):
    """Each noisy copy by itself."""
    every = []
    for pair in range(samples // 2):
        for sign in (1, -1):
            at = torch.from_numpy(x + sign * scale * noise_of(seed, pair, x.shape)).requires_grad_()
            module(at[None])[0, column].backward()
            every.append(at.grad.numpy().astype(np.float64))
    module.zero_grad(set_to_none=True)
    return np.stack(every)


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_slow_twin_agrees(variant):
    case = cnn_three_classes()
    result = ex.explain(case.model, case.data, ex.SmoothGrad(variant, samples=12, seed=5), target="b")
    with device.on_device(case.model.module, torch.device("cpu")) as module:
        for i, x in enumerate(case.data.X):
            slopes = slow_twin(module, x, np.float32(0.15 * np.ptp(x)), 12, 5, 1)
            pairs = slopes.reshape(6, 2, *x.shape).mean(axis=1)
            twin = {
                "mean": slopes.mean(axis=0),
                "squared": (slopes**2).mean(axis=0),
                "variance": (slopes**2).mean(axis=0) - slopes.mean(axis=0) ** 2 + pairs.var(axis=0) / 5,
            }[variant]
            np.testing.assert_allclose(result.values[i], twin, atol=1e-5 * np.abs(twin).max())
            if variant == "mean":
                error = pairs.std(axis=0, ddof=1) / np.sqrt(6)
                np.testing.assert_allclose(result.standard_error[i], error, atol=1e-4 * error.max())


def test_the_estimates_are_unbiased_and_their_errors_hold():
    rng = np.random.default_rng(0)
    truth = {"mean": 1.0, "squared": 5.0, "variance": 4.0}
    for variant in VARIANTS:
        sums = PairSums(variant, (2000,))
        for _ in range(8):
            plus, minus = rng.normal(1, 2, (2, 2000))
            sums.add(slice(0, 2000), plus, minus)
            sums.pairs += 1
        values, errors = sums.estimate()
        assert abs(values.mean() - truth[variant]) < 4 * values.std() / np.sqrt(2000)
        assert 0.8 < np.sqrt((errors**2).mean()) / values.std() < 1.2


def test_a_case_is_the_same_alone_and_in_any_portions(monkeypatch):
    case = cnn_three_classes()
    whole = ex.explain(case.model, case.data, ex.SmoothGrad(samples=10))
    alone = ex.explain(case.model, case.data, ex.SmoothGrad(samples=10), rows=[4])
    np.testing.assert_allclose(alone.values[0], whole.values[4], atol=1e-6)
    monkeypatch.setattr(device, "CPU_CHUNK_BYTES", 1)
    parts = ex.explain(case.model, case.data, ex.SmoothGrad(samples=10))
    np.testing.assert_allclose(parts.values, whole.values, atol=1e-6)
    np.testing.assert_allclose(parts.standard_error, whole.standard_error, atol=1e-6)


def test_all_outputs_another_seed_and_no_noise():
    case = cnn_three_classes()
    every = ex.explain(case.model, case.data, ex.SmoothGrad(samples=8), target="all")
    one = ex.explain(case.model, case.data, ex.SmoothGrad(samples=8), target="c")
    np.testing.assert_allclose(every.values[..., 2], one.values, atol=1e-6)
    np.testing.assert_allclose(every.standard_error[..., 2], one.standard_error, atol=1e-6)
    other = ex.explain(case.model, case.data, ex.SmoothGrad(samples=8, seed=1), target="c")
    assert np.abs(other.values - one.values).max() > 1e-4
    still = ex.explain(case.model, case.data, ex.SmoothGrad(samples=8, noise=0.0), target="c")
    plain = ex.explain(case.model, case.data, ex.Saliency(), target="c")
    np.testing.assert_allclose(still.values, plain.values, atol=1e-6)


def test_the_noise_of_a_table_is_a_share_of_each_column():
    data = ex.Dataset.from_frame(numbers(6, 3).assign(x1=lambda f: 1000 * f["x1"]), target="y")
    result = ex.explain(
        ex.Model.wrap(Parabola()), data, ex.SmoothGrad("variance", samples=800, noise=0.1), rows=[0]
    )
    scale = 0.1 * np.ptp(data.X.to_numpy(), axis=0)
    np.testing.assert_allclose(result.values[0], 4 * scale**2, rtol=0.25)


def test_coarser_results_are_shown_on_the_way():
    case, shown = cnn_three_classes(), []
    final = ex.explain(
        case.model, case.data, ex.SmoothGrad(samples=40), target="a",
        progress=lambda done, total, partial=None: shown.append(partial),
    )  # fmt: skip
    partial = [p for p in shown if p is not None]
    assert [p.diagnostics["samples"] for p in partial] == [8, 16]
    assert final.diagnostics["samples"] == 40
    first = ex.explain(case.model, case.data, ex.SmoothGrad(samples=8), target="a")
    np.testing.assert_allclose(partial[0].values, first.values, atol=1e-6)


def test_rounds_cover_all_pairs():
    for pairs in (2, 3, 4, 5, 7, 8, 25, 100):
        rounds = _rounds(pairs)
        assert [i for r in rounds for i in r] == list(range(pairs))
        assert len(rounds[0]) >= 2


@pytest.mark.filterwarnings("ignore:Input Tensor:UserWarning")
def test_captum_agrees_within_the_errors():
    from captum.attr import NoiseTunnel, Saliency

    net = network(nn.Conv2d(1, 3, 3), nn.Tanh(), nn.Flatten(), nn.Linear(108, 1), seed=2)
    x = np.tile(pictures(1), (1, 1, 1, 1))
    data = ex.Dataset.from_images(x)
    ours = ex.explain(ex.Model.wrap(net), data, ex.SmoothGrad(samples=200, noise=0.5))
    torch.manual_seed(0)
    theirs = NoiseTunnel(Saliency(net)).attribute(
        torch.from_numpy(x), nt_type="smoothgrad", nt_samples=400, stdevs=float(0.5 * np.ptp(x)), abs=False
    ).numpy()  # fmt: skip
    plain = ex.explain(ex.Model.wrap(net), data, ex.Saliency()).values
    distance = np.abs(theirs - ours.values).mean()
    assert distance < 0.2 * np.abs(plain - ours.values).mean()
