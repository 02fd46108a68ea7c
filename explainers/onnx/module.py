"""The graph as a torch module: one child for each node, run in order, values dropped after their last use."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.overrides import _get_current_function_mode
from torch.utils._device import DeviceContext

from explainers.onnx.errors import PREDICT_ONLY, UnsupportedOnnx
from explainers.onnx.graph import Data, Graph, Node, Shape, Value
from explainers.onnx.operators import ENSEMBLES, operator_class
from explainers.onnx.operators.shaping import batch_size
from explainers.onnx.sizes import refuse_giant
from explainers.onnx.widening import in_half, widened

LONGEST_NAME = 60
PRODUCTS = frozenset({"Einsum", "MatMul"})
KEEP_SHARES = frozenset(
    {"Cast", "Dropout", "Expand", "Identity", "Mul", "Reshape", "Transpose", "Unsqueeze", "Where"}
)


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
        self.limits = graph.limits
        varying = {*(value.name for value in graph.inputs), *graph.captured}
        steps = []
        for index, node in enumerate(graph.nodes):
            operator = operator_class(node)(node, graph.constants, graph.opset, graph.limits)
            varying.update(filter(None, node.outputs))
            steps.append(self._register(operator, node, index, varying))
        self._plan = _with_last_uses(steps, keep=self.output_names)
        self._known = {name: graph.constants[name] for name in self.output_names if name in graph.constants}
        self.eval()

    def evaluate(self, values: Mapping[str, Data]) -> dict[str, Data]:
        """All outputs by name, from all inputs by name.

        Raises:
            UnsafeOnnx: a node asks for a tensor over the size limit, a loop for too many turns.
        """
        real = next((v.shape[0] for v in values.values() if v.ndim), 1)
        with batch_size(self.declared_batch, real):
            return self.walk(values)

    def walk(self, values: Mapping[str, Data]) -> dict[str, Data]:
        """The same, as part of a run that has begun; a graph inside a graph also takes what it reads from around it."""
        live = {**self._known, **values}
        for step in self._plan:
            live.update(self._run(step, live))
            for name in step.finished:
                live.pop(name, None)
        return {name: live[name] for name in self.output_names}

    def attends(self) -> bool:
        """Whether a softmax is used by a product, as attention is."""
        shares: set[str] = set()
        for step in self._plan:
            kind = getattr(self, step.child).op_type
            given = shares.intersection(step.arguments)
            if kind == "Attention" or (given and kind in PRODUCTS):
                return True
            if kind == "Softmax" or (given and kind in KEEP_SHARES):
                shares.update(step.outputs)
        return False

    def _register(self, operator: nn.Module, node: Node, index: int, varying: set[str]) -> Step:
        name = _child_name(node, index)
        while hasattr(self, name):
            name += "_"
        self.add_module(name, operator)
        self.value_names[name] = node.outputs
        return Step(name, tuple(n for n in node.reads if n in varying), node.outputs, ())

    def _run(self, step: Step, live: Mapping[str, Data]) -> dict[str, Data]:
        operator = getattr(self, step.child)
        try:
            result = operator(*[live[name] for name in step.arguments])
        except Exception as error:
            error.add_note(f"while evaluating the ONNX operator {operator.op_type} ({step.child})")
            raise
        results = dict(zip(step.outputs, result if isinstance(result, tuple) else (result,), strict=False))
        for value in results.values():
            refuse_giant(value.shape, operator.op_type, self.limits)
        return results


class OnnxModule(GraphModule):
    """The graph as a function of one tensor, with gradients.

    A graph with one input for each column of a table takes them side by side in one tensor. A graph in half precision is
    computed in single precision.

    Args:
        output: which output; the first if none is named. What the others need is left out.

    Attributes:
        input_name: of the only input, or the columns' names joined. input_shape, input_dtype: sizes that the file
            leaves open are None.
        output_names: the one that forward returns.
        is_half: whether the file computes in 16 bits, where this module computes in 32.
        one_at_a_time: set it for a file with a fixed batch of one whose cases cannot be computed side by side.

    Raises:
        UnsupportedOnnx: inputs that are no single tensor, an output that is not a real number (a label), operators
            without gradient (trees), or a form of an operator that is not evaluated.
    """

    is_half: bool = False
    one_at_a_time: bool = False
    _types: tuple[torch.dtype | None, ...] = ()

    def __init__(self, graph: Graph, output: str | None = None) -> None:
        kept = graph.restricted_to(output or graph.outputs[0].name)
        self._refuse_inputs(kept)
        (value,) = kept.outputs
        if value.dtype is None or not value.dtype.is_floating_point:
            raise UnsupportedOnnx(
                f"The first output is not a real number, so it has no gradient: {PREDICT_ONLY}. "
                "Export the probabilities or scores as the first output."
            )
        steps = sorted({n.op_type for n in kept.nodes if n.op_type in ENSEMBLES})
        if steps:
            raise UnsupportedOnnx(
                f"The answer of trees ({', '.join(steps)}) is a staircase, whose gradient is 0 wherever it has one: "
                f"{PREDICT_ONLY}."
            )
        half = in_half(kept)
        super().__init__(widened(kept) if half else kept)
        self.is_half = half
        self._types = tuple(value.dtype for value in kept.inputs)

    def _refuse_inputs(self, graph: Graph) -> None:
        real = [v for v in graph.inputs if v.dtype is not None and v.shape is not None]
        columns = all(v.shape is not None and len(v.shape) == 2 and v.shape[1] == 1 for v in real)
        floats = all(v.dtype is not None and v.dtype.is_floating_point for v in real)
        if len(real) == len(graph.inputs) and (len(real) == 1 or (real and columns and floats)):
            return
        names = ", ".join(value.name for value in graph.inputs) or "none"
        raise UnsupportedOnnx(
            f"One input of known rank is needed, or one of real numbers for each column; the model has: {names}. "
            f"{PREDICT_ONLY}."
        )

    @property
    def input_name(self) -> str:
        return ", ".join(value.name for value in self.inputs)

    @property
    def input_shape(self) -> Shape:
        shape = self.inputs[0].shape or ()
        return shape if len(self.inputs) == 1 else (shape[0], len(self.inputs))

    @property
    def input_dtype(self) -> torch.dtype:
        return self.inputs[0].dtype or torch.float32

    def forward(self, x: Tensor) -> Tensor:
        """The output, float32, for x of shape `input_shape` with any batch size.

        Raises:
            ValueError: x does not have that shape.
            MemoryError: several cases while somebody looks at what passes through, where they are computed one at a time:
                who asks in portions then asks again for fewer.
        """
        self._require_shape(x)
        if not self.one_at_a_time or len(x) == 1:
            return self._answer(x)
        if _is_watched(self):
            raise MemoryError(
                "This file is fixed to one case at a time. Ask for one, or export it again with an open batch."
            )
        return torch.cat([self._answer(x[i : i + 1]) for i in range(len(x))]) if len(x) else self._answer(x)

    def _answer(self, x: Tensor) -> Tensor:
        result = self.evaluate(self.named(x))[self.output_names[0]]
        return torch.as_tensor(result).float()

    def named(self, x: Tensor) -> dict[str, Data]:
        """x as the inputs of the graph by name."""
        if len(self.inputs) == 1:
            return {self.input_name: x.to(self.input_dtype)}
        return {v.name: x[:, i : i + 1].to(v.dtype) for i, v in enumerate(self.inputs)}

    def in_file_types(self, x: Tensor) -> dict[str, Data]:
        """x as the file itself takes it, in half precision where it says so."""
        typed = zip(self.named(x).items(), self._types, strict=True)
        return {name: torch.as_tensor(value).to(dtype or torch.float32) for (name, value), dtype in typed}

    def _require_shape(self, x: Tensor) -> None:
        fits = len(self.input_shape) == x.dim() and all(
            wanted in (None, found) for wanted, found in zip(self.input_shape[1:], x.shape[1:], strict=True)
        )
        if not fits:
            raise ValueError(
                f"x must have the shape {('batch', *self.input_shape[1:])}, got {tuple(x.shape)}"
            )


def _is_watched(module: nn.Module) -> bool:
    """Whether somebody looks at what passes through, with hooks or a function mode (that of a default device does not look)."""
    hooked = any(child._forward_hooks or child._forward_pre_hooks for child in module.children())
    mode = _get_current_function_mode()  # type: ignore[no-untyped-call]  # torch's function has no annotations
    return hooked or not isinstance(mode, DeviceContext | None)


def _declared_batch(inputs: tuple[Value, ...]) -> int | None:
    """Of one input, or of the columns together."""
    batches = {value.shape[0] if value.shape else None for value in inputs}
    return batches.pop() if len(batches) == 1 else None


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
