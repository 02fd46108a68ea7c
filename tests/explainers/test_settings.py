"""Settings read from annotations, and what lies outside them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import pytest

from explainers import EXPLAINERS, InvalidSetting, Range, settings_of
from explainers.settings import validate


@dataclass(frozen=True)
class Method:
    count: Annotated[int, Range(1, 10)] = 5
    share: Annotated[float, Range(0, 1)] = 0.5
    mode: Literal["fast", "exact"] = "fast"
    baseline: Annotated[float, Range(-1, 1)] | Literal["mean", "blur"] = 0.0
    layer: str | None = None
    limit: Annotated[int, Range(2, 4)] | None = None
    plain: int = 3
    groups: tuple[tuple[str, ...], ...] | Literal["correlated"] = ()
    hidden: int = field(default=1, init=False)


def test_settings_are_read_in_order() -> None:
    found = {setting.name: setting for setting in settings_of(Method)}
    assert list(found) == ["count", "share", "mode", "baseline", "layer", "limit", "plain", "groups"]
    assert (found["count"].type, found["count"].default, found["count"].range) == (int, 5, Range(1, 10))
    assert (found["mode"].choices, found["mode"].type) == (("fast", "exact"), str)
    assert (found["baseline"].choices, found["baseline"].range) == (("mean", "blur"), Range(-1, 1))
    assert (found["layer"].optional, found["limit"].optional, found["count"].optional) == (True, True, False)
    assert (found["groups"].type, found["groups"].choices) == (tuple, ("correlated",))


@pytest.mark.parametrize(
    "good",
    [
        {},
        {"count": 1},
        {"count": 10},
        {"share": 1},
        {"mode": "exact"},
        {"baseline": "blur"},
        {"baseline": -1.0},
        {"layer": "x"},
        {"limit": 2},
        {"groups": "correlated"},
        {"groups": (("a", "b"),)},
    ],
)
def test_allowed_values_pass(good: dict[str, Any]) -> None:
    assert validate(Method(**good)) is None


@pytest.mark.parametrize(
    ("bad", "sentence"),
    [
        ({"count": 0}, r"Method\(count=…\) must be between 1 and 10; got 0"),
        ({"count": 11}, "between 1 and 10; got 11"),
        ({"count": 2.5}, "must be a whole number; got 2.5"),
        ({"count": True}, "must be a number; got True"),
        ({"count": "3"}, "must be a number; got '3'"),
        ({"count": None}, "must be a number; got None"),
        ({"share": float("nan")}, "between 0 and 1; got nan"),
        ({"mode": "slow"}, "must be one of 'fast', 'exact'; got 'slow'"),
        ({"mode": 3}, "must be one of 'fast', 'exact'; got 3"),
        ({"mode": None}, "must be one of 'fast', 'exact'; got None"),
        ({"baseline": "noise"}, "must be one of 'mean', 'blur'; got 'noise'"),
        ({"baseline": 7.0}, "between -1 and 1; got 7.0"),
        ({"limit": 9}, "between 2 and 4; got 9"),
        ({"groups": "related"}, r"groups=…\) must be one of 'correlated'; got 'related'"),
        ({"plain": "x"}, "must be a number; got 'x'"),
    ],
)
def test_values_outside_are_refused_with_name_rule_and_value(bad: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InvalidSetting, match=sentence):
        validate(Method(**bad))


@pytest.mark.parametrize("explainer", EXPLAINERS)
def test_every_explainers_defaults_are_valid(explainer: type) -> None:
    assert validate(explainer()) is None
    assert all(setting.name for setting in settings_of(explainer))
