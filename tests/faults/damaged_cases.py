"""Sixty damaged but plausible models: what each is, how it is made, and what must happen when it is opened."""

from __future__ import annotations

import io
import json
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tests.faults import good_files
from tests.faults.fuzz import with_sizes

OPENS = "opens"
XGBOOST = "XGBoost JSON file is damaged: .*"
LIGHTGBM = "LightGBM text file is damaged: .*"
SKOPS = "skops file is damaged: .*"


@dataclass(frozen=True)
class Damaged:
    """One file: ``"opens"`` (and predicts finite numbers), or what the error must say."""

    name: str
    make: Callable[[], bytes]
    expected: str
    architecture: Any = None


def xgboost(
    change: Callable[[dict[str, Any], dict[str, Any], list[dict[str, Any]]], Any],
) -> Callable[[], bytes]:
    """The file with a change to its learner, its model or its trees."""

    def make() -> bytes:
        parsed = json.loads(good_files.xgboost_json())
        learner = parsed["learner"]
        model = learner["gradient_booster"]["model"]
        change(learner, model, model["trees"])
        return json.dumps(parsed).encode()

    return make


def _classes(learner: dict[str, Any], stated: str, objective: str) -> None:
    learner["learner_model_param"]["num_class"] = stated
    learner["objective"] = {"name": "multi:softprob", "softmax_multiclass_param": {"num_class": objective}}


def _chain(_: Any, __: Any, trees: list[dict[str, Any]], levels: int = 5_000) -> None:
    """A tree whose every left child is a leaf; XGBoost goes down by calling itself."""
    count = 2 * levels + 1
    inner = np.arange(0, 2 * levels, 2)
    left, right, parents = (np.full(count, fill) for fill in (-1, -1, 2**31 - 1))
    left[inner], right[inner] = inner + 1, inner + 2
    parents[inner + 1], parents[inner + 2] = inner, inner
    same = {
        name: [0.5] * count for name in ("base_weights", "loss_changes", "split_conditions", "sum_hessian")
    }
    none: dict[str, list[int]] = {f"categories{end}": [] for end in ("", "_nodes", "_segments", "_sizes")}
    nought = {name: [0] * count for name in ("default_left", "split_indices", "split_type")}
    trees[0] |= {
        "left_children": left.tolist(),
        "right_children": right.tolist(),
        "parents": parents.tolist(),
    }
    trees[0] |= {**same, **none, **nought}
    trees[0]["tree_param"] |= {"num_nodes": str(count), "num_deleted": "0"}


def lightgbm(name: str, change: Callable[[str], str | None]) -> Callable[[], bytes]:
    """The file with a line of its first tree changed or left out, and the stated sizes put right."""

    def make() -> bytes:
        head, mark, rest = good_files.lightgbm_text().decode().partition("\nTree=0\n")
        lines = rest.split("\n")
        at = next(i for i, line in enumerate(lines) if line.startswith(f"{name}="))
        changed = change(lines[at].partition("=")[2])
        lines[at : at + 1] = [] if changed is None else [f"{name}={changed}"]
        return with_sizes((head + mark + "\n".join(lines)).encode())

    return make


def _first(value: str) -> Callable[[str], str]:
    return lambda line: " ".join([value, *line.split(" ")[1:]])


def _replaced(old: bytes, new: bytes) -> Callable[[], bytes]:
    return lambda: with_sizes(good_files.lightgbm_text().replace(old, new, 1))


def _without_a_tree() -> bytes:
    content = good_files.lightgbm_text()
    return content[: content.index(b"\nTree=1")] + content[content.index(b"\nTree=2") :]


def skops(form: str, change: Callable[[dict[str, Any], dict[str, bytes]], Any]) -> Callable[[], bytes]:
    """An archive with a change to its description or its parts."""

    def make() -> bytes:
        parts = good_files.parts_of(good_files.BUILD[form]())
        schema = json.loads(parts["schema.json"])
        change(schema, parts)
        return good_files.zipped({**parts, "schema.json": json.dumps(schema).encode()})

    return make


