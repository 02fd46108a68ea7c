"""LSTM, GRU and RNN with their default activation functions, step by step, in one or both directions.

Shapes: x (time, batch, in); W (directions, gates * hidden, in); R (directions, gates * hidden, hidden);
B (directions, 2 * gates * hidden); results Y (time, directions, batch, hidden), Y_h and Y_c (directions, batch, hidden).
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from explainers.onnx.operators.operator import Attributes, Operator

State = tuple[Tensor, ...]


class Recurrent(Operator):
    """Base: directions and time; a subclass does one step."""

    roles = ("x", "weight", "recurrence", "bias", "lengths", "initial_h", "initial_c")
    gates: ClassVar[int]
    states: ClassVar[int] = 1
    activations: ClassVar[tuple[str, ...]]
    max_outputs = 3

    def configure(self, attributes: Attributes) -> None:
        self.hidden = attributes.integer("hidden_size", 0)
        self.direction = attributes.text("direction", "forward")
        given = attributes.texts("activations")
        directions = 2 if self.direction == "bidirectional" else 1
        if given and [name.lower() for name in given] != list(self.activations) * directions:
            attributes.refuse(f"activations={given}")
        for name in ("layout", "input_forget"):
            attributes.expect(name, 0)
        attributes.ignore("output_sequence")  # opset before 7 only
        if attributes.number("clip", 0.0):
            attributes.refuse("clip")
        if any(attributes.node.inputs[4:5]) or any(attributes.node.inputs[7:]):
            attributes.refuse("sequence lengths or peepholes")

    def compute(
        self, x: Tensor, weight: Tensor, recurrence: Tensor, *optional: Tensor | None
    ) -> tuple[Tensor, ...]:
        bias, _lengths, h, c = (list(optional) + [None] * 4)[:4]
        initial = [h, c][: self.states]
        runs = []
        for d in range(weight.shape[0]):
            b = x.new_zeros(2 * self.gates * self.hidden) if bias is None else bias[d]
            state = tuple(x.new_zeros(x.shape[1], self.hidden) if s is None else s[d] for s in initial)
            backwards = self.direction == "reverse" or d == 1
            runs.append(self._run(x, (weight[d], recurrence[d], *b.chunk(2)), state, backwards))
        finals = [torch.stack([run[1][s] for run in runs]) for s in range(self.states)]
        return torch.stack([run[0] for run in runs], 1), *finals

    def _run(self, x: Tensor, weights: State, state: State, backwards: bool) -> tuple[Tensor, State]:
        outputs = []
        for moment in reversed(x.unbind(0)) if backwards else x.unbind(0):
            state = self.step(moment, weights, state)
            outputs.append(state[0])
        return torch.stack(outputs[::-1] if backwards else outputs), state

    def step(self, x: Tensor, weights: State, state: State) -> State:
        """The next state from x (batch, in) and (W, R, bias of W, bias of R)."""
        raise NotImplementedError


class Lstm(Recurrent):
    """i, o, f = sigmoid(gates); c' = f * c + i * tanh(c gate); h' = o * tanh(c')."""

    gates = 4
    states = 2
    activations = ("sigmoid", "tanh", "tanh")

    def step(self, x: Tensor, weights: State, state: State) -> State:
        w, r, bw, br = weights
        h, c = state
        i, o, f, g = (x @ w.T + h @ r.T + bw + br).chunk(4, -1)
        cell = f.sigmoid() * c + i.sigmoid() * g.tanh()
        return o.sigmoid() * cell.tanh(), cell


class Gru(Recurrent):
    """z, r = sigmoid(gates); n = tanh(candidate with h reset by r); h' = (1 - z) * n + z * h."""

    gates = 3
    activations = ("sigmoid", "tanh")

    def configure(self, attributes: Attributes) -> None:
        super().configure(attributes)
        self.resets_after = bool(attributes.integer("linear_before_reset", 0))

    def step(self, x: Tensor, weights: State, state: State) -> State:
        w, r, bw, br = weights
        (h,) = state
        xz, xr, xn = (x @ w.T + bw).chunk(3, -1)
        rz, rr, rn = r.chunk(3)
        bz, brr, bn = br.chunk(3)
        z = (xz + h @ rz.T + bz).sigmoid()
        reset = (xr + h @ rr.T + brr).sigmoid()
        candidate = reset * (h @ rn.T + bn) if self.resets_after else (reset * h) @ rn.T + bn
        return ((1 - z) * (xn + candidate).tanh() + z * h,)


class Rnn(Recurrent):
    """h' = tanh(x W + h R + b)."""

    gates = 1
    activations = ("tanh",)

    def step(self, x: Tensor, weights: State, state: State) -> State:
        w, r, bw, br = weights
        return ((x @ w.T + state[0] @ r.T + bw + br).tanh(),)
