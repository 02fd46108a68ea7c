"""Operations on the 64 rows of a block as vectors, written for the compiler as such.

Left to itself it asks before each short loop whether arrays overlap, which takes longer than the loop. All arrays are flat and
contiguous; places in them count their elements and are not checked.
"""

from __future__ import annotations

from typing import Any

import numba
from llvmlite import ir
from numba.extending import intrinsic

#: Rows of a block.
ROWS = 64

_BYTES = ir.VectorType(ir.IntType(8), ROWS)
_EIGHT = ir.VectorType(ir.DoubleType(), 8)


def _data(context: Any, builder: Any, kind: Any, array: Any) -> Any:
    return context.make_array(kind)(context, builder, array).data


def _at(builder: Any, data: Any, place: Any, vector: Any) -> Any:
    return builder.bitcast(builder.gep(data, [place]), vector.as_pointer())


def _read(builder: Any, data: Any, place: Any, vector: Any, align: int = 1) -> Any:
    return builder.load(_at(builder, data, place, vector), align=align)


def _same(builder: Any, number: Any, vector: Any) -> Any:
    """The vector of one number."""
    one = builder.insert_element(ir.Constant(vector, ir.Undefined), number, ir.Constant(ir.IntType(32), 0))
    zeros = ir.Constant(ir.VectorType(ir.IntType(32), vector.count), None)
    return builder.shuffle_vector(one, ir.Constant(vector, ir.Undefined), zeros)


@intrinsic
def at_most(_: Any, codes: Any, place: Any, rank: Any, out: Any, spot: Any) -> Any:
    """``out[spot + r]``: 255 where ``codes[place + r] <= rank``, else 0; also as the bits of a word."""
    signature = numba.types.uint64(codes, place, rank, out, spot)

    def generate(context: Any, builder: Any, _: Any, args: Any) -> Any:
        number = context.get_value_type(codes.dtype)
        vector = ir.VectorType(number, ROWS)
        held = _read(builder, _data(context, builder, codes, args[0]), args[1], vector)
        limit = _same(builder, args[2], vector)
        holds = builder.icmp_unsigned("<=", held, limit)
        target = _at(builder, _data(context, builder, out, args[3]), args[4], _BYTES)
        builder.store(builder.sext(holds, _BYTES), target, align=64)
        return builder.bitcast(holds, ir.IntType(64))

    return signature, generate


@intrinsic
def differ(_: Any, planes: Any, place: Any, other: Any) -> Any:
    """The rows, as the bits of a word, whose ``planes[place + r]`` and ``planes[other + r]`` are different."""
    signature = numba.types.uint64(planes, place, other)

    def generate(context: Any, builder: Any, _: Any, args: Any) -> Any:
        data = _data(context, builder, planes, args[0])
        one, two = (_read(builder, data, spot, _BYTES, 64) for spot in args[1:])
        return builder.bitcast(builder.icmp_unsigned("!=", one, two), ir.IntType(64))

    return signature, generate


def _chooser(times: int) -> Any:
    """``choose(planes, mask, left, right, mask_by, left_by, right_by, out)``, all but the first places in `planes`:
    ``planes[out + r]`` is of `left` where `mask` is 255, of `right` where it is 0; so often, a step further each time.
    """

    @intrinsic
    def choose(
        _: Any,
        planes: Any,
        mask: Any,
        left: Any,
        right: Any,
        mask_by: Any,
        left_by: Any,
        right_by: Any,
        out: Any,
    ) -> Any:
        signature = numba.types.void(planes, mask, left, right, mask_by, left_by, right_by, out)

        def generate(context: Any, builder: Any, _: Any, args: Any) -> Any:
            data = _data(context, builder, planes, args[0])
            places, steps, to = list(args[1:4]), args[4:7], args[7]
            for _time in range(times):
                which, a, b = (_read(builder, data, place, _BYTES, 64) for place in places)
                kept = builder.or_(builder.and_(a, which), builder.and_(b, builder.not_(which)))
                builder.store(kept, _at(builder, data, to, _BYTES), align=64)
                places = [builder.add(place, step) for place, step in zip(places, steps, strict=True)]
                to = builder.add(to, ir.Constant(to.type, ROWS))
            return context.get_dummy_value()

        return signature, generate

    return choose


choose, choose_five = _chooser(1), _chooser(5)


def _eight(builder: Any, source: Any, planes: Any, place: Any, step: int) -> Any:
    """The values of eight rows; loaded one by one, for machines' own gathering is slow since it must not leak."""
    found = ir.Constant(_EIGHT, ir.Undefined)
    for lane in range(8):
        spot = builder.add(place, ir.Constant(place.type, 8 * step + lane))
        index = builder.zext(builder.load(builder.gep(planes, [spot])), ir.IntType(64))
        found = builder.insert_element(
            found, builder.load(builder.gep(source, [index])), ir.IntType(32)(lane)
        )
    return found


@intrinsic
def look_up(_: Any, values: Any, first: Any, planes: Any, place: Any, out: Any, spot: Any) -> Any:
    """``out[spot + r] = values[first + planes[place + r]]``."""
    signature = numba.types.void(values, first, planes, place, out, spot)

    def generate(context: Any, builder: Any, _: Any, args: Any) -> Any:
        source = builder.gep(_data(context, builder, values, args[0]), [args[1]])
        data = _data(context, builder, planes, args[2])
        target = _data(context, builder, out, args[4])
        for step in range(ROWS // 8):
            found = _eight(builder, source, data, args[3], step)
            to = builder.add(args[5], ir.Constant(args[5].type, 8 * step))
            builder.store(found, _at(builder, target, to, _EIGHT), align=8)
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def add_difference(
    _: Any, values: Any, first: Any, planes: Any, place: Any, own: Any, at: Any, out: Any, spot: Any
) -> Any:
    """``out[spot + r] += values[first + planes[place + r]] - own[at + r]``."""
    signature = numba.types.void(values, first, planes, place, own, at, out, spot)

    def generate(context: Any, builder: Any, _: Any, args: Any) -> Any:
        source = builder.gep(_data(context, builder, values, args[0]), [args[1]])
        data = _data(context, builder, planes, args[2])
        mine, target = _data(context, builder, own, args[4]), _data(context, builder, out, args[6])
        for step in range(ROWS // 8):
            found = _eight(builder, source, data, args[3], step)
            here = builder.add(args[5], ir.Constant(args[5].type, 8 * step))
            to = builder.add(args[7], ir.Constant(args[7].type, 8 * step))
            change = builder.fsub(found, _read(builder, mine, here, _EIGHT, 8))
            total = builder.fadd(_read(builder, target, to, _EIGHT, 8), change)
            builder.store(total, _at(builder, target, to, _EIGHT), align=8)
        return context.get_dummy_value()

    return signature, generate
