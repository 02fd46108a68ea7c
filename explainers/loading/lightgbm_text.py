"""LightGBM's text format, checked whole and read here: its own parser aborts the process on many damaged files.

What prediction does not need (the training parameters, the importances) is not read.
"""

from __future__ import annotations

import dataclasses
import json
import re
from typing import Any

import numpy as np

from explainers.errors import UnsupportedModel
from explainers.loading import tree_files
from explainers.loading.sources import File
from explainers.loading.structure import damaged, finite, number, numbers, tree, whole, within
from explainers.model import Model
from explainers.trees.converting import lightgbm_trees
from explainers.trees.converting.lightgbm_linear import LinearLeaves
from explainers.trees.converting.lightgbm_trees import Fields
from explainers.trees.ensemble import TreeEnsemble

FORM = "LightGBM text"
OBJECTIVES = frozenset({
    "regression", "regression_l1", "huber", "fair", "poisson", "quantile", "mape", "gamma", "tweedie",
    "binary", "multiclass", "multiclassova", "cross_entropy", "cross_entropy_lambda", "lambdarank",
    "rank_xendcg", "custom",
})  # fmt: skip
MOST = 10_000_000
END_OF_TREES = "end of trees"
END = "end of parameters"
CATEGORIES = "pandas_categorical:"
HEADER = frozenset({
    "tree", "average_output", "version", "num_class", "num_tree_per_iteration", "label_index",
    "max_feature_idx", "objective", "feature_names", "feature_infos", "monotone_constraints", "tree_sizes",
})  # fmt: skip
WHOLE_FIELDS = frozenset({
    "num_leaves", "num_cat", "split_feature", "decision_type", "left_child", "right_child", "leaf_count",
    "internal_count", "cat_boundaries", "cat_threshold", "is_linear", "num_features", "leaf_features",
})  # fmt: skip
REAL_FIELDS = frozenset({
    "split_gain", "threshold", "leaf_value", "leaf_weight", "internal_value", "internal_weight",
    "leaf_const", "leaf_coeff", "shrinkage",
})  # fmt: skip
#: Lines that may be left out or empty, and how many fewer values than leaves they have.
_OPTIONAL = (
    ("split_gain", 1), ("internal_value", 1), ("internal_weight", 1), ("internal_count", 1), ("leaf_weight", 0),
    ("leaf_count", 0),
)  # fmt: skip
WHOLE = re.compile(r"[-0-9 ]*")
REAL = re.compile(r"[-+.0-9einfa ]*")  # the alphabet only; each number is then read by itself
INFO = re.compile(r"none|\[[-+.\deinfa]+:[-+.\deinfa]+\]|-?\d+(:-?\d+)*")
SETTINGS = ("sigmoid", "num_class", "alpha", "fair_c", "max_delta_step", "tweedie_variance_power", "lambda")
SETTING = re.compile(r"\d+(\.\d+)?(e[+-]?\d+)?")


def load(file: File, classes: tuple[Any, ...] | None) -> Model:
    """The model in a text file."""
    told = checked(file)
    columns = lightgbm_trees.columns(told)
    trees: TreeEnsemble | None = None
    notes: tuple[str, ...] = ()
    try:
        trees = lightgbm_trees.of_fields(told)
    except UnsupportedModel as error:
        notes = (str(error),)
    raw, predicted = (trees.raw, trees.linked) if trees else _beyond_trees(told)
    found = tree_files.model(
        f"LightGBM ({told.objective})",
        columns,
        raw,
        predicted,
        trees,
        classes,
        outputs=int(told.header["num_tree_per_iteration"]),
        classifies=told.objective in ("binary", "multiclass", "multiclassova", "cross_entropy"),
    )
    return dataclasses.replace(found, notes=notes)


def _beyond_trees(told: Fields) -> tuple[tree_files.Answer, tree_files.Answer]:
    """Sums, and what the objective makes of them, where no tensor form answers for both."""
    link = lightgbm_trees.LINKS.get(told.objective, "identity")
    sums = lightgbm_trees.sums(told, link)
    raw = LinearLeaves(told).raw if told.linear else sums.raw
    if told.root:
        return raw, lambda found: np.sign(found) * found**2
    if told.objective == "cross_entropy_lambda":
        return raw, lambda found: np.logaddexp(0.0, found)
    return raw, sums.linked


