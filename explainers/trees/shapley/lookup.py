"""The loop that explains many rows: a block of rows gets its patterns from vector comparisons, then adds lines of tables.

Four groups are looked up together, so that the sum of a row is read and written once for four lines. Adding a line is
one vector operation of fixed width, written for the compiler as such (`_adder`): left to itself it adds number by number.
"""

from __future__ import annotations

from typing import Any, no_type_check

import numba
import numpy as np
from llvmlite import ir
from numba.extending import intrinsic

from explainers.trees.compiling import compiled

#: Widths of a line in numbers; a wider model keeps packed lines.
WIDTHS = (8, 16, 24, 32, 48, 64)

#: Groups that are looked up together, and rows of a block.
TOGETHER, ROWS = 4, 1024

#: Rows up to which they are looked up one by one.
FEW = 32

#: Groups whose lines are summed in the precision of the tables before they are added in double precision.
GROUPS_PER_SUM = 256


def _adder(width: int) -> Any:
    """``add(out, at, table, a, b, c, d)``: add four lines of `table` to ``out[at:at+width]``, both flat."""

    @intrinsic
    def add(_: Any, out: Any, at: Any, table: Any, a: Any, b: Any, c: Any, d: Any) -> Any:
        signature = numba.types.void(out, at, table, a, b, c, d)

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            number = context.get_value_type(table.dtype)
            vector = ir.VectorType(number, width).as_pointer()
            target, source = (
                context.make_array(signature.args[i])(context, builder, args[i]).data for i in (0, 2)
            )
            align = 4 if table.dtype == numba.types.float32 else 8

            def line(data: Any, offset: Any) -> Any:
                return builder.bitcast(builder.gep(data, [offset]), vector)

            read = [builder.load(line(source, offset), align=align) for offset in args[3:]]
            total = builder.fadd(builder.fadd(read[0], read[1]), builder.fadd(read[2], read[3]))
            place = line(target, args[1])
            builder.store(builder.fadd(builder.load(place, align=align), total), place, align=align)
            return context.get_dummy_value()

        return signature, generate

    return add


_add_8, _add_16, _add_24, _add_32, _add_48, _add_64 = (_adder(width) for width in WIDTHS)


@no_type_check
def _pattern_loop(codes, start, count, first_bit, last_bit, condition, column, rank, right, held, pattern):
    """``pattern[r]``: the bits of one group for rows ``start .. start + count``."""
    pattern[:count] = 0
    for bit in range(first_bit, last_bit):
        mark = np.uint16(1 << (bit - first_bit))
        if condition[bit + 1] - condition[bit] == 1:
            i = condition[bit]
            own, limit = codes[column[i], start : start + count], rank[i]
            if right[i]:
                for r in range(len(own)):
                    pattern[r] |= mark if own[r] > limit else np.uint16(0)
            else:
                for r in range(len(own)):
                    pattern[r] |= mark if own[r] <= limit else np.uint16(0)
            continue
        held[:count] = mark
        for i in range(condition[bit], condition[bit + 1]):
            own, limit = codes[column[i], start : start + count], rank[i]
            if right[i]:
                for r in range(len(own)):
                    held[r] = held[r] if own[r] > limit else np.uint16(0)
            else:
                for r in range(len(own)):
                    held[r] = held[r] if own[r] <= limit else np.uint16(0)
        for r in range(count):
            pattern[r] |= held[r]


patterns_of = compiled(_pattern_loop)


@no_type_check
def _dense_loop(
    codes, begin, end, chosen, bits, condition, column, rank, right, lines, table, lanes, block, sums
):  # fmt: skip
    """Add to ``sums (rows, players)`` what the groups `chosen` add to rows ``begin .. end``, float64.

    `codes` comes whole, because only rows that follow each other in memory are compared many at a time. ``lines[i]``
    is the first line of the table of group ``chosen[i]``; behind the last table there is a line of zeros.
    """
    pattern = np.zeros((TOGETHER, ROWS), dtype=np.uint16)
    held = np.zeros(ROWS, dtype=np.uint16)
    base = np.zeros(TOGETHER, dtype=np.int64)
    width, groups = np.int64(lanes), len(chosen)
    for start in range(begin, end, ROWS):
        count = min(ROWS, end - start)
        for step in range(0, groups, GROUPS_PER_SUM):
            block[: count * width] = 0
            limit = min(step + GROUPS_PER_SUM, groups)
            for i in range(step, limit, TOGETHER):
                for q in range(TOGETHER):
                    if i + q < limit:
                        g = chosen[i + q]
                        patterns_of(
                            codes, start, count, bits[g], bits[g + 1], condition, column, rank, right, held,
                            pattern[q],
                        )  # fmt: skip
                        base[q] = lines[i + q] * width
                    else:
                        pattern[q, :count] = 0
                        base[q] = lines[groups] * width
                a, b, c, d = base[0], base[1], base[2], base[3]
                pa, pb, pc, pd = pattern[0], pattern[1], pattern[2], pattern[3]
                if width == 8:
                    for r in range(count):
                        _add_8(block, r * width, table, a + pa[r] * width, b + pb[r] * width,
                                 c + pc[r] * width, d + pd[r] * width)  # fmt: skip
                elif width == 16:
                    for r in range(count):
                        _add_16(block, r * width, table, a + pa[r] * width, b + pb[r] * width,
                                 c + pc[r] * width, d + pd[r] * width)  # fmt: skip
                elif width == 24:
                    for r in range(count):
                        _add_24(block, r * width, table, a + pa[r] * width, b + pb[r] * width,
                                 c + pc[r] * width, d + pd[r] * width)  # fmt: skip
                elif width == 32:
                    for r in range(count):
                        _add_32(block, r * width, table, a + pa[r] * width, b + pb[r] * width,
                                 c + pc[r] * width, d + pd[r] * width)  # fmt: skip
                elif width == 48:
                    for r in range(count):
                        _add_48(block, r * width, table, a + pa[r] * width, b + pb[r] * width,
                                 c + pc[r] * width, d + pd[r] * width)  # fmt: skip
                else:
                    for r in range(count):
                        _add_64(block, r * width, table, a + pa[r] * width, b + pb[r] * width,
                                 c + pc[r] * width, d + pd[r] * width)  # fmt: skip
            for r in range(count):
                for lane in range(sums.shape[1]):
                    sums[start + r, lane] += block[r * width + lane]


