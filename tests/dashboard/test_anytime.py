"""First answers that grow finer: they are shown, never taken for the result, kept when the work is stopped, and their cost is said."""

from __future__ import annotations

import dataclasses
import threading
import time
import types
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

import explainers as ex
from dashboard import costs, page, policy, running, session
from dashboard.asking import Stopped
from dashboard.checks import Check
from dashboard.compute import Compute, Store
from dashboard.costs import Costs, Partial, cost_text, duration
from dashboard.footers import footer, reproduction_line
from dashboard.linked.payload import validate
from dashboard.panels import CASE_TABLE, OVERVIEW_TABLE
from dashboard.panels.importance import FIRST
from dashboard.panels.panel import Page
from dashboard.running import Runs
from dashboard.selection import LIME_HERE, SHAP_HERE, Selection
from dashboard.session import first_selection
from dashboard.view import View
from dashboard.workspace import OpenWorkspace
from tests.dashboard.hand_made import eight, workspace
from tests.dashboard.in_process import compute as compute_here

Look = Callable[..., View]

FEATURES = 12

#: 64, 128, then 256 coalitions against 5 reference cases.
METHOD = ex.KernelShap(background=5, budget=256)


class Gate:
    """A model whose features all act together; it answers so many rows and then waits until it may go on."""

    def __init__(self, rows: int) -> None:
        self.rows, self.asked = rows, 0
        self._changed = threading.Condition()

    def __call__(self, X: pd.DataFrame) -> np.ndarray:
        with self._changed:
            self.asked += len(X)
            assert self._changed.wait_for(lambda: self.asked <= self.rows, timeout=30)
        codes = X.to_numpy(float)
        return np.sin(codes.sum(axis=1)) + codes[:, 0]

    def open(self) -> None:
        """Answer everything from now on."""
        with self._changed:
            self.rows = 10**9
            self._changed.notify_all()


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    """Enough rows for the first look, and not for the second; none are asked to find out what they cost."""
    monkeypatch.setattr(Costs, "_measured", lambda *_: 1e-6)
    made = Gate(400)
    yield made
    made.open()


def numbers(gate: Gate, rows: int = 20) -> OpenWorkspace:
    frame = pd.DataFrame(
        np.random.default_rng(0).normal(size=(rows, FEATURES)).round(2),
        columns=[f"x{j}" for j in range(FEATURES)],
    )
    return workspace(ex.Model(gate, "regression"), ex.Dataset.from_frame(frame), "numbers")


def eventually(true: Callable[[], Any]) -> Any:
    until = time.monotonic() + 20
    while not (found := true()):
        assert time.monotonic() < until, "it never came"
        time.sleep(0.005)
    return found


def values(scale: float = 1.0, coalitions: int = 64, **facts: Any) -> ex.Attribution:
    return ex.Attribution(
        names=("a", "b"), values=np.full((1, 2), scale), base_value=np.zeros(1), output=np.full(1, 2 * scale),
        space="target", targets=(0,), diagnostics={"exact": False, "coalitions": coalitions, **facts},
    )  # fmt: skip


def importance(facts: dict[str, Any]) -> ex.Importance:
    return ex.Importance(names=("a",), values=np.zeros(1), metric="drop", diagnostics=facts)


class Stepped:
    """An engine that reports some partial results and then answers, or is stopped."""

    def __init__(self, *partials: tuple[int, ex.Attribution]) -> None:
        self.partials, self.final = partials, values(9.0, 256)

    def explain(self, *call: Any) -> ex.Attribution:
        for done, partial in self.partials:
            call[-1](done, 256, partial)
        return self.final

    def predict(self, model: ex.Model, data: ex.Dataset, cases: ex.Dataset | None = None) -> np.ndarray:
        return model.predict((data if cases is None else cases).X)


# The store of what is not finished


def test_a_partial_result_is_never_the_result() -> None:
    made, engine = eight(), Stepped((64, values(1.0)))
    compute = Compute(engine)
    model, data = made.models[0].model, made.data
    key = ex.Request.of(model, data, METHOD, [0])

    def stop(done: int, total: int, partial: Any = None) -> None:
        raise ex.Cancelled

    with pytest.raises(ex.Cancelled):
        compute.ask(model, data, METHOD, [0], progress=stop)
    held = compute.partial(key)
    assert held is not None
    assert (held.done, held.total, held.result.values[0, 0]) == (64, 256, 1.0)
    assert compute.known(model, data, METHOD, [0]) is None
    assert (
        reproduction_line(held.result)
        == "ex.explain(model, data, ex.KernelShap(background=5, budget=256), rows=[0])"
    )
    found = compute.ask(model, data, METHOD, [0], progress=lambda done, total, partial=None: None)
    assert found is engine.final
    assert compute.known(model, data, METHOD, [0]) is engine.final
    assert compute.partial(key) is None


