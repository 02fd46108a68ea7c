"""The graph as a torch module: one child for each node, run in order, values dropped after their last use."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from explainers.onnx.errors import PREDICT_ONLY, UnsupportedOnnx
from explainers.onnx.graph import Graph, Node, Shape, Value
from explainers.onnx.operators import OPERATORS
from explainers.onnx.operators.shaping import batch_size
from explainers.onnx.refusal import refuse_giant

LONGEST_NAME = 60


class Step(NamedTuple):
    """Run `child` on `arguments`, store `outputs`, forget `finished`."""

    child: str
    arguments: tuple[str, ...]
    outputs: tuple[str, ...]
    finished: tuple[str, ...]


class GraphModule(nn.Module):
    """Any number of inputs and outputs, by name.

    Nodes that depend on constants alone were folded by read_graph and have no child. Constants are shared with the
    graph, not copied: copy.deepcopy(module) before changing weights.

    Attributes:
        value_names: for each child, the ONNX names of its outputs.
        declared_batch: the batch size that the file is fixed to, or None.
    """

    def __init__(self, graph: Graph) -> None:
        super().__init__()
        # All public attributes exist before the first child does: a child's name must not take the place of one.
        self.inputs = graph.inputs
        self.output_names = tuple(value.name for value in graph.outputs)
        self.value_names: dict[str, tuple[str, ...]] = {}
        self.declared_batch = _declared_batch(graph.inputs)
        varying = {value.name for value in graph.inputs}
        steps = []
        for index, node in enumerate(graph.nodes):
            operator = OPERATORS[node.op_type](node, graph.constants, graph.opset)
            varying.update(filter(None, node.outputs))
            steps.append(self._register(operator, node, index, varying))
        self._plan = _with_last_uses(steps, keep=self.output_names)
        self._known = {name: graph.constants[name] for name in self.output_names if name in graph.constants}
        self.eval()

    def evaluate(self, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """All outputs by name, from all inputs by name.

        Raises:
            UnsafeOnnx: a node asks for a tensor over the size limit.
        """
        live = {**self._known, **values}
        real = next((v.shape[0] for v in values.values() if v.dim()), 1)
        with batch_size(self.declared_batch, real):
            for step in self._plan:
                live.update(self._run(step, live))
                for name in step.finished:
                    live.pop(name, None)
        return {name: live[name] for name in self.output_names}

    def _register(self, operator: nn.Module, node: Node, index: int, varying: set[str]) -> Step:
        name = _child_name(node, index)
        while hasattr(self, name):
            name += "_"
        self.add_module(name, operator)
        self.value_names[name] = node.outputs
        return Step(name, tuple(n for n in node.inputs if n in varying), node.outputs, ())

    def _run(self, step: Step, live: Mapping[str, Tensor]) -> dict[str, Tensor]:
        operator = getattr(self, step.child)
        try:
            result = operator(*[live[name] for name in step.arguments])
        except Exception as error:
            error.add_note(f"while evaluating the ONNX operator {operator.op_type} ({step.child})")
            raise
        results = dict(zip(step.outputs, result if isinstance(result, tuple) else (result,), strict=False))
        for value in results.values():
            refuse_giant(tuple(value.shape), operator.op_type)
        return results


class OnnxModule(GraphModule):
    """The graph as a function of one tensor, with gradients.

    Attributes:
        input_name, input_shape, input_dtype: of the only input; sizes that the file leaves open are None.
        output_names: of the graph; forward returns the first.

    Raises:
        UnsupportedOnnx: several inputs, a first output that is not a real number (a label), or a form of an operator
            that is not evaluated.
    """

    def __init__(self, graph: Graph) -> None:
        if len(graph.inputs) != 1 or graph.inputs[0].shape is None:
            names = ", ".join(value.name for value in graph.inputs) or "none"
            raise UnsupportedOnnx(
                f"One input of known rank is needed; the model has: {names}. {PREDICT_ONLY}."
            )
        if not graph.outputs or not graph.outputs[0].dtype.is_floating_point:
            raise UnsupportedOnnx(
                f"The first output is not a real number, so it has no gradient: {PREDICT_ONLY}. "
                "Export the probabilities or scores as the first output."
            )
        super().__init__(graph)

    @property
    def input_name(self) -> str:
        return self.inputs[0].name

    @property
    def input_shape(self) -> Shape:
        return self.inputs[0].shape or ()

    @property
    def input_dtype(self) -> torch.dtype:
        return self.inputs[0].dtype

    def forward(self, x: Tensor) -> Tensor:
        """The first output, float32, for x of shape `input_shape` with any batch size.

        Raises:
            ValueError: x does not have that shape.
        """
        self._require_shape(x)
        return self.evaluate({self.input_name: x.to(self.input_dtype)})[self.output_names[0]].float()

    def _require_shape(self, x: Tensor) -> None:
        fits = len(self.input_shape) == x.dim() and all(
            wanted in (None, found) for wanted, found in zip(self.input_shape[1:], x.shape[1:], strict=True)
        )
        if not fits:
            raise ValueError(
                f"x must have the shape {('batch', *self.input_shape[1:])}, got {tuple(x.shape)}"
            )


def _declared_batch(inputs: tuple[Value, ...]) -> int | None:
    return inputs[0].shape[0] if len(inputs) == 1 and inputs[0].shape else None


def _child_name(node: Node, index: int) -> str:
    name = re.sub(r"\W+", "_", node.name, flags=re.ASCII).strip("_")[:LONGEST_NAME]
    return name or f"{node.op_type}_{index}"


def _with_last_uses(steps: list[Step], keep: tuple[str, ...]) -> tuple[Step, ...]:
    """Walk backwards: the first time a value is met there is its last use."""
    seen = set(keep)
    plan = []
    for step in reversed(steps):
        finished = dict.fromkeys(name for name in (*step.outputs, *step.arguments) if name not in seen)
        seen.update(finished)
        plan.append(step._replace(finished=tuple(finished)))
    return tuple(reversed(plan))
