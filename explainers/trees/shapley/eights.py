"""Arithmetic on eight doubles at a time, written for the compiler as vectors: loops this short it does not turn into any.

Every function takes flat float64 arrays and the places in them where eight numbers begin.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
from llvmlite import ir
from numba.extending import intrinsic

EIGHT = 8

_DOUBLES = ir.VectorType(ir.DoubleType(), EIGHT)


def _vectors(work: Callable[..., Any], arrays: tuple[int, ...], result: Any) -> Callable[..., Any]:
    """An intrinsic's generator: arguments at `arrays` become pointers' owners, numbers become vectors of themselves."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        given = [
            context.make_array(kind)(context, builder, value).data if i in arrays else value
            for i, (kind, value) in enumerate(zip(signature.args, args, strict=True))
        ]
        found = work(_Builder(builder), *given)
        return context.get_dummy_value() if result is numba.types.void else found

    return generate


class _Builder:
    """Loads, stores and arithmetic on vectors of eight."""

    def __init__(self, builder: Any) -> None:
        self._builder = builder

    def _place(self, data: Any, at: Any) -> Any:
        return self._builder.bitcast(self._builder.gep(data, [at]), _DOUBLES.as_pointer())

    def load(self, data: Any, at: Any) -> Any:
        return self._builder.load(self._place(data, at), align=8)

    def store(self, value: Any, data: Any, at: Any) -> None:
        self._builder.store(value, self._place(data, at), align=8)

    def all(self, number: Any) -> Any:
        """The same number eight times."""
        one = self._builder.insert_element(ir.Constant(_DOUBLES, ir.Undefined), number, ir.IntType(32)(0))
        mask = ir.Constant(ir.VectorType(ir.IntType(32), EIGHT), [0] * EIGHT)
        return self._builder.shuffle_vector(one, ir.Constant(_DOUBLES, ir.Undefined), mask)

    def line(self, a: Any, b: Any, t: Any) -> Any:
        """``a + b t``."""
        return self._builder.fadd(self.all(a), self._builder.fmul(self.all(b), t))

    def times(self, x: Any, y: Any) -> Any:
        return self._builder.fmul(x, y)

    def over(self, x: Any, y: Any) -> Any:
        return self._builder.fdiv(x, y)

    def plus(self, x: Any, y: Any) -> Any:
        return self._builder.fadd(x, y)

    def less(self, x: Any, y: Any) -> Any:
        return self._builder.fsub(x, y)

    def sum(self, x: Any) -> Any:
        """Of the eight, in pairs."""
        width = EIGHT
        while width > 1:
            half = width // 2
            kind = ir.VectorType(ir.IntType(32), half)
            low, high = (
                self._builder.shuffle_vector(x, x, ir.Constant(kind, list(range(first, first + half))))
                for first in (0, half)
            )
            x, width = self._builder.fadd(low, high), half
        return self._builder.extract_element(x, ir.IntType(32)(0))


@intrinsic
def scale(_: Any, out: Any, to: Any, source: Any, at: Any, by: Any) -> Any:
    """``out[to] = source[at] * by``."""

    def work(b: _Builder, out: Any, to: Any, source: Any, at: Any, by: Any) -> None:
        b.store(b.times(b.load(source, at), b.all(by)), out, to)

    return numba.types.void(out, to, source, at, by), _vectors(work, (0, 2), numba.types.void)


@intrinsic
def add(_: Any, out: Any, to: Any, at: Any) -> Any:
    """``out[to] += out[at]``."""

    def work(b: _Builder, out: Any, to: Any, at: Any) -> None:
        b.store(b.plus(b.load(out, to), b.load(out, at)), out, to)

    return numba.types.void(out, to, at), _vectors(work, (0,), numba.types.void)


@intrinsic
def times_line(_: Any, out: Any, to: Any, at: Any, t: Any, q: Any, c: Any, d: Any) -> Any:
    """``out[to] = out[at] * (c + d t[q])``."""

    def work(b: _Builder, out: Any, to: Any, at: Any, t: Any, q: Any, c: Any, d: Any) -> None:
        b.store(b.times(b.load(out, at), b.line(c, d, b.load(t, q))), out, to)

    return numba.types.void(out, to, at, t, q, c, d), _vectors(work, (0, 3), numba.types.void)


@intrinsic
def times_lines(_: Any, out: Any, to: Any, at: Any, t: Any, q: Any, c: Any, d: Any, e: Any, f: Any) -> Any:
    """``out[to] = out[at] * (c + d t[q]) / (e + f t[q])``."""

    def work(b: _Builder, out: Any, to: Any, at: Any, t: Any, q: Any, c: Any, d: Any, e: Any, f: Any) -> None:
        nodes = b.load(t, q)
        b.store(b.times(b.load(out, at), b.over(b.line(c, d, nodes), b.line(e, f, nodes))), out, to)

    return numba.types.void(out, to, at, t, q, c, d, e, f), _vectors(work, (0, 3), numba.types.void)


@intrinsic
def gained(_: Any, sums: Any, at: Any, w: Any, t: Any, q: Any, p: Any, c: Any, d: Any) -> Any:
    """The sum of ``sums[at] * w[q] * p / (c + d t[q])``."""

    def work(b: _Builder, sums: Any, at: Any, w: Any, t: Any, q: Any, p: Any, c: Any, d: Any) -> Any:
        share = b.over(b.all(p), b.line(c, d, b.load(t, q)))
        return b.sum(b.times(b.times(b.load(sums, at), b.load(w, q)), share))

    double = numba.types.float64
    return double(sums, at, w, t, q, p, c, d), _vectors(work, (0, 2, 3), double)
