"""How LIME draws neighbours of a table's cases: feature by feature from the training rows, as the package ``lime`` does.

A number is cut at its quartiles; a neighbour's bin is drawn by its frequency, its value from a normal distribution
with the bin's mean and standard deviation, cut off at the bin's ends. A category is drawn by its frequency. Unlike in
the package, missing values are a bin of their own, and a bin that holds one value gives that value.
"""

from __future__ import annotations

import dataclasses
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int

from explainers.lazily import lazily
from explainers.schema import Feature, Schema

if TYPE_CHECKING:
    import torch
else:
    torch = lazily("torch")

special = lazily("scipy.special")

MISSING = -1

#: Deviations beyond which a normal distribution has nothing.
FAR = 40.0


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

    @cached_property
    def means(self) -> Float[np.ndarray, " q"]:
        """What is drawn in each bin, on average; 0 for a category, and where values are missing."""
        if self.feature.categorical:
            return np.zeros(len(self.frequency))
        below, above, start, stop = self._ends
        share = np.where(stop > start, stop - start, 1)
        height = (np.exp(-(below**2) / 2) - np.exp(-(above**2) / 2)) / np.sqrt(2 * np.pi)
        inside = np.clip(self.mean + self.deviation * height / share, self.low, self.high)
        return np.append(inside, 0.0)

    @cached_property
    def _ends(self) -> tuple[np.ndarray, ...]:
        """Both ends of each bin in deviations from its mean, and the normal distribution's share below them."""
        spread = np.maximum(self.deviation, np.finfo(np.float64).tiny)
        with np.errstate(over="ignore"):  # a bin of one value: its ends are infinitely far away, or there
            below, above = (self.low - self.mean) / spread, (self.high - self.mean) / spread
        below, above = np.clip(below, -FAR, FAR), np.clip(above, -FAR, FAR)
        return below, above, special.ndtr(below), special.ndtr(above)

    def draw(self, uniform: Float[np.ndarray, " n"]) -> tuple[Int[np.ndarray, " n"], Float[np.ndarray, " n"]]:
        """The bins (the last: missing) and codes of neighbours, from places between 0 and 1."""
        ends = np.cumsum(self.frequency)
        # rounding may leave the last end below 1; nothing may be drawn that does not occur
        bins = np.minimum(np.searchsorted(ends, uniform, side="right"), np.flatnonzero(self.frequency)[-1])
        missing = bins == len(self.frequency) - 1
        if self.feature.categorical:
            return bins, np.where(missing, np.nan, bins)
        within = np.where(missing, 0, bins)
        place = np.clip((uniform - (ends - self.frequency)[bins]) / self.frequency[bins], 0, 1)
        _, _, start, stop = self._ends
        share = start[within] + place * (stop - start)[within]
        values = self.mean[within] + self.deviation[within] * special.ndtri(np.clip(share, 1e-300, 1 - 1e-16))
        return bins, np.where(missing, np.nan, np.clip(values, self.low[within], self.high[within]))

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
    """All features, drawn independently.

    The bins of all features are numbered through: a *slot* is a bin of a feature, and each feature's last slot is "missing".
    """

    features: tuple[FeatureLaw, ...]

    @classmethod
    def of(cls, schema: Schema, codes: Float[np.ndarray, "rows d"]) -> TrainingLaw:
        """The law of training rows."""
        return cls(tuple(FeatureLaw.of(feature, codes[:, j]) for j, feature in enumerate(schema.features)))

    @cached_property
    def starts(self) -> Int[np.ndarray, " d"]:
        """Each feature's first slot."""
        return np.cumsum([0, *(len(law.frequency) for law in self.features[:-1])])

    @cached_property
    def frequency(self) -> Float[np.ndarray, " slots"]:
        """How often each slot is drawn; a feature's sum to one."""
        return np.concatenate([law.frequency for law in self.features])

    def bins(self, codes: Float[np.ndarray, "n d"]) -> Int[np.ndarray, "n d"]:
        """Bins of cases."""
        return np.column_stack([law.bins(codes[:, j]) for j, law in enumerate(self.features)])

    def slots(self, bins: Int[np.ndarray, "n d"]) -> Int[np.ndarray, "n d"]:
        """The slots of bins."""
        missing = self.starts + [len(law.frequency) - 1 for law in self.features]
        return np.asarray(np.where(bins == MISSING, missing, bins + self.starts))

    def draw(self, count: int, seed: int) -> tuple[Int[np.ndarray, "count d"], Float[np.ndarray, "count d"]]:
        """Slots and codes of neighbours; the same for every case, since the law does not depend on the case.

        Neighbours are a scrambled Sobol sequence: bins, and pairs of bins, come as often as they should.
        """
        d = len(self.features)
        if d <= torch.quasirandom.SobolEngine.MAXDIM:
            engine = torch.quasirandom.SobolEngine(d, scramble=True, seed=seed)  # type: ignore[no-untyped-call]  # torch's own
            uniform = engine.draw(count, dtype=torch.float64).numpy()
        else:
            uniform = np.random.default_rng(seed).random((count, d))
        slots, codes = np.empty((count, d), dtype=np.int64), np.empty((count, d))
        for j, law in enumerate(self.features):
            slots[:, j], codes[:, j] = law.draw(np.ascontiguousarray(uniform[:, j]))
        return slots + self.starts, codes

    def conditions(self, bins: Int[np.ndarray, "m d"]) -> list[list[str]]:
        """What must stay true of each feature of each case, in words."""
        texts = [
            {int(b): law.condition(int(b)) for b in np.unique(bins[:, j])}
            for j, law in enumerate(self.features)
        ]
        return [[text[int(b)] for text, b in zip(texts, row, strict=True)] for row in bins]


def _shares(counts: Int[np.ndarray, " q"], missing: int) -> Float[np.ndarray, " r"]:
    return np.asarray(np.append(counts, missing) / max(1, counts.sum() + missing))
