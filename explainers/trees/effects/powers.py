"""What turns sums of trees into probabilities and these into means: for 64 rows, as vectors.

    p = 1 / (1 + Σ over other classes of 2^((their sum - own sum) · scale))

with ``scale`` the link's slope over log 2. Sums are added in double precision. Only the last step, from their
difference to the probability, is in single: 2^z is 2^n · 2^f with whole `n` and |f| ≤ 1/2, and 2^f a polynomial of degree
7 (Taylor's, 5e-9 off). A probability is less than 2e-7 from that in double precision, and a mean over rows much nearer.
"""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba.extending import intrinsic

from explainers.trees.effects.vectors import ROWS

#: Single numbers that are computed together; the compiler takes as many registers as that needs.
LANES = 16

#: Powers beyond are as good as none: 2^-100 beside 1, or a probability of 2^-100.
MOST = 100.0

#: Of exponents as single precision stores them; they are positive with it.
BIAS = 127

_INDEX, _BIT, _WHOLE = ir.IntType(64), ir.IntType(1), ir.IntType(32)
_DOUBLES = ir.VectorType(ir.DoubleType(), LANES)
_SINGLES = ir.VectorType(ir.FloatType(), LANES)
_WHOLES = ir.VectorType(_WHOLE, LANES)
_BITS = ir.VectorType(_BIT, LANES)


def _data(context: Any, builder: Any, kind: Any, array: Any) -> Any:
    return context.make_array(kind)(context, builder, array).data


def _at(builder: Any, data: Any, place: Any, step: int, vector: Any) -> Any:
    """Where the lanes of one step are."""
    spot = builder.gep(data, [builder.add(place, _INDEX(LANES * step))])
    return builder.bitcast(spot, vector.as_pointer())


def _same(builder: Any, number: Any, vector: Any) -> Any:
    """The vector of one number."""
    one = builder.insert_element(ir.Constant(vector, ir.Undefined), number, _WHOLE(0))
    zeros = ir.Constant(ir.VectorType(_WHOLE, LANES), None)
    return builder.shuffle_vector(one, ir.Constant(vector, ir.Undefined), zeros)


def _all(vector: Any, number: Any) -> Any:
    return ir.Constant(vector, [number] * LANES)


def _chosen(builder: Any, word: Any, step: int) -> Any:
    """The bits of a word that belong to the lanes of one step."""
    shifted = builder.lshr(word, word.type(LANES * step))
    return builder.bitcast(builder.trunc(shifted, ir.IntType(LANES)), _BITS)


