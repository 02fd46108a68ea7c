"""ONNX: onnxruntime predicts, from bytes; gradients come from our own evaluation in torch where it can run the graph."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pandas as pd
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # protobuf ships no types

from explainers.errors import UnreadableFile, UnsupportedModel
from explainers.explanation import Output
from explainers.loading.sources import File
from explainers.model import Model
from explainers.onnx import (
    Graph,
    OnnxModule,
    UnsafeOnnx,
    UnsupportedOnnx,
    check_against_runtime,
    dry_run,
    needs_dry_run,
    read_graph,
    require_gradient,
    runtime_session,
)
from explainers.wrapping import declared
from explainers.wrapping.torch_module import to_probability

if TYPE_CHECKING:
    from explainers.trees.ensemble import TreeEnsemble

PROBE_CASES = 8
OPEN_SIDE = 5  # for a side that the file leaves open, when probing
TYPES: dict[str, Any] = {
    "tensor(float)": np.float32, "tensor(double)": np.float64, "tensor(int64)": np.int64, "tensor(int32)": np.int32,
    "tensor(float16)": np.float16, "tensor(bool)": np.bool_, "tensor(uint8)": np.uint8, "tensor(string)": np.object_,
}  # fmt: skip
PROBABILITIES = {"Softmax", "Sigmoid"}
ONE_AT_A_TIME = (
    "The file was exported for one case, so gradients are computed one case at a time. Export it with a batch of open "
    "size to have them faster."
)
HALF = (
    "The file computes in half precision; its gradients are computed in single precision, on an answer that differs from "
    "the file's own by at most {:.1g} on made-up cases (relative, or absolute below 1)."
)


def load(file: File, classes: tuple[Any, ...] | None, output: Output = "auto") -> Model:
    """A model from ONNX bytes; raises `UnreadableFile` for a damaged file, `UnsupportedModel` for an unsafe one."""
    graph = _parsed(file).graph
    evaluated, note = _evaluated(file)
    runtime = _Runtime(file.content)
    place, own = _output(runtime, graph)
    module = None
    if evaluated is not None:
        module, note = _module(evaluated, runtime.names[place], file.content)
    family = "ONNX " + ("network" if not _tree_nodes(graph) else "tree model")
    common = {"family": family, "features": runtime.features, "inputs": runtime.inputs, "module": module,
              "estimator": _trees(evaluated), "notes": (note,) if note else ()}  # fmt: skip

    def scores(X: Any) -> np.ndarray:
        return _matrix(runtime(X)[place])

    ending = _ending(graph, runtime.names[place])
    return _as_model(scores, runtime, ending, own, classes, common, output)


def _parsed(file: File) -> onnx.ModelProto:
    try:
        model: onnx.ModelProto = onnx.ModelProto.FromString(file.content)
    except DecodeError as error:
        raise UnreadableFile(
            f"{file.name!r} looks like ONNX but is damaged or cut short. Export it again."
        ) from error
    if not model.graph.node or not model.opset_import:
        raise UnreadableFile(
            f"{file.name!r} looks like ONNX but holds no model, or was cut short. Export it again."
        )
    return model


def _evaluated(file: File) -> tuple[Graph | None, str]:
    """The checked graph, or a note why the evaluation in torch has none; an unsafe file is refused before it is run."""
    try:
        graph = read_graph(file.content, file.limits)
    except UnsafeOnnx:
        raise
    except UnsupportedOnnx as error:
        return None, str(error)
    if needs_dry_run(graph):
        dry_run(graph)
    return graph, ""


def _trees(graph: Graph | None) -> TreeEnsemble | None:
    """The tensor form of a file that is one ensemble of trees, so that tree methods apply."""
    if graph is None or not any("TreeEnsemble" in node.op_type for node in graph.nodes):
        return None
    from explainers.trees.converting.onnx_trees import of_model

    try:
        return of_model(graph)
    except UnsupportedModel:
        return None


def _module(graph: Graph, output: str, content: bytes) -> tuple[OnnxModule | None, str]:
    """The torch evaluation of one output with its gradients, or a note why there are none."""
    try:
        module = OnnxModule(graph, output)
        difference = _checked(module, content, output)
        require_gradient(module)
    except UnsafeOnnx:
        raise
    except UnsupportedOnnx as error:
        return None, str(error)
    notes = [ONE_AT_A_TIME] if module.one_at_a_time else []
    notes += [HALF.format(difference)] if module.is_half else []
    return module, " ".join(notes)


def _checked(module: OnnxModule, content: bytes, output: str) -> float:
    """The difference to onnxruntime; a file exported for one case is run one case at a time if a batch does not do."""
    try:
        return check_against_runtime(module, content, output=output)
    except UnsafeOnnx:
        raise
    except UnsupportedOnnx:
        if module.declared_batch != 1:
            raise
        module.one_at_a_time = True
        return check_against_runtime(module, content, output=output)


class _Runtime:
    """An onnxruntime session that takes what a data set holds.

    Attributes:
        names: of the outputs. inputs: as `Model.inputs`. features: the columns, where there is one input for each.
    """

    def __init__(self, content: bytes) -> None:
        try:
            self.session = runtime_session(content, threads=2)
        except Exception as error:  # onnxruntime's errors share no base but Exception
            text = str(error).splitlines()[0][:200]
            raise UnsupportedModel(
                f"onnxruntime cannot open this ONNX file: {text}. Export it again."
            ) from error
        self.arguments = self.session.get_inputs()
        self.names = [value.name for value in self.session.get_outputs()]
        strange = [a.name for a in self.arguments if a.type not in TYPES]
        if strange or not self.arguments:
            raise UnsupportedModel(
                f"The ONNX file has inputs that no table or picture can fill: {', '.join(strange) or 'none'}."
            )
        shape = self.arguments[0].shape
        self.batch = shape[0] if shape and isinstance(shape[0], int) else None
        self.single = len(self.arguments) == 1
        sides = tuple(side if isinstance(side, int) and side > 0 else None for side in shape[1:])
        self.features = None if self.single else tuple(a.name for a in self.arguments)
        if not self.single:
            self.inputs: int | tuple[int | None, ...] | None = len(self.arguments)
            self.batch = None
        else:
            self.inputs = sides[0] if len(sides) == 1 else (sides or None)
        self.flat = self.single and len(shape) == 2

    def __call__(self, X: Any) -> list[Any]:
        """All outputs for the rows of a data set, run in pieces of the declared batch where there is one."""
        count = len(X)
        if not self.single:
            return list(self.session.run(None, self._columns(X)))
        rows = self._rows(X)
        step = self.batch or max(count, 1)
        name = self.arguments[0].name
        pieces = [
            self.session.run(None, {name: _filled(rows[i : i + step], step if self.batch else 0)})
            for i in range(0, count, step)
        ]
        return [_joined([piece[i] for piece in pieces], count) for i in range(len(self.names))]

    def _rows(self, X: Any) -> np.ndarray:
        kind = TYPES[self.arguments[0].type]
        values = X.to_numpy() if isinstance(X, pd.DataFrame) else np.asarray(X)
        if self.flat:
            values = values.reshape(len(values), -1)
        try:
            return np.ascontiguousarray(values.astype(kind))
        except (ValueError, TypeError) as error:
            raise UnsupportedModel(
                f"The ONNX model takes numbers; these data hold text ({str(error)[:80]}). Encode it first."
            ) from error

    def _columns(self, X: Any) -> dict[str, np.ndarray]:
        if not isinstance(X, pd.DataFrame):
            raise UnsupportedModel(
                "The ONNX model takes one input for each column; these data are not a table."
            )
        feed = {}
        for argument in self.arguments:
            if argument.name not in X.columns:
                raise UnsupportedModel(
                    f"The model needs the column {argument.name!r}, which these data lack."
                )
            column = X[argument.name]
            if argument.type == "tensor(string)":
                column = column.astype(object).where(column.notna(), "")
            feed[argument.name] = column.to_numpy().astype(TYPES[argument.type]).reshape(-1, 1)
        return feed

    def probe(self) -> Any:
        """Seeded random cases, or ``None`` where the inputs cannot be made up."""
        if not self.single or self.arguments[0].type == "tensor(string)":
            return None
        sides = [
            side if isinstance(side, int) and side > 0 else OPEN_SIDE for side in self.arguments[0].shape[1:]
        ]
        return np.random.default_rng(0).normal(size=(PROBE_CASES, *sides))


def _filled(rows: np.ndarray, size: int) -> np.ndarray:
    """The last piece of a declared batch, filled up with its own last row."""
    lacking = size - len(rows)
    return np.concatenate([rows, np.repeat(rows[-1:], lacking, axis=0)]) if lacking > 0 else rows


def _joined(pieces: list[Any], count: int) -> Any:
    if pieces and isinstance(pieces[0], list):  # a ZipMap: one dictionary for each row
        return [row for piece in pieces for row in piece][:count]
    return (
        np.concatenate(pieces)[:count]
        if len(pieces) > 1
        else (pieces[0][:count] if pieces else np.empty((0, 1)))
    )


def _matrix(answer: Any) -> np.ndarray:
    """``(n, k)`` from an array, from ``(n, k, 1, 1)``, or from a ZipMap's dictionaries."""
    if isinstance(answer, list):
        return np.array([list(row.values()) for row in answer], dtype=np.float64)
    values = np.asarray(answer)
    if values.ndim > 2 and np.prod(values.shape[2:]) == 1:
        return values.reshape(values.shape[:2])
    return values


