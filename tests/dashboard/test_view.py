"""What the selection means, on models whose answers can be read off the data."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import explainers as ex
from dashboard.view import View
from tests.dashboard.hand_made import eight, line, split, three_classes, workspace

Look = Callable[..., View]


def test_of_two_classes_the_second_is_explained_unless_asked(look: Look) -> None:
    positive = look(eight())
    assert (positive.output, positive.target, positive.class_name) == (1, "yes", "yes")
    np.testing.assert_allclose(positive.scores, np.arange(1, 9) / 10)
    negative = look(eight(), target="no")
    assert (negative.output, negative.target) == (0, "no")
    np.testing.assert_allclose(negative.scores, 1 - np.arange(1, 9) / 10)


def test_of_several_classes_the_predicted_one_is_explained(look: Look) -> None:
    three = three_classes()
    assert [look(three, row=row).target for row in range(4)] == ["A", "B", "C", "B"]
    assert look(three, row=0, target="C").score == pytest.approx(0.1)
    np.testing.assert_array_equal(look(three, row=0).scores, [0.7, 0.1, 0.2, 0.3])


def test_a_class_that_is_not_there_is_refused(look: Look) -> None:
    with pytest.raises(ex.InvalidSetting, match="no class 'D'"):
        _ = look(three_classes(), target="D").output


@pytest.mark.parametrize(
    ("threshold", "decided", "wrong"),
    [
        (0.5, [0, 0, 0, 0, 1, 1, 1, 1], [2, 6]),
        (0.25, [0, 0, 1, 1, 1, 1, 1, 1], [3, 6]),
        (0.75, [0] * 7 + [1], [2, 4, 5]),
    ],
)
def test_the_threshold_decides(look: Look, threshold: float, decided: list[int], wrong: list[int]) -> None:
    view = look(eight(), threshold=threshold)
    assert view.decided.tolist() == decided
    assert view.wrong is not None
    assert np.flatnonzero(view.wrong).tolist() == wrong


def test_a_score_at_the_threshold_is_positive(look: Look) -> None:
    assert look(eight(), threshold=0.3).decided.tolist() == [0, 0, 1, 1, 1, 1, 1, 1]


def test_which_class_is_explained_changes_no_decision(look: Look) -> None:
    np.testing.assert_array_equal(look(eight(), target="no").decided, look(eight()).decided)


def test_of_several_classes_the_largest_decides_and_the_threshold_does_not(look: Look) -> None:
    view = look(three_classes(), threshold=0.05)
    assert view.decided.tolist() == [0, 1, 2, 1]
    assert view.wrong is not None
    assert view.wrong.tolist() == [False, False, True, True]


def test_a_regression_has_a_score_and_no_wrong(look: Look) -> None:
    view = look(line(), row=1)
    assert not view.classifies
    assert view.target is None
    assert view.wrong is None
    assert view.score == 43.0
    assert view.class_name == "progression"
    np.testing.assert_array_equal(view.truth, [31, 43, 55, 72])


def test_without_truth_or_where_it_is_missing_nothing_is_wrong(look: Look) -> None:
    bare = eight()
    without = workspace(bare.models[0].model, ex.Dataset(bare.data.X, bare.data.schema), "bare")
    assert look(without).truth is None
    assert look(without).wrong is None
    gaps = bare.data.y.copy()
    gaps[2] = None
    partly = workspace(bare.models[0].model, ex.Dataset(bare.data.X, bare.data.schema, gaps), "partly")
    found = look(partly)
    assert found.truth is not None
    assert found.truth[2] == -1
    assert found.wrong is not None
    assert np.flatnonzero(found.wrong).tolist() == [6]


def test_edits_change_the_case_and_its_score_and_nothing_else(look: Look) -> None:
    view = look(eight(), row=1, edits=(("share", 0.95), ("colour", 1.0)))
    assert view.edited
    assert view.score == pytest.approx(0.95)
    assert view.scores[1] == pytest.approx(0.2)
    assert view.original.X["share"].tolist() == [0.2]
    assert view.case.X["share"].tolist() == [0.95]
    assert view.case.X["colour"].tolist() == [view.schema.feature("colour").categories[1]]
    assert look(eight(), row=1).score == pytest.approx(0.2)
    assert not look(eight(), row=1).edited


def test_the_usual_score_is_the_mean_over_training_rows(look: Look) -> None:
    assert look(eight()).usual == pytest.approx(0.45)
    assert look(eight()).reference_text == "8 cases (may include training rows)"
    assert look(split()).usual == pytest.approx(0.25)
    assert look(split()).reference_text == "4 training cases"


def test_people_browse_test_rows_where_they_are_known(look: Look) -> None:
    assert look(split()).workspace.rows.tolist() == [4, 5, 6, 7]
    assert look(split()).selection.row == 4
    assert look(eight()).workspace.rows.tolist() == list(range(8))


def test_reasons_are_those_of_the_case_as_edited(look: Look) -> None:
    plain, edited = look(eight(), row=0), look(eight(), row=0, edits=(("share", 0.9),))
    place = plain.schema.position("share")
    assert plain.reasons.values[0, place] == pytest.approx(0.1 - 0.45)
    assert edited.reasons.values[0, place] == pytest.approx(0.9 - 0.45)
    others = np.delete(edited.reasons.values[0], place)
    np.testing.assert_allclose(others, 0, atol=1e-9)


def test_the_curve_of_the_case_is_the_formula(look: Look) -> None:
    view = look(eight(), row=3)
    place = view.schema.position("share")
    np.testing.assert_allclose(view.curves.curves[place][0], view.curves.grids[place], atol=1e-9)
    other = view.schema.position("count")
    np.testing.assert_allclose(view.curves.curves[other][0], 0.4)


def test_later_queues_once_and_answers_when_it_is_computed(look: Look) -> None:
    made = eight()
    view = look(made)
    for _ in range(3):
        assert view.later("Reasons", ex.KernelShap(), [0], "yes") is None
    assert [job.title for job in view.pending] == ["Reasons"]
    result = view.pending[0].run(lambda done, total, partial=None: None)
    again = look(made)
    assert again.later("Reasons", ex.KernelShap(), [0], "yes") is result
    assert again.pending == []


def test_what_was_stopped_by_hand_is_not_queued_again(look: Look) -> None:
    view = look(eight(), cancelled=frozenset({"Reasons"}))
    with pytest.raises(ex.ExplainerError, match="Stopped: Reasons"):
        view.later("Reasons", ex.KernelShap(), [0], "yes")
    assert view.pending == []
    assert view.later("Others", ex.KernelShap(), [0], "yes") is None


def test_a_failure_is_said_and_not_queued(look: Look) -> None:
    made = eight()
    view = look(made)
    wrong = ex.PartialDependence(features=("nope",))
    assert view.later("Effect", wrong) is None
    with pytest.raises(ex.ExplainerError, match="nope"):
        view.pending[0].run(lambda done, total, partial=None: None)
    again = look(made)
    with pytest.raises(ex.ExplainerError, match="nope"):
        again.later("Effect", wrong)
    assert again.pending == []
