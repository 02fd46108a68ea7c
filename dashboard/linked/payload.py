"""The contract between a panel and the linked host: what a payload may hold, and its check.

A payload is plain data, made by a pure function `payload(state)` and sent whole on every run; the browser changes only what
differs. Every string in it is shown as text: nothing is ever read as HTML, and `shown` gives what cannot be seen a sign
before it is sent. (Strings *inside* Plotly figures are Plotly's own small markup, and are escaped where the figure is
built. Ids and values of options travel as they are, for they come back in events.)

    payload  {blocks: [block…], layout?, seq?}
    layout   {wide?, medium?, narrow?}, each {columns: [weight…], areas: [[name…]…]}
             wide: the container is 1200 px or more; medium: 1000 to 1200; narrow: below 1000. A missing medium is
             wide; a missing narrow stacks the areas in order. Area names: letters, digits, _. Without areas a block
             says `column: 0, 1…`, and `layout: {wide: {columns: [1, 2]}}` may give the weights.
    seq      set by `linked_host`: the number of the last event this payload knows of.

    block    id, kind, area | column, title?, footer?, height? (px, kept fixed), loading?, hidden?,
             code?, csv? (texts offered under the block, to copy and to save), saves?: [{id, label}…] (files of the panel, which the
             page offers as downloads of its own, hidden at its foot: `id` is the panel's name, a dash and the file's place)
             Blocks of one area stack in order. `loading` shows a grey skeleton, or dims what is already there.

    text     items: [{style: big|lead|sentence|caption|warning, text, tone?}], live? (read out when it changes)
    chart    figure: a Plotly figure or its `to_plotly_json()`, alt, height, click?
             Font, grid and background colours follow the theme wherever the figure leaves them unset; `uirevision` is
             the block's id unless set, so zoom and legend survive updates.
    controls controls: [control…], search? (a box which filters by label), row? (side by side)
      control   id, kind, label, whole? (the uncut label, read under the pointer), note?, locked?
      slider    value, min, max, step, original?, unit?, decimals?, display? (text for `value`), outside?,
                data_low?, data_high? (beyond them the track is grey), spark?
        spark   {x, y, density?, base?, scale=1, decimals=2, suffix=""}: the case's own curve, drawn under the track;
                the text is y·scale at the slider's position, then its distance from `base`
      select    value, options: [{value, label}…], original?, spark? {values (one per option), base?, scale…}
      segmented value, options        number  value, min?, max?, step?, unit?, original?
      toggle    value                 button  emphasis?: primary|plain
    table    columns: [{id, label, align?: left|right, button?}…], rows: [{id, cells: [{text, whole?, tone?, bold?}…], button?}…],
             caption?    button: {id, label}; a row is as long as the columns are many
    image    tiles: [{id, base?, overlay?, title?, caption?, grey?, selected?, save? (as a PNG), beside?}…], tile_size? (px),
             click?, tools?, opacity?, strongest? (0 to 1: the share of the pixels shown), colours?: auto|signed|heat|contour
             (where the reader's choice starts; auto: as each map has signs or not)
      base      "data:image/png;base64,…"
      beside    [{id, base, title (read out), caption?}…]: smaller pictures beside it that can be chosen
      overlay   {values, shape: [h, w], limit, smooth?, signed?, native?}: painted by the browser, symmetric about zero, full at ±limit
    maps     base, size: [h, w] (of the picture itself), tiles: [{id, title, whole? (the title when large), overlay?, caption?,
             note?, selected?}…], large? (an id), plain_title?, region?, native?, opacity?, strongest?, colours?
             One picture and several maps over it: plain and large side by side, all below; zoom and region are one for all.
      native   {token, shape: [h, w], side, every}: where `base` or an overlay is an overview, each of its dots the mean of
             `every` by `every` values; all of them are fetched in tiles of `side` by `side` (`dashboard.serving.tiles`)
      region    {points: [[x, y]…]} or {mask: {bits, shape: [h, w]}}: shares of the picture's sides, or one bit for each place
    list     items: [{id, title, value?, caption?, share? (0 to 1, a thin bar), picture? (a PNG as `base`)}…],
             selected? (an id)
    tone     raises|lowers|changed|muted
    arrays   in spark and overlay: a list of numbers, or Plotly's {dtype, bdata} in base64 (see `typed_array`)

Events, each with a growing `seq`, as `on_event` gets them:

    {type: "control", block, id, value}       a slider's move, a choice, a switch, a press (value null)
    {type: "click", block, point, curve, index}   point: the trace's customdata at that place
    {type: "table", block, id, row | column}      a button in a table
    {type: "tile", block, id}                     a picture was chosen
    {type: "region", block, id, region}           a region was drawn or loaded; null: it was taken away
    {type: "list", block, id}                     an entry of a list was chosen
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from dashboard.figures.plain import visible

__all__ = ["PayloadError", "shown", "typed_array", "validate"]

Item = Mapping[str, Any]

STYLES = ("big", "lead", "sentence", "caption", "warning")
TONES = ("raises", "lowers", "changed", "muted")
COLOURS = ("auto", "signed", "heat", "contour")
BREAKPOINTS = ("wide", "medium", "narrow")
PNG = "data:image/png;base64,"
TOKEN = re.compile(r"[0-9a-f]{64}")
SAVE_ID = re.compile(r"[a-z]+-[0-9]+")
AREA_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

# needed fields, further fields
BLOCK_COMMON = ("id kind", "area column title footer height loading hidden code csv saves")
BLOCKS = {
    "text": ("items", "live"),
    "chart": ("figure alt height", "click"),
    "controls": ("controls", "search row"),
    "table": ("columns rows", "caption"),
    "list": ("items", "selected"),
    "image": ("tiles", "tile_size click tools opacity strongest colours"),
    "maps": ("base size tiles", "large plain_title region native opacity strongest colours"),
}
CONTROL_COMMON = ("id kind label", "whole note locked")
CONTROLS = {
    "slider": ("value min max step", "original unit decimals display outside data_low data_high spark"),
    "select": ("value options", "original spark"),
    "segmented": ("value options", ""),
    "number": ("value", "min max step unit original"),
    "toggle": ("value", ""),
    "button": ("", "emphasis"),
}


#: Fields that are read by people, and how much of one is sent at most.
SHOWN = frozenset(
    [
        "title",
        "footer",
        "caption",
        "text",
        "label",
        "whole",
        "note",
        "unit",
        "display",
        "alt",
        "suffix",
        "plain_title",
    ]
)
LONGEST_SHOWN = 2000


class PayloadError(ValueError):
    """A payload breaks the contract; the message names the place, the rule and what was found."""


def validate(payload: Item) -> None:
    """Raise `PayloadError` unless `payload` keeps the contract above; reads it only."""
    _fields("payload", payload, "blocks", "layout seq")
    for block in _unique("block", payload["blocks"]):
        place = f"block {block['id']!r}"
        kind = _one_of(f"{place}: kind", block.get("kind"), BLOCKS)
        needed, further = BLOCKS[kind]
        if block.get("loading"):  # a skeleton needs no content
            needed, further = "", f"{needed} {further}"
        _fields(place, block, f"{BLOCK_COMMON[0]} {needed}", f"{BLOCK_COMMON[1]} {further}")
        if "area" in block and "column" in block:
            raise PayloadError(f"{place}: give `area` or `column`, not both")
        if "column" in block and not _is_count(block["column"]):
            raise PayloadError(f"{place}: `column` counts from 0, found {block['column']!r}")
        for save in _unique(f"{place}: saves", block.get("saves", ())):
            _fields(f"{place}: saves", save, "id label")
            if not SAVE_ID.fullmatch(save["id"]):
                raise PayloadError(f"{place}: saves: {save['id']!r} is no panel's name and place")
        if any(name in block for name in needed.split()):
            CHECKS[kind](place, block)
    _check_layout(payload)


def shown(payload: Item) -> dict[str, Any]:
    """The payload with every text that people read made of visible characters, and none endless."""
    return {name: _shown(name, value) for name, value in payload.items()}


def _shown(name: str, value: Any) -> Any:
    if isinstance(value, str):
        return visible(value[:LONGEST_SHOWN]) if name in SHOWN else value
    if isinstance(value, Mapping) and name not in ("figure", "spark", "overlay", "region"):
        return shown(value)
    if isinstance(value, (list, tuple)):
        return [_shown(name, one) for one in value]
    return value


def typed_array(values: Any, dtype: str = "f4") -> dict[str, str]:
    """`values` as Plotly's base64 typed array: about a third of the size of a list of numbers."""
    array = np.ascontiguousarray(values, dtype=np.dtype(dtype).newbyteorder("<"))
    return {"dtype": dtype, "bdata": base64.b64encode(array.tobytes()).decode("ascii")}


