"""What pictures are made for, what of it was asked for, and what there is of each request."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

import explainers as ex
from dashboard import policy
from dashboard.figures.text import plain_text
from dashboard.selection import Selection, Sought
from dashboard.view import View

#: What the work is called; of one class of many its name follows.
WORK = "Pictures of what the model looks for"

MOST_SEED = 2**31 - 1


@dataclasses.dataclass(frozen=True)
class Made:
    """A request for pictures, what there is of it, and in words why there is no more (yet).

    Attributes:
        places: positions of the classes that its pictures are for; empty for a channel, or a model without classes.
    """

    title: str
    explainer: ex.FeatureVisualization
    target: Any
    places: tuple[int, ...] = ()
    result: ex.Visualizations | None = None
    said: str = ""

    @property
    def done(self) -> bool:
        """Whether this is what was asked for."""
        return self.result is not None and not self.said

    @property
    def units(self) -> int:
        """How many pictures it asks for."""
        return len(self.places) or 1


def wanted(view: View) -> Sought:
    """What pictures are made for, among what this model has."""
    sought, layers = view.selection.sought, dict(view.model.channels)
    if sought.layer not in layers:
        return dataclasses.replace(sought, layer="", channel=0)
    return dataclasses.replace(sought, channel=min(sought.channel, layers[sought.layer] - 1))


def requests(view: View, sought: Sought) -> list[Made]:
    """One for a channel, one for all classes while they are few, else one for each of those decided most often."""
    explainer, classes = policy.visualization(sought.layer, sought.channel, sought.seed), view.model.classes
    if sought.layer or not classes:
        return [Made(WORK, explainer, None)]
    if len(classes) <= policy.MOST_MADE and "all" not in classes:
        return [Made(WORK, explainer, "all", tuple(range(len(classes))))]
    counts = np.bincount(view.decided[view.workspace.rows], minlength=len(classes))
    order = dict.fromkeys([view.output, *np.argsort(-counts, kind="stable").tolist()])
    return [
        Made(f"{WORK}: {plain_text(classes[place], 60)}", explainer, classes[place], (place,))
        for place in [*order][: policy.MOST_MADE]
    ]


def found(view: View) -> list[Made]:
    """Every request with what there is of it; what was asked for and is not known is queued."""
    sought = wanted(view)
    return [_found(view, one, asked=is_asked(view, sought)) for one in requests(view, sought)]


def _found(view: View, one: Made, *, asked: bool) -> Made:
    try:
        result, said = _answer(view, one, asked=asked)
    except ex.ExplainerError as error:
        return dataclasses.replace(one, said=str(error))
    if result is not None and not _fits(view, one, result):
        return dataclasses.replace(one, said="The answer does not belong to these data.")
    return dataclasses.replace(one, result=result, said=said)


def _answer(view: View, one: Made, *, asked: bool) -> tuple[Any, str]:
    known = view.known(one.explainer, None, one.target)
    if known is not None:
        return known, ""
    if halted(view):
        partial = view.partial(one.explainer, None, one.target)
        if partial is None:
            return None, "Stopped." if asked else ""
        return partial.result, _stopped(partial.result)
    if not asked:
        return None, ""
    best = view.best(one.title, one.explainer, None, one.target)
    return best, "computing…" if best is None else "so far"  # how far it is says the job, in one place


def _stopped(result: ex.Explanation) -> str:
    return f"stopped at {100 * float(result.diagnostics.get('share of steps', 0.0)):.0f} % of the steps"


def _fits(view: View, one: Made, result: ex.Visualizations) -> bool:
    """Whether pictures and positions are those of the data: whoever sent them may say anything."""
    shape = view.data.X.shape
    return (
        len(result.names) == one.units
        and result.pictures.shape[2:] == shape[1:]
        and result.examples.shape[1] > 0
        and bool((result.examples < shape[0]).all())
    )


def is_asked(view: View, sought: Sought) -> bool:
    """Whether these were asked for."""
    return sought.asked == _key(view, sought)


def asking(view: View, sought: Sought) -> Sought:
    """The same, asked for."""
    return dataclasses.replace(sought, asked=_key(view, sought))


def _key(view: View, sought: Sought) -> tuple[Any, ...]:
    return (view.selection.model, sought.layer, sought.channel, sought.seed)


def halted(view: View) -> bool:
    """Whether somebody stopped it: of many requests then none goes on."""
    return any(title.startswith(WORK) for title in view.selection.cancelled)


def changed(view: View, name: str, value: Any) -> Selection:
    """After a control was moved; who has asked once is shown the next at once where that is quick."""
    sought = wanted(view)
    moved = _moved(view, sought, name, value)
    if moved == sought:
        return view.selection
    seconds = sum(view.making(one.explainer, one.units) for one in requests(view, moved))
    if sought.asked and seconds <= policy.QUICKLY_MADE:
        moved = asking(view, moved)
    return view.selection.change(sought=moved, cancelled=going_on(view))


def going_on(view: View) -> frozenset[str]:
    """What else stays stopped when this is asked for."""
    return frozenset(title for title in view.selection.cancelled if not title.startswith(WORK))


def _moved(view: View, sought: Sought, name: str, value: Any) -> Sought:
    """Unchanged where the event says nothing that there is."""
    layers = dict(view.model.channels)
    if name == "layer" and value in ("", *layers):
        return dataclasses.replace(sought, layer=value, channel=0)
    if not isinstance(value, int | float) or value != int(value):
        return sought
    if name == "channel" and sought.layer:
        return dataclasses.replace(sought, channel=min(max(0, int(value)), layers[sought.layer] - 1))
    if name == "seed":
        return dataclasses.replace(sought, seed=min(max(0, int(value)), MOST_SEED))
    return sought