def found(schema: Any, **wanted: Any) -> list[dict[str, Any]]:
    """Every part of a description with these entries, in order."""
    if isinstance(schema, list):
        return [part for value in schema for part in found(value, **wanted)]
    if not isinstance(schema, dict):
        return []
    here = [schema] if all(schema.get(f"__{name}__") == value for name, value in wanted.items()) else []
    return here + [part for value in schema.values() for part in found(value, **wanted)]


def _edited(parts: dict[str, bytes], file: str, change: Callable[[np.ndarray], Any]) -> None:
    array = np.load(io.BytesIO(parts[file]))
    changed = change(array)
    buffer = io.BytesIO()
    np.save(buffer, array if changed is None else changed)
    parts[file] = buffer.getvalue()


def _attribute(
    schema: dict[str, Any], parts: dict[str, bytes], name: str, change: Callable[[np.ndarray], Any]
) -> None:
    """An array that is an attribute of the model."""
    _edited(parts, schema["content"]["content"][name]["file"], change)


def _tree_nodes(
    schema: dict[str, Any], parts: dict[str, bytes], field: str, position: int, value: int
) -> None:
    tree = found(schema, loader="TreeNode")[0]
    _edited(
        parts,
        tree["content"]["content"]["nodes"]["file"],
        lambda nodes: nodes[field].__setitem__(position, value),
    )


def _borrowed_number(schema: dict[str, Any], parts: dict[str, bytes]) -> None:
    """A sound node table with the number of another array: skops would give the tree that array instead."""
    tree = found(schema, loader="TreeNode")[0]
    other = next(part for part in found(schema, loader="NdArrayNode") if "nodes" not in part.get("file", ""))
    tree["content"]["content"]["nodes"]["__id__"] = other["__id__"]


def _wider_tree(schema: dict[str, Any], _: Any) -> None:
    """The second tree of a forest reads a column that the forest does not have."""
    member = found(schema, **{"class": "DecisionTreeClassifier"})[-1]
    member["content"]["content"]["n_features_in_"]["content"] = "50"
    tree = found(member, loader="TreeNode")[0]
    tree["__reduce__"]["args"]["content"][0] = {
        **tree["__reduce__"]["args"]["content"][0],
        "content": "50",
        "__id__": 1,
    }
    member["content"]["content"]["n_features_in_"]["__id__"] = 2


def _endless_depth(schema: dict[str, Any], parts: dict[str, bytes]) -> None:
    predictor = found(schema, **{"class": "TreePredictor"})[0]
    file = predictor["content"]["content"]["nodes"]["file"]
    _edited(parts, file, lambda nodes: nodes["depth"].__setitem__(-1, 2**32 - 1))


def _neighbours(schema: dict[str, Any], parts: dict[str, bytes]) -> None:
    """The last node of a neighbour tree is no leaf any more: its children lie behind the end."""
    arrays = [part for part in found(schema, loader="NdArrayNode") if part.get("type") == "numpy"]
    for part in arrays:
        array = np.load(io.BytesIO(parts[part["file"]]))
        if array.dtype.names and "is_leaf" in array.dtype.names:
            _edited(parts, part["file"], lambda nodes: nodes["is_leaf"].__setitem__(-1, 0))
            return
    raise AssertionError("there is no neighbour tree")


def _array_head(_: Any, parts: dict[str, bytes]) -> None:
    name = next(name for name in sorted(parts) if name.endswith(".npy"))
    parts[name] = re.sub(
        rb"'shape': \([^)]*\), }( *)", lambda m: b"'shape': (4294967296,), }" + m[1], parts[name]
    )


def onnx(change: Callable[[Any], Any]) -> Callable[[], bytes]:
    """The network with a change to its description."""

    def make() -> bytes:
        import onnx as library

        model = library.ModelProto.FromString(good_files.onnx_network())
        change(model)
        return bytes(model.SerializeToString())

    return make