def _check_layout(payload: Item) -> None:
    layout = payload.get("layout") or {}
    if unknown := set(layout) - set(BREAKPOINTS):
        raise PayloadError(f"layout: {sorted(unknown)} is none of {list(BREAKPOINTS)}")
    used = {block["area"] for block in payload["blocks"] if "area" in block}
    for area in used:
        _area_name("block", area)
    for size, grid in layout.items():
        _fields(f"layout.{size}", grid, "columns", "areas")
        if not all(_is_number(weight) and weight > 0 for weight in grid["columns"]):
            raise PayloadError(f"layout.{size}: columns are weights above 0, found {grid['columns']!r}")
        rows = grid.get("areas") or []
        for row in rows:
            if len(row) != len(grid["columns"]):
                raise PayloadError(
                    f"layout.{size}: {len(grid['columns'])} columns, but a row of areas has {len(row)}"
                )
            for name in row:
                _area_name(f"layout.{size}", name)
        if missing := used - {name for row in rows for name in row}:
            raise PayloadError(f"layout.{size}: no place for the areas {sorted(missing)}")


def _check_text(place: str, block: Item) -> None:
    for item in block["items"]:
        _fields(f"{place}: item", item, "style text", "tone")
        _one_of(f"{place}: style", item["style"], STYLES)
        _tone(place, item)


