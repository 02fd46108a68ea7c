"""Why that class? The plain picture, a map over it beside it, and the maps of other methods below, zoomed together."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Callable, Hashable, Mapping
from functools import partial
from typing import Any, cast

import numpy as np

import explainers as ex
from dashboard import policy, words
from dashboard.costs import duration
from dashboard.figures.images import MOST_SIDE, as_seen, averaged, layer_png, map_limit, overlay_values
from dashboard.figures.numbers import Scale
from dashboard.figures.text import plain_text
from dashboard.figures.tiles import SIDE, MapTiles, PictureTiles, Tiles, every
from dashboard.panels.panel import Block, Event, File
from dashboard.regions import Region
from dashboard.selection import Selection
from dashboard.view import View

#: Pictures smaller than this are shown with hard pixel edges; larger maps are smoothed as the field does.
TINY = 32

#: Pixels on a side of a picture that is sent whole; of a larger one an overview is, and its own pixels in tiles.
MOST_PIXELS = 1536

#: Bytes of values that are packed at every run; more are packed once they are asked for.
PACKED_AHEAD = 4 * 2**20

#: Seconds from which it is said beside a choice what it costs.
NOTED = 2.0

COMPUTING = "computing…"
NO_CONTRAST = "Explains one class, not a contrast."

#: Why no switch for half precision: it is compared with full precision, so one picture is computed in both; and workers have no GPU.
PRECISION = "All maps are computed in full precision: half precision would take longer here."


@dataclasses.dataclass(frozen=True)
class Map:
    """A method that is shown: its result, or in words why there is none (yet)."""

    method: ex.Explainer
    answer: ex.Attribution | str

    @property
    def name(self) -> str:
        """The method's class."""
        return type(self.method).__name__

    @property
    def result(self) -> ex.Attribution | None:
        """The result, where there is one."""
        return self.answer if isinstance(self.answer, ex.Attribution) else None


class Picture:
    """Maps over the picture; opacity, share shown, colours and zoom move in the browser alone."""

    name = "picture"
    title = "Why?"
    area = "main"

    def blocks(self, view: View) -> list[Block]:
        choices = policy.picture_choices(view.refused)
        maps = shown_maps(view, choices)
        large = large_map(view, maps)
        return [self._said(view, maps, large), self._maps(view, maps, large), self._choose(view, choices)]

    def _said(self, view: View, maps: list[Map], large: Map | None) -> Block:
        question = large.method.question if large else _nothing(view, maps)
        captions = [
            "Each map is scaled to its own maximum: compare where they look, not how strong they are."
        ]
        return {
            "id": "picture.said",
            "kind": "text",
            "area": self.area,
            "title": self.title,
            "items": [
                {"style": "sentence", "text": question},
                *({"style": "caption", "text": text} for text in captions if maps),
            ],
        }

    def _maps(self, view: View, maps: list[Map], large: Map | None) -> Block:
        height, width = view.data.X.shape[2:]
        block: Block = {
            "id": "picture.maps",
            "kind": "maps",
            "area": self.area,
            "base": plain(view),
            "size": [int(height), int(width)],
            "plain_title": f"The picture, {width} × {height}",
            "tiles": [_tile(view, one, selected=large is not None and one is large) for one in maps],
            "colours": "auto",
            "opacity": 0.6,
        }
        if (tiles := picture_tiles(view)) is not None:
            block["native"] = tiles
        if view.selection.region is not None:
            block["region"] = view.selection.region.payload()
        if large is None:
            return block
        block["large"] = large.name
        if large.result is not None:
            block |= {"footer": words.footer(large.result), "code": words.reproduction_line(large.result)}
            block["saves"] = [{"id": "picture-0", "label": f"save the values of {large.method.title} (npz)"}]
        return block

    def _choose(self, view: View, choices: tuple[ex.Explainer, ...]) -> Block:
        """A switch for every method; those that take long say so, and are computed once they are switched on."""
        on = chosen_names(view, choices)
        controls = []
        for method in choices:
            seconds = view.seconds(method, [view.selection.row])
            control = {
                "id": type(method).__name__,
                "kind": "toggle",
                "label": method.title,
                "whole": method.question,
                "value": type(method).__name__ in on,
            }
            if seconds is not None and seconds > NOTED:
                control["note"] = f"about {duration(seconds)}"
            controls.append(control)
        block: Block = {
            "id": "picture.choose",
            "kind": "controls",
            "area": self.area,
            "title": "Methods",
            "controls": controls,
            "row": True,
        }
        reasons: dict[str, list[str]] = {}
        for kind in policy.PICTURE_KINDS:
            if (reason := view.refused(kind)) is not None:
                reasons.setdefault(reason, []).append(kind.title)
        if reasons:
            said = " ".join(f"{', '.join(titles)}: {reason}" for reason, titles in reasons.items())
            block["footer"] = f"Not for this model. {said}"
        if any("gradients" in method.needs for method in choices):
            block["footer"] = f"{block.get('footer', '')} {PRECISION}".strip()
        return block

    def files(self, view: View) -> list[File]:
        """The values of the large map."""
        large = large_map(view, shown_maps(view, policy.picture_choices(view.refused)))
        if large is None or large.result is None:
            return []
        label = f"Save the values of {large.method.title} (npz)"
        pack = partial(packed, large.result)
        later = large.result.values.nbytes > PACKED_AHEAD
        return [File(label, f"{large.method.title} values", "npz", pack if later else pack())]

    def apply(self, event: Event, view: View) -> Selection:
        if event["type"] == "tile" and event["id"] != "plain":
            return view.selection.change(method=str(event["id"]), fill="", scrambled=False)
        if event["type"] == "region":
            return view.selection.change(region=Region.read(event.get("region")))
        if event["type"] == "control" and event["block"] == "picture.choose":
            choices = policy.picture_choices(view.refused)
            return _switched(view, choices, str(event["id"]), on=bool(event["value"]))
        return view.selection


