"""A pipeline in two stages: columns prepared one by one, then a last step.

Where each prepared column depends on one feature alone, a mixture of two rows can be prepared by mixing the two
prepared rows. So a method that asks about thousands of mixtures of a hundred rows prepares the hundred, and asks
only the last step about the mixtures; the answers are the same.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int


@dataclasses.dataclass(frozen=True, eq=False)
class Mixture:
    """Prepared columns of cases where they are present, else of every reference case: ``t x b`` rows.

    Attributes:
        cases, background: prepared rows.
        which: the case of each mixture.
        present: where a mixture has the case's own columns.
    """

    cases: Float[np.ndarray, "m p"]
    background: Float[np.ndarray, "b p"]
    which: Int[np.ndarray, " t"]
    present: Bool[np.ndarray, "t p"]

    def __len__(self) -> int:
        return len(self.which) * len(self.background)

    def rows(self) -> Float[np.ndarray, "n p"]:
        """All rows, the reference cases of the first mixture first."""
        mixed = np.where(self.present[:, None], self.cases[self.which][:, None, :], self.background)
        return mixed.reshape(-1, mixed.shape[2])


@dataclasses.dataclass(frozen=True, eq=False)
class Staged:
    """The two stages of a model.

    Attributes:
        prepare: from rows of a data set to prepared columns ``(n, p)``.
        origins: for each prepared column the position among the model's features that it comes from, ``(p,)``; ``None``: each
            feature is one column.
        finish: by space, from prepared columns to outputs ``(n,)`` or ``(n, k)``.
        of_mixtures: the same of mixtures, where the model answers them sooner than row by row.
    """

    prepare: Callable[[pd.DataFrame], Float[np.ndarray, "n p"]]
    origins: Int[np.ndarray, " p"] | None
    finish: dict[str, Callable[[Float[np.ndarray, "n p"]], Any]]
    of_mixtures: dict[str, Callable[[Mixture], Any]] = dataclasses.field(default_factory=dict)
