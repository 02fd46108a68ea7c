"""What an explanation costs is said before it is asked for, and is what it then asks."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pandas as pd
import pytest

import explainers as ex


def table(d: int, n: int = 30, trained: int = 0) -> ex.Dataset:
    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(n, d)), columns=[f"x{j}" for j in range(d)])
    data = ex.Dataset.from_frame(frame)
    if not trained:
        return data
    role = np.array(["train"] * trained + ["test"] * (n - trained), dtype="<U9")
    return ex.Dataset(data.X, data.schema, role=role)


def counted() -> tuple[ex.Model, list[int]]:
    asked: list[int] = []

    def answer(X: pd.DataFrame) -> np.ndarray:
        asked.append(len(X))
        return X.to_numpy(float) @ np.arange(X.shape[1]) + X["x0"].to_numpy() * X["x1"].to_numpy()

    return ex.Model(answer, "regression"), asked


PAIR = (("x0", "x1"),)


@pytest.mark.parametrize(
    ("explainer", "d", "rows"),
    [
        (ex.KernelShap(budget=64, background=7), 9, [0, 3]),
        (ex.KernelShap(budget=64, background=7), 4, [0]),
        (ex.KernelShap(budget=64, background=7, groups=PAIR), 5, None),
        (ex.PermutationShap(budget=64, background=40), 4, [1, 2, 3]),
        (ex.ExactShap(background=5), 4, None),
        (ex.ExactShap(background=5, groups=PAIR), 4, [2]),
        (ex.Lime(samples=300), 4, [2, 5]),
    ],
)
def test_the_cost_is_what_is_asked(explainer: ex.Explainer, d: int, rows: Any) -> None:
    (model, asked), data = counted(), table(d)
    said = ex.cost(model, data, explainer, rows)
    assert asked == []
    result = ex.explain(model, data, explainer, rows)
    assert said == result.diagnostics["evaluations"]
    assert sum(asked) <= said + (
        len(data) if rows is None else len(rows)
    )  # targets may ask the cases once more


@pytest.mark.parametrize(
    "explainer",
    [
        ex.PermutationShap(budget=100, background=6),
        ex.PermutationShap(budget=100, background=6, groups=PAIR, within_groups="owen"),
        ex.KernelShap(budget=65, background=6),
        ex.KernelShap(budget=256, background=6, tolerance=10.0),
    ],
)
def test_the_cost_is_never_less_than_what_is_asked(explainer: ex.Explainer) -> None:
    (model, _), data = counted(), table(9)
    said = ex.cost(model, data, explainer, [0, 1])
    used = ex.explain(model, data, explainer, [0, 1]).diagnostics["evaluations"]
    assert said is not None
    assert used <= said


def test_importance_costs_each_case_for_every_unit_and_repeat() -> None:
    (model, asked), data = counted(), table(4)
    true = dataclasses.replace(data, y=data.matrix.sum(axis=1))
    for groups, units in (((), 4), (PAIR, 3)):
        asked.clear()
        explainer = ex.PermutationImportance(repeats=3, groups=groups)
        said = ex.cost(model, true, explainer)
        found = ex.explain(model, true, explainer)
        assert said == found.diagnostics["evaluations"] == sum(asked) == 30 * (1 + 3 * units)


def test_a_constant_feature_costs_nothing_in_the_end() -> None:
    (model, _), data = counted(), table(4)
    frame = data.X.assign(x3=1.0)
    still = ex.Dataset.from_frame(frame)
    said = ex.cost(model, still, ex.KernelShap(background=5), [0])
    used = ex.explain(model, still, ex.KernelShap(background=5), [0]).diagnostics["evaluations"]
    assert (said, used) == (14 * 5 + 5 + 1, 6 * 5 + 5 + 1)


def test_reference_cases_are_those_there_are() -> None:
    model, _ = counted()
    assert ex.cost(model, table(3, trained=4), ex.ExactShap(background=100), [0]) == 6 * 4 + 4 + 1
    assert ex.cost(model, table(3), ex.ExactShap(background=100), [0]) == 6 * 30 + 30 + 1


def test_cases_in_every_form_cost_the_same() -> None:
    (model, _), data, explainer = counted(), table(4), ex.KernelShap(background=5)
    costs = {ex.cost(model, data, explainer, rows) for rows in ([3, 4], data.take([0, 1]), data.X.iloc[:2])}
    assert costs == {14 * 5 * 2 + 5 + 2}


def test_where_it_is_not_known_nothing_is_said() -> None:
    (model, _), data = counted(), table(4)
    pictures = ex.Dataset.from_images(np.zeros((2, 8, 8, 3), dtype=np.uint8))
    assert ex.cost(model, data, ex.PartialDependence()) is None
    assert ex.cost(model, pictures, ex.ExactShap()) is None


def test_a_picture_costs_the_budget_at_most() -> None:
    pictures = ex.Dataset.from_images(np.random.default_rng(0).random((3, 1, 8, 8), dtype=np.float32))
    model = ex.Model(lambda X: X.reshape(len(X), -1).mean(axis=1), "regression")
    for explainer in (ex.KernelShap(budget=64, segments=12), ex.PermutationShap(budget=64, segments=12)):
        said = ex.cost(model, pictures, explainer, [0, 2])
        assert said == 128
        used = ex.explain(model, pictures, explainer, [0, 2]).diagnostics["evaluations"]
        assert said / 2 < used <= said


def test_wrong_rows_are_refused() -> None:
    (model, _), data = counted(), table(4)
    with pytest.raises(ex.InvalidSetting, match=r"0\.\.29"):
        ex.cost(model, data, ex.KernelShap(), [30])
