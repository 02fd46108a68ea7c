"""What moves along when a person moves one feature."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from dashboard.moves import changes, companions
from dashboard.view import View
from dashboard.workspace import RelationNote
from tests.dashboard.hand_made import eight, ordered

Look = Callable[..., View]


def test_a_feature_alone_moves_alone(look: Look) -> None:
    assert changes(look(eight(), linked=False), "share", 0.9) == [("share", 0.9)]


def test_an_order_that_holds_changes_nothing(look: Look) -> None:
    view = look(ordered(), row=3, linked=False)
    assert changes(view, "low", float(view.case.matrix[0, 1]) - 0.5) == [
        ("low", float(view.case.matrix[0, 1]) - 0.5)
    ]


@pytest.mark.parametrize(("moved", "to", "gives_way"), [("low", 25.0, "high"), ("high", -3.0, "low")])
def test_what_was_not_moved_gives_way_to_the_order(look: Look, moved: str, to: float, gives_way: str) -> None:
    view = look(ordered(), row=3, linked=False)
    assert dict(changes(view, moved, to)) == {moved: to, gives_way: to}


def test_companions_are_those_that_rise_and_fall_together(look: Look) -> None:
    view = look(ordered(linked=True))
    assert companions(view, "low") == ["high", "share"]
    assert companions(view, "free") == []
    declared = look(ordered((RelationNote(kind="moves_with", feature="free", other="low"),), linked=True))
    assert "free" in companions(declared, "low")
    assert companions(declared, "free") == ["low"]


def test_companions_move_by_their_slope_within_the_data(look: Look) -> None:
    view = look(ordered(linked=True), row=4)  # low 2.0, high 3.0, share .2
    moved = dict(changes(view, "low", 4.0))
    assert moved["low"] == 4.0
    assert moved["high"] == pytest.approx(5.0)
    assert moved["share"] == pytest.approx(0.4)
    far = dict(changes(view, "low", 9.0))
    assert far["high"] == pytest.approx(10.0)
    assert dict(changes(view, "low", 8.5))["high"] == pytest.approx(9.5)
    beyond = dict(changes(view, "low", -5.0))
    assert beyond["high"] == 1.0  # the lowest in the data


def test_unlinked_nothing_moves_along(look: Look) -> None:
    assert dict(changes(look(ordered(linked=True), row=4, linked=False), "low", 2.5)) == {"low": 2.5}


@pytest.mark.parametrize("to", [-20.0, -5.0, 0.0, 4.0, 15.0, 30.0])
@pytest.mark.parametrize("moved", ["low", "high"])
def test_the_one_moved_by_hand_stays_where_it_was_put_and_the_order_holds(
    look: Look, moved: str, to: float
) -> None:
    after = dict(changes(look(ordered(linked=True), row=4), moved, to))
    assert after[moved] == to
    assert after["low"] <= after["high"]


def test_moving_a_missing_value_takes_no_companion_away(look: Look) -> None:
    view = look(ordered(linked=True, gaps=True), row=18)
    after = dict(changes(view, "low", 4.0))
    assert after["low"] == 4.0
    assert not np.isnan(list(after.values())).any()


def test_categories_take_nobody_along(look: Look) -> None:
    assert changes(look(eight()), "colour", 1.0) == [("colour", 1.0)]