def test_a_coarser_result_does_not_replace_a_finer_one() -> None:
    compute = compute_here()
    fine, coarse, finer = (Partial(values(), done, 256) for done in (128, 64, 200))
    for noted, held in ((fine, fine), (coarse, fine), (finer, finer)):
        compute.note("key", noted)
        assert compute.partial("key") is held


def test_what_is_dropped_takes_no_room() -> None:
    store = Store(limit=250)
    store.put("a", np.zeros(200, dtype=np.uint8))
    store.drop("a")
    store.drop("never there")
    store.put("b", np.zeros(100, dtype=np.uint8))
    store.put("c", np.zeros(100, dtype=np.uint8))
    assert store.get("a") is None
    assert [store.get(key) is None for key in "bc"] == [False, False]


# Computations aside


def patient(started: threading.Event, go: threading.Event) -> Callable[[ex.Progress], None]:
    """Work that reports until it may end."""

    def work(progress: ex.Progress) -> None:
        started.set()
        while not go.wait(0.002):
            progress(1, 4)

    return work


def test_two_visitors_wait_for_one_computation_and_one_may_leave() -> None:
    runs, begun, go = Runs(), [], threading.Event()

    def work(progress: ex.Progress) -> None:
        begun.append(1)
        patient(threading.Event(), go)(progress)

    first = runs.join("key", work, "ann")
    assert runs.join("key", work, "bob") is first
    eventually(lambda: first.done)
    first.leave("ann")
    assert not first.ended.wait(0.05)
    assert first.watch("bob")
    go.set()
    assert first.ended.wait(20)
    assert len(begun) == 1


def test_what_nobody_watches_ends_and_begins_anew_when_it_is_asked_again() -> None:
    runs, go, started = Runs(), threading.Event(), threading.Event()
    first = runs.join("key", patient(started, go), "ann")
    assert started.wait(20)
    first.leave("ann")
    assert not first.watch("ann")  # too late
    second = runs.join("key", patient(threading.Event(), go), "ann")
    assert second is not first
    assert first.ended.wait(20)
    assert not second.ended.is_set()
    go.set()
    assert second.ended.wait(20)
    eventually(lambda: not runs._runs)


def test_a_visitor_who_does_not_come_back_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "BACK", 0.05)
    run = Runs().join("key", patient(threading.Event(), threading.Event()), "ann")
    assert run.ended.wait(20)


def test_a_failure_ends_a_computation() -> None:
    def fail(progress: ex.Progress) -> None:
        raise ex.ModelFailure("no")

    assert Runs().join("key", fail, "ann").ended.wait(20)


# What a view gives


def test_the_finest_known_is_shown_and_marked_until_the_result_is_there(look: Look, gate: Gate) -> None:
    made = numbers(gate)
    view = look(made)
    assert view.best("Reasons", METHOD, [0]) is None
    (job,) = view.pending
    run = view.compute.begin(job, "ann")
    eventually(lambda: view.compute.partial(job.key))
    again = look(made)
    first = again.best("Reasons", METHOD, [0])
    assert [other.key for other in again.pending] == [job.key]
    assert again.shown[job.key] is view.compute.partial(job.key)
    assert (first.diagnostics["so_far"], first.diagnostics["stopped"]) == ("64 of 256 coalitions", False)
    assert "first answer from 64 of 256 coalitions; still computing" in footer(first)
    assert look(made).later("Reasons", METHOD, [0]) is None
    gate.open()
    assert run.ended.wait(20)
    last = look(made)
    found = last.best("Reasons", METHOD, [0])
    assert last.pending == []
    assert "so_far" not in found.diagnostics
    assert "estimated from" in footer(found)
    truth = look(made).now(ex.ExactShap(background=5), [0])
    assert first.standard_error.mean() > found.standard_error.mean() > 0
    assert np.abs(first.values - truth.values).mean() > np.abs(found.values - truth.values).mean()
    np.testing.assert_allclose(first.values.sum(), truth.values.sum(), atol=1e-9)


