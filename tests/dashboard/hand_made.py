"""Tiny workspaces whose answers can be read off: the model is a formula that stands here."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

import explainers as ex
from dashboard.workspace import Description, FeatureNote, OpenModel, OpenWorkspace, RelationNote, describe

HOSTILE = "<img src=x onerror=alert(1)> ![a](http://evil.test/x.png) **b**"


def workspace(model: ex.Model, data: ex.Dataset, key: str = "made", **fields: Any) -> OpenWorkspace:
    """A workspace around one model."""
    about = fields.pop("about", Description(title=key))
    return OpenWorkspace(key, about, data, (OpenModel("model", model),), **fields)


def share(name: str = "share", classes: tuple[str, str] = ("no", "yes")) -> ex.Model:
    """The probability of the second class is the column itself."""
    return probability(lambda X: np.clip(X[name].to_numpy(float), 0, 1), classes)


def probability(
    function: Callable[[pd.DataFrame], np.ndarray], classes: tuple[str, ...] = ("no", "yes")
) -> ex.Model:
    """A model that is given the frame and answers probabilities."""
    return ex.Model(function, "classification", classes, space="probability")


def eight(**fields: Any) -> OpenWorkspace:
    """Eight rows with the shares .1 to .8; wrong at one half are rows 2 (.3, truly yes) and 6 (.7, truly no)."""
    frame = pd.DataFrame(
        {
            "share": np.arange(1, 9) / 10,
            "count": np.arange(1, 9),
            "colour": ["red", "blue"] * 4,
            "truth": ["no", "no", "yes", "no", "yes", "yes", "no", "yes"],
        }
    )
    return workspace(share(), ex.Dataset.from_frame(frame, target="truth"), **fields)


def split() -> OpenWorkspace:
    """The same with roles: rows 0 to 3 trained the model, rows 4 to 7 are tested."""
    whole = eight(key="split")
    role = np.array(["train"] * 4 + ["test"] * 4, dtype="<U9")
    return dataclasses.replace(whole, data=dataclasses.replace(whole.data, role=role))


def three_classes() -> OpenWorkspace:
    """Outputs are the columns themselves, each row's largest in another place."""
    frame = pd.DataFrame({"a": [0.7, 0.1, 0.2, 0.3], "b": [0.2, 0.8, 0.2, 0.4], "c": [0.1, 0.1, 0.6, 0.3]})
    frame["truth"] = ["A", "B", "B", "A"]
    model = probability(lambda X: X[["a", "b", "c"]].to_numpy(float), ("A", "B", "C"))
    return workspace(model, ex.Dataset.from_frame(frame, target="truth"), "three")


def line() -> OpenWorkspace:
    """A regression, ``2 dose + age``, right but for the last row."""
    frame = pd.DataFrame({"dose": [0.5, 1.5, 2.5, 3.5], "age": [30, 40, 50, 60]})
    frame["y"] = 2.0 * frame["dose"] + frame["age"] + [0, 0, 0, 5]
    model = ex.Model(lambda X: 2.0 * X["dose"].to_numpy(float) + X["age"].to_numpy(float), "regression")
    data = ex.Dataset.from_frame(frame, target="y")
    return workspace(model, data, "line", target_label="progression", target_unit="mm")


def ordered(
    relations: tuple[RelationNote, ...] = (), linked: bool = False, gaps: bool = False
) -> OpenWorkspace:
    """``low <= high``; with `linked`, ``high = low + 1`` in every row, so that they move together."""
    rng = np.random.default_rng(0)
    low = np.linspace(0, 9, 19).round(1)
    high = low + 1 if linked else rng.permutation(low) + 9
    frame = pd.DataFrame(
        {
            "low": low,
            "high": high,
            "free": rng.permutation(19) * 1.0,
            "share": np.linspace(0, 0.9, 19).round(2),
        }
    )
    if gaps:
        frame.loc[18, "low"] = np.nan
    data = ex.Dataset.from_frame(frame)
    relations = relations or (RelationNote(kind="at_most", feature="low", other="high"),)
    return workspace(share(), describe(data, (), relations), f"ordered-{linked}-{gaps}")


def hostile() -> OpenWorkspace:
    """Names from outside, everywhere a name can stand."""
    rng = np.random.default_rng(1)
    frame = pd.DataFrame(
        {
            HOSTILE: rng.random(30).round(2),
            "plain": rng.integers(0, 9, 30),
            "kind": rng.choice(["a", HOSTILE + "2"], 30),
        }
    )
    classes = ("<b>no</b>", "<script>yes</script>")
    frame["truth"] = np.where(rng.random(30) < frame[HOSTILE], classes[1], classes[0])
    data = describe(
        ex.Dataset.from_frame(frame, target="truth"),
        (
            FeatureNote(
                name="plain", label="<i>label</i>", unit="<u>", description="<a href=http://evil.test>x</a>"
            ),
        ),
    )
    about = Description(title=HOSTILE, summary=HOSTILE, subject="<b>case</b>", subjects="<b>cases</b>")
    return workspace(
        share(HOSTILE, classes), data, "hostile", about=about, target_label=HOSTILE, target_unit="<s>"
    )