def _outside(model: Any) -> None:
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = 1
    tensor.external_data.add(key="location", value="../weights.bin")


def safetensors(change: Callable[[dict[str, Any], bytes], tuple[Any, bytes] | None]) -> Callable[[], bytes]:
    """The weights with a change to their head or their numbers."""

    def make() -> bytes:
        content = good_files.safetensors()
        size = int.from_bytes(content[:8], "little")
        head, numbers = json.loads(content[8 : 8 + size]), content[8 + size :]
        changed = change(head, numbers)
        head, numbers = (head, numbers) if changed is None else changed
        text = head if isinstance(head, bytes) else json.dumps(head).encode()
        return struct.pack("<Q", len(text)) + text + numbers

    return make


def _twice(head: dict[str, Any], numbers: bytes) -> tuple[bytes, bytes]:
    text = json.dumps(head).encode()
    again = json.dumps({"head.bias": head["head.bias"]}).encode()
    return text[:-1] + b", " + again[1:], numbers


def _catboost(change: Callable[[bytes], bytes]) -> Callable[[], bytes]:
    return lambda: change(good_files.catboost_cbm())


_XGBOOST = (
    Damaged("a child beyond the tree", xgboost(lambda _, __, t: t[0]["right_children"].__setitem__(0, 10**6)), f"{XGBOOST}right child points outside"),
    Damaged("two ways to one node", xgboost(lambda _, __, t: t[0]["right_children"].__setitem__(0, 1)), f"{XGBOOST}runs in a circle, or two ways"),
    Damaged("a chain of 5,000 levels", xgboost(_chain), r"5,000 levels in one tree; the limit is 4,096 \(setting limits.tree_depth\)"),
    Damaged("a category of -1", xgboost(lambda _, __, t: t[0]["categories"].__setitem__(0, -1)), f"{XGBOOST}category points outside"),
    Damaged("a category list elsewhere", xgboost(lambda _, __, t: t[0]["categories_segments"].__setitem__(0, 50)), f"{XGBOOST}lists that do not follow each other"),
    Damaged("three trees for two classes", xgboost(lambda learner, _, __: _classes(learner, "2", "2")), f"{XGBOOST}3 trees are not shared equally among 2 outputs"),
    Damaged("classes of the objective", xgboost(lambda learner, _, __: _classes(learner, "3", "7")), f"{XGBOOST}'num_class' is 7, allowed are 3..3"),
    Damaged("a leaf that is NaN", xgboost(lambda _, __, t: t[0]["split_conditions"].__setitem__(-1, float("nan"))), f"{XGBOOST}holds NaN"),
    Damaged("a leaf too large for its type", xgboost(lambda _, __, t: t[0]["split_conditions"].__setitem__(-1, 1e39)), f"{XGBOOST}a number that is too large"),
    Damaged("a best round that is not there", xgboost(lambda learner, _, __: learner["attributes"].update(best_iteration="99")), f"{XGBOOST}'best_iteration' is 99"),
    Damaged("a base score of nan", xgboost(lambda learner, _, __: learner["learner_model_param"].update(base_score="[nan]")), f"{XGBOOST}'base_score' holds NaN"),
    Damaged("UBJ that claims 2^60 numbers", lambda: good_files.xgboost_ubj().replace(b"base_weights[$d#L\0\0\0\0\0\0", b"base_weights[$d#L\x10\0\0\0\0\0", 1), "XGBoost UBJ file is damaged or cut short: it ends too early"),
    Damaged("no stored categories, as before 3.1", xgboost(lambda _, model, __: model.pop("cats")), OPENS),
)  # fmt: skip

