"""What every registered explainer keeps, on every case, without a word about any one of them.

A new explainer is tested as soon as it stands in `explainers.registry`; a new case as soon as `tests.cases` has it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import random
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any, get_args

import numpy as np
import pytest
import torch

import explainers as ex
from explainers import device
from explainers.explainer import Need
from explainers.explanation import Space
from explainers.schema import Modality
from tests.cases import CASES, annotations_not_executed

#: Settings that keep a run short, where the defaults are slow. Nothing else here knows a method by name.
SMALL: dict[str, dict[str, Any]] = {
    "AccumulatedLocalEffects": {"grid": 4, "cases": 30},
    "Counterfactual": {"suggestions": 1},
    "ExactShap": {"background": 6, "segments": 4},
    "ExpectedGradients": {"samples": 12, "background": 3},
    "FeatureVisualization": {"steps": 6, "samples": 2, "diversity": 0.1, "blur": 0.1},
    "IntegratedGradients": {"steps": 4},
    "InteractionStrength": {"cases": 6},
    "KernelShap": {"background": 6, "budget": 16, "segments": 4},
    "Lime": {"samples": 80, "segments": 9},
    "Occlusion": {"window": 4},
    "PartialDependence": {"grid": 4, "cases": 10},
    "PermutationImportance": {"repeats": 2},
    "PermutationShap": {"background": 6, "budget": 10, "segments": 4},
    "Rise": {"masks": 60, "cells": 3},
    "Sensitivity": {"samples": 64},
    "SmoothGrad": {"samples": 12},
    "TreeShap": {"background": 6},
    "TreeShapInteractions": {"background": 6},
}
#: A portion of a few rows of any of the cases.
FEW_BYTES = 2**15
ROWS = range(4)


def small(kind: type[ex.Explainer]) -> ex.Explainer:
    return kind(**SMALL.get(kind.__name__, {}))


def rows_of(kind: type[ex.Explainer]) -> range | None:
    return None if kind.scope == "data" else ROWS


def explain(kind, case, rows="default", **more):
    rows = rows_of(kind) if isinstance(rows, str) else rows
    return ex.explain(case.model, case.data, small(kind), rows=rows, **{"device": "cpu", **more})


@functools.cache
def first_result(kind, name):
    return explain(kind, CASES[name]())


def pairs(applies: bool, of: Callable[[type[ex.Explainer]], bool] = lambda kind: True) -> list[Any]:
    every = [(kind, name) for kind in ex.EXPLAINERS for name in CASES if of(kind)]
    chosen = [
        (k, n) for k, n in every if (ex.why_not(k, CASES[n]().model, CASES[n]().data) is None) is applies
    ]
    return [pytest.param(kind, name, id=f"{kind.__name__}-{name}") for kind, name in chosen]


explainers = pytest.mark.parametrize("kind", ex.EXPLAINERS, ids=lambda kind: kind.__name__)
applicable_pairs = pytest.mark.parametrize(("kind", "name"), pairs(applies=True))


def assert_same(found: Any, expected: Any, where: str = "result", rtol: float = 2e-4) -> None:
    """Equal values up to rounding, through tuples, mappings and dataclasses."""
    if isinstance(expected, ex.Explanation):
        for field in dataclasses.fields(expected):
            if field.name not in ("diagnostics", "provenance"):
                assert_same(
                    getattr(found, field.name), getattr(expected, field.name), f"{where}.{field.name}", rtol
                )
    elif isinstance(expected, np.ndarray) and expected.dtype.kind in "fiub":
        assert found.dtype == expected.dtype, where
        scale = np.abs(expected[np.isfinite(expected)]).max(initial=0.0)
        np.testing.assert_allclose(found, expected, rtol=rtol, atol=rtol * scale + 1e-12, err_msg=where)
    elif isinstance(expected, np.ndarray):
        assert_same(list(found), list(expected), where, rtol)
    elif isinstance(expected, (tuple, list)):
        assert len(found) == len(expected), where
        for i, (one, other) in enumerate(zip(found, expected, strict=True)):
            assert_same(one, other, f"{where}[{i}]", rtol)
    elif isinstance(expected, Mapping):
        assert list(found) == list(expected), where
        for key in expected:
            assert_same(found[key], expected[key], f"{where}[{key!r}]", rtol)
    elif isinstance(expected, float):
        assert found == pytest.approx(expected, rel=rtol, nan_ok=True), where
    else:
        assert found == expected, where


def arrays(result: ex.Explanation) -> dict[str, np.ndarray]:
    """The numeric arrays of a result, those in tuples too."""
    found = {}
    for field in dataclasses.fields(result):
        value = getattr(result, field.name)
        parts = value if isinstance(value, tuple) else (value,)
        found.update({f"{field.name}[{i}]": p for i, p in enumerate(parts) if isinstance(p, np.ndarray)})
    return {name: array for name, array in found.items() if array.dtype.kind in "fiu"}


# --- the class itself -------------------------------------------------------------------------------------------------


@explainers
def test_the_class_is_a_frozen_dataclass_that_needs_nothing(kind):
    explainer = kind()
    assert explainer == kind()
    assert hash(explainer) == hash(kind())
    assert kind.__bases__ == (ex.Explainer,)
    assert "__init__" not in kind.__dict__ or dataclasses.is_dataclass(kind)
    for setting in ex.settings_of(kind):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(explainer, setting.name, setting.default)


@explainers
def test_the_class_facts_are_filled_in(kind):
    assert len(kind.title) > 3
    assert kind.question.endswith("?")
    assert len(kind.paper) > 10
    assert kind.scope in ("case", "data")
    assert kind.needs <= set(get_args(Need))
    assert kind.modalities
    assert set(kind.modalities) <= set(get_args(Modality))
    assert issubclass(kind.returns, ex.Explanation)
    assert kind.returns is not ex.Explanation
    assert kind.default_role is None or kind.default_role in ex.ROLES
    assert kind.__name__ in ex.__all__
    assert len(sys.modules[kind.__module__].__doc__ or "") > 200


def test_titles_are_told_apart():
    titles = [kind.title for kind in ex.EXPLAINERS]
    assert len(set(titles)) == len(titles)
    assert len(set(ex.EXPLAINERS)) == len(ex.EXPLAINERS)


@explainers
def test_the_repr_is_the_call_that_makes_it(kind):
    for explainer in (kind(), small(kind)):
        assert eval(repr(explainer), {kind.__name__: kind}) == explainer


@explainers
def test_settings_outside_their_range_or_choices_are_refused(kind):
    for setting in ex.settings_of(kind):
        wrong = [setting.range.low - 1, setting.range.high + 1] if setting.range else []
        wrong += ["no such choice"] if setting.choices else []
        for value in wrong:
            with (
                annotations_not_executed(),
                pytest.raises(ex.InvalidSetting, match=f"{kind.__name__}.{setting.name}="),
            ):
                kind(**{setting.name: value})


def test_every_public_name_is_documented():
    constants = {"EXPLAINERS", "ROLES", "__version__"}
    for name in set(ex.__all__) - constants:
        doc = getattr(ex, name).__doc__ or ""
        assert len(doc) > 10, name
        assert not doc.startswith(f"{name}("), f"{name} has only the docstring that dataclass made up"


# --- why_not ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "name"), pairs(applies=False))
def test_what_does_not_apply_is_refused_with_the_same_sentence(kind, name):
    case = CASES[name]()
    reason = ex.why_not(kind, case.model, case.data)
    assert reason.endswith(".")
    assert ex.why_not(small(kind), case.model, case.data) == reason
    assert (kind, reason) in ex.applicable(case.model, case.data)
    with pytest.raises(ex.NotApplicable, match=re.escape(f"{kind.__name__}: {reason}")):
        explain(kind, case)


def test_every_explainer_meets_a_case_that_it_explains_and_every_case_an_explainer():
    applied = [p.values for p in pairs(applies=True)]
    assert {kind for kind, _ in applied} == set(ex.EXPLAINERS)
    assert {name for _, name in applied} | {"black_box_texts"} == set(CASES)


# --- results ----------------------------------------------------------------------------------------------------------


@applicable_pairs
def test_the_result_is_of_the_kind_and_shape_that_was_promised(kind, name):
    case, result = CASES[name](), first_result(kind, name)
    assert type(result) is kind.returns
    CHECKS[kind.returns](result, case)
    assert result.diagnostics["seconds"] >= 0
    assert result.diagnostics["device"] == "cpu"
    assert result.diagnostics["evaluations"] > 0
    assert isinstance(result.diagnostics["exact"], bool)
    assert result.provenance["explainer"] == repr(small(kind))
    assert result.provenance["model"] == case.model.digest
    assert isinstance(result.names, tuple)


def check_attribution(result: ex.Attribution, case: Any, outputs: tuple[int, ...] = ()) -> None:
    if case.data.modality == "text":
        check_texts(result, outputs)
        return
    m, shape = len(ROWS), case.data.X.shape[1:]
    flat = (1, *shape[1:]) if case.data.modality == "image" else shape
    assert result.values.shape in [(m, *shape, *outputs), (m, *flat, *outputs)]
    assert result.values.dtype in (np.float32, np.float64)
    assert result.base_value.shape == result.output.shape == (m, *outputs)
    assert np.isfinite(result.values).all()
    assert np.isfinite(result.output).all()
    assert result.space in get_args(Space)
    assert len(result.targets) == (outputs or (m,))[0]
    for error in (result.standard_error, result.background_error):
        assert error is None or error.shape == result.values.shape
        assert error is None or (error >= 0).all()
    if case.data.modality == "table":
        assert result.names == case.data.schema.names
    if result.reference is not None:
        assert result.reference.cases > 0
        assert result.reference.space == result.space


def check_texts(result: ex.Attribution, outputs: tuple[int, ...]) -> None:
    """Of texts there is one array each, with a value for each word."""
    assert len(result.values) == len(ROWS)
    assert result.base_value.shape == result.output.shape == (len(ROWS), *outputs)
    words = result.diagnostics["tokens"]
    for array in (result.values, result.standard_error):
        for row, tokens in [] if array is None else zip(array, words, strict=True):
            assert row.shape == (len(tokens), *outputs)
            assert np.isfinite(row).all()


def check_importance(result: ex.Importance, case: Any) -> None:
    assert result.values.shape == (len(result.names),)
    assert np.isfinite(result.values).all()
    assert result.metric
    assert result.standard_error is None or result.standard_error.shape == result.values.shape
    assert set(result.names) <= set(case.data.schema.names)


def check_effect(result: ex.Effect, case: Any) -> None:
    assert result.names == case.data.schema.names
    assert (
        len(result.grids)
        == len(result.mean)
        == len(result.curves)
        == len(result.standard_error)
        == len(result.names)
    )
    for grid, mean, curves, error in zip(
        result.grids, result.mean, result.curves, result.standard_error, strict=True
    ):
        assert grid.shape == mean.shape == error.shape == curves.shape[1:]
        assert np.isfinite(mean).all()
        if len(curves):  # accumulated effects belong to no single case
            np.testing.assert_allclose(mean, curves.mean(axis=0), rtol=1e-6, atol=1e-9)
        assert np.isfinite(curves).all()
    assert result.space in get_args(Space)


def check_interaction(result: ex.Interaction, case: Any) -> None:
    d = len(case.data.schema.names)
    assert result.names == case.data.schema.names
    assert result.space in get_args(Space)
    for part in (result.values, result.strength):
        assert part.shape == (d, d)
        assert (part >= 0).all()
        np.testing.assert_array_equal(part, part.T)


def check_pair_attribution(result: ex.PairAttribution, case: Any, outputs: tuple[int, ...] = ()) -> None:
    m, d = len(ROWS), len(case.data.schema.names)
    assert result.names == case.data.schema.names
    assert result.space in get_args(Space)
    assert result.values.shape == (m, d, d, *outputs)
    assert result.base_value.shape == result.output.shape == (m, *outputs)
    assert len(result.targets) == (outputs or (m,))[0]
    np.testing.assert_array_equal(result.values, result.values.swapaxes(1, 2))
    total = result.values.sum(axis=(1, 2)) + result.base_value
    np.testing.assert_allclose(total, result.output, atol=1e-5 * max(1.0, np.abs(result.output).max()))


def check_counterfactuals(result: ex.Counterfactuals, case: Any) -> None:
    m, d = len(ROWS), len(case.data.schema.names)
    q = result.changed.shape[1]
    assert result.names == case.data.schema.names
    assert (result.original.shape, result.changed.shape) == ((m, d), (m, q, d))
    assert result.output.shape == result.distance.shape == (m, q)
    assert result.found.shape == result.before.shape == (m,)
    present = np.arange(q) < result.found[:, None]
    np.testing.assert_array_equal(np.isfinite(result.output), present)
    np.testing.assert_array_equal(np.isfinite(result.distance), present)
    np.testing.assert_array_equal(result.original, case.data.matrix[list(ROWS)])


def check_visualizations(result: ex.Visualizations, case: Any) -> None:
    k, s = len(result.names), result.pictures.shape[1]
    X = case.data.X
    assert result.pictures.shape == (k, s, *X.shape[1:])
    assert result.activation.shape == result.start.shape == result.history.shape[:2] == (k, s)
    assert result.examples.shape == result.example_activation.shape
    assert len(result.examples) == len(result.targets) == k
    assert result.space in (*get_args(Space), "activation")
    for part in (result.pictures, result.activation, result.start, result.history, result.example_activation):
        assert np.isfinite(part).all()
    ends = X.min(axis=(0, 2, 3)), X.max(axis=(0, 2, 3))
    assert (result.pictures >= ends[0][:, None, None] - 1e-6).all()
    assert (result.pictures <= ends[1][:, None, None] + 1e-6).all()
    assert (np.diff(result.example_activation, axis=1) <= 0).all()
    assert set(result.examples.ravel()) <= set(range(len(X)))


CHECKS = {
    ex.Attribution: check_attribution,
    ex.Importance: check_importance,
    ex.Effect: check_effect,
    ex.Interaction: check_interaction,
    ex.PairAttribution: check_pair_attribution,
    ex.Counterfactuals: check_counterfactuals,
    ex.Visualizations: check_visualizations,
}


def test_every_kind_of_result_has_its_check():
    assert {kind.returns for kind in ex.EXPLAINERS} <= set(CHECKS)


@pytest.mark.parametrize(
    ("kind", "name"), pairs(True, of=lambda kind: kind.returns in (ex.Attribution, ex.PairAttribution))
)
def test_all_outputs_have_a_last_axis(kind, name):
    case = CASES[name]()
    result = explain(kind, case, target="all")
    outputs = len(case.model.classes) or 1
    CHECKS[kind.returns](result, case, (outputs,))
    single = first_result(kind, name)
    chosen = [result.targets.index(label) for label in single.targets]
    found = tuple(result.values[i][..., j] for i, j in enumerate(chosen))
    found = found if isinstance(single.values, tuple) else np.stack(found)
    np.testing.assert_allclose(result.output[np.arange(len(ROWS)), chosen], single.output, rtol=1e-5)
    if result.diagnostics["exact"]:
        assert_same(found, single.values, "values")


@applicable_pairs
def test_a_result_survives_json_and_has_a_table(kind, name):
    result = first_result(kind, name)
    again = kind.returns.from_dict(json.loads(json.dumps(result.to_dict())))
    assert type(again) is kind.returns
    assert_same(again, result, rtol=0)
    assert_same(dict(again.diagnostics), dict(result.diagnostics), "diagnostics", rtol=0)
    assert again.provenance["explainer"] == result.provenance["explainer"]
    table = result.to_frame()
    wanted = int(result.found.sum()) if isinstance(result, ex.Counterfactuals) else 1
    assert len(table) >= wanted


# --- the same question has the same answer ------------------------------------------------------------------------------


@applicable_pairs
def test_again_is_the_same_and_nothing_outside_has_changed(kind, name):
    case, expected = CASES[name](), first_result(kind, name)
    before = state(case)
    with unchanged_generators():
        again = explain(kind, case)
    assert_same(again, expected, rtol=1e-6)
    assert_same(state(case), before, "state", rtol=0)


@applicable_pairs
def test_small_portions_give_what_one_portion_gives(kind, name, monkeypatch):
    monkeypatch.setattr(device, "CPU_CHUNK_BYTES", FEW_BYTES)
    with annotations_not_executed():
        found = explain(kind, CASES[name]())
    assert_same(found, first_result(kind, name))


@pytest.mark.parametrize(("kind", "name"), pairs(True, of=lambda kind: kind.scope == "case"))
def test_a_case_is_explained_alike_in_any_company(kind, name):
    case, expected = CASES[name](), first_result(kind, name)
    for rows in ([2, 1], case.data.take([2, 1])):
        part = explain(kind, case, rows=rows)
        assert part.targets == tuple(expected.targets[i] for i in (2, 1))
        compared = 0
        for field, array in arrays(expected).items():
            if array.shape[:1] == (len(ROWS),):
                assert_same(arrays(part)[field], array[[2, 1]], field)
                compared += 1
        assert compared >= 2


@pytest.mark.parametrize(("kind", "name"), pairs(applies=True) if torch.cuda.is_available() else [])
def test_an_accelerator_gives_the_same(kind, name):
    case = CASES[name]()
    before = state(case)
    assert_same(explain(kind, case, device="cuda"), first_result(kind, name), rtol=2e-3)
    assert_same(state(case), before, "state", rtol=0)


# --- progress is the cancel ---------------------------------------------------------------------------------------------


@applicable_pairs
def test_progress_can_stop_it_and_leaves_nothing_behind(kind, name, monkeypatch):
    monkeypatch.setattr(device, "CPU_CHUNK_BYTES", FEW_BYTES)
    case = CASES[name]()
    ticks: list[tuple[int, int]] = []
    with annotations_not_executed():
        explain(kind, case, progress=lambda done, total, partial=None: ticks.append((done, total)))
    assert ticks
    assert all(0 <= done <= total for done, total in ticks)
    shares = [done / total for done, total in ticks]
    assert shares == sorted(shares)
    before = state(case)
    for share in sorted({0.0, shares[(len(ticks) - 1) // 2]}):
        with unchanged_generators(), pytest.raises(ex.Cancelled, match=f"^stopped at {share}$"):
            explain(kind, case, progress=stop_at(share))
    assert_same(state(case), before, "state", rtol=0)
    monkeypatch.undo()
    with annotations_not_executed():
        assert_same(explain(kind, case), first_result(kind, name))


def stop_at(share: float) -> ex.Progress:
    """Stops once, at the first report of so much; how many come before depends on the time that portions take."""
    stopped = False

    def progress(done: int, total: int, partial: Any = None) -> None:
        nonlocal stopped
        if done / total >= share and not stopped:
            stopped = True
            raise ex.Cancelled(f"stopped at {share}")

    return progress


# --- what must not change -----------------------------------------------------------------------------------------------


def state(case: Any) -> dict[str, Any]:
    """Everything a run could spoil: the data, the answers of the model, and of a module every weight, flag and hook."""
    data = case.data.take(range(len(case.data)))
    data.__dict__.pop("matrix", None)
    found: dict[str, Any] = {"data": data.digest, "predictions": case.model.predict(data.X).tobytes()}
    if case.model.module is not None:
        found["weights"] = {
            key: value.numpy().copy() for key, value in case.model.module.state_dict().items()
        }
        found["parameters"] = [
            (p.requires_grad, str(p.device), p.grad is None) for p in case.model.module.parameters()
        ]
        found["modules"] = [
            (
                module.training,
                len(module._forward_hooks),
                len(module._forward_pre_hooks),
                len(module._backward_hooks),
            )
            for module in case.model.module.modules()
        ]
    return found


@contextlib.contextmanager
def unchanged_generators() -> Iterator[None]:
    """Random numbers drawn by others come out as if nothing had happened here."""
    random.seed(11)
    np.random.seed(11)
    torch.manual_seed(11)
    before = (
        random.getstate(),
        np.random.get_state()[1].tobytes(),
        np.random.get_state()[2],
        torch.get_rng_state().tolist(),
    )
    with annotations_not_executed():  # beartype draws from `random` to choose what it checks
        yield
    after = (
        random.getstate(),
        np.random.get_state()[1].tobytes(),
        np.random.get_state()[2],
        torch.get_rng_state().tolist(),
    )
    assert after == before


def test_the_comparison_of_results_can_fail():
    result = first_result(*next(iter(pairs(applies=True))).values)
    name = next(field for field in arrays(result)).split("[")[0]
    value = getattr(result, name)
    other = value + 1 if isinstance(value, np.ndarray) else tuple(part + 1 for part in value)
    with pytest.raises(AssertionError, match=name):
        assert_same(dataclasses.replace(result, **{name: other}), result)
