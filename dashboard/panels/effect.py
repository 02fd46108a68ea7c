"""What does one feature do? Its mean effect, the single cases, the density, and the selected case's dot."""

from __future__ import annotations

import numpy as np

from dashboard import policy, words
from dashboard.export import takeaway
from dashboard.figures.effect import effect
from dashboard.figures.text import plain_text
from dashboard.panels.importance import browse_sample, unless_stopped
from dashboard.panels.panel import Block, Event
from dashboard.selection import Selection
from dashboard.view import View


class FeatureEffect:
    """Partial dependence with single cases of the feature that was clicked; the most used one at first."""

    name = "effect"
    title = "What does this feature do?"
    area = "side"

    def blocks(self, view: View) -> list[Block]:
        name = chosen(view)
        options = [
            {"value": feature.name, "label": plain_text(feature.title)} for feature in view.schema.features
        ]
        choose = {"id": "feature", "kind": "select", "label": "Feature", "value": name, "options": options}
        head: Block = {
            "id": "effect.choose",
            "kind": "controls",
            "area": self.area,
            "title": self.title,
            "controls": [choose],
        }
        found = view.later(
            f"Effect of {plain_text(name)}",
            policy.effects(name),
            browse_sample(view, policy.MOST_CASES),
            view.target,
        )
        if found is None:
            return [
                head,
                {"id": "effect.chart", "kind": "chart", "area": self.area, "loading": True, "height": 320},
            ]
        j = view.schema.position(name)
        dot = (float(view.case.matrix[0, j]), view.score)
        density = view.data.matrix[view.workspace.rows, j]
        figure = effect(
            found,
            name,
            view.schema,
            selected=dot,
            density=density[~np.isnan(density)],
            unit=view.workspace.target_unit,
        )
        said = words.effect_sentence(found, name, view.schema)
        chart = {
            "id": "effect.chart",
            "kind": "chart",
            "area": self.area,
            "figure": figure,
            "height": int(figure.layout.height),
            "alt": said,
        }
        return [
            head,
            {
                "id": "effect.text",
                "kind": "text",
                "area": self.area,
                "items": [{"style": "sentence", "text": said}],
            },
            chart | takeaway(found),
        ]

    def apply(self, event: Event, view: View) -> Selection:
        return view.selection.change(feature=str(event["value"]))


def chosen(view: View) -> str:
    """The feature that was clicked, else the one used most, else the first."""
    if view.selection.feature in view.schema.names:
        return str(view.selection.feature)
    shap, _ = unless_stopped(view)
    if shap is None:
        return view.schema.names[0]
    return view.schema.names[int(np.abs(shap.values).mean(axis=0).argmax())]
