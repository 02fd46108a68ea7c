"""The case tables of files, each file put through one locked worker: what became of it there, in plain values.

The worker is asked as the page asks it. A case that ends the process is told as the end of the process; whoever asks
next gets a new one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

import explainers as ex
from dashboard.workers.pool import Pool
from dashboard.workers.remote import Remote
from dashboard.workers.starting import starter
from dashboard.workers.terms import Terms
from explainers.loading.policy import PROGRAMS
from tests.faults import bomb_cases, code_cases, damaged_cases, data_cases, image_cases
from tests.faults.opening import rows_for

TERMS = Terms(formats=PROGRAMS, threads=1)
OPENS = "opens"


@dataclass(frozen=True)
class Trial:
    """A file of one of the tables.

    Attributes:
        build: its bytes, given the path of a marker that nothing may make.
        expected: an expression for the refusal, or ``"opens"``.
        either: it may be opened or refused; what counts is the marker.
    """

    group: str
    name: str
    build: Callable[[Path], bytes]
    expected: str
    kind: str = "model"
    options: dict[str, Any] = field(default_factory=dict)
    either: bool = False


def trials() -> Iterator[Trial]:
    """Every file of every table; what has to be read under the schema of another file is left to the loader's own test."""
    for code in code_cases.CASES:
        yield Trial("code", code.name, code.build, code.sentence, code.kind, {"name": code.file})
        if code.allow and code.file == "upload":
            yield Trial(
                "code allowed", code.name, code.build, "", code.kind, {"allow": code.allow}, either=True
            )
    for damaged in damaged_cases.CASES:
        options = {"architecture": damaged.architecture} if damaged.architecture else {}
        yield Trial("damaged", damaged.name, _plain(damaged.make), damaged.expected, options=options)
    for bomb in bomb_cases.CASES:
        options = {"limits": ex.Limits(**bomb.limits)}
        if bomb.architecture:
            options["architecture"] = bomb.architecture
        yield Trial("bombs", bomb.name, _plain(bomb.make), bomb.expected, bomb.kind, options)
    for table in data_cases.CASES:
        if table.like is None:
            options = {"limits": ex.Limits(**table.bounds), "target": table.target}
            yield Trial("data", table.name, _plain(table.build), table.error or OPENS, "data", options)
    for image in image_cases.CASES:
        options = {"limits": ex.Limits(**image.bounds)}
        yield Trial("images", image.name, _plain(image.build), image.error or OPENS, "data", options)


def _plain(make: Callable[[], bytes]) -> Callable[[Path], bytes]:
    return lambda _: make()


@cache
def remote() -> Remote:
    """The one worker of the trials."""
    return Remote(Pool(starter(TERMS), 1))


def tried(trial: Trial, marker: Path) -> str:
    """The refusal, or ``"opens"``; a model is asked for predictions as well."""
    content = trial.build(marker)
    try:
        if trial.kind == "data":
            remote().load_dataset(content, **trial.options)
            return OPENS
        model = remote().load_model(lambda: content, **trial.options)
        X = _rows(model)
        if X is not None:
            remote().predict(model, _data(X))
    except ex.ExplainerError as error:
        return str(error)
    finally:
        remote().pool.lessons.clear()  # the next file finds nothing of this one
        remote()._data.clear()
    return OPENS


def _rows(model: ex.Model) -> Any:
    """As `rows_for`, which asks the estimator for its categories; here there is none to ask."""
    X = rows_for(model)
    if model.family.startswith("LightGBM") and "ward" in (model.features or ()):
        X["ward"] = np.random.default_rng(1).choice(["east", "north", "west"], len(X))
    return X


def _data(X: Any) -> ex.Dataset:
    if hasattr(X, "columns"):
        return ex.Dataset.from_frame(X.rename(columns=str))
    return ex.Dataset.from_images(X)
