"""LIME's local model of a table: a weighted ridge regression on "same bin as the case", for many cases at once.

With z = 1 where a neighbour's feature is in the case's bin, a neighbour weighs w = sqrt(exp(-q / width^2)), q the number of
features that are not. The case itself is one of the neighbours, with weight 1. Coefficients solve (G + alpha I) b = h, with
G = sum w z~z~' and h = sum w z~y over N neighbours, z~ = z less its weighted mean.

Features are drawn independently and w is a product over features, so under the weighted law they still are: z_j is 1 with
p'_j = p_j / (p_j + c (1 - p_j)), c = exp(-1 / (2 width^2)), and the mean weight is W = prod (p_j + c (1 - p_j)). Hence

    G = N W diag(p' (1 - p')) + u u',  u = sqrt(N W / T) (1 - p'),  T = N W + 1    (u: the case itself)

needs no sample. Only the model does: h holds its weighted covariance with z, of which the part of a rough copy is known too
(`explainers.sampling.local.rough_copy`). What remains is a mean over the neighbours, with the standard error of a mean
of independent draws: an upper estimate, since neighbours are spread more evenly than chance would. It is close with many features.
"""

from __future__ import annotations

import dataclasses
from functools import cached_property

import numpy as np
from jaxtyping import Float, Int

from explainers.sampling.local.rough_copy import RoughCopy, rough_copy
from explainers.sampling.local.training_law import TrainingLaw

ALPHA = 1.0

#: Numbers in a block of indicators or weights: what stays in the processor's cache.
BLOCK = 2**19


@dataclasses.dataclass(frozen=True, eq=False)
class Neighbours:
    """One sample for all cases: the slots of `n` neighbours, and what the model answers.

    Attributes:
        law: where the neighbours are drawn from.
        slots: of each neighbour.
        answers: of the model.
        copy: a rough copy of the model.
    """

    law: TrainingLaw
    slots: Int[np.ndarray, "n d"]
    answers: Float[np.ndarray, "n k"]
    copy: RoughCopy

    @classmethod
    def of(
        cls,
        law: TrainingLaw,
        slots: Int[np.ndarray, "n d"],
        codes: Float[np.ndarray, "n d"],
        answers: Float[np.ndarray, "n k"],
    ) -> Neighbours:
        """The sample with its rough copy."""
        return cls(law, slots.astype(np.int32), answers, rough_copy(law, slots, codes, answers))


@dataclasses.dataclass(frozen=True, eq=False)
class LocalRidge:
    """Fits of `r` cases and `k` outputs."""

    coefficients: Float[np.ndarray, "r d k"]
    intercept: Float[np.ndarray, "r k"]
    r2: Float[np.ndarray, "r k"]
    standard_error: Float[np.ndarray, "r d k"]


@dataclasses.dataclass(frozen=True, eq=False)
class _Place:
    """Where `r` cases lie in the law, and what follows from that alone.

    Attributes:
        slots: of the cases.
        c: the factor of the weight for each feature that is not in the case's bin.
        frequency: p.
    """

    law: TrainingLaw
    slots: Int[np.ndarray, "r d"]
    c: float
    frequency: Float[np.ndarray, "r d"]

    @cached_property
    def share(self) -> Float[np.ndarray, "r d"]:
        """p + c (1 - p): each feature's part of the mean weight."""
        return self.frequency + self.c * (1 - self.frequency)

    @cached_property
    def near(self) -> Float[np.ndarray, "r d"]:
        """p'."""
        return np.asarray(self.frequency / self.share)

    @cached_property
    def weight(self) -> Float[np.ndarray, " r"]:
        """W."""
        return np.asarray(self.share.prod(axis=1))

    def mean(self, by_slot: Float[np.ndarray, " slots"]) -> tuple[np.ndarray, np.ndarray]:
        """A function of slots, ``(r, d)`` both: its weighted mean, and how much it lies above that in the case's bin."""
        every = np.add.reduceat(self.law.frequency * by_slot, self.law.starts)
        at = by_slot[self.slots]
        mean = (self.c * every + (1 - self.c) * self.frequency * at) / self.share
        return mean, at - mean


def fit(
    neighbours: Neighbours,
    case_slots: Int[np.ndarray, "r d"],
    case_answers: Float[np.ndarray, "r k"],
    outputs: Int[np.ndarray, "r k"],
    width: float,
) -> LocalRidge:
    """Fit around each of `r` cases, the outputs that are wanted of each."""
    law, c = neighbours.law, float(np.exp(-1 / (2 * width**2)))
    place = _Place(law, case_slots, c, law.frequency[case_slots])
    r, d = case_slots.shape
    k = outputs.shape[1]
    found = LocalRidge(np.empty((r, d, k)), np.empty((r, k)), np.empty((r, k)), np.empty((r, d, k)))
    sums = _sums(neighbours, place, outputs)
    for column in range(k):
        output = outputs[:, column]
        centre, along = _known(neighbours.copy, place, output)
        solved = _solve(place, len(neighbours.slots), centre, along, case_answers[:, column], sums[column])
        into_all = (found.coefficients, found.intercept, found.r2, found.standard_error)
        for into, part in zip(into_all, solved, strict=True):
            into[..., column] = part
    return found