@intrinsic
def add_where(_: Any, sums: Any, place: Any, word: Any, number: Any) -> Any:
    """``sums[place + r] += number`` for the rows whose bit is set."""
    signature = numba.types.void(sums, place, word, number)

    def generate(context: Any, builder: Any, _: Any, args: Any) -> Any:
        data, worth = _data(context, builder, sums, args[0]), _same(builder, args[3], _DOUBLES)
        for step in range(ROWS // LANES):
            spot = _at(builder, data, args[1], step, _DOUBLES)
            builder.store(
                _added_where(builder, builder.load(spot, align=8), args[2], worth, step), spot, align=8
            )
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def add_events(
    _: Any, sums: Any, place: Any, words: Any, word: Any, number: Any, first: Any, last: Any
) -> Any:
    """`add_where` with each of ``words[word[e]]`` and ``number[e]``, the sums staying in registers between."""
    signature = numba.types.void(sums, place, words, word, number, first, last)

    def generate(context: Any, builder: Any, _: Any, args: Any) -> Any:
        data, bits, of, worth = (
            _data(context, builder, kind, array)
            for kind, array in ((sums, args[0]), (words, args[2]), (word, args[3]), (number, args[4]))
        )
        spots = [_at(builder, data, args[1], step, _DOUBLES) for step in range(ROWS // LANES)]
        held = [builder.load(spot, align=8) for spot in spots]
        before, each, after = (
            builder.basic_block,
            builder.append_basic_block("event"),
            builder.append_basic_block("after"),
        )
        builder.cbranch(builder.icmp_signed("<", args[5], args[6]), each, after)
        builder.position_at_end(each)
        event, *sum_ = (builder.phi(value.type) for value in (args[5], *held))
        which = builder.zext(builder.load(builder.gep(of, [event])), _INDEX)
        chosen = builder.load(builder.gep(bits, [which]))
        gain = _same(builder, builder.load(builder.gep(worth, [event])), _DOUBLES)
        made = [_added_where(builder, old, chosen, gain, step) for step, old in enumerate(sum_)]
        following = builder.add(event, _INDEX(1))
        for phi, start, step in zip((event, *sum_), (args[5], *held), (following, *made), strict=True):
            phi.add_incoming(start, before)
            phi.add_incoming(step, each)
        builder.cbranch(builder.icmp_signed("<", following, args[6]), each, after)
        builder.position_at_end(after)
        ends = [builder.phi(_DOUBLES) for _ in spots]
        for end, spot, start, step in zip(ends, spots, held, made, strict=True):
            end.add_incoming(start, before)
            end.add_incoming(step, each)
            builder.store(end, spot, align=8)
        return context.get_dummy_value()

    return signature, generate


def _added_where(builder: Any, sums: Any, word: Any, number: Any, step: int) -> Any:
    """Nothing is added to the others: stores of some lanes only would delay the next load of the same place."""
    gain = builder.select(_chosen(builder, word, step), number, _all(_DOUBLES, 0.0))
    return builder.fadd(sums, gain)


@intrinsic
def add_power(_: Any, sums: Any, other: Any, own: Any, scale: Any, out: Any) -> Any:
    """``out[r] += 2^((sums[other + r] - sums[own + r]) · scale)``."""
    signature = numba.types.void(sums, other, own, scale, out)

    def generate(context: Any, builder: Any, _: Any, args: Any) -> Any:
        data, target = (
            _data(context, builder, kind, array) for kind, array in ((sums, args[0]), (out, args[4]))
        )
        times = _same(builder, args[3], _DOUBLES)
        for step in range(ROWS // LANES):
            theirs, mine = (
                builder.load(_at(builder, data, place, step, _DOUBLES), align=8) for place in args[1:3]
            )
            power = _power(builder, builder.fmul(builder.fsub(theirs, mine), times))
            spot = _at(builder, target, _INDEX(0), step, _SINGLES)
            builder.store(builder.fadd(builder.load(spot, align=4), power), spot, align=4)
        return context.get_dummy_value()

    return signature, generate


def _power(builder: Any, exponent: Any) -> Any:
    """Two to the power of doubles, in single precision."""
    z = builder.fptrunc(exponent, _SINGLES)
    for sign, limit in (("<", -MOST), (">", MOST)):
        beyond = builder.fcmp_ordered(sign, z, _all(_SINGLES, limit))
        z = builder.select(beyond, _all(_SINGLES, limit), z)
    # rounded: what is positive is cut off downwards
    whole = builder.fptosi(builder.fadd(z, _all(_SINGLES, BIAS + 0.5)), _WHOLES)
    nearest = builder.fsub(builder.sitofp(whole, _SINGLES), _all(_SINGLES, float(BIAS)))
    rest = builder.fsub(z, nearest)
    found = _all(_SINGLES, _TAYLOR[-1])
    for coefficient in _TAYLOR[-2::-1]:
        product = builder.fmul(found, rest, flags=["contract"])
        found = builder.fadd(product, _all(_SINGLES, coefficient), flags=["contract"])
    return builder.fmul(found, builder.bitcast(builder.shl(whole, _all(_WHOLES, 23)), _SINGLES))


#: Coefficients as single precision holds them.
_TAYLOR = [float(np.float32(math.log(2.0) ** i / math.factorial(i))) for i in range(8)]


@intrinsic
def add_moments(_: Any, inverse: Any, word: Any, about: Any, total: Any, squares: Any, place: Any) -> Any:
    """To `total` and `squares` at the place, the sum over rows in `word` of ``1 / inverse[r] - about``, and of its square."""
    signature = numba.types.void(inverse, word, about, total, squares, place)

    def generate(context: Any, builder: Any, _: Any, args: Any) -> Any:
        data, middle = _data(context, builder, inverse, args[0]), _same(builder, args[2], _SINGLES)
        nothing, one = _all(_SINGLES, 0.0), _all(_SINGLES, 1.0)
        first, second = nothing, nothing
        for step in range(ROWS // LANES):
            held = builder.load(_at(builder, data, _INDEX(0), step, _SINGLES), align=4)
            away = builder.fsub(builder.fdiv(one, held), middle)
            away = builder.select(_chosen(builder, args[1], step), away, nothing)
            first = builder.fadd(first, away)
            second = builder.fadd(second, builder.fmul(away, away))
        for kind, array, found in ((total, args[3], first), (squares, args[4], second)):
            spot = builder.gep(_data(context, builder, kind, array), [args[5]])
            sum_ = builder.fpext(_added(builder, found), ir.DoubleType())
            builder.store(builder.fadd(builder.load(spot), sum_), spot)
        return context.get_dummy_value()

    return signature, generate


def _added(builder: Any, vector: Any) -> Any:
    """The sum of the lanes, halves at a time."""
    lanes = LANES
    while lanes > 1:
        lanes //= 2
        near, far = (
            builder.shuffle_vector(
                vector, ir.Constant(vector.type, ir.Undefined), _places(range(start, start + lanes))
            )
            for start in (0, lanes)
        )
        vector = builder.fadd(near, far)
    return builder.extract_element(vector, _WHOLE(0))


def _places(lanes: range) -> Any:
    return ir.Constant(ir.VectorType(_WHOLE, len(lanes)), list(lanes))
