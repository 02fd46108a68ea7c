"""What is declared of a model's answers: checked for sense, and against what the model answers."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from explainers.errors import InvalidSetting, ModelFailure
from explainers.explanation import Output

if TYPE_CHECKING:
    from explainers.model import Model

#: How far outside 0..1 a probability may lie: half precision has three digits.
ROUNDING = 2e-3


def require_sense(output: Output, classes: tuple[Any, ...] | None) -> None:
    """Raises `InvalidSetting` for a word that is none, and for classes beside a number that is no score of one."""
    if output not in get_args(Output):
        raise InvalidSetting(
            f"output={output!r} is none of {', '.join(map(repr, get_args(Output)))}. "
            "Declare 'raw' for logits, or leave it out."
        )
    if output == "target" and classes:
        raise InvalidSetting(
            "output='target' declares a regression, and classes are named too. Leave one of the two out."
        )


def agreeing(model: Model, output: Output) -> Model:
    """A model that says itself what it answers, with what is declared; raises `InvalidSetting` where it has no such answer."""
    raw = model.raw_predictor is not None or model.space == "raw"
    holds = {
        "auto": True,
        "probability": model.space == "probability" and model.task == "classification",
        "raw": raw and model.task == "classification",
        "target": model.task == "regression",
    }
    if not holds[output]:
        words = {"probability": "probabilities", "raw": "raw scores", "target": "numbers of a regression"}
        found = f"{model.task}, space {model.space!r}"
        raise InvalidSetting(
            f"output={output!r} declares {words[output]}, which this model ({model.family}; {found}) does not answer. "
            "Name the classes where it has some, or leave the output out."
        )
    return dataclasses.replace(model, declared=output) if output != "auto" else model


def probabilities(answer: Any) -> Any:
    """The answer itself; raises `ModelFailure` where it lies outside 0..1 although probabilities are declared."""
    values = np.asarray(answer)
    if values.size and values.dtype.kind in "biuf":
        low, high = float(values.min()), float(values.max())
        if low < -ROUNDING or high > 1 + ROUNDING:
            raise ModelFailure(
                f"Probabilities are declared, but the model answered {low:.4g} to {high:.4g} for {len(values)} cases. "
                "Declare output='raw' if these are logits."
            )
    return answer


def checked(predict: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A predictor whose answers are looked at by `probabilities`."""
    return lambda X: probabilities(predict(X))


def contradiction(found: str) -> str:
    """What to say where raw scores are declared and the model looks like one that answers probabilities."""
    return f"Raw scores are declared, and taken as declared, although {found}: if its answers are probabilities, all differences are shown too small."
