"""What a model answers, as declared: it wins over what is found, and is checked against what the model answers."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import safetensors.torch
import torch
from sklearn.tree import DecisionTreeClassifier
from torch import nn

import explainers as ex
from tests.cases import annotations_not_executed, network
from tests.explainers.onnx_models import export

FRAME = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)
NAMES = ("a", "b", "c")


def softmax(z):
    """Row by row."""
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


class Inside(nn.Module):
    """A softmax (or a sigmoid of one output) that is a function, so that no last layer shows it."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.linear = network(nn.Linear(3, outputs))[0]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        z = self.linear(x)
        return torch.sigmoid(z) if z.shape[1] == 1 else torch.softmax(z, dim=1)


def onnx_file(module: nn.Module) -> bytes:
    """The module as an ONNX file."""
    return export(module, (3,), default=False)


def safetensors_file(module: nn.Module) -> bytes:
    """Its weights alone."""
    return safetensors.torch.save(module.state_dict())


@pytest.mark.parametrize("outputs", [1, 3])
def test_declared_probabilities_are_taken_as_they_are(outputs):
    module = Inside(outputs)
    names = NAMES if outputs == 3 else NAMES[:2]
    answer = module(torch.from_numpy(FRAME)).detach().numpy()
    expected = answer if outputs == 3 else np.hstack([1 - answer, answer])
    found = ex.Model.wrap(module, names)  # what is found: logits, so a softmax of a softmax
    assert not np.allclose(found.predict(FRAME), expected, atol=1e-2)
    declared = ex.Model.wrap(module, names, output="probability")
    np.testing.assert_allclose(declared.predict(FRAME), expected, atol=1e-6)
    assert (declared.declared, declared.space, declared.raw_predictor) == ("probability", "probability", None)
    assert not declared.doubt(declared.predict(FRAME))


def test_declared_logits_win_over_a_softmax_also_of_an_onnx_file():
    module = network(nn.Linear(3, 3), nn.Softmax(1)).eval()
    answer = module(torch.from_numpy(FRAME)).detach().numpy().astype(np.float64)
    data = ex.Dataset.from_frame(pd.DataFrame(FRAME, columns=list("xyz")))
    content = onnx_file(module)
    for model in (
        ex.Model.wrap(module, NAMES, output="raw"),
        ex.load_model(content, classes=NAMES, output="raw"),
    ):
        np.testing.assert_allclose(model.predict(FRAME), softmax(answer), atol=1e-6)
        np.testing.assert_allclose(model.raw(FRAME), answer, atol=1e-6)
        assert "Raw scores are declared" in model.notes[0]
        found = ex.explain(model, data, ex.Saliency(), [0], "b")
        assert found.space == "raw"
        np.testing.assert_allclose(found.output, answer[:1, 1], atol=1e-6)
    plain = ex.load_model(content, classes=NAMES)
    np.testing.assert_allclose(plain.predict(FRAME), answer, atol=1e-6)
    assert (plain.declared, plain.digest) != (
        "raw",
        ex.load_model(content, classes=NAMES, output="raw").digest,
    )
    number = ex.load_model(content, output="target")
    assert (number.task, number.space) == ("regression", "target")


def test_one_logit_is_the_margin_of_the_second_class_in_a_file_without_names():
    module = network(nn.Linear(3, 1)).eval()
    z = module(torch.from_numpy(FRAME)).detach().numpy().astype(np.float64)
    assert ex.load_model(onnx_file(module)).task == "regression"
    declared = ex.load_model(onnx_file(module), output="raw")
    np.testing.assert_allclose(declared.predict(FRAME)[:, 1:], 1 / (1 + np.exp(-z)), atol=1e-6)
    np.testing.assert_allclose(declared.raw(FRAME), np.hstack([-z, z]), atol=1e-6)
    weights = safetensors_file(module)
    layers = {"layers": [{"layer": "Linear", "in_features": 3, "out_features": 1}]}
    told = ex.load_model(weights, layers, output="raw")
    np.testing.assert_allclose(told.predict(FRAME), declared.predict(FRAME), atol=1e-6)
    assert told.digest != ex.load_model(weights, layers).digest


def test_declared_probabilities_outside_0_to_1_are_refused_with_what_was_found():
    module = network(nn.Linear(3, 3)).eval()
    said = r"Probabilities are declared, but the model answered -\d\.\d+ to \d\.\d+ for \d cases"
    with pytest.raises(ex.ModelFailure, match=said):
        ex.Model.wrap(module, NAMES, output="probability").predict(FRAME)
    with pytest.raises(ex.ModelFailure, match=said):
        ex.load_model(onnx_file(module), output="probability")
    with pytest.raises(ex.ModelFailure, match=said):
        ex.Model.wrap(lambda X: 2 * X - 1, NAMES, output="probability").predict(FRAME)


def test_probabilities_that_do_not_add_up_are_said_beside_the_figures():
    module = network(nn.Linear(3, 3), nn.Sigmoid())
    model = ex.Model.wrap(module, NAMES, output="probability")
    data = ex.Dataset.from_frame(
        pd.DataFrame(FRAME, columns=list("xyz")).assign(t=list("abcabc")), target="t"
    )
    assert "add up to" in ex.performance(model, data).note
    sound = ex.Model.wrap(Inside(3), NAMES, output="probability")
    assert "add up to" not in ex.performance(sound, data).note


def test_what_cannot_be_declared():
    trees = DecisionTreeClassifier().fit(FRAME, np.array(["no", "yes"] * 3))
    assert ex.Model.wrap(trees, output="probability").declared == "probability"
    with pytest.raises(ex.InvalidSetting, match="declares numbers of a regression, which this model"):
        ex.Model.wrap(trees, output="target")
    with pytest.raises(ex.InvalidSetting, match="Leave one of the two out"):
        ex.Model.wrap(network(nn.Linear(3, 3)), NAMES, output="target")
    wrong = pytest.raises(ex.InvalidSetting, match=r"output=.logits. is none of .* Declare .raw. for logits")
    with annotations_not_executed(), wrong:
        ex.load_model(b"", output="logits")  # type: ignore[arg-type]
