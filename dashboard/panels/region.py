"""Is it there that the model looks? For each map how much lies in a region, and how much does in the same region elsewhere."""

from __future__ import annotations

from typing import Any

import numpy as np

import explainers as ex
from dashboard import policy
from dashboard.figures.numbers import counted, percent
from dashboard.panels.panel import Block, Event
from dashboard.panels.picture import Map, large_map, shown_maps, wanted_target
from dashboard.selection import Selection
from dashboard.view import View

HOW = "Draw a rectangle or an outline on a picture, or load a mask, to read how much of each map lies inside."
ALONE = "Other places: the same shape wherever else it fits into this picture. A region drawn after looking at the map flatters it; bold is above the 95th percentile."


class RegionOfInterest:
    """The share of positive relevance inside a region beside the region's share of the picture, and what is usual elsewhere."""

    name = "region"
    title = "How much lies in a region?"
    area = "side"

    def blocks(self, view: View) -> list[Block]:
        region = view.selection.region
        if region is None:
            return [self._text([{"style": "caption", "text": HOW}], title=True)]
        maps = shown_maps(view, policy.picture_choices(view.refused))
        found = [(one, _share(view, one)) for one in maps]
        known = [share for _, share in found if share is not None]
        mask = region.mask(*view.data.X.shape[2:])
        size = f"The region is {percent(float(mask.mean()))} of the picture ({counted(int(mask.sum()), 'pixel')})."
        if not known:
            return [self._text([{"style": "sentence", "text": size}], title=True)]
        items = [{"style": "sentence", "text": f"{size} {_sentence(view, maps, found)}".strip()}]
        return [self._text(items, title=True), self._table(found), self._text(_notes(known))]

    def _text(self, items: list[dict[str, str]], *, title: bool = False) -> Block:
        block: Block = {"kind": "text", "area": self.area, "items": items}
        return block | ({"id": "region.text", "title": self.title} if title else {"id": "region.notes"})

    def _table(self, found: list[tuple[Map, ex.RegionShare | None]]) -> Block:
        columns = [
            {"id": "map", "label": "map"},
            {"id": "inside", "label": "inside", "align": "right"},
            {"id": "usual", "label": "other places: mean", "align": "right"},
            {"id": "most", "label": "95th percentile", "align": "right"},
        ]
        rows = [{"id": one.name, "cells": _cells(one, share)} for one, share in found]
        return {
            "id": "region.table",
            "kind": "table",
            "area": self.area,
            "columns": columns,
            "rows": rows,
            "caption": "Share of the positive relevance",
        }

    def apply(self, event: Event, view: View) -> Selection:
        return view.selection


def _share(view: View, one: Map) -> ex.RegionShare | None:
    """The region's share of a map; kept, since the page is painted often."""
    region, result = view.selection.region, one.result
    if region is None or result is None:
        return None
    request = ex.Request.of(view.model, view.data, one.method, [view.selection.row], wanted_target(view))

    def read() -> ex.RegionShare:
        values = np.asarray(result.values[0], dtype=np.float64)
        return ex.region_share(values, region.mask(*values.shape[-2:]))

    found: ex.RegionShare = view.compute.kept(("region", request, region), read)
    return found


def _cells(one: Map, share: ex.RegionShare | None) -> list[dict[str, Any]]:
    if share is None:
        return [{"text": one.method.title}, {"text": "…"}, {"text": ""}, {"text": ""}]
    above = share.places > 0 and share.share > share.null_95
    return [
        {"text": one.method.title},
        {"text": _percent(share.share), "bold": above},
        {"text": _percent(share.null_mean)},
        {"text": _percent(share.null_95)},
    ]


def _percent(share: float) -> str:
    return "–" if np.isnan(share) else percent(share)


def _sentence(view: View, maps: list[Map], found: list[tuple[Map, ex.RegionShare | None]]) -> str:
    """The large map in words."""
    large = large_map(view, maps)
    share = next((share for one, share in found if one is large), None)
    if large is None or share is None:
        return ""
    if np.isnan(share.share):
        return f"Nothing in the map of {large.method.title} is positive."
    said = f"{percent(share.share)} of what {large.method.title} finds positive lies inside"
    if not share.places:
        return f"{said}; the region fits at no other place to compare with."
    more = "more than" if share.share > share.null_95 else "no more than"
    return f"{said}, {more} in 95 of 100 other places of the same shape."


def _notes(known: list[ex.RegionShare]) -> list[dict[str, str]]:
    places = max(share.places for share in known)
    fits = f"It fits at {counted(places, 'other place')}. " if places else ""
    return [{"style": "caption", "text": fits + ALONE}]
