"""One ONNX node as a torch module: constants are held, values of the run are passed.

A subclass names its inputs in `roles`, reads its attributes in `configure`, and computes in `compute`, which gets every
input in ONNX order (None for one that is left out). Forward hooks see only the values of the run, as in any torch module.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from explainers.loading.limits import Limits
from explainers.onnx.errors import PREDICT_ONLY, UnsupportedOnnx
from explainers.onnx.graph import Array, Attribute, Data, Graph, Node
from explainers.onnx.operators.standins import MOVERS, with_standins
from explainers.onnx.sizes import refuse_giant

_OF_THE_RUN = 0
Slot = str | int | None  # the name of a held constant, a value of the run, or nothing


class Attributes:
    """The attributes of a node, typed on reading; one that nobody reads would be silently ignored, so it is refused."""

    def __init__(self, node: Node, opset: int) -> None:
        self.node = node
        self.opset = opset
        self._read: set[str] = set()

    def integer(self, name: str, default: int) -> int:
        value = self._get(name)
        return value if isinstance(value, int) else default

    def number(self, name: str, default: float) -> float:
        value = self._get(name)
        return float(value) if isinstance(value, int | float) else default

    def text(self, name: str, default: str) -> str:
        value = self._get(name)
        return value if isinstance(value, str) else default

    def tensor(self, name: str, default: Tensor) -> Tensor:
        value = self._get(name)
        return value if isinstance(value, Tensor) else default

    def values(self, name: str) -> Tensor | None:
        """Numbers that the file may write as a list, or as a tensor called `name`_as_tensor (or just `name`)."""
        for spelling in (name, f"{name}_as_tensor"):
            value = self._get(spelling)
            if isinstance(value, Tensor):
                return value.reshape(-1)
            if isinstance(value, tuple) and not any(isinstance(item, str) for item in value):
                return torch.tensor(value)
        return None

    def array(self, name: str) -> Array | None:
        """A tensor of a type that torch lacks, e.g. text."""
        value = self._get(name)
        return value if isinstance(value, np.ndarray) else None

    def body(self, name: str) -> Graph:
        return self.node.bodies[name]

    def integers(self, name: str) -> list[int] | None:
        value = self._get(name)
        return [int(item) for item in value] if isinstance(value, tuple) else None

    def numbers(self, name: str) -> list[float] | None:
        value = self._get(name)
        return [float(item) for item in value] if isinstance(value, tuple) else None

    def texts(self, name: str) -> list[str] | None:
        value = self._get(name)
        return [str(item) for item in value] if isinstance(value, tuple) else None

    def expect(self, name: str, wanted: int | float | str) -> None:
        """Allow the attribute only with the one value that is evaluated."""
        if self._get(name) not in (None, wanted):
            self.refuse(f"{name}={self._get(name)!r}")

    def ignore(self, *names: str) -> None:
        """Attributes that cannot change the result."""
        self._read.update(names)

    def refuse(self, what: str) -> None:
        raise UnsupportedOnnx(f"{self.node} with {what} has no evaluation here: {PREDICT_ONLY}.")

    def unread(self) -> set[str]:
        return set(self.node.attributes) - self._read

    def _get(self, name: str) -> Attribute | None:
        self._read.add(name)
        return self.node.attributes.get(name)


class Operator(nn.Module):
    """Base of all operators.

    Args:
        node: the ONNX node.
        constants: the values known before any run; those that the node uses become parameters (weights) or buffers.
        opset: the version whose rules apply.
        limits: what the node may ask for in a run.

    Attributes:
        roles: names of the inputs. statistics: roles of numbers that are stored, not trained.
        any_type: whether `compute` takes numpy arrays and unsigned integers as they are.
        has_gradient: False where the answer is a staircase.
    """

    roles: ClassVar[tuple[str, ...]] = ()
    statistics: ClassVar[frozenset[str]] = frozenset()
    max_outputs: ClassVar[int] = 1
    any_type: ClassVar[bool] = False
    has_gradient: ClassVar[bool] = True
    compute: Callable[..., Any]

    def __init__(
        self, node: Node, constants: Mapping[str, Data], opset: int, limits: Limits = Limits()
    ) -> None:
        super().__init__()
        self.op_type = node.op_type
        self.opset = opset
        self.limits = limits
        self.outputs = len(node.outputs)
        attributes = Attributes(node, opset)
        if any(node.outputs[self.max_outputs :]):
            attributes.refuse(f"{len(node.outputs)} outputs")
        self._slots = tuple(self._slot(i, name, constants) for i, name in enumerate(node.reads))
        self.configure(attributes)
        if attributes.unread():
            attributes.refuse(f"the attribute(s) {', '.join(sorted(attributes.unread()))}")

    def configure(self, attributes: Attributes) -> None:
        """Read the attributes; the default has none."""

    def forward(self, *values: Data) -> Any:
        rest = iter(values)
        inputs = [next(rest) if slot == _OF_THE_RUN else self._held(slot) for slot in self._slots]
        if self.any_type:
            result = self.compute(*inputs)
        else:
            result = with_standins(self.compute, inputs, self.op_type in MOVERS)
        return result[0] if isinstance(result, tuple) and self.outputs == 1 else result

    def refuse_giant(self, shape: Iterable[int]) -> None:
        """Asked before a tensor of this shape is allocated; raises UnsafeOnnx."""
        refuse_giant(shape, self.op_type, self.limits)

    def is_held(self, role: str) -> bool:
        """Whether this input is a constant of the file, e.g. a trained weight."""
        return role in self._slots

    def extra_repr(self) -> str:
        return self.op_type

    def _slot(self, position: int, name: str, constants: Mapping[str, Data]) -> Slot:
        if not name:
            return None
        if name not in constants:
            return _OF_THE_RUN
        role = self.roles[position] if position < len(self.roles) else f"constant_{position}"
        self._hold(role, constants[name])
        return role

    def _hold(self, role: str, value: Data) -> None:
        if not isinstance(value, Tensor):
            setattr(self, role, value)
            return
        # Scalars such as an epsilon or an exponent are not weights: a test that randomises parameters must miss them.
        if value.is_floating_point() and value.dim() and role not in self.statistics:
            self.register_parameter(role, nn.Parameter(value, requires_grad=False))
        else:
            self.register_buffer(role, value)

    def _held(self, slot: Slot) -> Data | None:
        return getattr(self, slot) if isinstance(slot, str) else None


def sizes(value: Tensor) -> list[int]:
    """A shape, axes or pads tensor as Python integers."""
    return [int(item) for item in value.reshape(-1).tolist()]


def axis_of(axis: int, value: Tensor) -> int:
    """The axis counted from the front."""
    return axis + value.dim() if axis < 0 else axis


def as_scalar(value: Tensor | None, default: float) -> float:
    return default if value is None else float(value)


def integer_tensor(values: list[int], like: Tensor) -> Tensor:
    return torch.tensor(values, dtype=torch.int64, device=like.device)
