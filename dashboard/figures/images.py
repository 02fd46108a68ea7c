"""Pictures and what is laid over them; the browser paints, so opacity and threshold need no server."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from PIL import Image

from dashboard.figures import marks
from dashboard.figures.frame import axis, figure, left_margin, row_height, rows_axis
from dashboard.figures.numbers import Scale
from dashboard.figures.palette import ACCENT, NEUTRAL
from dashboard.figures.text import plain_text, safe_text

CLIP = 99.9  # percentile of |value| at which the colour is full


def layer_png(image: np.ndarray, upscale: int = 1) -> str:
    """A picture ``(c, h, w)`` with values in 0..1 as a PNG data URI: one channel is grey, three RGB, four RGBA.

    `upscale` repeats pixels (no smoothing). Values outside 0..1 are cut, NaN is black. Raises ``ValueError`` for
    another shape.
    """
    image = np.asarray(image)
    if image.ndim != 3 or image.shape[0] not in (1, 3, 4):
        raise ValueError(f"A picture has shape (1, h, w), (3, h, w) or (4, h, w); found {image.shape}.")
    pixels = np.clip(np.nan_to_num(image, nan=0.0, posinf=1.0, neginf=0.0), 0, 1)
    pixels = (255 * pixels + 0.5).astype(np.uint8)
    pixels = np.moveaxis(pixels, 0, 2) if len(pixels) > 1 else pixels[0]
    if upscale > 1:
        pixels = pixels.repeat(upscale, axis=0).repeat(upscale, axis=1)
    stream = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(stream, "PNG", compress_level=1)
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode("ascii")


def overlay_values(values: np.ndarray, limit: float | None = None) -> dict[str, Any]:
    """A signed map for the browser to paint: ``{"values", "shape", "limit"}``.

    Args:
        values: ``(1 | c, h, w)``; channels are summed. NaN is nothing.
        limit: where the colour is full on both sides of zero; by default the map's own `map_limit`. Give the
            same to several maps of one method, so that they share one scale.
    """
    flat = _flat(values)
    data = base64.b64encode(np.ascontiguousarray(flat, dtype="<f4").tobytes()).decode("ascii")
    return {
        "values": {"dtype": "f4", "bdata": data},
        "shape": [int(size) for size in flat.shape],
        "limit": map_limit(values) if limit is None else float(limit),
    }


def map_limit(*maps: np.ndarray) -> float:
    """The 99.9th percentile of |value| over one or more maps, channels summed; above 0 even for an empty map."""
    sizes = np.concatenate([np.abs(_flat(values)).ravel() for values in maps])
    limit = float(np.percentile(sizes, CLIP)) if len(sizes) else 0.0
    # Where hardly any pixel has a value, the percentile is 0 and would hide them all.
    return limit or float(sizes.max(initial=0.0)) or 1.0


def region_share(values: np.ndarray, region: np.ndarray) -> tuple[float, float]:
    """How much of |value| lies inside a region, and how much of the picture the region is."""
    sizes = np.abs(_flat(values))
    total = float(sizes.sum())
    return (float(sizes[region].sum()) / total if total else float("nan")), float(np.mean(region))


def class_bars(
    predictions: np.ndarray,
    classes: Sequence[Any],
    target: int | None = None,
    most: int = 8,
    space: str = "probability",
) -> go.Figure:
    """The outputs of one case, largest first, the target marked; `customdata` is the output's position."""
    scale = Scale(space)
    order = [int(place) for place in np.argsort(-predictions, kind="stable")]
    shown = order[:most]
    if target is not None and target not in shown:
        shown[-1] = target
    values = predictions[shown].astype(np.float64) * scale.factor
    labels = [
        plain_text(classes[place] if place < len(classes) else f"output {place}", 24) for place in shown
    ]
    low, high = min(0.0, float(values.min())), max(0.0, float(values.max()))
    ends = [0.0, 122.0] if space == "probability" else [1.3 * low, 1.3 * high or 1.0]
    bars = marks.Bar(
        x=values, y=np.arange(len(shown)), orientation="h", customdata=shown, cliponaxis=False,
        marker={"color": [ACCENT if place == target else NEUTRAL for place in shown], "line": {"width": 0}},
        text=[scale.level(float(predictions[place])) for place in shown], textposition="outside", textfont={"size": 12},
        hoverinfo="text", hovertext=[f"{safe_text(classes[p] if p < len(classes) else p)}: {scale.level(float(predictions[p]))}" for p in shown],
    )  # fmt: skip
    return figure(
        [bars], row_height(len(shown)) - 50, {"l": left_margin(labels), "b": 8},
        xaxis=axis(range=ends, showticklabels=False, showgrid=False), yaxis=rows_axis(labels),
    )  # fmt: skip


def _flat(values: np.ndarray) -> np.ndarray:
    values = np.asarray(values, dtype=np.float64)
    flat: np.ndarray = np.nan_to_num(
        values.sum(axis=0) if values.ndim == 3 else values, nan=0.0, posinf=0.0, neginf=0.0
    )
    return flat
