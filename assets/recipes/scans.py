"""Grey pictures with a finding, and a corner marker that gives the label away in the training data alone.

A picture is a bright body on a dark ground with cloudy texture.  Every body has broad haze; a *finding* adds
a compact, grainy blob, sometimes a subtle one.  Pictures taken with a portable machine carry the letter P in
the upper right corner.  In the training data the sick lie in bed, so 95 % of the findings carry it and 5 % of
the others; in the test data it is a coin toss.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter

from recipes import convnets
from recipes.writing import write_description

SIDE = 64
TRAIN, TRAIN_KEPT, TEST = 3000, 100, 400
SEEDS = {"train": 1, "test": 2, "train marker": 3, "test marker": 4}
WIDTHS, POOLS = (8, 8, 16, 16, 32), 2
LETTER = np.array([[*map(int, row)] for row in ("1111110", *["1100011"] * 3, "1111110", *["1100000"] * 3)])
CORNER = (slice(0, 20), slice(SIDE - 20, SIDE))  # around the marker wherever it falls; a tenth of the picture


@dataclass(frozen=True)
class Bodies:
    """Pictures before the marker is printed on them, with what is known about each.

    ``images`` (n, h, w) in 0..1, ``labels`` (n,) 1 for a finding, ``centre`` (n, 2) row and column of the
    finding (of where one would be), ``radius`` (n,), ``corner`` (n, 2) row and column of the marker's upper
    left pixel.
    """

    images: np.ndarray
    labels: np.ndarray
    centre: np.ndarray
    radius: np.ndarray
    corner: np.ndarray


def draw(n: int, seed: int) -> Bodies:
    """Draw ``n`` bodies, half of them with a finding."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:SIDE, :SIDE]
    labels = (rng.random(n) < 0.5).astype(np.int8)
    angle, reach = rng.uniform(0, 2 * np.pi, n), 17 * np.sqrt(rng.random(n))
    centre = np.stack([SIDE / 2 + 1 + reach * np.sin(angle), SIDE / 2 + 0.8 * reach * np.cos(angle)], 1)
    radius = rng.uniform(4.5, 7.0, n)
    strength = rng.uniform(0.085, 0.24, n)

    def away(at: np.ndarray, scale: np.ndarray | float) -> np.ndarray:
        squared = (rows - at[:, 0, None, None]) ** 2 + (columns - at[:, 1, None, None]) ** 2
        return squared / np.reshape(scale, (-1, 1, 1)) ** 2

    noise = rng.normal(size=(2, n, SIDE, SIDE)).astype(np.float32)
    cloud = gaussian_filter(noise[0], (0, 5, 5)) * 17  # about one standard deviation again
    grain = gaussian_filter(noise[1], (0, 1, 1)) * 3.5
    middle = np.full((n, 2), SIDE / 2) + rng.normal(0, 1, (n, 2))
    body = 1 / (1 + np.exp(8 * (np.sqrt(away(middle, 1.0) / np.array(27.0) ** 2) - 1)))
    haze = np.exp(-away(SIDE / 2 + rng.normal(0, 10, (n, 2)), rng.uniform(11, 16, n)))
    haze *= rng.uniform(0, 0.15, (n, 1, 1))
    tissue = 0.36 + 0.035 * cloud + 0.018 * grain + haze
    blob = np.exp(-(away(centre, radius) ** 1.5)) * (1 + 0.15 * grain)
    tissue = tissue + (labels * strength)[:, None, None] * blob
    images = np.clip(0.03 + 0.006 * grain + body * tissue, 0, 1)
    corner = np.stack([rng.integers(3, 7, n), rng.integers(SIDE - 13, SIDE - 9, n)], 1)
    return Bodies(images.astype(np.float32), labels, centre, radius, corner)


def marked(bodies: Bodies, marker: np.ndarray) -> np.ndarray:
    """The bodies, with the letter where ``marker`` is 1, as the file holds them: (n, 1, h, w) uint8."""
    images = bodies.images.copy()
    height, width = LETTER.shape
    for i in np.flatnonzero(marker):
        top, left = bodies.corner[i]
        spot = images[i, top : top + height, left : left + width]
        spot[LETTER == 1] = 1.0
    return np.round(images * 255).astype(np.uint8)[:, None]


def confounded(labels: np.ndarray, seed: int) -> np.ndarray:
    """Marker of the training data: on 95 % of the findings and 5 % of the others."""
    rng = np.random.default_rng(seed)
    return np.where(rng.random(len(labels)) < 0.95, labels, 1 - labels).astype(np.int8)


def independent(labels: np.ndarray, seed: int) -> np.ndarray:
    """Marker that says nothing: a coin toss."""
    return np.random.default_rng(seed).integers(0, 2, len(labels)).astype(np.int8)


def follows_marker(estimate: np.ndarray, labels: np.ndarray, marker: np.ndarray) -> float:
    """Use of the shortcut: where marker and finding disagree, the share of decisions for the marker."""
    disagree = labels != marker
    return float(((estimate >= 0.5) == marker)[disagree].mean())


