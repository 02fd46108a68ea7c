"""Pictures that are changed where the model computes: how they get to a module, in which portions, and that nothing stays behind."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import explainers as ex
from explainers import painting
from explainers.explainer import Problem
from explainers.painting import Canvas
from explainers.wrapping import torch_module
from tests.cases import black_box_pictures, cnn_three_classes, network, pictures


def canvas_of(model, data) -> Canvas:
    problem = Problem(model, data, data, None, None, torch.device("cpu"))
    return Canvas.of(problem, model.space, 0.0)


class Stretched(nn.Module):
    """Insists on channels first: `view` refuses any other order."""

    def __init__(self) -> None:
        super().__init__()
        self.look = nn.Conv2d(3, 4, 3)
        self.read = nn.Linear(144, 2)
        self.orders: list[bool] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.orders.append(x.is_contiguous())
        return self.read(torch.relu(self.look(x)).view(len(x), -1))


def test_a_module_that_insists_on_channels_first_gets_them():
    module = network(Stretched(), seed=3)
    model = ex.Model.wrap(module)
    X = pictures(3, channels=3)
    with torch.no_grad():
        expected = module(torch.from_numpy(X)).numpy()
    module[0].orders.clear()
    np.testing.assert_allclose(model.predict(X), expected, atol=1e-6)
    assert module[0].orders == [False, True]
    np.testing.assert_allclose(model.predict(torch.from_numpy(X)), expected, atol=1e-6)
    assert module[0].orders == [False, True, True]


def test_channels_lie_last_where_that_is_faster():
    seen = []

    class Look(nn.Conv2d):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            seen.append(x.is_contiguous(memory_format=torch.channels_last))
            return super().forward(x)

    model = ex.Model.wrap(network(Look(3, 2, 3), nn.Flatten(), nn.Linear(72, 2)))
    X = pictures(4, channels=3)
    together = model.predict(X)
    alone = np.concatenate([model.predict(X[i : i + 1]) for i in range(4)])
    np.testing.assert_allclose(together, alone, atol=1e-6)
    assert seen == [True, False, False, False, False]
    before = {key: value.stride() for key, value in model.module.state_dict().items()}
    assert before["0.weight"] == nn.Conv2d(3, 2, 3).weight.stride()


def test_a_module_that_fails_either_way_says_why():
    module = nn.Sequential(nn.Conv2d(2, 3, 3), nn.Flatten())
    with pytest.raises(ex.ModelFailure, match="2 channels"):
        ex.Model.wrap(module).predict(pictures(2, channels=3))


def test_tensors_are_left_as_they_are():
    model = ex.Model.wrap(network(nn.ReLU(inplace=True), nn.Flatten()))
    x = torch.from_numpy(pictures(2) - 0.5)
    before = x.clone()
    np.testing.assert_array_equal(model.predict(x), model.predict(before.numpy()))
    assert torch.equal(x, before)
    assert torch_module.takes_tensors(model)
    assert torch_module.takes_tensors(cnn_three_classes().model)
    assert not torch_module.takes_tensors(black_box_pictures().model)


def test_portions_follow_the_largest_layer():
    module = network(nn.Conv2d(3, 50, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(3200, 2))
    canvas = canvas_of(ex.Model.wrap(module), ex.Dataset.from_images(pictures(5, channels=3)))
    assert canvas.row_bytes == painting.LAYERS * 2 * 50 * 64 * 4
    black_box = black_box_pictures()
    assert canvas_of(black_box.model, black_box.data).row_bytes == painting.PICTURES * 64 * 4
    assert not any(child._forward_hooks or child._forward_pre_hooks for child in module.modules())


def test_no_hook_is_left_where_the_module_fails():
    class Fails(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            raise ValueError("no")

    module = nn.Sequential(nn.Conv2d(1, 1, 3), Fails())
    with pytest.raises(ex.ModelFailure, match="no"):
        ex.explain(ex.Model.wrap(module), ex.Dataset.from_images(pictures(2)), ex.Rise())
    assert not any(child._forward_hooks or child._forward_pre_hooks for child in module.modules())
    assert module.training


def test_what_cannot_be_hooked_is_asked_all_the_same():
    class Compiled(torch.jit.ScriptModule):
        """Refuses hooks, as scripted modules do, and counts as one."""

        def register_forward_hook(self, *_, **__):
            raise AssertionError("hooked")

        def forward(self, x):
            return x.mean(dim=(1, 2, 3))

    module = nn.Sequential(Compiled())
    data = ex.Dataset.from_images(pictures(2))
    found = ex.explain(ex.Model.wrap(module), data, ex.Occlusion(window=4))
    plain = ex.explain(ex.Model.wrap(lambda X: X.mean(axis=(1, 2, 3))), data, ex.Occlusion(window=4))
    np.testing.assert_allclose(found.values, plain.values, atol=1e-6)
