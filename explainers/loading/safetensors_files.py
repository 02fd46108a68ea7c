"""safetensors: the head is read here first, so that each tensor's stated size is known and agrees before any is made."""

from __future__ import annotations

import json
import math
from typing import Any

from torch import Tensor

from explainers.errors import UnreadableFile
from explainers.loading.sources import File
from explainers.loading.structure import json_depth

#: Bits of one number; what the format knows beyond these, no network here is made of.
BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E4M3": 8, "F8_E5M2": 8, "U16": 16, "I16": 16, "F16": 16, "BF16": 16, "U32": 32,
    "I32": 32, "F32": 32, "U64": 64, "I64": 64, "F64": 64,
}  # fmt: skip
START = 8


def read_tensors(file: File) -> dict[str, Tensor]:
    """The tensors by name; raises `UnreadableFile` for a damaged file or a tensor over the limit."""
    import safetensors
    import safetensors.torch

    try:
        _check_head(file)
        return safetensors.torch.load(file.content)
    except (safetensors.SafetensorError, ValueError, KeyError, RuntimeError, TypeError) as error:
        raise UnreadableFile(
            f"{file.name!r} is a damaged safetensors file: {str(error)[:200]}. Save it again."
        ) from error


def _check_head(file: File) -> None:
    size = int.from_bytes(file.content[:START], "little")
    if START + size > len(file.content):
        raise ValueError("it is cut short within its head")
    head = file.content[START : START + size]
    file.limits.hold(file.name, "json_depth", json_depth(head))
    parsed = json.loads(head, object_pairs_hook=_once)
    if not isinstance(parsed, dict):
        raise ValueError("its head names no tensors")
    parsed.pop("__metadata__", None)
    spans = sorted(_span(file, name, stated) for name, stated in parsed.items())
    ends = [0, *(end for _, end in spans)]
    if [start for start, _ in spans] != ends[:-1]:
        raise ValueError("its tensors overlap or leave gaps")
    if START + size + ends[-1] != len(file.content):
        raise ValueError(
            f"it holds {len(file.content) - START - size:,} bytes of numbers instead of {ends[-1]:,}"
        )


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name occurs twice in its head")
    return found


def _span(file: File, name: str, stated: Any) -> tuple[int, int]:
    """Where a tensor's numbers are, which must be as many as its shape says."""
    shape, bits = stated["shape"], BITS.get(stated["dtype"])
    start, end = stated["data_offsets"]
    if bits is None:
        raise ValueError(f"the tensor {name[:80]!r} is of a kind that is unknown")
    if not all(type(side) is int and 0 <= side < 2**31 for side in shape) or type(start) is not int:
        raise ValueError(f"the tensor {name[:80]!r} has a shape that is none")
    file.limits.hold(file.name, "tensor_bytes", math.prod(shape) * bits // 8)
    if end - start != math.prod(shape) * bits // 8:
        raise ValueError(f"the tensor {name[:80]!r} claims another size than it has")
    return start, end
