"""Encoders and selectors of ai.onnx.ml: text and categories in, numbers out."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from explainers.onnx.graph import Array, Data, as_data
from explainers.onnx.operators.operator import Attributes, Operator


def _array(x: Data) -> Array:
    return x.numpy(force=True) if isinstance(x, Tensor) else x


def _key(value: Any) -> Any:
    """NaN is a key like any other."""
    return None if isinstance(value, float) and math.isnan(value) else value


def looked_up(x: Data, table: Mapping[Any, Any], default: Any, kind: Any) -> Data:
    """The table's value for each of x, the default for those that are not in it."""
    found, where = np.unique(_array(x), return_inverse=True)
    values = np.array([table.get(_key(item), default) for item in found.tolist()], dtype=kind)
    return as_data(values[where].reshape(x.shape))


class LabelEncoder(Operator):
    """One value for another, from a list of pairs; of numbers or text, both ways."""

    any_type = True
    has_gradient = False

    def configure(self, attributes: Attributes) -> None:
        kinds = {"float": np.float32, "int64": np.int64, "string": object}
        classes = attributes.texts("classes_strings")
        if classes is not None:  # opset 1: text to its position and back
            self.table: dict[Any, Any] = dict(zip(classes, range(len(classes)), strict=True))
            self.back: dict[Any, Any] = dict(enumerate(classes))
            self.defaults = (
                attributes.integer("default_int64", -1),
                attributes.text("default_string", "_Unused"),
            )
            return
        self.back = {}
        keys, _ = _listed(attributes, "keys")
        values, name = _listed(attributes, "values")
        if not keys or len(keys) != len(values):
            attributes.refuse(f"{len(keys)} keys and {len(values)} values")
        self.table = {_key(key): value for key, value in zip(keys, values, strict=True)}
        usual = {"float": -0.0, "int64": -1, "string": "_Unused"}
        default = attributes.values("default_tensor")
        words = attributes.array("default_tensor")
        for kind in kinds:
            attributes.ignore(f"default_{kind}")
        if name == "tensor":
            tensor = attributes.values("values_tensor")
            self.kind = object if tensor is None else tensor.numpy().dtype
            given = (
                default.tolist()
                if default is not None
                else []
                if words is None
                else words.reshape(-1).tolist()
            )
            self.default = given[0] if given else usual["string" if tensor is None else "int64"]
        else:
            self.kind = kinds[name]
            self.default = attributes.node.attributes.get(f"default_{name}", usual[name])

    def compute(self, x: Data) -> Data:
        if not self.back:
            return looked_up(x, self.table, self.default, self.kind)
        if isinstance(x, Tensor):
            return looked_up(x, self.back, self.defaults[1], object)
        return looked_up(x, self.table, self.defaults[0], np.int64)


def _listed(attributes: Attributes, what: str) -> tuple[list[Any], str]:
    """Keys or values, in whichever of the spellings the file uses, and that spelling."""
    spellings: dict[str, Any] = {
        "float": attributes.numbers(f"{what}_floats"),
        "int64": attributes.integers(f"{what}_int64s"),
        "string": attributes.texts(f"{what}_strings"),
    }
    for name, items in spellings.items():
        if items:
            return items, name
    words, numbers = attributes.array(f"{what}_tensor"), attributes.values(f"{what}_tensor")
    if numbers is not None:
        return numbers.tolist(), "tensor"
    return ([] if words is None else words.reshape(-1).tolist()), "tensor"


class CategoryMapper(Operator):
    """Text to whole numbers and back."""

    any_type = True
    has_gradient = False

    def configure(self, attributes: Attributes) -> None:
        numbers, words = attributes.integers("cats_int64s") or [], attributes.texts("cats_strings") or []
        if len(numbers) != len(words):
            attributes.refuse(f"{len(numbers)} numbers and {len(words)} words")
        self.numbers = dict(zip(words, numbers, strict=True))
        self.words = dict(zip(numbers, words, strict=True))
        self.defaults = attributes.integer("default_int64", -1), attributes.text("default_string", "_Unused")

    def compute(self, x: Data) -> Data:
        if isinstance(x, Tensor):
            return looked_up(x, self.words, self.defaults[1], object)
        return looked_up(x, self.numbers, self.defaults[0], np.int64)


class OneHotEncoder(Operator):
    """A new last axis with 1 at the category's place; all 0 for one that is not listed (onnxruntime may refuse that)."""

    any_type = True
    has_gradient = False

    def configure(self, attributes: Attributes) -> None:
        listed: list[Any] = attributes.texts("cats_strings") or attributes.integers("cats_int64s") or []
        attributes.ignore("cats_int64s", "zeros")
        self.places = {category: i for i, category in enumerate(listed)}

    def compute(self, x: Data) -> Tensor:
        self.refuse_giant([*x.shape, len(self.places) + 1])
        whole = x.long() if isinstance(x, Tensor) else x
        places = torch.as_tensor(looked_up(whole, self.places, len(self.places), np.int64))
        hot = functional.one_hot(places, len(self.places) + 1)[..., :-1].float()
        return hot.to(x.device) if isinstance(x, Tensor) else hot


class Imputer(Operator):
    """Another value for a missing one, by column."""

    imputed: Tensor

    def configure(self, attributes: Attributes) -> None:
        values = attributes.values("imputed_value_floats")
        whole = attributes.values("imputed_value_int64s")
        missing = attributes.number("replaced_value_float", 0.0)
        missing_whole = attributes.integer("replaced_value_int64", 0)
        self.missing = missing if values is not None else missing_whole
        chosen = values if values is not None else whole
        if chosen is None:
            attributes.refuse("no values to impute")
        self.register_buffer("imputed", chosen)

    def compute(self, x: Tensor) -> Tensor:
        absent = x.isnan() if math.isnan(self.missing) else x == self.missing
        return torch.where(absent, self.imputed.to(x.dtype), x)


class Binarizer(Operator):
    """1 over the threshold, else 0."""

    has_gradient = False

    def configure(self, attributes: Attributes) -> None:
        self.threshold = attributes.number("threshold", 0.0)

    def compute(self, x: Tensor) -> Tensor:
        return (x > self.threshold).to(x.dtype)


class ArrayFeatureExtractor(Operator):
    """Some columns of the last axis; of a single axis they make one row."""

    def compute(self, x: Tensor, places: Tensor) -> Tensor:
        picked = x.index_select(-1, places.reshape(-1))
        return picked[None] if x.dim() == 1 else picked


class FeatureVectorizer(Operator):
    """Columns side by side, each input cut or filled with 0 to its stated width."""

    def configure(self, attributes: Attributes) -> None:
        self.widths = attributes.integers("inputdimensions")

    def compute(self, *values: Tensor) -> Tensor:
        columns = [v.reshape(len(v), -1).float() for v in values]
        widths = self.widths or [c.shape[1] for c in columns]
        for width in widths:
            self.refuse_giant([len(columns[0]), width])
        return torch.cat(
            [functional.pad(c, (0, w - c.shape[1])) for c, w in zip(columns, widths, strict=True)], 1
        )


class ZipMap(Operator):
    """Probabilities with the names of their classes; here the probabilities themselves."""

    def configure(self, attributes: Attributes) -> None:
        attributes.ignore("classlabels_int64s", "classlabels_strings")

    def compute(self, x: Tensor) -> Tensor:
        return x
