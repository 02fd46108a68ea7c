"""Long answers in parts: a sample of the cases at first, a look at few rows; what is put together is what one call gives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import explainers as ex
from dashboard import early, page, policy, words
from dashboard.costs import Costs, Partial
from dashboard.early import case_by_case, looked_at, of_few
from dashboard.figures.importance import importances
from dashboard.linked.payload import validate
from dashboard.panels import OVERVIEW_TABLE
from dashboard.panels.importance import LOOK, NEEDS
from dashboard.view import View
from dashboard.workspace import OpenWorkspace
from tests.dashboard.hand_made import workspace

Look = Callable[..., View]
Seen = list[tuple[int, int, Any]]

FEATURES, CASES = 9, 150

METHOD = ex.KernelShap(background=4, budget=128)
MANY = f"SHAP values of {CASES} cases"


def together(X: pd.DataFrame) -> np.ndarray:
    codes = X.to_numpy(float)
    share = 1 / (1 + np.exp(-codes[:, 0] - np.sin(codes.sum(axis=1))))
    return np.column_stack([1 - share, share])


def data_of(rows: int = CASES) -> ex.Dataset:
    names = [f"x{j}" for j in range(FEATURES)]
    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(rows, FEATURES)).round(2), columns=names)
    return ex.Dataset.from_frame(frame.assign(y=np.where(frame.x0 > 0, "yes", "no")), target="y")


def model() -> ex.Model:
    return ex.Model(together, "classification", ("no", "yes"), space="probability")


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> OpenWorkspace:
    """A model that is said to take a millisecond for a row."""
    monkeypatch.setattr(Costs, "_pace", lambda *_: 1e-3)
    monkeypatch.setattr(Costs, "opened", lambda self, model, data: self._predict(model, data, None))
    monkeypatch.setattr(policy, "MOST_CASES", CASES)
    return workspace(model(), data_of(), "slow")


def stop_at(cases: int) -> ex.Progress:
    """A progress that stops when so many cases are known."""

    def progress(done: int, total: int, partial: Any = None) -> None:
        if partial is not None and partial.diagnostics["cases_known"][0] == cases:
            raise ex.Cancelled

    return progress


def run(view: View, title: str, progress: ex.Progress = lambda done, total, partial=None: None) -> None:
    next(job for job in view.pending if job.title == title).run(progress)


def overview(view: View) -> dict[str, dict[str, Any]]:
    blocks = page.gather(OVERVIEW_TABLE, view)
    validate({"layout": OVERVIEW_TABLE.layout, "blocks": blocks})
    return {block["id"]: block for block in blocks}


def said(blocks: dict[str, dict[str, Any]]) -> str:
    return " ".join(item["text"] for item in blocks["importance.text"]["items"])


# Case by case


def test_parts_grow_and_then_stay_small_enough_to_be_seen() -> None:
    assert [len(part) for part in early._portions(75)] == [4, 4, 8, 16, 20, 20, 3]
    np.testing.assert_array_equal(np.concatenate(list(early._portions(75))), np.arange(75))
    assert [len(part) for part in early._portions(3)] == [3]


def in_parts(rows: list[int]) -> tuple[ex.Attribution, Seen]:
    seen: Seen = []

    def explain(explainer: ex.Explainer, some: Any, progress: ex.Progress) -> ex.Explanation:
        found: ex.Explanation = ex.explain(model(), data_of(), explainer, some, "yes", progress=progress)
        return found

    found = case_by_case(METHOD, rows)(
        explain, lambda done, total, partial=None: seen.append((done, total, partial))
    )
    assert isinstance(found, ex.Attribution)
    return found, seen


def test_the_parts_together_are_what_one_call_gives() -> None:
    rows = list(range(3, 60, 3))
    found, seen = in_parts(rows)
    whole = ex.explain(model(), data_of(), METHOD, rows, "yes")
    for name in ("values", "base_value", "output", "standard_error", "background_error"):
        np.testing.assert_allclose(
            getattr(found, name), getattr(whole, name), rtol=0, atol=1e-12, err_msg=name
        )
    assert found.targets == whole.targets
    assert found.provenance["rows"] == rows
    for name in ("exact", "coalitions", "seed"):
        assert found.diagnostics[name] == whole.diagnostics[name]
    again = (
        len(list(early._portions(len(rows)))) - 1
    ) * METHOD.background  # the reference cases, for each part
    assert found.diagnostics["evaluations"] == whole.diagnostics["evaluations"] + again
    assert "cases_known" not in found.diagnostics
    assert [done for done, _, _ in seen] == sorted(done for done, _, _ in seen)
    assert {total for _, total, _ in seen} == {early.STEPS * len(rows)}


def test_what_is_known_meanwhile_is_a_sample_of_the_cases_as_it_will_be() -> None:
    rows = list(range(0, 90, 3))
    found, seen = in_parts(rows)
    partials = [partial for _, _, partial in seen if partial is not None]
    ends = [partial for partial in partials if "seconds" in partial.diagnostics]
    assert [partial.diagnostics["cases_known"] for partial in ends] == [(4, 30), (8, 30), (16, 30)]
    for partial in ends:
        places = [rows.index(row) for row in partial.provenance["rows"]]
        assert places == sorted(places)
        np.testing.assert_array_equal(partial.values, found.values[places])
    assert max(ends[0].provenance["rows"]) > rows[4]  # not simply the first ones
    errors = [
        ex.mean_absolute(part).to_frame()["standard_error"].mean() for part in (ends[0], ends[-1], found)
    ]
    assert errors[0] > errors[1] > errors[2]


def test_exact_cases_among_others_have_no_error() -> None:
    facts = {"exact": True, "coalitions": 4, "evaluations": 10}

    def part(exact: bool) -> ex.Attribution:
        error = None if exact else np.full((1, 2), 0.5)
        return ex.Attribution(
            names=("a", "b"), values=np.ones((1, 2)), base_value=np.zeros(1), output=np.zeros(1), space="target",
            targets=(0,), standard_error=error, diagnostics=facts | {"exact": exact}, provenance={"rows": []},
        )  # fmt: skip

    mixed = early._together([part(True), part(False)], np.array([7, 5]), np.array([1, 0]))
    np.testing.assert_array_equal(mixed.standard_error, [[0.5, 0.5], [0, 0]])
    assert (mixed.diagnostics["exact"], mixed.diagnostics["evaluations"]) == (False, 20)
    assert mixed.provenance["rows"] == [7, 5]
    exact = early._together([part(True), part(True)], np.array([7, 5]), np.array([1, 0]))
    assert exact.standard_error is None


@pytest.mark.parametrize("cases", [4, 8, 16, 200])
def test_few_cases_widen_an_interval_as_student_says(cases: int) -> None:
    exact = stats.t.ppf(0.975, cases - 1) / stats.norm.ppf(0.975)
    assert of_few(cases) == pytest.approx(exact, rel=0.04)


# The rows of a first look


def test_a_look_has_enough_of_each_class_or_is_not_taken() -> None:
    rows, truth = np.arange(100, 500), np.zeros(500, dtype=int)
    assert len(looked_at(rows, None, 10)) == early.LOOKED_AT
    assert len(looked_at(rows, None, 90)) == 90
    truth[100:120] = 1  # one of twenty
    few = np.array(looked_at(rows, truth, 10))
    assert (truth[few] == 1).sum() >= early.OF_EACH
    assert len(few) > early.LOOKED_AT
    assert set(few) <= set(rows.tolist())
    assert (np.diff(few) > 0).all()
    assert looked_at(rows[:50], None, 10) == ()
    assert looked_at(rows, None, 300) == ()


# The overview of a slow model


def test_what_accuracy_needs_is_seen_first_and_what_the_model_uses_in_its_place_later(
    slow: OpenWorkspace, look: Look
) -> None:
    view = look(slow)
    first = overview(view)
    assert first["importance.chart"]["loading"]
    assert "This takes about" in said(first)
    assert "A first answer, with wider error bars, comes earlier." in said(first)
    order = [job.title for job in sorted(view.pending, key=lambda job: job.seconds)]
    assert order[0] == LOOK
    assert order[-1] == MANY
    assert NEEDS not in order or order.index(NEEDS) < order.index(MANY)

    run(view, LOOK)
    half = overview(look(slow))
    assert not half["importance.chart"].get("loading")
    assert (
        f"first answer from 1 of 5 repeats with 43 of {CASES} cases; still computing"
        in half["importance.chart"]["footer"]
    )
    assert "What the model's accuracy needs is not yet resolved." in said(
        half
    )  # so few rows tell little, and say so
    assert "What the model uses takes about" in said(half)
    assert half["beeswarm.chart"]["loading"]


def test_a_cancel_keeps_the_cases_that_are_known(slow: OpenWorkspace, look: Look) -> None:
    view = look(slow)
    overview(view)
    with pytest.raises(ex.Cancelled):
        run(view, MANY, stop_at(8))
    again = look(slow)
    growing = overview(again)
    assert not growing["importance.chart"].get("loading")
    assert "first answer from 8 of 150 cases; still computing" in growing["importance.chart"]["footer"]
    assert "rows=[" in growing["importance.chart"]["code"]
    assert len(growing["beeswarm.chart"]["figure"].data[0].x) >= 8
    stopped = overview(look(slow, cancelled=frozenset({MANY})))
    assert "stopped after 8 of 150 cases" in stopped["importance.chart"]["footer"]
    assert stopped["importance.halted"]["items"][0]["text"].startswith(
        "Stopped after 8 of 150 cases; error bars are wider."
    )
    assert "importance.again" in stopped


def test_a_cancel_before_the_first_case_leaves_what_accuracy_needs(slow: OpenWorkspace, look: Look) -> None:
    view = look(slow)
    overview(view)
    run(view, LOOK)
    found = overview(look(slow, cancelled=frozenset({MANY})))
    assert not found["importance.chart"].get("loading")
    assert f"Stopped: {MANY}" in found["importance.halted"]["items"][0]["text"]
    assert "importance.again" in found


def test_the_result_of_all_cases_replaces_the_first_ones(slow: OpenWorkspace, look: Look) -> None:
    view = look(slow)
    overview(view)
    run(view, LOOK)
    overview(again := look(slow))
    run(again, MANY)
    run(again, NEEDS)
    last = look(slow)
    blocks = overview(last)
    assert MANY not in [job.title for job in last.pending]
    assert "estimated from" in blocks["importance.chart"]["footer"]
    assert "Its accuracy needs x0 most." in said(blocks)
    assert "still computing" not in said(blocks)


def test_a_coarse_look_never_replaces_a_repeat_of_all(slow: OpenWorkspace, look: Look) -> None:
    view, explainer = look(slow), ex.PermutationImportance()
    coarse = view.now(ex.PermutationImportance(repeats=1), tuple(range(0, 60, 2)))
    view.note(Partial(coarse, 1, 5), explainer)
    view.note(Partial(coarse, 0, 1), explainer)
    held = view.partial(explainer)
    assert held is not None
    assert held.done == 1


def test_a_side_that_is_not_known_yet_keeps_its_place_and_the_other_orders_the_rows() -> None:
    schema = data_of().schema
    needs = ex.Importance(
        names=schema.names,
        values=np.arange(FEATURES) / 10,
        metric="drop of AUC",
        standard_error=np.full(FEATURES, 0.01),
    )
    unknown = ex.Importance(names=schema.names, values=np.full(FEATURES, np.nan), metric="not known yet")
    figure = importances(unknown, needs, schema)
    assert list(figure.layout.yaxis.ticktext[:3]) == ["x8", "x7", "x6"]
    assert (figure.layout.xaxis.showticklabels, figure.layout.xaxis2.showticklabels) == (False, True)
    assert tuple(figure.layout.xaxis.domain) == (0.0, 0.47)
    assert words.needs_sentence(needs, schema) == "The model's accuracy needs x8 most."