def _output(runtime: _Runtime, graph: onnx.GraphProto) -> tuple[int, tuple[Any, ...] | None]:
    """Which output to read, and the classes that the file itself names.

    scikit-learn converters give a label and the probabilities, as an array or as dictionaries (ZipMap).
    """
    outputs = runtime.session.get_outputs()
    real = [
        i
        for i, value in enumerate(outputs)
        if value.type in ("tensor(float)", "tensor(double)", "tensor(float16)")
    ]
    maps = [i for i, value in enumerate(outputs) if value.type.startswith("seq(map(")]
    named = [i for i in real if "prob" in outputs[i].name.lower()]
    candidates = maps or named or real
    if not candidates:
        raise UnsupportedModel(
            "The ONNX file answers labels only. Export it with scores or probabilities as an output."
        )
    labels = any(value.type in ("tensor(int64)", "tensor(string)") for value in outputs)
    return candidates[0], _class_names(graph) if maps or named or labels else None


def _class_names(graph: onnx.GraphProto) -> tuple[Any, ...]:
    """The labels that a classifier or a ZipMap of the ``ai.onnx.ml`` operators holds."""
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.name.startswith(("classlabels_", "class_labels")) and (
                attribute.ints or attribute.strings
            ):
                return tuple(attribute.ints) or tuple(
                    text.decode("utf-8", "replace") for text in attribute.strings
                )
    for tensor in graph.initializer:
        if tensor.name.lower().startswith("classes") and len(tensor.dims) == 1:
            found = onnx.numpy_helper.to_array(tensor).tolist()
            return tuple(v.decode("utf-8", "replace") if isinstance(v, bytes) else v for v in found)
    return ()


