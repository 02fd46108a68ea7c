"""What every way of converting has in common: the original as a `Model`, how it is written, how equality is judged."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import warnings
from collections.abc import Callable, Iterator

from explainers.dataset import Dataset
from explainers.model import Model

#: Formats that keep the numbers as they are, and those that compute in 32 bits.
SAME_ARITHMETIC = 1e-9
SINGLE_PRECISION = 1e-5


@dataclasses.dataclass(frozen=True)
class Written:
    """A model in a format that holds no code.

    Attributes:
        ending: of the file. form: the format in words.
        tolerance: how far predictions may differ, times the largest of them where that is over one.
        notes: what is worth saying about the way.
    """

    content: bytes
    ending: str
    form: str
    tolerance: float
    notes: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Subject:
    """An object to convert.

    Attributes:
        model: the object as it predicts now.
        write: makes the file's bytes; takes the data where there are some.
        alike: the original's predictions on the scale of the converted model, where the object itself does not say it.
        width: numbers in one case, for making up rows, or ``None``.
    """

    model: Model
    write: Callable[[Dataset | None], Written]
    alike: Callable[[Model], Model] | None = None
    width: int | None = None


def first_line(error: BaseException) -> str:
    """What a foreign error says, short and without its full stop, for the middle of a sentence."""
    text = (str(error).strip().splitlines() or [""])[0][:250].rstrip(".")
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Exporters warn and log about their own internals."""
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)
