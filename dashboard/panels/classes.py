"""What does it say? The outputs for this picture; a click explains another class."""

from __future__ import annotations

from dashboard.figures.images import class_bars
from dashboard.figures.numbers import Scale
from dashboard.figures.text import plain_text
from dashboard.panels.panel import Block, Event
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
        ]

    def apply(self, event: Event, view: View) -> Selection:
        point = event.get("point")
        if isinstance(point, (int, float)) and view.model.classes:
            return view.selection.change(target=view.model.classes[int(point)])
        return view.selection
