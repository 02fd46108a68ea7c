"""What a panel is: one question, some blocks for the linked component, and what its events select.

`blocks` asks the view for values and returns plain data (the contract is in `dashboard.linked.payload`); `apply` maps an
event to a new selection. Both are pure in all but the asking, so panels are tested without a browser.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Protocol

from dashboard.selection import Selection
from dashboard.view import View

Block = dict[str, Any]
Event = Mapping[str, Any]


class Panel(Protocol):
    """One panel of a page. Its blocks' ids start with its name and a dot.

    Attributes:
        name: short and unique on its page.
        title: the question that it answers.
        area: where it stands in the page's layout.
    """

    name: str
    title: str
    area: str

    def blocks(self, view: View) -> list[Block]:
        """What to show. Raises `ExplainerError` with the sentence to show instead."""
        ...

    def apply(self, event: Event, view: View) -> Selection:
        """The selection after an event in one of its blocks."""
        return view.selection


@dataclasses.dataclass(frozen=True)
class Page:
    """Panels in reading order, and where their areas stand at each width."""

    name: str
    panels: tuple[Panel, ...]
    layout: Mapping[str, Any]
