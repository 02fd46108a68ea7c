"""Every panel on every prepared workspace keeps the contract, and every event selects what it says."""

from __future__ import annotations

import base64
import dataclasses
import io
import json
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from plotly.utils import PlotlyJSONEncoder
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
)
from torch import nn

import explainers as ex
from dashboard import policy
from dashboard.linked.payload import validate
from dashboard.panels import CASE_PICTURE, CASE_TABLE, OVERVIEW_PICTURE, OVERVIEW_TABLE, PAGES, importance
from dashboard.panels.beeswarm import Beeswarm
from dashboard.panels.case_list import LISTED, CaseList, listed
from dashboard.panels.classes import Classes
from dashboard.panels.effect import FeatureEffect, chosen
from dashboard.panels.facts import Facts
from dashboard.panels.importance import GlobalImportance
from dashboard.panels.panel import Page
from dashboard.panels.picture import Picture
from dashboard.panels.pictures_together import AVERAGED, PicturesTogether
from dashboard.panels.prediction import Prediction
from dashboard.panels.reasons import Reasons
from dashboard.panels.strip import Strip, case_line
from dashboard.panels.suggestions import Suggestions
from dashboard.panels.what_if import WhatIf, answer
from dashboard.selection import Filter, Selection
from dashboard.view import View
from tests.dashboard.hand_made import (
    eight,
    hostile,
    line,
    ordered,
    probability,
    split,
    three_classes,
    workspace,
)

Blocks = list[dict[str, Any]]
Look = Callable[..., View]
Settle = Callable[[View, Page], Blocks]

TABLES, PICTURES = ("pneumonia", "credit", "breast-cancer", "diabetes"), ("scans", "digits")
SHOWN = [
    (page, name) for page in PAGES for name in (TABLES if page in (CASE_TABLE, OVERVIEW_TABLE) else PICTURES)
]
EACH = pytest.mark.parametrize(
    ("page", "name"), SHOWN, ids=[f"{PAGES.index(p)}-{p.name}-{n}" for p, n in SHOWN]
)


@pytest.fixture(autouse=True)
def few_cases(monkeypatch: pytest.MonkeyPatch) -> None:
    """Global pictures from a few cases: what they show is tested elsewhere."""
    monkeypatch.setattr(policy, "FIRST_CASES", 4)
    monkeypatch.setattr(policy, "MOST_CASES", 12)


def control(panel: str, block: str, name: str, value: Any = None) -> dict[str, Any]:
    return {"type": "control", "block": f"{panel}.{block}", "id": name, "value": value, "seq": 1}


def click(panel: str, block: str, point: Any) -> dict[str, Any]:
    return {"type": "click", "block": f"{panel}.{block}", "point": point, "curve": 0, "index": 0, "seq": 1}


def then(view: View, selection: Selection) -> View:
    return View(view.workspace, selection, view.compute)


def block(blocks: Blocks, name: str) -> dict[str, Any]:
    return next(one for one in blocks if one["id"] == name)


def check(page: Page, blocks: Blocks) -> None:
    validate({"layout": page.layout, "blocks": blocks})


def words_of(blocks: Blocks) -> str:
    """Every text of the blocks, figures as JSON."""
    return json.dumps(blocks, cls=PlotlyJSONEncoder, ensure_ascii=False)


# The contract, on every page of every prepared workspace


@EACH
def test_the_first_paint_keeps_the_contract(opened: Look, page: Page, name: str) -> None:
    view, every = opened(name), []
    for panel in page.panels:
        blocks = panel.blocks(view)
        assert blocks, panel.name
        assert all(one["id"].startswith(f"{panel.name}.") for one in blocks)
        check(page, blocks)
        every += blocks
    check(page, every)


@EACH
def test_once_all_is_computed_nothing_is_a_skeleton(
    opened: Look, settle: Settle, page: Page, name: str
) -> None:
    blocks = settle(opened(name), page)
    check(page, blocks)
    assert [one["id"] for one in blocks if one.get("loading")] == []
    assert "computing…" not in words_of(blocks)


VARIED: tuple[dict[str, Any], ...] = (
    {"why": "waterfall", "outcome": True},
    {"why": "table", "filter": Filter(sort="near", show="wrong")},
    {"space": "raw", "linked": False},
    {"model": 1, "filter": Filter(sort="file", show="right", label="granted")},
    {"target": "denied", "threshold": 0.8, "filter": Filter(sort="low")},
    {"edits": (("income", 99_999.0), ("housing", 2.0))},
)


@pytest.mark.parametrize("fields", VARIED, ids=lambda fields: "-".join(fields))
def test_other_selections_keep_the_contract_too(opened: Look, fields: dict[str, Any]) -> None:
    view = opened("credit", **fields)
    check(CASE_TABLE, [one for panel in CASE_TABLE.panels for one in panel.blocks(view)])


