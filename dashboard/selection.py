"""What a person has selected. One frozen value; every page shows it, and panels may change nothing else."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

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
    cancelled: frozenset[str] = frozenset()

    def pick(self, row: int) -> Selection:
        """Another case: what was edited or asked of the former one does not carry over."""
        return self.change(row=int(row), edits=(), suggestions=False)

    def edit(self, *changes: tuple[str, float]) -> Selection:
        """Set features to new codes, keeping the other edits."""
        return self.change(edits=tuple({**dict(self.edits), **dict(changes)}.items()))

    def change(self, **fields: Any) -> Selection:
        """The same selection with some fields changed."""
        if "edits" in fields:
            fields = {"cancelled": self.cancelled - {SHAP_HERE, LIME_HERE}} | fields
        return dataclasses.replace(self, **fields)
