"""What a form says of a model of pictures, made into its preparation; what cannot be used is said of the field it stands in."""

from __future__ import annotations

import dataclasses
import math
import re
from typing import Any, Literal

import explainers as ex

Numbers = tuple[float, ...]
Output = Literal["auto", "probability", "raw"]

AS_THEY_ARE, OWN, MNIST = "as they are", "others: type them", "MNIST digits"
SIZE, NUMBERS = "224 × 224", "0.5, 0.5, 0.5"

#: Pixels on a side that pictures may be resized to.
MOST_SIDE = 4096

#: What networks are commonly trained with: mean and deviation of values from 0 to 1, of red, green and blue.
PRESETS: dict[str, tuple[Numbers, Numbers]] = {
    "0.5 and 0.5: from −1 to 1": ((0.5,), (0.5,)),
    "ImageNet photographs": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "ImageNet means alone (Caffe)": ((0.48503, 0.45796, 0.4076), ()),
    "CLIP photographs": (
        (0.48145466, 0.4578275, 0.40821073),
        (0.26862954, 0.26130258, 0.27577711),
    ),
    "CIFAR-10 photographs": ((0.4914, 0.4822, 0.4465), (0.247, 0.2435, 0.2616)),
    MNIST: ((0.1307,), (0.3081,)),
}


@dataclasses.dataclass(frozen=True)
class Said:
    """What was said of a model of pictures; by default nothing."""

    preparation: ex.Preparation | None = None
    output: Output = "auto"


@dataclasses.dataclass(frozen=True)
class Fields:
    """The form as it was filled in."""

    size: str = ""
    scaled: bool = False
    preset: str = AS_THEY_ARE
    mean: str = ""
    std: str = ""
    order: Literal["as stored", "reversed"] = "as stored"
    layout: Literal["channels first", "channels last"] = "channels first"
    output: Output = "auto"


def presets(channels: int) -> tuple[str, ...]:
    """The presets that fit pictures of so many channels; one of a single channel is for those."""
    fitting = [
        name
        for name, (mean, _) in PRESETS.items()
        if len(mean) in (1, channels) and (name != MNIST or channels == 1)
    ]
    return (AS_THEY_ARE, *fitting, OWN)


def factor(data: ex.Dataset) -> float:
    """What leads to the other of the two usual scales: 255 for values up to 1, else one 255th."""
    return 255.0 if float(data.X.max()) <= 1.0 else 1 / 255


def read(fields: Fields, data: ex.Dataset) -> tuple[Said, dict[str, str]]:
    """What was said, and for each field that cannot be used why, in words."""
    wrong: dict[str, str] = {}
    parts: dict[str, Any] = {"order": fields.order, "layout": fields.layout}
    parts["scale"] = factor(data) if fields.scaled else 1.0
    highest = parts["scale"] * (1.0 if float(data.X.max()) <= 1.0 else 255.0)
    typed: tuple[tuple[str, Any], ...] = (("size", _size(fields.size)), *_moments(fields, highest))
    for name, value in typed:
        try:
            if isinstance(value, str):
                raise ex.InvalidSetting(value)
            ex.Preparation(**{name: value}).array(data.X[:1])  # the sentence belongs to this field alone
            parts[name] = value
        except ex.InvalidSetting as error:
            wrong[name] = str(error)[:1].upper() + str(error)[1:]
    prepared = ex.Preparation(**parts)
    return Said(None if prepared == ex.Preparation() else prepared, fields.output), wrong


def _moments(fields: Fields, highest: float) -> list[tuple[str, Numbers | str]]:
    """Mean and deviation in the model's own scale and order of channels, or what is wrong with them."""
    if fields.preset == OWN:
        return [("mean", _numbers(fields.mean)), ("std", _deviation(fields.std))]
    turn = -1 if fields.order == "reversed" else 1
    mean, std = (
        tuple(round(float(part) * highest, 8) for part in numbers[::turn])
        for numbers in PRESETS.get(fields.preset, ((), ()))
    )
    return [("mean", mean), ("std", std)]


def _size(text: str) -> tuple[int, int] | str | None:
    if not text.strip():
        return None
    found = re.fullmatch(r"(\d{1,5})(?:\s*(?:[×xX*,;]|by|\s)\s*(\d{1,5}))?", text.strip())
    sides = tuple(int(side or found[1]) for side in found.groups()) if found else ()
    if not sides or not all(0 < side <= MOST_SIDE for side in sides):
        return f"Write height × width in pixels, 1 to {MOST_SIDE}, like {SIZE}; leave it empty for no change."
    return sides[0], sides[1]


def _numbers(text: str) -> Numbers | str:
    try:
        found = tuple(float(part) for part in re.split(r"[,;\s]+", text.strip()) if part)
    except ValueError:
        found = (math.nan,)
    if not all(map(math.isfinite, found)):
        return f"Write numbers with commas between them, like {NUMBERS}; one number is used for all channels."
    return found


def _deviation(text: str) -> Numbers | str:
    found = _numbers(text)
    if not isinstance(found, str) and 0 in found:
        return "Nothing can be divided by 0. Write other numbers, or leave it empty to divide by nothing."
    return found
