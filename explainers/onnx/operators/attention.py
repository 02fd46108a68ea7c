"""Attention as one operator, written out with a softmax and two products, so that its probabilities can be seen.

Shapes: Q (batch, heads, queries, size), K and V (batch, heads, keys, size); or (batch, queries, heads * size), where the
heads are counted in attributes. The names are those of the standard.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from explainers.onnx.graph import TYPES
from explainers.onnx.operators.operator import Attributes, Operator


class Attention(Operator):
    """softmax(Q Kᵀ * scale + mask) V, also with keys and values kept from before; fewer key heads than query heads are shared."""

    roles = ("q", "k", "v", "mask", "past_key", "past_value", "lengths")
    max_outputs = 4

    def configure(self, attributes: Attributes) -> None:
        self.heads = attributes.integer("q_num_heads", 0)
        self.key_heads = attributes.integer("kv_num_heads", 0)
        self.causal = bool(attributes.integer("is_causal", 0))
        self.scale = attributes.number("scale", 0.0)
        self.cap = attributes.number("softcap", 0.0)
        self.shown = attributes.integer("qk_matmul_output_mode", 0)
        self.window = attributes.integer("left_window_size", -1), attributes.integer("right_window_size", -1)
        self.precision = TYPES.get(attributes.integer("softmax_precision", 0))

    def compute(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        mask: Tensor | None = None,
        past_key: Tensor | None = None,
        past_value: Tensor | None = None,
        lengths: Tensor | None = None,
    ) -> tuple[Tensor, ...]:
        flat = q.dim() == 3
        q = _split(q, self.heads)
        k, v = (_split(value, self.key_heads) for value in (k, v))
        kept = k if past_key is None else torch.cat([past_key, k], 2)
        values = v if past_value is None else torch.cat([past_value, v], 2)
        before: Tensor | int = 0 if past_key is None else past_key.shape[2]
        if lengths is not None:
            before = lengths.reshape(-1, 1, 1, 1) - q.shape[2]
        bias = self._bias(q, kept, mask, before, lengths)
        shares = q.shape[1] // kept.shape[1]
        keys, shared = (part.repeat_interleave(shares, 1) if shares > 1 else part for part in (kept, values))
        root = math.sqrt(self.scale or 1 / math.sqrt(q.shape[-1]))
        products = (q * root) @ (keys * root).mT
        scores = self.cap * torch.tanh(products / self.cap) if self.cap else products
        biased = scores if bias is None else scores + bias
        shares_of = torch.softmax(biased.to(self.precision or biased.dtype), -1).to(q.dtype)
        if bias is not None:  # a query that may look at nothing sees nothing
            shares_of = torch.where((bias == -torch.inf).all(-1, keepdim=True), 0.0, shares_of)
        answer = shares_of @ shared
        answer = answer.transpose(1, 2).flatten(2) if flat else answer
        return answer, kept, values, (products, scores, biased, shares_of)[self.shown]

    def _bias(
        self, q: Tensor, k: Tensor, mask: Tensor | None, before: Tensor | int, lengths: Tensor | None
    ) -> Tensor | None:
        """What is added to the scores: 0 or the file's own numbers where a query may look, -inf where it may not."""
        query = torch.arange(q.shape[2], device=q.device)[:, None] + before
        key = torch.arange(k.shape[2], device=q.device)
        left, right = self.window
        allowed = [key <= query] if self.causal else []
        allowed += [query - key <= left] if left >= 0 else []
        allowed += [key - query <= right] if right >= 0 else []
        allowed += [] if lengths is None else [key < lengths.reshape(-1, 1, 1, 1)]
        biases = [] if mask is None else [_as_bias(mask, k.shape[2], q.dtype)]
        zero = q.new_zeros(())
        biases += [torch.where(part, zero, -torch.inf) for part in allowed]
        return sum(biases[1:], biases[0]) if biases else None


class RotaryEmbedding(Operator):
    """Pairs of numbers turned by an angle that depends on the position; the rest of each head stays as it is."""

    roles = ("x", "cosines", "sines", "positions")
    statistics = frozenset({"cosines", "sines"})

    def configure(self, attributes: Attributes) -> None:
        self.heads = attributes.integer("num_heads", 0)
        self.turned = attributes.integer("rotary_embedding_dim", 0)
        self.interleaved = bool(attributes.integer("interleaved", 0))

    def compute(self, x: Tensor, cosines: Tensor, sines: Tensor, positions: Tensor | None = None) -> Tensor:
        flat = x.dim() == 3
        heads = _split(x, self.heads)
        turned, rest = heads[..., : self.turned or None], heads[..., self.turned or heads.shape[-1] :]
        cos, sin = (table if positions is None else table[positions] for table in (cosines, sines))
        cos, sin = cos.unsqueeze(1), sin.unsqueeze(1)
        first, second = (
            (turned[..., 0::2], turned[..., 1::2]) if self.interleaved else turned.chunk(2, dim=-1)
        )
        parts = cos * first - sin * second, sin * first + cos * second
        whole = torch.stack(parts, -1).flatten(-2) if self.interleaved else torch.cat(parts, -1)
        answer = torch.cat([whole, rest], -1)
        return answer.transpose(1, 2).flatten(2) if flat else answer


def _split(x: Tensor, heads: int) -> Tensor:
    """(batch, heads, tokens, size)."""
    return x.reshape(*x.shape[:2], heads, -1).transpose(1, 2) if x.dim() == 3 else x


def _as_bias(mask: Tensor, keys: int, dtype: torch.dtype) -> Tensor:
    """0 and -inf for true and false; keys beyond a shorter mask are closed."""
    if mask.dtype == torch.bool:
        mask = torch.where(mask, torch.zeros((), dtype=dtype, device=mask.device), -torch.inf)
    return functional.pad(mask, (0, keys - mask.shape[-1]), value=-torch.inf)