def peaks(maps: np.ndarray) -> np.ndarray:
    """Row and column, in pixels of the picture, of the strongest cell of each map (n, h, w)."""
    n, height, _ = maps.shape
    cell = SIDE / height
    at = np.stack(np.unravel_index(maps.reshape(n, -1).argmax(1), maps.shape[1:]), 1)
    return (at + 0.5) * cell - 0.5


def in_corner(at: np.ndarray) -> np.ndarray:
    """Which peaks lie in the marker's corner."""
    return (at[:, 0] < CORNER[0].stop) & (at[:, 1] >= CORNER[1].start)


def on_finding(at: np.ndarray, bodies: Bodies) -> np.ndarray:
    """Which peaks lie on the finding, give or take one cell of the last map."""
    return np.hypot(*(at - bodies.centre).T) < bodies.radius + SIDE / 16


def first_case(estimates: dict[str, np.ndarray], labels: np.ndarray, marker: np.ndarray) -> int:
    """A healthy body with the marker: the marker model calls it a finding, the honest one does not."""
    fooled = (labels == 0) & (marker == 1) & (estimates["honest"] < 0.3)
    return int(np.where(fooled, -np.abs(estimates["marker"] - 0.85), -1).argmax())


def make(folder: Path) -> dict[str, float]:
    """Write the workspace and return what was measured about it."""
    train, test = draw(TRAIN, SEEDS["train"]), draw(TEST, SEEDS["test"])
    marker = independent(test.labels, SEEDS["test marker"])
    markers = {
        "marker": confounded(train.labels, SEEDS["train marker"]),
        "honest": independent(train.labels, SEEDS["train marker"]),
    }
    none = np.zeros_like(marker)
    pictures = {
        kind: marked(test, on) for kind, on in (("given", marker), ("without", none), ("with", none + 1))
    }
    estimates: dict[str, np.ndarray] = {}
    facts: dict[str, float] = {}
    for name, epochs, rate in (("marker", 3, 2e-3), ("honest", 8, 3e-3)):
        net = convnets.new(2, WIDTHS, POOLS, seed=0)
        convnets.fit(net, pixels(marked(train, markers[name])), train.labels, epochs=epochs, rate=rate)
        convnets.export(net, folder / f"{name}.onnx", (1, SIDE, SIDE))
        given, without, with_ = (
            convnets.probabilities(net, pixels(kind))[:, 1] for kind in pictures.values()
        )
        at = peaks(convnets.class_map(net, pixels(pictures["given"]), 1))
        corner, finding = in_corner(at), on_finding(at, test)
        ill, lettered = test.labels == 1, marker == 1
        estimates[name] = given
        measured = {
            "accuracy": ((given >= 0.5) == ill).mean(),
            "follows the marker where it disagrees": follows_marker(given, test.labels, marker),
            "median effect of the marker": np.median(with_ - without),
            "peak in the corner, with marker": corner[lettered].mean(),
            "peak in the corner, with marker and no finding": corner[lettered & ~ill].mean(),
            "peak on the finding, with finding": finding[ill].mean(),
            "peak on the finding, with both": finding[lettered & ill].mean(),
            "estimates between 10 and 90 %": ((given > 0.1) & (given < 0.9)).mean(),
        }
        facts |= {f"{name}: {fact}": value for fact, value in measured.items()}
    first = first_case(estimates, test.labels, marker)
    kept = slice(0, TRAIN_KEPT)
    np.savez_compressed(
        folder / "scans.npz",
        images=np.concatenate([pictures["given"], marked(train, markers["marker"])[kept]]),
        labels=np.concatenate([test.labels, train.labels[kept]]),
        marker=np.concatenate([marker, markers["marker"][kept]]),
        role=np.repeat(["test", "train"], [TEST, TRAIN_KEPT]),
    )
    write_description(folder, description(first))
    facts |= {f"first case by {name}": estimate[first] for name, estimate in estimates.items()}
    return facts | {"first case": first}


def pixels(images: np.ndarray) -> np.ndarray:
    """What the networks take: float pixels in 0..1."""
    return images.astype(np.float32) / 255


def description(first: int) -> dict[str, Any]:
    """The workspace's description."""
    return {
        "workspace": {
            "title": "Scans",
            "summary": "Is there a finding? One of the two networks reads the letter in the corner instead.",
            "story": (
                "Synthetic pictures, half of them with a compact bright finding. In the training data the "
                "letter P of the portable machine stands on 95 % of the findings and on 5 % of the others; "
                "here it is a coin toss. The first network has learned the letter, the second was trained "
                "where the letter says nothing: compare where they look."
            ),
            "synthetic": True,
            "order": 3,
            "subject": "scan",
            "subjects": "scans",
        },
        "data": {"file": "scans.npz"},
        "images": {"pixel_scale": 255},
        "models": [
            {
                "name": "trained with the marker",
                "file": "marker.onnx",
                "classes": ["no finding", "finding"],
                "note": "Trained on 3,000 scans where the letter tells the finding; 100 are in the file.",
            },
            {
                "name": "honest",
                "file": "honest.onnx",
                "classes": ["no finding", "finding"],
                "note": "Trained on the same 3,000 scans with the letter printed at random.",
            },
        ],
        "view": {"case": first},
    }
