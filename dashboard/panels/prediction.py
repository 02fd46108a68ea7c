"""What does it say? The prediction with its reference, how often such predictions came true, and where it lies."""

from __future__ import annotations

import numpy as np

import explainers as ex
from dashboard import words
from dashboard.figures.numbers import Scale
from dashboard.figures.performance import score_histogram
from dashboard.figures.text import plain_text
from dashboard.panels.panel import Block, Event
from dashboard.selection import Selection
from dashboard.view import View

#: Half the width of the band of probability in which past predictions are counted.
BAND = 0.05


class Prediction:
    """The answer before the reasons."""

    name = "says"
    title = "What does it say?"
    area = "main"

    def blocks(self, view: View) -> list[Block]:
        scale = Scale(view.model.space, view.workspace.target_unit)
        items = [
            {"style": "big", "text": scale.level(view.score)},
            {"style": "lead", "text": f"{plain_text(view.class_name)} · usual {scale.level(view.usual)}"},
        ]
        items += [
            {"style": "caption", "text": text} for text in (calibration(view), *view.model.notes) if text
        ]
        chart = score_histogram(view.scores[view.workspace.rows], None, view.score, _threshold(view))
        return [
            {
                "id": "says.text",
                "kind": "text",
                "area": self.area,
                "title": self.title,
                "items": items,
                "live": True,
                "height": 128,
            },
            {
                "id": "says.where",
                "kind": "chart",
                "area": self.area,
                "figure": chart,
                "height": int(chart.layout.height),
                "alt": f"Distribution of the predictions; this case at {scale.level(view.score)}",
            },
        ]

    def apply(self, event: Event, view: View) -> Selection:
        return view.selection


def calibration(view: View) -> str:
    """How many cases with about this prediction had the outcome; only the model's own test rows count."""
    if view.truth is None or not view.classifies or view.model.space != "probability":
        return ""
    rows = view.workspace.rows
    known = rows[view.truth[rows] >= 0]
    had = (view.truth[known] == view.output).astype(np.int64)
    low, high = max(view.score - BAND, 0.0), min(view.score + BAND, 1.0)
    count, positives = ex.calibration_near(view.scores[known], had, view.score, 2 * BAND)
    kind = (
        view.workspace.about.subjects
        if view.workspace.unknown_roles
        else f"test {view.workspace.about.subjects}"
    )
    return words.calibration_sentence(count, positives, low, high, subjects=kind, class_name=view.class_name)


def _threshold(view: View) -> float | None:
    two = len(view.model.classes) == 2 and view.model.space == "probability"
    if not two:
        return None
    return view.selection.threshold if view.output == 1 else 1.0 - view.selection.threshold
