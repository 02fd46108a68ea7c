"""How LIME draws neighbours of a table's cases: feature by feature from the training rows, as the package ``lime`` does.

A number is cut at its quartiles; a neighbour's bin is drawn by its frequency, its value from a normal distribution
with the bin's mean and standard deviation, cut off at the bin's ends. A category is drawn by its frequency. Unlike in
the package, missing values are a bin of their own, and a bin that holds one value gives that value.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Float, Int

from explainers.lazily import lazily
from explainers.schema import Feature, Schema

special = lazily("scipy.special")

MISSING = -1


@dataclasses.dataclass(frozen=True, eq=False)
class FeatureLaw:
    """One feature: bins, how often they occur, and the values within.

    Attributes:
        edges: upper ends of all bins but the last; empty for categories.
        frequency: of each bin or category, then of missing values; sums to one.
        low, high, mean, deviation: of the values in each bin; empty for categories.
    """

    feature: Feature
    edges: Float[np.ndarray, " e"]
    frequency: Float[np.ndarray, " q"]
    low: Float[np.ndarray, " n"]
    high: Float[np.ndarray, " n"]
    mean: Float[np.ndarray, " n"]
    deviation: Float[np.ndarray, " n"]

    @classmethod
    def of(cls, feature: Feature, column: Float[np.ndarray, " rows"]) -> FeatureLaw:
        """The law of a training column of codes."""
        known = column[~np.isnan(column)]
        none = np.empty(0)
        if feature.categorical:
            counts = np.bincount(known.astype(np.int64), minlength=len(feature.categories))
            return cls(feature, none, _shares(counts, len(column) - len(known)), none, none, none, none)
        edges = np.unique(np.percentile(known, [25, 50, 75])) if len(known) else none
        bins = np.searchsorted(edges, known)
        counts = np.bincount(bins, minlength=len(edges) + 1)
        held = np.maximum(counts, 1)
        mean = np.bincount(bins, known, minlength=len(counts)) / held
        deviation = np.sqrt(np.bincount(bins, (known - mean[bins]) ** 2, minlength=len(counts)) / held)
        ends = np.array([known.min(), *edges, known.max()]) if len(known) else np.zeros(2)
        return cls(
            feature, edges, _shares(counts, len(column) - len(known)), ends[:-1], ends[1:], mean, deviation
        )

    def bins(self, codes: Float[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
        """The bin or category of each value, `MISSING` where there is none."""
        found = (
            np.nan_to_num(codes, nan=0) if self.feature.categorical else np.searchsorted(self.edges, codes)
        )
        return np.where(np.isnan(codes), MISSING, found).astype(np.int64)

    def draw(self, count: int, rng: np.random.Generator) -> Float[np.ndarray, " count"]:
        """Codes of neighbours."""
        bins = rng.choice(len(self.frequency), count, p=self.frequency)
        place = rng.random(
            count
        )  # drawn for categories too, so that kinds do not shift the other features' draws
        missing = bins == len(self.frequency) - 1
        if self.feature.categorical:
            return np.where(missing, np.nan, bins)
        bins = np.where(missing, 0, bins)
        low, high, mean = self.low[bins], self.high[bins], self.mean[bins]
        deviation = np.maximum(self.deviation[bins], np.finfo(np.float64).tiny)
        with np.errstate(
            over="ignore"
        ):  # a bin of one value: its ends are infinitely many deviations away, or none
            below, above = special.ndtr((low - mean) / deviation), special.ndtr((high - mean) / deviation)
        values = mean + self.deviation[bins] * special.ndtri(
            np.clip(below + place * (above - below), 1e-300, 1 - 1e-16)
        )
        return np.where(missing, np.nan, np.clip(values, low, high))

    def condition(self, bin_: int) -> str:
        """A bin in words: ``63 years < age <= 71 years``."""
        title, show = self.feature.title, self.feature.show
        if bin_ == MISSING:
            return f"{title} is missing"
        if self.feature.categorical:
            return f"{title} = {show(float(bin_))}"
        if len(self.edges) == 0:
            return f"{title}: any value"
        # a whole number is at most 62.5 exactly when it is at most 62
        edges = np.floor(self.edges) if self.feature.kind == "integer" else self.edges
        if bin_ == 0:
            return f"{title} <= {show(float(edges[0]))}"
        if bin_ == len(edges):
            return f"{title} > {show(float(edges[-1]))}"
        return f"{show(float(edges[bin_ - 1]))} < {title} <= {show(float(edges[bin_]))}"


@dataclasses.dataclass(frozen=True, eq=False)
class TrainingLaw:
    """All features, drawn independently."""

    features: tuple[FeatureLaw, ...]

    @classmethod
    def of(cls, schema: Schema, codes: Float[np.ndarray, "rows d"]) -> TrainingLaw:
        """The law of training rows."""
        return cls(tuple(FeatureLaw.of(feature, codes[:, j]) for j, feature in enumerate(schema.features)))

    def bins(self, codes: Float[np.ndarray, "n d"]) -> Int[np.ndarray, "n d"]:
        """Bins of cases or neighbours."""
        return np.column_stack([law.bins(codes[:, j]) for j, law in enumerate(self.features)])

    def draw(self, count: int, seed: int) -> Float[np.ndarray, "count d"]:
        """Codes of neighbours; the same for every case, since the law does not depend on the case."""
        rng = np.random.default_rng(seed)
        return np.column_stack([law.draw(count, rng) for law in self.features])

    def conditions(self, bins: Int[np.ndarray, "m d"]) -> list[list[str]]:
        """What must stay true of each feature of each case, in words."""
        texts = [
            {int(b): law.condition(int(b)) for b in np.unique(bins[:, j])}
            for j, law in enumerate(self.features)
        ]
        return [[text[int(b)] for text, b in zip(texts, row, strict=True)] for row in bins]


def _shares(counts: Int[np.ndarray, " q"], missing: int) -> Float[np.ndarray, " r"]:
    return np.asarray(np.append(counts, missing) / max(1, counts.sum() + missing))
