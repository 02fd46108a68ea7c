"""What a session prints of data, models and results: one line each, however large they are."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import explainers as ex
from tests.cases import CASES, cnn_three_classes, mlp_one_logit, vision_transformer


def test_data_say_how_many_of_what() -> None:
    frame = pd.DataFrame({"age": [1.0, 2.0, 3.0], "dead": [0, 1, 0], "part": ["train", "test", "train"]})
    assert repr(ex.Dataset.from_frame(frame, target="dead", role="part")) == (
        "Dataset(3 cases, 1 test, 2 train, table of 'age', target 'dead')"
    )
    wide = ex.Dataset.from_frame(pd.DataFrame(np.zeros((2, 20)), columns=[f"c{i}" for i in range(20)]))
    assert repr(wide).endswith("'c7' and 12 more)")
    assert repr(ex.Dataset.from_images(np.zeros((5, 8, 9)), [0, 1, 0, 1, 0])) == (
        "Dataset(5 cases, image of 1 × 8 × 9, labelled)"
    )
    assert repr(ex.Dataset.from_texts(["a b"])) == "Dataset(1 cases, text)"


def test_models_say_what_they_answer() -> None:
    assert (
        repr(mlp_one_logit().model) == "Model(torch Sequential: classification of 'no', 'yes', probability)"
    )
    assert repr(ex.Model.wrap(lambda X: X[:, 0])) == "Model(function <lambda>: regression, target)"


def test_results_say_their_shapes_and_their_method() -> None:
    case = vision_transformer()
    assert repr(ex.explain(case.model, case.data, ex.Saliency(), rows=[0, 1], target="b")) == (
        "Attribution(values=<2 × 1 × 8 × 8>, base_value=<2>, output=<2>, space='raw', targets=('b', 'b'); "
        "by Saliency(space='auto'))"
    )


def test_measures_of_a_map_are_printed_as_their_sentence() -> None:
    case = cnn_three_classes()
    found = ex.explain(case.model, case.data, ex.Saliency(), rows=[0], target="b")
    assert "targets=('b',)" in repr(found)
    followed = ex.faithfulness(case.model, case.data, found, 0, steps=4, randoms=3)
    assert repr(followed) == f"Faithfulness({followed.sentence})"
    scrambled = ex.randomisation_check(case.model, case.data, ex.Saliency(), [0], "b", stages=1, repeats=1)
    assert repr(scrambled) == f"Randomisation({scrambled.sentence})"


@pytest.mark.parametrize("name", sorted(CASES))
def test_one_line_whatever_it_is(name: str) -> None:
    case = CASES[name]()
    for held in (case.model, case.data):
        assert "\n" not in repr(held)
        assert len(repr(held)) < 400