@pytest.mark.parametrize("page", [CASE_TABLE, OVERVIEW_TABLE], ids=["case", "overview"])
@pytest.mark.parametrize("made", [eight, split, three_classes, line], ids=lambda make: make.__name__)
def test_hand_made_workspaces_keep_the_contract(look: Look, settle: Settle, made: Any, page: Page) -> None:
    check(page, settle(look(made()), page))


def test_the_same_selection_gives_the_same_blocks(opened: Look) -> None:
    first, second = (
        [b for panel in CASE_TABLE.panels for b in panel.blocks(opened("pneumonia"))] for _ in range(2)
    )
    assert words_of(first) == words_of(second)


# The list of cases


def plainly(view: View) -> list[int]:
    """The filter and the order, case by case and slowly."""
    wanted, found = view.selection.filter, []
    for row in view.workspace.rows.tolist():
        p = float(view.predictions[row, view.output])
        if view.classifies:
            said = (
                int(view.predictions[row, 1] >= view.selection.threshold)
                if len(view.model.classes) == 2
                else int(np.argmax(view.predictions[row]))
            )
            true = list(map(str, view.model.classes)).index(str(view.model.classes[view.truth[row]]))
            if wanted.show != "all" and (said != true) != (wanted.show == "wrong"):
                continue
            if wanted.label and str(view.model.classes[true]) != wanted.label:
                continue
        found.append((row, p))
    middle = (
        view.selection.threshold if view.classifies else float(np.median(view.predictions[:, view.output]))
    )
    keys = {
        "high": lambda c: -c[1],
        "low": lambda c: c[1],
        "near": lambda c: abs(c[1] - middle),
        "file": lambda c: c[0],
    }
    return [row for row, _ in sorted(found, key=keys[wanted.sort])]


@pytest.mark.parametrize("sort", ["high", "low", "near", "file"])
@pytest.mark.parametrize("show", ["all", "right", "wrong"])
@pytest.mark.parametrize("label", ["", "denied", "granted"])
def test_the_list_holds_what_was_asked_in_that_order(opened: Look, sort: Any, show: Any, label: str) -> None:
    view = opened("credit", filter=Filter(sort=sort, show=show, label=label), threshold=0.6)
    assert listed(view).tolist() == plainly(view)


@pytest.mark.parametrize("sort", ["high", "low", "near", "file"])
def test_the_list_of_a_regression_is_in_order(opened: Look, sort: Any) -> None:
    view = opened("diabetes", filter=Filter(sort=sort))
    assert listed(view).tolist() == plainly(view)


def test_wrong_and_highest_first_on_a_table_read_by_eye(look: Look) -> None:
    view = look(eight(), filter=Filter(show="wrong", sort="high"))
    assert listed(view).tolist() == [6, 2]
    assert listed(look(eight(), filter=Filter(show="right", label="yes", sort="low"))).tolist() == [4, 5, 7]
    assert listed(look(eight(), filter=Filter(show="wrong"), threshold=0.75)).tolist() == [5, 4, 2]


def test_the_list_shows_what_passes_the_filter_and_counts_all(opened: Look) -> None:
    view = opened("pneumonia", filter=Filter(sort="low"))
    entries = block(CaseList().blocks(view), "cases.list")
    found = listed(view)
    assert len(found) > LISTED
    shown = [entry["id"] for entry in entries["items"]]
    assert str(view.selection.row) == entries["selected"]
    assert shown == [str(r) for r in found[:LISTED]]  # a case outside the filter is not smuggled in
    assert f"{len(found):,} cases of {len(view.workspace.rows):,}" in entries["footer"]


def test_the_true_outcome_is_in_the_list_only_when_asked(opened: Look) -> None:
    hidden = block(CaseList().blocks(opened("credit")), "cases.list")["items"]
    assert all("caption" not in entry for entry in hidden)
    shown = block(CaseList().blocks(opened("credit", outcome=True)), "cases.list")["items"]
    view = opened("credit")
    assert [e["caption"] for e in shown] == [view.model.classes[view.truth[int(e["id"])]] for e in shown]


def test_picking_a_case_clears_edits_and_suggestions(opened: Look) -> None:
    view = opened("credit", edits=(("income", 3000.0),), suggestions=True, outcome=True)
    after = CaseList().apply({"type": "list", "block": "cases.list", "id": "40"}, view)
    assert (after.row, after.edits, after.suggestions, after.outcome) == (40, (), False, True)


