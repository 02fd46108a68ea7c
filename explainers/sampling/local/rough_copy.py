"""A rough copy of the model over a training law, of which the means are known: what is left to be sampled is what it misses.

    m(x) = a + sum_s g_s [x in slot s] + sum_j l_j v_j(x) + sum_j<k q_jk v_j(x) v_k(x)

with v the features' values, standardised (of a category: whether it is the most frequent one). Features are drawn independently, so
means of m, and of m where a feature is in a given bin, follow from those of single features: a control variate. The copy is a ridge
regression on the sample, each neighbour predicted from all others. How much m has (nothing, lines, bins, pairs) is what predicts best.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Float, Float32, Int

from explainers.sampling.local.training_law import FeatureLaw, TrainingLaw

#: Columns a copy may have: beyond that it would take longer than it saves.
MOST_COLUMNS = 600

#: Neighbours that the copy is fitted to; it says what it misses of the others as well.
MOST_FITTED = 2**14

#: Neighbours that a copy with pairs, bins or lines needs for each of its columns.
NEIGHBOURS = 4

#: The ridge, for each column: as if the columns had some four fifths of the variance to share.
PENALTY = 0.25


@dataclasses.dataclass(frozen=True, eq=False)
class RoughCopy:
    """Copies of `k` outputs, and what they miss.

    Attributes:
        constant: of each output.
        by_slot: `g` and, at the slot's mean value, `l`.
        means: mean of `v` in each slot.
        pairs: `q`, symmetric, with a diagonal of 0.
        missed: answers minus copy, for each neighbour by the copy that has not seen it.
        explained: of each output's variance, the part that the copy predicts.
    """

    constant: Float[np.ndarray, " k"]
    by_slot: Float[np.ndarray, "slots k"]
    means: Float[np.ndarray, " slots"]
    pairs: Float[np.ndarray, "k d d"]
    missed: Float[np.ndarray, "n k"]
    explained: Float[np.ndarray, " k"]


@dataclasses.dataclass(frozen=True, eq=False)
class _Scale:
    """`v` of one feature: of a number by its middle and spread, of a category whether it is `common`; a missing number has 0.

    Attributes:
        means: the mean of `v` in each of the feature's slots.
    """

    middle: float
    spread: float
    common: int | None
    means: Float[np.ndarray, " q"]

    @classmethod
    def of(cls, law: FeatureLaw) -> _Scale:
        share = law.frequency[:-1]
        if law.feature.categorical:
            common = int(share.argmax()) if len(share) else 0
            inside = (np.arange(len(law.frequency)) == common).astype(np.float64)
            middle = float(law.frequency[common])
            variance = middle * (1 - middle)
        else:
            common, inside = None, law.means
            known = share / max(float(share.sum()), 1e-12)
            middle = float(known @ inside[:-1])
            variance = float(known @ (law.deviation**2 + (law.mean - middle) ** 2))
            inside = np.append(inside[:-1], middle)
        spread = float(np.sqrt(variance)) or 1.0
        return cls(middle, spread, common, (inside - middle) / spread)

    def values(self, codes: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        plain = codes if self.common is None else (codes == self.common).astype(np.float64)
        return np.asarray(np.nan_to_num((plain - self.middle) / self.spread, nan=0.0))


def rough_copy(
    law: TrainingLaw,
    slots: Int[np.ndarray, "n d"],
    codes: Float[np.ndarray, "n d"],
    answers: Float[np.ndarray, "n k"],
) -> RoughCopy:
    """The copy that predicts best, from neighbours and the model's answers for them."""
    d, k, used = codes.shape[1], answers.shape[1], np.flatnonzero(law.frequency > 0)
    scales = [_Scale.of(feature) for feature in law.features]
    slot_means = np.concatenate([scale.means for scale in scales])
    owner = np.repeat(np.arange(d), [len(feature.frequency) for feature in law.features])
    middle = answers.mean(axis=0)
    values = np.array([scale.values(codes[:, j]) for j, scale in enumerate(scales)], dtype=np.float32)
    head = min(len(codes), MOST_FITTED)
    most = min(MOST_COLUMNS, head // NEIGHBOURS)
    sizes = [p for p in (d, d + len(used), d + len(used) + d * (d - 1) // 2) if p <= most]
    columns = _columns(values[:, :head], slots[:head], used, max(sizes, default=0))
    centres = columns.mean(axis=1, dtype=np.float64)
    columns -= centres[:, None].astype(np.float32)
    weights, missed = _regression(columns, sizes, answers[:head] - middle)
    others = [missed]
    for start in range(head, len(codes), MOST_FITTED):
        part = slice(start, start + MOST_FITTED)
        seen = _columns(values[:, part], slots[part], used, len(weights)) - centres[: len(weights), None]
        others.append(answers[part] - middle - seen.T @ weights)
    missed = np.concatenate(others)
    lines, bins, products = np.split(weights, [d, d + len(used)])
    by_slot, pairs = np.zeros((len(owner), k)), np.zeros((k, d, d))
    if len(lines):
        by_slot += slot_means[:, None] * lines[owner]
    if len(bins):
        by_slot[used] += bins
    if len(products):
        first, second = np.triu_indices(d, 1)
        pairs[:, first, second] = pairs[:, second, first] = products.T
    around = ((answers - middle) ** 2).sum(axis=0)
    share = np.divide((missed**2).sum(axis=0), around, out=np.ones(k), where=around > 0)
    return RoughCopy(
        middle - centres[: len(weights)] @ weights, by_slot, slot_means, pairs, missed, 1 - share
    )


def _columns(
    values: Float32[np.ndarray, "d n"],
    slots: Int[np.ndarray, "n d"],
    used: Int[np.ndarray, " u"],
    count: int,
) -> Float32[np.ndarray, "p n"]:
    """The first `count` columns, one after the other: none, lines, bins too, or pairs too."""
    d, n = values.shape
    columns = np.empty((count, n), dtype=np.float32)
    bins = d + len(used)
    if count:
        columns[:d] = values
    if count >= bins:
        place = np.zeros(int(used.max()) + 1, dtype=np.int64)
        place[used] = d + np.arange(len(used))
        columns[d:bins] = 0.0
        columns[place[slots], np.arange(n)[:, None]] = 1.0
    if count > bins:
        start = bins
        for j in range(d - 1):
            np.multiply(values[j], values[j + 1 :], out=columns[start : start + d - 1 - j])
            start += d - 1 - j
    return columns


def _regression(
    columns: Float32[np.ndarray, "p n"], sizes: list[int], answers: Float[np.ndarray, "n k"]
) -> tuple[Float[np.ndarray, "q k"], Float[np.ndarray, "n k"]]:
    """The ridge regression on the first columns, as many as generalised cross-validation finds best, or none.

    Returns the mean of the regressions that leave one neighbour out, and what each misses of that neighbour, in closed form.
    Single precision will do: what a copy misses is sampled, whatever the copy is.
    """
    n, k = answers.shape
    around = (answers**2).sum(axis=0)
    scale = np.sqrt(np.where(around > 0, around, 1.0) / n)
    wanted = (answers / scale).astype(np.float32)
    inner, cross = columns @ columns.T, columns @ wanted
    best, least = None, 1.0
    for p in sizes:
        inverse = np.linalg.inv(inner[:p, :p] + np.float32(PENALTY * p) * np.eye(p, dtype=np.float32))
        weights = inverse @ cross[:p]
        left = wanted - columns[:p].T @ weights
        error = float((left**2).mean()) / (1 - float((inverse * inner[:p, :p]).sum()) / n) ** 2
        if error < least:
            best, least = (p, inverse, weights, left), error
    if best is None:
        return np.empty((0, k)), answers
    p, inverse, weights, left = best
    lever = np.einsum("pn,pn->n", inverse @ columns[:p], columns[:p])
    missed = left / (1 - np.minimum(lever, np.float32(0.999)))[:, None]
    mean = weights - inverse @ (columns[:p] @ missed) / np.float32(n)
    return mean.astype(np.float64) * scale, missed.astype(np.float64) * scale
