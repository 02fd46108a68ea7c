"""Why? SHAP and LIME side by side on their own axes, the sentence above them, and the numbers behind."""

from __future__ import annotations

import explainers as ex
from dashboard import words
from dashboard.export import takeaway
from dashboard.figures.contributions import parts
from dashboard.figures.numbers import Scale
from dashboard.figures.reasons import reasons as reasons_figure
from dashboard.figures.waterfall import waterfall
from dashboard.panels.panel import TEXT_HEIGHT, Block, Event, waiting
from dashboard.selection import SHAP_HERE, Selection
from dashboard.view import View

_WAYS = {"bars": "bars", "waterfall": "waterfall", "table": "table"}


class Reasons:
    """Local attributions of the selected case, edits included."""

    name = "why"
    title = "Why?"
    area = "main"

    def blocks(self, view: View) -> list[Block]:
        shap, lime = view.reasons, view.surrogate
        if shap is None:
            return waiting("why", self.area, self.title, view.cost(SHAP_HERE), 366, early=True)
        codes = view.case.matrix[0]
        about = view.workspace.about
        sentence = words.why_sentence(
            shap,
            view.schema,
            codes,
            subject=about.subject,
            subjects=about.subjects,
            class_name=view.class_name,
            unit=view.workspace.target_unit,
        )
        said = [{"style": "sentence", "text": sentence}]
        if lime is not None:
            said.append({"style": "caption", "text": words.agreement_sentence(shap, lime)})
        ways = [{"value": value, "label": label} for value, label in _WAYS.items()]
        way = {
            "id": "way",
            "kind": "segmented",
            "label": "Show as",
            "value": view.selection.why,
            "options": ways,
        }
        return [
            {
                "id": "why.text",
                "kind": "text",
                "area": self.area,
                "title": self.title,
                "items": said,
                "height": TEXT_HEIGHT,
            },
            {"id": "why.ways", "kind": "controls", "area": self.area, "controls": [way], "row": True},
            self._picture(view, shap, lime) | takeaway(shap),
        ]

    def _picture(self, view: View, shap: ex.Attribution, lime: ex.Attribution | None) -> Block:
        codes, unit = view.case.matrix[0], view.workspace.target_unit
        if view.selection.why == "table":
            return _table(view, shap)
        if view.selection.why == "waterfall":
            figure = waterfall(shap, view.schema, codes, unit=unit)
        else:
            figure = reasons_figure(shap, lime, view.schema, codes, unit=unit)
        return {
            "id": "why.chart",
            "kind": "chart",
            "area": self.area,
            "figure": figure,
            "height": int(figure.layout.height),
            "click": True,
            "alt": "Contributions of the features to this prediction; the sentence above names the largest",
        }

    def apply(self, event: Event, view: View) -> Selection:
        if event["type"] == "click":
            name = event.get("point")
            return view.selection.change(feature=name) if name in view.schema.names else view.selection
        return view.selection.change(why=event["value"])


def _table(view: View, shap: ex.Attribution) -> Block:
    scale = Scale(shap.space, view.workspace.target_unit)
    rows = []
    for part in parts(shap, view.schema, view.case.matrix[0]):
        tone = "raises" if part.value > 0 else "lowers" if part.value < 0 else "muted"
        errors = [
            scale.size(2 * part.error) if part.error else "exact",
            scale.size(2 * part.background_error),
        ]
        cells = [
            {"text": part.label} | ({"whole": part.full} if part.full != part.label else {}),
            {"text": scale.change(part.value), "tone": tone},
            *({"text": text, "tone": "muted"} for text in errors),
        ]
        rows.append({"id": part.names[0], "cells": cells})
    titles = ("feature", scale.axis, "± calculation", "± other reference cases")
    columns = [
        {"id": str(i), "label": title, "align": "right" if i else "left"} for i, title in enumerate(titles)
    ]
    return {"id": "why.table", "kind": "table", "area": "main", "columns": columns, "rows": rows}
