"""The page of a picture: which maps it shows, what they are targets of, regions, files, and pictures of every shape."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Callable
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pytest
from torch import nn

import explainers as ex
from dashboard import policy
from dashboard.checks import Check, measured
from dashboard.figures.images import as_seen
from dashboard.figures.map_checks import removal_curves
from dashboard.linked.payload import PayloadError, validate
from dashboard.panels import CASE_PICTURE
from dashboard.panels.classes import Classes
from dashboard.panels.map_checks import FOLLOWS, MapChecks
from dashboard.panels.picture import NO_CONTRAST, PRECISION, Picture, wanted_target
from dashboard.panels.received import Received, given
from dashboard.panels.region import RegionOfInterest
from dashboard.regions import Region
from dashboard.selection import Selection
from dashboard.view import View
from dashboard.workers import answers, codec
from dashboard.workspace import OpenWorkspace
from tests.cases import network
from tests.dashboard.hand_made import workspace

Look = Callable[..., View]
Blocks = list[dict[str, Any]]
Settle = Callable[..., Blocks]

CORNER = {"points": [[0.0, 0.0], [0.5, 0.0], [0.5, 0.5], [0.0, 0.5]]}


def then(view: View, selection: Selection) -> View:
    return View(view.workspace, selection, view.compute)


def block(blocks: Blocks, name: str) -> dict[str, Any]:
    return next(one for one in blocks if one["id"] == name)


def switch(name: str, on: bool) -> dict[str, Any]:
    return {"type": "control", "block": "picture.choose", "id": name, "value": on, "seq": 1}


def draw(region: Any) -> dict[str, Any]:
    return {"type": "region", "block": "picture.maps", "id": "region", "region": region, "seq": 1}


def small(channels: int = 3, height: int = 6, width: int = 9, classes: int = 3) -> OpenWorkspace:
    """Six pictures for a network of one convolution."""
    layers = [nn.Conv2d(channels, 4, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    module = network(*layers, nn.Linear(4, classes), nn.Softmax(dim=1)).eval()
    names = tuple("abc"[:classes])
    model = ex.Model.wrap(module, names, output="probability")
    pixels = np.random.default_rng(0).random((6, channels, height, width)).astype(np.float32)
    data = ex.Dataset.from_images(pixels, labels=np.resize(names, 6))
    return workspace(model, data, f"small-{channels}-{height}-{width}-{classes}")


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two quick methods first; the others can be switched on."""
    monkeypatch.setattr(policy, "picture_methods", lambda refused: (ex.Saliency(), ex.GradCam()))


# Which maps are shown


def test_the_first_methods_are_shown_and_all_that_apply_are_offered(look: Look, few: None) -> None:
    view = look(small())
    blocks = Picture().blocks(view)
    assert [tile["id"] for tile in block(blocks, "picture.maps")["tiles"]] == ["Saliency", "GradCam"]
    offered = {control["id"]: control["value"] for control in block(blocks, "picture.choose")["controls"]}
    applicable = {
        kind.__name__
        for kind, reason in ex.applicable(view.model, view.data)
        if reason is None
        and kind.scope == "case"
        and "image" in kind.modalities
        and kind.returns is ex.Attribution
    }
    assert offered.keys() == applicable
    assert {name for name, on in offered.items() if on} == {"Saliency", "GradCam"}


def test_what_does_not_apply_is_named_with_its_reason(look: Look) -> None:
    made = small()
    pixels = made.data
    model = ex.Model(
        lambda X: np.full((len(X), 3), 1 / 3), "classification", ("a", "b", "c"), space="probability"
    )
    blocks = Picture().blocks(look(workspace(model, pixels, "callable")))
    said = block(blocks, "picture.choose")["footer"]
    assert "Saliency" in said
    assert "Needs gradients" in said
    assert "Occlusion" not in said
    assert PRECISION not in said
    assert PRECISION in block(Picture().blocks(look(made)), "picture.choose")["footer"]


