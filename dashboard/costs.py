"""What an answer will cost, said before it is asked for: rows that the model is asked, times the seconds that a row takes.

The seconds are measured: when the predictions of the whole table were asked, by a few more rows where that question was too short to
tell, and from then on by every long answer.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Hashable, Sized
from typing import Any, Protocol

import numpy as np

import explainers as ex
from dashboard.checks import EXPLANATIONS, PICTURES, Check
from dashboard.figures.numbers import counted

#: Seconds from which a computation is long: what it costs is said before.
LONG = 5.0

#: Seconds from which a computation waits for those that are sooner done.
MINUTES = 60.0

#: Seconds that a question must take to tell what a row costs, and may take to be asked again, larger.
TELLING, MOST_SECONDS = 0.05, 0.2

#: Rows asked to find out: at first, and at most.
FIRST_ROWS, MOST_ROWS = 64, 4096

#: Bytes of rows that are timed at once, at most; a row that is larger is timed alone.
MOST_BYTES = 64 * 2**20

#: Model evaluations from which an answer tells what one costs, or seconds where a row takes long; neither is its first moments.
MANY, MANY_SECONDS = 2000, 10.0

#: How many times a prediction's seconds a row takes that is also differentiated: forwards, and back to the picture.
GRADIENT = 2.5

#: Seconds of one step uphill beside those of its pictures, and how many times a row's seconds one of those takes.
STEP, SLOPE = 0.006, 4.0

#: Share of the work after which its own pace says when it will be done.
FORESEEABLE = 0.02


class Kept(Protocol):
    """Where measurements are kept; a store."""

    def get(self, key: Hashable) -> Any | None: ...

    def put(self, key: Hashable, value: Any) -> None: ...


Predict = Callable[[ex.Model, ex.Dataset, ex.Dataset | None], np.ndarray]


class Costs:
    """Seconds that explanations take, about; measured once for each model and data set."""

    def __init__(self, predict: Predict, kept: Kept) -> None:
        self._predict, self._kept = predict, kept

    def seconds(self, model: ex.Model, data: ex.Dataset, explainer: ex.Explainer, rows: Any) -> float | None:
        """Seconds for an explanation, about; ``None`` where nobody knows."""
        known = ex.cost(model, data, explainer, rows)
        if known is None:
            return None
        return self._of_rows(model, data, known * _times(explainer))

    def of_check(self, model: ex.Model, data: ex.Dataset, check: Check) -> float | None:
        """Seconds for a check of a map, about; ``None`` where nobody knows."""
        if check.what == "faithfulness":
            return self._of_rows(model, data, PICTURES)
        each = self.seconds(model, data, check.explainer, [check.row])
        return None if each is None else EXPLANATIONS * each

    def _of_rows(self, model: ex.Model, data: ex.Dataset, count: float) -> float | None:
        """Seconds for so many predictions, about."""
        most = self._kept.get(("opened", *_names(model, data)))
        if most is not None and count * most < TELLING:
            return count * float(most)  # whatever a row costs exactly, it is soon done
        pace = self._pace(model, data)
        return None if pace is None else count * pace

    def opened(self, model: ex.Model, data: ex.Dataset) -> np.ndarray:
        """Predictions for all rows; what a row took at most is noted."""
        started = time.perf_counter()
        found = self._predict(model, data, None)
        self._kept.put(("opened", *_names(model, data)), (time.perf_counter() - started) / max(1, len(data)))
        return found

    def making(self, model: ex.Model, data: ex.Dataset, explainer: ex.FeatureVisualization, units: int) -> float:  # fmt: skip
        """Seconds to make pictures for so many units, about; the model's predictions must be known.

        Its steps come one after another on a few pictures each, so that they take longer than as many rows at once.
        """
        searched = min(explainer.candidates, len(data))
        pictures = units * explainer.samples
        factor = self._kept.get(("making", *_names(model, data))) or 1.0
        return float(factor * self._uphill(model, data, explainer.steps, pictures, searched))

    def _uphill(self, model: ex.Model, data: ex.Dataset, steps: int, pictures: int, searched: int) -> float:
        row = float(self._kept.get(("opened", *_names(model, data))) or 0.0)
        return steps * (STEP + SLOPE * pictures * row) + searched * row

    def learn(self, model: ex.Model, data: ex.Dataset, result: ex.Explanation, explainer: ex.Explainer | None = None) -> None:  # fmt: skip
        """Note what an evaluation took in a long answer; the longest ones tell best. A row that `explainer` differentiates counts as several."""
        if isinstance(result, ex.Visualizations):
            self._learn_making(model, data, result)
            return
        asked, seconds = (result.diagnostics.get(name) for name in ("evaluations", "seconds"))
        key = ("pace", *_names(model, data))
        _, most = self._kept.get(key) or (0.0, 0)
        if not isinstance(asked, int) or not isinstance(seconds, float):
            return
        tells = asked >= MANY or (asked >= FIRST_ROWS and seconds >= MANY_SECONDS)
        if tells and 2 * asked >= most:
            self._kept.put(key, (seconds / asked / _times(explainer), asked))

    def _learn_making(self, model: ex.Model, data: ex.Dataset, result: ex.Visualizations) -> None:
        """How much longer it took than was foreseen; its rows are asked in steps, and say nothing of others."""
        k, s, steps = result.history.shape
        searched, seconds = (result.diagnostics.get(name) for name in ("searched", "seconds"))
        if isinstance(searched, int) and isinstance(seconds, float):
            foreseen = self._uphill(model, data, steps, k * s, searched)
            self._kept.put(("making", *_names(model, data)), min(10.0, max(0.1, seconds / foreseen)))

    def _pace(self, model: ex.Model, data: ex.Dataset) -> float | None:
        """Seconds for a row; ``None`` where the model fails, which the answer itself will say."""
        key = ("pace", *_names(model, data))
        known = self._kept.get(key)
        if known is None:
            try:
                known = (self._measured(model, data), 0)
            except ex.ExplainerError:
                return None
            self._kept.put(key, known)
        return float(known[0])

    def _measured(self, model: ex.Model, data: ex.Dataset) -> float:
        """Seconds that each further row takes, beyond those of any question."""
        self._timed(model, data, 1)  # whoever answers may have to start, and to be told the data
        few = _fitting(data)
        first = self._timed(model, data, few)
        if first > MOST_SECONDS or few < FIRST_ROWS:
            return first / few
        size = int(min(MOST_ROWS, max(4.0, TELLING / first) * FIRST_ROWS))
        second = self._timed(model, data, size)
        return max((second - first) / (size - FIRST_ROWS), second / size / 5)

    def _timed(self, model: ex.Model, data: ex.Dataset, size: int) -> float:
        cases = data.take(np.resize(np.arange(len(data)), size))
        started = time.perf_counter()
        self._predict(model, data, cases)
        return max(time.perf_counter() - started, 1e-6)


def _fitting(data: ex.Dataset) -> int:
    """Rows to time first: fewer where they are large pictures, which a worker may not have the memory for at once."""
    each = int(getattr(data.X, "nbytes", 0)) // max(len(data), 1)
    return max(1, min(FIRST_ROWS, MOST_BYTES // max(each, 1)))


def _times(explainer: ex.Explainer | None) -> float:
    """Predictions that take as long as a row of this explainer."""
    return GRADIENT if explainer is not None and "gradients" in explainer.needs else 1.0


def _names(model: ex.Model, data: ex.Dataset) -> tuple[str, str]:
    return model.digest, data.digest


def cost_text(explainer: ex.Explainer, data: ex.Dataset, cases: Sized | None, seconds: float | None) -> str:
    """``about 40 s: 1,024 coalitions × 100 reference cases``; empty where it is not long."""
    said = about(seconds)
    return f"{said}: {work}" if said and (work := _work(explainer, data, cases)) else said


def about(seconds: float | None) -> str:
    """``about 40 s``; empty where it is not long, or nobody knows."""
    return "" if seconds is None or seconds < LONG else f"about {duration(seconds)}"


def duration(seconds: float) -> str:
    """``40 s``, ``7 minutes``, ``3 hours``: as precise as an estimate is."""
    if seconds < 90:
        return f"{max(1, round(seconds / 5) * 5 if seconds > 20 else round(seconds))} s"
    if seconds < 5400:
        return counted(round(seconds / 60), "minute")
    return counted(round(seconds / 3600), "hour")


def _work(explainer: ex.Explainer, data: ex.Dataset, cases: Sized | None) -> str:
    if not isinstance(explainer, (ex.KernelShap, ex.PermutationShap, ex.ExactShap)):
        return ""
    references = min(explainer.background, len(data.rows("train")) or len(data))
    most = coalitions(explainer, data)
    parts = [f"{most:,} coalitions"]
    parts += [counted(references, "reference case")] if data.modality == "table" else []
    parts += [counted(len(cases), "case")] if cases is not None and len(cases) > 1 else []
    return " × ".join(parts)


def coalitions(explainer: Any, data: ex.Dataset) -> int:
    """Coalitions that one case may take."""
    features = len(data.schema.names) if data.modality == "table" else explainer.budget
    return int(min(explainer.budget, 2 ** min(features, 40)))


@dataclasses.dataclass(frozen=True)
class Partial:
    """A coarser result of a request whose computation is under way, or was stopped, and how far it had got."""

    result: ex.Explanation
    done: int
    total: int

    @property
    def share(self) -> float:
        """How much of the work is in it."""
        return self.done / max(self.total, 1)

    def text(self, explainer: Any, data: ex.Dataset) -> str:
        """``82 of 1,024 coalitions``, ``8 of 200 cases``: how far, in the method's own terms where they are known."""
        known = self.result.diagnostics
        if "cases_known" in known:
            cases, wanted = known["cases_known"]
            first = f"1 of {explainer.repeats} repeats with " if hasattr(explainer, "repeats") else ""
            return f"{first}{cases:,} of {wanted:,} cases"
        if "coalitions" in known and hasattr(explainer, "budget"):
            return f"{known['coalitions']:,} of {coalitions(explainer, data):,} coalitions"
        if "repeats" in known and hasattr(explainer, "repeats"):
            return f"{known['repeats']} of {explainer.repeats} repeats"
        return f"{100 * self.share:.0f} % of the work"