def _known(
    copy: RoughCopy, place: _Place, outputs: Int[np.ndarray, " r"]
) -> tuple[Float[np.ndarray, " r"], Float[np.ndarray, "r d"]]:
    """The copy's weighted mean around each case, and its weighted covariance with z."""
    centre, along = np.empty(len(outputs)), np.empty(place.slots.shape)
    values, above = place.mean(copy.means)
    for output in np.unique(outputs):
        which = outputs == output
        mean, lift = (part[which] for part in place.mean(copy.by_slot[:, output]))
        by_others = values[which] @ copy.pairs[output]
        centre[which] = copy.constant[output] + mean.sum(axis=1) + (values[which] * by_others).sum(axis=1) / 2
        along[which] = place.near[which] * (lift + above[which] * by_others)
    return centre, along


@dataclasses.dataclass(frozen=True, eq=False)
class _Sums:
    """Means over the neighbours, in units of the mean weight: of what the copy misses, its square, and the answers' square.

    `missed_near` and `square_near` are over the neighbours with z = 1.
    """

    missed: Float[np.ndarray, " r"]
    missed_near: Float[np.ndarray, "r d"]
    square: Float[np.ndarray, " r"]
    square_near: Float[np.ndarray, "r d"]
    variance: Float[np.ndarray, " r"]


def _sums(neighbours: Neighbours, place: _Place, outputs: Int[np.ndarray, "r k"]) -> list[_Sums]:
    """One for each wanted output; neighbours are taken in blocks, so that memory stays small."""
    n, (r, d) = len(neighbours.slots), place.slots.shape
    slots, missed = len(neighbours.law.frequency), neighbours.copy.missed
    middle = neighbours.answers.mean(axis=0)
    same = np.zeros((slots, r))
    same[place.slots, np.arange(r)[:, None]] = 1.0
    k = outputs.shape[1]
    near, square_near = np.zeros((k, r, slots)), np.zeros((k, r, slots))
    plain, moments = np.zeros((k, 2, r)), np.zeros((k, 3, r))
    step = max(64, BLOCK // max(slots, r))
    for start in range(0, n, step):
        part = slice(start, min(start + step, n))
        inside = np.zeros((part.stop - start, slots))
        inside[np.arange(len(inside))[:, None], neighbours.slots[part]] = 1.0
        weights = np.exp((d - inside @ same) * np.log(place.c))
        for column in range(k):
            weighted = weights * missed[part][:, outputs[:, column]]
            near[column] += weighted.T @ inside
            plain[column, 0] += weighted.sum(axis=0)
            np.square(weighted, out=weighted)
            square_near[column] += weighted.T @ inside
            plain[column, 1] += weighted.sum(axis=0)
            answers = neighbours.answers[part] - middle
            for power in range(3):
                moments[column, power] += _each(weights, answers**power, outputs[:, column])
    total, rows = n * place.weight, np.arange(r)[:, None]
    found = []
    for column in range(k):
        mass, first, second = moments[column]
        found.append(
            _Sums(
                plain[column, 0] / total,
                near[column][rows, place.slots] / total[:, None],
                plain[column, 1] / total**2,
                square_near[column][rows, place.slots] / total[:, None] ** 2,
                np.maximum(second / mass - (first / mass) ** 2, 0),
            )
        )
    return found


def _each(
    weights: Float[np.ndarray, "b r"], answers: Float[np.ndarray, "b k"], outputs: Int[np.ndarray, " r"]
) -> Float[np.ndarray, " r"]:
    """The weighted sum of each case's own output."""
    return np.asarray((answers.T @ weights)[outputs, np.arange(len(outputs))])


def _solve(
    place: _Place,
    n: int,
    centre: Float[np.ndarray, " r"],
    along: Float[np.ndarray, "r d"],
    own: Float[np.ndarray, " r"],
    sums: _Sums,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Coefficients, intercept, R² and standard error of one output for each case."""
    near, mass = place.near, n * place.weight
    total = mass + 1
    centre = centre + sums.missed
    along = along + sums.missed_near - near * sums.missed[:, None]
    step = (mass / total * (own - centre))[:, None]
    right = mass[:, None] * along + step * (1 - near)
    diagonal = mass[:, None] * near * (1 - near) + ALPHA
    u = np.sqrt(mass / total)[:, None] * (1 - near)
    kept = 1 / (1 + (u**2 / diagonal).sum(axis=1, keepdims=True))
    plain = right / diagonal
    coefficients = plain - u / diagonal * (u * plain).sum(axis=1, keepdims=True) * kept
    z_mean = (mass[:, None] * near + 1) / total[:, None]
    intercept = (mass * centre + own) / total - (z_mean * coefficients).sum(axis=1)
    around = mass * sums.variance + mass / total * (own - centre) ** 2
    gained = (coefficients * (right + ALPHA * coefficients)).sum(axis=1)  # 2 b'h - b'Gb
    r2 = np.minimum(np.divide(gained, around, out=np.ones_like(around), where=around > 0), 1.0)
    noise = sums.square_near * (1 - 2 * near) + near**2 * sums.square[:, None]
    lever = (1 - u**2 / diagonal * kept) / diagonal
    error = mass[:, None] * lever * np.sqrt(np.maximum(noise, 0) * (n / max(1, n - 1)))
    return coefficients, intercept, r2, error
