"""What visitors of one server bring with them: plain data. Each visitor's names occur in no other visitor's files."""

from __future__ import annotations

import functools
import os
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import skops.io
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

#: Few processes, short visits and small files, so that each bound is met.
SETTINGS = """
[server]
session_seconds = 2
upload_mb = 1
[workers]
at_most = 2
open_ahead = 1
"""

TRUSTING = """
[server]
session_seconds = 2
[workers]
open_ahead = 1
[formats]
allow = ["pickle"]
"""

FULL = (
    "2 visitors have models of their own open, and no more may run here at a time (setting workers.at_most)"
)
RUNS_CODE = "opening such a file runs whatever code is in it"
CONVERT = "whyboard convert FILE turns it into a format that holds no code"
ASKED = "I know where this file comes from"
MARKED = "its file was allowed to run code"
CRASHED = "crashed while predicting"
KEPT = "your data and selection are still here"
DELETED = "Your uploads were deleted"
GONE = "What you had uploaded is gone"
TOO_LARGE = "1.0MB or smaller"


@dataclass(frozen=True)
class Person:
    """A visitor with a model and data of their own; `name` is part of every name in them."""

    name: str
    weight: float

    @property
    def columns(self) -> tuple[str, str]:
        return f"{self.name} age", f"{self.name} dose"

    @functools.cached_property
    def frame(self) -> pd.DataFrame:
        rng = np.random.default_rng(len(self.name))
        frame = pd.DataFrame(
            {self.columns[0]: rng.integers(20, 90, 80), self.columns[1]: rng.normal(2, 1, 80).round(2)}
        )
        score = self.weight * (frame[self.columns[0]] / 30 + frame[self.columns[1]] - 3.8)
        frame[f"{self.name} outcome"] = (score > 0).astype(int)
        return frame

    @functools.cached_property
    def estimator(self) -> LogisticRegression:
        return LogisticRegression(max_iter=500).fit(
            self.frame[list(self.columns)], self.frame[f"{self.name} outcome"]
        )

    @property
    def model(self) -> dict[str, Any]:
        return file(f"{self.name}.skops", skops.io.dumps(self.estimator))

    @property
    def says(self) -> int:
        """Percent that the model says of the first case."""
        return round(100 * self.estimator.predict_proba(self.frame[list(self.columns)])[0, 1])


ALDER, BIRCH = Person("alder", 1.0), Person("birchwood", -0.5)


def file(name: str, content: bytes) -> dict[str, Any]:
    """As a browser hands it over."""
    return {"name": name, "mimeType": "application/octet-stream", "buffer": content}


def csv(frame: pd.DataFrame, name: str = "cases.csv") -> dict[str, Any]:
    return file(name, frame.to_csv(index=False).encode())


@functools.cache
def slow() -> tuple[dict[str, Any], pd.DataFrame]:
    """A model that takes seconds for what the overview asks first, and its data."""
    rng = np.random.default_rng(0)
    many = pd.DataFrame(rng.normal(size=(3000, 8)).round(3), columns=[f"f{i}" for i in range(8)])
    many["outcome"] = (many.sum(axis=1) > 0).astype(int)
    model = KNeighborsClassifier(25, algorithm="brute").fit(many.drop(columns="outcome"), many["outcome"])
    return file("slow.skops", skops.io.dumps(model)), many[:200]


#: Names, and files that are refused after a good one was dropped: what the page says.
DAMAGED = (
    ("cut short", lambda good: good[: len(good) // 2], "damaged"),
    ("empty", lambda good: b"", "empty"),
    ("something else", lambda good: b"GIF89a" + bytes(100), "no known model format"),
)


class Payload:
    """Unpickling it makes a folder."""

    def __init__(self, marker: Path) -> None:
        self.marker = str(marker)

    def __reduce__(self) -> Any:
        return os.mkdir, (self.marker,)


def hostile(marker: Path) -> dict[str, Any]:
    return file("hostile.pkl", pickle.dumps(Payload(marker)))


#: A model in a pickle: it crashes on one case alone that is very old, and never ends for very many cases.
SOURCE = """
import ctypes
import numpy
from sklearn.base import BaseEstimator, ClassifierMixin

class Model(ClassifierMixin, BaseEstimator):
    def fit(self, X, y):
        return self

    def predict_proba(self, X):
        X = numpy.asarray(X, dtype=float)
        if len(X) == 1 and X[0, 0] > OLDEST:
            ctypes.string_at(0)
        while len(X) > MOST:
            pass
        p = 1 / (1 + numpy.exp(3.8 - X[:, 0] / 30 - X[:, 1]))
        return numpy.column_stack([1 - p, p])

    def predict(self, X):
        return self.classes_[self.predict_proba(X).argmax(axis=1)]

model = Model()
model.classes_ = numpy.array([0, 1])
model.n_features_in_ = 2
model.feature_names_in_ = numpy.array(NAMES, dtype=object)
"""


class Written:
    """Unpickling it runs a source text, and gives its ``model``."""

    def __init__(self, **names: Any) -> None:
        self.names = names

    def __reduce__(self) -> Any:
        return eval, (f"(lambda names: (exec({SOURCE!r}, names), names['model'])[1])({self.names!r})",)


def written(oldest: float = 1e9, most: float = 1e9) -> dict[str, Any]:
    """A pickle that crashes on a single case older than `oldest` and never ends for more than `most`."""
    content = Written(OLDEST=oldest, MOST=most, NAMES=list(ALDER.columns))
    return file("written.pkl", pickle.dumps(content))