def checked(file: File) -> Fields:
    """What the text says; raises `UnreadableFile` unless it is complete and every index points at something."""
    content = file.content
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        damaged(FORM, f"it is not UTF-8 text ({error.reason} at byte {error.start})")
    if "\r" in text or "\0" in text:
        damaged(FORM, "its line ends were changed, so the stated sizes of the trees are wrong")
    start = text.find("\nTree=0\n")
    stop = text.find(f"\n{END_OF_TREES}\n")
    if stop < 0:
        damaged(FORM, f"it is cut short: {END_OF_TREES!r} is missing")
    header = _header(text[: start if 0 <= start < stop else stop])
    features = number(header, "max_feature_idx", FORM, 0, MOST) + 1
    file.limits.hold(file.name, "columns", features)
    for name in ("feature_names", "feature_infos"):
        if len(header.get(name, "").split(" ")) != features:
            damaged(FORM, f"{name!r} does not fit the {features} features")
    names = header["feature_names"].split(" ")
    if len(set(names)) < len(names):
        damaged(FORM, "two features have one name")
    if not all(INFO.fullmatch(info) for info in header["feature_infos"].split(" ")):
        damaged(FORM, "'feature_infos' holds something else")
    outputs = number(header, "num_tree_per_iteration", FORM, 1, MOST)
    _objective(header.get("objective", "custom"), number(header, "num_class", FORM, 1, MOST), outputs)
    blocks = _blocks(content, header)
    if len(blocks) % outputs:
        damaged(FORM, f"{len(blocks)} trees cannot be divided among {outputs} outputs")
    nodes = 0
    trees = []
    for position, block in enumerate(blocks):
        what = f"tree {position}"
        trees.append(_tree_fields(block, what))
        nodes += 2 * _tree(trees[-1], features, what, file) - 1
        file.limits.hold(file.name, "nodes", nodes)
    return Fields(header, trees, _stored_categories(text[stop:]))


def _header(text: str) -> dict[str, str]:
    lines = text.split("\n")
    strange = [line for line in lines if line.partition("=")[0] not in HEADER and line]
    if strange:
        damaged(FORM, f"its head holds {strange[0][:40]!r}")
    found = _fields(text)
    if "average_output" in lines:  # of random forests; it needs no value
        found["average_output"] = ""
    if found.get("version") not in ("v2", "v3", "v4"):
        damaged(FORM, f"its version is {found.get('version', 'missing')[:10]!r}; v2, v3 and v4 are known")
    number(found, "label_index", FORM, 0, MOST)
    return found


def _objective(stated: str, classes: int, outputs: int) -> None:
    """The objective's own settings must agree with the head: LightGBM indexes by both."""
    name, *settings = stated.split(" ")
    if name not in OBJECTIVES:
        damaged(FORM, f"the objective {stated[:40]!r} is unknown")
    if not all(_known_setting(setting) for setting in settings):
        damaged(FORM, f"the objective {stated[:60]!r} has unknown settings")
    several = name in ("multiclass", "multiclassova")
    if (
        classes != outputs
        or (several and (f"num_class:{classes}" not in settings or classes < 2))
        or (name == "binary" and outputs != 1)
    ):
        damaged(FORM, f"the objective {stated[:40]!r} does not fit {outputs} outputs")


def _known_setting(setting: str) -> bool:
    name, _, value = setting.partition(":")
    return setting == "sqrt" or (name in SETTINGS and bool(SETTING.fullmatch(value)))