@pytest.mark.parametrize(("asked", "row"), [(3, 3), (-5, 0), (10_000, 7), (2.4, 2), (None, 1), ("x", 1)])
def test_going_to_a_case_by_its_number_stays_in_the_data(look: Look, asked: Any, row: int) -> None:
    assert CaseList().apply(control("cases", "filter", "search", asked), look(eight(), row=1)).row == row


def test_filters_change_only_the_filter(opened: Look) -> None:
    view = opened("credit", row=36)
    for name, value in (("sort", "near"), ("show", "wrong"), ("label", "granted")):
        after = CaseList().apply(control("cases", "filter", name, value), view)
        assert getattr(after.filter, name) == value
        assert after.change(filter=view.selection.filter) == view.selection


# The strip


def test_next_and_previous_walk_the_list_and_come_round(look: Look) -> None:
    view = look(eight(), row=7)  # highest first: 7, 6, … 0
    assert Strip().apply(control("strip", "move", "next"), view).row == 6
    assert Strip().apply(control("strip", "move", "previous"), view).row == 0
    elsewhere = look(eight(), row=0, filter=Filter(show="wrong"))
    assert Strip().apply(control("strip", "move", "next"), elsewhere).row == 6


def test_an_empty_list_leaves_the_case(look: Look) -> None:
    view = look(split(), row=4, threshold=0.05, filter=Filter(show="wrong", label="yes"))
    assert listed(view).tolist() == []
    assert Strip().apply(control("strip", "move", "next"), view) == view.selection
    check(CASE_TABLE, CaseList().blocks(view))


@pytest.mark.parametrize("row", [36, 100, 500])
def test_random_wrong_gives_another_wrong_case_and_shows_the_outcome(opened: Look, row: int) -> None:
    view = opened("credit", row=row)
    after = Strip().apply(control("strip", "move", "wrong"), view)
    assert after.row != row
    assert after.row in view.workspace.rows
    assert view.decided[after.row] != view.truth[after.row]
    assert after.outcome
    assert after.edits == ()


def test_random_wrong_wanders(opened: Look) -> None:
    view, seen = opened("credit"), set()
    for _ in range(12):
        view = then(view, Strip().apply(control("strip", "move", "wrong"), view))
        seen.add(view.selection.row)
    assert len(seen) > 6


def test_random_wrong_stays_where_nothing_else_is_wrong(look: Look) -> None:
    view = look(split(), row=6)
    assert Strip().apply(control("strip", "move", "wrong"), view) == view.selection


def test_the_line_says_case_score_usual_and_the_outcome_only_when_asked(look: Look) -> None:
    view = look(split(), row=5)
    assert (
        case_line(view)
        == "Case 5 · yes: model says 60\u202f%, decides “yes” · usual 25\u202f% for 4 training cases"
    )
    shown = then(view, Strip().apply(control("strip", "move", "outcome", True), view))
    assert case_line(shown).endswith(" · true outcome: yes")


# What if


def slider(view: View, name: str) -> dict[str, Any]:
    return next(
        one for one in block(WhatIf().blocks(view), "whatif.features")["controls"] if one["id"] == name
    )


def bars(view: View) -> dict[str, float]:
    return dict(zip(view.reasons.names, view.reasons.values[0], strict=True))


def test_a_moved_slider_changes_score_bars_and_answer(look: Look) -> None:
    view = look(eight(), row=1)
    after = then(view, WhatIf().apply(control("whatif", "features", "share", 0.7), view))
    assert dict(after.selection.edits)["share"] == 0.7
    assert (view.score, after.score) == pytest.approx((0.2, 0.7))
    assert bars(view)["share"] == pytest.approx(0.2 - 0.45)
    assert bars(after)["share"] == pytest.approx(0.7 - 0.45)
    assert answer(after)[0]["text"] == "→ 70\u202f%  (+50 points) · decides “yes”, was “no”"
    assert slider(after, "share")["value"] == 0.7
    assert slider(after, "share")["original"] == pytest.approx(0.2)
    assert words_of(Reasons().blocks(view)) != words_of(Reasons().blocks(after))
    assert words_of(Prediction().blocks(view)) != words_of(Prediction().blocks(after))


@pytest.mark.parametrize(("moved", "code"), [(3.4, 3.0), (3.6, 4.0), (7, 7.0)])
def test_integers_stay_whole(look: Look, moved: float, code: float) -> None:
    assert WhatIf().apply(
        control("whatif", "features", "count", moved), look(eight(), linked=False)
    ).edits == (("count", code),)


def test_a_slider_put_back_is_no_edit(look: Look) -> None:
    view = look(eight(), row=1, linked=False, edits=(("share", 0.7), ("count", 5.0)))
    after = WhatIf().apply(control("whatif", "features", "share", 0.2), view)
    assert after.edits == (("count", 5.0),)
    assert WhatIf().apply(control("whatif", "tools", "reset"), view).edits == ()
    assert WhatIf().apply(control("whatif", "tools", "linked", True), view).linked is True