def _check_chart(place: str, block: Item) -> None:
    figure = block["figure"]
    if not hasattr(figure, "to_plotly_json") and not (isinstance(figure, Mapping) and "data" in figure):
        raise PayloadError(
            f"{place}: `figure` is a Plotly figure or its dictionary, found {type(figure).__name__}"
        )
    if not block["alt"]:
        raise PayloadError(f"{place}: `alt` is empty; it is what a screen reader says in place of the chart")


def _check_controls(place: str, block: Item) -> None:
    for control in _unique(f"{place}: control", block["controls"]):
        where = f"{place}: control {control['id']!r}"
        kind = _one_of(f"{where}: kind", control.get("kind"), CONTROLS)
        needed, further = CONTROLS[kind]
        _fields(where, control, f"{CONTROL_COMMON[0]} {needed}", f"{CONTROL_COMMON[1]} {further}")
        if kind == "slider":
            _check_slider(where, control)
        for option in control.get("options", ()):
            _fields(f"{where}: option", option, "value label")
        if kind == "select" and (spark := control.get("spark")):
            _fields(f"{where}: spark", spark, "values", "base scale decimals suffix")


def _check_slider(where: str, control: Item) -> None:
    for name in ("value", "min", "max", "step"):
        if not _is_number(control[name]):
            raise PayloadError(f"{where}: `{name}` is a number, found {control[name]!r}")
    if not control["min"] < control["max"] or control["step"] <= 0:
        raise PayloadError(
            f"{where}: needs min < max and step > 0, found {control['min']}, {control['max']}, {control['step']}"
        )
    if spark := control.get("spark"):
        _fields(f"{where}: spark", spark, "x y", "density base scale decimals suffix")


def _check_table(place: str, block: Item) -> None:
    columns = list(_unique(f"{place}: column", block["columns"]))
    for column in columns:
        _fields(f"{place}: column", column, "id label", "align button")
        _button(f"{place}: column", column)
    for row in _unique(f"{place}: row", block["rows"]):
        _fields(f"{place}: row", row, "id cells", "button")
        _button(f"{place}: row", row)
        if len(row["cells"]) != len(columns):
            raise PayloadError(
                f"{place}: row {row['id']!r} has {len(row['cells'])} cells for {len(columns)} columns"
            )
        for cell in row["cells"]:
            _fields(f"{place}: cell", cell, "text", "whole tone bold")
            _tone(place, cell)


def _check_list(place: str, block: Item) -> None:
    for item in _unique(f"{place}: item", block["items"]):
        where = f"{place}: item {item['id']!r}"
        _fields(where, item, "id title", "value caption share picture")
        _check_png(f"{where}: picture", item.get("picture"))