def test_a_method_is_switched_on_and_off_and_shown_large(look: Look, few: None, settle: Settle) -> None:
    view = look(small())
    on = then(view, Picture().apply(switch("IntegratedGradients", True), view))
    sent = block(settle(on, CASE_PICTURE), "picture.maps")
    assert [tile["id"] for tile in sent["tiles"]] == ["Saliency", "GradCam", "IntegratedGradients"]
    assert sent["large"] == "IntegratedGradients"
    off = then(on, Picture().apply(switch("Saliency", False), on))
    assert off.selection.methods == ("GradCam", "IntegratedGradients")
    none = off
    for name in ("GradCam", "IntegratedGradients"):
        none = then(none, Picture().apply(switch(name, False), none))
    blocks = Picture().blocks(none)
    assert "large" not in block(blocks, "picture.maps")
    assert "Choose one" in block(blocks, "picture.said")["items"][0]["text"]
    assert Picture().apply(switch("NoSuchMethod", True), view) == view.selection


def test_switching_on_resumes_what_was_stopped(look: Look, few: None) -> None:
    view = look(small(), methods=("GradCam",), cancelled=frozenset({"Saliency", "other"}))
    assert Picture().apply(switch("Saliency", True), view).cancelled == {"other"}


def test_notes_of_a_result_stand_beside_its_map(look: Look, few: None, settle: Settle) -> None:
    view = look(small(), method="Saliency")
    settle(view, CASE_PICTURE)
    request = ex.Request.of(view.model, view.data, ex.Saliency(), [view.selection.row], view.target)
    found: Any = view.compute.store.get(request)
    noted = dataclasses.replace(found, diagnostics={**found.diagnostics, "notes": ("Beware of this.",)})
    view.compute.store.put(request, noted)
    tiles = block(Picture().blocks(then(view, view.selection)), "picture.maps")["tiles"]
    assert {tile["id"]: tile.get("note", "") for tile in tiles}["Saliency"] == "Beware of this."


@pytest.mark.parametrize("name", ["GuidedBackprop", "AttentionRollout"])
def test_methods_that_mislead_carry_their_caution(name: str) -> None:
    """The page shows what results say of themselves; these two must say something."""
    kind = getattr(ex, name)
    module = network(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 2)).eval()
    model = ex.Model.wrap(module, ("a", "b"), output="raw")
    data = ex.Dataset.from_images(np.random.default_rng(0).random((2, 1, 8, 8)).astype(np.float32))
    if ex.why_not(kind, model, data) is None:
        assert ex.explain(model, data, kind(), rows=[0]).diagnostics["notes"]
    else:
        assert name == "AttentionRollout"


# This and not that