def test_a_choice_changes_the_category(look: Look) -> None:
    view = look(eight(), row=0)
    colours = view.schema.feature("colour").categories
    now = slider(view, "colour")
    other = next(option["value"] for option in now["options"] if option["value"] != now["value"])
    after = then(view, WhatIf().apply(control("whatif", "features", "colour", other), view))
    assert after.case.X["colour"].tolist() == [colours[int(other)]]
    assert after.case.X["colour"].tolist() != view.case.X["colour"].tolist()


def test_at_most_holds_after_any_move(look: Look) -> None:
    view = look(ordered(), row=9, linked=False)
    for name, value in (("low", 30.0), ("high", -2.0), ("low", 8.0)):
        view = then(view, WhatIf().apply(control("whatif", "features", name, value), view))
        codes = dict(zip(view.schema.names, view.case.matrix[0], strict=True))
        assert codes[name] == value
        assert codes["low"] <= codes["high"]


def test_outside_the_data_is_said_with_the_range(look: Look) -> None:
    far = answer(look(eight(), row=0, edits=(("count", 40.0),)))
    assert [item["style"] for item in far][-1] == "warning"
    assert "count 40 (seen: 1 to 8)" in far[-1]["text"]
    near = answer(look(eight(), row=0, edits=(("count", 2.0),)))
    assert "warning" not in [item["style"] for item in near]
    assert slider(look(eight(), row=0, edits=(("count", 40.0),)), "count")["outside"]


def test_a_combination_that_nobody_has_is_said(look: Look) -> None:
    strange = answer(look(ordered(linked=True), row=0, edits=(("high", 10.0),)))
    assert "like this combination" in strange[-1]["text"]
    assert strange[-1]["style"] == "warning"


def test_sliders_keep_their_order_while_they_move(look: Look) -> None:
    view = look(ordered(), row=3)
    moved = look(ordered(), row=3, edits=(("free", 1.0), ("share", 0.9)))
    assert view.sliders == moved.sliders
    assert view.sliders[0] == "share"


def test_the_curve_under_a_slider_is_the_models(look: Look) -> None:
    view = look(eight(), row=3)
    spark = slider(view, "share")["spark"]
    x, y = (np.frombuffer(base64.b64decode(spark[k]["bdata"]), dtype=f"<{spark[k]['dtype']}") for k in "xy")
    np.testing.assert_allclose(y, x, atol=1e-6)
    assert spark["base"] == pytest.approx(0.4)
    assert spark["scale"] == 100


def test_a_missing_value_has_a_slider_and_a_way_to_a_value(look: Look) -> None:
    view = look(ordered(gaps=True), row=18)
    shown = slider(view, "low")
    assert shown["display"] == "missing"
    after = WhatIf().apply(control("whatif", "features", "low", 4.0), view)
    assert dict(after.edits)["low"] == 4.0


# Reasons, importance, effect, beeswarm, facts


def test_clicking_a_bar_selects_its_feature_and_nothing_else_does(look: Look) -> None:
    view = look(eight())
    for panel, name in ((Reasons(), "why"), (GlobalImportance(), "importance")):
        assert panel.apply(click(name, "chart", "count"), view).feature == "count"
        for nothing in ("", None, "3 other features", 7):
            assert panel.apply(click(name, "chart", nothing), view) == view.selection


@pytest.mark.parametrize("way", ["bars", "waterfall", "table"])
def test_reasons_are_drawn_as_asked(look: Look, way: str) -> None:
    view = look(eight())
    after = then(view, Reasons().apply(control("why", "ways", "way", way), view))
    assert after.selection.why == way
    kinds = {one["id"]: one["kind"] for one in Reasons().blocks(after)}
    assert ("why.table" in kinds) == (way == "table")
    assert ("why.chart" in kinds) == (way != "table")


def test_the_feature_that_was_clicked_is_the_one_whose_effect_is_shown(look: Look, settle: Settle) -> None:
    view = look(eight())
    settle(view, OVERVIEW_TABLE)
    assert chosen(view) == "share"  # the only one that the model uses
    after = then(view, GlobalImportance().apply(click("importance", "chart", "count"), view))
    blocks = settle(after, OVERVIEW_TABLE)
    assert block(blocks, "effect.choose")["controls"][0]["value"] == "count"
    assert "hardly moves with count" in block(blocks, "effect.text")["items"][0]["text"]
    assert FeatureEffect().apply(control("effect", "choose", "feature", "share"), after).feature == "share"


def test_the_importance_is_what_the_formula_uses(look: Look, settle: Settle) -> None:
    text = block(settle(look(eight()), OVERVIEW_TABLE), "importance.text")["items"][0]["text"]
    assert text.startswith("The model uses share ")


