"""What a file may ask of this machine. Every bound has a name, and a message over a bound says it and how to raise it."""

from __future__ import annotations

import dataclasses

from explainers.errors import UnreadableFile


@dataclasses.dataclass(frozen=True)
class Limits:
    """Bounds for opening files; raise one with ``Limits(rows=…)`` or in the ``[limits]`` of a settings file.

    Attributes:
        model_bytes, data_bytes: the file as it is.
        unpacked_bytes: what its compressed parts unpack to together.
        rows, columns: of a table.
        values: numbers in a table, or in all pictures together.
        pictures, pixels: how many pictures, and of how many pixels each.
        tensor_bytes: one tensor of a model.
        json_depth: lists and objects inside each other.
        nodes: operators of a graph, or nodes of all trees together.
        iterations: turns of one loop in a graph.
    """

    model_bytes: int = 2 * 2**30
    data_bytes: int = 2 * 2**30
    unpacked_bytes: int = 4 * 2**30
    rows: int = 5_000_000
    columns: int = 10_000
    values: int = 500_000_000
    pictures: int = 200_000
    pixels: int = 40_000_000
    tensor_bytes: int = 2**30
    json_depth: int = 64
    nodes: int = 20_000_000
    iterations: int = 100_000

    def hold(self, name: str, bound: str, found: int, *, advice: str = "") -> None:
        """Raise `UnreadableFile` where `found` is over the bound of this name.

        >>> Limits(rows=10).hold("a.csv", "rows", 12)
        Traceback (most recent call last):
        ...
        explainers.errors.UnreadableFile: 'a.csv' has 12 rows; the limit is 10 (setting limits.rows).
        """
        most = getattr(self, bound)
        if found > most:
            what = _WORDS.get(bound, bound.replace("_", " "))
            then = f" {advice}" if advice else ""
            raise UnreadableFile(
                f"{name!r} has {found:,} {what}; the limit is {most:,} (setting limits.{bound}).{then}"
            )


_WORDS = {
    "model_bytes": "bytes",
    "data_bytes": "bytes",
    "unpacked_bytes": "bytes when unpacked",
    "pixels": "pixels in one picture",
    "tensor_bytes": "bytes in one tensor",
    "json_depth": "levels inside each other",
    "iterations": "turns in one loop",
}
