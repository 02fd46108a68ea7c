"""The linked host without a browser: the contract's check, what is served, and what may not stand in the scripts."""

from __future__ import annotations

import base64
import copy
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pytest
import streamlit as st
from plotly.utils import PlotlyJSONEncoder

import dashboard.linked.host as host
from dashboard.linked import PayloadError, assets, validate
from dashboard.linked.payload import BLOCKS, CONTROLS, typed_array

SLIDER = {"id": "age", "kind": "slider", "label": "age", "value": 3, "min": 0, "max": 9, "step": 1}
TILE = {"id": "map", "overlay": {"values": [1.0], "shape": [1, 1], "limit": 1.0}}
WEB_FILES = sorted(path for path in assets.WEB.iterdir() if path.is_file())


def payload() -> dict[str, Any]:
    """One block of each kind, one control of each kind."""
    choice = {"value": "b", "options": [{"value": "a", "label": "A"}, {"value": "b", "label": "B"}]}
    controls = [
        SLIDER,
        {"id": "sex", "kind": "select", "label": "sex", **choice},
        {"id": "view", "kind": "segmented", "label": "view", **choice},
        {"id": "dose", "kind": "number", "label": "dose", "value": 1.5},
        {"id": "on", "kind": "toggle", "label": "on", "value": True},
        {"id": "go", "kind": "button", "label": "go", "emphasis": "primary"},
    ]
    blocks = [
        {"id": "says", "kind": "text", "column": 0, "items": [{"style": "big", "text": "41 %"}]},
        {
            "id": "why",
            "kind": "chart",
            "column": 0,
            "alt": "bars",
            "height": 200,
            "figure": {"data": [], "layout": {}},
        },
        {"id": "if", "kind": "controls", "column": 1, "controls": controls},
        {
            "id": "need",
            "kind": "table",
            "column": 1,
            "columns": [{"id": "now", "label": "now"}, {"id": "then", "label": "then", "align": "right"}],
            "rows": [{"id": "r", "cells": [{"text": "38"}, {"text": "24", "tone": "changed", "bold": True}]}],
        },
        {"id": "picture", "kind": "image", "column": 1, "tiles": [TILE]},
        {
            "id": "maps",
            "kind": "maps",
            "column": 1,
            "base": None,
            "size": [1, 1],
            "tiles": [TILE | {"title": "map"}],
        },
        {"id": "cases", "kind": "list", "column": 1, "items": [{"id": "17", "title": "#17", "share": 0.4}]},
    ]
    return {"blocks": blocks, "layout": {"wide": {"columns": [1, 2]}}}


def test_the_example_covers_every_kind_and_is_accepted() -> None:
    example = payload()
    before = copy.deepcopy(example)
    validate(example)
    assert example == before
    assert {block["kind"] for block in example["blocks"]} == set(BLOCKS)
    assert {control["kind"] for control in example["blocks"][2]["controls"]} == set(CONTROLS)


def change(path: str, value: Any) -> dict[str, Any]:
    """The example with one place changed; None takes the place away."""
    example = copy.deepcopy(payload())
    *way, last = [int(step) if step.isdigit() else step for step in path.split(".")]
    place: Any = example
    for step in way:
        place = place[step]
    if value is None:
        del place[last]
    else:
        place[last] = value
    return example


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("blocks.0.kind", "html", r"block 'says': kind: 'html' is none of"),
        ("blocks.1.id", "says", r"the id 'says' is used twice"),
        ("blocks.1.id", "", r"`id` is a text that is not empty"),
        ("blocks.1.alt", None, r"block 'why': \['alt'\] missing"),
        ("blocks.1.alt", "", r"`alt` is empty"),
        ("blocks.1.hieght", 3, r"block 'why': unknown \['hieght'\]"),
        ("blocks.1.figure", "fig.json", r"`figure` is a Plotly figure or its dictionary, found str"),
        ("blocks.1.area", "x", r"`area` or `column`, not both"),
        ("blocks.0.column", -1, r"`column` counts from 0, found -1"),
        ("blocks.0.items.0.style", "h1", r"style: 'h1' is none of"),
        ("blocks.2.controls.1.id", "age", r"block 'if': control: the id 'age' is used twice"),
        ("blocks.2.controls.0.kind", "knob", r"control 'age': kind: 'knob' is none of"),
        ("blocks.2.controls.0.value", float("nan"), r"control 'age': `value` is a number, found nan"),
        ("blocks.2.controls.0.max", 0, r"needs min < max and step > 0"),
        ("blocks.2.controls.0.step", 0, r"needs min < max and step > 0"),
        ("blocks.2.controls.0.spark", {"x": [1]}, r"spark: \['y'\] missing"),
        ("blocks.2.controls.1.options", ["a"], r"option: 'a' is not a mapping"),
        ("blocks.3.rows.0.cells", [{"text": "38"}], r"row 'r' has 1 cells for 2 columns"),
        ("blocks.3.rows.0.cells.0.tone", "red", r"tone: 'red' is none of"),
        ("blocks.4.tiles.0.base", "https://example.org/x.png", r"tile 'map': base is a data URI"),
        ("blocks.4.tiles.0.overlay.limit", 0, r"overlay `limit` is above 0, found 0"),
        ("blocks.4.colours", "jet", r"colours: 'jet' is none of"),
        ("blocks.5.large", "other", r"large: 'other' is none of \['map'\]"),
        ("blocks.5.tiles.0.overlay.limit", 0, r"overlay `limit` is above 0, found 0"),
        ("blocks.6.items.0.picture", "x.png", r"item '17': picture is a data URI"),
        ("layout", {"huge": {"columns": [1]}}, r"layout: \['huge'\] is none of"),
        ("layout.wide.columns", [1, 0], r"columns are weights above 0"),
        ("layout.wide.areas", [["a"]], r"2 columns, but a row of areas has 1"),
        ("layout.wide.areas", [['a" "b', "c"]], r"is no area name"),
        ("blocks", None, r"payload: \['blocks'\] missing"),
    ],
)
def test_refusals_name_the_place_and_the_rule(path: str, value: Any, message: str) -> None:
    with pytest.raises(PayloadError, match=message):
        validate(change(path, value))