@pytest.mark.parametrize(("point", "row"), [(3, 3), ([3, 0.1], 3), (None, 0), ("x", 0)])
def test_a_dot_of_the_beeswarm_selects_its_case(look: Look, point: Any, row: int) -> None:
    assert Beeswarm().apply(click("beeswarm", "chart", point), look(eight(), row=0)).row == row


def test_dots_carry_positions_in_the_data(opened: Look, settle: Settle) -> None:
    view = opened("diabetes")
    settle(view, OVERVIEW_TABLE)
    figure = block(Beeswarm().blocks(view), "beeswarm.chart")["figure"]
    points = {
        int(p) for trace in figure.data if trace.customdata is not None for p in np.ravel(trace.customdata)
    }
    assert len(points) > 5
    assert points <= {int(row) for row in view.workspace.rows}


def test_performance_is_told_at_the_threshold(look: Look) -> None:
    def accuracy(threshold: float) -> str:
        rows = block(Facts().blocks(look(eight(), threshold=threshold)), "facts.figures")["rows"]
        return next(row["cells"][1]["text"] for row in rows if row["id"] == "accuracy")

    assert accuracy(0.5) == "75\u202f%"
    assert accuracy(0.75) == "62\u202f%"


def test_what_a_model_returns_is_said_with_who_says_so(look: Look) -> None:
    def said(model: ex.Model) -> str:
        return " ".join(item["text"] for item in Facts().blocks(look(workspace(model, data)))[0]["items"])

    data = ex.Dataset.from_frame(
        pd.DataFrame(np.random.default_rng(0).normal(size=(8, 3)), columns=list("abc"))
    )
    linear, sigmoids = (nn.Sequential(nn.Linear(3, 3), *last) for last in ((), (nn.Sigmoid(),)))
    assert "It returns raw scores (logits), of which a" in said(ex.Model.wrap(linear, "xyz"))
    assert "(as whyboard found it; the model's file does not say)" in said(ex.Model.wrap(linear, "xyz"))
    assert "(declared with the model)" in said(ex.Model.wrap(linear, "xyz", output="raw"))
    declared = said(ex.Model.wrap(sigmoids, "xyz", output="probability"))
    assert "It returns probabilities itself (declared with the model)" in declared
    assert "The probabilities of a case add up to" in declared
    assert "It returns" not in said(probability(lambda X: np.full(len(X), 0.5)))


def test_without_truth_nothing_is_said_of_performance(look: Look, settle: Settle) -> None:
    made = eight(key="bare")
    bare = dataclasses.replace(made, data=ex.Dataset(made.data.X, made.data.schema))
    blocks = settle(look(bare), OVERVIEW_TABLE)
    assert "no column with the true outcome" in block(blocks, "facts.none")["items"][0]["text"]
    assert [one["id"] for one in Strip().blocks(look(bare))[1]["controls"]] == ["previous", "next"]


def test_past_predictions_like_this_one_are_counted(look: Look) -> None:
    """At .5 ± .05 there is the one case with .5, who had it."""
    caption = block(Prediction().blocks(look(eight(), row=4)), "says.text")["items"][2]["text"]
    assert caption.startswith("Of 1 case given 45–55\u202f%, 1 ")
    assert caption.endswith("Too few cases to judge.")


# Suggestions


def test_suggestions_are_asked_for_and_a_loaded_one_turns_the_decision(opened: Look, settle: Settle) -> None:
    view = opened("credit")
    assert [one["id"] for one in Suggestions().blocks(view)] == ["suggestions.ask"]
    asked = then(view, Suggestions().apply(control("suggestions", "ask", "search"), view))
    assert asked.selection.suggestions
    table = block(settle(asked, CASE_TABLE), "suggestions.table")
    buttons = [column for column in table["columns"] if column.get("button")]
    assert buttons
    for column in buttons:
        event = {
            "type": "table",
            "block": "suggestions.table",
            "id": "load",
            "column": column["id"],
            "seq": 2,
        }
        after = then(asked, Suggestions().apply(event, asked))
        assert 1 <= len(after.selection.edits) <= 2
        changed = [view.schema.feature(name) for name, _ in after.selection.edits]
        assert {feature.change for feature in changed} == {"actionable"}
        assert (view.score >= 0.5) != (after.score >= 0.5)
        for name, code in after.selection.edits:
            assert slider(after, name)["value"] == code


def test_another_suggestion_replaces_the_first_one(opened: Look) -> None:
    view = opened("credit", suggestions=True, edits=(("income", 14_000.0),))
    event = {"type": "table", "block": "suggestions.table", "id": "load", "column": "suggestion0", "seq": 2}
    after = Suggestions().apply(event, view)
    assert after.edits == Suggestions().apply(event, then(view, view.selection.change(edits=()))).edits


