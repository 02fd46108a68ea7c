"""One layout for predictions, and what a model that misbehaves is told."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from explainers import Dataset, InvalidSetting, Model, ModelFailure, SchemaMismatch

X = np.arange(6.0).reshape(3, 2)


def answering(answer: object, classes: tuple | None = None, **settings) -> Model:
    return Model.wrap(lambda _: answer, classes, **settings)


@pytest.mark.parametrize(
    "answer", [np.array([0.1, 0.5, 1.0]), np.array([[0.1], [0.5], [1.0]]), [0.1, 0.5, 1.0]]
)
def test_one_probability_becomes_two(answer: object) -> None:
    predicted = answering(answer, ("no", "yes")).predict(X)
    np.testing.assert_allclose(predicted, [[0.9, 0.1], [0.5, 0.5], [0.0, 1.0]])
    assert predicted.dtype == np.float64


def test_one_raw_score_becomes_a_margin_and_its_negative() -> None:
    model = answering(np.array([2.0, -1.0, 0.0]), ("no", "yes"), output="raw")
    np.testing.assert_array_equal(model.predict(X), [[-2, 2], [1, -1], [0, 0]])
    np.testing.assert_array_equal(model.raw(X), model.predict(X))
    np.testing.assert_array_equal(model.scores(X, "raw"), model.predict(X))


def test_numbers_of_a_regression_become_a_column() -> None:
    assert answering(np.arange(3)).predict(X).shape == (3, 1)
    assert answering(np.ones((3, 4))).predict(X).shape == (3, 4)


def _raise(_: object) -> None:
    raise ZeroDivisionError("secret value 17\nsecond line")


FAILURES = {
    "shape": (lambda _: np.zeros((2, 2)), r"answered shape \(2, 2\) for 3 cases"),
    "scalar": (lambda _: np.float64(1.0), r"answered shape \(\) for 3 cases"),
    "cube": (lambda _: np.zeros((3, 1, 1)), r"answered shape \(3, 1, 1\)"),
    "labels": (lambda _: np.array(["a", "b", "c"]), "answered <U1, not numbers"),
    "objects": (lambda _: np.array([None, 1, 2], dtype=object), "answered object, not numbers"),
    "nothing": (lambda _: None, "answered NoneType, not numbers"),
    "dictionary": (lambda _: {"a": 1}, "answered dict, not numbers"),
    "NaN": (lambda _: np.array([0.0, np.nan, np.nan]), "NaN or infinity for 2 of 3 cases"),
    "infinity": (lambda _: np.array([0.0, np.inf, 1.0]), "NaN or infinity for 1 of 3 cases"),
    "raises": (_raise, "raised an error while predicting 3 cases. ZeroDivisionError: secret value 17$"),
}


@pytest.mark.parametrize("case", FAILURES)
def test_a_model_that_misbehaves_is_named(case: str) -> None:
    function, sentence = FAILURES[case]
    with pytest.raises(ModelFailure, match=sentence):
        Model.wrap(function).predict(X)


def test_the_number_of_classes_is_checked() -> None:
    with pytest.raises(ModelFailure, match="has 3 classes but answered 2 outputs"):
        answering(np.zeros((3, 2)), ("a", "b", "c")).predict(X)


def test_interrupts_pass_through() -> None:
    def stop(_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Model.wrap(stop).predict(X)


TRUTHS = {
    "names": (("no", "yes"), (), ["yes", "no", None], [1, 0, -1]),
    "labels": (("no", "yes"), (0, 1), [1, 0, 1.0], [1, 0, 1]),
    "positions": (("no", "yes"), (), [1, 0, True], [1, 0, 1]),
    "many rows of few labels": (
        ("no", "yes"),
        (),
        ["yes", None, "no"] * 50 + [np.nan],
        [1, -1, 0] * 50 + [-1],
    ),
    "nothing known": (("no", "yes"), (), [None, np.nan], [-1, -1]),
    "one label in several forms": (
        ("no", "yes"),
        (),
        [True, 1, 1.0, np.int64(1), np.bool_(False)],
        [1, 1, 1, 1, 0],
    ),
    "numbers as classes": ((1, 2), (), [2, 1, np.nan], [1, 0, -1]),
}


@pytest.mark.parametrize("case", TRUTHS)
def test_truth_in_the_models_terms(case: str) -> None:
    classes, labels, y, expected = TRUTHS[case]
    model = Model(lambda X: np.zeros(len(X)), "classification", classes, labels, "probability")
    found = model.truth(np.array(y, dtype=object))
    assert found.tolist() == expected
    assert found.dtype == np.int64


def test_truth_that_is_no_class_is_named() -> None:
    model = answering(np.zeros(3), ("no", "yes"))
    with pytest.raises(
        SchemaMismatch, match="target column holds 'maybe'; the model's classes are 'no', 'yes'"
    ):
        model.truth(np.array(["yes", "maybe"], dtype=object))
    regression = answering(np.zeros(3)).truth(np.array([1, 2, np.nan]))
    np.testing.assert_array_equal(regression, [1.0, 2.0, np.nan])


@pytest.mark.parametrize(
    ("target", "position"), [("yes", 1), ("no", 0), (7, 0), (9, 1), (9.0, 1), (np.int64(7), 0)]
)
def test_outputs_are_found_by_class_and_by_label(target: object, position: int) -> None:
    model = Model(lambda X: X, "classification", ("no", "yes"), (7, 9))
    assert model.output_of(target, 2) == position


@pytest.mark.parametrize("target", ["maybe", 2, "7", None])
def test_unknown_classes_are_refused(target: object) -> None:
    with pytest.raises(InvalidSetting, match=r"There is no class .*; the classes are 'no', 'yes'"):
        Model(lambda X: X, "classification", ("no", "yes"), (7, 9)).output_of(target, 2)


@pytest.mark.parametrize("target", [3, -1, True, "a", 1.5])
def test_unknown_outputs_are_refused(target: object) -> None:
    model = answering(np.zeros((3, 3)))
    assert model.output_of(2, 3) == 2
    with pytest.raises(InvalidSetting, match=r"There is no output .*; outputs are 0\.\.2"):
        model.output_of(target, 3)


def test_renamed_classes_keep_their_old_names_as_labels() -> None:
    model = answering(np.zeros(3), ("0", "1")).with_classes(["well", "ill"])
    assert (model.output_of("ill", 2), model.output_of("1", 2)) == (1, 1)
    with pytest.raises(InvalidSetting, match="has 2 classes; got 1 names"):
        model.with_classes(["ill"])
    with pytest.raises(InvalidSetting, match="This is a regression"):
        answering(np.zeros(3)).with_classes(["a", "b"])


def test_raw_scores_are_refused_where_there_are_none() -> None:
    with pytest.raises(InvalidSetting, match="has no raw score"):
        answering(np.zeros(3), ("a", "b")).raw(X)


MISMATCHES = {
    "missing": (
        {"features": ("a", "z")},
        "needs 'z', which the data lack. Columns the model does not know: 'b', 'c d'",
    ),
    "more is fine": ({"features": ("b", "a")}, None),
    "stored names": ({"features": ("c_d", "a")}, None),
    "too many": ({"inputs": 2}, "takes 2 columns; these data have 3: .*leave 1 out"),
    "too few": ({"inputs": 5}, "takes 5 columns; these data have 3: .*2 are missing"),
    "pictures": ({"inputs": (1, 8, 8)}, "takes cases of shape 1 × 8 × 8 .*these data are a table"),
    "fits": ({"inputs": 3}, None),
    "unknown": ({}, None),
}


@pytest.mark.parametrize("case", MISMATCHES)
def test_tables_that_do_not_fit_a_model(case: str) -> None:
    settings, sentence = MISMATCHES[case]
    model = Model(lambda X: np.zeros(len(X)), "regression", **settings)
    data = Dataset.from_frame(pd.DataFrame({"a": [1.0, 2.0], "b": [1.0, 2.0], "c d": [1.0, 2.0]}))
    if sentence is None:
        assert model.mismatch(data) is None
        assert model.check(data) is None
    else:
        with pytest.raises(SchemaMismatch, match=sentence):
            model.check(data)


@pytest.mark.parametrize(
    ("inputs", "sentence"),
    [
        ((1, 4, 4), None),
        ((1, None, None), None),
        (16, None),
        ((3, 4, 4), "3 × 4 × 4; these data have 1 × 4 × 4"),
        (9, "takes 9 numbers .*1 × 4 × 4 = 16"),
    ],
)
def test_pictures_that_do_not_fit_a_model(inputs: object, sentence: str | None) -> None:
    model = Model(lambda X: np.zeros(len(X)), "regression", inputs=inputs)
    found = model.mismatch(Dataset.from_images(np.zeros((2, 4, 4))))
    if sentence is None:
        assert found is None
    else:
        with pytest.raises(SchemaMismatch, match=sentence):
            model.check(Dataset.from_images(np.zeros((2, 4, 4))))


def test_objects_in_memory_have_an_identity_of_their_own() -> None:
    assert answering(1).digest.startswith("object:")
    assert answering(1).digest != answering(1).digest