def test_what_was_stopped_is_shown_as_far_as_it_came(look: Look, gate: Gate) -> None:
    made = numbers(gate)
    view = look(made)
    view.best("Reasons", METHOD, [0])
    run = view.compute.begin(view.pending[0], "ann")
    eventually(lambda: view.compute.partial(view.pending[0].key))
    run.leave("ann")
    gate.open()
    assert run.ended.wait(20)
    stopped = look(made, cancelled=frozenset({"Reasons"}))
    found = stopped.best("Reasons", METHOD, [0])
    assert stopped.pending == []
    assert stopped.stopped == {
        "Reasons": "Stopped after 64 of 256 coalitions; error bars are wider. Choose “compute again” to go on."
    }
    assert "stopped after 64 of 256 coalitions" in footer(found)
    assert "still computing" not in footer(found)


def test_what_was_stopped_before_its_first_answer_says_so(look: Look) -> None:
    view = look(eight(), cancelled=frozenset({"Reasons"}))
    with pytest.raises(Stopped, match="Stopped: Reasons"):
        view.best("Reasons", METHOD, [0], "yes")
    assert view.pending == []


def test_the_next_case_and_the_next_edit_are_computed_though_the_last_was_stopped() -> None:
    stopped = Selection(cancelled=frozenset({SHAP_HERE, LIME_HERE, "Other"}))
    assert stopped.pick(3).cancelled == stopped.edit(("a", 1.0)).cancelled == {"Other"}
    assert stopped.change(edits=()).cancelled == {"Other"}
    assert stopped.change(why="table").cancelled == stopped.cancelled
    assert stopped.change(edits=(), cancelled=frozenset({SHAP_HERE})).cancelled == {SHAP_HERE}


def seconds_of(view: View, found: dict[type, float]) -> None:
    """Let explainers cost so many seconds in this view's eyes."""
    view.compute.costs.seconds = lambda model, data, explainer, rows, asked=None: found.get(type(explainer))  # type: ignore[method-assign]


def test_a_quick_model_answers_at_once_and_more_finely_when_nothing_moves(look: Look, gate: Gate) -> None:
    gate.open()
    made = numbers(gate)
    view = look(made)
    reasons = view.reasons
    assert reasons is not None
    assert (reasons.diagnostics["coalitions"], reasons.diagnostics["so_far"]) == (
        256,
        "256 of 1,024 coalitions",
    )
    assert view.surrogate is not None
    assert [job.title for job in view.pending] == [SHAP_HERE]
    order = view.sliders
    view.pending[0].run(lambda done, total, partial=None: None)
    after = look(made)
    assert after.reasons is not None
    assert after.reasons.diagnostics["coalitions"] == policy.CASE_BUDGET
    assert after.reasons.standard_error is not None
    assert reasons.standard_error is not None
    assert after.reasons.standard_error.mean() < reasons.standard_error.mean()
    assert after.pending == []
    assert after.sliders == order


def test_a_slow_model_answers_when_it_can(look: Look, gate: Gate) -> None:
    gate.open()
    made = numbers(gate)
    view = look(made)
    seconds_of(view, {ex.KernelShap: 40.0, ex.Lime: 9.0})
    assert view.reasons is None
    assert view.surrogate is None
    assert view.sliders == view.schema.names
    assert {job.title: job.cost for job in view.pending} == {
        SHAP_HERE: "about 40 s: 1,024 coalitions × 20 reference cases",
        LIME_HERE: "about 9 s",
    }
    blocks = page.gather(CASE_TABLE, view)
    validate({"layout": CASE_TABLE.layout, "blocks": blocks})
    (chart,) = [block for block in blocks if block["id"] == "why.chart"]
    (text,) = [block for block in blocks if block["id"] == "why.text"]
    assert chart["loading"]
    assert "This takes about 40 s: 1,024 coalitions × 20 reference cases." in text["items"][0]["text"]


def test_a_stopped_lime_leaves_the_shapley_values(look: Look, gate: Gate) -> None:
    gate.open()
    view = look(numbers(gate), cancelled=frozenset({LIME_HERE}))
    seconds_of(view, {ex.KernelShap: 0.0, ex.Lime: 9.0})
    blocks = page.gather(CASE_TABLE, view)
    assert view.surrogate is None
    assert {"why.chart", "why.halted", "why.again"} <= {block["id"] for block in blocks}