def test_the_threshold_is_the_one_the_suggestion_must_reach(look: Look, settle: Settle) -> None:
    view = look(eight(), row=0, threshold=0.75, suggestions=True)
    settle(view, CASE_TABLE)
    event = {"type": "table", "block": "suggestions.table", "id": "load", "column": "suggestion0", "seq": 2}
    after = then(view, Suggestions().apply(event, view))
    assert after.score >= 0.75


def test_where_nothing_turns_the_decision_it_is_said(look: Look, settle: Settle) -> None:
    made = eight(key="locked")
    locked = dataclasses.replace(made.data.schema.feature("share"), change="immutable")
    data = dataclasses.replace(made.data, schema=made.data.schema.replace(locked))
    view = look(dataclasses.replace(made, data=data), row=0, suggestions=True)
    blocks = settle(view, CASE_TABLE)
    assert "No change of one or two" in block(blocks, "suggestions.text")["items"][0]["text"]
    assert "suggestions.table" not in [one["id"] for one in blocks]


def test_asking_again_resumes_what_was_stopped(look: Look) -> None:
    title = Suggestions.title
    view = look(eight(), suggestions=True, cancelled=frozenset({title, "other"}))
    with pytest.raises(ex.ExplainerError, match="Stopped"):
        Suggestions().blocks(view)
    assert Suggestions().apply(control("suggestions", "ask", "search"), view).cancelled == {"other"}


# Pictures


def test_a_click_on_a_class_explains_it(opened: Look) -> None:
    view = opened("digits")
    other = (view.output + 3) % 10
    after = then(view, Classes().apply(click("classes", "chart", other), view))
    assert after.target == str(other)
    assert after.score == pytest.approx(view.predictions[view.selection.row, other])
    assert Classes().apply(click("classes", "chart", None), view) == view.selection


def shown_map(blocks: Blocks) -> dict[str, Any]:
    """The map shown large, as it is sent."""
    sent = block(blocks, "picture.maps")
    found: dict[str, Any] = next(t["overlay"] for t in sent["tiles"] if t["id"] == sent["large"])
    return found


def test_another_class_has_another_map(opened: Look, settle: Settle) -> None:
    view = opened("digits")
    other = opened("digits", target=str((view.output + 1) % 10))
    assert shown_map(settle(view, CASE_PICTURE)) != shown_map(settle(other, CASE_PICTURE))


def test_a_tile_is_shown_large(opened: Look, settle: Settle) -> None:
    view = opened("scans")
    settle(view, CASE_PICTURE)
    tile = {"type": "tile", "block": "picture.maps", "id": "Saliency", "seq": 1}
    after = then(view, Picture().apply(tile, view))
    assert after.selection.method == "Saliency"
    sent = block(Picture().blocks(after), "picture.maps")
    assert sent["large"] == "Saliency"
    assert [one["id"] for one in sent["tiles"] if one["selected"]] == ["Saliency"]
    assert Picture().apply(tile | {"id": "plain"}, view) == view.selection


def test_the_two_scan_models_look_at_different_places(opened: Look, settle: Settle) -> None:
    """The letter stands in a corner: one model's map peaks there, the other's does not."""

    def peak(model: int) -> tuple[int, int]:
        blocks = settle(opened("scans", model=model), CASE_PICTURE)
        overlay = shown_map(blocks)
        packed = overlay["values"]
        values = np.frombuffer(base64.b64decode(packed["bdata"]), dtype=f"<{packed['dtype']}").reshape(
            overlay["shape"]
        )
        return tuple(int(v) for v in np.unravel_index(np.abs(values).argmax(), values.shape))

    down, right = peak(0)
    assert (down < 20, right >= 44) == (True, True)
    down, right = peak(1)
    assert (down < 20, right >= 44) != (True, True)


def test_a_mean_map_explains_its_class(opened: Look, settle: Settle) -> None:
    view = opened("scans")
    tiles = block(settle(view, OVERVIEW_PICTURE), "together.maps")["tiles"]
    assert [one["id"] for one in tiles] == ["no finding", "finding"]
    assert all("overlay" in one for one in tiles)
    rows = view.workspace.rows
    means = [view.data.X[rows[view.decided[rows] == place][:AVERAGED]].mean(axis=0) for place in (0, 1)]
    low, high = min(mean.min() for mean in means), max(mean.max() for mean in means)
    for tile, mean in zip(tiles, means, strict=True):  # one scale for both
        seen = Image.open(io.BytesIO(base64.b64decode(tile["base"].partition(",")[2])))
        np.testing.assert_allclose(np.asarray(seen), 255 * (mean[0] - low) / (high - low), atol=0.51)
    event = {"type": "tile", "block": "together.maps", "id": "no finding", "seq": 1}
    assert then(view, PicturesTogether().apply(event, view)).target == "no finding"


