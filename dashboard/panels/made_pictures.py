"""What does the model look for? Pictures made to drive a class or a channel, beside the real ones that do so most.

They are made when somebody asks for them, and then again for another channel or seed where that is quick.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import pandas as pd

import explainers as ex
from dashboard import words
from dashboard.costs import duration
from dashboard.export import csv_text
from dashboard.figures.numbers import counted
from dashboard.figures.text import plain_text
from dashboard.panels.made_requests import (
    MOST_SEED,
    Made,
    asking,
    changed,
    found,
    going_on,
    halted,
    is_asked,
    wanted,
)
from dashboard.panels.made_tiles import packed, tiles
from dashboard.panels.panel import Block, Event, File
from dashboard.panels.picture import PACKED_AHEAD
from dashboard.selection import Selection, Sought
from dashboard.view import View

#: Pixels across a made picture and the real ones beside it.
TILE = 360

CAUTION = (
    "A made picture is one of many: other settings, or another seed, make another one. It shows what drives the number, "
    "and is no picture of the class: but for the range of its values nothing keeps it like real ones."
)
SCALES = {
    "raw": "Scores are raw scores, from which the model makes its probabilities.",
    "activation": "The response of a channel is its mean over the picture.",
}


class MadePictures:
    """A made picture for each class, or for one channel, and the real pictures with the highest responses."""

    name = "made"
    title = "What does the model look for?"
    area = "main"

    def blocks(self, view: View) -> list[Block]:
        reason = view.refused(ex.FeatureVisualization)
        if reason is not None:
            raise ex.NotApplicable(reason)
        sought, every = wanted(view), found(view)
        shown = [one for one in every if one.result is not None or one.said]
        blocks = [self._said(view, sought, every), self._controls(view, sought, every)]
        if shown:
            blocks.append(self._pictures(view, sought, shown))
        notes = dict.fromkeys(note for one in shown for note in _notes(one))
        if notes:
            items = [{"style": "caption", "text": plain_text(note, 600)} for note in notes]
            blocks.append({"id": "made.notes", "kind": "text", "area": self.area, "items": items})
        if halted(view) and not all(one.done for one in every):
            blocks.append(self._row("made.again", [{"id": "again", "kind": "button", "label": "go on"}]))
        return blocks

    def _said(self, view: View, sought: Sought, every: list[Made]) -> Block:
        result = next((one.result for one in every if one.result is not None), None)
        lines = [CAUTION]
        if result is not None:
            searched = counted(int(result.diagnostics.get("searched", 0)), "real picture")
            beside = f"Beside it those of {searched} that drive the number most; click one to select it."
            lines.append(f"{beside} {SCALES.get(result.space, '')}".strip())
        if len(every) > 1:
            many = len(view.model.classes)
            lines.append(
                f"{len(every)} of {many:,} classes: the one explained, and those decided most often."
            )
        items = [{"style": "sentence", "text": _question(view, sought)}]
        items += [{"style": "caption", "text": line} for line in lines]
        return {"id": "made.text", "kind": "text", "area": self.area, "title": self.title, "items": items}

    def _controls(self, view: View, sought: Sought, every: list[Made]) -> Block:
        layers, controls = dict(view.model.channels), []
        if layers:
            controls.append(_layers(view, sought))
        if sought.layer:
            last = layers[sought.layer] - 1
            controls.append(_number("channel", f"Channel (0 to {last:,})", sought.channel, last))
        controls.append(_number("seed", "Seed (random start)", sought.seed, MOST_SEED))
        open_ones = [one for one in every if not one.done]
        if open_ones and not is_asked(view, sought):
            seconds = sum(view.making(one.explainer, one.units) for one in open_ones)
            plural = "s" if sum(one.units for one in every) > 1 else ""
            button = {"id": "make", "kind": "button", "label": f"make the picture{plural}"}
            controls.append(button | {"emphasis": "primary", "note": f"about {duration(seconds)}"})
        return self._row("made.for", controls)

    def _row(self, name: str, controls: list[dict[str, Any]]) -> Block:
        return {"id": name, "kind": "controls", "area": self.area, "controls": controls, "row": True}

    def _pictures(self, view: View, sought: Sought, shown: list[Made]) -> Block:
        block: Block = {
            "id": "made.pictures",
            "kind": "image",
            "area": self.area,
            "tiles": [tile for one in shown for tile in tiles(view, one)],
            "tile_size": TILE,
            "tools": False,
            "click": bool(view.model.classes) and not sought.layer,
        }
        results = [one.result for one in shown if one.result is not None]
        if results:  # of many requests the first is that of the class explained
            block |= {"footer": words.footer(results[0]), "code": words.reproduction_line(results[0])}
        if any(one.done for one in shown):
            block["saves"] = [{"id": "made-0", "label": "values (npz)"}]
        if results and all(one.done for one in shown):
            block["csv"] = csv_text(pd.concat([result.to_frame() for result in results]))
        return block

    def files(self, view: View) -> list[File]:
        """The values of the pictures that are done."""
        if view.refused(ex.FeatureVisualization) is not None:
            return []
        done = [one.result for one in found(view) if one.done and one.result is not None]
        if not done:
            return []
        pack = partial(packed, done)
        later = sum(result.pictures.nbytes for result in done) > PACKED_AHEAD
        label = "Save the values of the made pictures (npz)"
        return [File(label, "made pictures values", "npz", pack if later else pack())]

    def apply(self, event: Event, view: View) -> Selection:
        if event["type"] == "tile":
            return _chosen(view, str(event["id"]))
        if event["type"] == "control" and event["id"] == "make":
            return view.selection.change(sought=asking(view, wanted(view)), cancelled=going_on(view))
        if event["type"] == "control":
            return changed(view, str(event["id"]), event["value"])
        return view.selection


def _chosen(view: View, name: str) -> Selection:
    """A real picture becomes the case, a made one makes its class the one explained."""
    kind, _, place = name.partition(" ")
    if kind == "row" and place.isdecimal() and int(place) < len(view.data):
        return view.selection.pick(int(place))
    if kind == "class" and place.isdecimal() and int(place) < len(view.model.classes):
        return view.selection.change(target=view.model.classes[int(place)])
    return view.selection


def _question(view: View, sought: Sought) -> str:
    if sought.layer:
        layer = plain_text(sought.layer, 60)
        return f"A picture made so that channel {sought.channel} of the layer “{layer}” responds as strongly as it can."
    if view.model.classes:
        return (
            "For each class a picture, made so that the model's score for the class rises as far as it can."
        )
    return "A picture, made so that the model's estimate rises as far as it can."


def _layers(view: View, sought: Sought) -> dict[str, Any]:
    whole = "the classes" if view.model.classes else "the estimate"
    options = [{"value": "", "label": whole}]
    options += [{"value": name, "label": f"layer {plain_text(name, 60)}"} for name, _ in view.model.channels]
    return {"id": "layer", "kind": "select", "label": "Made for", "value": sought.layer, "options": options}


def _number(name: str, label: str, value: int, most: int) -> dict[str, Any]:
    return {"id": name, "kind": "number", "label": label, "value": value, "min": 0, "max": most, "step": 1}


def _notes(one: Made) -> list[str]:
    return [] if one.result is None else [str(note) for note in one.result.diagnostics.get("notes", ())]
