"""What a person has selected. One frozen value; every page shows it, and panels may change nothing else."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

from dashboard.regions import Region

Sort = Literal["high", "low", "near", "file"]
Show = Literal["all", "right", "wrong"]

#: Titles of the computations about one case as it is edited: stopped for one, they are wanted for the next.
SHAP_HERE, LIME_HERE = "SHAP values of this case", "LIME of this case"


@dataclasses.dataclass(frozen=True)
class Filter:
    """Which cases the picker lists, and in which order."""

    sort: Sort = "high"
    show: Show = "all"
    label: str = ""
    search: str = ""


@dataclasses.dataclass(frozen=True)
class Sought:
    """What pictures are made for: the classes, or a channel of a layer; and which of them were asked for.

    Attributes:
        layer: the layer's name; empty for the classes.
        channel: of that layer.
        seed: which random start.
        asked: the model's position, and layer, channel and seed, that were asked for last; empty before.
    """

    layer: str = ""
    channel: int = 0
    seed: int = 0
    asked: tuple[Any, ...] = ()


@dataclasses.dataclass(frozen=True)
class Selection:
    """The selection of one visitor in one workspace.

    Attributes:
        model: position of the model in the workspace.
        row: position of the case in the data.
        target: the class explained; ``None`` for the positive, or the predicted one of several.
        space: ``"auto"`` is what the model predicts (probability), ``"raw"`` its raw score.
        threshold: probability from which the positive class is decided.
        edits: features changed by hand, as codes.
        linked: whether strongly correlated features move together.
        outcome: whether the true outcome is shown.
        why: how the reasons are drawn.
        suggestions: whether counterfactuals are asked for.
        feature: the feature whose effect the overview shows.
        method: the picture method shown large.
        methods: the picture methods shown, by name; ``None`` for those that are shown first.
        against: the class that the explained one is contrasted with, "why this and not that"; ``None`` for no contrast.
        region: the region of the picture that maps are read in.
        fill: what taken-away pixels show where the map is checked by taking them away; empty where it is not.
        scrambled: whether the map is checked against scrambled weights.
        sought: what the overview makes pictures for.
        cancelled: titles of long computations that were stopped by hand.
    """

    model: int = 0
    row: int = 0
    target: Any = None
    space: Literal["auto", "raw"] = "auto"
    threshold: float = 0.5
    edits: tuple[tuple[str, float], ...] = ()
    linked: bool = True
    outcome: bool = False
    filter: Filter = Filter()
    why: Literal["bars", "waterfall", "table"] = "bars"
    suggestions: bool = False
    feature: str | None = None
    method: str = "GradCam"
    methods: tuple[str, ...] | None = None
    against: Any = None
    region: Region | None = None
    fill: str = ""
    scrambled: bool = False
    sought: Sought = Sought()
    cancelled: frozenset[str] = frozenset()

    def pick(self, row: int) -> Selection:
        """Another case: what was edited or asked of the former one does not carry over, nor a mask that was loaded for it.

        A region that was drawn stays: what stands in the same place of many pictures can be followed from one to the next.
        """
        drawn = self.region if self.region is None or self.region.points else None
        return self.change(row=int(row), edits=(), suggestions=False, region=drawn, fill="", scrambled=False)

    def edit(self, *changes: tuple[str, float]) -> Selection:
        """Set features to new codes, keeping the other edits."""
        return self.change(edits=tuple({**dict(self.edits), **dict(changes)}.items()))

    def change(self, **fields: Any) -> Selection:
        """The same selection with some fields changed."""
        if "edits" in fields:
            fields = {"cancelled": self.cancelled - {SHAP_HERE, LIME_HERE}} | fields
        return dataclasses.replace(self, **fields)
