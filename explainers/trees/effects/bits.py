"""Sixty-four rows at a time: which of them go left at a node, as the bits of one word.

What a leaf asks of a row is a conjunction of such words, so that for many rows together it costs a few machine
operations to know who satisfies everything, and who would if one feature were moved.
"""

from __future__ import annotations

from typing import no_type_check

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from explainers.trees.compiling import compiled

#: Rows in one word.
WORD = 64


@no_type_check
def _left_of(typingctx, codes, at, rank):  # noqa: ARG001  numba's signature
    """Bit `r` says whether ``codes.flat[at + r] <= rank``."""
    width = codes.dtype.bitwidth

    def generate(context, builder, signature, args):
        vector = ir.VectorType(ir.IntType(width), WORD)
        array = context.make_array(signature.args[0])(context, builder, args[0])
        place = builder.bitcast(builder.gep(array.data, [args[1]]), vector.as_pointer())
        first = ir.Constant(ir.IntType(32), 0)
        one = builder.insert_element(ir.Constant(vector, ir.Undefined), args[2], first)
        zeros = ir.Constant(ir.VectorType(ir.IntType(32), WORD), [0] * WORD)
        everywhere = builder.shuffle_vector(one, one, zeros)
        below = builder.icmp_unsigned("<=", builder.load(place, align=width // 8), everywhere)
        return builder.bitcast(below, ir.IntType(WORD))

    return types.uint64(codes, types.int64, codes.dtype), generate


@no_type_check
def _ones(typingctx, word):  # noqa: ARG001  numba's signature
    """How many bits are set."""

    def generate(context, builder, signature, args):  # noqa: ARG001  numba's signature
        return builder.ctpop(args[0])

    return types.uint64(types.uint64), generate


@no_type_check
def _lowest(typingctx, word):  # noqa: ARG001  numba's signature
    """The place of the lowest bit that is set."""

    def generate(context, builder, signature, args):  # noqa: ARG001  numba's signature
        return builder.cttz(args[0], ir.Constant(ir.IntType(1), 0))

    return types.uint64(types.uint64), generate


left_of, ones, lowest = intrinsic(_left_of), intrinsic(_ones), intrinsic(_lowest)


@no_type_check
def _decide(codes, first, feature, column, rank, start, stop, bits):
    """``bits[node - start, w]``: the rows from ``first + 64 w`` on that go left at each node of a tree."""
    rows = codes.shape[1]
    for node in range(start, stop):
        if feature[node] < 0:
            continue
        at = np.int64(column[node]) * rows + first
        for w in range(bits.shape[1]):
            bits[node - start, w] = left_of(codes, at + WORD * w, rank[node])


@no_type_check
def _sets(bits, condition, part_start, first, last, valid, own, others):
    """For each part of a leaf's conditions the rows that satisfy it, and those that satisfy all other parts.

    Row ``last - first`` of `others` has the rows that satisfy everything.
    """
    parts, words = last - first, len(valid)
    for a in range(parts):
        for w in range(words):
            own[a, w] = valid[w]
        for c in range(part_start[first + a], part_start[first + a + 1]):
            node, turned = condition[c] >> 1, np.uint64(0) - np.uint64(condition[c] & 1)
            for w in range(words):
                own[a, w] &= bits[node, w] ^ turned
    for w in range(words):
        others[parts, w] = valid[w]
    for a in range(parts):
        for w in range(words):
            held = others[parts, w]
            others[a, w] = held
            others[parts, w] = held & own[a, w]
    for w in range(words):
        held = valid[w]
        for a in range(parts - 1, -1, -1):
            others[a, w] &= held
            held &= own[a, w]


@no_type_check
def _valid(first, rows, words):
    """Words with a bit for each of the rows that there are."""
    for w in range(len(words)):
        left = rows - first - WORD * w
        words[w] = ~np.uint64(0) if left >= WORD else (np.uint64(1) << np.uint64(max(left, 0))) - np.uint64(1)


decide, sets, valid_rows = compiled(_decide), compiled(_sets), compiled(_valid)


def padded(codes: np.ndarray, block: int) -> np.ndarray:
    """The codes ``(p, n)`` with columns of zeros up to a whole number of blocks of rows; contiguous."""
    rows = codes.shape[1]
    out = np.zeros((max(1, len(codes)), -(-rows // block) * block), dtype=codes.dtype)
    out[: len(codes), :rows] = codes
    return out
