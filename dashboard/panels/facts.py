"""What is this model, and how well does it do? Performance on test rows, with intervals."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import explainers as ex
from dashboard import trust
from dashboard.figures.numbers import Scale, counted, number, percent
from dashboard.figures.performance import calibration, confusion, residuals
from dashboard.figures.text import plain_text
from dashboard.panels.order_of_names import better_order
from dashboard.panels.panel import Block, Event
from dashboard.selection import Selection
from dashboard.view import View

#: What each score is called, and how it is written.
_SCORES: dict[str, tuple[str, Callable[[float], str]]] = {
    "accuracy": ("decided rightly (accuracy)", percent),
    "auc": ("tells the classes apart (AUC)", lambda value: number(value, 3)),
    "sensitivity": ("found among those who have it (sensitivity)", percent),
    "specificity": ("cleared among those who have not (specificity)", percent),
    "prevalence": ("have it (prevalence)", percent),
    "brier": ("error of the probability (Brier score)", lambda value: number(value, 3)),
    "log_loss": ("log loss", lambda value: number(value, 3)),
    "r2": ("share explained (R²)", lambda value: number(value, 2)),
    "rmse": ("typical error (RMSE)", lambda value: number(value, 3)),
    "mae": ("mean absolute error", lambda value: number(value, 3)),
}


#: What a model returns before anything is made of it.
_RETURNS = {
    "probability": "It returns probabilities itself",
    "raw": "It returns raw scores (logits), of which a softmax or sigmoid makes probabilities",
    "target": "It returns numbers, no scores of classes",
}


class Facts:
    """Model facts, figures of performance, and whether its probabilities mean what they say."""

    name = "facts"
    title = "What is it, and how well does it do?"
    area = "facts"

    def blocks(self, view: View) -> list[Block]:
        items = [{"style": "sentence", "text": text} for text in _about(view)]
        items += [{"style": "caption", "text": text} for text in _answers(view)]
        style = "warning" if trust.ran_code(view.model) else "caption"
        items += [{"style": style, "text": plain_text(note, 400)} for note in trust.of_file(view.model)]
        items += [{"style": "caption", "text": plain_text(note, 400)} for note in view.data.notes]
        blocks: list[Block] = [
            {"id": "facts.model", "kind": "text", "area": self.area, "title": self.title, "items": items}
        ]
        if view.truth is None:
            said = "The data have no column with the true outcome, so nothing can be said of how well the model does."
            return [
                *blocks,
                {
                    "id": "facts.none",
                    "kind": "text",
                    "area": self.area,
                    "items": [{"style": "caption", "text": said}],
                },
            ]
        found = _performance(view)
        return [*blocks, *_order_of_names(view), _figures(found), *_pictures(view)]

    def apply(self, event: Event, view: View) -> Selection:
        return view.selection


def _about(view: View) -> list[str]:
    inputs = (
        f"{len(view.schema.features)} features"
        if view.data.modality == "table"
        else "pictures of " + " × ".join(map(str, view.schema.shape[1:]))
    )
    answer = (
        f"the probability of {', '.join(plain_text(c, 40) for c in view.model.classes)}"
        if view.classifies
        else plain_text(view.workspace.target_label or "a number")
    )
    told = [
        f"{plain_text(view.workspace.models[view.selection.model].name)}: {plain_text(view.model.family, 60)}. From {inputs} it predicts {answer}."
    ]
    if view.workspace.models[view.selection.model].note:
        told.append(plain_text(view.workspace.models[view.selection.model].note, 400))
    return told


def _answers(view: View) -> list[str]:
    """What a network's own answers are, and who says so; what is strange about them where no table says it."""
    model = view.model
    told = ""
    if model.declared != "auto":
        told = f"{_RETURNS[model.declared]} (declared with the model)"
    elif "gradients" in model.abilities and view.classifies:
        own = "raw" if "two scales" in model.abilities else model.space
        told = f"{_RETURNS[own]} (as whyboard found it; the model's file does not say)"
    doubt = model.doubt(view.predictions) if view.truth is None else ""
    return [f"{text[:1].upper()}{text[1:]}." for text in (told, doubt) if text]


def _order_of_names(view: View) -> list[Block]:
    """A warning where the same answers would be right far more often if its classes stood in another order."""
    if not view.classifies or view.truth is None:
        return []
    rows = view.workspace.rows
    order = better_order(view.decided[rows], view.truth[rows], len(view.model.classes))
    if order is None:
        return []
    names = ", ".join(plain_text(view.model.classes[place], 40) for place in order.places)
    text = (
        f"Named in the order {names}, its answers would be right for {100 * order.share:.0f} % of the cases instead of "
        f"{100 * order.own:.0f} %. Were the names of the classes given in another order than the model's outputs?"
    )
    return [
        {
            "id": "facts.order",
            "kind": "text",
            "area": Facts.area,
            "items": [{"style": "warning", "text": text}],
        }
    ]


def _performance(view: View) -> ex.Performance:
    key = ("performance", view.model.digest, view.data.digest, view.selection.threshold)
    found = view.compute.kept(
        key,
        lambda: ex.performance(view.model, view.data, view.selection.threshold, predictions=view.predictions),
    )
    assert isinstance(found, ex.Performance)
    return found


def _figures(found: ex.Performance) -> Block:
    rows = []
    for name, estimate in found.estimates.items():
        title, show = _SCORES[name]
        interval = f"{show(estimate.low)} to {show(estimate.high)}"
        rows.append(
            {
                "id": name,
                "cells": [
                    {"text": title},
                    {"text": show(estimate.value), "bold": True},
                    {"text": interval, "tone": "muted"},
                ],
            }
        )
    columns = [
        {"id": "what", "label": f"on {counted(found.cases, 'case')}"},
        {"id": "value", "label": "", "align": "right"},
        {"id": "interval", "label": "95 % interval", "align": "right"},
    ]
    return {
        "id": "facts.figures",
        "kind": "table",
        "area": "facts",
        "columns": columns,
        "rows": rows,
        "footer": plain_text(found.note, 400) if found.note else "",
    }


def _pictures(view: View) -> list[Block]:
    rows = view.workspace.rows
    assert view.truth is not None
    if not view.classifies:
        figure = residuals(
            view.scores[rows],
            view.truth[rows],
            rows,
            selected=view.selection.row,
            unit=view.workspace.target_unit,
        )
        return [
            _chart("facts.residuals", "Where is it wrong?", figure, "True minus predicted against predicted")
        ]
    known = rows[view.truth[rows] >= 0]
    blocks = [
        _chart(
            "facts.confusion",
            "Which does it take for which?",
            confusion(view.truth[known], view.decided[known], view.model.classes),
            "Cases by true and decided class",
        )
    ]
    if view.model.space == "probability":
        had = (view.truth[known] == view.output).astype(int)
        figure = calibration(view.scores[known], had, selected=view.score)
        title = "Do its probabilities mean what they say?"
        scale = Scale(view.model.space)
        blocks.insert(
            0,
            _chart(
                "facts.calibration",
                title,
                figure,
                f"Predicted against observed share; this case at {scale.level(view.score)}",
            ),
        )
    return blocks


def _chart(name: str, title: str, figure: Any, alt: str) -> Block:
    return {
        "id": name,
        "kind": "chart",
        "area": "facts",
        "title": title,
        "figure": figure,
        "height": int(figure.layout.height),
        "alt": alt,
    }
