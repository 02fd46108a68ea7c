"""LSTM, GRU and RNN with their default activation functions, step by step, in one or both directions.

Shapes: x (time, batch, in); W (directions, gates * hidden, in); R (directions, gates * hidden, hidden);
B (directions, 2 * gates * hidden); results Y (time, directions, batch, hidden), Y_h and Y_c (directions, batch, hidden).
With layout=1 the batch comes first in all of these but the weights.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from explainers.onnx.operators.operator import Attributes, Operator

State = tuple[Tensor, ...]


class Recurrent(Operator):
    """Base: directions and time; a subclass does one step."""

    roles = ("x", "weight", "recurrence", "bias", "lengths", "initial_h", "initial_c", "peepholes")
    gates: ClassVar[int]
    states: ClassVar[int] = 1
    activations: ClassVar[tuple[str, ...]]
    max_outputs = 3

    def configure(self, attributes: Attributes) -> None:
        self.hidden = attributes.integer("hidden_size", 0)
        self.direction = attributes.text("direction", "forward")
        self.batch_first = bool(attributes.integer("layout", 0))
        given = attributes.texts("activations")
        directions = 2 if self.direction == "bidirectional" else 1
        if given and [name.lower() for name in given] != list(self.activations) * directions:
            attributes.refuse(f"activations={given}")
        attributes.expect("input_forget", 0)
        attributes.ignore("output_sequence")  # opset before 7 only
        if attributes.number("clip", 0.0):
            attributes.refuse("clip")

    def compute(
        self, x: Tensor, weight: Tensor, recurrence: Tensor, *optional: Tensor | None
    ) -> tuple[Tensor, ...]:
        bias, lengths, h, c, peepholes = (list(optional) + [None] * 5)[:5]
        x = self._turned(x)
        initial = [None if s is None else self._turned(s) for s in [h, c][: self.states]]
        active = (
            None
            if lengths is None
            else torch.arange(len(x), device=x.device)[:, None, None] < lengths[:, None]
        )
        runs = []
        for d in range(weight.shape[0]):
            b = x.new_zeros(2 * self.gates * self.hidden) if bias is None else bias[d]
            p = x.new_zeros(3 * self.hidden) if peepholes is None else peepholes[d]
            state = tuple(x.new_zeros(x.shape[1], self.hidden) if s is None else s[d] for s in initial)
            backwards = self.direction == "reverse" or d == 1
            runs.append(self._run(x, (weight[d], recurrence[d], *b.chunk(2), p), state, backwards, active))
        every = torch.stack([run[0] for run in runs], 1)
        finals = [self._turned(torch.stack([run[1][s] for run in runs])) for s in range(self.states)]
        return every.permute(2, 0, 1, 3) if self.batch_first else every, *finals

    def _turned(self, value: Tensor) -> Tensor:
        return value.transpose(0, 1) if self.batch_first else value

    def _run(
        self, x: Tensor, weights: State, state: State, backwards: bool, active: Tensor | None
    ) -> tuple[Tensor, State]:
        """A row that is over (or, backwards, has not begun) keeps its state and answers 0."""
        outputs = []
        for t in reversed(range(len(x))) if backwards else range(len(x)):
            after = self.step(x[t], weights, state)
            if active is not None:
                after = tuple(torch.where(active[t], new, old) for new, old in zip(after, state, strict=True))
            state = after
            outputs.append(state[0] if active is None else state[0] * active[t])
        return torch.stack(outputs[::-1] if backwards else outputs), state

    def step(self, x: Tensor, weights: State, state: State) -> State:
        """The next state from x (batch, in) and (W, R, bias of W, bias of R, peepholes)."""
        raise NotImplementedError


class Lstm(Recurrent):
    """i, o, f = sigmoid(gates); c' = f * c + i * tanh(c gate); h' = o * tanh(c'); peepholes let c into i and f, c' into o."""

    gates = 4
    states = 2
    activations = ("sigmoid", "tanh", "tanh")

    def step(self, x: Tensor, weights: State, state: State) -> State:
        w, r, bw, br, peepholes = weights
        h, c = state
        of_i, of_o, of_f = peepholes.chunk(3)
        i, o, f, g = (x @ w.T + h @ r.T + bw + br).chunk(4, -1)
        cell = (f + of_f * c).sigmoid() * c + (i + of_i * c).sigmoid() * g.tanh()
        return (o + of_o * cell).sigmoid() * cell.tanh(), cell


class Gru(Recurrent):
    """z, r = sigmoid(gates); n = tanh(candidate with h reset by r); h' = (1 - z) * n + z * h."""

    gates = 3
    activations = ("sigmoid", "tanh")

    def configure(self, attributes: Attributes) -> None:
        super().configure(attributes)
        self.resets_after = bool(attributes.integer("linear_before_reset", 0))

    def step(self, x: Tensor, weights: State, state: State) -> State:
        w, r, bw, br, _ = weights
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
        w, r, bw, br, _ = weights
        return ((x @ w.T + state[0] @ r.T + bw + br).tanh(),)