def test_many_cases_that_were_stopped_leave_the_first_ones(look: Look, gate: Gate) -> None:
    gate.open()
    made, many = numbers(gate, rows=60), "SHAP values of 60 cases"
    view = look(made)
    page.gather(OVERVIEW_TABLE, view)
    next(job for job in view.pending if job.title == FIRST).run(lambda done, total, partial=None: None)
    stopped = look(made, cancelled=frozenset({many}))
    blocks = page.gather(OVERVIEW_TABLE, stopped)
    validate({"layout": OVERVIEW_TABLE.layout, "blocks": blocks})
    assert many not in [job.title for job in stopped.pending]
    found = {block["id"]: block for block in blocks}
    assert not found["importance.chart"].get("loading")
    assert found["importance.halted"]["items"][0]["text"].startswith("Stopped at 40 of 60 cases.")
    assert "importance.again" in found
    assert "beeswarm.again" not in found  # said once on the page


def test_few_features_are_exact_at_once(look: Look) -> None:
    view = look(eight())
    assert view.reasons is not None
    assert view.reasons.diagnostics["exact"]
    assert view.pending == []


def test_features_that_do_not_vary_leave_nothing_to_refine(look: Look, gate: Gate) -> None:
    gate.open()
    whole = numbers(gate)
    frame = whole.data.X.assign(**{f"x{j}": 1.0 for j in range(4, FEATURES)})
    view = look(workspace(whole.models[0].model, ex.Dataset.from_frame(frame), "still"))
    assert view.reasons is not None
    assert view.reasons.diagnostics["exact"]
    assert view.pending == []


# The page


class Growing:
    """A panel that shows the best there is."""

    name, title, area = "grow", "Growing?", "here"

    def blocks(self, view: View) -> list[dict[str, Any]]:
        found = view.best("Reasons", METHOD, [0])
        text = "nothing yet" if found is None else footer(found)
        return [
            {
                "id": "grow.text",
                "kind": "text",
                "area": "here",
                "items": [{"style": "sentence", "text": text}],
            }
        ]

    def apply(self, event: Any, view: View) -> Selection:
        return view.selection


GROWING = Page("p", (Growing(),), {"wide": {"columns": [1], "areas": [["here"]]}})


def script() -> None:
    """The page that the test put into the session."""
    import streamlit as st

    from dashboard import page

    page.draw(st.session_state["page"])


@dataclasses.dataclass
class Visit:
    """A visitor on the growing page: every paint's texts, and what happens at the first answer."""

    app: AppTest
    place: session.Place
    at_first: Callable[[], None]
    paints: list[list[str]]

    def run(self) -> None:
        self.app.run(timeout=30)
        assert [error.value for error in self.app.exception] == []


@pytest.fixture
def visit(monkeypatch: pytest.MonkeyPatch, gate: Gate) -> Visit:
    made = numbers(gate)
    place = session.Place(made, compute_here(), first_selection(made))
    app = AppTest.from_function(script)
    app.session_state["place"], app.session_state["page"] = place, GROWING
    visit = Visit(app, place, gate.open, [])

    def paint(payload: dict[str, Any], **_: Any) -> None:
        validate(payload)
        visit.paints.append([i["text"] for block in payload["blocks"] for i in block.get("items", [])])
        if "64 of 256" in visit.paints[-1][0]:
            visit.at_first()

    monkeypatch.setattr(page, "linked_host", paint)
    monkeypatch.setattr(page, "REPAINT", 0.0)
    return visit


def test_the_page_shows_nothing_then_a_first_answer_then_the_result(visit: Visit) -> None:
    visit.run()
    texts = [paint[0] for paint in visit.paints]
    assert texts[0] == "nothing yet"
    assert any("first answer from 64 of 256 coalitions; still computing" in text for text in texts)
    assert "estimated from" in texts[-1]
    assert "still computing" not in texts[-1]


def test_a_cancel_at_the_first_answer_keeps_it_and_says_how_far_it_is(
    visit: Visit, monkeypatch: pytest.MonkeyPatch
) -> None:
    clicked: list[bool] = []
    visit.at_first = lambda: clicked.append(True)
    monkeypatch.setattr(page, "_awaited", lambda: bool(clicked))
    visit.run()
    assert "still computing" in visit.paints[-1][0]
    visit.place.selection = visit.place.selection.change(
        cancelled=frozenset({"Reasons"})
    )  # what the button does
    visit.run()
    assert "stopped after 64 of 256 coalitions" in visit.paints[-1][0]
    assert visit.paints[-1][1].startswith("Stopped after 64 of 256 coalitions; error bars are wider.")
    eventually(
        lambda: not visit.place.compute._runs._runs or visit.place.compute._runs._runs.popitem()[1]._stopped
    )