def test_every_area_needs_its_place() -> None:
    example: dict[str, Any] = {"blocks": [{"id": "a", "kind": "text", "area": "left", "items": []}]}
    validate(example)
    example["layout"] = {"wide": {"columns": [1], "areas": [["right"]]}}
    with pytest.raises(PayloadError, match=r"no place for the areas \['left'\]"):
        validate(example)


def test_a_loading_block_needs_no_content() -> None:
    block = {"id": "why", "kind": "chart", "height": 200}
    with pytest.raises(PayloadError, match="missing"):
        validate({"blocks": [block]})
    validate({"blocks": [{**block, "loading": True}]})


def test_figures_and_arrays_travel_as_valid_json() -> None:
    figure = go.Figure(go.Bar(x=np.array([1.0, np.nan]), y=["a", "b"]))
    example = change("blocks.1.figure", figure)
    validate(example)
    sent = json.loads(
        json.dumps(example, cls=PlotlyJSONEncoder), parse_constant=lambda name: pytest.fail(name)
    )
    assert sent["blocks"][1]["figure"]["data"][0]["type"] == "bar"


def test_typed_array_is_little_endian_and_round_trips() -> None:
    values = np.array([[0.5, -2.0]])
    sent = typed_array(values)
    assert sent["dtype"] == "f4"
    assert np.frombuffer(base64.b64decode(sent["bdata"]), "<f4").tolist() == [0.5, -2.0]


def test_events_are_handed_over_once_and_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    state: dict[str, Any] = {"k": {"events": [{"seq": 1, "type": "click"}, {"seq": 2, "type": "tile"}]}}
    monkeypatch.setattr(st, "session_state", state)
    seen: list[int] = []
    host._deliver("k", lambda event: seen.append(event["seq"]))
    state["k"]["events"].append({"seq": 3, "type": "click"})
    host._deliver("k", lambda event: seen.append(event["seq"]))
    assert seen == [1, 2, 3]
    assert state[host._seq_key("k")] == 3


def test_plotly_comes_from_the_installed_package() -> None:
    script = assets.plotly_folder() / assets.PLOTLY_FILE
    assert script.stat().st_size > 1_000_000
    with script.open(encoding="utf-8") as lines:
        assert "plotly.js v" in lines.read(200)


def test_addresses_are_relative_and_change_with_the_content(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    addresses = assets.publish()
    assert sorted(addresses) == ["host", "plotly", "style"]
    assert all(re.fullmatch(r"component/[\w.]+/[\w.]+\?v=[\w.-]+", address) for address in addresses.values())
    (tmp_path / "host.js").write_text("// other")
    monkeypatch.setattr(assets, "WEB", tmp_path)
    assets._stamp.cache_clear()
    try:
        assert assets.publish()["host"] != addresses["host"]
    finally:
        assets._stamp.cache_clear()


def test_the_loader_is_short_since_every_run_sends_it() -> None:
    assert len(assets.loader()) < 1000


@pytest.mark.parametrize("path", WEB_FILES, ids=lambda path: path.name)
def test_scripts_and_styles_hold_no_markup_no_eval_and_no_remote_address(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    source = source.replace('"http://www.w3.org/2000/svg"', "")  # the name of SVG, never fetched
    found = re.findall(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|createContextualFragment|\beval\b|new Function|https?:|//\w+\.\w+/|@import",
        source,
    )
    assert found == []


def test_the_files_stay_readable() -> None:
    assert {"loader.js", "host.js", "host.css"} <= {path.name for path in WEB_FILES}
    assert {
        path.name: count for path in WEB_FILES if (count := len(path.read_text().splitlines())) > 250
    } == {}


def test_every_imported_script_is_there() -> None:
    names = {path.name for path in WEB_FILES}
    imported = {
        name
        for path in WEB_FILES
        for name in re.findall(r'from "\./([\w.]+)"', path.read_text(encoding="utf-8"))
    }
    assert imported
    assert imported <= names