def test_a_contrast_is_the_target_of_the_methods_that_can(
    look: Look, settle: Settle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(policy, "picture_methods", lambda refused: (ex.Saliency(), ex.Lime()))
    view = look(small(), target="a")
    event = {"type": "control", "block": "classes.contrast", "id": "against", "value": 2, "seq": 1}
    after = then(view, Classes().apply(event, view))
    assert wanted_target(after) == ex.Contrast("a", "c")
    sent = block(settle(after, CASE_PICTURE), "picture.maps")
    tiles = {tile["id"]: tile for tile in sent["tiles"]}
    assert tiles["Saliency"]["whole"] == "Saliency: why “a” and not “c”"
    assert "c: " in tiles["Saliency"]["caption"]
    if not ex.Lime.contrasts:
        assert tiles["Lime"]["caption"] == NO_CONTRAST
    alone = ex.explain(view.model, view.data, ex.Saliency(), rows=[view.selection.row], target="a")
    known: Any = after.known(ex.Saliency(), [view.selection.row], ex.Contrast("a", "c"))
    other = ex.explain(view.model, view.data, ex.Saliency(), rows=[view.selection.row], target="c")
    assert known.values == pytest.approx(alone.values - other.values, abs=1e-6)
    assert Classes().apply(event | {"value": -1}, after).against is None


def test_the_line_of_code_names_the_contrast(look: Look, few: None, settle: Settle) -> None:
    view = look(small(), target="a", against="b", method="Saliency")
    code = block(settle(view, CASE_PICTURE), "picture.maps")["code"]
    assert "target=ex.Contrast(target='a', against='b')" in code


def test_of_two_classes_there_is_no_contrast_and_a_class_is_none_with_itself(look: Look) -> None:
    assert [one["id"] for one in Classes().blocks(look(small(classes=2)))] == [
        "classes.text",
        "classes.chart",
    ]
    assert wanted_target(look(small(classes=2), target="a", against="b")) == "a"
    assert wanted_target(look(small(), target="a", against="a")) == "a"


# Regions


def test_a_drawn_region_is_read_for_every_map(look: Look, few: None, settle: Settle) -> None:
    view = look(small())
    after = then(view, Picture().apply(draw(CORNER), view))
    blocks = settle(after, CASE_PICTURE)
    assert block(blocks, "picture.maps")["region"] == CORNER
    rows = block(blocks, "region.table")["rows"]
    assert [row["id"] for row in rows] == ["Saliency", "GradCam"]
    result: Any = after.known(ex.Saliency(), [view.selection.row], after.target)
    region = Region.read(CORNER)
    assert region is not None
    share = ex.region_share(np.asarray(result.values[0], dtype=np.float64), region.mask(6, 9))
    cells = [cell["text"] for cell in rows[0]["cells"]]
    assert cells[1] == f"{100 * share.share:.0f}\u202f%"
    assert cells[3] == f"{100 * share.null_95:.0f}\u202f%"
    assert (
        "28\u202f% of the picture (15 pixels)" in block(blocks, "region.text")["items"][0]["text"]
    )  # 3 × 5 of 6 × 9: on the edge is inside
    assert Picture().apply(draw(None), after).region is None


def test_a_region_that_was_drawn_goes_along_and_a_mask_does_not(look: Look) -> None:
    drawn = Region.read(CORNER)
    assert Selection(region=drawn).pick(3).region == drawn
    loaded = Region(bits="gA==", shape=(1, 1))
    assert Selection(region=loaded).pick(3).region is None


def test_before_there_is_a_map_the_region_says_only_its_size(look: Look, few: None) -> None:
    view = look(small(), region=Region.read(CORNER))
    blocks = RegionOfInterest().blocks(view)
    assert [one["id"] for one in blocks] == ["region.text"]
    assert RegionOfInterest().blocks(look(small()))[0]["items"][0]["style"] == "caption"


# Checks of the map


def ask(name: str, value: Any) -> dict[str, Any]:
    return {"type": "control", "block": "checks.ask", "id": name, "value": value, "seq": 1}


def test_nothing_is_checked_until_it_is_asked_for(look: Look, few: None, settle: Settle) -> None:
    view = look(small())
    assert [one["id"] for one in MapChecks().blocks(view)] == ["checks.later"]  # there is no map yet
    blocks = settle(view, CASE_PICTURE)
    assert [one["id"] for one in blocks if one["id"].startswith("checks.")] == ["checks.ask"]


def test_the_score_is_followed_while_pixels_go(look: Look, few: None, settle: Settle) -> None:
    view = look(small(), method="Saliency")
    settle(view, CASE_PICTURE)
    after = then(view, MapChecks().apply(ask("fill", "blur"), view))
    assert block(MapChecks().blocks(after), "checks.follows.chart")["loading"]
    blocks = settle(after, CASE_PICTURE)
    validate({"layout": CASE_PICTURE.layout, "blocks": blocks})
    result: Any = after.known(ex.Saliency(), [0], after.target)
    found = ex.faithfulness(view.model, view.data, result, 0, "blur")
    assert block(blocks, "checks.follows")["items"][0]["text"] == found.sentence
    traces = block(blocks, "checks.follows.chart")["figure"].data
    assert list(traces[2].y) == pytest.approx(100 * np.asarray(found.deletion.scores))
    assert list(traces[5].y) == pytest.approx(100 * np.asarray(found.insertion.scores))
    assert len(traces[0].x) == 2 * len(found.deletion.shares)
    figure = go.Figure(block(blocks, "checks.follows.chart")["figure"].to_plotly_json())
    assert figure.layout.xaxis.title.text == "% of pixels taken away"
    assert figure.layout.yaxis.title.text == "model's estimate, %"
    contrast = dataclasses.replace(found, target=ex.Contrast("a", "b"), space="probability")
    differences = go.Figure(removal_curves(contrast).to_plotly_json())
    assert differences.layout.yaxis.title.text == "a less b,<br>percentage points"
    assert all(text.endswith(" percentage points") for text in differences.data[2].hovertext)
    assert MapChecks().apply(ask("fill", "nothing"), after) == after.selection


def test_the_map_is_drawn_again_with_scrambled_weights(look: Look, few: None, settle: Settle) -> None:
    view = look(small(), method="Saliency")
    settle(view, CASE_PICTURE)
    after = then(view, MapChecks().apply(ask("scramble", True), view))
    blocks = settle(after, CASE_PICTURE)
    validate({"layout": CASE_PICTURE.layout, "blocks": blocks})
    found = ex.randomisation_check(view.model, view.data, ex.Saliency(), [0], after.target)
    assert block(blocks, "checks.depends")["items"][0]["text"] == found.sentence
    figure = block(blocks, "checks.depends.chart")["figure"]
    go.Figure(figure.to_plotly_json())  # checks every property
    assert list(figure.data[0].y) == pytest.approx([1.0, *found.similarity])
    assert list(figure.data[0].x)[-1] == 100
    assert figure.layout.shapes[0].y1 == pytest.approx(found.floor_95)


def test_a_check_that_was_stopped_can_be_taken_up_again(look: Look, few: None, settle: Settle) -> None:
    view = look(small(), method="Saliency")
    settle(view, CASE_PICTURE)
    stopped = then(view, view.selection.change(fill="mean", cancelled=frozenset({FOLLOWS})))
    blocks = MapChecks().blocks(stopped)
    assert block(blocks, "checks.again")["controls"][0]["id"] == "again"
    assert MapChecks().apply(ask("fill", "mean"), stopped).cancelled == frozenset()


def test_another_case_or_map_is_not_checked_by_itself(look: Look) -> None:
    asked = Selection(fill="mean", scrambled=True)
    assert (asked.pick(2).fill, asked.pick(2).scrambled) == ("", False)
    view = look(small(), fill="mean", scrambled=True)
    tile = {"type": "tile", "block": "picture.maps", "id": "Saliency", "seq": 1}
    assert (Picture().apply(tile, view).fill, Picture().apply(tile, view).scrambled) == ("", False)


def test_checks_and_their_reports_travel(look: Look) -> None:
    view = look(small())
    result = ex.explain(view.model, view.data, ex.Saliency(), rows=[0], target=ex.Contrast("a", "b"))
    for what in ("faithfulness", "randomisation"):
        check = Check(what, ex.Saliency(), 0, ex.Contrast("a", "b"))  # type: ignore[arg-type]
        assert codec.unpack(*codec.pack(check)) == check
        found = measured(view.model, view.data, check, result, lambda *_: None)
        back = codec.unpack(*codec.pack(found))
        assert answers.checked(back, check)
        assert back.to_frame().equals(found.to_frame())
        other = dataclasses.replace(check, what="randomisation" if what == "faithfulness" else "faithfulness")
        assert not answers.checked(back, other)
    broken = dataclasses.replace(found, floor=np.array([np.nan]))
    assert not answers.checked(broken, check)


# What the model receives


def test_each_channel_is_shown_with_its_numbers(look: Look) -> None:
    view = look(small())
    image = view.data.X[view.selection.row]
    blocks = Received().blocks(view)
    tiles = block(blocks, "received.channels")["tiles"]
    assert [tile["title"] for tile in tiles] == [
        "together",
        "channel 1 (red)",
        "channel 2 (green)",
        "channel 3 (blue)",
    ]
    assert tiles[1]["caption"].startswith(f"mean {image[0].mean():.3g}")
    assert "3 × 6 × 9" in block(blocks, "received.text")["items"][0]["text"]


def test_what_is_declared_for_the_model_has_been_done(look: Look) -> None:
    made = small()
    prepared = ex.Preparation(
        size=(3, 4), order="reversed", scale=255.0, mean=(10.0, 20.0, 30.0), layout="channels last"
    )
    model = dataclasses.replace(
        made.models[0], model=dataclasses.replace(made.models[0].model, preparation=prepared)
    )
    view = look(dataclasses.replace(made, models=(model,), key="declared"))
    wanted = np.moveaxis(prepared.array(view.data.X[[0]])[0], 2, 0)
    assert given(view) == pytest.approx(wanted)
    tiles = block(Received().blocks(view), "received.channels")["tiles"]
    assert tiles[1]["title"] == "channel 1 (the file's 3)"
    assert tiles[1]["caption"].startswith(f"mean {wanted[0].mean():.3g}")
    said = block(Received().blocks(view), "received.text")["items"][0]["text"]
    assert said.startswith("3 × 3 × 4 numbers")
    for step in (
        "resized to 3 × 4",
        "reverse order",
        "times 255",
        "less the mean 10, 20, 30",
        "channels last",
    ):
        assert step in said


def test_the_scale_of_the_workspace_is_said(opened: Look) -> None:
    said = block(Received().blocks(opened("digits")), "received.text")["items"]
    assert "divided by 16" in said[0]["text"]


# Files and shapes


def test_the_values_are_saved_as_they_were_computed(look: Look, few: None, settle: Settle) -> None:
    view = look(small(), method="Saliency", target="b")
    assert Picture().files(view) == []
    settle(view, CASE_PICTURE)
    (file,) = Picture().files(then(view, view.selection))
    held = np.load(io.BytesIO(file.content))  # without objects
    result: Any = view.known(ex.Saliency(), [view.selection.row], "b")
    assert (held["values"] == result.values).all()
    assert (held["target"].tolist(), str(held["method"])[:8], file.ending) == (["b"], "Saliency", "npz")
    assert str(held["settings"]) == "ex.explain(model, data, ex.Saliency(), rows=[0], target='b')"


@pytest.mark.parametrize(
    ("channels", "height", "width"), [(1, 1, 1), (3, 1, 1), (1, 3, 12), (4, 5, 2), (2, 5, 6), (5, 6, 6)]
)
def test_pictures_of_every_shape_are_shown(
    look: Look, settle: Settle, few: None, channels: int, height: int, width: int
) -> None:
    view = look(small(channels, height, width), region=Region.read(CORNER))
    blocks = settle(view, CASE_PICTURE)
    validate({"layout": CASE_PICTURE.layout, "blocks": blocks})
    sent = block(blocks, "picture.maps")
    assert sent["size"] == [height, width]
    assert all(tile["overlay"]["shape"] == [height, width] for tile in sent["tiles"])
    assert block(blocks, "region.table")["rows"]


def test_pictures_are_brought_between_black_and_white() -> None:
    image = np.array([[[-2.0, 0.0], [1.0, 2.0]]])
    assert as_seen(image, (-2.0, 2.0)).tolist() == [[[0.0, 0.5], [0.75, 1.0]]]
    assert as_seen(np.abs(image), (0.0, 4.0)).max() == 0.5
    assert as_seen(np.full((1, 1, 1), 0.25), (0.0, 0.5)).item() == 0.25
    assert as_seen(np.ones((2, 3, 4)), (0.0, 1.0)).shape == (1, 3, 4)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("large", "Nobody", "is none of"),
        ("base", "http://evil.test/x.png", "data URI"),
        ("colours", "rainbow", "is none of"),
        ("region", {"circle": 1}, "unknown"),
        ("tiles", [{"id": "x"}], "missing"),
    ],
)
def test_maps_that_break_the_contract_are_refused(
    look: Look, few: None, field: str, value: Any, message: str
) -> None:
    maps = block(Picture().blocks(look(small())), "picture.maps")
    validate({"blocks": [maps]})
    with pytest.raises(PayloadError, match=message):
        validate({"blocks": [maps | {field: value}]})