def _check_image(place: str, block: Item) -> None:
    if "colours" in block:
        _one_of(f"{place}: colours", block["colours"], COLOURS)
    for tile in _unique(f"{place}: tile", block["tiles"]):
        where = f"{place}: tile {tile['id']!r}"
        _fields(where, tile, "id", "base overlay title caption grey selected save beside")
        _check_png(f"{where}: base", tile.get("base"))
        _check_overlay(where, tile)
        for other in _unique(f"{where}: beside", tile.get("beside", ())):
            _fields(f"{where}: beside", other, "id base title", "caption")
            _check_png(f"{where}: beside: base", other["base"])


def _check_maps(place: str, block: Item) -> None:
    if "colours" in block:
        _one_of(f"{place}: colours", block["colours"], COLOURS)
    _check_png(f"{place}: base", block["base"])
    names = []
    for tile in _unique(f"{place}: tile", block["tiles"]):
        where = f"{place}: tile {tile['id']!r}"
        _fields(where, tile, "id title", "whole overlay caption note selected")
        _check_overlay(where, tile)
        names.append(tile["id"])
    if block.get("large") is not None:
        _one_of(f"{place}: large", block["large"], names)
    if (region := block.get("region")) is not None:
        _fields(f"{place}: region", region, "", "points mask")
    _check_native(f"{place}: native", block.get("native"))


def _check_overlay(where: str, tile: Item) -> None:
    if overlay := tile.get("overlay"):
        _fields(f"{where}: overlay", overlay, "values shape limit", "smooth signed native")
        _check_native(f"{where}: overlay: native", overlay.get("native"))
        if not _is_number(overlay["limit"]) or overlay["limit"] <= 0:
            raise PayloadError(f"{where}: overlay `limit` is above 0, found {overlay['limit']!r}")


def _check_native(where: str, native: Any) -> None:
    if native is None:
        return
    _fields(where, native, "token shape side every")
    if not isinstance(native["token"], str) or not TOKEN.fullmatch(native["token"]):
        raise PayloadError(f"{where}: `token` is 64 hexadecimal digits, found {str(native['token'])[:70]!r}")
    if not all(_is_count(side) and side > 0 for side in (*native["shape"], native["side"], native["every"])):
        raise PayloadError(f"{where}: `shape`, `side` and `every` count from 1, found {native!r}")


def _check_png(where: str, source: Any) -> None:
    if source is not None and not (isinstance(source, str) and source.startswith(PNG)):
        raise PayloadError(f"{where} is a data URI starting {PNG!r}, found {str(source)[:40]!r}")


CHECKS: dict[str, Callable[[str, Item], None]] = {
    "text": _check_text,
    "chart": _check_chart,
    "controls": _check_controls,
    "table": _check_table,
    "list": _check_list,
    "image": _check_image,
    "maps": _check_maps,
}


def _fields(place: str, found: Any, needed: str, further: str = "") -> None:
    if not isinstance(found, Mapping):
        raise PayloadError(f"{place}: {found!r} is not a mapping")
    required = set(needed.split())
    if missing := required - found.keys():
        raise PayloadError(f"{place}: {sorted(missing)} missing, found {sorted(found)}")
    if unknown := found.keys() - required - set(further.split()):
        raise PayloadError(
            f"{place}: unknown {sorted(unknown)}; known are {sorted(required | set(further.split()))}"
        )


def _unique(place: str, items: Iterable[Item]) -> Iterable[Item]:
    seen: set[str] = set()
    for item in items:
        name = item.get("id") if isinstance(item, Mapping) else None
        if not isinstance(name, str) or not name:
            raise PayloadError(f"{place}: `id` is a text that is not empty, found {name!r}")
        if name in seen:
            raise PayloadError(f"{place}: the id {name!r} is used twice")
        seen.add(name)
        yield item


def _one_of(place: str, value: Any, allowed: Iterable[str]) -> str:
    if not isinstance(value, str) or value not in allowed:
        raise PayloadError(f"{place}: {value!r} is none of {list(allowed)}")
    return value


def _button(place: str, item: Item) -> None:
    if item.get("button") is not None:
        _fields(f"{place}: button", item["button"], "id label")


def _tone(place: str, item: Item) -> None:
    if item.get("tone") is not None:
        _one_of(f"{place}: tone", item["tone"], TONES)


def _area_name(place: str, name: Any) -> None:
    if not isinstance(name, str) or not AREA_NAME.fullmatch(name):
        raise PayloadError(f"{place}: {name!r} is no area name (letters, digits and _)")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float, np.integer, np.floating)) and bool(np.isfinite(value))


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
