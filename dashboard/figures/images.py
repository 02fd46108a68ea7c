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

#: Steps of a painted map on either side of zero, and how many of its values on a side are sent at most.
STEPS, MOST_SIDE = 127, 512


def layer_png(image: np.ndarray, upscale: int = 1) -> str:
    """A picture ``(c, h, w)`` with values in 0..1 as a PNG data URI: one channel is grey, three RGB, four RGBA.

    `upscale` repeats pixels (no smoothing). Values outside 0..1 are cut, NaN is black. Raises ``ValueError`` for
    another shape.
    """
    return "data:image/png;base64," + base64.b64encode(png(image, upscale)).decode("ascii")


def png(image: np.ndarray, upscale: int = 1) -> bytes:
    """The same as the bytes of a PNG file."""
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
    return stream.getvalue()


def as_seen(image: np.ndarray, ends: tuple[float, float]) -> np.ndarray:
    """A picture ``(c, h, w)`` from 0 to 1 in channels that a screen has; it stays as it is where it lies there already."""
    low, high = ends
    if low < 0:
        image = (image - low) / max(high - low, 1e-9)
    elif high > 1:
        image = image / high
    return image if len(image) in (1, 3, 4) else image.mean(axis=0, keepdims=True)


def overlay_values(values: np.ndarray, limit: float | None = None) -> dict[str, Any]:
    """A signed map for the browser to paint, in bytes: ``{"values", "shape", "limit", "signed"}``.

    Of a map with more than `MOST_SIDE` values on a side, blocks are averaged: what is painted is no finer than a screen.

    Args:
        values: ``(1 | c, h, w)``; channels are summed. NaN is nothing.
        limit: where the colour is full on both sides of zero; by default the map's own `map_limit`. Give the
            same to several maps of one method, so that they share one scale.
    """
    full = map_limit(values) if limit is None else float(limit)
    steps = steps_of(averaged(flat(values), MOST_SIDE), full)
    return {
        "values": {"dtype": "i1", "bdata": base64.b64encode(steps.tobytes()).decode("ascii")},
        "shape": [int(size) for size in steps.shape],
        "limit": STEPS,
        "signed": bool((np.asarray(values) < 0).any()),
    }


def steps_of(values: np.ndarray, limit: float) -> np.ndarray:
    """Values in steps of one byte, full on both sides of zero at `limit`."""
    return np.rint(np.clip(values / limit, -1.0, 1.0) * STEPS).astype("i1")


def averaged(image: np.ndarray, most: int) -> np.ndarray:
    """A picture or map ``(…, h, w)`` with at most so many values on a side, each the mean of a square block."""
    return in_blocks(image, -(-max(image.shape[-2:]) // most))


def in_blocks(image: np.ndarray, every: int) -> np.ndarray:
    """A picture or map ``(…, h, w)``, each value the mean of a block of so many on a side; of fewer at the right and lower edge."""
    if every <= 1:
        return image
    for side in (-2, -1):
        along = np.moveaxis(image, side, 0)
        total = np.array(along[::every], dtype=np.result_type(image, np.float32))
        for place in range(1, every):
            part = along[place::every]
            total[: len(part)] += part
        sizes = np.diff([*range(0, len(along), every), len(along)]).astype(total.dtype)
        image = np.moveaxis(total / sizes[(slice(None), *[None] * (total.ndim - 1))], 0, side)
    return image


def map_limit(*maps: np.ndarray) -> float:
    """The 99.9th percentile of |value| over one or more maps, channels summed; above 0 even for an empty map."""
    parts = [flat(values).ravel() for values in maps]
    sizes = parts[0] if len(parts) == 1 else np.concatenate(parts)
    np.abs(sizes, out=sizes)
    largest = float(sizes.max(initial=0.0))
    limit = float(np.percentile(sizes, CLIP, overwrite_input=True)) if len(sizes) else 0.0
    # Where hardly any pixel has a value, the percentile is 0 and would hide them all.
    return limit or largest or 1.0


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
    ends = [0.0, 132.0] if space == "probability" else [1.3 * low, 1.3 * high or 1.0]
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


def flat(values: np.ndarray) -> np.ndarray:
    """A map ``(1 | c, h, w)`` as ``(h, w)``: channels are summed, and what is no number is nothing."""
    values = np.asarray(values)
    summed = values.sum(axis=0, dtype=np.float64) if values.ndim == 3 else values.astype(np.float64)
    return np.asarray(np.nan_to_num(summed, copy=False, nan=0.0, posinf=0.0, neginf=0.0))
