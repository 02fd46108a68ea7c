"""Saliency: slopes of what the module returns, in every space, and nothing left behind."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import explainers as ex
from tests.cases import (
    annotations_not_executed,
    cnn_three_classes,
    gru_sequences,
    mlp_one_logit,
    network,
    numbers,
    pictures,
    planted_patches,
    share_inside,
)


def softmax_net(scale: float = 1.0) -> nn.Sequential:
    net = network(nn.Conv2d(1, 2, 3), nn.Tanh(), nn.Flatten(), nn.Linear(72, 3), nn.Softmax(dim=1), seed=7)
    with torch.no_grad():
        net[3].weight.mul_(scale)
    return net


def table(n=6, d=3):
    return ex.Dataset.from_frame(numbers(n, d), target="y")


def test_a_linear_module_has_its_weights_as_slopes():
    line = nn.Linear(3, 2)
    result = ex.explain(ex.Model.wrap(line), table(), ex.Saliency(), target=1)
    np.testing.assert_array_equal(result.values, np.broadcast_to(line.weight[1].detach().numpy(), (6, 3)))
    assert result.space == "target"
    assert np.isnan(result.base_value).all()
    assert result.reference is None


def test_finite_differences_agree():
    case = mlp_one_logit()
    result = ex.explain(case.model, case.data, ex.Saliency(space="probability"), rows=[0, 1], target="yes")
    step = 1e-3
    for j, name in enumerate(case.data.schema.names):
        ends = []
        for sign in (-1, 1):
            moved = case.data.X.iloc[:2].copy()
            moved[name] += sign * step
            ends.append(case.model.predict(moved)[:, 1])
        np.testing.assert_allclose(result.values[:, j], (ends[1] - ends[0]) / (2 * step), atol=3e-4)


def test_the_first_of_two_classes_is_the_negative_of_the_second():
    case = mlp_one_logit()
    logit = [ex.explain(case.model, case.data, ex.Saliency(), target=t) for t in ("no", "yes")]
    np.testing.assert_array_equal(logit[0].values, -logit[1].values)
    np.testing.assert_array_equal(logit[0].output, -logit[1].output)
    probability = [
        ex.explain(case.model, case.data, ex.Saliency("probability"), target=t) for t in ("no", "yes")
    ]
    np.testing.assert_array_equal(probability[0].values, -probability[1].values)
    np.testing.assert_allclose(probability[0].output + probability[1].output, 1, rtol=1e-6)
    assert (logit[0].space, probability[0].space) == ("raw", "probability")


def test_all_outputs_are_the_single_ones_side_by_side():
    case = cnn_three_classes()
    every = ex.explain(case.model, case.data, ex.Saliency(), target="all")
    for j, label in enumerate("abc"):
        one = ex.explain(case.model, case.data, ex.Saliency(), target=label)
        np.testing.assert_allclose(every.values[..., j], one.values, atol=1e-7)
        np.testing.assert_allclose(every.output[:, j], one.output, rtol=1e-6)
    assert every.targets == ("a", "b", "c")


def test_without_a_target_each_case_has_its_predicted_class():
    case = cnn_three_classes()
    every = ex.explain(case.model, case.data, ex.Saliency(), target="all")
    result = ex.explain(case.model, case.data, ex.Saliency())
    chosen = case.model.predict(case.data.X).argmax(axis=1)
    assert result.targets == tuple("abc"[i] for i in chosen)
    np.testing.assert_allclose(result.values, every.values[np.arange(6), ..., chosen], atol=1e-7)


@pytest.mark.filterwarnings("ignore:Input Tensor:UserWarning")
def test_captum_agrees():
    from captum.attr import Saliency

    case = cnn_three_classes()
    module = case.model.module
    for target, label in enumerate("abc"):
        ours = ex.explain(case.model, case.data, ex.Saliency(), target=label).values
        with ex_eval(module):
            theirs = Saliency(module).attribute(torch.from_numpy(case.data.X), target=target, abs=False)
        np.testing.assert_allclose(ours, theirs.numpy(), atol=1e-6)


def ex_eval(module):
    from explainers.device import on_device

    return on_device(module, torch.device("cpu"))


def test_raw_and_probability_before_and_after_a_softmax():
    full = softmax_net()
    bare = full[:-1]
    data = ex.Dataset.from_images(pictures(4))
    ends, logits = ex.Model.wrap(full, classes="abc"), ex.Model.wrap(bare, classes="abc")
    for space, own in (("raw", logits), ("probability", ends)):
        found = [ex.explain(m, data, ex.Saliency(space), target="b") for m in (ends, logits)]
        expected = ex.explain(own, data, ex.Saliency(), target="b")
        for result in found:
            np.testing.assert_allclose(result.values, expected.values, atol=1e-6)
            np.testing.assert_allclose(result.output, expected.output, atol=1e-6)
            assert result.space == expected.space == space


def test_a_saturated_probability_vanishes_and_says_so():
    model = ex.Model.wrap(softmax_net(scale=1e5), classes="abc")
    data = ex.Dataset.from_images(pictures(4))
    probability = ex.explain(model, data, ex.Saliency())
    raw = ex.explain(model, data, ex.Saliency("raw"))
    assert np.abs(probability.values).max() < 1e-4 * np.abs(raw.values).max()
    assert "saturated for 4 of 4 cases" in probability.diagnostics["notes"][0]
    assert "space='raw'" in probability.diagnostics["notes"][0]
    assert raw.diagnostics["notes"] == ()
    assert (
        ex.explain(ex.Model.wrap(softmax_net(), classes="abc"), data, ex.Saliency()).diagnostics["notes"]
        == ()
    )


def test_a_softmax_that_is_defined_last_but_not_called_last_is_told_apart():
    class Gated(nn.Module):
        def __init__(self):
            super().__init__()
            self.read = nn.Linear(3, 2)
            self.gate = nn.Softmax(dim=1)

        def forward(self, x):
            return self.read(self.gate(x))

    model = ex.Model.wrap(Gated(), classes="ab", output="raw")
    result = ex.explain(model, table(), ex.Saliency())
    assert result.space == "raw"
    np.testing.assert_allclose(result.output, model.raw(table().X)[:, 1], rtol=1e-6)
    wrong = ex.Model.wrap(Gated(), classes="ab", output="probability")
    with pytest.raises(ex.InvalidSetting, match="the model goes on after it"):
        ex.explain(wrong, table(), ex.Saliency("raw"))


def test_columns_go_back_to_the_features_of_the_data():
    import dataclasses

    line = nn.Linear(2, 1)
    model = dataclasses.replace(
        ex.Model.wrap(line), features=("x2", "x0"), predictor=lambda X: X[["x2", "x0"]].to_numpy()[:, :1]
    )
    values = ex.explain(model, table(), ex.Saliency()).values
    weight = line.weight.detach().numpy()[0]
    np.testing.assert_array_equal(values[0], [weight[1], 0, weight[0]])


def test_sequences_have_one_slope_per_step_and_channel():
    case = gru_sequences()
    result = ex.explain(case.model, case.data, ex.Saliency())
    assert result.values.shape == (6, 5, 2)
    assert (np.abs(result.values).sum(axis=(0, 2)) > 0).all()
    assert len(result.to_frame()) == 60


def test_a_module_that_begins_in_place_neither_fails_nor_changes_the_data():
    net = nn.Sequential(nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(64, 1))
    data = ex.Dataset.from_images(pictures(3) - 0.5)
    before = data.X.copy()
    values = ex.explain(ex.Model.wrap(net), data, ex.Saliency()).values
    np.testing.assert_array_equal(data.X, before)
    np.testing.assert_allclose(
        values, (before > 0) * net[2].weight.detach().numpy().reshape(1, 1, 8, 8), atol=1e-7
    )


@pytest.mark.parametrize("outer", [torch.no_grad, torch.inference_mode])
def test_a_caller_without_gradients_still_gets_them(outer):
    line = nn.Linear(3, 1)
    with outer():
        values = ex.explain(ex.Model.wrap(line), table(), ex.Saliency()).values
        assert not torch.is_grad_enabled()
    np.testing.assert_array_equal(values[0], line.weight.detach().numpy()[0])


def test_the_brightest_slope_is_in_the_planted_patch():
    model, data, inside = planted_patches()
    values = ex.explain(model, data, ex.Saliency(), target="patch").values
    assert share_inside(values, inside) >= 0.7


class Raises(nn.Module):
    def forward(self, x):
        raise RuntimeError("the middle layer is broken")


class Rounds(nn.Module):
    def forward(self, x):
        return (x[:, :1] > 0).float()


REFUSALS = [
    (nn.Linear(4, 1), ex.Saliency(), ex.ModelFailure, r"error for 6 cases of shape \(3,\)"),
    (Raises(), ex.Saliency(), ex.ModelFailure, "the middle layer is broken"),
    (Rounds(), ex.Saliency(), ex.ModelFailure, "cannot be differentiated"),
    (nn.Linear(3, 1), ex.Saliency("raw"), ex.InvalidSetting, "'raw' cannot be had"),
    (nn.Linear(3, 1), ex.Saliency("probability"), ex.InvalidSetting, "'probability' cannot be had"),
    (nn.Unflatten(1, (3, 1)), ex.Saliency(), ex.ModelFailure, r"answered shape \(6, 3, 1\)"),
]


@pytest.mark.parametrize(("module", "explainer", "error", "match"), REFUSALS)
def test_refusals(module, explainer, error, match):
    model = ex.Model(lambda X: X.to_numpy()[:, :1], "regression", module=module)
    module.train()
    with pytest.raises(error, match=match):
        ex.explain(model, table(), explainer, target=0)
    assert module.training
    assert all(p.requires_grad for p in module.parameters())


def test_an_unknown_space_is_refused_by_the_settings():
    with (
        annotations_not_executed(),
        pytest.raises(ex.InvalidSetting, match="must be one of 'auto', 'raw', 'probability'"),
    ):
        ex.Saliency(space="logit")


def test_a_column_of_text_is_named():
    data = ex.Dataset.from_frame(pd.DataFrame({"x0": [1.0, 2.0], "ward": ["a", "b"], "on": [True, False]}))
    model = ex.Model.wrap(nn.Linear(3, 1))
    assert (
        ex.why_not(ex.Saliency, model, data) == "Needs numbers in every column; 'ward' holds something else."
    )
    with pytest.raises(ex.NotApplicable, match="'ward' holds something else"):
        ex.explain(model, data, ex.Saliency())
