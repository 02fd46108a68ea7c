"""Graphs inside a graph: one of two (If), one again and again (Loop, Scan). Their turns were bounded when the file was read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from explainers.onnx.errors import UnsafeOnnx, UnsupportedOnnx
from explainers.onnx.graph import Data
from explainers.onnx.operators.operator import Attributes, Operator

if TYPE_CHECKING:
    from explainers.onnx.module import GraphModule


class Control(Operator):
    """Base: `compute` gets the node's own inputs, then the values that its bodies read from around them."""

    max_outputs = 1024
    any_type = True

    def configure(self, attributes: Attributes) -> None:
        self.count = len(attributes.node.inputs)
        self.captured = attributes.node.captured

    def body(self, attributes: Attributes, name: str) -> GraphModule:
        from explainers.onnx.module import GraphModule

        return GraphModule(attributes.body(name))

    def run(self, body: GraphModule, given: list[Data], around: tuple[Data, ...]) -> list[Data]:
        names = (value.name for value in body.inputs)
        values = dict(zip(names, given, strict=True)) | dict(zip(self.captured, around, strict=True))
        return list(body.walk(values).values())


class If(Control):
    """One of two graphs, as a single truth value says."""

    def configure(self, attributes: Attributes) -> None:
        super().configure(attributes)
        self.then = self.body(attributes, "then_branch")
        self.otherwise = self.body(attributes, "else_branch")

    def compute(self, condition: Tensor, *around: Data) -> tuple[Data, ...]:
        return tuple(self.run(self.then if bool(condition) else self.otherwise, [], around))


class Loop(Control):
    """Turns of the body, each with what the one before left, until a count is reached or the body says stop."""

    def configure(self, attributes: Attributes) -> None:
        super().configure(attributes)
        self.step = self.body(attributes, "body")

    def compute(self, limit: Tensor | None, start: Tensor | None, *values: Data) -> tuple[Data, ...]:
        states, around = list(values[: self.count - 2]), values[self.count - 2 :]
        going = start is None or bool(start)
        most = self.limits.iterations + 1 if limit is None else int(limit)
        kept: list[list[Data]] = []
        turn = 0
        while going and turn < most:
            if turn == self.limits.iterations:
                raise UnsafeOnnx(
                    f"A loop of this model still runs after {turn:,} turns, the limit (setting limits.iterations)."
                )
            go = torch.tensor(True)
            condition, *results = self.run(self.step, [torch.tensor(turn), go, *states], around)
            states, going = results[: len(states)], bool(condition)
            kept.append(results[len(states) :])
            turn += 1
        return (*states, *_stacked(kept, self.outputs - len(states)))


class Scan(Control):
    """The body for each slice of some inputs in turn, with what the turn before left (opset 9 and newer)."""

    def configure(self, attributes: Attributes) -> None:
        super().configure(attributes)
        if attributes.opset < 9:
            attributes.refuse("the form of opset 8")
        self.step = self.body(attributes, "body")
        self.scanned = attributes.integer("num_scan_inputs", 0)
        made = self.outputs - (self.count - self.scanned)
        self.axes = attributes.integers("scan_input_axes") or [0] * self.scanned
        self.backwards = attributes.integers("scan_input_directions") or [0] * self.scanned
        self.out_axes = attributes.integers("scan_output_axes") or [0] * made
        self.out_backwards = attributes.integers("scan_output_directions") or [0] * made

    def compute(self, *values: Any) -> tuple[Data, ...]:
        own, around = values[: self.count], values[self.count :]
        states, sources = list(own[: -self.scanned]), own[-self.scanned :]
        slices = [
            list(reversed(source.unbind(axis))) if backwards else list(source.unbind(axis))
            for source, axis, backwards in zip(sources, self.axes, self.backwards, strict=True)
        ]
        kept: list[list[Data]] = []
        for moment in zip(*slices, strict=True):
            results = self.run(self.step, [*states, *moment], around)
            states = results[: len(states)]
            kept.append(results[len(states) :])
        stacked = _stacked(kept, len(self.out_axes), self.out_axes, self.out_backwards)
        return (*states, *stacked)


def _stacked(
    kept: list[list[Data]], count: int, axes: list[int] | None = None, backwards: list[int] | None = None
) -> list[Tensor]:
    """What each turn gave, joined along a new axis."""
    if count and not kept:
        raise UnsupportedOnnx("A loop of this model ran no turn, so the shape of its result is not known.")
    if any(not isinstance(value, Tensor) for turn in kept for value in turn):
        raise UnsupportedOnnx("A loop of this model collects text, which is not evaluated here.")
    results = []
    for i in range(count):
        column: list[Any] = [turn[i] for turn in kept]
        ordered = column[::-1] if backwards and backwards[i] else column
        results.append(torch.stack(ordered, axes[i] if axes else 0))
    return results