# Names from outside


def figures(blocks: Blocks) -> Iterator[str]:
    """Every string inside a figure, but for `customdata`, which is handed back and never shown."""

    def strings(value: Any, key: str = "") -> Iterator[str]:
        if key == "customdata":
            return
        if isinstance(value, str):
            yield value
        elif isinstance(value, dict):
            for inner, part in value.items():
                yield from strings(part, inner)
        elif isinstance(value, (list, tuple)):
            for part in value:
                yield from strings(part)

    for one in blocks:
        if "figure" in one:
            yield from strings(json.loads(json.dumps(one["figure"], cls=PlotlyJSONEncoder)))


@pytest.mark.parametrize("page", [CASE_TABLE, OVERVIEW_TABLE], ids=["case", "overview"])
@pytest.mark.parametrize(
    "fields",
    [{}, {"why": "waterfall", "outcome": True}, {"why": "table", "suggestions": True}],
    ids=["bars", "waterfall", "table"],
)
def test_hostile_names_are_never_markup(
    look: Look, settle: Settle, page: Page, fields: dict[str, Any]
) -> None:
    blocks = settle(look(hostile(), **fields), page)
    check(page, blocks)
    shown = list(figures(blocks))
    assert "<img" in words_of(blocks) or any("&lt;img" in text for text in shown)  # the names are there
    for text in shown:
        for tag in ("<img", "<script", "<a ", "<i>", "<u>", "<s>", "<b>no", "<b>case"):
            assert tag not in text.replace("</b>", ""), text
    for one in blocks:
        for line_of in one.get("csv", "").splitlines()[1:]:
            assert not line_of.startswith(("=", "@"))


def test_a_hostile_case_stays_in_its_line(look: Look) -> None:
    text = case_line(look(hostile(), outcome=True))
    assert "\n" not in text
    assert "<script>yes</script>: model says" in text


# Many cases at once: what trees can do


