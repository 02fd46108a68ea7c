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
from jaxtyping import Float, Int


@dataclasses.dataclass(frozen=True, eq=False)
class Staged:
    """The two stages of a model.

    Attributes:
        prepare: from rows of a data set to prepared columns ``(n, p)``.
        origins: for each prepared column the position among the model's features that it comes from, ``(p,)``.
        finish: by space, from prepared columns to outputs ``(n,)`` or ``(n, k)``.
    """

    prepare: Callable[[pd.DataFrame], Float[np.ndarray, "n p"]]
    origins: Int[np.ndarray, " p"]
    finish: dict[str, Callable[[Float[np.ndarray, "n p"]], Any]]