def test_the_bar_and_its_cancel_are_there_while_it_computes(
    visit: Visit, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page, "PATIENCE", 0.0)
    bars: list[str] = []
    show = page._Bar.show

    def shown(bar: Any, run: Any) -> None:
        show(bar, run)
        bars.append(str(bar._job.title))
        gate.open()

    monkeypatch.setattr(page._Bar, "show", shown)
    visit.run()
    assert set(bars) == {"Reasons"}
    assert "estimated from" in visit.paints[-1][0]


def test_another_visitor_sees_the_first_answer_and_gets_the_result(gate: Gate, look: Look) -> None:
    made = numbers(gate)
    ann, bob = look(made), look(made)
    assert ann.compute is bob.compute
    ann.best("Reasons", METHOD, [0])
    work = ann.compute.begin(ann.pending[0], "ann")
    eventually(lambda: ann.compute.partial(ann.pending[0].key))
    assert "so_far" in bob.best("Reasons", METHOD, [0]).diagnostics
    assert bob.compute.begin(bob.pending[0], "bob") is work
    work.leave("ann")
    gate.open()
    assert work.ended.wait(20)
    assert "so_far" not in look(made).best("Reasons", METHOD, [0]).diagnostics


def test_the_bar_foresees_and_then_counts_down(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    held = types.SimpleNamespace(progress=lambda share, text: said.append(text))
    job = types.SimpleNamespace(title="Reasons", cost="about 40 s: 9 coalitions")
    bar = page._Bar(job)  # type: ignore[arg-type]
    bar._bar = held
    for age, done in ((1.0, 0), (10.0, 25), (30.0, 75)):
        bar.show(types.SimpleNamespace(age=age, done=done, total=100))  # type: ignore[arg-type]
    assert said == [
        "Reasons · about 40 s\\:\u2060 9 coalitions",
        "Reasons · 30 s left",
        "Reasons · 10 s left",
    ]


# What it costs


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.2, "1 s"), (7.4, "7 s"), (42.0, "40 s"), (88.0, "90 s"), (91.0, "2 minutes"), (600.0, "10 minutes"), (7000.0, "2 hours")],
)  # fmt: skip
def test_durations_are_as_precise_as_an_estimate(seconds: float, said: str) -> None:
    assert duration(seconds) == said


def test_the_cost_is_said_where_it_is_long(gate: Gate) -> None:
    data = numbers(gate, rows=200).data
    kernel = ex.KernelShap(budget=256)
    assert cost_text(kernel, data, [0], 4.9) == cost_text(kernel, data, [0], None) == ""
    assert cost_text(kernel, data, [0], 40.0) == "about 40 s: 256 coalitions × 100 reference cases"
    assert cost_text(ex.PermutationShap(), data, [0, 1, 2], 40.0).endswith(
        "1,024 coalitions × 100 reference cases × 3 cases"
    )
    assert cost_text(ex.ExactShap(), data.take([0, 1]), [0], 40.0).endswith(
        "4,096 coalitions × 2 reference cases"
    )
    assert cost_text(ex.PartialDependence(), data, [0], 40.0) == "about 40 s"


@pytest.mark.parametrize(
    ("explainer", "facts", "said"),
    [
        (ex.KernelShap(budget=8192), {"coalitions": 82}, "82 of 4,096 coalitions"),  # there are no more
        (ex.PermutationImportance(repeats=7), {"repeats": 2}, "2 of 7 repeats"),
        (ex.PartialDependence(), {}, "25 % of the work"),
    ],
)  # fmt: skip
def test_how_far_it_is_stands_in_the_methods_own_terms(
    explainer: ex.Explainer, facts: dict[str, Any], said: str, gate: Gate
) -> None:
    partial = Partial(importance(facts), 64, 256)
    assert partial.text(explainer, numbers(gate).data) == said


class Clock:
    """A model's answers take seconds of a clock that only it moves: so many for a question and for each row."""

    def __init__(self, question: float, row: float) -> None:
        self.now, self.question, self.row, self.rows = 0.0, question, row, 0

    def perf_counter(self) -> float:
        return self.now

    def predict(self, model: ex.Model, data: ex.Dataset, cases: ex.Dataset | None) -> np.ndarray:
        asked = len(data if cases is None else cases)
        self.rows += asked
        self.now += self.question + self.row * asked
        return np.zeros((asked, 1))


