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
        cell_characters, name_characters: in one cell, and in the name of one column.
        pictures, pixels: how many pictures, and of how many pixels each.
        files: in one zip, or below one folder.
        tensor_bytes: one tensor of a model.
        json_depth: lists and objects inside each other.
        nodes: of all trees together.
        tree_depth: questions one below the other; the libraries go down some of them by calling themselves.
        operators: of a graph, with those inside its loops and branches.
        iterations: turns of all loops in a graph together.
    """

    model_bytes: int = 2 * 2**30
    data_bytes: int = 2 * 2**30
    unpacked_bytes: int = 4 * 2**30
    rows: int = 5_000_000
    columns: int = 10_000
    values: int = 500_000_000
    cell_characters: int = 100_000
    name_characters: int = 1_000
    pictures: int = 200_000
    pixels: int = 40_000_000
    files: int = 400_000
    tensor_bytes: int = 2**30
    json_depth: int = 64
    nodes: int = 20_000_000
    tree_depth: int = 4_096
    operators: int = 20_000
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
    "cell_characters": "characters in one cell",
    "name_characters": "characters in the name of one column",
    "pixels": "pixels in one picture",
    "tensor_bytes": "bytes in one tensor",
    "json_depth": "levels inside each other",
    "tree_depth": "levels in one tree",
    "iterations": "turns of its loops",
}