_LIGHTGBM = (
    Damaged("no leaves", lightgbm("num_leaves", lambda _: "0"), f"{LIGHTGBM}'num_leaves' is 0"),
    Damaged("no trees for each round", _replaced(b"num_tree_per_iteration=1", b"num_tree_per_iteration=0"), f"{LIGHTGBM}'num_tree_per_iteration' is 0"),
    Damaged("three classes from one tree", _replaced(b"num_class=1", b"num_class=3"), f"{LIGHTGBM}does not fit 1 outputs"),
    Damaged("classes of the objective", lambda: _replaced(b"binary sigmoid:1", b"multiclass num_class:30")().replace(b"num_class=1", b"num_class=3").replace(b"iteration=1", b"iteration=3"), f"{LIGHTGBM}'multiclass num_class:30' does not fit 3 outputs"),
    Damaged("a threshold of nan", lightgbm("threshold", lambda line: " ".join([*line.split(" ")[:-1], "nan"])), f"{LIGHTGBM}'threshold' holds NaN"),
    Damaged("a tree of 10^14 bytes", lambda: re.sub(rb"tree_sizes=\d+", b"tree_sizes=99999999999999", good_files.lightgbm_text()), f"{LIGHTGBM}does not have the stated size"),
    Damaged("two ways to one leaf", lightgbm("left_child", _first("-1")), f"{LIGHTGBM}two ways lead to one node"),
    Damaged("a leaf of 1e999", lightgbm("leaf_value", _first("1e999")), f"{LIGHTGBM}'leaf_value' holds NaN, infinity"),
    Damaged("a tree is missing", _without_a_tree, f"{LIGHTGBM}tree 1 does not have the stated size"),
    Damaged("no gains of the splits", lightgbm("split_gain", lambda _: None), OPENS),
)  # fmt: skip