def _tree_nodes(graph: onnx.GraphProto) -> bool:
    return any(node.op_type.startswith("TreeEnsemble") for node in graph.node)


def _ending(graph: onnx.GraphProto, name: str) -> str:
    """The operator that makes an output, looking through operators that only rearrange."""
    makers = {output: node for node in graph.node for output in node.output}
    while name in makers:
        node = makers[name]
        if (
            node.op_type not in ("Identity", "Reshape", "Squeeze", "Flatten", "Cast", "Unsqueeze")
            or not node.input
        ):
            return str(node.op_type)
        name = node.input[0]
    return ""


def _as_model(
    scores: Callable[[Any], np.ndarray],
    runtime: _Runtime,
    ending: str,
    own: tuple[Any, ...] | None,
    classes: tuple[Any, ...] | None,
    common: dict[str, Any],
    output: Output = "auto",
) -> Model:
    """Probabilities, scores of classes, or numbers: as declared, or from the operators, the outputs' names and a probe."""
    example = _probed(scores, runtime)
    sure = ending in PROBABILITIES or own is not None or (example is not None and _sums_to_one(example))
    outputs = None if example is None else example.shape[1]
    classifies = sure or classes is not None or ending == "LogSoftmax"
    if output != "auto":
        looks, sure, classifies = sure, output == "probability", output != "target"
        common = common | {"notes": (*common["notes"], *_odd(output, looks, ending))}
    if not classifies:
        return Model(scores, "regression", **common)
    names = classes or own or tuple(str(i) for i in range(max(2, outputs or 2)))
    if outputs is not None and len(names) != max(2, outputs):
        raise UnsupportedModel(
            f"The ONNX model has {max(2, outputs)} classes; {len(names)} names were given."
        )
    labels = own or tuple(range(len(names)))
    if sure:
        if output == "probability":
            declared.probabilities(() if example is None else example)
            scores = declared.checked(scores)
        return Model(scores, "classification", names, labels, "probability", **common)

    def margins(X: Any) -> np.ndarray:
        found = scores(X).reshape(len(X), -1)
        return np.hstack([-found, found]) if found.shape[1] == 1 else found

    def probabilities(X: Any) -> np.ndarray:
        return to_probability(scores(X))

    return Model(
        probabilities, "classification", names, labels, "probability", raw_predictor=margins, **common
    )


def _odd(output: Output, looks: bool, ending: str) -> tuple[str, ...]:
    """A note where raw scores are declared of what looks like probabilities."""
    if output != "raw" or not looks:
        return ()
    said = f"the file ends in {ending}" if ending in PROBABILITIES else "its answers look like probabilities"
    return (declared.contradiction(said),)


def _probed(scores: Callable[[Any], np.ndarray], runtime: _Runtime) -> np.ndarray | None:
    """The answer to made-up cases, ``(8, k)``; ``None`` where there are none or the model does not take them."""
    cases = runtime.probe()
    if cases is None:
        return None
    try:
        found = scores(cases)
    except UnsupportedModel:
        raise
    except Exception as error:  # onnxruntime's errors share no base but Exception
        text = str(error).splitlines()[0][:200]
        raise UnsupportedModel(
            f"The ONNX model fails on made-up cases of its own input shape: {text}."
        ) from error
    if found.ndim == 1 and len(found) == len(cases):
        return found[:, None]
    if found.ndim != 2 or len(found) != len(cases):
        raise UnsupportedModel(
            f"The ONNX model answers shape {found.shape} for {len(cases)} cases; expected one row of numbers for each. "
            "Export the model with one prediction for each case as its first output."
        )
    return found


def _sums_to_one(answer: np.ndarray) -> bool:
    finite = np.isfinite(answer).all()
    return bool(
        answer.shape[1] > 1
        and finite
        and (answer >= 0).all()
        and np.allclose(answer.sum(axis=1), 1.0, atol=1e-4)
    )