def _switched(view: View, choices: tuple[ex.Explainer, ...], name: str, *, on: bool) -> Selection:
    """A method shown or not; one that is switched on is shown large."""
    known = [type(method).__name__ for method in choices]
    if name not in known:
        return view.selection
    wanted = {*chosen_names(view, choices), name} if on else chosen_names(view, choices) - {name}
    methods = tuple(one for one in known if one in wanted)
    # a computation that was stopped by hand is wanted again
    title = next(method.title for method in choices if type(method).__name__ == name)
    changed = view.selection.change(methods=methods, cancelled=view.selection.cancelled - {title})
    return changed.change(method=name) if on else changed


def chosen_names(view: View, choices: tuple[ex.Explainer, ...]) -> set[str]:
    """Names of the methods that are shown: as chosen, else those that are shown first."""
    if view.selection.methods is None:
        return {type(method).__name__ for method in policy.picture_methods(view.refused)}
    return {type(method).__name__ for method in choices} & set(view.selection.methods)


def shown_maps(view: View, choices: tuple[ex.Explainer, ...]) -> list[Map]:
    """The methods that are shown with what is known of them; what is not is queued."""
    on = chosen_names(view, choices)
    return [Map(method, _ask(view, method)) for method in choices if type(method).__name__ in on]


def large_map(view: View, maps: list[Map]) -> Map | None:
    """The map shown large: the chosen one while it is among them, even before it is computed; else the first that is."""
    wanted = [one for one in maps if one.name == view.selection.method]
    done = [one for one in maps if one.result is not None]
    return next(iter([*wanted, *done, *maps]), None)


def wanted_target(view: View) -> Any:
    """The class explained, or the contrast of two."""
    return view.target if against(view) is None else ex.Contrast(view.target, against(view))


def against(view: View) -> Any:
    """The class that the explained one is contrasted with, or ``None``."""
    chosen = view.selection.against
    others = [name for name in view.model.classes if name != view.target]
    return chosen if len(others) > 1 and chosen in others else None


def _ask(view: View, method: ex.Explainer) -> ex.Attribution | str:
    target = wanted_target(view)
    if isinstance(target, ex.Contrast) and not method.contrasts:
        return NO_CONTRAST
    try:
        found: ex.Attribution | None = view.later(method.title, method, [view.selection.row], target)
    except ex.ExplainerError as error:
        return str(error)
    return COMPUTING if found is None else found


def _tile(view: View, one: Map, *, selected: bool) -> dict[str, Any]:
    tile: dict[str, Any] = {"id": one.name, "title": one.method.title, "selected": selected}
    tile["whole"] = f"{one.method.title}: why {_why(view)}"
    if one.result is None:
        return tile | {"caption": one.answer}
    notes = " ".join(str(note) for note in one.result.diagnostics.get("notes", ()))
    return tile | {
        "overlay": shown_overlay(view, one, tiled=selected),
        "caption": _probability(view),
        **({"note": plain_text(notes, 600)} if notes else {}),
    }


