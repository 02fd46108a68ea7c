"""What does the model look for: pictures asked for, computed, stopped, of classes and of channels, and what the panel says."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import explainers as ex
from dashboard import policy
from dashboard.compute import Store
from dashboard.costs import Costs, Partial
from dashboard.linked.payload import PayloadError, validate
from dashboard.panels import OVERVIEW_PICTURE
from dashboard.panels.made_pictures import MadePictures
from dashboard.panels.made_requests import WORK, requests, wanted
from dashboard.selection import Sought
from dashboard.view import View
from dashboard.workers import answers, codec, worker
from dashboard.workers.remote import RemoteModel
from dashboard.workspace import OpenWorkspace
from tests.cases import network
from tests.dashboard.hand_made import workspace

Look = Callable[..., View]
Blocks = list[dict[str, Any]]

PANEL = MadePictures()


@pytest.fixture(autouse=True)
def few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures that are made at once."""
    plain = policy.visualization
    monkeypatch.setattr(
        policy, "visualization", lambda *what: dataclasses.replace(plain(*what), steps=4, examples=2)
    )


def small(classes: tuple[Any, ...] = ("a", "b", "c"), output: Any = "probability") -> OpenWorkspace:
    """Eight pictures for a network of one convolution."""
    layers = [nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    module = network(*layers, nn.Linear(4, len(classes) or 1)).eval()
    if output == "probability":
        module = nn.Sequential(*module, nn.Softmax(dim=1)).eval()
    model = ex.Model.wrap(module, classes or None, output=output)
    pixels = np.random.default_rng(0).random((8, 3, 6, 9)).astype(np.float32)
    return workspace(model, ex.Dataset.from_images(pixels), f"made-{classes}-{output}")


def then(view: View, event: dict[str, Any]) -> View:
    return View(view.workspace, PANEL.apply({"seq": 1, **event}, view), view.compute)


def again(view: View) -> View:
    return View(view.workspace, view.selection, view.compute)


def control(name: str, value: Any = None) -> dict[str, Any]:
    return {"type": "control", "block": "made.for", "id": name, "value": value}


def tile(name: str) -> dict[str, Any]:
    return {"type": "tile", "block": "made.pictures", "id": name}


def computed(view: View) -> tuple[Blocks, View]:
    """The panel once what it queued is done."""
    PANEL.blocks(view)
    for job in view.pending:
        job.run(lambda *_: None)
    view = again(view)
    blocks = PANEL.blocks(view)
    assert view.pending == []
    validate({"layout": OVERVIEW_PICTURE.layout, "blocks": blocks})
    return blocks, view


def block(blocks: Blocks, name: str) -> dict[str, Any]:
    return next(one for one in blocks if one["id"] == name)


def controls(blocks: Blocks) -> dict[str, dict[str, Any]]:
    return {one["id"]: one for one in block(blocks, "made.for")["controls"]}


def test_nothing_is_computed_until_somebody_asks(look: Look) -> None:
    view = look(small())
    blocks = PANEL.blocks(view)
    validate({"layout": OVERVIEW_PICTURE.layout, "blocks": blocks})
    assert [one["id"] for one in blocks] == ["made.text", "made.for"]
    assert view.pending == []
    assert PANEL.files(view) == []
    assert controls(blocks)["make"]["note"].startswith("about ")
    assert any("is no picture of the class" in item["text"] for item in blocks[0]["items"])
    waits = PANEL.blocks(asked := then(view, control("make")))
    assert [job.title for job in asked.pending] == [WORK]
    assert [one["caption"] for one in block(waits, "made.pictures")["tiles"]] == ["computing…"] * 3
    assert "make" not in controls(waits)


def test_each_class_has_its_picture_beside_the_real_ones_that_drive_it_most(look: Look) -> None:
    blocks, view = computed(then(look(small(), target="b"), control("make")))
    explainer = policy.visualization()
    alone = ex.explain(view.model, view.data, explainer, target="all")
    shown = block(blocks, "made.pictures")
    assert [one["title"] for one in shown["tiles"]] == ["a", "b", "c"]
    assert [one["selected"] for one in shown["tiles"]] == [False, True, False]
    assert (
        shown["code"] == "ex.explain(model, data, ex.FeatureVisualization(steps=4, examples=2), target='all')"
    )
    assert shown["csv"].count("\n") == 1 + 3 + 3 * 2
    second = shown["tiles"][1]
    assert [one["id"] for one in second["beside"]] == [f"row {row}" for row in alone.examples[1]]
    module: Any = view.model.module
    raw = module[:-1](torch.tensor(view.data.X)).detach().numpy()[:, 1]
    assert alone.examples[1][0] == raw.argmax()
    wanted_caption = f"reaches {alone.activation[1, 0]:.2f}; the highest real picture {raw.max():.2f}"
    assert second["caption"] == wanted_caption.replace("-", "−")
    (file,) = PANEL.files(view)
    held = np.load(io.BytesIO(file.content))  # type: ignore[arg-type]  # without objects
    np.testing.assert_array_equal(held["pictures"], alone.pictures)
    assert (held["names"].tolist(), held["settings"].tolist()) == (["a", "b", "c"], [shown["code"]])
    assert then(view, tile("class 2")).selection.target == "c"
    assert then(view, tile("row 5")).selection.row == 5
    for odd in ("row 8", "row -1", "class 3", "class x", "whatever"):
        assert then(view, tile(odd)).selection == view.selection


def test_a_channel_of_a_layer_is_chosen_and_follows_at_once_while_that_is_quick(look: Look) -> None:
    view = look(small())
    layered = then(view, control("layer", "0"))
    assert layered.selection.sought == Sought(layer="0")
    assert "make" in controls(PANEL.blocks(layered))
    blocks, made = computed(then(layered, control("make")))
    assert block(blocks, "made.pictures")["tiles"][0]["title"] == "channel 0"
    moved = then(made, control("channel", 9))
    assert moved.selection.sought.channel == 3  # the last one
    blocks, moved = computed(moved)  # without another click
    alone = ex.explain(view.model, view.data, policy.visualization("0", 3, 0))
    assert block(blocks, "made.pictures")["tiles"][0]["beside"][0]["id"] == f"row {alone.examples[0, 0]}"
    assert "channel 3 of the layer “0”" in block(blocks, "made.text")["items"][0]["text"]
    for odd in (
        control("layer", "nowhere"),
        control("channel", "x"),
        control("seed", 0.5),
        control("odd", 1),
    ):
        assert then(moved, odd).selection == moved.selection


def test_what_takes_long_is_asked_for_again_after_a_change(
    look: Look, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(policy, "QUICKLY_MADE", 0.0)
    _, view = computed(then(look(small()), control("make")))
    other = then(view, control("seed", 1))
    blocks = PANEL.blocks(other)
    assert other.pending == []
    assert "make" in controls(blocks)
    back = PANEL.blocks(then(other, control("seed", 0)))  # what is known is shown
    assert block(back, "made.pictures")["tiles"][0]["save"]
    assert "make" not in controls(back)


def test_a_cancel_keeps_what_there_is_and_offers_to_go_on(look: Look) -> None:
    view = then(look(small()), control("make"))
    PANEL.blocks(view)
    (job,) = view.pending
    whole = ex.explain(view.model, view.data, policy.visualization(), target="all")
    half = dataclasses.replace(whole, diagnostics={**whole.diagnostics, "share of steps": 0.5})
    stopped = again(view)
    stopped.selection = view.selection.change(cancelled=frozenset({WORK}))
    assert [one["caption"] for one in block(PANEL.blocks(stopped), "made.pictures")["tiles"]] == [
        "Stopped."
    ] * 3
    view.compute.note(job.key, Partial(half, 5, 10))
    blocks = PANEL.blocks(stopped)
    validate({"layout": OVERVIEW_PICTURE.layout, "blocks": blocks})
    first = block(blocks, "made.pictures")["tiles"][0]
    assert first["caption"].endswith("(stopped at 50 % of the steps)")
    assert (first["save"], stopped.pending) == (False, [])
    assert block(blocks, "made.again")["controls"][0]["id"] == "again"
    assert PANEL.files(stopped) == []
    assert then(stopped, control("make")).selection.cancelled == frozenset()


def test_of_many_classes_the_explained_one_and_the_commonest_come_one_after_another(
    look: Look, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(policy, "MOST_MADE", 2)
    view = look(small(), target="c")
    other = int(np.bincount(view.decided, minlength=3)[:2].argmax())
    asked = then(view, control("make"))
    assert [one.places for one in requests(asked, wanted(asked))] == [(2,), (other,)]
    PANEL.blocks(asked)
    first, second = asked.pending
    first.run(lambda *_: None)
    tiles = block(PANEL.blocks(again(asked)), "made.pictures")["tiles"]
    assert [one["title"] for one in tiles] == ["c", view.model.classes[other]]
    assert ("base" in tiles[0], tiles[1]["caption"]) == (True, "computing…")
    second.run(lambda *_: None)
    blocks, done = computed(asked)
    assert block(blocks, "made.pictures")["csv"].count("\n") == 1 + 2 * 3
    assert len(PANEL.files(done)) == 1


def test_a_regression_has_one_picture_and_no_class_to_choose(look: Look) -> None:
    blocks, _ = computed(then(look(small((), "target")), control("make")))
    shown = block(blocks, "made.pictures")
    assert (len(shown["tiles"]), shown["click"], shown["tiles"][0]["selected"]) == (1, False, False)
    assert "estimate rises" in block(blocks, "made.text")["items"][0]["text"]


def test_failures_and_answers_of_other_data_are_said(look: Look) -> None:
    view = then(look(small()), control("make"))
    PANEL.blocks(view)
    key = view.pending[0].key
    good = ex.explain(view.model, view.data, policy.visualization(), target="all")
    for field, value in {"examples": good.examples + 8, "pictures": good.pictures[..., :2]}.items():
        view.compute.store.put(key, dataclasses.replace(good, **{field: value}))
        tiles = block(PANEL.blocks(again(view)), "made.pictures")["tiles"]
        assert {one["caption"] for one in tiles} == {"The answer does not belong to these data."}
    made = small()
    model = ex.Model(
        lambda X: np.full((len(X), 3), 1 / 3), "classification", ("a", "b", "c"), space="probability"
    )
    other = look(workspace(model, made.data, "no gradients"))
    with pytest.raises(ex.NotApplicable, match="Needs gradients"):
        PANEL.blocks(other)
    assert PANEL.files(other) == []


def test_what_is_foreseen_learns_from_what_it_took(look: Look) -> None:
    view = look(small())
    store = Store()
    costs = Costs(lambda model, data, cases: model.predict(data.X), store)
    store.put(("opened", view.model.digest, view.data.digest), 0.001)
    explainer = policy.visualization()
    before = costs.making(view.model, view.data, explainer, 3)
    assert before == pytest.approx(4 * (0.006 + 4 * 3 * 0.001) + 8 * 0.001)
    result = ex.explain(view.model, view.data, explainer, target="all")
    result = dataclasses.replace(result, diagnostics={**result.diagnostics, "seconds": 3 * before})
    costs.learn(view.model, view.data, result)
    assert costs.making(view.model, view.data, explainer, 3) == pytest.approx(3 * before)


def test_layers_travel_from_the_worker(look: Look) -> None:
    view = look(small())
    assert view.model.channels == (("0", 4), ("4", 3))
    found = codec.unpack(*codec.pack(worker.describe(view.model)))
    assert answers.described(found)
    assert found["channels"] == view.model.channels
    there = RemoteModel(lambda _: None, "classification", ("a", "b", "c"), layers=found["channels"])
    assert there.channels == view.model.channels
    for wrong in ((("0", 0),), (("0", True),), ((0, 4),), (("0", 4), ("0", 4)), [["0", 4]], None):
        assert not answers.described(found | {"channels": wrong})


@pytest.mark.parametrize(
    ("field", "value"),
    [("beside", [{"id": "x"}]), ("beside", [{"id": "x", "title": "x", "base": "http://evil.test/x.png"}])],
)
def test_pictures_beside_keep_the_contract(look: Look, field: str, value: Any) -> None:
    image = {"id": "i", "kind": "image", "area": "main", "tiles": [{"id": "t", field: value}]}
    with pytest.raises(PayloadError, match="beside"):
        validate({"blocks": [image]})
