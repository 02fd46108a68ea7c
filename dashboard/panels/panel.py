"""What a panel is: one question, some blocks for the linked component, and what its events select.

`blocks` asks the view for values and returns plain data (the contract is in `dashboard.linked.payload`); `apply` maps an
event to a new selection. Both are pure in all but the asking, so panels are tested without a browser.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol, runtime_checkable

from dashboard.selection import Selection
from dashboard.view import View

Block = dict[str, Any]
Event = Mapping[str, Any]


#: Pixels of the sentences above a chart, kept so that nothing jumps when they change.
TEXT_HEIGHT = 122


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


class File(NamedTuple):
    """Something to save: what stands on the button, the words and the ending of its name, and what it holds.

    What is large is made once it is asked for.
    """

    label: str
    title: str
    ending: str
    content: bytes | Callable[[], bytes]


@runtime_checkable
class Offers(Protocol):
    """A panel with something to save that is more than a table."""

    def files(self, view: View) -> list[File]:
        """What may be saved as things stand. Raises `ExplainerError` where nothing can be."""
        ...


@dataclasses.dataclass(frozen=True)
class Page:
    """Panels in reading order, and where their areas stand at each width."""

    name: str
    panels: tuple[Panel, ...]
    layout: Mapping[str, Any]


def waiting(name: str, area: str, title: str, cost: str, height: int, *, early: bool = False) -> list[Block]:
    """The grey place of a chart that is computed, and what that costs where it is much; whether a first answer comes `early`."""
    chart: Block = {"id": f"{name}.chart", "kind": "chart", "area": area, "loading": True, "height": height}
    if not cost:
        return [chart | {"title": title}]
    said = f"This takes {cost}." + (" A first answer, with wider error bars, comes earlier." if early else "")
    text: Block = {"id": f"{name}.text", "kind": "text", "area": area, "title": title}
    height_of_text = {"height": TEXT_HEIGHT} if early else {}
    return [text | {"items": [{"style": "caption", "text": said}]} | height_of_text, chart]
