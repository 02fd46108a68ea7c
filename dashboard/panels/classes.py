"""What does it say? The outputs for this picture; a click explains another class."""

from __future__ import annotations

from dashboard.figures.images import class_bars
from dashboard.figures.numbers import Scale
from dashboard.figures.text import plain_text
from dashboard.panels.panel import Block, Event
from dashboard.panels.picture import against
from dashboard.panels.prediction import calibration
from dashboard.selection import Selection
from dashboard.view import View


class Classes:
    """The probability of every class, and which one is explained."""

    name = "classes"
    title = "What does it say?"
    area = "side"

    def blocks(self, view: View) -> list[Block]:
        scale = Scale(view.model.space, view.workspace.target_unit)
        items = [
            {"style": "big", "text": scale.level(view.score)},
            {"style": "lead", "text": f"{plain_text(view.class_name)} · usual {scale.level(view.usual)}"},
            {"style": "caption", "text": calibration(view) or " "},
        ]
        outputs = view.predictions[view.selection.row]
        figure = class_bars(
            outputs,
            view.model.classes or tuple(range(len(outputs))),
            view.output,
            most=12,
            space=view.model.space,
        )
        return [
            {
                "id": "classes.text",
                "kind": "text",
                "area": self.area,
                "title": self.title,
                "items": items,
                "live": True,
            },
            {
                "id": "classes.chart",
                "kind": "chart",
                "area": self.area,
                "title": "Any class as target",
                "figure": figure,
                "height": int(figure.layout.height),
                "click": True,
                "alt": "The outputs of the model for this picture",
                "footer": "Click a class to explain it.",
            },
            *self._contrast(view),
        ]

    def _contrast(self, view: View) -> list[Block]:
        """Why this and not that, where there are more than two: of two one is what the other is not."""
        classes = view.model.classes
        if len(classes) < 3:
            return []
        chosen = against(view)
        options = [{"value": -1, "label": "no other: this class alone"}]
        options += [
            {"value": place, "label": plain_text(name)}
            for place, name in enumerate(classes)
            if name != view.target
        ]
        control = {
            "id": "against",
            "kind": "select",
            "label": f"Why “{plain_text(view.class_name, 40)}” and not …",
            "value": -1 if chosen is None else classes.index(chosen),
            "options": options,
        }
        return [
            {"id": "classes.contrast", "kind": "controls", "area": self.area, "controls": [control]},
        ]

    def apply(self, event: Event, view: View) -> Selection:
        if event["type"] == "control" and event["id"] == "against":
            place = int(event["value"])
            return view.selection.change(against=view.model.classes[place] if place >= 0 else None)
        point = event.get("point")
        if isinstance(point, (int, float)) and view.model.classes:
            return view.selection.change(target=view.model.classes[int(point)])
        return view.selection