add_lines = compiled(_dense_loop)


@no_type_check
def _few_loop(codes, begin, end, chosen, bits, condition, column, rank, right, lines, table, lanes, sums):
    """The same for few rows, one by one: vectors of a thousand rows would be mostly empty.

    All lines of a row are found before the first is read, so that many of them wait for memory at once. Positions are
    unsigned: a signed one may count from the end, and such lines are not added by vectors.
    """
    groups, one = len(chosen), np.uint64(1)
    line_of = np.empty(groups + TOGETHER - 1, dtype=np.uint64)
    line_of[groups:] = lines[groups] * lanes
    total = np.empty(lanes)
    for r in range(begin, end):
        own = codes[:, r].copy()
        for i in range(groups):
            g = chosen[i]
            bit, last, pattern, mark = np.uint64(bits[g]), np.uint64(bits[g + 1]), 0, 1
            k = np.uint64(condition[bit])
            while bit < last:
                bit += one
                end_of_bit = np.uint64(condition[bit])
                fails = False
                while k < end_of_bit:
                    fails |= (own[np.uint64(column[k])] > rank[k]) != right[k]
                    k += one
                pattern |= 0 if fails else mark
                mark <<= 1
            line_of[i] = (lines[i] + pattern) * lanes
        total[:] = 0.0
        for i in range(0, groups, TOGETHER):
            a, b, c, d = line_of[i], line_of[i + 1], line_of[i + 2], line_of[i + 3]
            for place in range(lanes):
                lane = np.uint64(place)
                first = np.float64(table[a + lane]) + np.float64(table[b + lane])
                total[lane] += first + (np.float64(table[c + lane]) + np.float64(table[d + lane]))
        for lane in range(sums.shape[1]):
            sums[r, lane] += total[lane]


add_lines_of_few = compiled(_few_loop)


@no_type_check
def _packed_loop(
    codes, begin, end, chosen, bits, condition, column, rank, right, lines, table, lane, player, sums
):  # fmt: skip
    """The same with lines of a group's own players: number `i` of group ``g`` belongs to ``player[lane[g] + i]``."""
    pattern, held = np.zeros(ROWS, dtype=np.uint16), np.zeros(ROWS, dtype=np.uint16)
    for start in range(begin, end, ROWS):
        count = min(ROWS, end - start)
        for i in range(len(chosen)):
            g = chosen[i]
            patterns_of(
                codes, start, count, bits[g], bits[g + 1], condition, column, rank, right, held, pattern
            )
            own = lane[g + 1] - lane[g]
            for r in range(count):
                line = lines[i] + pattern[r]
                for place in range(own):
                    sums[start + r, player[lane[g] + place]] += table[line, place]


add_packed_lines = compiled(_packed_loop)


@no_type_check
def _count_loop(codes, begin, end, weight, chosen, bits, condition, column, rank, right, lines, counts):
    """``counts[lines[i] + pattern]``: the weight of the rows that show each pattern of group ``chosen[i]``."""
    pattern, held = np.zeros(ROWS, dtype=np.uint16), np.zeros(ROWS, dtype=np.uint16)
    for start in range(begin, end, ROWS):
        count = min(ROWS, end - start)
        for i in range(len(chosen)):
            g = chosen[i]
            patterns_of(
                codes, start, count, bits[g], bits[g + 1], condition, column, rank, right, held, pattern
            )
            for r in range(count):
                counts[lines[i] + pattern[r]] += weight[start + r]


count_patterns = compiled(_count_loop)


def width_for(players: int) -> int | None:
    """The width of a line for so many players; ``None`` where lines are packed."""
    return next((width for width in WIDTHS if width >= players), None)
