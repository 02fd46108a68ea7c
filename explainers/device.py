"""Where to compute, and in which portions: the only module that chooses devices and chunk sizes."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, TypeVar

from explainers.errors import InvalidSetting, OutOfMemory
from explainers.lazily import lazily
from explainers.progress import Progress, silent

if TYPE_CHECKING:
    import torch
else:
    torch = lazily("torch")

T = TypeVar("T")

#: Bytes that one chunk may take on the CPU: with a quarter of it convolutions take 1.1 to 1.5 times as long, since each call brings
#: its weights into order first; with twice as much they are slower again, outside the caches.
CPU_CHUNK_BYTES = 256 * 2**20

#: Rows of the first portion where a portion should take a certain time and the model's speed is not known yet.
FIRST_TIMED_ROWS = 2048


def pick(device: str | torch.device = "auto") -> torch.device:
    """The device for ``"auto"`` (CUDA, else Apple's, else the CPU), or the one named; raises `InvalidSetting`."""
    if device != "auto":
        try:
            return torch.device(device)
        except RuntimeError as error:
            raise InvalidSetting(f"There is no device {device!r}; try 'auto', 'cpu' or 'cuda'.") from error
    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def chunk_rows(row_bytes: int, device: torch.device) -> int:
    """How many rows of that size fit into one chunk on this device; at least one."""
    budget = CPU_CHUNK_BYTES
    if device.type == "cuda":
        budget = int(torch.cuda.mem_get_info(device)[0] * 0.25)
    return max(1, budget // max(1, row_bytes))


def over_chunks(
    compute: Callable[[slice], T],
    count: int,
    row_bytes: int,
    device: torch.device,
    progress: Progress = silent,
    seconds: float | None = None,
    pace: float | None = None,
) -> list[T]:
    """``compute(slice)`` over ``0..count-1`` in portions; halves the portion when memory runs out.

    `progress` is called after each portion and may raise to stop. With `seconds`, portions shrink or grow (within the
    memory's limit) to take about that long, for models whose speed nobody knows; `pace`, the seconds of one row where they are known,
    sets the first portion. Raises `OutOfMemory` when one row
    is too much.
    """
    most = min(chunk_rows(row_bytes, device), max(count, 1))
    size = most
    if seconds is not None:
        guess = FIRST_TIMED_ROWS if pace is None else max(1, int(seconds / max(pace, 1e-9)))
        size = min(most, guess, FIRST_TIMED_ROWS)
    results: list[T] = []
    start = 0
    while start < count:
        stop = min(start + size, count)
        began = time.perf_counter()
        try:
            results.append(compute(slice(start, stop)))
        except (torch.OutOfMemoryError, MemoryError) as error:
            if stop - start == 1:
                raise OutOfMemory(
                    f"One case does not fit into the memory of {device}. Use a smaller model or fewer steps."
                ) from error
            size = most = max(1, (stop - start) // 2)
            _release(device)
            continue
        if seconds is not None:
            pace = (time.perf_counter() - began) / (stop - start)
            size = max(1, min(most, 8 * size, int(seconds / max(pace, 1e-9))))
        start = stop
        progress(start, count)
    return results


def _release(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.empty_cache()


@contextlib.contextmanager
def on_device(module: torch.nn.Module, device: torch.device) -> Iterator[torch.nn.Module]:
    """The module on a device, in eval mode, with frozen parameters; everything is put back at the end.

    Each submodule's own train/eval flag is restored, and the parameters' device with it.
    """
    training = [(child, child.training) for child in module.modules()]
    wanted = [(p, p.requires_grad) for p in module.parameters()]
    home = next((p.device for p in module.parameters()), None) or next(
        (b.device for b in module.buffers()), device
    )
    try:
        # what torch.export made has one mode, that of its making
        with contextlib.suppress(NotImplementedError):
            module.eval()
        for parameter, _ in wanted:
            parameter.requires_grad_(False)
        if home != device:
            module.to(device)
        yield module
    finally:
        if home != device:
            module.to(home)
        for parameter, flag in wanted:
            parameter.requires_grad_(flag)
        for child, flag in training:
            child.training = flag
