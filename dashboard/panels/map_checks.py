"""Can this map be believed? Two checks of the map shown large, computed when they are asked for."""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go

import explainers as ex
from dashboard import policy
from dashboard.checks import FILLS, Check
from dashboard.export import csv_text
from dashboard.figures.map_checks import HEIGHT, removal_curves, scrambled
from dashboard.figures.text import plain_text
from dashboard.panels.panel import Block, Event
from dashboard.panels.picture import Map, large_map, shown_maps, wanted_target
from dashboard.selection import Selection
from dashboard.view import View

FOLLOWS, DEPENDS = "Does the score follow the map?", "Does the map depend on what the model has learnt?"
BAND = "Line: in the order of this map. Grey: the middle 95 % of random maps that are as rough."


class MapChecks:
    """Deletion and insertion, and scrambled weights."""

    name = "checks"
    title = "Can this map be believed?"
    area = "main"

    def blocks(self, view: View) -> list[Block]:
        large = large_map(view, shown_maps(view, policy.picture_choices(view.refused)))
        if large is None or large.result is None:
            return [self._text("later", self.title, ["Once there is a map, it can be checked here."])]
        return [self._ask(view), *self._follows(view, large), *self._depends(view, large)]

    def _ask(self, view: View) -> Block:
        fills = [{"value": "", "label": "not asked"}]
        fills += [{"value": name, "label": words} for name, words in FILLS.items()]
        controls: list[dict[str, Any]] = [
            {
                "id": "fill",
                "kind": "segmented",
                "label": f"{FOLLOWS} Take pixels away; they then show …",
                "value": view.selection.fill,
                "options": fills,
            }
        ]
        if view.model.abilities & {"gradients"}:
            controls.append(
                {
                    "id": "scramble",
                    "kind": "toggle",
                    "label": f"{DEPENDS} Scramble its weights.",
                    "value": view.selection.scrambled,
                }
            )
        return {
            "id": "checks.ask",
            "kind": "controls",
            "area": self.area,
            "title": self.title,
            "controls": controls,
        }

    def _follows(self, view: View, large: Map) -> list[Block]:
        if not view.selection.fill:
            return []
        check = Check(
            "faithfulness", large.method, view.selection.row, wanted_target(view), view.selection.fill
        )
        found, said = _answer(view, FOLLOWS, check, large.result)
        if not isinstance(found, ex.Faithfulness):
            return self._waiting("follows", FOLLOWS, said, view.cost(FOLLOWS))
        texts = [found.sentence, f"{BAND} Taken-away pixels show {found.filled_with}.", *found.notes]
        chart = self._chart(
            "follows", removal_curves(found), "The score while pixels are taken away and put back"
        )
        return [self._text("follows", FOLLOWS, texts), chart | {"csv": csv_text(found.to_frame())}]

    def _depends(self, view: View, large: Map) -> list[Block]:
        if not view.selection.scrambled:
            return []
        check = Check("randomisation", large.method, view.selection.row, wanted_target(view))
        found, said = _answer(view, DEPENDS, check, None)
        if not isinstance(found, ex.Randomisation):
            return self._waiting("depends", DEPENDS, said, view.cost(DEPENDS))
        left = f"Likeness {float(found.similarity[-1]):.2f} with all layers scrambled; 95 % of random maps stay below {found.floor_95:.2f} (grey)."
        texts = [found.sentence, left, "That a map changes does not show that it explains."]
        chart = self._chart("depends", scrambled(found), "Likeness of the map to that of the scrambled model")
        return [self._text("depends", DEPENDS, texts), chart | {"csv": csv_text(found.to_frame())}]

    def _text(self, name: str, title: str, texts: list[str]) -> Block:
        styles = ["sentence", *["caption"] * (len(texts) - 1)]
        items = [{"style": s, "text": plain_text(t, 600)} for s, t in zip(styles, texts, strict=True)]
        return {"id": f"checks.{name}", "kind": "text", "area": self.area, "title": title, "items": items}

    def _chart(self, name: str, chart: go.Figure, alt: str) -> Block:
        return {
            "id": f"checks.{name}.chart",
            "kind": "chart",
            "area": self.area,
            "figure": chart,
            "height": HEIGHT,
            "alt": alt,
        }

    def _waiting(self, name: str, title: str, said: str, cost: str) -> list[Block]:
        computing = f"computing… This takes {cost}." if cost else "computing…"
        text = self._text(name, title, [said or computing])
        if said:
            again: Block = {"id": "again", "kind": "button", "label": "compute again"}
            resume: Block = {"id": "checks.again", "kind": "controls", "area": self.area, "controls": [again]}
            return [text, resume] if said.startswith("Stopped") else [text]
        skeleton = {"kind": "chart", "area": self.area, "loading": True, "height": HEIGHT}
        return [text, {"id": f"checks.{name}.chart", **skeleton}]

    def apply(self, event: Event, view: View) -> Selection:
        cancelled = view.selection.cancelled - {FOLLOWS, DEPENDS}
        if event["id"] == "fill" and event["value"] in ("", *FILLS):
            return view.selection.change(fill=str(event["value"]), cancelled=cancelled)
        if event["id"] == "scramble":
            return view.selection.change(scrambled=bool(event["value"]), cancelled=cancelled)
        return view.selection


def _answer(view: View, title: str, check: Check, result: ex.Attribution | None) -> tuple[Any, str]:
    """The report, or why there is none; neither while it is computed."""
    try:
        return view.checked(title, check, result), ""
    except ex.ExplainerError as error:
        return None, str(error)
