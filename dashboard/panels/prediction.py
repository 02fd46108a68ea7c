"""What does it say? The prediction with its reference, how often such predictions came true, and where it lies."""

from __future__ import annotations

import numpy as np

import explainers as ex
from dashboard import trust, words
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
            {"style": "lead", "text": lead(view)},
        ]
        items += [
            {"style": "caption", "text": text}
            for text in (
                calibration(view),
                *(plain_text(note, 400) for note in trust.of_predictions(view.model)),
            )
            if text
        ]
        chart = score_histogram(
            view.scores[view.workspace.rows],
            None,
            view.score,
            _threshold(view),
            space=view.model.space,
            unit=view.workspace.target_unit,
        )
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


def lead(view: View) -> str:
    """What the number is of, what it was before the edits, and what is usual."""
    scale = Scale(view.model.space, view.workspace.target_unit)
    before = (
        f" · what if; as recorded {scale.level(float(view.scores[view.selection.row]))}"
        if view.edited
        else ""
    )
    return f"{plain_text(view.class_name)}{before} · usual {scale.level(view.usual)}"


def calibration(view: View) -> str:
    """How many cases with about this prediction had the outcome; only the model's own test rows count."""
    if view.truth is None or not view.classifies or view.model.space != "probability":
        return ""
    if view.edited and view.plausibility.outside(view.case.matrix[0]):
        return "Outside the data: nothing can be said of how often such predictions come true."
    rows = view.workspace.rows
    known = rows[view.truth[rows] >= 0]
    had = (view.truth[known] == view.output).astype(np.int64)
    middle = float(np.clip(round(view.score / BAND) * BAND, BAND, 1.0 - BAND))
    low, high = middle - BAND, middle + BAND
    count, positives = ex.calibration_near(view.scores[known], had, middle, 2 * BAND)
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