def _fields(block: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in block.split("\n"):
        name, sign, value = line.partition("=")
        if sign and name in found:
            damaged(FORM, f"{name[:40]!r} occurs twice")
        if sign:
            found[name] = value
    return found


def _blocks(content: bytes, header: dict[str, str]) -> list[str]:
    """The trees, cut by their stated sizes as LightGBM does, which must agree with where they are."""
    if "tree_sizes" not in header:
        damaged(FORM, "'tree_sizes' is missing")
    sizes = whole(header["tree_sizes"].split(), FORM, "'tree_sizes'")
    at = content.find(b"\nTree=0\n") + 1
    if not len(sizes):
        if at > 0:
            damaged(FORM, "the trees do not have the stated sizes")
        return []
    blocks = []
    for position, size in enumerate(sizes):
        block = content[at : at + size].decode("utf-8", "replace")
        if (
            size <= 0
            or not block.startswith(f"Tree={position}\n")
            or block.count("\nTree=")
            or END_OF_TREES in block
        ):
            damaged(FORM, f"tree {position} does not have the stated size")
        blocks.append(block)
        at += size
    if not content[at:].startswith(END_OF_TREES.encode()):
        damaged(FORM, "the trees do not have the stated sizes")
    return blocks


def _tree_fields(block: str, what: str) -> dict[str, str]:
    """Known lines in the alphabet of numbers: LightGBM ends the process at a token it cannot read, Python reads more."""
    for line in block.split("\n")[1:]:
        name, _, value = line.partition("=")
        allowed = WHOLE if name in WHOLE_FIELDS else REAL if name in REAL_FIELDS else None
        if line and (allowed is None or not allowed.fullmatch(value)):
            damaged(FORM, f"{what} has a line {line[:40]!r}, which should hold numbers")
    return _fields(block)


def _tree(fields: dict[str, str], features: int, what: str, file: File) -> int:
    """Check one tree; how many leaves it has."""
    leaves = number(fields, "num_leaves", FORM, 1, MOST)
    for name, size in (("leaf_value", leaves), ("shrinkage", 1)):
        finite(numbers(_tokens(fields, name), FORM, f"{what}, {name!r}", size), FORM, f"{what}, {name!r}")
    categories = _categories(fields, what)
    for name, size in _OPTIONAL:
        if fields.get(name):
            found = numbers(_tokens(fields, name), FORM, f"{what}, {name!r}", leaves - size)
            finite(found, FORM, f"{what}, {name!r}")
            if name.endswith("_count"):
                within(found, 0, 2**31, FORM, f"{what}, {name!r}")
    if leaves > 1:
        left, right, split, kinds = (
            whole(_tokens(fields, name), FORM, f"{what}, {name!r}", leaves - 1)
            for name in ("left_child", "right_child", "split_feature", "decision_type")
        )
        thresholds = numbers(_tokens(fields, "threshold"), FORM, f"{what}, 'threshold'", leaves - 1)
        if np.isnan(thresholds).any():
            damaged(FORM, f"{what}, 'threshold' holds NaN")
        within(split, 0, features, FORM, f"{what}, split feature")
        within(kinds, 0, 16, FORM, f"{what}, decision type")
        chosen = thresholds[kinds % 2 == 1]
        within(whole(chosen, FORM, f"{what}, category list"), 0, categories, FORM, f"{what}, category list")
        _shape(left, right, leaves, what, file)
    if fields.get("is_linear", "0") != "0":
        _linear(fields, leaves, features, what)
    return leaves


def _shape(left: np.ndarray, right: np.ndarray, leaves: int, what: str, file: File) -> None:
    """Inner nodes are 0, 1, …; leaves are -1, -2, …: put the leaves behind the inner nodes."""
    joined = []
    for children in (left, right):
        within(children, -leaves, leaves - 1, FORM, f"{what}, child")
        nodes = np.where(children < 0, leaves - 1 + ~children, children)
        joined.append(np.concatenate([nodes, np.full(leaves, -1)]))
    reached, _ = tree(joined[0], joined[1], FORM, what, file)
    if len(reached) != 2 * leaves - 1:
        damaged(FORM, f"{what} has nodes that nothing leads to")


def _categories(fields: dict[str, str], what: str) -> int:
    count = number(fields, "num_cat", FORM, 0, MOST)
    if count:
        bounds = whole(_tokens(fields, "cat_boundaries"), FORM, f"{what}, 'cat_boundaries'", count + 1)
        bits = whole(_tokens(fields, "cat_threshold"), FORM, f"{what}, 'cat_threshold'")
        if bounds[0] != 0 or (np.diff(bounds) < 0).any() or bounds[-1] != len(bits):
            damaged(FORM, f"{what} has category lists of unequal lengths")
        within(bits, 0, 2**32, FORM, f"{what}, 'cat_threshold'")
    return count


def _linear(fields: dict[str, str], leaves: int, features: int, what: str) -> None:
    constant = numbers(_tokens(fields, "leaf_const"), FORM, f"{what}, 'leaf_const'", leaves)
    sizes = whole(_tokens(fields, "num_features"), FORM, f"{what}, 'num_features'", leaves)
    within(sizes, 0, features + 1, FORM, f"{what}, 'num_features'")
    used = whole(_tokens(fields, "leaf_features"), FORM, f"{what}, 'leaf_features'", int(sizes.sum()))
    within(used, 0, features, FORM, f"{what}, 'leaf_features'")
    slopes = numbers(_tokens(fields, "leaf_coeff"), FORM, f"{what}, 'leaf_coeff'", int(sizes.sum()))
    finite(np.concatenate([constant, slopes]), FORM, f"{what}, a linear leaf")


def _tokens(fields: dict[str, str], name: str) -> list[float] | None:
    if name not in fields:
        return None
    try:
        return [float(token) for token in fields[name].split()]
    except ValueError:
        damaged(FORM, f"{name!r} should hold numbers")


def _stored_categories(text: str) -> list[list[Any]]:
    """After the trees come importances, parameters, and the categories that pandas had: only these matter."""
    end = text.find(f"\n{END}\n")
    if end < 0:
        damaged(FORM, f"it is cut short: {END!r} is missing")
    rest = text[end + len(END) + 2 :].strip()
    if not rest:
        return []
    try:
        if not rest.startswith(CATEGORIES):
            raise ValueError(rest[:40])
        stored = json.loads(rest.removeprefix(CATEGORIES))
    except (ValueError, RecursionError):
        damaged(FORM, "the categories at its end are cut short")
    if stored is not None and not (isinstance(stored, list) and all(map(_are_categories, stored))):
        damaged(FORM, "the categories at its end are of the wrong kind")
    return stored or []


def _are_categories(group: Any) -> bool:
    """Texts or numbers, each once: pandas makes a category of each."""
    return (
        isinstance(group, list)
        and all(isinstance(value, (str, int, float)) and value == value for value in group)
        and len(set(group)) == len(group)
    )
