"""Damaged copies of a sound file of each format, from seeds: each opens and predicts, or is refused in our words.

    python -m tests.faults.fuzz --each 500 --seed 1
    python -m tests.faults.fuzz --format lightgbm_text --only 17 --seed 1 --keep damaged.bin

Anything else is a finding: another error, a signal, no answer in time, or too much memory. CatBoost's files cannot be
checked from outside; where its process ends or swells, that is for the worker to contain, and is counted apart.
"""

from __future__ import annotations

import argparse
import collections
import io
import random
import re
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.faults import good_files
from tests.faults.apart import Outcome, apart
from tests.faults.opening import opened_data, opened_model

DATA = ("csv", "parquet", "pictures_zip")
WEIGHTS = ("safetensors", "torch_weights")
OPAQUE = ("catboost_cbm",)
FORMATS = tuple(good_files.BUILD)
SECONDS = 20
VERDICTS = ("opens", "refused", "finding", "contained")
MOST_GROWN = 600  # mebibytes
EDGES = (b"0", b"-1", b"1", b"2147483647", b"-2147483648", b"4294967296", b"1e308", b"-1e39", b"1e-320", b"NaN", b"nan",
         b"inf", b"Infinity", b"99999999999999999999", b"0x1", b"1.5", b"[]", b"null", b'""')  # fmt: skip
NUMBER = re.compile(rb"-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")


def damaged(form: str, number: int, seed: int) -> bytes:
    """One damaged copy; the same for the same three arguments."""
    rng = random.Random(f"{form} {number} {seed}")
    content = good_files.BUILD[form]()
    if zipfile.is_zipfile(io.BytesIO(content)) and rng.random() < 0.75:
        parts = good_files.parts_of(content)
        name = rng.choice(sorted(parts))
        parts[name] = with_sums(_changed(parts[name], rng))
        return good_files.zipped(parts)
    changed = _changed(content, rng)
    return with_sizes(changed) if form == "lightgbm_text" and rng.random() < 0.7 else changed


def _changed(content: bytes, rng: random.Random) -> bytes:
    made = content
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        made = rng.choice(CHANGES)(made, rng)
    return made


def _flip(content: bytes, rng: random.Random) -> bytes:
    made = bytearray(content)
    for _ in range(rng.choice((1, 1, 3, 15)) if made else 0):
        made[rng.randrange(len(made))] = rng.randrange(256)
    return bytes(made)


def _bit(content: bytes, rng: random.Random) -> bytes:
    made = bytearray(content)
    if made:
        made[rng.randrange(len(made))] ^= 1 << rng.randrange(8)
    return bytes(made)


def _cut(content: bytes, rng: random.Random) -> bytes:
    return content[: rng.randrange(len(content) + 1)]


def _insert(content: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(content) + 1)
    return (
        content[:at]
        + rng.choice((rng.randbytes(rng.choice((1, 4, 64))), bytes(8), b"\xff" * 8))
        + content[at:]
    )


def _splice(content: bytes, rng: random.Random) -> bytes:
    """A piece of the file in another place of it, over what is there or in between."""
    size = rng.choice((1, 4, 16, 256))
    start, at = rng.randrange(len(content) + 1), rng.randrange(len(content) + 1)
    piece = content[start : start + size]
    return content[:at] + piece + content[at + rng.choice((0, len(piece))) :]


def _drop(content: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(content) + 1)
    return content[:at] + content[at + rng.choice((1, 8, 128)) :]


def _token(content: bytes, rng: random.Random) -> bytes:
    """A number in text replaced by another of the file, or by one at the edge of what a type holds."""
    found = list(NUMBER.finditer(content))
    if not found:
        return _flip(content, rng)
    place = rng.choice(found)
    other = rng.choice(EDGES) if rng.random() < 0.6 else rng.choice(found)[0]
    return content[: place.start()] + other + content[place.end() :]


CHANGES: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    _flip, _flip, _bit, _cut, _insert, _splice, _drop, _token, _token,
)  # fmt: skip


def with_sums(content: bytes) -> bytes:
    """A PNG whose checksums are right again, so that the decoder sees the damage."""
    if not content.startswith(b"\x89PNG"):
        return content
    made, at = bytearray(content), 8
    while at + 12 <= len(made):
        size = int.from_bytes(made[at : at + 4], "big")
        if at + 12 + size > len(made):
            break
        made[at + 8 + size : at + 12 + size] = zlib.crc32(made[at + 4 : at + 8 + size]).to_bytes(4, "big")
        at += 12 + size
    return bytes(made)


def with_sizes(content: bytes) -> bytes:
    """LightGBM's trees with their stated sizes put right."""
    start, stop = content.find(b"\nTree=0\n") + 1, content.find(b"end of trees")
    if start == 0 or stop < start:
        return content
    blocks = re.split(rb"(?=^Tree=)", content[start:stop], flags=re.MULTILINE)
    sizes = b" ".join(str(len(block)).encode() for block in blocks if block)
    return re.sub(rb"tree_sizes=[^\n]*", b"tree_sizes=" + sizes, content[:start], count=1) + content[start:]


def opened(form: str, content: bytes) -> Outcome:
    """What becomes of a copy, in a process of its own."""
    if form in DATA:
        target = "ill" if form != "pictures_zip" else None
        return apart(opened_data, content, target, seconds=SECONDS)
    architecture: Any = good_files.ARCHITECTURE if form in WEIGHTS else None
    return apart(opened_model, content, architecture, seconds=SECONDS)


def verdict(form: str, outcome: Outcome) -> tuple[str, str]:
    """``opens``, ``refused``, ``contained`` or ``finding``, and in words what happened."""
    inside = "contained" if form in OPAQUE else "finding"
    if outcome.ended:
        return inside, outcome.ended
    if outcome.grown > MOST_GROWN:
        return inside, f"memory: {outcome.grown:.0f} MiB"
    if not outcome.error:
        return "opens", ""
    if outcome.expected and len(outcome.message) > 20:
        return "refused", ""
    return "finding", f"{outcome.error}: {outcome.message[:150]}"


def verdicts(form: str, numbers: range, seed: int) -> Iterator[tuple[int, str, str]]:
    """Each copy's number, and the verdict on it."""
    for number in numbers:
        yield number, *verdict(form, opened(form, damaged(form, number, seed)))


def main() -> None:
    """Run each format; print a table, and beside it how to make each copy again that did something else."""
    told = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    told.add_argument("--each", type=int, default=500)
    told.add_argument("--seed", type=int, default=0)
    told.add_argument("--format", choices=FORMATS, action="append")
    told.add_argument("--only", type=int, help="one copy of one format")
    told.add_argument("--keep", type=Path, help="with --only: where to write the copy")
    given = told.parse_args()
    print(f"| format | copies | {' | '.join(VERDICTS)} |")
    print(f"| --- | ---: |{' ---: |' * len(VERDICTS)}")
    for form in given.format or FORMATS:
        numbers = range(given.each) if given.only is None else range(given.only, given.only + 1)
        if given.only is not None and given.keep:
            given.keep.write_bytes(damaged(form, given.only, given.seed))
        counted: collections.Counter[str] = collections.Counter()
        for number, kind, what in verdicts(form, numbers, given.seed):
            counted[kind] += 1
            if what:
                print(f"{kind}: --format {form} --only {number} --seed {given.seed}: {what}", file=sys.stderr)
        row = (form, len(numbers), *(counted[kind] for kind in VERDICTS))
        print(f"| {' | '.join(map(str, row))} |", flush=True)


if __name__ == "__main__":
    main()