def trees(kind: Any, rows: int = 400, classes: int = 2) -> Any:
    """A workspace around trees of scikit-learn: rows 0 to 99 trained them, the others are tested."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(rows, 3)).round(2), columns=["a", "b", "c"])
    score = frame["a"] + frame["b"] * frame["c"]
    frame["truth"] = score if classes == 0 else np.digitize(score, [-0.5, 0.5][: classes - 1])
    role = np.array(["train"] * 100 + ["test"] * (rows - 100), dtype="<U9")
    data = dataclasses.replace(ex.Dataset.from_frame(frame, target="truth"), role=role)
    fitted = kind.fit(frame[["a", "b", "c"]][:100], frame["truth"][:100])
    return workspace(ex.Model.wrap(fitted), data, type(kind).__name__ + str(classes))


def boosted(rows: int = 400, classes: int = 2) -> Any:
    return trees(HistGradientBoostingClassifier(max_iter=5, min_samples_leaf=5), rows, classes)


def forest() -> Any:
    return trees(RandomForestClassifier(5, max_depth=4, random_state=0))


def asked_of(view: View) -> list[tuple[str, str]]:
    """What the overview has of Shapley values: the titles of its requests, in the order in which it makes them."""
    found = []
    for _ in range(4):
        now = then(view, view.selection)
        importance.global_attribution(now)
        for job in now.pending:
            found.append((job.title, type(job.key.explainer).__name__))  # type: ignore[attr-defined]
            job.run(lambda done, total, partial=None: None)
    return found


def test_trees_are_explained_by_all_test_rows_and_others_by_a_sample(
    look: Look, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(policy, "FIRST_CASES", 100)  # enough that tables are worth it
    view = look(boosted())
    found = importance.global_attribution(view)
    assert found is None
    assert [title for title, _ in asked_of(view)] == ["SHAP values, first cases", "SHAP values of 300 cases"]
    full = importance.global_attribution(then(view, view.selection))
    assert full is not None
    assert len(full.values) == 300
    assert full.background_error is None
    assert full.standard_error is None
    monkeypatch.setattr(policy, "FIRST_CASES", 4)
    titles = [title for title, _ in asked_of(look(eight()))]
    assert titles == ["SHAP values, first cases", "SHAP values of 8 cases"]


def test_how_many_cases_are_explained_depends_on_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    def first(kernel: str) -> Any:
        return dataclasses.replace(found, diagnostics={"kernel": kernel})

    found = ex.Attribution(
        names=("a",), values=np.zeros((1, 1)), base_value=np.zeros(1), output=np.zeros(1), space="raw", targets=("x",)
    )  # fmt: skip
    monkeypatch.setattr(policy, "FIRST_CASES", 40)
    monkeypatch.setattr(policy, "MOST_CASES", 200)
    trees, other = ex.TreeShap(), ex.KernelShap()
    assert [policy.global_cases(kind, None) for kind in (trees, other)] == [40, 40]
    assert policy.global_cases(trees, first("tables, error from 8 halves")) == 10_000
    assert policy.global_cases(trees, first("pairs")) == 200
    assert policy.global_cases(other, first("")) == 200


def test_one_case_is_explained_in_probability_and_many_where_trees_add_up(look: Look) -> None:
    for made, many in ((boosted(), "raw"), (forest(), "probability"), (trees(HistGradientBoostingRegressor(max_iter=3), classes=0), "target")):  # fmt: skip
        view = look(made)
        asked_of(view)
        found = importance.global_attribution(then(view, view.selection))
        assert found is not None
        assert found.space == many
        assert view.reasons.space == ("target" if many == "target" else "probability")
        assert (view.reasons.standard_error is None) == (many != "raw")
        assert then(view, view.selection.change(space="raw")).reasons.space == many


def test_the_overview_says_on_which_scale_it_is(look: Look, settle: Settle) -> None:
    def said(view: View) -> tuple[list[str], str]:
        blocks = settle(view, OVERVIEW_TABLE)
        items = [item["text"] for item in block(blocks, "importance.text")["items"][1:]]
        return items, block(blocks, "beeswarm.chart")["figure"].layout.xaxis.title.text

    two, three, probability = (said(look(made)) for made in (boosted(), boosted(classes=3), forest()))
    assert two[0][0].startswith(
        "In log-odds, the raw score in which this model's trees add up, so that 300 cases"
    )
    assert two[1] == "SHAP, log-odds (raw score)"
    assert three[0][0].startswith("In the class's raw score in which this model's trees add up")
    assert three[1] == "SHAP, raw score"
    assert probability == ([], "SHAP, percentage points")
    assert said(look(boosted(), space="raw"))[0] == []


def test_of_many_cases_the_dots_can_be_saved_and_the_line_of_code_is_short(
    look: Look, settle: Settle
) -> None:
    made = boosted()
    chart = block(settle(look(made, row=123), OVERVIEW_TABLE), "beeswarm.chart")
    saved = pd.read_csv(io.StringIO(chart["csv"]))
    per_feature = saved.groupby("feature").size()
    assert list(per_feature.index) == ["a", "b", "c"]
    assert per_feature.between(180, 181).all()
    assert (saved["case"] == 123).sum() == 3
    assert chart["footer"].startswith("300 cases; drawn and in the CSV 180 of each feature")
    assert 'rows=data.rows("test")' in chart["code"]
    model, data = made.models[0].model, made.data
    again = eval(chart["code"], {"ex": ex, "np": np, "model": model, "data": data})
    of_a = saved[saved["feature"] == "a"]
    assert again.values[of_a["case"].to_numpy() - 100, 0] == pytest.approx(of_a["value"].to_numpy(), abs=1e-9)


def test_the_line_of_code_names_the_sample_that_was_taken(
    look: Look, settle: Settle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(policy, "MOST_TREE_CASES", 150)
    for made in (boosted(), dataclasses.replace(boosted(), data=dataclasses.replace(boosted().data, role=np.array(["unknown"] * 400, dtype="<U9")))):  # fmt: skip
        view = look(dataclasses.replace(made, key=made.key + made.data.role[0]))
        code = block(settle(view, OVERVIEW_TABLE), "importance.chart")["code"]
        rows = code.partition("rows=")[2].rpartition(", target")[0]
        named = eval(rows, {"np": np, "data": view.data})
        assert tuple(named.tolist()) == importance.browse_sample(view, 150)
        assert len(code) < 250


def test_names_in_another_order_than_the_outputs_are_noticed(look: Look) -> None:
    def told(classes: str) -> str:
        net = nn.Sequential(nn.Linear(3, 3, bias=False))
        with torch.no_grad():
            net[0].weight.copy_(5 * torch.eye(3))
        opened = workspace(ex.Model.wrap(net, tuple(classes)), data)
        return " ".join(item["text"] for b in Facts().blocks(look(opened)) for item in b.get("items", []))

    places = np.tile([0, 1, 2], 8)
    frame = pd.DataFrame(np.eye(3)[places], columns=list("pqr"))
    frame["label"] = np.array(list("xyz"))[places]
    data = ex.Dataset.from_frame(frame, target="label")
    assert "another order" not in told("xyz")
    assert (
        "Named in the order x, y, z, its answers would be right for 100 % of the cases instead of 0 %"
        in told("yzx")
    )