def _why(view: View) -> str:
    other = against(view)
    return f"“{plain_text(view.class_name)}”" + ("" if other is None else f" and not “{plain_text(other)}”")


def _nothing(view: View, maps: list[Map]) -> str:
    if not maps and policy.picture_choices(view.refused):
        return "No method is switched on. Choose one below."
    return "No picture method applies to this model."


def _probability(view: View) -> str:
    scale = Scale(view.model.space)
    said = f"{plain_text(view.class_name)}: {scale.level(view.score)}"
    other = against(view)
    if other is None:
        return said
    place = view.model.output_of(other, len(view.model.classes))
    level = scale.level(float(view.predictions[view.selection.row, place]))
    return f"{said} · {plain_text(other)}: {level}"


def plain(view: View, row: int | None = None) -> str:
    """The picture of a row as a PNG; the overview of a large one, which is kept."""
    row = view.selection.row if row is None else row
    image = np.asarray(view.data.X[row])

    def made() -> str:
        return layer_png(as_seen(averaged(image, MOST_PIXELS), pixel_range(view)))

    if every(image.shape, MOST_PIXELS) == 1:
        return made()
    found: str = view.compute.kept(("overview", view.data.digest, row), made)
    return found


def picture_tiles(view: View) -> dict[str, Any] | None:
    """How the browser gets the selected picture's own pixels, where its overview does not have them all."""
    image, row = np.asarray(view.data.X[view.selection.row]), view.selection.row

    def make() -> Tiles:
        return PictureTiles(image, pixel_range(view), MOST_PIXELS)

    return _lent(view, ("picture", view.data.digest, row), make, image.shape, MOST_PIXELS)


def _lent(
    view: View, key: Hashable, make: Callable[[], Tiles], shape: tuple[int, ...], most: int
) -> dict[str, Any] | None:
    """What the browser is told of tiles: the token to ask with, the size in pixels, and how many of them an overview's dot holds."""
    block = every(shape, most)
    token = view.lend(key, make) if block > 1 else None
    if token is None:
        return None
    return {"token": token, "shape": [int(side) for side in shape[-2:]], "side": SIDE, "every": block}


def pixel_range(view: View) -> tuple[float, float]:
    """Lowest and highest value of all pictures."""

    def measured() -> tuple[float, float]:
        return float(view.data.X.min()), float(view.data.X.max())

    found: tuple[float, float] = view.compute.kept(("pixel range", view.data.digest), measured)
    return found


def overlay(result: ex.Attribution, limit: float | None = None) -> dict[str, Any]:
    """The first map of a result for the browser to paint."""
    values = np.asarray(result.values[0])
    return overlay_values(values, limit or map_limit(values)) | {"smooth": values.shape[-1] >= TINY}


def shown_overlay(view: View, one: Map, *, tiled: bool) -> dict[str, Any]:
    """The map of a method; of one with more values than are sent, the overview, and where `tiled` the way to all of them."""
    assert one.result is not None
    values = np.asarray(one.result.values[0])
    if every(values.shape, MOST_SIDE) == 1:
        return overlay(one.result)
    request = ex.Request.of(view.model, view.data, one.method, [view.selection.row], wanted_target(view))

    def made() -> tuple[float, dict[str, Any]]:
        limit = map_limit(values)
        return limit, overlay_values(values, limit) | {"smooth": True}

    limit, found = cast(tuple[float, dict[str, Any]], view.compute.kept(("overlay", request), made))
    if not tiled:
        return found

    def make() -> Tiles:
        return MapTiles(values, limit, MOST_SIDE)

    native = _lent(view, ("map", request), make, values.shape, MOST_SIDE)
    return found if native is None else found | {"native": native}


def packed(result: ex.Attribution) -> bytes:
    """The values as they were computed, with what they belong to, as an ``.npz`` that holds no objects."""
    facts: Mapping[str, Any] = result.provenance
    notes = " ".join(str(note) for note in result.diagnostics.get("notes", ()))
    stream = io.BytesIO()
    np.savez_compressed(
        stream,
        values=np.asarray(result.values),
        names=np.array([plain_text(name) for name in result.names]),
        target=np.array([plain_text(target) for target in result.targets]),
        output=np.asarray(result.output),
        space=np.array(result.space),
        method=np.array(str(facts.get("explainer", ""))),
        settings=np.array(words.reproduction_line(result)),
        notes=np.array(notes),
        allow_pickle=False,
    )
    return stream.getvalue()