_CATBOOST = (
    Damaged("half of it", _catboost(lambda c: c[: len(c) // 2]), "CatBoost cbm file is cut short"),
    Damaged("the last byte is missing", _catboost(lambda c: c[:-1]), "CatBoost cbm file is (cut short|damaged)"),
    Damaged("nothing but its mark", _catboost(lambda c: c[:4]), "CatBoost cbm file is (cut short|damaged)"),
    Damaged("a core of 4 GiB", _catboost(lambda c: c[:4] + b"\xff" * 4 + c[8:]), "CatBoost cbm file is cut short"),
    Damaged("a core of noughts", _catboost(lambda c: c[:8] + bytes(len(c) - 8)), "CatBoost cbm file is damaged"),
    Damaged("an empty core", _catboost(lambda c: c[:4] + bytes(4)), "CatBoost cbm file is (cut short|damaged)"),
)  # fmt: skip

_SKOPS = (
    Damaged("a tree's leaf that leads to -2", skops("skops_forest", lambda s, p: _tree_nodes(s, p, "left_child", -1, -2)), f"{SKOPS}left child points outside"),
    Damaged("a tree's nodes under another number", skops("skops_forest", _borrowed_number), f"{SKOPS}two different parts have one number"),
    Damaged("a tree wider than its forest", skops("skops_forest", _wider_tree), f"{SKOPS}a tree works on 50 features, its forest on 3"),
    Damaged("a histogram tree of 4 billion levels", skops("skops_histogram", _endless_depth), f"{SKOPS}states other depths than it has"),
    Damaged("a neighbour tree that goes on", skops("skops_neighbours", _neighbours), f"{SKOPS}KDTree has arrays that do not fit together"),
    Damaged("a vector machine without intercept", skops("skops_vectors", lambda s, p: _attribute(s, p, "_intercept_", lambda _: np.zeros(0))), f"{SKOPS}arrays of unequal lengths"),
    Damaged("support beyond the training data", skops("skops_vectors", lambda s, p: _attribute(s, p, "support_", lambda a: a.__setitem__(0, 10**6))), f"{SKOPS}support points outside"),
    Damaged("an array that claims 32 GiB", skops("skops_forest", _array_head), "damaged skops file: an array claims more numbers than it holds"),
)  # fmt: skip

_ONNX = (
    Damaged("cut in half", lambda: good_files.onnx_network()[:180], "looks like ONNX but is damaged or cut short"),
    Damaged("a tensor with other sides", onnx(lambda m: m.graph.initializer[0].dims.__setitem__(0, 7)), "too small for the declared shape|claims more"),
    Damaged("a tensor of 2^40 numbers", onnx(lambda m: m.graph.initializer[0].dims.__setitem__(0, 2**40)), r"states the shape \(1099511627776, 4\); .*setting limits.tensor_bytes"),
    Damaged("a tensor of a negative side", onnx(lambda m: m.graph.initializer[0].dims.__setitem__(0, -3)), r"states the shape \(-3, 4\)"),
    Damaged("weights in another file", onnx(_outside), "is kept in another file"),
    Damaged("an input that nothing makes", onnx(lambda m: m.graph.node[0].input.__setitem__(1, "nowhere")), "not a valid ONNX model: .*'nowhere'"),
    Damaged("a circle", onnx(lambda m: m.graph.node[0].input.__setitem__(0, "z")), "not a valid ONNX model: .*'z'"),
    Damaged("an output that nothing makes", onnx(lambda m: setattr(m.graph.output[0], "name", "nowhere")), "not a valid ONNX model: .*'nowhere'"),
    Damaged("one name made twice", onnx(lambda m: m.graph.node[1].output.__setitem__(0, "h")), "not a valid ONNX model: .*'h'"),
    Damaged("an operator that is unknown", onnx(lambda m: setattr(m.graph.node[1], "op_type", "Relu6000")), "Relu6000"),
    Damaged("an opset of the future", onnx(lambda m: setattr(m.opset_import[0], "version", 999)), "opset 999"),
    Damaged("a vector for a matrix", onnx(lambda m: m.graph.initializer[0].dims.__setitem__(slice(None), [12])), "onnxruntime cannot open this ONNX file: .*rank"),
)  # fmt: skip

_SAFETENSORS = (
    Damaged("a head longer than the file", lambda: b"\xff\xff\0\0\0\0\0\0" + good_files.safetensors()[8:], "damaged safetensors file: it is cut short within its head"),
    Damaged("cut in half", lambda: good_files.safetensors()[:300], "damaged safetensors file"),
    Damaged("bytes behind the end", lambda: good_files.safetensors() + b"\0\0", "bytes of numbers instead of"),
    Damaged("two tensors on one place", safetensors(lambda h, n: h["head.bias"].update(data_offsets=h["body.bias"]["data_offsets"], shape=[4])), "overlap or leave gaps"),
    Damaged("a gap", safetensors(lambda h, n: h.pop("body.bias") and None), "overlap or leave gaps|bytes of numbers instead of"),
    Damaged("a tensor of 2^60 noughts", safetensors(lambda h, n: h["head.bias"].update(shape=[0, 2**60])), "'head.bias' has a shape that is none"),
    Damaged("a negative side", safetensors(lambda h, n: h["head.bias"].update(shape=[-2])), "'head.bias' has a shape that is none"),
    Damaged("other sides", safetensors(lambda h, n: h["head.bias"].update(shape=[7])), "'head.bias' claims another size than it has"),
    Damaged("a name twice", safetensors(_twice), "a name occurs twice in its head"),
    Damaged("a kind of number that is unknown", safetensors(lambda h, n: h["head.bias"].update(dtype="F12")), "of a kind that is unknown"),
    Damaged("weights that are NaN", safetensors(lambda h, n: (h, b"\xff" * len(n))), "holds NaN or infinity"),
)  # fmt: skip


def _named(form: str, cases: tuple[Damaged, ...], architecture: Any = None) -> tuple[Damaged, ...]:
    return tuple(Damaged(f"{form}: {c.name}", c.make, c.expected, architecture) for c in cases)


CASES: tuple[Damaged, ...] = (
    *_named("XGBoost", _XGBOOST),
    *_named("LightGBM", _LIGHTGBM),
    *_named("CatBoost", _CATBOOST),
    *_named("skops", _SKOPS),
    *_named("ONNX", _ONNX),
    *_named("safetensors", _SAFETENSORS, good_files.ARCHITECTURE),
)
