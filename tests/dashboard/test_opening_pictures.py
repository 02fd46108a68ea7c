"""What the upload form says of a model of pictures: presets in the model's scale and order, and mistakes at their field."""

from __future__ import annotations

import numpy as np
import pytest

import explainers as ex
from dashboard.opening.preparing import AS_THEY_ARE, OWN, PRESETS, Fields, Said, presets, read

IMAGENET = "ImageNet photographs"


def pictures(channels: int = 3, most: float = 1.0) -> ex.Dataset:
    """Four of them, with values from 0 to `most`."""
    values = np.linspace(0, most, 4 * channels * 30, dtype=np.float32)
    return ex.Dataset.from_images(values.reshape(4, channels, 5, 6))


def prepared(data: ex.Dataset, fields: Fields) -> np.ndarray:
    said, wrong = read(fields, data)
    assert not wrong
    assert said.preparation is not None
    return said.preparation.array(data.X)


def test_as_they_are_is_nothing_said() -> None:
    assert read(Fields(), pictures()) == (Said(None, "auto"), {})
    assert read(Fields(output="raw"), pictures()) == (Said(None, "raw"), {})


@pytest.mark.parametrize("most", [1.0, 255.0])
@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("turned", [False, True])
def test_a_preset_is_in_the_scale_and_order_of_the_model(most: float, scaled: bool, turned: bool) -> None:
    data = pictures(most=most)
    fields = Fields(preset=IMAGENET, scaled=scaled, order="reversed" if turned else "as stored")
    found = prepared(data, fields)
    mean, std = (np.array(part)[:, None, None] for part in PRESETS[IMAGENET])
    expected = (data.X / most - mean) / std  # the same whatever the scale, as the means are given in it
    np.testing.assert_allclose(found, expected[:, ::-1] if turned else expected, rtol=1e-5, atol=1e-5)


def test_scale_size_and_layout() -> None:
    assert prepared(pictures(), Fields(scaled=True)).max() == pytest.approx(255)
    assert prepared(pictures(most=255.0), Fields(scaled=True)).max() == pytest.approx(1)
    for text in ("7x9", "7 × 9", " 7, 9 ", "7 by 9"):
        assert prepared(pictures(), Fields(size=text)).shape == (4, 3, 7, 9)
    assert prepared(pictures(), Fields(size="7", layout="channels last")).shape == (4, 7, 7, 3)


def test_presets_are_those_of_so_many_channels() -> None:
    assert IMAGENET in presets(3)
    assert IMAGENET not in presets(1)
    assert "MNIST digits" in presets(1)
    assert "MNIST digits" not in presets(3)
    assert presets(2) == (AS_THEY_ARE, "0.5 and 0.5: from −1 to 1", OWN)


@pytest.mark.parametrize(
    ("fields", "place", "said"),
    [
        (Fields(size="0"), "size", "Write height × width in pixels, 1 to 4096"),
        (Fields(size="wide"), "size", "like 224 × 224"),
        (Fields(size="3 4 5"), "size", "like 224 × 224"),
        (Fields(preset=OWN, mean="1, 2"), "mean", "Mean has 2 numbers, the pictures have 3 channels"),
        (Fields(preset=OWN, mean="a half"), "mean", "Write numbers with commas"),
        (Fields(preset=OWN, mean="inf"), "mean", "Write numbers with commas"),
        (Fields(preset=OWN, std="1, 0, 1"), "std", "Nothing can be divided by 0"),
    ],
)
def test_a_mistake_is_said_of_its_own_field(fields: Fields, place: str, said: str) -> None:
    kept, wrong = read(fields, pictures())
    assert wrong.keys() == {place}
    assert said in wrong[place]
    assert kept.preparation is None
