"""Curves of a score while pixels are taken away or put back, with those of random maps beside them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float

from explainers.explainer import Contrast

#: A random map beats at least k of r others with a chance of (r - k + 1) / (r + 1). Up to the first chance the score is said to
#: follow the map: at least 19 of 20 are beaten; above the second it is not: fewer than 14 of 20 are.
FOLLOWS, BY_CHANCE = 0.1, 1 / 3

#: Fewer random maps than these cannot bring the chance down to `FOLLOWS`.
FEWEST = 9


class Band(NamedTuple):
    """Of the random maps at each point ``(s,)``: the mean, and the 2.5th and 97.5th percentile."""

    mean: Float[np.ndarray, " s"]
    low: Float[np.ndarray, " s"]
    high: Float[np.ndarray, " s"]


@dataclass(frozen=True, eq=False)
class Curve:
    """The score over the share of pixels taken away (or put back).

    Attributes:
        shares: from 0 to 1, ``(s,)``.
        scores: in the order of the map, ``(s,)``.
        random: in the order of each random map, ``(r, s)``.
    """

    shares: Float[np.ndarray, " s"]
    scores: Float[np.ndarray, " s"]
    random: Float[np.ndarray, "r s"]

    @property
    def area(self) -> float:
        """Area under the scores: their mean on the way, in units of the score."""
        return float(_area(self.scores, self.shares))

    @property
    def random_areas(self) -> Float[np.ndarray, " r"]:
        """The same of each random map."""
        return _area(self.random, self.shares)

    @property
    def band(self) -> Band:
        """Where the curves of the random maps run."""
        low, high = np.percentile(self.random, [2.5, 97.5], axis=0)
        return Band(self.random.mean(axis=0), low, high)


def _area(scores: Float[np.ndarray, "*r s"], shares: Float[np.ndarray, " s"]) -> np.ndarray:
    """Of the straight lines between the points."""
    return np.asarray((scores[..., 1:] + scores[..., :-1]) @ np.diff(shares) / 2)


@dataclass(frozen=True, eq=False, repr=False)
class Faithfulness:
    """How the score follows a map of one picture.

    Attributes:
        deletion: the largest values of the map are taken away first; the smaller its area, the better the map.
        insertion: they are put back first; the larger its area, the better the map.
        fill: ``"mean"``, ``"blur"`` or ``"inpaint"``; `filled_with` says the same in words.
        cell: the side of the squares in which pixels go together: 1 unless the picture is large.
        space, target: of the score, as in the map's own result.
        evaluations: how many pictures the model was asked for.
        notes: what must be known to read the curves.
    """

    deletion: Curve
    insertion: Curve
    fill: str
    filled_with: str
    cell: int
    space: str
    target: Any
    evaluations: int
    notes: tuple[str, ...]

    def __repr__(self) -> str:
        return f"Faithfulness({self.sentence})"

    @property
    def beaten(self) -> tuple[int, int]:
        """How many random maps have a larger area than the map under deletion, and a smaller one under insertion."""
        fewer = int((self.deletion.random_areas > self.deletion.area).sum())
        return fewer, int((self.insertion.random_areas < self.insertion.area).sum())

    @property
    def sentence(self) -> str:
        """Whether the score follows the map, and the two counts that say so; of a contrast also what the score is."""
        fell, rose = self.beaten
        r = len(self.deletion.random)
        return (
            f"{_verdict(fell, rose, r)}: taking its strongest pixels away lowers the score faster than {_do(fell, r)}; "
            f"putting them back raises it faster than {_do(rose, r)}.{self._difference}"
        )

    @property
    def _difference(self) -> str:
        if not isinstance(self.target, Contrast):
            return ""
        target, against = self.target.target, self.target.against
        if self.space == "probability":
            return f" The score is the model's estimate of “{target}” less that of “{against}”, in percentage points."
        return f" The score is that of “{target}” less that of “{against}”."

    def to_frame(self) -> pd.DataFrame:
        """One row per curve and point: share, score, and the random maps' mean and percentiles."""
        parts = [
            pd.DataFrame(
                {"curve": name, "share": curve.shares, "score": curve.scores, "random_mean": curve.band.mean,
                 "random_2.5": curve.band.low, "random_97.5": curve.band.high}
            )
            for name, curve in (("deletion", self.deletion), ("insertion", self.insertion))
        ]  # fmt: skip
        return pd.concat(parts, ignore_index=True)


def _verdict(fell: int, rose: int, r: int) -> str:
    """In words, from how many of `r` random maps are beaten under deletion and under insertion."""
    if r < FEWEST:
        return "Too few random maps to tell whether the score follows this map"
    chances = [(r - beaten + 1) / (r + 1) for beaten in (fell, rose)]
    if max(chances) <= FOLLOWS:
        return "The score follows this map"
    if min(chances) > BY_CHANCE:
        return "The score does not follow this map better than random ones"
    return "The score follows this map only in part"


def _do(beaten: int, r: int) -> str:
    return f"{beaten} of {r} random maps do"
