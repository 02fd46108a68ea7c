"""Which row each row's value comes from when a unit of features is permuted: any row, or one whose other features look alike."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from explainers.progress import Progress, silent
from explainers.sampling.columns.conditional_donors import permutations_within, strata_of_units
from explainers.schema import Schema


@dataclasses.dataclass(frozen=True, eq=False)
class Donors:
    """Permutations of the rows, for each unit and repeat.

    Attributes:
        permutations: row `i` takes the values of row ``permutations[unit, repeat, i]``.
        strata: for each unit the stratum of each row that the permutations keep; ``None`` where all rows are one.
    """

    permutations: Int[np.ndarray, "u r n"]
    strata: tuple[Int[np.ndarray, " n"] | None, ...]

    @classmethod
    def among_all(cls, n: int, units: int, repeats: int, seed: int) -> Donors:
        """The same permutations of all `n` rows for every unit."""
        random = np.random.default_rng(seed)
        drawn = np.stack([random.permutation(n) for _ in range(repeats)])
        return cls(np.broadcast_to(drawn, (units, repeats, n)), (None,) * units)

    @classmethod
    def among_alike(
        cls,
        matrix: Float[np.ndarray, "n d"],
        schema: Schema,
        units: Sequence[Sequence[int]],
        repeats: int,
        seed: int,
        progress: Progress = silent,
    ) -> Donors:
        """Within strata in which the columns of a unit hardly depend on the others; see `conditional_donors`."""
        strata = []
        for labels in strata_of_units(matrix, schema, units, seed):
            strata.append(labels)
            progress(0, 1)  # each takes a while
        drawn = permutations_within(strata, repeats, seed, progress)
        return cls(drawn, tuple(labels if (labels != labels[0]).any() else None for labels in strata))

    @property
    def shared(self) -> bool:
        """Whether all units have the same permutations."""
        return self.permutations.strides[0] == 0

    @property
    def counts(self) -> tuple[int, ...]:
        """How many strata each unit has."""
        return tuple(1 if labels is None else len(np.unique(labels)) for labels in self.strata)

    def taken(self, order: Int[np.ndarray, " n"]) -> Donors:
        """The same exchange with the rows in this order."""
        place = inverse(order)
        drawn = place[(self.permutations[:1] if self.shared else self.permutations)[:, :, order]]
        strata = tuple(None if labels is None else labels[order] for labels in self.strata)
        return Donors(np.broadcast_to(drawn, self.permutations.shape), strata)

    def receiver(self, unit: int, repeat: int) -> Int[np.ndarray, " n"]:
        """The row that each row gives its values to."""
        return inverse(self.permutations[unit, repeat])

    def beyond(
        self, unit: int, influence: Float[np.ndarray, " n"], mean: float = 0.0
    ) -> Float[np.ndarray, " n"]:
        """The influence of rows with mean `mean` beyond the mean of their stratum.

        That is what a giver adds: the value of any other row of the stratum would have had that mean.
        """
        labels = self.strata[unit]
        if labels is None:
            return np.asarray(influence - mean)
        rows = np.maximum(np.bincount(labels), 1)
        return np.asarray(influence - (np.bincount(labels, weights=influence) / rows)[labels])


def inverse(order: Int[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
    """Where each position stands in the order."""
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order))
    return place