@pytest.mark.parametrize(("question", "row"), [(0.004, 2e-6), (0.001, 1e-3), (0.0, 0.05), (2.0, 1e-3)])
def test_the_pace_is_that_of_a_further_row(
    question: float, row: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, clock = numbers(Gate(10**9)), Clock(question, row)
    monkeypatch.setattr(costs, "time", clock)
    measured = Costs(clock.predict, Store())
    model, data = made.models[0].model, made.data
    asked = ex.cost(model, data, METHOD, [0])
    assert asked is not None
    measured.opened(model, data)
    clock.rows = 0
    found = measured.seconds(model, data, METHOD, [0])
    whole = question + row * asked
    assert found is not None
    assert found == pytest.approx(asked * max(row, question / 64 if question > 0.2 else 0), rel=0.5)
    assert clock.now < question * 3 + 0.3 + row * 4 * 64 + row * 20
    again, before = measured.seconds(model, data, METHOD, [0]), clock.rows
    assert (again, before) == (found, clock.rows)
    learnt = importance({"evaluations": 50_000, "seconds": 100.0})
    measured.learn(model, data, learnt)
    if whole > 1:
        assert measured.seconds(model, data, METHOD, [0]) == pytest.approx(asked * 0.002)
    short = {"evaluations": 5000, "seconds": 50.0}
    measured.learn(model, data, importance(short))
    if whole > 1:
        assert measured.seconds(model, data, METHOD, [0]) == pytest.approx(asked * 0.002)


def test_a_start_is_not_taken_for_the_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    made, clock = numbers(Gate(10**9)), Clock(0.001, 1e-3)
    monkeypatch.setattr(costs, "time", clock)
    measured = Costs(clock.predict, Store())
    model, data = made.models[0].model, made.data
    measured.opened(model, data)

    def restarted(*asked: Any) -> np.ndarray:
        clock.now += 3.0  # the worker had ended: the next question starts another
        measured._predict = clock.predict
        return clock.predict(*asked)

    measured._predict = restarted
    asked = ex.cost(model, data, METHOD, [0])
    assert asked is not None
    assert measured.seconds(model, data, METHOD, [0]) == pytest.approx(asked * 1e-3, rel=0.1)


def test_gradients_and_checks_of_maps_cost_more_than_predictions() -> None:
    model = ex.Model(lambda X: X.reshape(len(X), -1).mean(axis=1), "regression")
    data = ex.Dataset.from_images(np.random.default_rng(0).random((3, 1, 8, 8), dtype=np.float32))
    measured = Costs(lambda model, data, cases: model.predict((data if cases is None else cases).X), Store())
    measured.learn(model, data, importance({"evaluations": 100, "seconds": 10.0}))
    assert measured.seconds(model, data, ex.Occlusion(), [0]) == pytest.approx(65 * 0.1)
    assert measured.seconds(model, data, ex.SmoothGrad(), [0]) == pytest.approx(51 * 0.1 * costs.GRADIENT)
    check = Check("faithfulness", ex.Occlusion(), 0, None, "mean")
    assert measured.of_check(model, data, check) == pytest.approx(801 * 0.1)
    check = Check("randomisation", ex.Occlusion(), 0, None)
    assert measured.of_check(model, data, check) == pytest.approx(16 * 65 * 0.1)
    measured.learn(model, data, importance({"evaluations": 100, "seconds": 25.0}), ex.SmoothGrad())
    assert measured.seconds(model, data, ex.Occlusion(), [0]) == pytest.approx(65 * 25 / 100 / costs.GRADIENT)


def test_what_nobody_knows_costs_nothing_to_ask(gate: Gate) -> None:
    made = numbers(gate)
    measured = Costs(lambda model, data, cases: pytest.fail("asked"), Store())
    model = made.models[0].model
    assert measured.seconds(model, made.data, ex.PartialDependence(), None) is None


def test_a_model_that_fails_has_no_pace() -> None:
    made = numbers(Gate(0))

    def fail(model: ex.Model, data: ex.Dataset, cases: ex.Dataset | None) -> np.ndarray:
        raise ex.ModelFailure("no")

    assert Costs(fail, Store()).seconds(made.models[0].model, made.data, METHOD, [0]) is None
