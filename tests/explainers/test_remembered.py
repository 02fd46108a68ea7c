"""What is known of a module is asked once, for what it depends on, and goes with the module or its children."""

from __future__ import annotations

import copy
import gc
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import torch
from torch import nn

import explainers as ex
from explainers.gradients import remembered
from explainers.gradients.remembered import Remembered


def counting() -> tuple[list[int], Callable[[], int]]:
    """Answers 1, 2, 3, …, and the list of those that were given."""
    given: list[int] = []

    def find() -> int:
        given.append(len(given) + 1)
        return given[-1]

    return given, find


def test_an_answer_is_found_once_for_what_it_depends_on() -> None:
    module, other, known = nn.Sequential(nn.Linear(2, 2)), nn.Sequential(nn.Linear(2, 2)), Remembered[int]()
    _, find = counting()
    assert [known.of(module, key, find) for key in ("a", "a", "b", "a")] == [1, 1, 2, 1]
    assert known.of(other, "a", find) == 3


def test_another_child_is_another_module() -> None:
    module, known = nn.Sequential(nn.Linear(2, 2)), Remembered[int]()
    _, find = counting()
    assert known.of(module, "a", find) == 1
    module[0] = nn.Linear(2, 2)
    assert known.of(module, "a", find) == 2
    assert known.of(module, "a", find) == 2


def test_a_child_in_the_place_of_one_that_is_gone_is_another() -> None:
    module, known = nn.Sequential(nn.Identity()), Remembered[int]()
    _, find = counting()
    place = id(module[0])
    known.of(module, "a", find)
    for _ in range(1000):
        module[0] = nn.Identity()
        if id(module[0]) == place:
            break
    assert known.of(module, "a", find) == 2


def test_the_oldest_goes_first_and_an_error_leaves_nothing() -> None:
    module, known = nn.Linear(2, 2), Remembered[int]()
    _, find = counting()
    for key in range(remembered.KEPT + 1):
        known.of(module, key, find)
    assert known.of(module, remembered.KEPT, find) == remembered.KEPT + 1
    assert known.of(module, 0, find) == remembered.KEPT + 2
    try:
        known.of(module, "fails", lambda: 1 // 0)
    except ZeroDivisionError:
        assert known.of(module, "fails", find) == remembered.KEPT + 3


def test_a_module_is_forgotten_with_what_was_found() -> None:
    module, known = nn.Linear(2, 2), Remembered[int]()
    known.of(module, "a", lambda: 1)
    assert len(known._found) == 1
    del module
    gc.collect()
    assert len(known._found) == 0


def test_threads_that_ask_at_once_are_all_answered() -> None:
    modules, known, wrong = [nn.Linear(2, 2) for _ in range(3)], Remembered[int](), []

    def ask() -> None:
        for i in range(600):
            key = i % (2 * remembered.KEPT)
            if known.of(modules[i % 3], key, lambda key=key: key) != key:  # type: ignore[misc]
                wrong.append(key)

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(6) as pool:
            for done in [pool.submit(ask) for _ in range(6)]:
                done.result()
    finally:
        sys.setswitchinterval(before)
    assert wrong == []


class Either(nn.Module):
    """A rectifier for some cases and a smooth step for others."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(3, 8), nn.Linear(8, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.first(x)
        answer: torch.Tensor = self.last(torch.relu(h) if bool(x[:, 0].mean() > 0) else torch.tanh(h))
        return answer


def test_the_rule_does_not_depend_on_what_was_explained_before() -> None:
    torch.manual_seed(0)
    data = ex.Dataset.from_frame(pd.DataFrame({"a": [-2.0, 2.0], "b": [1.0, -1.0], "c": [0.5, 0.7]}))
    net = Either()
    alone = [
        ex.explain(ex.Model.wrap(copy.deepcopy(net)), data, ex.IntegratedGradients(), rows=[row])
        for row in (0, 1)
    ]
    assert [found.diagnostics["rule"] for found in alone] == ["nodes", "sections"]
    for order in ((0, 1), (1, 0)):
        model = ex.Model.wrap(copy.deepcopy(net))
        for row in order:
            found = ex.explain(model, data, ex.IntegratedGradients(), rows=[row])
            assert found.diagnostics["rule"] == alone[row].diagnostics["rule"]
            np.testing.assert_array_equal(found.values, alone[row].values)


def test_the_second_explanation_asks_for_what_it_says_and_no_more() -> None:
    module = nn.Sequential(
        nn.Conv2d(1, 3, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2)
    )
    data = ex.Dataset.from_images(np.random.default_rng(0).random((2, 6, 6)))
    model, rows = ex.Model.wrap(module, classes=("a", "b")), []
    module.register_forward_hook(lambda _module, given, _answer: rows.append(len(given[0])))
    said, asked = [], []
    for row in (0, 1):
        rows.clear()
        found = ex.explain(model, data, ex.IntegratedGradients(steps=12), rows=[row])
        asked.append(sum(rows))
        said.append(found.diagnostics["evaluations"])
    assert found.diagnostics["rule"] == "sections"
    assert asked == [said[0] + 1, said[1]]
